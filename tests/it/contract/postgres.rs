//! Tests of PostgreSQL alone: collations, other tables in the database, and connections.

use clerk_sync::clerk::tables;
use clerk_sync::clerk::{ClerkId, EventType, SignedEvent};
use clerk_sync::sample::Person;
use clerk_sync::store::{self, Keep, Outcome, Page, Store, StoreError, UserFilter};
use clerk_sync::worker::plan::plan;
use sqlx::migrate::Migrate;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::support::app::until;
use crate::support::database::TestDatabase;
use crate::support::history::{at, delete, event, update};

pub(super) fn open(url: &str) -> Store {
    let options = store::postgres::Options {
        schema: Default::default(),
        address: url.parse().unwrap(),
        connections: 2,
        keep: Keep::default(),
        change_feed: false,
    };
    Store::open(&store::Options::Postgres(options)).unwrap()
}

pub(super) async fn migrated(database: &TestDatabase) -> Store {
    let store = open(&database.url());
    store.migrate().await.unwrap();
    store
}

#[tokio::test]
async fn a_tie_is_decided_byte_by_byte_in_a_database_that_sorts_as_people_do() {
    let database = TestDatabase::create_with_icu().await;
    let store = migrated(&database).await;
    let dictionary: bool = sqlx::query_scalar("select 'msg_a' < 'msg_B'")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    assert!(
        dictionary,
        "the database does not sort as people do, so this test would show nothing"
    );
    for (user, order) in [
        ("user_1", ["msg_a", "msg_B"]),
        ("user_2", ["msg_B2", "msg_a2"]),
    ] {
        for id in order {
            store.apply(&plan(&[update(id, user, 10)])).await.unwrap();
        }
        let row = store
            .user(&ClerkId::new(user).unwrap())
            .await
            .unwrap()
            .unwrap();
        assert!(row.event_id.unwrap().starts_with("msg_a"), "{user}");
    }
}

#[tokio::test]
async fn the_applications_own_migrations_are_not_touched() {
    let database = TestDatabase::create().await;
    let mut connection = database.connect().await;
    connection
        .execute("create table public._sqlx_migrations (mine text); insert into public._sqlx_migrations values ('x')")
        .await
        .unwrap();
    migrated(&database).await;
    let mine: String = sqlx::query_scalar("select mine from public._sqlx_migrations")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(mine, "x");
    let ours = "select string_agg(tablename, ' ' order by tablename) from pg_tables where schemaname = 'clerk'";
    let ours: String = sqlx::query_scalar(ours)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let others = [
        "_migrations",
        "audit",
        "changes",
        "events",
        "processes",
        "settings",
    ];
    assert_eq!(ours, names(&others, ""));
}

#[tokio::test]
async fn everything_has_a_comment_and_only_the_keys_are_unique() {
    let database = TestDatabase::create().await;
    migrated(&database).await;
    let mut connection = database.connect().await;
    let silent = "select coalesce(string_agg(c.relname || '.' || a.attname, ' '), '') from pg_attribute a join pg_class c on c.oid = a.attrelid
        where c.relnamespace = 'clerk'::regnamespace and c.relkind = 'r' and c.relname <> '_migrations'
          and a.attnum > 0 and not a.attisdropped and col_description(c.oid, a.attnum) is null";
    let silent: String = sqlx::query_scalar(silent)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(silent, "", "columns without a comment");
    // The server of the tests has lz4: what is large is compressed with it.
    let with_lz4 = "select string_agg(attname, ' ' order by attname) from pg_attribute
        where attrelid in ('clerk.users'::regclass, 'clerk.events'::regclass) and attcompression = 'l'";
    let with_lz4: String = sqlx::query_scalar(with_lz4)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(
        with_lz4,
        "data payload private_metadata public_metadata unsafe_metadata"
    );
    let unique =
        "select coalesce(string_agg(indexname, ' ' order by indexname), '') from pg_indexes where schemaname = 'clerk'
        and tablename <> '_migrations' and indexdef like '%UNIQUE%'";
    let unique: String = sqlx::query_scalar(unique)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let others = ["audit", "changes", "events", "processes", "settings"];
    assert_eq!(unique, names(&others, "_pkey"));
}

