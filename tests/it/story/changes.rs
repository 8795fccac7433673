//! An application that follows the change feed: over HTTP and by command.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use crate::support::app::{Answer, App, Place, SECRET, until};
use crate::support::history::{delete, update};

const ADMIN: &str = "correct-horse-battery-staple";
const READER: &str = "reads-and-does-nothing-else";

async fn serve(place: &Place, more: &[(&str, &str)]) -> App {
    let needed = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", ADMIN),
        ("READ_TOKEN", READER),
        ("CHANGE_FEED", "on"),
    ];
    place.start(&["serve"], &[&needed, more].concat()).await
}

async fn read(app: &App, query: &str) -> Answer {
    app.api(Some(READER), &format!("/api/changes{query}"), None)
        .await
}

/// The changes behind a place, each as `clerk_id change event_id`, and the next place.
async fn behind(app: &App, place: &str) -> (Vec<String>, String) {
    let answer = read(app, &format!("?after={place}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    (texts(&answer.body), next(&answer.body))
}

fn texts(body: &Value) -> Vec<String> {
    let changes = body["data"].as_array().unwrap().iter();
    let text = |change: &Value, name: &str| change[name].as_str().unwrap_or("-").to_owned();
    changes
        .map(|change| {
            ["clerk_id", "change", "event_id"]
                .map(|name| text(change, name))
                .join(" ")
        })
        .collect()
}

fn next(body: &Value) -> String {
    body["next"].as_str().unwrap().to_owned()
}

/// Delivers an update, and waits until it is applied.
async fn apply(app: &App, id: &str, user: &str, at_ms: i64) {
    let event = update(id, user, at_ms);
    assert_eq!(app.deliver(id, event.body().to_vec()).await.status, 200);
    app.settled(id).await;
}

/// Makes all changes older by this time.
async fn make_older(place: &Place, by: &str) {
    match place {
        Place::Servers { database, .. } => {
            let sql =
                format!("update clerk.changes set committed_at = committed_at - interval '{by}'");
            let mut connection = database.connect().await;
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
        }
        Place::Embedded { directory } => {
            let sql = format!(
                "update changes set committed_at = cast(unixepoch(committed_at / 1000, 'unixepoch', '-{by}') as integer) * 1000"
            );
            let file = SqliteConnectOptions::new().filename(directory.path().join("users.db"));
            let mut connection = file.connect().await.unwrap();
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
        }
    }
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod servers { $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
            super::$name(crate::support::app::Place::servers().await).await;
        })* }
        mod embedded { $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
            super::$name(crate::support::app::Place::embedded()).await;
        })* }
    };
}

on_both! {
    an_application_follows_what_happens_to_rows
    an_application_that_stopped_goes_on_where_it_was
    an_application_that_comes_too_late_learns_it
    a_command_prints_the_feed_and_follows_it
    every_kind_of_change_is_counted
}

