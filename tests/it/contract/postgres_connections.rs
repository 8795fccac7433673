//! Connections to PostgreSQL that go dead, and servers that only read.

use std::time::{Duration, Instant};

use clerk_sync::clerk::ClerkId;
use clerk_sync::store::{Outcome, StoreError};
use clerk_sync::worker::plan::plan;
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::postgres::{migrated, open, waiting};
use crate::support::app::until;
use crate::support::database::TestDatabase;
use crate::support::history::update;
use crate::support::proxy::Proxy;

/// A machine that loses power ends no connection: the next one may work at once, and must be used.
/// Takes as long as the store waits for an answer, 35 s.
#[tokio::test(flavor = "multi_thread")]
async fn dead_connections_delay_nothing() {
    let database = TestDatabase::create().await;
    let (url, proxy) = through_a_proxy(&database.url()).await;
    let store = open(&url);
    store.migrate().await.unwrap();
    // Every connection that the store may have is there, and waits for an answer when the wire goes
    // dead.
    let (mut lock, mut watcher) = (database.connect().await, database.connect().await);
    lock.execute("begin; lock table clerk.users, clerk.events in access exclusive mode")
        .await
        .unwrap();
    let writes: Vec<_> = (0..3)
        .map(|n| {
            let (store, event) = (
                store.clone(),
                update(&format!("msg_{n}"), &format!("user_{n}"), 1),
            );
            tokio::spawn(async move { store.apply(&plan(&[event])).await })
        })
        .collect();
    let user = ClerkId::new("user_1").unwrap();
    let questions = join_all((0..4).map(|_| store.user(&user)));
    // The reader is dropped, as at a shutdown; the writer waits for its answer.
    tokio::select! {
        _ = questions => panic!("an answer came in spite of the lock"),
        () = until("all seven wait for the lock", async || waiting(&mut watcher).await == 7) => proxy.go_dead(),
    }
    lock.execute("rollback").await.unwrap();
    until("the store answers again", async || {
        store.ping().await.is_ok()
    })
    .await;
    for write in writes {
        let error = write.await.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
    let again = plan(&[update("msg_9", "user_9", 1)]);
    until("the store writes again", async || {
        store.apply(&again).await.is_ok()
    })
    .await;
}

/// The same for idle connections: each dead one is detected within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_that_die_delay_nothing() {
    let database = TestDatabase::create().await;
    let (url, proxy) = through_a_proxy(&database.url()).await;
    let store = open(&url);
    store.migrate().await.unwrap();
    let (mut lock, mut watcher) = (database.connect().await, database.connect().await);
    lock.execute("begin; lock table clerk.users in access exclusive mode")
        .await
        .unwrap();
    let writes: Vec<_> = (0..3)
        .map(|n| plan(&[update(&format!("msg_{n}"), &format!("user_{n}"), 1)]))
        .collect();
    let writing = join_all(writes.iter().map(|write| store.apply(write)));
    let releasing = async {
        until("all three connections are used", async || {
            waiting(&mut watcher).await == 3
        })
        .await;
        lock.execute("rollback").await.unwrap();
    };
    tokio::join!(writing, releasing);

    for n in 3..5 {
        // One that was used within the last second is not asked whether it lives.
        let used = Instant::now();
        until("they were used longer ago", async || {
            used.elapsed() > Duration::from_millis(1100)
        })
        .await;
        proxy.go_dead();
        let again = plan(&[update(&format!("msg_{n}"), &format!("user_{n}"), 1)]);
        let since = Instant::now();
        until("the store writes again", async || {
            store.apply(&again).await.is_ok()
        })
        .await;
        // Less than a statement without an answer takes, and each of three is asked for a second.
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "{:?}",
            since.elapsed()
        );
    }
}

/// The URL with the proxy in the place of the server, and the proxy.
pub(super) async fn through_a_proxy(url: &str) -> (String, Proxy) {
    let mut url = reqwest::Url::parse(url).unwrap();
    let proxy = Proxy::before(format!(
        "{}:{}",
        url.host_str().unwrap(),
        url.port().unwrap_or(5432)
    ))
    .await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    (url.to_string(), proxy)
}

/// As after a failover: the server that is connected to only reads from now on, and a new
/// connection finds one that writes.
#[tokio::test]
async fn a_server_that_only_reads_is_waited_for_and_left_for_one_that_writes() {
    let database = TestDatabase::create().await;
    let store = migrated(&database).await;
    let mut outside = database.connect().await;
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&mut outside)
        .await
        .unwrap();
    let only_reads = async |outside: &mut PgConnection, on: &str| {
        let set = format!("alter database \"{name}\" set default_transaction_read_only = {on}");
        outside.execute(AssertSqlSafe(set)).await.unwrap();
    };
    only_reads(&mut outside, "on").await;
    let others = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid()";
    let write = plan(&[update("msg_1", "user_1", 10)]);
    until("it only reads", async || {
        outside.execute(others).await.unwrap();
        matches!(store.ping().await, Err(StoreError::Unavailable(text)) if text.contains("only reads"))
    })
    .await;
    until(
        "no write is taken",
        async || matches!(store.apply(&write).await, Err(StoreError::Unavailable(text)) if text.contains("only reads")),
    )
    .await;
    only_reads(&mut outside, "off").await;
    // The server ends no connection: the store itself leaves them.
    until("it may be written to again", async || {
        store.usable().await.is_ok()
    })
    .await;
    assert!(
        store.ping().await.is_err(),
        "there is no row to try a write on"
    );
    assert_eq!(store.apply(&write).await.unwrap(), [Outcome::Applied]);
    store.ping().await.unwrap();
}