/// The synced tables and these, sorted, each with this ending.
fn names(others: &[&str], ending: &str) -> String {
    let synced = tables::ALL.iter().map(|table| table.name);
    let mut names: Vec<_> = synced
        .chain(others.iter().copied())
        .map(|name| format!("{name}{ending}"))
        .collect();
    names.sort();
    names.join(" ")
}

/// A role that may make schemas, one that an administrator made the schema for, and one that may
/// only fill it.
#[tokio::test]
async fn a_role_without_superuser_migrates_and_works() {
    let grants = [
        "grant create on database {database} to {role}",
        "create schema clerk authorization {role}",
        "create schema clerk; grant usage, create on schema clerk to {role}",
    ];
    for (number, grant) in grants.into_iter().enumerate() {
        let database = TestDatabase::create().await;
        let mut connection = database.connect().await;
        let name: String = sqlx::query_scalar("select current_database()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let role = format!("{name}_role_{number}");
        let grant = grant.replace("{database}", &name).replace("{role}", &role);
        let sql =
            format!("drop role if exists {role}; create role {role} login password 'x'; {grant}");
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
        works_as(&role, &database, &mut connection).await;
        connection
            .execute(AssertSqlSafe(format!(
                "drop owned by {role} cascade; drop role {role}"
            )))
            .await
            .unwrap();
    }
}

async fn works_as(role: &str, database: &TestDatabase, connection: &mut PgConnection) {
    let mut url = reqwest::Url::parse(&database.url()).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some("x")).unwrap();
    let store = open(url.as_str());
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(
        store
            .apply(&plan(&[update("msg_1", "user_1", 1)]))
            .await
            .unwrap(),
        [Outcome::Applied]
    );
    assert!(
        store
            .user(&ClerkId::new("user_1").unwrap())
            .await
            .unwrap()
            .is_some()
    );
    store.close().await;
    let owner: String = sqlx::query_scalar(
        "select tableowner from pg_tables where schemaname = 'clerk' and tablename = 'users'",
    )
    .fetch_one(connection)
    .await
    .unwrap();
    assert_eq!(owner, role);
}

/// How many sessions of this database wait for a lock.
pub(super) async fn waiting(watcher: &mut PgConnection) -> i64 {
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    sqlx::query_scalar(waiting)
        .fetch_one(watcher)
        .await
        .unwrap()
}

/// Another write changes the row after this one has read it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_loses_to_one_that_came_meanwhile_is_stale() {
    let database = TestDatabase::create().await;
    let store = migrated(&database).await;
    let (mut other, mut watcher) = (database.connect().await, database.connect().await);
    other.execute("begin").await.unwrap();
    sqlx::query(
        "insert into clerk.users (clerk_id, first_name, updated_at, occurred_at, event_id)
         values ('user_1', 'Newer', to_timestamp($1 / 1000.0), to_timestamp($1 / 1000.0), 'msg_newer')",
    )
    .bind(at(30).ms())
    .execute(&mut other)
    .await
    .unwrap();
    let write = plan(&[update("msg_1", "user_1", 10), delete("msg_2", "user_1", 20)]);
    let (outcomes, ()) = tokio::join!(store.apply(&write), async {
        until("the write waits for the row", async || {
            waiting(&mut watcher).await == 1
        })
        .await;
        other.execute("commit").await.unwrap();
    });
    // The row is written, for the delete alone.
    assert_eq!(outcomes.unwrap(), [Outcome::Stale, Outcome::Applied]);
    let row = store
        .user(&ClerkId::new("user_1").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.text("first_name"), row.deleted_at.unwrap().0),
        (Some("Newer"), at(20))
    );
}

