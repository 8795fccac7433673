//! The objects of Clerk's Backend API, whole: as its OpenAPI file says.

use serde_json::{Value, json};

use super::history::EPOCH_MS;

/// A user with one verified e-mail address.
pub fn user(id: &str, created_ms: i64) -> Value {
    let (at, address) = (EPOCH_MS + created_ms, format!("{id}_mail"));
    let verification = json!({"object": "verification_otp", "status": "verified", "strategy": "email_code", "attempts": 1, "expire_at": at});
    json!({
        "id": id, "object": "user", "first_name": format!("listed_{created_ms}"), "last_name": null, "username": null,
        "created_at": at, "updated_at": at, "external_id": null, "locale": null,
        "email_addresses": [{
            "id": address, "object": "email_address", "email_address": format!("{id}@example.com"), "reserved": false,
            "verification": verification, "linked_to": [], "created_at": at, "updated_at": at,
        }],
        "primary_email_address_id": address, "primary_phone_number_id": null, "primary_web3_wallet_id": null,
        "phone_numbers": [], "web3_wallets": [], "passkeys": [], "external_accounts": [], "saml_accounts": [], "enterprise_accounts": [],
        "image_url": "https://img.example.net/1", "has_image": false,
        "password_enabled": true, "two_factor_enabled": false, "totp_enabled": false, "backup_code_enabled": false,
        "mfa_enabled_at": null, "mfa_disabled_at": null, "password_last_updated_at": null,
        "public_metadata": {}, "private_metadata": {"note": "classified"}, "unsafe_metadata": {},
        "last_sign_in_at": null, "last_active_at": null, "legal_accepted_at": null,
        "banned": false, "locked": false, "lockout_expires_in_seconds": null, "verification_attempts_remaining": 100,
        "delete_self_enabled": true, "create_organization_enabled": true,
    })
}

/// An organization.
pub fn organization(id: &str, created_ms: i64) -> Value {
    let at = EPOCH_MS + created_ms;
    json!({
        "id": id, "object": "organization", "name": format!("named {id}"), "slug": id.replace('_', "-"),
        "image_url": "https://img.example.net/2", "has_image": false, "max_allowed_memberships": 5, "admin_delete_enabled": true,
        "public_metadata": {}, "private_metadata": {"note": "classified"}, "created_by": "user_00", "role_set_key": null,
        "created_at": at, "updated_at": at,
    })
}

/// The membership of a user in an organization, with a copy of both.
pub fn membership(id: &str, organization: &Value, user: &str, created_ms: i64) -> Value {
    let at = EPOCH_MS + created_ms;
    json!({
        "id": id, "object": "organization_membership", "role": "org:member", "role_name": "Member",
        "permissions": ["org:sys_memberships:read"], "public_metadata": {}, "private_metadata": {"note": "classified"},
        "organization": organization,
        "public_user_data": {
            "user_id": user, "first_name": "Copied", "last_name": null, "image_url": "https://img.example.net/1",
            "profile_image_url": null, "has_image": false, "identifier": format!("{user}@example.com"),
        },
        "created_at": at, "updated_at": at,
    })
}

/// A pending invitation to an organization. Its URL has the token that accepts it.
pub fn invitation(id: &str, organization: &Value, created_ms: i64) -> Value {
    let at = EPOCH_MS + created_ms;
    json!({
        "id": id, "object": "organization_invitation", "email_address": format!("{id}@example.com"), "role": "org:member",
        "role_name": "Member", "organization_id": organization["id"], "inviter_id": null, "public_inviter_data": null,
        "public_organization_data": copy(organization), "status": "pending", "public_metadata": {}, "private_metadata": {},
        "url": "https://clerk.example.net/v1/tickets/accept?ticket=sesame", "expires_at": at + 30 * 24 * 60 * 60 * 1000,
        "created_at": at, "updated_at": at,
    })
}

/// A verified domain of an organization.
pub fn domain(id: &str, organization: &Value, created_ms: i64) -> Value {
    let at = EPOCH_MS + created_ms;
    let verification = json!({"status": "verified", "strategy": "affiliation_email_code", "attempts": 1, "expire_at": at, "verified_at": null});
    // Clerk's schema calls it nullable, and takes no null.
    let owned = json!({"status": "verified", "strategy": "txt_record", "attempts": 1, "expire_at": null, "verified_at": at});
    json!({
        "id": id, "object": "organization_domain", "organization_id": organization["id"], "name": format!("{created_ms}.example.org"),
        "enrollment_mode": "automatic_invitation", "affiliation_email_address": null, "affiliation_verification": verification,
        "ownership_verification": owned, "verification": verification, "total_pending_invitations": 0, "total_pending_suggestions": 0,
        "public_organization_data": copy(organization), "created_at": at, "updated_at": at,
    })
}

/// What other objects hold of an organization.
fn copy(organization: &Value) -> Value {
    json!({
        "id": organization["id"], "name": organization["name"], "slug": organization["slug"].as_str().unwrap_or_default(),
        "image_url": organization["image_url"], "has_image": false,
    })
}
