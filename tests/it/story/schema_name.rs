//! `DATABASE_SCHEMA`: the tables in a schema of another name, beside one that is called `clerk`.

use sqlx::migrate::Migrate;
use sqlx::{Executor, Row};

use crate::support::app::{App, Place, SECRET, until};

const BODY: &str = r#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

const UNREADABLE: &str = r#"{"data":{},"timestamp":1795172400033,"type":"user.updated"}"#;

/// A word of SQL, which is a name only in quotes.
const SCHEMA: (&str, &str) = ("DATABASE_SCHEMA", "user");

/// The variables of a program that uses the schema and the embedded queue.
const VARIABLES: [(&str, &str); 3] = [
    ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
    SCHEMA,
    ("AMQP_URL", ""),
];

/// What a command that uses the schema prints, and whether it succeeds.
fn run(place: &Place, arguments: &[&str]) -> (bool, String) {
    let mut command = place.command(arguments);
    command.env_remove("AMQP_URL").env(SCHEMA.0, SCHEMA.1);
    let output = command.env(VARIABLES[0].0, SECRET).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), printed.into_owned())
}

fn succeed(place: &Place, arguments: &[&str]) -> String {
    let (succeeded, printed) = run(place, arguments);
    assert!(succeeded, "{arguments:?}: {printed}");
    printed
}

/// Delivers an event and waits until the schema has it.
async fn deliver(place: &Place, app: &App, id: &str, body: &str) {
    assert_eq!(app.deliver(id, body).await.status, 200);
    until("the event is recorded", async || {
        succeed(place, &["events", "list"]).contains(id)
    })
    .await;
}

async fn count(place: &Place, sql: &'static str) -> i64 {
    let mut connection = place.database().connect().await;
    connection.fetch_one(sql).await.unwrap().get(0)
}

/// The schema `clerk` is that of Supabase's wrapper of Clerk.
#[tokio::test(flavor = "multi_thread")]
async fn everything_works_in_another_schema_if_clerk_is_taken() {
    let place = Place::servers().await;
    let wrapper = "create foreign data wrapper other; create server clerk_server foreign data wrapper other; create schema clerk;
         create foreign table clerk.users (id text, attrs jsonb) server clerk_server";
    let mut connection = place.database().connect().await;
    connection.execute(wrapper).await.unwrap();
    let refused = place.run(&["migrate"]);
    let refusal = String::from_utf8_lossy(&refused.stderr);
    assert!(refusal.contains("with DATABASE_SCHEMA"), "{refusal}");

    let app = place.start(&["serve"], &VARIABLES).await;
    deliver(&place, &app, "msg_1", BODY).await;
    deliver(&place, &app, "msg_2", UNREADABLE).await;
    assert!(
        app.log()
            .iter()
            .any(|line| line.contains(", schema user\"")),
        "{:#?}",
        app.log()
    );
    for (command, printed) in [
        (&["users", "list", "user_1"][..], "user_1"),
        (&["users", "show", "user_1"], "user_1"),
        (&["users", "history", "user_1"], "msg_1"),
        (&["events", "show", "msg_2"], "msg_2"),
        (&["events", "replay", "--all"], "1"),
        (&["users", "erase", "user_1", "--yes"], "user_1"),
        (&["migrate", "--check"], ""),
        (&["check"], ", schema user"),
    ] {
        let output = succeed(&place, command);
        assert!(output.contains(printed), "{command:?}: {output}");
    }
    until("the replay is recorded", async || {
        count(&place, r#"select max(attempts) from "user".events"#).await == 2
    })
    .await;
    assert!(app.stop().success());
    let comment = r#"select count(*) from pg_description where objoid = '"user"'::regnamespace"#;
    assert_eq!(count(&place, comment).await, 1);

    connection
        .execute(r#"drop table "user".events"#)
        .await
        .unwrap();
    let (succeeded, printed) = run(&place, &["check"]);
    assert!(
        !succeeded && printed.contains("user.events is missing, although user._migrations"),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_schemas_in_one_database_do_not_meet() {
    let place = Place::servers().await;
    // A migration of one schema does not wait for that of the other.
    let mut other = place.database().connect().await;
    other.lock().await.unwrap();
    succeed(&place, &["migrate"]);
    other.unlock().await.unwrap();

    let (ours, default) = tokio::join!(
        place.start(&["serve"], &VARIABLES),
        place.start(&["serve"], &VARIABLES[..1])
    );
    deliver(&place, &ours, "msg_1", BODY).await;
    let another = BODY.replace("user_1", "user_2");
    assert_eq!(default.deliver("msg_2", another).await.status, 200);
    default.settled("msg_2").await;
    for (sql, rows) in [
        (
            r#"select count(*) from "user".users where clerk_id = 'user_1'"#,
            1,
        ),
        (r#"select count(*) from "user".events"#, 1),
        (
            "select count(*) from clerk.users where clerk_id = 'user_2'",
            1,
        ),
        ("select count(*) from clerk.events", 1),
    ] {
        assert_eq!(count(&place, sql).await, rows, "{sql}");
    }
    assert!(!place.succeed(&["users", "list"]).contains("user_1"));
    assert!(ours.stop().success() && default.stop().success());
}

#[test]
fn a_name_that_cannot_be_used_is_refused_and_one_for_sqlite_has_no_effect() {
    let place = Place::embedded();
    for name in [
        "public",
        "Clerk",
        "a b",
        "x\"; drop schema clerk; --",
        "pg_x",
    ] {
        let output = place.run(&["migrate", "--database-schema", name]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains("DATABASE_SCHEMA is"),
            "{name}: {error}"
        );
    }
    let output = place.run(&["migrate", "--database-schema", "app"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && error.contains("SQLite has no schemas"),
        "{error}"
    );
}
