//! Every column of both tables is read as it was written, on both stores.

use clerk_sync::clerk::{ClerkId, EventId};
use clerk_sync::store::{Outcome, Store, Time};
use clerk_sync::worker::plan::plan;
use serde_json::{Value, json};

use super::store::Place;
use crate::support::history::{EPOCH_MS, at, delete, event};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    a_full_profile_fills_every_column
    a_full_profile_fills_every_column_of_a_tombstone
    a_newer_profile_without_a_field_empties_its_column
    a_field_of_another_shape_is_a_null_and_stays_in_data
    numbers_and_text_come_back_as_they_were_sent
    a_line_has_every_column
}

/// A user object in which every column has a value, and one that differs from the next column's.
fn full() -> Value {
    json!({
        "banned": true,
        "created_at": EPOCH_MS + 1,
        "email_addresses": [
            { "email_address": "other@example.com", "id": "idn_0", "verification": null },
            { "email_address": "ada@example.com", "id": "idn_1", "verification": { "status": "verified" } },
        ],
        "external_id": "ext_1",
        "first_name": "Ada",
        "id": "user_1",
        "image_url": "https://img.example.com/1",
        "last_active_at": EPOCH_MS + 2,
        "last_name": "Okafor",
        "last_sign_in_at": EPOCH_MS + 3,
        "legal_accepted_at": EPOCH_MS + 4,
        "locale": "pt-BR",
        "locked": false,
        "password_enabled": true,
        "phone_numbers": [{ "id": "idn_2", "phone_number": "+12025550101", "verification": null }],
        "primary_email_address_id": "idn_1",
        "primary_phone_number_id": "idn_2",
        "private_metadata": { "a": [1, null, true] },
        "public_metadata": { "b": {} },
        "two_factor_enabled": false,
        "unsafe_metadata": { "c": "c" },
        "updated_at": EPOCH_MS + 5,
        "username": "ada",
    })
}

/// The row of user_1 after an event with this object, without `data` and `synced_at`.
async fn row_after(store: &Store, id: &str, data: &Value) -> Value {
    let body = json!({ "data": data, "timestamp": EPOCH_MS + 6, "type": "user.updated" });
    let outcomes = store
        .apply(&plan(&[event(id, body.to_string())]))
        .await
        .unwrap();
    assert_eq!(outcomes, [Outcome::Applied]);
    let user = store
        .user(&ClerkId::new("user_1").unwrap())
        .await
        .unwrap()
        .unwrap();
    let mut row = serde_json::to_value(user).unwrap();
    let columns = row.as_object_mut().unwrap();
    assert_eq!(
        columns.remove("data").as_ref(),
        Some(data),
        "the whole object"
    );
    assert!(
        columns
            .remove("synced_at")
            .is_some_and(|time| time.is_string())
    );
    row
}

fn time(ms: i64) -> String {
    Time(at(ms)).to_string()
}

async fn a_full_profile_fills_every_column(place: Place) {
    let store = place.migrated().await;
    assert_eq!(
        row_after(&store, "msg_1", &full()).await,
        expected(&Value::Null)
    );
}

async fn a_full_profile_fills_every_column_of_a_tombstone(place: Place) {
    let store = place.migrated().await;
    store
        .apply(&plan(&[delete("msg_0", "user_1", 9)]))
        .await
        .unwrap();
    assert_eq!(
        row_after(&store, "msg_1", &full()).await,
        expected(&json!(time(9)))
    );
}

/// The row that `full` makes.
fn expected(deleted_at: &Value) -> Value {
    json!({
        "clerk_id": "user_1",
        "email": "ada@example.com",
        "email_verified": true,
        "phone": "+12025550101",
        "phone_verified": false,
        "username": "ada",
        "first_name": "Ada",
        "last_name": "Okafor",
        "image_url": "https://img.example.com/1",
        "external_id": "ext_1",
        "locale": "pt-BR",
        "banned": true,
        "locked": false,
        "two_factor_enabled": false,
        "password_enabled": true,
        "public_metadata": { "b": {} },
        "private_metadata": { "a": [1, null, true] },
        "unsafe_metadata": { "c": "c" },
        "last_sign_in_at": time(3),
        "last_active_at": time(2),
        "legal_accepted_at": time(4),
        "created_at": time(1),
        "updated_at": time(5),
        "deleted_at": deleted_at,
        "erased_at": null,
        "event_id": "msg_1",
        "occurred_at": time(6),
    })
}