/// Another write commits in between. The outcomes must be those of the final row: for a delete
/// beside a profile, a profile beside a delete, a version between two of this write, and new rows.
#[tokio::test(flavor = "multi_thread")]
async fn the_record_says_what_the_statement_did() {
    let database = TestDatabase::create().await;
    let store = migrated(&database).await;
    let mut watcher = database.connect().await;
    // Holds a write once it has its row, as long as another session has the lock.
    let trigger = "create function public.hold() returns trigger language plpgsql as $$
            begin perform pg_advisory_xact_lock_shared(7); return new; end $$;
        create trigger hold after insert or update on clerk.users for each row execute function public.hold()";
    watcher.execute(trigger).await.unwrap();
    let (applied, stale) = (Outcome::Applied, Outcome::Stale);
    // The events before, those of the other write, those of this write, and its outcomes.
    type Events = Vec<SignedEvent>;
    let cases: Vec<(Events, Events, Events, Vec<Outcome>)> = vec![
        (
            vec![update("a", "u", 1)],
            vec![delete("b", "u", 5)],
            vec![update("c", "u", 9), delete("d", "u", 8)],
            vec![applied, stale],
        ),
        (
            vec![],
            vec![delete("b", "u", 5)],
            vec![update("c", "u", 9), delete("d", "u", 8)],
            vec![applied, stale],
        ),
        (
            vec![],
            vec![delete("b", "u", 8)],
            vec![update("c", "u", 9), delete("d", "u", 5)],
            vec![applied, applied],
        ),
        (
            vec![update("a", "u", 1)],
            vec![update("b", "u", 20)],
            vec![update("c", "u", 10), update("d", "u", 30)],
            vec![stale, applied],
        ),
        (
            vec![],
            vec![update("b", "u", 20)],
            vec![update("c", "u", 10), delete("d", "u", 5)],
            vec![stale, applied],
        ),
        (
            vec![update("a", "u", 1)],
            vec![update("b", "u", 2)],
            vec![update("c", "u", 10)],
            vec![applied],
        ),
        (
            vec![update("a", "u", 1)],
            vec![delete("b", "u", 5)],
            vec![delete("c", "u", 9)],
            vec![stale],
        ),
    ];
    for (number, (before, between, brought, outcomes)) in cases.into_iter().enumerate() {
        let named = |events: Events| -> Events {
            let rename = |event: SignedEvent| {
                let id = format!("{}_{number}", event.id());
                let body = String::from_utf8(event.body().to_vec()).unwrap();
                crate::support::history::event(
                    &id,
                    body.replace("\"u\"", &format!("\"user_{number}\"")),
                )
            };
            events.into_iter().map(rename).collect()
        };
        store.apply(&plan(&named(before))).await.unwrap();
        let mut lock = database.connect().await;
        lock.execute("select pg_advisory_lock(7)").await.unwrap();
        let (between, brought) = (plan(&named(between)), plan(&named(brought)));
        let (first, second) = (store.clone(), store.clone());
        let won = tokio::spawn(async move { first.apply(&between).await });
        until("the other write has the row", async || {
            waiting(&mut watcher).await == 1
        })
        .await;
        let ours = tokio::spawn(async move { second.apply(&brought).await });
        until("this write waits for it", async || {
            waiting(&mut watcher).await == 2
        })
        .await;
        lock.execute("select pg_advisory_unlock(7)").await.unwrap();
        assert_eq!(won.await.unwrap().unwrap(), [applied], "case {number}");
        assert_eq!(ours.await.unwrap().unwrap(), outcomes, "case {number}");
    }
}

/// The first of many processes may take its time with a large table; the others wait for it.
#[tokio::test]
async fn a_migration_waits_for_another_however_long_it_takes() {
    let database = TestDatabase::create().await;
    let mut other = database.connect().await;
    other.lock().await.unwrap();
    let other_works = async {
        // Longer than the 5 s after which a write gives up waiting for a lock.
        other.execute("select pg_sleep(6)").await.unwrap();
        other.unlock().await.unwrap();
    };
    let store = open(&database.url());
    let (migrated, ()) = tokio::join!(store.migrate(), other_works);
    migrated.unwrap();
}

/// An acknowledged event is on disk, whatever the database's default is.
#[tokio::test]
async fn a_commit_is_on_disk_in_a_database_that_commits_asynchronously() {
    let database = TestDatabase::create().await;
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    for (default, wanted) in [("off", "on"), ("remote_apply", "remote_apply")] {
        let sql = format!("alter database {name} set synchronous_commit = {default}");
        database
            .connect()
            .await
            .execute(AssertSqlSafe(sql))
            .await
            .unwrap();
        let store = migrated(&database).await;
        let mut connection = database.connect().await;
        connection
            .execute(
                "drop table if exists seen; create table seen (value text);
                 create or replace function see() returns trigger language plpgsql as
                 $$ begin insert into public.seen values (current_setting('synchronous_commit')); return null; end $$;
                 create or replace trigger see after insert on clerk.events for each row execute function see()",
            )
            .await
            .unwrap();
        store
            .apply(&plan(&[update(&format!("msg_{default}"), "user_1", 1)]))
            .await
            .unwrap();
        let seen: String = sqlx::query_scalar("select value from seen")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(seen, wanted, "in a database with {default}");
    }
}

