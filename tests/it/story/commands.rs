//! The commands as a newcomer and an operator use them.

mod dev;

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::support::app::{Place, SECRET, until};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

#[tokio::test]
async fn failed_events_are_found_understood_and_replayed_with_postgresql() {
    replay(Place::servers().await).await;
}

#[tokio::test]
async fn failed_events_are_found_understood_and_replayed_with_sqlite() {
    replay(Place::embedded()).await;
}

async fn replay(place: Place) {
    let app = place.serve().await;
    let sent_s = clerk_sync::clock::now().ms() / 1000;
    // 25 hours ahead of its delivery: implausible today, and plausible to a clock that runs an hour
    // and a bit later.
    let ahead = (sent_s + 25 * 3600) * 1000;
    let body = format!(
        r#"{{"data":{{"id":"user_1","first_name":"Ada","updated_at":{ahead}}},"timestamp":{ahead},"type":"user.updated"}}"#
    );
    app.deliver("msg_ahead", body.clone()).await;
    app.deliver("msg_text", "no JSON at all").await;
    app.settled("msg_ahead").await;
    app.settled("msg_text").await;

    let failed = || json_lines(&place.succeed(&["events", "list", "--status", "failed", "--json"]));
    assert_eq!(failed().len(), 2);
    let listed = place.run(&["events", "list", "--status", "failed"]);
    let [table, hint] = [listed.stdout, listed.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(
        table.contains("msg_ahead") && table.contains("failed: implausible_time"),
        "{table}"
    );
    assert!(
        hint.contains("clerk-sync events show msg_") && hint.contains("docs/errors.md"),
        "{hint}"
    );
    let shown: Value =
        serde_json::from_str(&place.succeed(&["events", "show", "msg_ahead", "--json"])).unwrap();
    assert_eq!(
        (&shown["payload"], &shown["error_code"]),
        (&Value::from(body), &Value::from("implausible_time"))
    );
    let shown = place.succeed(&["events", "show", "msg_text"]);
    assert!(
        shown.contains("not_json") && shown.contains("no JSON at all"),
        "{shown}"
    );
    assert!(
        shown.contains("A replay does not help") && shown.contains("docs/errors.md#not_json"),
        "{shown}"
    );

    let dry: Value =
        serde_json::from_str(&place.succeed(&["events", "replay", "--all", "--dry-run", "--json"]))
            .unwrap();
    assert_eq!(
        (&dry["replayed"], &dry["dry_run"]),
        (&Value::from(2), &Value::from(true))
    );
    assert!(
        failed().iter().all(|event| event["attempts"] == 1),
        "a dry run changes nothing"
    );

    // The cause of the failure is fixed: here by a later time of delivery.
    place_sent_at_later(&place, "msg_ahead").await;
    let done: Value =
        serde_json::from_str(&place.succeed(&["events", "replay", "--all", "--json"])).unwrap();
    assert_eq!(done["replayed"], 2);
    until("both are tried again", async || {
        app.event("msg_text").await.unwrap().attempts == 2
            && app.event("msg_ahead").await.unwrap().attempts == 2
    })
    .await;
    let now_applied = app.event("msg_ahead").await.unwrap();
    assert_eq!(
        (
            now_applied.status.as_str(),
            now_applied.error_code,
            now_applied.payload
        ),
        ("applied", None, None)
    );
    assert_eq!(
        app.user("user_1").await.unwrap().text("first_name"),
        Some("Ada")
    );
    assert_eq!(failed().len(), 1, "what still cannot be read stays failed");

    let again = place.run(&["events", "replay", "msg_ahead"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        String::from_utf8(again.stderr)
            .unwrap()
            .contains("only failed events are replayed")
    );
    assert!(app.stop().success());
}

/// Alters the record as if the event had been delivered two hours later.
async fn place_sent_at_later(place: &Place, id: &str) {
    match place {
        Place::Servers { database, .. } => {
            let sql = "update clerk.events set sent_at = sent_at + interval '2 hours' where event_id = $1";
            let mut connection = database.connect().await;
            sqlx::query(sql)
                .bind(id)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        Place::Embedded { directory } => {
            use sqlx::Connection;
            let options = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(directory.path().join("users.db"));
            let mut connection = sqlx::SqliteConnection::connect_with(&options)
                .await
                .unwrap();
            let sql = "update events set sent_at = sent_at + 7200000 where event_id = ?";
            sqlx::query(sql)
                .bind(id)
                .execute(&mut connection)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn users_are_found_by_email_username_and_external_id() {
    let place = Place::embedded();
    let app = place.serve().await;
    let body = r#"{"data":{"email_addresses":[{"email_address":"Ada@Example.com","id":"idn_1","verification":{"status":"verified"}}],"external_id":"ext_7","first_name":"Ada","id":"user_1","primary_email_address_id":"idn_1","updated_at":1795172400018,"username":"ada"},"timestamp":1795172400033,"type":"user.created"}"#;
    app.deliver("msg_1", body).await;
    app.deliver(
        "msg_2",
        body.replace("user_1", "user_2")
            .replace("Ada", "Bob")
            .replace("ext_7", "ext_8")
            .replace(r#""ada""#, r#""bob""#),
    )
    .await;
    app.settled("msg_1").await;
    app.settled("msg_2").await;
    for filter in [
        ["--email", "ADA@example.COM"],
        ["--username", "ada"],
        ["--external-id", "ext_7"],
    ] {
        let found = json_lines(&place.succeed(&["users", "list", "--json", filter[0], filter[1]]));
        assert_eq!(
            found
                .iter()
                .map(|user| &user["clerk_id"])
                .collect::<Vec<_>>(),
            ["user_1"],
            "{filter:?}"
        );
    }
    for text in ["user_1", "ADA@ex", "ad", "ext_7"] {
        for arguments in [
            &["users", "list", "--json", text][..],
            &["users", "list", "--json", "--q", text],
        ] {
            let found = json_lines(&place.succeed(arguments));
            assert_eq!(
                found
                    .iter()
                    .map(|user| &user["clerk_id"])
                    .collect::<Vec<_>>(),
                ["user_1"],
                "{arguments:?}"
            );
        }
    }
    let shown = place.succeed(&["users", "show", "user_1"]);
    assert!(shown.contains("Ada@Example.com (verified)"), "{shown}");
    assert!(
        shown.contains("updated_at          2026-11-20 11:00:00 UTC ("),
        "local time, and the age: {shown}"
    );
    let unknown = place.run(&["users", "show", "user_9"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stdout.is_empty());
}

#[tokio::test]
async fn twenty_thousand_events_end_in_the_newest_version_of_each_user() {
    let place = Place::servers().await;
    // Payloads are kept, so that the newest version can be read from what was sent.
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("EVENT_PAYLOADS", "all"),
    ];
    let app = place.start(&["serve"], &variables).await;
    let url = app.webhook_url();
    let arguments = [
        "send",
        "user.updated",
        "--count",
        "20000",
        "--users",
        "500",
        "--connections",
        "64",
        "--shuffle",
        "--duplicate",
        "--json",
        "--yes",
        "--secret",
        SECRET,
        "--url",
        &url,
    ];
    let summary: Value = serde_json::from_str(&place.succeed(&arguments)).unwrap();
    assert_eq!(summary["accepted"], 40_000, "{summary}");
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let mut connection = database.connect().await;
    let settled = "select count(*), coalesce(sum(deliveries), 0)::bigint from clerk.events where status in ('applied', 'stale')";
    until("all are settled", async || {
        let (events, deliveries): (i64, i64) = sqlx::query_as(settled)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        (events, deliveries) == (20_000, 40_000)
    })
    .await;
    let behind = "select count(*) from clerk.users u
        join (select clerk_id, max((convert_from(payload, 'UTF8')::jsonb #>> '{data,updated_at}')::bigint) as newest
                from clerk.events group by 1) e using (clerk_id)
        where extract(epoch from u.updated_at) * 1000 is distinct from e.newest";
    let behind: i64 = sqlx::query_scalar(behind)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(behind, 0, "every user is at the newest version");
    let users: i64 = sqlx::query_scalar("select count(*) from clerk.users")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(users, 500);
    assert!(app.stop().success());
}

#[tokio::test]
async fn a_wrong_setting_stops_the_program_and_one_line_says_what_is_valid() {
    let place = Place::embedded();
    let secret_twice = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("CLERK_WEBHOOK_SIGNING_SECRET_FILE", "/nowhere"),
    ];
    /// Variables, and what the error names: the variable and the remedy.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
    let cases: [Case; 16] = [
        (&[], "CLERK_WEBHOOK_SIGNING_SECRET", "whsec_"),
        (
            &[("CLERK_WEBHOOK_SIGNING_SECRET", "hunter2hunter2")],
            "CLERK_WEBHOOK_SIGNING_SECRET",
            "whsec_",
        ),
        (
            &[("CLERK_WEBHOOK_SECRET", "whsec_short")],
            "CLERK_WEBHOOK_SIGNING_SECRET",
            "dashboard",
        ),
        (
            &secret_twice,
            "CLERK_WEBHOOK_SIGNING_SECRET_FILE",
            "one of them",
        ),
        (
            &[("CLERK_WEBHOOK_SIGNING_SECRET_FILE", "/nowhere/secret")],
            "CLERK_WEBHOOK_SIGNING_SECRET_FILE",
            "path",
        ),
        (&[("PORT", "many")], "PORT", "3000"),
        (&[("MAX_BODY_BYTES", "0")], "MAX_BODY_BYTES", "1048576"),
        (&[("WORKER_BATCH", "0")], "WORKER_BATCH", "500"),
        (&[("WORKER_CONCURRENCY", "-1")], "WORKER_CONCURRENCY", "2"),
        (
            &[("DATABASE_URL", "mysql://root:hunter2@host/db")],
            "DATABASE_URL",
            "postgres://",
        ),
        (
            &[("AMQP_URL", "http://guest:hunter2@host")],
            "AMQP_URL",
            "amqp://",
        ),
        (&[("AMQP_NAMESPACE", "a b")], "AMQP_NAMESPACE", "clerk-sync"),
        (
            &[("EVENT_RETENTION_DAYS", "a week")],
            "EVENT_RETENTION_DAYS",
            "30",
        ),
        (&[("CHANGE_FEED", "yes")], "CHANGE_FEED", "on or off"),
        (
            &[("CHANGE_RETENTION_DAYS", "a week")],
            "CHANGE_RETENTION_DAYS",
            "such as 7",
        ),
        (&[("LOG_FORMAT", "xml")], "LOG_FORMAT", "pretty or json"),
    ];
    for (variables, name, remedy) in cases {
        let output = place
            .command(&["serve"])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{variables:?}: {error}");
        assert!(
            error.contains(name) && error.contains(remedy),
            "{variables:?}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.contains("hunter2"), "a secret in {error}");
    }
}

#[tokio::test]
async fn flags_win_over_the_environment_and_that_over_dotenv() {
    let place = Place::embedded();
    let ports = [free_port(), free_port(), free_port()];
    let text = format!("PORT={}\nCLERK_WEBHOOK_SIGNING_SECRET={SECRET}\n", ports[0]);
    std::fs::write(place.directory().join(".env"), text).unwrap();
    let flag = ports[2].to_string();
    let app = place
        .start(
            &["serve", "--port", &flag],
            &[("PORT", &ports[1].to_string())],
        )
        .await;
    assert_eq!(app.address.port(), ports[2]);
    assert!(app.stop().success());
    let app = place
        .start(&["serve"], &[("PORT", &ports[1].to_string())])
        .await;
    assert_eq!(app.address.port(), ports[1]);
    assert!(app.stop().success());
    let app = place.start(&["serve"], &[("PORT", "")]).await;
    assert_eq!(app.address.port(), ports[0], "an empty variable is none");
    let taken = place
        .command(&["serve", "--data-dir", "other"])
        .env("PORT", ports[0].to_string())
        .output()
        .unwrap();
    assert_eq!(taken.status.code(), Some(1));
    let error = String::from_utf8(taken.stderr).unwrap();
    assert!(
        error.contains(&ports[0].to_string()) && error.contains("PORT"),
        "{error}"
    );
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[tokio::test]
async fn migrate_says_what_it_did_and_check_changes_nothing() {
    let place = Place::servers().await;
    let run = |arguments: &[&str]| {
        let output = place.run(arguments);
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (status, said) = run(&["migrate", "--check"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("clerk-sync migrate"), "{said}");
    assert_eq!(run(&["migrate"]).0, Some(0));
    let (status, said) = run(&["migrate", "--check"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("up to date"), "{said}");
    assert_eq!(run(&["migrate"]).0, Some(0), "twice is harmless");
}

#[tokio::test]
async fn old_events_are_deleted_after_the_days_that_are_set_and_failed_ones_stay() {
    use clerk_sync::clerk::{EventId, EventType, SignedEvent, Timestamp};
    let place = Place::servers().await;
    let store = place.store();
    store.migrate().await.unwrap();
    let received_days_ago = |id: &str, days: i64, body: &'static str| {
        let at = Timestamp::from_ms(clerk_sync::clock::now().ms() - days * 86_400_000).unwrap();
        let event_type = EventType::read(body.as_bytes());
        SignedEvent::restored(EventId::new(id).unwrap(), event_type, at, at, body.into())
    };
    let good = r#"{"data":{"id":"user_1"},"type":"user.updated"}"#;
    let events = [
        received_days_ago("msg_old", 8, good),
        received_days_ago("msg_old_failed", 8, "no JSON"),
        received_days_ago("msg_recent", 6, good),
    ];
    store
        .apply(&clerk_sync::worker::plan::plan(&events))
        .await
        .unwrap();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("EVENT_RETENTION_DAYS", "7"),
    ];
    let app = place.start(&["serve"], &variables).await;
    until("the old line is gone", async || {
        app.event("msg_old").await.is_none()
    })
    .await;
    assert!(app.event("msg_old_failed").await.is_some() && app.event("msg_recent").await.is_some());
    assert!(app.stop().success());
}

#[tokio::test]
async fn wrong_usage_is_2_and_help_is_0() {
    let place = Place::embedded();
    assert_eq!(place.run(&["no-such-command"]).status.code(), Some(2));
    assert_eq!(
        place
            .run(&["users", "list", "--limit", "501"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        place
            .run(&["send", "user.exploded", "--secret", SECRET])
            .status
            .code(),
        Some(2)
    );
    let help = place.succeed(&["--help"]);
    for command in [
        "dev",
        "serve",
        "receiver",
        "worker",
        "migrate",
        "send",
        "users",
        "events",
        "backfill",
        "reconcile",
    ] {
        assert!(help.contains(command), "{help}");
    }
}

#[tokio::test]
async fn a_missing_database_is_reported_with_what_to_do() {
    let place = Place::embedded();
    let output = place.run(&["users", "list"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("users.db") && error.contains("clerk-sync"),
        "{error}"
    );
    assert!(
        !place.directory().join("users.db").exists(),
        "a question makes no file"
    );
}