async fn a_newer_profile_without_a_field_empties_its_column(place: Place) {
    let store = place.migrated().await;
    row_after(&store, "msg_1", &full()).await;
    let row = row_after(
        &store,
        "msg_2",
        &json!({ "id": "user_1", "updated_at": EPOCH_MS + 7 }),
    )
    .await;
    let known = ["clerk_id", "updated_at", "event_id", "occurred_at"];
    for (column, value) in row.as_object().unwrap() {
        assert_eq!(
            value.is_null(),
            !known.contains(&column.as_str()),
            "{column} is {value}"
        );
    }
}

async fn a_field_of_another_shape_is_a_null_and_stays_in_data(place: Place) {
    let store = place.migrated().await;
    let mut odd = full();
    for (name, value) in odd.as_object_mut().unwrap() {
        if name != "id" && name != "updated_at" {
            *value = json!([{ "unexpected": 1.5 }]);
        }
    }
    let row = row_after(&store, "msg_1", &odd).await;
    let known = ["clerk_id", "updated_at", "event_id", "occurred_at"];
    for (column, value) in row.as_object().unwrap() {
        assert_eq!(
            value.is_null(),
            !known.contains(&column.as_str()),
            "{column} is {value}"
        );
    }
}

async fn numbers_and_text_come_back_as_they_were_sent(place: Place) {
    let store = place.migrated().await;
    let metadata = r#"{"big":12345678901234567890123,"huge":1e400,"small":0.1000000000000000055511151231257827,"text":"é\"\\ \u2028 👩‍👩‍👧"}"#;
    let body = format!(
        r#"{{"data":{{"first_name":"العربية 🎉","id":"user_1","public_metadata":{metadata},"updated_at":{}}},"timestamp":{},"type":"user.created"}}"#,
        at(1).ms(),
        at(2).ms()
    );
    store.apply(&plan(&[event("msg_1", body)])).await.unwrap();
    let row = store
        .user(&ClerkId::new("user_1").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.text("first_name"), Some("العربية 🎉"));
    let metadata = row.json("public_metadata").unwrap();
    for stored in [metadata, row.data.as_ref().unwrap().get()] {
        assert!(stored.contains("12345678901234567890123"), "{stored}");
        assert!(
            stored.contains("0.1000000000000000055511151231257827"),
            "{stored}"
        );
        // jsonb writes numbers out in full.
        assert!(
            stored.contains("1e400") || stored.contains(&format!("1{}", "0".repeat(400))),
            "{stored}"
        );
        assert!(stored.contains("👩‍👩‍👧"), "{stored}");
    }
}

async fn a_line_has_every_column(place: Place) {
    let store = place.migrated().await;
    let body =
        json!({ "data": full(), "timestamp": EPOCH_MS + 6, "type": "user.created" }).to_string();
    store
        .apply(&plan(&[
            event("msg_1", body),
            event(
                "msg_2",
                r#"{"type":"user.updated","data":{"id":"user_2"},"timestamp":-1}"#,
            ),
        ]))
        .await
        .unwrap();
    let mut lines = Vec::new();
    for id in ["msg_1", "msg_2"] {
        let line = store
            .event(&EventId::new(id).unwrap())
            .await
            .unwrap()
            .unwrap();
        let mut line = serde_json::to_value(line).unwrap();
        assert!(
            line.as_object_mut()
                .unwrap()
                .remove("processed_at")
                .is_some_and(|time| time.is_string())
        );
        lines.push(line);
    }
    let applied = json!({
        "event_id": "msg_1",
        "event_type": "user.created",
        "clerk_id": "user_1",
        "occurred_at": time(6),
        "sent_at": time(0),
        "received_at": time(0),
        "status": "applied",
        "superseded_by": null,
        "deliveries": 1,
        "attempts": 1,
        "error": null,
        "error_code": null,
    });
    let failed = json!({
        "event_id": "msg_2",
        "event_type": "user.updated",
        "clerk_id": "user_2",
        "occurred_at": null,
        "sent_at": time(0),
        "received_at": time(0),
        "status": "failed",
        "superseded_by": null,
        "deliveries": 1,
        "attempts": 1,
        "error": "timestamp is not positive",
        "error_code": "implausible_time",
        "payload": r#"{"type":"user.updated","data":{"id":"user_2"},"timestamp":-1}"#,
    });
    assert_eq!(lines, [applied, failed]);
}
