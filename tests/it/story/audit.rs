//! Attempts, and who acted: over the API, by command and in the dashboard.

use clerk_sync::store::Status;
use serde_json::{Value, json};

use super::dashboard::{TOKEN, log_in};
use super::schema::{BODY, SECRETS, failure, stranger};
use crate::support::app::{App, Place, SECRET, until};
use crate::support::history::{delete, event, fail, update};
use sqlx::{AssertSqlSafe, Executor};

const READER: &str = "reads-and-does-nothing-else";

async fn serve(place: &Place) -> App {
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
        ("READ_TOKEN", READER),
    ];
    place.start(&["serve"], &variables).await
}

async fn get(app: &App, path: &str) -> Value {
    let answer = app.api(Some(READER), path, None).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

/// The values of some fields of each row.
fn fields(rows: &Value, names: &[&str]) -> Vec<Value> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| names.iter().map(|name| row[*name].clone()).collect())
        .collect()
}

async fn tried(app: &App, id: &str, attempts: i64) {
    until("it is tried", async || {
        app.event(id).await.unwrap().attempts == attempts
    })
    .await;
}

async fn who_acted_is_kept_and_shown(place: Place) {
    let app = serve(&place).await;
    let never = event(
        "msg_never",
        r#"{"type":"user.updated","data":{"id":"user_4"},"timestamp":-1}"#,
    );
    let events = [
        update("msg_1", "user_1", 10),
        update("msg_2", "user_2", 10),
        update("msg_3", "user_3", 10),
        never,
    ];
    fail(&app.store, &events).await;

    // Over the API: one that is repaired, one that fails again.
    for id in ["msg_1", "msg_never"] {
        let path = format!("/api/events/{id}/replay");
        let done = app.api(Some(TOKEN), &path, Some(json!({}))).await;
        assert_eq!(done.body["replayed"], 1, "{}", done.body);
        tried(&app, id, 2).await;
    }
    let refused = app.api(Some(READER), "/api/events/msg_2/discard", Some(json!({})));
    assert_eq!(refused.await.status, 403);
    let applied = get(&app, "/api/events/msg_1").await;
    assert_eq!(
        fields(&applied["attempts_log"], &["outcome", "error_code"]),
        [
            json!(["failed", "delivery_limit"]),
            json!(["applied", null])
        ]
    );
    assert_eq!(applied["attempts_log"][0]["error"], "made by a test");
    assert_eq!(applied["attempts_log"][1]["at"], applied["processed_at"]);
    let names = ["action", "actor", "address", "forwarded_for"];
    assert_eq!(
        fields(&applied["audit"], &names),
        [json!(["replayed", "admin_token", "127.0.0.1", null])]
    );
    let failed = get(&app, "/api/events/msg_never?fields=attempts_log").await;
    assert_eq!(
        fields(&failed["attempts_log"], &["error_code"]),
        [json!(["delivery_limit"]), json!(["implausible_time"])]
    );

    // In the dashboard, behind a proxy.
    let mut visitor = log_in(&app).await;
    visitor.set("x-forwarded-for", "203.0.113.9");
    let token = visitor.form_token("/events/msg_2").await;
    let form = [("form_token", &*token)];
    let done = visitor.post("/events/msg_2/discard", &form).await;
    assert_eq!(done.location(), "/events/msg_2?done=discarded");
    // By command.
    place.succeed(&[
        "events",
        "discard",
        "--type",
        "user.updated",
        "--user",
        "user_3",
    ]);
    assert_eq!(app.event("msg_3").await.unwrap().status, Status::Discarded);
    // What does nothing is not recorded.
    let dry = app.api(
        Some(TOKEN),
        "/api/events/discard",
        Some(json!({"all": true, "dry_run": true})),
    );
    assert_eq!(dry.await.body["discarded"], 1);

    let audit = get(&app, "/api/audit").await;
    let names = ["action", "actor", "event_id", "count", "filter"];
    let by_filter = json!({"clerk_id": "user_3", "event_type": "user.updated"});
    assert_eq!(
        fields(&audit["data"], &names),
        [
            json!(["discarded", "command", null, 1, by_filter]),
            json!(["discarded", "dashboard", "msg_2", 1, null]),
            json!(["replayed", "admin_token", "msg_never", 1, null]),
            json!(["replayed", "admin_token", "msg_1", 1, null]),
        ]
    );
    let command = audit["data"][0]["address"].as_str().unwrap();
    assert!(!command.is_empty() && !command.contains(TOKEN), "{command}");
    assert_eq!(audit["data"][1]["forwarded_for"], "203.0.113.9");
    let first = get(&app, "/api/audit?action=replayed&limit=1").await;
    let next = first["next"].as_str().unwrap();
    let second = get(
        &app,
        &format!("/api/audit?action=replayed&cursor={next}&fields=event_id"),
    )
    .await;
    assert_eq!(second["data"], json!([{"event_id": "msg_1"}]));
    assert_eq!(second["next"], Value::Null);
    for (query, count) in [
        ("event_id=msg_2", 1),
        ("clerk_id=user_3", 0),
        ("since=1h", 4),
        ("until=1h", 0),
    ] {
        let found = get(&app, &format!("/api/audit?{query}")).await;
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{query}");
    }
    for (query, param) in [
        ("action=lost", "action"),
        ("cursor=e.5.msg_1", "cursor"),
        ("since=soon", "since"),
    ] {
        let wrong = app
            .api(Some(READER), &format!("/api/audit?{query}"), None)
            .await;
        assert_eq!((wrong.status, &wrong.body["param"]), (400, &json!(param)));
    }
    let unknown = app.api(Some(READER), "/api/audit?user=user_1", None).await;
    assert!(
        unknown.body["detail"]
            .as_str()
            .unwrap()
            .contains("clerk_id")
    );
    assert_eq!(app.api(None, "/api/audit", None).await.status, 401);

    // The same by command, on 80 columns too.
    let lines = place.succeed(&["audit", "--json"]);
    let rows: Result<Vec<Value>, _> = lines.lines().map(serde_json::from_str).collect();
    assert_eq!(json!(rows.unwrap()), audit["data"]);
    let table = place
        .command(&["audit"])
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    for part in ["ACTION", "dashboard", "admin token", "msg_never"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let shown = place.succeed(&["events", "show", "msg_never"]);
    for part in [
        "attempt 1",
        "failed: delivery_limit",
        "attempt 2",
        "failed: implausible_time",
        "by admin token, 127.0.0.1",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    // And in the dashboard.
    let page = visitor.get("/events/msg_1").await.text();
    for part in [
        "Attemptsnewest first 2 applied",
        "1 failed",
        "delivery_limit made by a test",
        "Who acted",
        "replayed",
        "admin token, 127.0.0.1",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = visitor.get("/audit").await.text();
    for part in [
        "127.0.0.1, for 203.0.113.9",
        "1 event: clerk_id=user_3, event_type=user.updated",
        "msg_never",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = visitor.get("/audit?action=replayed&limit=1").await;
    assert!(page.text().contains("msg_never") && page.text().contains("Older"));
    assert!(!page.text().contains("msg_2"), "{}", page.text());
    assert_eq!(visitor.get("/audit?action=lost").await.status, 400);
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acted_is_kept_and_shown_with_servers() {
    who_acted_is_kept_and_shown(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acted_is_kept_and_shown_without_servers() {
    who_acted_is_kept_and_shown(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_has_its_time_and_who_asked_for_it() {
    let place = Place::embedded();
    let app = serve(&place).await;
    for change in [
        update("msg_1", "user_1", 10),
        delete("msg_2", "user_1", 20),
        update("msg_3", "user_2", 10),
    ] {
        let body = change.body().to_vec();
        assert_eq!(app.deliver(change.id().as_str(), body).await.status, 200);
        app.settled(change.id().as_str()).await;
    }
    place.succeed(&["users", "erase", "user_1", "--dry-run"]);
    for user in ["user_1", "user_2"] {
        place.succeed(&["users", "erase", user, "--yes"]);
    }
    let audit = get(&app, "/api/audit?clerk_id=user_1").await;
    let names = ["action", "actor", "clerk_id"];
    assert_eq!(
        fields(&audit["data"], &names),
        [json!(["erased", "command", "user_1"])]
    );
    let mut visitor = log_in(&app).await;
    let page = visitor.get("/users/user_1").await.text();
    assert!(page.contains("The data of this user is erased."), "{page}");
    assert!(page.contains(" by command, "), "{page}");
    let page = visitor.get("/users/user_2").await.text();
    assert!(page.contains("The data of this user was erased"), "{page}");
    place.succeed(&["users", "erase", "user_1", "--forget", "--yes"]);
    let audit = get(&app, "/api/audit?clerk_id=user_1&fields=action").await;
    assert_eq!(
        audit["data"],
        json!([{"action": "forgotten"}, {"action": "erased"}, {"action": "erased"}])
    );
}

/// What cannot be recorded is not done; events are applied all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_write_the_audit_changes_nothing() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let mut admin = place.database().connect().await;
    let (role, url) = stranger(&mut admin, &place).await;
    let variables = [SECRETS[0], ("DATABASE_URL", &*url), ("ADMIN_TOKEN", TOKEN)];
    let app = place.start(&["serve"], &variables).await;
    assert_eq!(app.deliver("msg_1", BODY).await.status, 200);
    assert_eq!(app.settled("msg_1").await.status, Status::Applied);
    fail(&app.store, &[update("msg_2", "user_2", 10)]).await;
    for command in ["events discard msg_2", "users erase user_1 --yes"] {
        let arguments = format!("{command} --database-url {url}");
        let said = failure(&place, &arguments.split(' ').collect::<Vec<_>>());
        assert!(said.contains("SECURITY.md lists the grants"), "{said}");
    }
    for path in ["/api/events/msg_2/replay", "/api/events/msg_2/discard"] {
        let refused = app.api(Some(TOKEN), path, Some(json!({}))).await;
        assert_eq!(refused.status, 503, "{path}: {}", refused.body);
    }
    assert_eq!(app.event("msg_2").await.unwrap().attempts, 1);
    assert_eq!(app.event("msg_2").await.unwrap().status, Status::Failed);
    let mut visitor = log_in(&app).await;
    assert_eq!(visitor.get("/users/user_1").await.status, 200);
    let check = place
        .command(&["check", "--database-url", &url])
        .envs(SECRETS)
        .output();
    let said = String::from_utf8(check.unwrap().stdout).unwrap();
    assert!(
        said.contains("the role may not write clerk.audit"),
        "{said}"
    );
    assert!(app.stop().success());
    let gone = format!("drop owned by {role} cascade; drop role {role}");
    admin.execute(AssertSqlSafe(gone)).await.unwrap();
}
