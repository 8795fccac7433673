//! Small events by hand, and writes made of them as the worker makes them.

use bytes::Bytes;
use clerk_sync::clerk::{EventId, EventType, SignedEvent, Table, Timestamp};
use clerk_sync::store::{Actor, Credential, EventFailure, Store};
use clerk_sync::worker::plan::plan_failed;
use serde_json::{Value, json};

/// The time that all others here are counted from, in milliseconds.
pub const EPOCH_MS: i64 = 1_795_172_400_000;

pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(EPOCH_MS + ms).unwrap()
}

/// An event with this body, received at a time of its own.
pub fn event(id: &str, body: impl Into<Bytes>) -> SignedEvent {
    let body = body.into();
    let event_type = EventType::read(&body);
    SignedEvent::restored(EventId::new(id).unwrap(), event_type, at(0), at(0), body)
}

/// An update as of `updated_ms` that occurred then; the first name is the ID of the event.
pub fn update(id: &str, user: &str, updated_ms: i64) -> SignedEvent {
    update_that_occurred(id, user, updated_ms, updated_ms)
}

pub fn update_that_occurred(
    id: &str,
    user: &str,
    updated_ms: i64,
    occurred_ms: i64,
) -> SignedEvent {
    let (updated, occurred) = (EPOCH_MS + updated_ms, EPOCH_MS + occurred_ms);
    let data = format!(r#"{{"first_name":"{id}","id":"{user}","updated_at":{updated}}}"#);
    event(
        id,
        format!(r#"{{"data":{data},"timestamp":{occurred},"type":"user.updated"}}"#),
    )
}

pub fn delete(id: &str, user: &str, occurred_ms: i64) -> SignedEvent {
    let occurred = EPOCH_MS + occurred_ms;
    let data = format!(r#"{{"deleted":true,"id":"{user}"}}"#);
    event(
        id,
        format!(r#"{{"data":{data},"timestamp":{occurred},"type":"user.deleted"}}"#),
    )
}

/// An update of a row of any table. Every text of it is the ID of the event.
pub fn update_in(
    table: &Table,
    id: &str,
    row: &str,
    updated_ms: i64,
    occurred_ms: i64,
) -> SignedEvent {
    let updates = || table.events.iter().filter(|kind| !kind.deletes);
    // The type makes no difference.
    let kind = updates().nth(id.len() % updates().count()).unwrap();
    let data = object(id, row, updated_ms);
    let occurred = EPOCH_MS + occurred_ms;
    let body = json!({"data": data, "timestamp": occurred, "type": kind.name});
    event(id, body.to_string())
}

/// A delete of a row of any table: with the object as of `updated_ms` where Clerk sends it. An
/// update where Clerk sends no delete.
pub fn delete_in(
    table: &Table,
    id: &str,
    row: &str,
    updated_ms: i64,
    occurred_ms: i64,
) -> SignedEvent {
    let Some(kind) = table.events.iter().find(|kind| kind.deletes) else {
        return update_in(table, id, row, updated_ms, occurred_ms);
    };
    let data = match kind.has_profile {
        true => object(id, row, updated_ms),
        false => json!({"deleted": true, "id": row}),
    };
    let occurred = EPOCH_MS + occurred_ms;
    let body = json!({"data": data, "timestamp": occurred, "type": kind.name});
    event(id, body.to_string())
}

/// The fields of every table's object.
fn object(id: &str, row: &str, updated_ms: i64) -> Value {
    json!({
        "id": row, "updated_at": EPOCH_MS + updated_ms, "created_at": EPOCH_MS,
        "first_name": id, "name": id, "slug": id, "role": id, "status": id, "email_address": id,
        "organization_id": format!("org_{updated_ms}"), "user_id": format!("user_{updated_ms}"),
        "members_count": updated_ms, "permissions": [id], "public_metadata": {"event": id},
        "organization": {"id": format!("org_{updated_ms}"), "name": "Never Stored"},
        "public_user_data": {"user_id": format!("user_{updated_ms}"), "identifier": "never.stored@example.com"},
        "url": "https://example.com/never-stored",
    })
}

/// Who acts in the tests of the stores.
pub fn operator() -> Actor {
    Actor {
        credential: Credential::AdminToken,
        address: Some("192.0.2.1".into()),
        forwarded_for: None,
    }
}

/// Records the events as failed, though nothing is wrong with them (any more).
pub async fn fail(store: &Store, events: &[SignedEvent]) {
    let failure = EventFailure {
        code: "delivery_limit".into(),
        text: "made by a test".into(),
    };
    store.apply(&plan_failed(events, &failure)).await.unwrap();
}
