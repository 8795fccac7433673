//! Bodies made to do harm: each ends as the contract says, alone, and its neighbors in the batch
//! are applied.

use clerk_sync::store::Status;
use futures_util::future::join_all;
use serde_json::Value;

use super::samples::samples;
use crate::support::app::{App, Place};

/// The outcome of each of `tests/samples/hostile/*`: `applied`, `ignored`, or its error code.
const FATES: [(&str, &str); 33] = [
    ("bom-at-start.json", "not_json"),
    ("data-array.json", "invalid_id"),
    ("data-missing.json", "invalid_id"),
    ("data-null.json", "invalid_id"),
    ("duplicate-keys.json", "applied"),
    ("emails-null.json", "applied"),
    ("empty-body.json", "not_json"),
    ("id-10kb.json", "invalid_id"),
    ("id-empty.json", "invalid_id"),
    ("id-missing.json", "invalid_id"),
    ("invalid-utf8.bin", "not_json"),
    ("lone-surrogate-in-name-deleted.json", "applied"),
    ("lone-surrogate-in-name.json", "unstorable"),
    ("lone-surrogate.json", "unstorable"),
    ("nested-200-levels.json", "applied"),
    ("nested-5000-levels.json", "applied"),
    ("not-json.json", "not_json"),
    ("nul-in-first-name.json", "unstorable"),
    ("nul-in-metadata.json", "unstorable"),
    ("number-1e400-in-metadata.json", "applied"),
    ("number-beyond-2pow53-in-metadata.json", "applied"),
    ("timestamp-missing.json", "applied"),
    ("top-level-null.json", "not_json"),
    ("truncated.json", "not_json"),
    ("type-missing.json", "missing_type"),
    ("type-unknown.json", "ignored"),
    ("updated-at-far-future.json", "implausible_time"),
    ("updated-at-iso-string.json", "implausible_time"),
    ("updated-at-missing.json", "applied"),
    ("updated-at-negative.json", "implausible_time"),
    ("updated-at-string.json", "implausible_time"),
    ("whitespace-only.json", "not_json"),
    ("type-1mb", "body_too_large"),
];

#[tokio::test]
async fn hostile_bodies_have_the_expected_outcome_with_postgresql() {
    check_every_fate(Place::servers().await).await;
}

#[tokio::test]
async fn hostile_bodies_have_the_expected_outcome_with_sqlite() {
    check_every_fate(Place::embedded()).await;
}

async fn check_every_fate(place: Place) {
    let app = place.serve().await;
    let mut bodies = samples("hostile");
    bodies.push(("type-1mb".into(), type_of_one_mib()));
    let (_, good) = samples("")
        .into_iter()
        .find(|(name, _)| name == "user.created.unicode.json")
        .unwrap();
    let good = String::from_utf8(good).unwrap();
    let good_id = serde_json::from_str::<Value>(&good).unwrap()["data"]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    // All at once, so that they meet in batches.
    join_all(
        bodies
            .iter()
            .enumerate()
            .map(async |(number, (name, body))| {
                let neighbor = good.replace(&good_id, &format!("user_neighbor_{number}"));
                let (neighbor_id, id) = (format!("msg_good_{number}"), format!("msg_bad_{number}"));
                let (_, answer) = tokio::join!(
                    app.deliver(&neighbor_id, neighbor),
                    app.deliver(&id, own_user(body, number))
                );
                let fate = FATES
                    .iter()
                    .find(|(file, _)| file == name)
                    .unwrap_or_else(|| panic!("{name} has no fate"))
                    .1;
                let expected = match fate {
                    "ignored" => (200, "ignored"),
                    "body_too_large" => (413, "body_too_large"),
                    _ => (200, "queued"),
                };
                let said = answer.body["status"].as_str().unwrap_or(answer.code());
                assert_eq!((answer.status, said), expected, "{name}");
                if expected == (200, "queued") {
                    check_fate(&app, &id, fate, &own_user(body, number)).await;
                } else {
                    assert!(app.event(&id).await.is_none(), "{name} was recorded");
                }
                assert_eq!(
                    app.settled(&neighbor_id).await.status,
                    Status::Applied,
                    "the neighbor of {name}"
                );
                assert!(app.user(&format!("user_neighbor_{number}")).await.is_some());
            }),
    )
    .await;
    check_details(&app, &bodies).await;
    no_person_in_the_log(&app);
    assert!(app.stop().success());
}

async fn check_fate(app: &App, id: &str, fate: &str, body: &[u8]) {
    let event = app.settled(id).await;
    if fate == "applied" {
        assert_eq!(event.status, Status::Applied, "{id}: {:?}", event.error);
        assert_eq!(
            event.payload, None,
            "payloads of applied events are not kept"
        );
        return;
    }
    assert_eq!(
        (event.status, event.error_code.as_deref()),
        (Status::Failed, Some(fate)),
        "{id}: {:?}",
        event.error
    );
    assert_eq!(
        event.payload.as_deref(),
        Some(body),
        "the payload of a failed event is kept whole"
    );
    let error = event.error.unwrap();
    assert!(
        error.len() > 10 && !error.contains("hostile"),
        "a clear error that quotes nothing of the body: {error}"
    );
}

/// All hostile bodies are of one user; where there is an ID, each gets its own.
fn own_user(body: &[u8], number: usize) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(body) else {
        return body.to_vec();
    };
    text.replace("\"user_3", &format!("\"user_{number}_3"))
        .into_bytes()
}

async fn check_details(app: &App, bodies: &[(String, Vec<u8>)]) {
    let row = async |file: &str| {
        let number = bodies.iter().position(|(name, _)| name == file).unwrap();
        let event = app.event(&format!("msg_bad_{number}")).await.unwrap();
        (
            app.user(&event.clerk_id.clone().unwrap()).await.unwrap(),
            event,
        )
    };
    let (user, _) = row("duplicate-keys.json").await;
    assert_eq!(
        user.text("first_name"),
        Some("Second"),
        "the last of two fields counts"
    );
    assert_eq!(
        user.deleted_at, None,
        "the last type counts: it is an update"
    );

    let (user, _) = row("emails-null.json").await;
    assert_eq!(
        (user.text("email"), user.boolean("email_verified")),
        (None, None)
    );

    let (user, event) = row("updated-at-missing.json").await;
    assert_eq!(
        user.updated_at, event.occurred_at,
        "the timestamp stands in for updated_at"
    );

    let (user, event) = row("timestamp-missing.json").await;
    assert_eq!(
        event.occurred_at,
        Some(event.sent_at),
        "svix-timestamp stands in for the timestamp"
    );
    assert_eq!(user.occurred_at, Some(event.sent_at));

    let (user, _) = row("number-beyond-2pow53-in-metadata.json").await;
    let metadata = user.json("public_metadata").unwrap().to_owned();
    let digits = |text: &str| {
        text.split(|c: char| !c.is_ascii_digit())
            .map(str::len)
            .max()
    };
    assert!(
        digits(&metadata) >= Some(17),
        "no digit of a large number is lost: {metadata}"
    );
}

fn type_of_one_mib() -> Vec<u8> {
    format!(
        r#"{{"data":{{"id":"user_1"}},"type":"user.{}"}}"#,
        "x".repeat(1_048_571)
    )
    .into_bytes()
}

fn no_person_in_the_log(app: &App) {
    for line in app.log() {
        assert!(
            !line.contains('@') && !line.contains("Hostile") && !line.contains("whsec_"),
            "in the log: {line}"
        );
    }
}
