//! What other processes commit to the file, such as a `backfill` beside `serve`: while anybody waits,
//! one connection asks for the number that changes with each commit of another connection.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Error};
use tokio::time::sleep;

use crate::store::StoreError;
use crate::store::waiters::Waiters;

/// How often it asks, at some 20 µs: an answer comes within 50 ms of the commit.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// The connection, a thread of this process, is closed when no one has waited for so long.
const ALONE_MAX: Duration = Duration::from_secs(10);

/// After the file could not be read.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Follows the file until no one waits any more. `query` finds out which of the rows that are waited for
/// are there, and wakes their waiters.
pub async fn follow<F>(
    options: &SqliteConnectOptions,
    waiters: &Waiters,
    task: u64,
    query: impl Fn() -> F,
) where
    F: Future<Output = Result<(), StoreError>>,
{
    while !waiters.end_if_idle(task, ALONE_MAX) {
        if let Ok(mut connection) = options.connect().await {
            // It ends of a fault too, which those who wait meet themselves.
            drop(ask(&mut connection, waiters, task, &query).await);
            drop(connection.close().await);
        }
        if !waiters.end_if_idle(task, ALONE_MAX) {
            sleep(AGAIN_AFTER).await;
        }
    }
}

async fn ask<F>(
    connection: &mut SqliteConnection,
    waiters: &Waiters,
    task: u64,
    query: &impl Fn() -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), StoreError>>,
{
    // The first number is none that was seen: something may have been committed before.
    let mut seen: Option<i64> = None;
    while !waiters.end_if_idle(task, ALONE_MAX) {
        let version = sqlx::query_scalar("pragma data_version");
        let version: i64 = version.fetch_one(&mut *connection).await?;
        if seen.replace(version) != Some(version) {
            waiters.want_query();
            waiters.wake_changes();
        }
        if waiters.take_query() && query().await.is_err() {
            waiters.want_query();
            sleep(AGAIN_AFTER).await;
        }
        sleep(ASK_EVERY).await;
    }
    Ok(())
}
