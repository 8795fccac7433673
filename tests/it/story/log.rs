//! The log: at level debug a line for each event with its ID and its user's; else the number of
//! lines does not grow with events.

use clerk_sync::store::Status;
use serde_json::{Value, json};

use crate::support::app::{App, Place, SECRET, until};

fn body(event_type: &str, user: &str, ms: i64) -> String {
    let ms = 1_795_172_400_000 + ms;
    let data = json!({
        "id": user, "updated_at": ms, "first_name": "Adamantina", "primary_email_address_id": "idn_1",
        "email_addresses": [{"id": "idn_1", "email_address": "ada.private@example.com"}],
    });
    json!({"data": data, "timestamp": ms, "type": event_type}).to_string()
}

/// The lines of the log, each an object.
fn lines(app: &App) -> Vec<Value> {
    let lines: Vec<Value> = app
        .log()
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for line in &lines {
        assert!(
            line["timestamp"].is_string()
                && line["level"].is_string()
                && line["message"].is_string(),
            "{line}"
        );
        assert!(
            !line.to_string().contains("ada.private") && !line.to_string().contains("Adamantina"),
            "{line}"
        );
    }
    lines
}

async fn start(place: &Place, filter: &str) -> App {
    place
        .start(
            &["serve"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("RUST_LOG", filter),
            ],
        )
        .await
}

#[tokio::test]
async fn each_event_has_its_lines_at_level_debug() {
    let place = Place::embedded();
    let app = start(&place, "debug").await;
    for (id, body) in [
        ("msg_created", body("user.created", "user_1", 0)),
        ("msg_late", body("user.updated", "user_1", -10)),
        ("msg_cut", "{".to_owned()),
        (
            "msg_future",
            body("user.updated", "user_2", 9_000_000_000_000),
        ),
        ("msg_session", body("session.created", "sess_1", 0)),
    ] {
        assert_eq!(app.deliver(id, body).await.status, 200, "{id}");
        if id != "msg_session" {
            app.settled(id).await;
        }
    }
    // The log is read to its end a little later than it is written.
    let logged = |wanted: &str, count: usize| {
        lines(&app)
            .iter()
            .filter(|line| line["message"] == wanted)
            .count()
            == count
    };
    until("all are logged", async || {
        logged("event applied or recorded", 4)
            && logged("an event was queued", 4)
            && logged("an event of another type was ignored", 1)
    })
    .await;
    let lines = lines(&app);
    for (id, user, event_type, status, code) in [
        (
            "msg_created",
            json!("user_1"),
            "user.created",
            "applied",
            Value::Null,
        ),
        (
            "msg_late",
            json!("user_1"),
            "user.updated",
            "stale",
            Value::Null,
        ),
        ("msg_cut", Value::Null, "other", "failed", json!("not_json")),
        (
            "msg_future",
            json!("user_2"),
            "user.updated",
            "failed",
            json!("implausible_time"),
        ),
    ] {
        let found: Vec<_> = lines
            .iter()
            .filter(|line| line["event_id"] == id && line["level"] == "DEBUG")
            .collect();
        // A worker can be faster than the answer to the sender.
        let (received, settled): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|line| line["message"] == "an event was queued");
        assert_eq!((received.len(), settled.len()), (1, 1), "{id}");
        let line = settled[0];
        assert_eq!(line["message"], "event applied or recorded");
        assert_eq!(
            (&line["clerk_id"], &line["error_code"]),
            (&user, &code),
            "{id}"
        );
        assert_eq!(
            (&line["event_type"], &line["status"]),
            (&json!(event_type), &json!(status)),
            "{id}"
        );
    }
    let ignored: Vec<_> = lines
        .iter()
        .filter(|line| line["event_id"] == "msg_session")
        .collect();
    assert!(
        ignored.len() == 1 && ignored[0]["level"] == "DEBUG",
        "{ignored:?}"
    );
}

#[tokio::test]
async fn more_events_make_no_more_lines_and_failures_are_logged_once_per_batch() {
    let place = Place::embedded();
    let app = start(&place, "info").await;
    let before = lines(&app).len();
    for number in 0..60 {
        app.deliver(
            &format!("msg_{number}"),
            body("user.updated", "user_1", number),
        )
        .await;
        app.settled(&format!("msg_{number}")).await;
    }
    assert_eq!(lines(&app).len(), before, "no new line: nothing failed");
    assert!(app.stop().success());

    // A backlog that fails, taken in few batches.
    place.succeed(&["migrate"]);
    let receiving = start(&place, "info").await;
    for number in 0..60 {
        receiving
            .deliver(&format!("msg_bad_{number}"), format!("{{{number}"))
            .await;
    }
    for number in 0..60 {
        assert_eq!(
            receiving.settled(&format!("msg_bad_{number}")).await.status,
            Status::Failed
        );
    }
    // The other warning is of the start: the files are on a disk that may go.
    let is_of_events = |line: &Value| line["level"] == "WARN" && line["files"].is_null();
    let logged = || {
        lines(&receiving)
            .into_iter()
            .filter(is_of_events)
            .collect::<Vec<Value>>()
    };
    let failed = || {
        logged()
            .iter()
            .map(|line| line["failed"].as_u64().unwrap())
            .sum::<u64>()
    };
    until("all are logged", async || failed() >= 60).await;
    assert_eq!(failed(), 60, "{:?}", logged());
    for line in logged() {
        assert_eq!(line["error_code"], "not_json");
        assert_eq!(line["help"], "docs/errors.md#not_json");
        assert!(
            line["event_id"].as_str().unwrap().starts_with("msg_bad_"),
            "{line}"
        );
        assert!(
            line["message"]
                .as_str()
                .unwrap()
                .contains("clerk-sync events list --status failed"),
            "{line}"
        );
    }
}