async fn an_application_follows_what_happens_to_rows(place: Place) {
    let app = serve(&place, &[]).await;
    let empty = read(&app, "").await;
    assert_eq!((empty.status, &empty.body["data"]), (200, &json!([])));
    let start = next(&empty.body);

    // It waits, and is answered by the commit.
    let waits = format!("?after={start}&wait=30");
    let started = Instant::now();
    let (answer, ()) = tokio::join!(read(&app, &waits), async {
        until("it waits", async || waiting(&app).await).await;
        apply(&app, "msg_1", "user_1", 1).await;
    });
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(texts(&answer.body), ["user_1 created msg_1"]);
    let change = &answer.body["data"][0];
    assert_eq!(change["table_name"], "users");
    assert_eq!(change["fields"], json!(["first_name", "updated_at"]));
    assert!(
        change["committed_at"].as_str().unwrap().ends_with('Z'),
        "{change}"
    );
    assert!(change["id"].is_i64(), "{change}");

    apply(&app, "msg_2", "user_1", 2).await;
    app.deliver("msg_3", delete("msg_3", "user_1", 3).body().to_vec())
        .await;
    app.settled("msg_3").await;
    let place_now = next(&answer.body);
    let (seen, end) = behind(&app, &place_now).await;
    assert_eq!(seen, ["user_1 updated msg_2", "user_1 deleted msg_3"]);
    // From the oldest that is kept; of one table; in parts.
    assert_eq!(texts(&read(&app, "").await.body).len(), 3);
    assert_eq!(texts(&read(&app, "?table=users").await.body).len(), 3);
    let others = read(&app, "?table=organizations").await;
    assert_eq!(
        (texts(&others.body).len(), next(&others.body)),
        (0, end.clone())
    );
    let part = read(&app, "?limit=2").await;
    assert_eq!(texts(&part.body).len(), 2);
    assert_eq!(
        behind(&app, &next(&part.body)).await.0,
        ["user_1 deleted msg_3"]
    );
    // What comes from now on.
    let latest = read(&app, "?after=latest").await;
    assert_eq!(
        (texts(&latest.body).len(), next(&latest.body)),
        (0, end.clone())
    );
    // A wait ends without a change.
    let nothing = read(&app, &format!("?after={end}&wait=1")).await;
    assert_eq!(
        (texts(&nothing.body).len(), next(&nothing.body)),
        (0, end.clone())
    );

    for (query, param) in [
        ("?after=x", "after"),
        ("?table=events", "table"),
        ("?wait=31", "wait"),
    ] {
        let wrong = read(&app, query).await;
        assert_eq!(
            (wrong.status, wrong.code()),
            (400, "invalid_request"),
            "{query}"
        );
        assert_eq!(wrong.body["param"], param);
    }
    assert_eq!(app.api(None, "/api/changes", None).await.status, 401);

    // A stop does not wait for those who wait.
    let waits = format!("?after={end}&wait=30");
    let started = Instant::now();
    let answer = tokio::join!(read(&app, &waits), async {
        until("it waits", async || waiting(&app).await).await;
        app.signal("TERM");
    })
    .0;
    assert_eq!((answer.status, answer.code()), (503, "not_ready"));
    assert!(answer.headers.contains_key("retry-after"));
    assert!(started.elapsed() < Duration::from_secs(20));
}

/// Whether a request is held beside the one that asks.
async fn waiting(app: &App) -> bool {
    let (_, page) = app.text("/metrics").await;
    let open = page
        .lines()
        .find_map(|line| line.strip_prefix("clerk_sync_connections "));
    open.is_some_and(|open| open.parse::<u64>().unwrap() >= 2)
}

async fn an_application_that_stopped_goes_on_where_it_was(place: Place) {
    let app = serve(&place, &[]).await;
    apply(&app, "msg_0", "user_0", 1).await;
    let (_, kept) = behind(&app, &next(&read(&app, "").await.body)).await;
    // The application is away for an hour; the server is restarted meanwhile.
    app.stop();
    let app = serve(&place, &[]).await;
    for number in 1..=20 {
        let (id, user) = (format!("msg_{number}"), format!("user_{}", number % 3));
        apply(&app, &id, &user, number).await;
    }
    make_older(&place, "1 hour").await;
    let mut expected: Vec<_> = (1..=20).map(|number| format!("msg_{number}")).collect();
    let (mut after, mut seen) = (kept, Vec::new());
    while seen.len() < expected.len() {
        let part = read(&app, &format!("?after={after}&limit=7")).await;
        seen.extend(texts(&part.body));
        after = next(&part.body);
    }
    let events = seen
        .iter()
        .map(|text| text.rsplit(' ').next().unwrap().to_owned());
    // Two events in one batch may be written in the order of their rows.
    let (mut events, first): (Vec<_>, _) = (events.collect(), seen[0].clone());
    events.sort();
    expected.sort();
    assert_eq!(events, expected, "{first}");
}