#[tokio::test]
async fn a_rejected_write_names_the_constraint_and_quotes_no_value() {
    let database = TestDatabase::create().await;
    let store = migrated(&database).await;
    let mut connection = database.connect().await;
    connection
        .execute("alter table clerk.users add constraint never_sam check (username <> 'sam'); create unique index only_one on clerk.users (first_name)")
        .await
        .unwrap();
    let person = |id: &str, username: &str| {
        let data = format!(
            r#"{{"first_name":"Samuel","id":"user_{id}","last_name":"Secret","updated_at":1795172400000,"username":"{username}"}}"#
        );
        event(
            &format!("msg_{id}"),
            format!(r#"{{"data":{data},"timestamp":1795172400000,"type":"user.created"}}"#),
        )
    };
    store.apply(&plan(&[person("1", "one")])).await.unwrap();
    for (refused, sqlstate, constraint) in [
        (person("2", "sam"), "sqlstate_23514", "never_sam"),
        (person("3", "three"), "sqlstate_23505", "only_one"),
    ] {
        let StoreError::Rejected { code, text } = store.apply(&plan(&[refused])).await.unwrap_err()
        else {
            panic!("not rejected");
        };
        assert_eq!(code, sqlstate);
        assert!(text.contains(constraint), "{text}");
        assert!(
            !text.contains("Samuel") && !text.contains("Secret") && !text.contains("user_"),
            "{text}"
        );
    }
}

/// Clerk's IDs grow with time in the order of their bytes, not in that of a dictionary.
#[tokio::test]
async fn the_newest_user_comes_first_in_a_database_that_sorts_as_people_do() {
    let database = TestDatabase::create_with_icu().await;
    let store = migrated(&database).await;
    store
        .apply(&plan(&[
            update("msg_1", "user_Zz", 1),
            update("msg_2", "user_aA", 1),
        ]))
        .await
        .unwrap();
    let mut page = Page {
        limit: std::num::NonZeroU32::MIN,
        after: None,
    };
    for newest in ["user_aA", "user_Zz"] {
        let listing = store.users(&UserFilter::default(), &page).await.unwrap();
        assert_eq!(listing.rows[0].clerk_id, newest);
        page.after = listing.next;
    }
    assert!(page.after.is_none());
}

/// A row in two places costs each update two more pages, which in a large table are seldom in
/// memory.
#[tokio::test]
async fn a_row_of_the_usual_size_lies_in_one_place_with_room_for_the_next_version() {
    let database = TestDatabase::create().await;
    let store = migrated(&database).await;
    let mut connection = database.connect().await;
    let people: Vec<_> = (0..50).map(|seed| Person::generate(seed, at(0))).collect();
    for round in 1..=2 {
        for person in &people {
            let event = person.updated(at(1000 * round), 1);
            let event = SignedEvent::restored(
                event.id,
                EventType::named("user.updated"),
                at(5000),
                at(5000),
                event.body,
            );
            store.apply(&plan(&[event])).await.unwrap();
        }
    }
    let elsewhere =
        "select pg_relation_size(reltoastrelid) from pg_class where oid = 'clerk.users'::regclass";
    let elsewhere: i64 = sqlx::query_scalar(elsewhere)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(elsewhere, 0, "bytes of rows in a table of their own");
    // Counted with some delay, and only after the session that wrote is idle.
    let updates = "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'clerk.users'::regclass";
    let mut counted = (0_i64, 0_i64);
    until("the updates are counted", async || {
        counted = sqlx::query_as(updates)
            .fetch_one(&mut database.connect().await)
            .await
            .unwrap();
        counted.0 == 50
    })
    .await;
    // Two small rows can share a page, and the second of their updates finds room only once the
    // first is committed everywhere.
    assert!(
        counted.1 >= 30,
        "{} of 50 updates touched no index",
        counted.1
    );
}
