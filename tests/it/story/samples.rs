//! Every sample of a Clerk event becomes the row that it should, column by column, in both
//! databases.

use chrono::DateTime;
use clerk_sync::clerk::{ClerkId, Table, tables};
use clerk_sync::store::Status;
use serde_json::{Value, json};

use crate::support::app::{App, Place};

/// `tests/samples/*.json`, by name.
pub fn samples(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/samples")
        .join(folder);
    let mut found: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json" || extension == "bin")
        })
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn every_sample_becomes_its_row_in_postgresql() {
    check_every_sample(Place::servers().await).await;
}

#[tokio::test]
async fn every_sample_becomes_its_row_in_sqlite() {
    check_every_sample(Place::embedded()).await;
}

async fn check_every_sample(place: Place) {
    let app = place.serve().await;
    let mut rows = 0;
    for (number, (name, body)) in samples("").into_iter().enumerate() {
        if name == "signature_vectors.json" {
            continue;
        }
        let parsed: Value = serde_json::from_slice(&body).unwrap();
        let event_type = parsed["type"].as_str().unwrap();
        if let Some((table, _)) = tables::of_event(event_type) {
            check_event(&app, table, &name, &format!("msg_{number}"), body).await;
            rows += 1;
        } else {
            let answer = app.deliver(&format!("msg_{number}"), body).await;
            assert_eq!(
                (answer.status, answer.body["status"].as_str()),
                (200, Some("ignored")),
                "{name}"
            );
        }
    }
    assert!(rows >= 33, "only {rows} samples were of synced events");
    assert!(app.stop().success());
}

/// Several samples are of one object: each gets an ID of its own here, so that each has its own row.
async fn check_event(app: &App, table: &'static Table, name: &str, id: &str, body: Vec<u8>) {
    let parsed: Value = serde_json::from_slice(&body).unwrap();
    let clerk_id = parsed["data"]["id"].as_str().unwrap();
    let own_id = format!("{clerk_id}_{id}");
    let body = String::from_utf8(body).unwrap().replace(clerk_id, &own_id);

    let answer = app.deliver(id, body.clone()).await;
    assert_eq!(answer.status, 200, "{name}: {:?}", answer.body);
    assert_eq!(
        answer.body,
        json!({"status": "queued", "event_id": id}),
        "{name}"
    );
    let event = app.settled(id).await;
    assert_eq!(event.status, Status::Applied, "{name}: {:?}", event.error);
    assert_eq!(event.clerk_id.as_deref(), Some(&*own_id), "{name}");

    let row = app.store.row(table, &ClerkId::new(&own_id).unwrap()).await;
    let row = row.unwrap().unwrap_or_else(|| panic!("{name} left no row"));
    let mut row = serde_json::to_value(row).unwrap();
    row.as_object_mut().unwrap().remove("synced_at").unwrap();
    let expected = match table == &tables::users::TABLE {
        true => expected_user(&serde_json::from_str(&body).unwrap(), id),
        false => written_row(name, [clerk_id, &own_id], id),
    };
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(row[column], *value, "{name}: column {column}");
    }
    assert_eq!(
        row.as_object().unwrap().len(),
        expected.as_object().unwrap().len(),
        "{name}: columns"
    );
}

/// The row of `tests/samples/rows`, of the event's own object.
fn written_row(name: &str, [clerk_id, own_id]: [&str; 2], event_id: &str) -> Value {
    let written = samples("rows").into_iter().find(|(known, _)| known == name);
    let (_, written) = written.unwrap_or_else(|| panic!("there is no tests/samples/rows/{name}"));
    let written = String::from_utf8(written).unwrap();
    let event = format!("{:?}", event_id);
    let written = written
        .replace(clerk_id, own_id)
        .replace("\"EVENT\"", &event);
    serde_json::from_str(&written).unwrap()
}

/// The row by the words of the contract, written without the program's code.
fn expected_user(event: &Value, event_id: &str) -> Value {
    let data = &event["data"];
    let sent = event["timestamp"].as_i64().unwrap();
    let occurred_ms = if sent < 100_000_000_000 {
        sent * 1000
    } else {
        sent
    };
    if event["type"] == "user.deleted" {
        return tombstone(data, occurred_ms);
    }
    let object = |name: &str| {
        Some(&data[name])
            .filter(|value| value.is_object())
            .cloned()
            .unwrap_or(Value::Null)
    };
    let (email, email_verified) = primary(
        data,
        "email_addresses",
        "primary_email_address_id",
        "email_address",
    );
    let (phone, phone_verified) = primary(
        data,
        "phone_numbers",
        "primary_phone_number_id",
        "phone_number",
    );
    json!({
        "clerk_id": data["id"], "email": email, "email_verified": email_verified,
        "phone": phone, "phone_verified": phone_verified, "username": data["username"],
        "first_name": data["first_name"], "last_name": data["last_name"], "image_url": data["image_url"],
        "external_id": data["external_id"], "locale": data["locale"], "banned": data["banned"],
        "locked": data["locked"], "two_factor_enabled": data["two_factor_enabled"],
        "password_enabled": data["password_enabled"], "public_metadata": object("public_metadata"),
        "private_metadata": object("private_metadata"), "unsafe_metadata": object("unsafe_metadata"),
        "last_sign_in_at": time(&data["last_sign_in_at"]), "last_active_at": time(&data["last_active_at"]),
        "legal_accepted_at": time(&data["legal_accepted_at"]), "created_at": time(&data["created_at"]),
        "updated_at": time(&data["updated_at"]), "deleted_at": null, "erased_at": null, "data": data,
        "event_id": event_id, "occurred_at": time(&json!(occurred_ms)),
    })
}

fn tombstone(data: &Value, occurred_ms: i64) -> Value {
    let empty = expected_user(
        &json!({"timestamp": occurred_ms, "data": {"id": data["id"]}}),
        "",
    );
    let mut row = empty.as_object().unwrap().clone();
    for column in ["data", "event_id", "occurred_at"] {
        row.insert(column.into(), Value::Null);
    }
    row.insert("deleted_at".into(), time(&json!(occurred_ms)));
    Value::Object(row)
}

fn primary(data: &Value, list: &str, primary: &str, field: &str) -> (Value, Value) {
    let entries = data[list].as_array().cloned().unwrap_or_default();
    let found = entries
        .iter()
        .find(|entry| !data[primary].is_null() && entry["id"] == data[primary]);
    found.map_or((Value::Null, Value::Null), |entry| {
        (
            entry[field].clone(),
            json!(entry["verification"]["status"] == "verified"),
        )
    })
}

fn time(ms: &Value) -> Value {
    let Some(ms) = ms.as_i64() else {
        return Value::Null;
    };
    json!(
        DateTime::from_timestamp_millis(ms)
            .unwrap()
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    )
}
