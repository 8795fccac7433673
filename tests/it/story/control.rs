//! Pause, resume and the rate limit: what every worker obeys, and where it is shown.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::{App, Place, SECRET, until};
use crate::support::database::synced_tables;
use crate::support::scrape::Scrape;
use crate::support::visitor::Visitor;

const TOKEN: &str = "a-token-of-sufficient-length";

const SETTINGS: [(&str, &str); 2] = [
    ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
    ("ADMIN_TOKEN", TOKEN),
];

fn update(number: usize) -> (String, String) {
    let ms = 1_795_172_400_000_usize + number;
    let body = format!(
        r#"{{"data":{{"id":"user_{number}","updated_at":{ms}}},"timestamp":{ms},"type":"user.updated"}}"#
    );
    (format!("msg_{number}"), body)
}

async fn deliver(app: &App, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let (id, body) = update(number);
        assert_eq!(app.deliver(&id, body).await.status, 200);
    }
}

/// How many rows of events there are.
async fn recorded(app: &App) -> u64 {
    app.store.totals().await.unwrap().events
}

async fn waiting(app: &App) -> u64 {
    let stats = app.api(Some(TOKEN), "/api/stats", None).await;
    stats.body["queue"]["depth"].as_u64().unwrap_or(0)
}

async fn applied_once(app: &App, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let event = app.settled(&update(number).0).await;
        assert_eq!(event.deliveries, 1, "{}", event.event_id);
    }
}

fn said(app: &App, words: &str) -> usize {
    let log = app.log();
    log.iter().filter(|line| line.contains(words)).count()
}

/// A person goes on after so long: a worker must have obeyed by then.
async fn obeyed(within: Duration) {
    let started = Instant::now();
    until("the time is over", async || started.elapsed() >= within).await;
}

/// For longer than a worker may take to obey, no event is recorded.
async fn assert_rest(app: &App, before: u64) {
    let change = until("an event is recorded", async || {
        recorded(app).await != before
    });
    let rest = tokio::time::timeout(Duration::from_secs(2), change).await;
    assert!(rest.is_err(), "an event was recorded during a pause");
}

/// Events wait, and none is recorded.
async fn nothing_is_applied(app: &App, events: u64) {
    let before = recorded(app).await;
    until("the events wait", async || waiting(app).await >= events).await;
    assert_rest(app, before).await;
}

