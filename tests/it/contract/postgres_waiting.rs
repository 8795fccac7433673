//! The connection that listens, on PostgreSQL: when there is one, and how it is lost and found.

use std::time::{Duration, Instant};

use clerk_sync::clerk::ClerkId;
use clerk_sync::clerk::tables::users;
use clerk_sync::store::Store;
use sqlx::{Executor, PgConnection};

use super::postgres::{migrated, open};
use super::postgres_connections::through_a_proxy;
use super::waiting::{answered, write_user};
use crate::support::app::until;
use crate::support::database::TestDatabase;

/// Connections that listen: what one asked last is our check of it.
const LISTENING: &str = "
    from pg_stat_activity
   where datname = current_database()
     and (query ilike '%listen \"clerk_sync_rows\"%' or query like '%Which server session answers%')
     and state = 'idle'
     and pid <> pg_backend_pid()";

async fn listening(connection: &mut PgConnection) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("select count(*) {LISTENING}"));
    sqlx::query_scalar(count)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Ends the connection that listens, as a server does that is restarted.
async fn end_listening(connection: &mut PgConnection) {
    let end = sqlx::AssertSqlSafe(format!("select pg_terminate_backend(pid) {LISTENING}"));
    let ended = connection.fetch_all(end).await.unwrap();
    assert_eq!(ended.len(), 1, "one connection listens");
}

/// One who waits for a row that never comes, until the value is dropped.
struct Waiting(tokio::task::JoinHandle<()>);

impl Waiting {
    fn in_the(store: &Store) -> Self {
        let (store, id) = (store.clone(), ClerkId::new("user_never").unwrap());
        Self(tokio::spawn(async move {
            let until = tokio::time::Instant::now() + Duration::from_secs(600);
            drop(store.wait_for_row(&users::TABLE, &id, until).await);
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_listens_while_anybody_waits_and_none_otherwise() {
    let database = TestDatabase::create().await;
    let store = migrated(&database).await;
    let mut watcher = database.connect().await;
    write_user(&store, "user_0").await;
    assert_eq!(listening(&mut watcher).await, 0, "no one has waited");
    for round in 1..3 {
        let waiting: Vec<_> = (0..20).map(|_| Waiting::in_the(&store)).collect();
        let mut signal = store.change_signal();
        until("one listens", async || listening(&mut watcher).await == 1).await;
        Box::pin(answered(
            &store,
            &users::TABLE,
            &format!("user_{round}"),
            async {
                write_user(&store, &format!("user_{round}")).await;
            },
        ))
        .await;
        signal.next().await;
        assert_eq!(listening(&mut watcher).await, 1);
        drop((waiting, signal));
        until("it is closed", async || listening(&mut watcher).await == 0).await;
    }
    let _waiting = Waiting::in_the(&store);
    until("one listens", async || listening(&mut watcher).await == 1).await;
    store.close().await;
    until("it is closed with the store", async || {
        listening(&mut watcher).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_without_ids_or_with_anything_else_has_all_rows_looked_for() {
    let database = TestDatabase::create().await;
    let store = migrated(&database).await;
    let mut other = database.connect().await;
    let _waiting = Waiting::in_the(&store);
    until("one listens", async || listening(&mut other).await == 1).await;
    for (number, payload) in ["", "[]x", r#"["user_other"]"#, r#"["user_\u0033"]"#]
        .into_iter()
        .enumerate()
    {
        let user = format!("user_{number}");
        let written = async {
            let insert = "insert into clerk.users (clerk_id, synced_at) values ($1, now())";
            sqlx::query(insert)
                .bind(&user)
                .execute(&mut other)
                .await
                .unwrap();
            // One that names others is none for this row: the next one is.
            for payload in [payload, ""] {
                let notify = sqlx::query("select pg_notify('clerk_sync_rows', $1)");
                notify.bind(payload).execute(&mut other).await.unwrap();
            }
        };
        answered(&store, &users::TABLE, &user, written).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_opened_again_and_nothing_is_missed() {
    let database = TestDatabase::create().await;
    let (store, other) = (migrated(&database).await, open(&database.url()));
    let mut watcher = database.connect().await;
    write_user(&other, "user_0").await;
    for round in 1..6 {
        let user = format!("user_{round}");
        let _waiting = Waiting::in_the(&store);
        until("one listens", async || listening(&mut watcher).await == 1).await;
        let lost = async {
            end_listening(&mut watcher).await;
            // While nothing listens, or as it begins to.
            write_user(&other, &user).await;
        };
        Box::pin(answered(&store, &users::TABLE, &user, lost)).await;
    }
}

/// No notification comes over such a connection, and no end of it either.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_goes_dead_is_found_out_within_seconds() {
    let database = TestDatabase::create().await;
    let (url, proxy) = through_a_proxy(&database.url()).await;
    let (store, other) = (open(&url), migrated(&database).await);
    let mut watcher = database.connect().await;
    let mut signal = store.change_signal();
    for round in 0..2 {
        let _waiting = Waiting::in_the(&store);
        until("one listens", async || {
            listening(&mut watcher).await > round
        })
        .await;
        let user = format!("user_{round}");
        let since = Instant::now();
        let dead = async {
            proxy.go_dead();
            write_user(&other, &user).await;
        };
        Box::pin(answered(&store, &users::TABLE, &user, dead)).await;
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "{:?}",
            since.elapsed()
        );
        signal.next().await;
    }
}
