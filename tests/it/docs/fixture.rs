//! What the commands and statements of the pages find: people, their events, a running server.

use std::sync::atomic::{AtomicU32, Ordering};

use clerk_sync::clerk::{ClerkId, SignedEvent};
use clerk_sync::store::{Act, Action, Actor, Credential, Store};
use clerk_sync::worker::plan::plan;
use serde_json::{Value, json};

use crate::support::history::{EPOCH_MS, event, fail};

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

/// Records three people, one of whom has left, an event of each outcome, and an erasure.
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
    let operator = Actor {
        credential: Credential::Command,
        address: Some("ops@db1".into()),
        forwarded_for: None,
    };
    let erasure = Act::new(Action::Erased, &operator);
    let gone = ClerkId::new("user_2abcGone").unwrap();
    store.record_act(&erasure.about_user(&gone)).await.unwrap();
}