async fn paused_and_resumed(place: Place) {
    let app = place.start(&["serve"], &SETTINGS).await;
    deliver(&app, 0..5).await;
    applied_once(&app, 0..5).await;

    let said_pause = place.succeed(&["pause", "--reason", "a move of tables"]);
    assert!(said_pause.starts_with("Paused."), "{said_pause}");
    obeyed(Duration::from_secs(1)).await;
    deliver(&app, 5..45).await;
    nothing_is_applied(&app, 40).await;
    let ready = app.get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200);
    assert_eq!(ready.body, json!({"status": "ready", "paused": true}));
    assert_eq!(said(&app, "paused: events wait"), 1, "{:#?}", app.log());

    // A stop is prompt, and a start takes nothing.
    let started = Instant::now();
    assert!(app.stop().success());
    assert!(started.elapsed() < Duration::from_secs(9));
    let app = place.start(&["serve"], &SETTINGS).await;
    deliver(&app, 45..50).await;
    nothing_is_applied(&app, 45).await;

    assert!(place.succeed(&["resume"]).starts_with("Resumed, after "));
    applied_once(&app, 5..50).await;
    assert_eq!(said(&app, "resumed: events are applied"), 1);
    let ready = app.get("/readyz").await.unwrap();
    assert_eq!(ready.body, json!({"status": "ready"}));
    assert_eq!(place.succeed(&["resume"]), "Nothing was paused.\n");
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_events_until_it_is_resumed_embedded() {
    paused_and_resumed(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_events_until_it_is_resumed_with_servers() {
    paused_and_resumed(Place::servers().await).await;
}

async fn receiver_and_workers(place: &Place) -> (App, [App; 2]) {
    place.succeed(&["migrate"]);
    let receiver = place.start(&["receiver"], &SETTINGS).await;
    let workers = [
        place.start(&["worker"], &SETTINGS).await,
        place.start(&["worker"], &SETTINGS).await,
    ];
    (receiver, workers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_under_load_stops_two_workers_and_spends_no_delivery() {
    let place = Place::servers().await;
    let (receiver, workers) = receiver_and_workers(&place).await;
    let load = async {
        join_all((0..8).map(async |client| {
            for number in 0..100 {
                let (id, body) = update(client * 100 + number);
                assert_eq!(receiver.deliver(&id, body).await.status, 200);
            }
        }))
        .await;
    };
    let pause = async {
        until("some are applied", async || recorded(&receiver).await > 20).await;
        place.store().pause(None, "a test".into()).await.unwrap();
        // A batch in flight may take a moment.
        obeyed(Duration::from_secs(2)).await;
        recorded(&receiver).await
    };
    let ((), at_rest) = tokio::join!(load, pause);
    deliver(&receiver, 800..820).await;
    assert_rest(&receiver, at_rest).await;
    place.store().resume().await.unwrap();
    applied_once(&receiver, 0..820).await;
    assert_eq!(place.namespace().ready("dead").await, Some(0));
    for app in workers.into_iter().chain([receiver]) {
        assert!(app.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_during_an_outage_is_obeyed_after_it() {
    use sqlx::Executor;
    const FULL: &str = "
        create function public.refuse() returns trigger language plpgsql as $$
        begin
            raise exception 'full' using errcode = '53100';
        end $$;
        create trigger full_disk before insert on clerk.events for each statement execute function public.refuse()";
    let place = Place::servers().await;
    let app = place.start(&["serve"], &SETTINGS).await;
    let mut outside = place.database().connect().await;
    outside.execute(FULL).await.unwrap();
    deliver(&app, 0..10).await;
    until("the worker meets the outage", async || {
        said(&app, "waiting for the database") > 0
    })
    .await;
    place.succeed(&["pause"]);
    until("the worker returns the events", async || {
        said(&app, "paused: events wait") > 0 && waiting(&app).await == 10
    })
    .await;
    outside
        .execute("drop trigger full_disk on clerk.events")
        .await
        .unwrap();
    nothing_is_applied(&app, 10).await;
    place.succeed(&["resume"]);
    applied_once(&app, 0..10).await;
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_holds_over_two_workers_and_a_stop_is_prompt() {
    const LIMIT: u64 = 20;
    let place = Place::servers().await;
    let (receiver, workers) = receiver_and_workers(&place).await;
    let set = place.succeed(&["rate-limit", &LIMIT.to_string()]);
    assert_eq!(
        set,
        "All workers together apply at most 20 events per second.\n"
    );
    until("each knows the other", async || {
        let answer = workers[0].api(Some(TOKEN), "/api/processes", None).await;
        let rows = answer.body["data"].as_array().unwrap().clone();
        rows.iter().filter(|row| row["role"] == "worker").count() == 2
    })
    .await;
    // The first events show that the limit is known to both.
    deliver(&receiver, 0..200).await;
    until("some are applied", async || recorded(&receiver).await >= 40).await;
    let (before, started) = (recorded(&receiver).await, Instant::now());
    until("more are applied", async || {
        recorded(&receiver).await >= before + 80
    })
    .await;
    let (events, seconds) = (
        recorded(&receiver).await - before,
        started.elapsed().as_secs_f64(),
    );
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    let rate = events as f64 / seconds;
    assert!((8.0..25.0).contains(&rate), "{events} in {seconds} s");

    let [first, second] = workers;
    let started = Instant::now();
    assert!(first.stop().success());
    assert!(started.elapsed() < Duration::from_secs(9));
    place.succeed(&["rate-limit", "off"]);
    applied_once(&receiver, 0..200).await;
    assert_eq!(place.namespace().ready("dead").await, Some(0));
    for app in [second, receiver] {
        assert!(app.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_known_by_its_events_and_a_stopped_process_leaves() {
    let place = Place::servers().await;
    let (receiver, workers) = receiver_and_workers(&place).await;
    deliver(&receiver, 0..3).await;
    let rows = async |app: &App| -> Vec<Value> {
        let answer = app.api(Some(TOKEN), "/api/processes", None).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        assert_eq!(answer.body["next"], Value::Null);
        answer.body["data"].as_array().unwrap().clone()
    };
    until("the receiver is heard of", async || {
        rows(&workers[0])
            .await
            .iter()
            .any(|row| row["role"] == "receiver" && row["pid"] == receiver.id())
    })
    .await;
    let mut visitor = Visitor::of(&workers[0]);
    visitor.log_in(TOKEN).await;
    let overview = visitor.get("/").await.text();
    assert!(
        overview.contains("1 elsewhere an event from one"),
        "{overview}"
    );
    let all = rows(&workers[0]).await;
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(
        all.iter()
            .all(|row| row["version"] == env!("CARGO_PKG_VERSION")
                && row["gone"] == false
                && !row["host"].as_str().unwrap().is_empty())
    );
    let [first, second] = workers;
    assert!(first.stop().success());
    let left = rows(&second).await;
    assert_eq!(left.len(), 2, "a clean stop takes its row away: {left:?}");
    for app in [second, receiver] {
        assert!(app.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pause_is_shown_everywhere_and_changed_from_everywhere() {
    let place = Place::embedded();
    let app = place.start(&["serve"], &SETTINGS).await;
    let control = app.api(Some(TOKEN), "/api/control", None).await;
    assert_eq!(control.body, json!({"paused": null, "rate_limit": null}));
    for (body, param) in [
        (r#"{"reason":"a\nb"}"#, "reason"),
        (r#"{"why":"x"}"#, ""),
        ("[]", ""),
    ] {
        let wrong = app.api_bytes(TOKEN, "/api/pause", body).await;
        assert_eq!(
            (wrong.status, wrong.code()),
            (400, "invalid_request"),
            "{body}"
        );
        assert_eq!(wrong.body["param"].as_str().unwrap_or(""), param);
    }
    for body in [
        r#"{"events_per_second":0}"#,
        r#"{"events_per_second":1.5}"#,
        "{}x",
        "{}",
        "",
    ] {
        let wrong = app.api_bytes(TOKEN, "/api/rate-limit", body).await;
        assert_eq!(wrong.status, 400, "{body}");
    }
    let paused = app
        .api_bytes(TOKEN, "/api/pause", r#"{"reason":"<b>a move</b>"}"#)
        .await;
    assert_eq!(paused.status, 200, "{:?}", paused.body);
    assert_eq!(paused.body["changed"], true);
    assert_eq!(paused.body["paused"]["reason"], "<b>a move</b>");
    assert_eq!(
        paused.body["paused"]["paused_by"],
        "the API, from 127.0.0.1"
    );
    let again = app.api_bytes(TOKEN, "/api/pause", "").await;
    assert_eq!(again.body["changed"], false);
    assert_eq!(
        again.body["paused"], paused.body["paused"],
        "the first stays"
    );
    let limited = app
        .api_bytes(TOKEN, "/api/rate-limit", r#"{"events_per_second":50}"#)
        .await;
    assert_eq!(limited.body["rate_limit"], 50);

    let scraped = Scrape::of(&app).await;
    assert_eq!(scraped.get("clerk_sync_paused"), Some(1.0));
    assert_eq!(scraped.get("clerk_sync_rate_limit"), Some(50.0));
    let status = place.run(&["status"]);
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.starts_with("Paused, since "), "{text}");
    let checked = String::from_utf8(place.run(&["check"]).stdout).unwrap();
    assert!(checked.contains("applying is paused since"), "{checked}");
    let twice = place.succeed(&["pause", "--reason", "other"]);
    assert!(
        twice.contains("It is paused already, since") && twice.contains("<b>a move</b>"),
        "{twice}"
    );
    let json: Value = serde_json::from_str(&place.succeed(&["rate-limit", "--json"])).unwrap();
    assert_eq!(json["rate_limit"], 50);
    assert_eq!(json["paused"]["reason"], "<b>a move</b>");

    let mut visitor = Visitor::of(&app);
    visitor.log_in(TOKEN).await;
    for path in ["/", "/events", "/users", "/control"] {
        let page = visitor.get(path).await;
        assert!(
            page.body.contains("<b>Paused</b>")
                && page.body.contains("&#60;b&#62;a move&#60;/b&#62;"),
            "{path}: {}",
            page.body
        );
    }
    assert!(visitor.get("/").await.body.contains("Paused, since"));
    let token = visitor.form_token("/control").await;
    let resumed = visitor
        .post("/control/resume", &[("form_token", &token)])
        .await;
    assert_eq!((resumed.status, resumed.location()), (303, "/control"));
    assert_eq!(app.store.control().await.unwrap().paused, None);
    // A number, an empty field, and no such field or another one.
    for (field, status) in [
        (("events_per_second", "nothing"), 400),
        (("events_per_second", ""), 303),
        (("rate", "5"), 400),
    ] {
        let fields = [("form_token", &*token), field];
        let answer = visitor.post("/control/rate-limit", &fields).await;
        assert_eq!(answer.status, status, "{field:?}");
    }
    assert_eq!(app.store.control().await.unwrap().rate_limit, None);
    let forged = visitor.post("/control/pause", &[("reason", "x")]).await;
    assert_eq!(forged.status, 403);
    assert!(!visitor.get("/control").await.body.contains("<b>Paused</b>"));
    let resumed = app.api_bytes(TOKEN, "/api/resume", "").await;
    assert_eq!(
        resumed.body,
        json!({"changed": false, "paused": null, "rate_limit": null})
    );
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_read_token_sees_the_control_and_changes_nothing() {
    let place = Place::embedded();
    let reader = "a-read-token-of-length";
    let app = place
        .start(
            &["serve"],
            &[SETTINGS[0], SETTINGS[1], ("READ_TOKEN", reader)],
        )
        .await;
    for path in ["/api/control", "/api/processes"] {
        assert_eq!(
            app.api(Some(reader), path, None).await.status,
            200,
            "{path}"
        );
    }
    for path in ["/api/pause", "/api/resume", "/api/rate-limit"] {
        let refused = app.api_bytes(reader, path, "{}").await;
        assert_eq!(
            (refused.status, refused.code()),
            (403, "forbidden"),
            "{path}"
        );
    }
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_write_rows_are_refused_during_a_pause() {
    let place = Place::embedded();
    place.succeed(&["migrate"]);
    place.succeed(&["pause", "--reason", "a move"]);
    for command in [&["backfill"][..], &["reconcile", "--fix"]] {
        let mut refused = place.command(command);
        // Nothing is asked of this address.
        refused
            .env("CLERK_SECRET_KEY", "sk_test_x")
            .env("CLERK_API_URL", "http://127.0.0.1:9/v1");
        let output = refused.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("applying is paused since")
                && error.contains("run `clerk-sync resume` first"),
            "{error}"
        );
    }
}

/// A role whose operator has not granted the new table, and one that may not read the settings.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_on_settings_and_processes_applies_events() {
    use sqlx::Executor;
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let role = format!(
        "clerk_sync_{}",
        place.namespace().name().replace(['-', '.'], "_")
    );
    let synced = synced_tables();
    let grants = format!(
        "create role {role} login;
         grant usage on schema clerk to {role};
         grant select on clerk._migrations to {role};
         grant select, insert, update, delete on {synced}, clerk.events to {role}"
    );
    let mut owner = place.database().connect().await;
    owner.execute(sqlx::AssertSqlSafe(grants)).await.unwrap();
    let url = place
        .database()
        .url()
        .replace("postgres@", &format!("{role}@"));
    let receiver = place.start(&["receiver"], &SETTINGS).await;
    let worker = place
        .start(&["worker"], &[SETTINGS[1], ("DATABASE_URL", &url)])
        .await;
    place.succeed(&["pause"]);
    deliver(&receiver, 0..3).await;
    applied_once(&receiver, 0..3).await;
    until("each fault is logged", async || {
        said(&worker, "this worker does not see changes of them") == 1
            && said(&worker, "this process could not be recorded") == 1
    })
    .await;
    for app in [worker, receiver] {
        assert!(app.stop().success());
    }
    let drop_role = format!("drop owned by {role}; drop role {role}");
    owner.execute(sqlx::AssertSqlSafe(drop_role)).await.unwrap();
}
