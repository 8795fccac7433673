//! A database that is not as it should be: another program's tables, another encoding, rows that
//! are hidden, a lock that somebody holds, an old schema. What is wrong is named by `migrate`,
//! `serve`, `/readyz` and `check` alike, and nothing is touched.

use clerk_sync::store::Status;
use sqlx::migrate::Migrate;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::support::app::{App, Place, SECRET, until};
use crate::support::database::{TestDatabase, synced_tables};
use crate::support::pgbouncer::{PgBouncer, program};

pub(super) const BODY: &str = r#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

pub(super) const SECRETS: [(&str, &str); 1] = [("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)];

pub(super) async fn readiness(app: &App) -> String {
    app.get("/readyz").await.map_or_else(String::new, |answer| {
        format!("{} {}", answer.status, answer.body)
    })
}

/// How often the log says so.
pub(super) fn said(app: &App, what: &str) -> usize {
    app.log().iter().filter(|line| line.contains(what)).count()
}

/// What a command that fails prints.
pub(super) fn failure(place: &Place, arguments: &[&str]) -> String {
    let output = place.command(arguments).envs(SECRETS).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success(),
        "{arguments:?} succeeds: {printed}"
    );
    printed.into_owned()
}

/// Everything that there is in the schema clerk, by kind and name.
async fn things(connection: &mut PgConnection) -> Vec<String> {
    let things = "select 'schema ' || nspname from pg_namespace where nspname = 'clerk'
        union all select relkind::text || ' ' || relname from pg_class where relnamespace = to_regnamespace('clerk')
        union all select 'type ' || typname from pg_type where typnamespace = to_regnamespace('clerk')
        order by 1";
    connection
        .fetch_all(things)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// The first is what Supabase's wrapper of Clerk makes.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_program_are_named_and_not_touched() {
    let others = [
        "create foreign data wrapper other; create server clerk_server foreign data wrapper other; create schema clerk;
         create foreign table clerk.users (id text, attrs jsonb) server clerk_server;
         create foreign table clerk.organizations (id text, attrs jsonb) server clerk_server",
        "create schema clerk; create table clerk.users (id bigint primary key, email text)",
        "create schema clerk; create view clerk.events as select 1 as one",
        "create schema clerk; create materialized view clerk.active_users as select 1 as one",
        "create schema clerk; create table clerk._migrations (id serial primary key, name text)",
        "create schema clerk; create type clerk.users as enum ('one')",
        "create schema clerk; create table clerk.others (id text); create index users_email on clerk.others (id)",
        // The names of later migrations, and one that a later migration drops.
        "create schema clerk; create table clerk.settings (id int)",
        "create schema clerk; create domain clerk.settings as int",
        "create schema clerk; create table clerk.zzz (id int); create index events_failed on clerk.zzz (id)",
        "create schema clerk; create sequence clerk.events_payloads",
    ];
    for other in others {
        let place = Place::servers().await;
        let mut connection = place.database().connect().await;
        connection.execute(other).await.unwrap();
        let before = things(&mut connection).await;
        let migrated = failure(&place, &["migrate"]);
        assert!(
            migrated.contains("clerk-sync did not make"),
            "{other}: {migrated}"
        );
        assert!(
            migrated.contains("Nothing was changed"),
            "{other}: {migrated}"
        );
        for command in [&["migrate", "--check"][..], &["check"]] {
            let printed = failure(&place, command);
            assert!(
                printed.contains("clerk-sync did not make"),
                "{command:?}, {other}: {printed}"
            );
        }
        assert_eq!(things(&mut connection).await, before, "{other}");
    }
}

/// Another program's migrations in sqlx's form, in the schema clerk.
#[tokio::test(flavor = "multi_thread")]
async fn migrations_of_another_program_are_named_by_check_too() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let other = "delete from clerk._migrations where version > 1; update clerk._migrations set checksum = '\\x00'";
    place
        .database()
        .connect()
        .await
        .execute(other)
        .await
        .unwrap();
    for command in [&["migrate"][..], &["migrate", "--check"], &["check"]] {
        let printed = failure(&place, command);
        assert!(
            printed.contains("its migration 1 is not the one of this program"),
            "{command:?}: {printed}"
        );
        assert!(
            !printed.contains("run `clerk-sync migrate`"),
            "{command:?}: {printed}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_the_process_that_migrates() {
    let place = Place::servers().await;
    let mut other = place.database().connect().await;
    other.lock().await.unwrap();
    let printed = failure(&place, &["check"]);
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert!(
        printed.contains(&format!("another process is migrating: session {pid}")),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_users_table_is_named_everywhere() {
    let wrapper = "create foreign data wrapper other; create server clerk_server foreign data wrapper other;
        create schema if not exists clerk; create foreign table clerk.users (id text, attrs jsonb) server clerk_server";
    let taken = "drop table clerk.users cascade";
    // Before the first migration, and in the place of a table of ours.
    for is_ours in [false, true] {
        let place = Place::servers().await;
        let mut connection = place.database().connect().await;
        if is_ours {
            place.succeed(&["migrate"]);
            connection.execute(taken).await.unwrap();
        }
        connection.execute(wrapper).await.unwrap();
        let name = "users (a foreign table)";
        for command in [
            &["migrate"][..],
            &["migrate", "--check"],
            &["check"],
            &["users", "list"],
        ] {
            let printed = failure(&place, command);
            // A question has no answer there, and need not say why.
            assert!(
                printed.contains(name) || command[0] == "users",
                "{command:?}: {printed}"
            );
        }
        let app = place.start_unready(&["serve"], &SECRETS);
        until("the log names it", async || said(&app, name) > 0).await;
        until("readiness names it", async || {
            readiness(&app).await.contains(name)
        })
        .await;
        assert!(readiness(&app).await.starts_with("503"));
        connection
            .execute("drop foreign table clerk.users")
            .await
            .unwrap();
        if !is_ours {
            until("it is ready by itself", async || {
                readiness(&app).await.starts_with("200")
            })
            .await;
        }
        assert!(app.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_dropped_is_named() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    place
        .database()
        .connect()
        .await
        .execute("drop table clerk.events")
        .await
        .unwrap();
    let app = place.start_unready(&["serve"], &SECRETS);
    until("readiness names it", async || {
        readiness(&app).await.contains("clerk.events is missing")
    })
    .await;
    assert!(failure(&place, &["check"]).contains("clerk.events is missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_hold_every_character_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII", "WIN1252"] {
        let options = format!("encoding '{encoding}' locale 'C'");
        let place = Place::servers_with(TestDatabase::create_with(&options).await);
        let name = format!("encoding is {encoding}");
        for command in [&["migrate"][..], &["migrate", "--check"], &["check"]] {
            assert!(failure(&place, command).contains(&name), "{command:?}");
        }
        let mut connection = place.database().connect().await;
        assert!(things(&mut connection).await.is_empty());
        let app = place.start_unready(&["serve"], &SECRETS);
        until("the log names it", async || said(&app, &name) > 0).await;
        assert!(things(&mut connection).await.is_empty());
        assert!(app.stop().success());
    }
}

/// A role that does not own the tables, with grants on all of them.
pub(super) async fn stranger(admin: &mut PgConnection, place: &Place) -> (String, String) {
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&mut *admin)
        .await
        .unwrap();
    let role = format!("{name}_stranger");
    let synced = synced_tables();
    let made = format!(
        "drop role if exists {role}; create role {role} login; grant usage on schema clerk to {role};
         grant select, insert, update, delete on {synced}, clerk.events to {role}; grant select on clerk._migrations to {role}"
    );
    admin.execute(AssertSqlSafe(made)).await.unwrap();
    let mut url = reqwest::Url::parse(&place.database().url()).unwrap();
    url.set_username(&role).unwrap();
    (role, url.to_string())
}

/// As SECURITY.md has it: the owner migrates, and the role that serves may not.
#[tokio::test(flavor = "multi_thread")]
async fn serve_needs_neither_lock_nor_right_if_there_is_nothing_to_migrate() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let mut admin = place.database().connect().await;
    let (role, url) = stranger(&mut admin, &place).await;
    let mut other = place.database().connect().await;
    other.lock().await.unwrap();
    let app = place
        .start(&["serve"], &[SECRETS[0], ("DATABASE_URL", &url)])
        .await;
    assert_eq!(app.deliver("msg_1", BODY).await.status, 200);
    assert_eq!(app.settled("msg_1").await.status, Status::Applied);
    place.succeed(&["migrate"]);
    assert!(app.stop().success());
    admin
        .execute(AssertSqlSafe(format!(
            "drop owned by {role} cascade; drop role {role}"
        )))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_says_for_whom_and_goes_on_by_itself() {
    let place = Place::servers().await;
    let mut other = place.database().connect().await;
    other.lock().await.unwrap();
    let app = place.start_unready(&["serve"], &SECRETS);
    until("the log names it", async || {
        said(&app, "another process is migrating") > 0
    })
    .await;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!(said(&app, &format!("session {pid}")), 1, "{:#?}", app.log());
    assert!(readiness(&app).await.starts_with("503"));
    other.unlock().await.unwrap();
    until("it is ready", async || {
        readiness(&app).await.starts_with("200")
    })
    .await;
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_migrations_at_once_are_one() {
    let place = Place::servers().await;
    let started: Vec<_> = (0..6)
        .map(|_| place.command(&["migrate"]).spawn().unwrap())
        .collect();
    for migration in started {
        let output = migration.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let mut connection = place.database().connect().await;
    let made = "select count(*), count(distinct version), max(version) from clerk._migrations";
    let (rows, versions, newest): (i64, i64, i64) = sqlx::query_as(made)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(
        rows == versions && rows == newest,
        "{rows} rows of {versions} versions up to {newest}"
    );
}

/// Logged at once and every 30 s from then on, by however many parts of the worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_on_an_old_schema_logs_it_at_intervals() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let mut connection = place.database().connect().await;
    let old = "delete from clerk._migrations where version = (select max(version) from clerk._migrations)";
    connection.execute(old).await.unwrap();
    logs_it_at_intervals(&place).await;
}

/// Its parts meet it in other ways: one asks for the version, and the server refuses the statement
/// of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_schema_logs_it_at_intervals() {
    logs_it_at_intervals(&Place::servers().await).await;
}

async fn logs_it_at_intervals(place: &Place) {
    let worker = place.start_unready(&["worker"], &[]);
    let what = "run `clerk-sync migrate`";
    until("the log says so again", async || said(&worker, what) > 1).await;
    let times: Vec<_> = worker
        .log()
        .iter()
        .filter(|line| line.contains(what))
        .map(|line| time_of(line))
        .collect();
    assert!(
        (times[1] - times[0]).num_seconds() >= 29,
        "{:#?}",
        worker.log()
    );
    assert!(readiness(&worker).await.starts_with("503"));
    assert!(worker.stop().success());
}

fn time_of(line: &str) -> chrono::DateTime<chrono::Utc> {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line["timestamp"].as_str().unwrap().parse().unwrap()
}

/// There is no row that a write could be tried on: only the next batch shows that the database
/// takes writes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_is_not_forgotten_for_a_statement_that_touches_no_row() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let mut admin = place.database().connect().await;
    let app = place.serve().await;
    // Raised as the server does where a disk is full: time fixes it, and no grant is missing.
    let trigger = "create function public.full() returns trigger language plpgsql as $$ begin
            raise exception 'no space left' using errcode = '53100'; end $$;
        create trigger full_disk before insert on clerk.users for each row execute function public.full()";
    admin.execute(trigger).await.unwrap();
    assert_eq!(app.deliver("msg_1", BODY).await.status, 200);
    until("readiness says so", async || {
        readiness(&app).await.contains("disk is full")
    })
    .await;
    for _ in 0..5 {
        assert!(
            readiness(&app).await.starts_with("503"),
            "asking must not cure it"
        );
    }
    admin
        .execute("drop trigger full_disk on clerk.users")
        .await
        .unwrap();
    assert_eq!(app.settled("msg_1").await.status, Status::Applied);
    until("it is ready", async || {
        readiness(&app).await.starts_with("200")
    })
    .await;
    assert!(app.stop().success());
}

/// One connection is enough for a command that asks one thing, and for migrations.
#[tokio::test(flavor = "multi_thread")]
async fn commands_need_only_one_connection() {
    let place = Place::servers().await;
    let mut admin = place.database().connect().await;
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let role = format!("{name}_single");
    let made = format!(
        "drop role if exists {role}; create role {role} login connection limit 1; grant create on database {name} to {role}"
    );
    admin.execute(AssertSqlSafe(made)).await.unwrap();
    let mut url = reqwest::Url::parse(&place.database().url()).unwrap();
    url.set_username(&role).unwrap();
    let mut bouncer = None;
    if let Some(program) = program() {
        let settings = ["pool_mode = session", "default_pool_size = 1"];
        bouncer = Some(PgBouncer::before(&program, &place.database().url(), &settings).await);
    }
    let through = bouncer.map(|bouncer| (bouncer.url(&place.database().url()), bouncer));
    for url in [
        Some(url.as_str()),
        through.as_ref().map(|(url, _)| url.as_str()),
    ]
    .into_iter()
    .flatten()
    {
        for command in [
            &["migrate"][..],
            &["migrate", "--check"],
            &["users", "list"],
            &["check"],
        ] {
            let command = [command, &["--database-url", url]].concat();
            until("the connection of the command before has ended", async || {
                let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
                !url.contains(&role) || sqlx::query_scalar::<_, i64>(others).fetch_one(&mut admin).await.unwrap() == 0
            })
            .await;
            let output = place.command(&command).envs(SECRETS).output().unwrap();
            let printed =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {printed}");
        }
    }
    admin
        .execute(AssertSqlSafe(format!(
            "drop owned by {role} cascade; drop role {role}"
        )))
        .await
        .unwrap();
}
