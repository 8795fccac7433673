//! What PostgreSQL notifies of: one connection that listens, while anybody waits.
//!
//! sqlx gives notifications to its `PgListener` alone. It is used without its own reconnecting: the
//! connection is opened as every other (`session.rs`), watched, and after a loss everybody who waits
//! is looked for again, since nothing is notified twice.
//!
//! While there is no such connection, one query for all rows of a table that are waited for takes
//! its place: behind a transaction pooler, where no session listens, and during an outage.

use std::time::Duration;

use sqlx::postgres::PgNotification;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::error;
use super::session::{Listener, Pooling, Server};
use crate::backoff::Backoff;
use crate::store::StoreError;
use crate::store::waiters::Waiters;

/// Rows are new. The payload is a JSON array of their IDs; empty, any row may be there.
const ROWS: &str = "clerk_sync_rows";

/// Changes were written.
const CHANGES: &str = "clerk_changes";

/// The connection is closed when no one has waited for so long. Users sign up in bursts; and a
/// process whose API no one asks takes none of the server's connections.
const ALONE_MAX: Duration = Duration::from_secs(10);

/// Least time between two queries for rows, whatever asks for them.
const QUERY_EVERY: Duration = Duration::from_millis(25);

/// The same without notifications: an answer comes within 50 ms of the commit.
const POLL_EVERY: Duration = Duration::from_millis(30);

/// How often those who wait for changes are woken without notifications.
const POLL_CHANGES_EVERY: Duration = Duration::from_millis(250);

/// After a query that failed.
const QUERY_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// After so long without a notification the connection is checked: a server that loses power, a
/// firewall or a proxy may have dropped it, and silence is usual here.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Longest wait for the answer to the check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that lasted so long was a good one: the next is opened soon.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Longest pause between two tries to listen. Those who wait do so for seconds.
const CONNECT_AGAIN_MAX: Duration = Duration::from_secs(2);

/// Follows the database until no one waits any more. `query` finds out which of the rows that are waited
/// for are there, and wakes their waiters.
pub async fn follow<F>(server: &Server, waiters: &Waiters, task: u64, query: impl Fn() -> F)
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut backoff = Backoff::for_outage();
    let mut logged = None;
    while !waiters.end_if_idle(task, ALONE_MAX) {
        let listening = tokio::select! {
            listening = connect(server) => listening,
            // Ends only with the task.
            () = poll(waiters, &query, task) => return,
        };
        match listening {
            Ok(mut listener) => {
                if logged.take().is_some() {
                    info!("PostgreSQL notifies of new rows again");
                }
                let since = Instant::now();
                listen(&mut listener, waiters, &query, task).await;
                listener.close().await;
                if since.elapsed() > STABLE_AFTER {
                    backoff.reset();
                }
            }
            Err(why) => {
                let why = why.map_or_else(|| POOLED.to_owned(), |error| error.to_string());
                if logged.as_ref() != Some(&why) {
                    log(&why);
                    logged = Some(why);
                }
            }
        }
        tokio::select! {
            () = sleep(backoff.next_interval().min(CONNECT_AGAIN_MAX)) => {}
            () = poll(waiters, &query, task) => return,
        }
    }
}

const POOLED: &str =
    "a transaction pooler is in front of PostgreSQL, and passes no notifications on";

/// Says why there are none. Nothing is wrong with the setup that has a pooler.
fn log(why: &str) {
    if why == POOLED {
        debug!("{why}; a query looks for the rows that are waited for");
    } else {
        warn!(
            error = why,
            "PostgreSQL cannot notify of new rows; a query looks for those that are waited for"
        );
    }
}

/// A connection that listens.
///
/// # Errors
/// Fails with `None` if it could not be notified.
async fn connect(server: &Server) -> Result<Listener, Option<StoreError>> {
    if server.pooling().await == Some(Pooling::Transaction) {
        return Err(None);
    }
    let listener = timeout(CONNECT_TIMEOUT, server.listen([ROWS, CHANGES])).await;
    let listener = listener.unwrap_or(Err(sqlx::Error::PoolTimedOut));
    listener
        .map_err(|failed| Some(error::of(failed)))?
        .ok_or(None)
}

/// Wakes for each notification until the connection is lost or no one waits.
async fn listen<F>(listener: &mut Listener, waiters: &Waiters, query: &impl Fn() -> F, task: u64)
where
    F: Future<Output = Result<(), StoreError>>,
{
    // What was committed before it listened.
    waiters.want_query();
    waiters.wake_changes();
    let mut query_at = Instant::now();
    let mut check_at = Instant::now() + CHECK_EVERY;
    while !waiters.end_if_idle(task, ALONE_MAX) {
        tokio::select! {
            notified = listener.next() => {
                match notified {
                    Ok(Some(notification)) => wake(waiters, &notification),
                    Ok(None) | Err(_) => return,
                }
                check_at = Instant::now() + CHECK_EVERY;
            }
            () = sleep_until(query_at), if waiters.is_query_wanted() => {
                query_at = Instant::now() + query_once(waiters, query).await.unwrap_or(QUERY_EVERY);
            }
            () = sleep_until(check_at) => {
                if timeout(CHECK_TIMEOUT, listener.is_unchanged()).await != Ok(true) {
                    return;
                }
                check_at = Instant::now() + CHECK_EVERY;
            }
            () = waiters.notified() => {}
        }
    }
}

fn wake(waiters: &Waiters, notification: &PgNotification) {
    if notification.channel() == CHANGES {
        waiters.wake_changes();
    } else if waiters.has_rows() {
        match serde_json::from_str::<Vec<&str>>(notification.payload()) {
            Ok(ids) => waiters.wake_rows(ids),
            Err(_) => waiters.want_query(),
        }
    }
}

/// Queries now. Returns how long to wait before the next query if it failed.
async fn query_once<F>(waiters: &Waiters, query: &impl Fn() -> F) -> Option<Duration>
where
    F: Future<Output = Result<(), StoreError>>,
{
    if !waiters.take_query() || query().await.is_ok() {
        return None;
    }
    waiters.want_query();
    Some(QUERY_AGAIN_AFTER)
}

/// Queries again and again until the task ends.
async fn poll<F>(waiters: &Waiters, query: &impl Fn() -> F, task: u64)
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut pause = POLL_EVERY;
    let mut changes_at = Instant::now();
    while !waiters.end_if_idle(task, ALONE_MAX) {
        sleep(pause).await;
        waiters.want_query();
        pause = query_once(waiters, query).await.unwrap_or(POLL_EVERY);
        if changes_at <= Instant::now() {
            waiters.wake_changes();
            changes_at = Instant::now() + POLL_CHANGES_EVERY;
        }
    }
}