async fn an_application_that_comes_too_late_learns_it(place: Place) {
    let app = serve(&place, &[]).await;
    let start = next(&read(&app, "").await.body);
    apply(&app, "msg_1", "user_1", 1).await;
    until("it is published, or need not be", async || {
        let state = app.store.change_feed_state().await.unwrap();
        matches!(place, Place::Embedded { .. }) || state.oldest_unpublished_at.is_none()
    })
    .await;
    make_older(&place, "21 days").await;
    app.stop();
    // Retention begins with the process.
    let app = serve(&place, &[]).await;
    until("the place is expired", async || {
        read(&app, &format!("?after={start}")).await.status == 410
    })
    .await;
    let expired = read(&app, &format!("?after={start}")).await;
    assert_eq!(
        (expired.code(), &expired.body["param"]),
        ("cursor_expired", &json!("after"))
    );
    let output = place.run(&["changes", "--after", &start]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read the tables again"));
    // What comes now is read as before.
    let start = next(&read(&app, "").await.body);
    apply(&app, "msg_2", "user_1", 2).await;
    assert_eq!(behind(&app, &start).await.0, ["user_1 updated msg_2"]);
    app.stop();

    // Without the feed nothing is answered, rather than nothing that happened.
    let off = [("CHANGE_FEED", "off")];
    let app = serve(&place, &off).await;
    let answer = read(&app, "").await;
    assert_eq!((answer.status, answer.code()), (409, "change_feed_off"));
    apply(&app, "msg_3", "user_1", 3).await;
    app.stop();
    let app = serve(&place, &[]).await;
    until("the hole is known", async || {
        read(&app, &format!("?after={start}")).await.status == 410
    })
    .await;
}

async fn a_command_prints_the_feed_and_follows_it(place: Place) {
    let output = place.run(&["changes"]);
    assert_eq!(output.status.code(), Some(1), "there is no schema yet");
    let app = serve(&place, &[]).await;
    let nothing = place.run(&["changes"]);
    assert!(nothing.status.success() && nothing.stdout.is_empty());
    apply(&app, "msg_1", "user_1", 1).await;
    apply(&app, "msg_2", "user_1", 2).await;
    let table = place.succeed(&["changes", "--wide"]);
    for text in [
        "CLERK ID",
        "user_1",
        "created",
        "updated",
        "first_name, updated_at",
        "msg_2",
    ] {
        assert!(table.contains(text), "{table}");
    }
    let lines = place.succeed(&["changes", "--json", "--table", "users"]);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    let cursor = lines[0]["cursor"].as_str().unwrap();
    let behind = place.succeed(&["changes", "--json", "--after", cursor]);
    let behind: Value = serde_json::from_str(&behind).unwrap();
    assert_eq!(behind, lines[1]);
    assert_eq!(
        place.run(&["changes", "--table", "events"]).status.code(),
        Some(2)
    );
    assert_eq!(
        place.run(&["changes", "--after", "x"]).status.code(),
        Some(2)
    );

    let latest = place.run(&["changes", "--after", "latest"]);
    assert!(latest.status.success() && latest.stdout.is_empty());

    let mut command = place.command(&["changes", "--follow", "--json", "--after", cursor]);
    let mut follows = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(follows.stdout.take().unwrap()).lines();
    let mut printed =
        || -> Value { serde_json::from_str(&printed.next().unwrap().unwrap()).unwrap() };
    assert_eq!(printed(), lines[1]);
    apply(&app, "msg_3", "user_2", 1).await;
    let new = printed();
    assert_eq!(
        (&new["clerk_id"], &new["event_id"]),
        (&json!("user_2"), &json!("msg_3"))
    );
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &follows.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    assert!(follows.wait().unwrap().success());
}

async fn every_kind_of_change_is_counted(place: Place) {
    let app = serve(&place, &[]).await;
    apply(&app, "msg_1", "user_1", 1).await;
    apply(&app, "msg_2", "user_1", 2).await;
    app.deliver("msg_3", delete("msg_3", "user_1", 3).body().to_vec())
        .await;
    app.settled("msg_3").await;
    let counted = async |app: &App, change: &str| {
        let (_, page) = app.text("/metrics").await;
        let name = format!(r#"clerk_sync_changes_total{{table="users",change="{change}"}} "#);
        page.lines()
            .find_map(|line| line.strip_prefix(&*name))
            .map(str::to_owned)
    };
    for change in ["created", "updated", "deleted"] {
        assert_eq!(
            counted(&app, change).await.as_deref(),
            Some("1"),
            "{change}"
        );
    }
    app.stop();
    // The worker erases users who were deleted before.
    let app = serve(&place, &[("ON_DELETE", "scrub")]).await;
    until("the erasure is counted", async || {
        counted(&app, "erased").await.as_deref() == Some("1")
    })
    .await;
}
