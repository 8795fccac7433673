//! What only PostgreSQL can get wrong: collations, neighbours in the database, and plans.

use std::fmt::Write;

use clerk_sync::clerk::ClerkId;
use clerk_sync::store::{self, Payloads, Store};
use clerk_sync::worker::plan::plan;
use secrecy::SecretString;
use sqlx::{Executor, Row};

use crate::support::database::TestDatabase;
use crate::support::history::update;

async fn migrated(database: &TestDatabase) -> Store {
    let url = SecretString::from(database.url());
    let options = store::postgres::Options { url, connections: 2, payloads: Payloads::Failed };
    let store = Store::open(&store::Options::Postgres(options)).unwrap();
    store.migrate().await.unwrap();
    store
}

#[tokio::test]
async fn a_tie_is_decided_byte_by_byte_in_a_database_that_sorts_as_people_do() {
    let database = TestDatabase::create_with_icu().await;
    let store = migrated(&database).await;
    let dictionary: bool =
        sqlx::query_scalar("select 'msg_a' < 'msg_B'").fetch_one(&mut database.connect().await).await.unwrap();
    assert!(dictionary, "the database does not sort as people do, so this test would show nothing");
    for (user, order) in [("user_1", ["msg_a", "msg_B"]), ("user_2", ["msg_B2", "msg_a2"])] {
        for id in order {
            store.apply(&plan(&[update(id, user, 10)])).await.unwrap();
        }
        let row = store.user(&ClerkId::new(user).unwrap()).await.unwrap().unwrap();
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
    let mine: String =
        sqlx::query_scalar("select mine from public._sqlx_migrations").fetch_one(&mut connection).await.unwrap();
    assert_eq!(mine, "x");
    let ours = "select string_agg(tablename, ' ' order by tablename) from pg_tables where schemaname = 'clerk'";
    let ours: String = sqlx::query_scalar(ours).fetch_one(&mut connection).await.unwrap();
    assert_eq!(ours, "_migrations events users");
}

#[tokio::test]
async fn everything_has_a_comment_and_only_the_keys_are_unique() {
    let database = TestDatabase::create().await;
    migrated(&database).await;
    let mut connection = database.connect().await;
    let silent = "select coalesce(string_agg(c.relname || '.' || a.attname, ' '), '') from pg_attribute a join pg_class c on c.oid = a.attrelid
        where c.oid in ('clerk.users'::regclass, 'clerk.events'::regclass) and a.attnum > 0 and col_description(c.oid, a.attnum) is null";
    let silent: String = sqlx::query_scalar(silent).fetch_one(&mut connection).await.unwrap();
    assert_eq!(silent, "", "columns without a comment");
    let unique =
        "select coalesce(string_agg(indexname, ' ' order by indexname), '') from pg_indexes where schemaname = 'clerk'
        and tablename <> '_migrations' and indexdef like '%UNIQUE%'";
    let unique: String = sqlx::query_scalar(unique).fetch_one(&mut connection).await.unwrap();
    assert_eq!(unique, "events_pkey users_pkey");
}

#[tokio::test]
async fn a_role_without_superuser_migrates_and_works() {
    let database = TestDatabase::create().await;
    let mut connection = database.connect().await;
    let role = format!("clerk_sync_test_role_{}", std::process::id());
    let sql = format!(
        "drop role if exists {role}; create role {role} login password 'x'; grant create on database {} to {role}",
        sqlx::query_scalar::<_, String>("select current_database()").fetch_one(&mut connection).await.unwrap()
    );
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    let mut url = reqwest::Url::parse(&database.url()).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("x")).unwrap();
    let options =
        store::postgres::Options { url: SecretString::from(url.as_str()), connections: 1, payloads: Payloads::Failed };
    let store = Store::open(&store::Options::Postgres(options)).unwrap();
    store.migrate().await.unwrap();
    store.apply(&plan(&[update("msg_1", "user_1", 1)])).await.unwrap();
    assert!(store.user(&ClerkId::new("user_1").unwrap()).await.unwrap().is_some());
    store.close().await;
    let tidy = format!("drop schema clerk cascade; drop owned by {role}; drop role {role}");
    connection.execute(sqlx::AssertSqlSafe(tidy)).await.unwrap();
}

/// With many rows every look-up finds its index.
#[tokio::test]
async fn no_question_reads_a_whole_table() {
    let database = TestDatabase::create().await;
    migrated(&database).await;
    let mut connection = database.connect().await;
    connection
        .execute(
            "insert into clerk.users (clerk_id, email, phone, username, external_id)
             select 'user_' || n, 'u' || n || '@example.com', '+1' || n, 'name' || n, 'ext' || n from generate_series(1, 50000) n;
             insert into clerk.events (event_id, event_type, clerk_id, sent_at, received_at, processed_at, status)
             select 'msg_' || n, 'user.updated', 'user_' || n % 5000, now(), now() - n * interval '1 s', now(),
                    case when n % 1000 = 0 then 'failed' else 'applied' end from generate_series(1, 50000) n;
             analyze clerk.users; analyze clerk.events; set plan_cache_mode = force_custom_plan",
        )
        .await
        .unwrap();
    let users = include_str!("../../../src/store/postgres/users.sql");
    let events = include_str!("../../../src/store/postgres/events.sql");
    let cases = [
        (users, "'U7@example.com', null, null, null, null, null, 51"),
        (users, "null, '+17', null, null, null, null, 51"),
        (users, "null, null, 'name7', null, null, null, 51"),
        (users, "null, null, null, 'ext7', null, null, 51"),
        (users, "null, null, null, null, null, 'user_7', 51"),
        (events, "'failed', null, null, null, null, null, null, 51"),
        (events, "null, null, 'user_7', null, null, null, null, 51"),
        (events, "null, null, null, now() - interval '1 h', null, null, null, 51"),
        (events, "null, null, null, null, null, now() - interval '1 h', 'msg_1', 51"),
    ];
    for (number, (sql, values)) in cases.into_iter().enumerate() {
        let prepare = format!("prepare question_{number} as {sql}");
        connection.execute(sqlx::AssertSqlSafe(prepare)).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("explain execute question_{number} ({values})"));
        let rows = sqlx::raw_sql(explain).fetch_all(&mut connection).await.unwrap();
        let plan = rows.iter().fold(String::new(), |mut plan, row| {
            writeln!(plan, "{}", row.get::<String, _>(0)).unwrap();
            plan
        });
        assert!(!plan.contains("Seq Scan"), "({values}):\n{plan}");
    }
}
