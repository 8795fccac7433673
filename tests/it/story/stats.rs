//! Statistics and look-ups for operators: state of the service, users, and the history of a user.

use clerk_sync::store::Status;
use serde_json::{Value, json};

use crate::support::app::{Answer, App, Place, SECRET, until};
use crate::support::history::{fail, update};

const TOKEN: &str = "correct-horse-battery-staple";

async fn serve(place: &Place, more: &[(&str, &str)]) -> App {
    let variables = [
        &[
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
            ("ADMIN_TOKEN", TOKEN),
        ],
        more,
    ]
    .concat();
    place.start(&["serve"], &variables).await
}

async fn get(app: &App, path: &str) -> Answer {
    app.api(Some(TOKEN), path, None).await
}

/// Delivers updates of user_1, and waits until they are dealt with.
async fn deliver(app: &App, events: &[(&str, i64)]) {
    for (id, updated_ms) in events {
        assert_eq!(
            app.deliver(id, update(id, "user_1", *updated_ms).body().to_vec())
                .await
                .status,
            200
        );
        app.settled(id).await;
    }
}

async fn stats_report_the_state_of_the_service(place: Place) {
    let app = serve(&place, &[]).await;
    deliver(&app, &[("msg_1", 10), ("msg_2", 20), ("msg_3", 15)]).await;
    fail(&app.store, &[update("msg_4", "user_2", 1)]).await;
    // Counts are kept for a while, each with the time that it is of.
    let mut stats = Value::Null;
    until("all four are counted", async || {
        stats = get(&app, "/api/stats").await.body;
        stats["totals"]["events"] == 4
            && stats["failed"]["count"] == 1
            && stats["recent"]["lag"]["count"] == 3
    })
    .await;
    assert_eq!(
        stats["totals"]["by_status"],
        json!({"applied": 2, "stale": 1, "failed": 1, "discarded": 0})
    );
    assert_eq!(
        stats["totals"]["by_type"]["user.updated"],
        json!({"applied": 2, "stale": 1, "failed": 1})
    );
    assert_eq!(
        (&stats["totals"]["users"], &stats["totals"]["deleted_users"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(stats["failed"]["by_code"], json!({"delivery_limit": 1}));
    // Only RabbitMQ does not count what is taken.
    let taken = match &place {
        Place::Servers { .. } => json!(0),
        Place::Embedded { .. } => Value::Null,
    };
    assert_eq!(
        stats["queue"],
        json!({"depth": 0, "oldest_received_at": null, "taken": taken, "unknown": null})
    );
    assert_eq!(stats["recent"]["buckets"].as_array().unwrap().len(), 60);
    assert!(
        stats["recent"]["lag"]["p99_ms"]
            .as_u64()
            .is_some_and(|ms| ms < 60_000),
        "{stats}"
    );
    for at in ["as_of", "last_received_at"] {
        assert!(stats[at].is_string(), "{at}");
    }
    assert!(stats["totals"]["as_of"].is_string() && stats["recent"]["as_of"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_report_the_state_of_the_service_with_servers() {
    stats_report_the_state_of_the_service(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_report_the_state_of_the_service_without_servers() {
    stats_report_the_state_of_the_service(Place::embedded()).await;
}

/// Waiting events are reported with the age of the oldest if the queue knows it, else with the
/// reason.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_in_the_queue_are_counted() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
    ];
    // Whose schema has gone away waits, and says so.
    let app = place.start(&["serve"], &variables).await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let mut connection = database.connect().await;
    sqlx::Executor::execute(&mut connection, "alter schema clerk rename to elsewhere")
        .await
        .unwrap();
    for id in ["msg_1", "msg_2", "msg_3"] {
        assert_eq!(
            app.deliver(id, update(id, "user_1", 1).body().to_vec())
                .await
                .status,
            200
        );
    }
    let away = get(&app, "/api/stats").await;
    assert_eq!((away.status, away.code()), (503, "database_unavailable"));
    sqlx::Executor::execute(&mut connection, "alter schema elsewhere rename to clerk")
        .await
        .unwrap();
    until("all are applied and counted", async || {
        let stats = get(&app, "/api/stats").await;
        stats.status == 200
            && stats.body["queue"]["depth"] == 0
            && stats.body["totals"]["events"] == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_found_by_the_beginning_of_a_name_and_the_history_says_why() {
    let place = Place::embedded();
    let app = serve(&place, &[("EVENT_PAYLOADS", "all")]).await;
    deliver(
        &app,
        &[("msg_Ada1", 10), ("msg_Ada2", 30), ("msg_Ada3", 20)],
    )
    .await;
    let found = get(&app, "/api/users?q=MSG_ada").await.body;
    assert_eq!(found["data"][0]["clerk_id"], "user_1");
    assert_eq!(get(&app, "/api/users?q=ada").await.body["data"], json!([]));

    let first = get(&app, "/api/users/user_1/history?limit=2").await.body;
    let summary = |row: &Value| {
        assert!(
            row["lag_ms"].as_u64().is_some()
                && row["received_at"].is_string()
                && row.get("payload").is_none()
        );
        (
            row["event_id"].clone(),
            row["status"].clone(),
            row["superseded_by"].clone(),
            row["changed"].clone(),
        )
    };
    let rows: Vec<_> = first["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(summary)
        .collect();
    assert_eq!(
        rows,
        [
            (
                json!("msg_Ada3"),
                json!("stale"),
                json!("msg_Ada2"),
                Value::Null
            ),
            (
                json!("msg_Ada2"),
                json!("applied"),
                Value::Null,
                json!(["first_name"])
            ),
        ]
    );
    assert!(
        first["data"][0]["why"]
            .as_str()
            .unwrap()
            .contains("a newer version was there, of msg_Ada2")
    );
    let rest = format!(
        "/api/users/user_1/history?cursor={}",
        first["next"].as_str().unwrap()
    );
    let rest = get(&app, &rest).await.body;
    assert_eq!(
        (&rest["data"][0]["event_id"], &rest["next"]),
        (&json!("msg_Ada1"), &Value::Null)
    );

    // A user of whom there is nothing but an event that failed.
    fail(&app.store, &[update("msg_9", "user_9", 1)]).await;
    let failed = get(&app, "/api/users/user_9/history").await.body;
    assert_eq!(failed["data"][0]["why"], "delivery_limit: made by a test");
    assert_eq!(app.event("msg_9").await.unwrap().status, Status::Failed);
}
