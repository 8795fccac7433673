//! What the commands and statements of the pages find: people, their events, a running server.

use std::sync::atomic::{AtomicU32, Ordering};

use clerk_sync::clerk::{ClerkId, SignedEvent, tables};
use clerk_sync::sample::{Member, Organization, Person, SampleType};
use clerk_sync::store::{Act, Action, Actor, Credential, Store};
use clerk_sync::worker::plan::plan;
use serde_json::{Value, json};

use crate::support::history::{EPOCH_MS, at, event, fail};

/// The person whom the pages ask for: `ada@example.com`.
pub const ADA: &str = "user_2abcAdaLovelace";

/// A user who has just signed up.
fn user(id: &str, email: &str, names: [&str; 2], plan: &str) -> Value {
    json!({
        "id": id, "object": "user", "first_name": names[0], "last_name": names[1],
        "username": null, "external_id": format!("ext_{id}"), "image_url": "https://img.clerk.com/a",
        "email_addresses": [{"id": "idn_1", "email_address": email, "verification": {"status": "verified"}}],
        "primary_email_address_id": "idn_1", "phone_numbers": [], "banned": false, "locked": false,
        "external_accounts": [{"object": "external_account", "provider": "oauth_google"}],
        "public_metadata": {"plan": plan}, "private_metadata": {"stripe_id": "cus_1"}, "unsafe_metadata": {"theme": "dark"},
        "last_sign_in_at": EPOCH_MS, "created_at": EPOCH_MS, "updated_at": EPOCH_MS,
    })
}

fn body(event_type: &str, data: &Value) -> String {
    json!({"type": event_type, "object": "event", "timestamp": EPOCH_MS, "data": data}).to_string()
}

/// The event of a user who has signed up, as Clerk sends it.
pub fn sign_up(event_id: &str, user_id: &str) -> SignedEvent {
    let email = format!("{user_id}@example.com");
    let user = user(user_id, &email, ["Grace", "Hopper"], "free");
    event(event_id, body("user.created", &user))
}

/// Returns a number that no other call of this process has.
pub fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The organization that the pages ask for.
pub const ORGANIZATION: &str = "org_2abcAnalytical";

fn organization() -> Value {
    json!({
        "id": ORGANIZATION, "object": "organization", "name": "Analytical Engines", "slug": "analytical",
        "members_count": 2, "max_allowed_memberships": 5, "created_by": ADA, "public_metadata": {"plan": "team"},
        "created_at": EPOCH_MS, "updated_at": EPOCH_MS,
    })
}

/// The event by which a user joins or leaves an organization, or changes the role; `at` counts from
/// the time of all others.
pub fn membership(
    event_id: &str,
    event_type: &str,
    id: &str,
    [organization, user, role]: [&str; 3],
    at: i64,
) -> SignedEvent {
    let data = json!({
        "id": id, "object": "organization_membership", "role": role, "role_name": role,
        "permissions": ["org:sys_memberships:read", "org:sys_memberships:manage"],
        "organization": {"id": organization, "object": "organization", "name": "Analytical Engines"},
        "public_user_data": {"user_id": user, "first_name": "Somebody", "identifier": "somebody@example.com"},
        "public_metadata": {}, "private_metadata": {}, "created_at": EPOCH_MS + at, "updated_at": EPOCH_MS + at,
    });
    let body =
        json!({"type": event_type, "object": "event", "timestamp": EPOCH_MS + at, "data": data});
    event(event_id, body.to_string())
}

fn invitation() -> Value {
    // In the year 2100: the view compares it with the clock.
    json!({
        "id": "orginv_2abcCharles", "object": "organization_invitation", "organization_id": ORGANIZATION,
        "email_address": "charles@example.com", "role": "org:member", "role_name": "Member", "status": "pending",
        "inviter_id": ADA, "url": "https://accounts.example.com/v1/tickets/accept?ticket=made-up",
        "expires_at": 4_102_444_800_000_i64, "public_metadata": {}, "private_metadata": {},
        "created_at": EPOCH_MS, "updated_at": EPOCH_MS,
    })
}

/// Records three people, one of whom has left, an event of each outcome, and an erasure; an
/// organization of two of them, one of whom has joined again, and an invitation.
pub async fn fill(store: &Store) {
    store.migrate().await.unwrap();
    let ada = user(ADA, "ada@example.com", ["Ada", "Lovelace"], "pro");
    let mut older = ada.clone();
    older["updated_at"] = json!(EPOCH_MS - 1000);
    let alan = user(
        "user_2abcAlan",
        "alan@example.com",
        ["Alan", "Turing"],
        "free",
    );
    let events = [
        event("msg_2abcAda", body("user.created", &ada)),
        event("msg_2abcStale", body("user.updated", &older)),
        event("msg_2abcAlan", body("user.created", &alan)),
        sign_up("msg_2abcGrace", "user_2abcGrace"),
        event(
            "msg_2abcGone",
            body(
                "user.deleted",
                &json!({"id": "user_2abcGrace", "deleted": true}),
            ),
        ),
        event(
            "msg_2abcFounded",
            body("organization.created", &organization()),
        ),
        membership(
            "msg_2abcJoined",
            "organizationMembership.created",
            "orgmem_2abcAda",
            [ORGANIZATION, ADA, "org:admin"],
            0,
        ),
        membership(
            "msg_2abcMember",
            "organizationMembership.created",
            "orgmem_2abcAlan",
            [ORGANIZATION, "user_2abcAlan", "org:member"],
            0,
        ),
        membership(
            "msg_2abcLeft",
            "organizationMembership.deleted",
            "orgmem_2abcAlan",
            [ORGANIZATION, "user_2abcAlan", "org:member"],
            10,
        ),
        membership(
            "msg_2abcRejoined",
            "organizationMembership.created",
            "orgmem_2abcAlanAgain",
            [ORGANIZATION, "user_2abcAlan", "org:member"],
            20,
        ),
        event(
            "msg_2abcInvited",
            body("organizationInvitation.created", &invitation()),
        ),
    ];
    for event in events {
        store.apply(&plan(&[event])).await.unwrap();
    }
    fail(store, &[sign_up("msg_2abcFailed", "user_2abcAlan")]).await;
    // Tried twice.
    for _ in 0..2 {
        let again = event("msg_2abcAgain", body("user.updated", &ada));
        fail(store, &[again]).await;
    }
    fill_others(store).await;
    let operator = Actor {
        credential: Credential::Command,
        address: Some("ops@db1".into()),
        forwarded_for: None,
    };
    let erasure = Act::new(Action::Erased, &operator);
    let gone = ClerkId::new("user_2abcGone").unwrap();
    store.record_act(&erasure.about_user(&gone)).await.unwrap();
}

/// A row of each table but users, which the pages ask for: `org_2abc`, `orgmem_2abc`.
async fn fill_others(store: &Store) {
    let id = |prefix: &str| ClerkId::new(&format!("{prefix}_2abc")).unwrap();
    let person = Person::with_id(ClerkId::new("user_2abcFounder").unwrap(), at(-1000));
    let organization = Organization::with_id(id("org"), person.clone());
    let mut member = Member::new(person, organization);
    for table in tables::others() {
        member.id = Some(id(table.id_prefix));
        let kind = SampleType::named(table.events[0].name).unwrap();
        let sample = member.event(kind, at(0), 0);
        let event = event(sample.id.as_str(), sample.body);
        store.apply(&plan(&[event])).await.unwrap();
    }
}
