//! Small events of organizations, memberships and invitations by hand. Times are counted from that of
//! `history`.

use clerk_sync::clerk::SignedEvent;
use serde_json::{Value, json};

use super::history::{EPOCH_MS, event};

/// An event with this object, which occurred so late.
pub fn about(id: &str, event_type: &str, occurred_ms: i64, data: &Value) -> SignedEvent {
    let body = json!({"data": data, "timestamp": EPOCH_MS + occurred_ms, "type": event_type});
    event(id, body.to_string())
}

/// An organization as of `ms`.
pub fn organization(
    id: &str,
    organization: &str,
    ms: i64,
    name: &str,
    slug: Option<&str>,
) -> SignedEvent {
    let data = json!({
        "id": organization, "name": name, "slug": slug, "created_by": "user_1", "max_allowed_memberships": 5,
        "private_metadata": {"plan": "secret-of-ours"}, "public_metadata": {"team": "design"},
        "created_at": EPOCH_MS, "updated_at": EPOCH_MS + ms,
    });
    about(id, "organization.updated", ms, &data)
}

/// The object of a membership as of `ms`.
pub fn membership_object(
    membership: &str,
    organization: &str,
    user: &str,
    role: &str,
    ms: i64,
) -> Value {
    json!({
        "id": membership, "organization": {"id": organization, "name": "not stored"},
        "public_user_data": {"user_id": user, "identifier": "not-stored@example.com"},
        "role": role, "role_name": "Name of the role", "permissions": ["org:sys_profile:manage"],
        "private_metadata": {"plan": "secret-of-ours"}, "public_metadata": {},
        "created_at": EPOCH_MS, "updated_at": EPOCH_MS + ms,
    })
}

/// A membership as of `ms`.
pub fn membership(
    id: &str,
    membership: &str,
    organization: &str,
    user: &str,
    role: &str,
    ms: i64,
) -> SignedEvent {
    let data = membership_object(membership, organization, user, role, ms);
    about(id, "organizationMembership.updated", ms, &data)
}

/// The end of a membership at `occurred_ms`, as it was last at `ms`.
pub fn leave(
    id: &str,
    membership: &str,
    organization: &str,
    user: &str,
    ms: i64,
    occurred_ms: i64,
) -> SignedEvent {
    let data = membership_object(membership, organization, user, "org:member", ms);
    about(id, "organizationMembership.deleted", occurred_ms, &data)
}

/// An invitation as of `ms`, with the whole time of its end.
pub fn invitation(
    id: &str,
    invitation: &str,
    organization: &str,
    address: &str,
    status: &str,
    ms: i64,
    expires_at: i64,
) -> SignedEvent {
    let data = json!({
        "id": invitation, "organization_id": organization, "email_address": address, "status": status,
        "role": "org:member", "role_name": "Member", "inviter_id": "user_1", "expires_at": expires_at,
        "url": "https://accounts.example.com/v1/tickets/accept?ticket=TOKEN-OF-THE-TEST",
        "private_metadata": {"plan": "secret-of-ours"}, "public_metadata": {},
        "created_at": EPOCH_MS, "updated_at": EPOCH_MS + ms,
    });
    about(id, "organizationInvitation.created", ms, &data)
}
