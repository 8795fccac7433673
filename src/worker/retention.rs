//! Retention: a timer deletes old rows of `events`, `audit` and `changes`, and with `ON_DELETE=scrub` the
//! data of deleted users, in small chunks between the batches.

use std::time::Duration;

use tracing::{info, warn};

use super::control::ControlView;
use super::retry::Outage;
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::shutdown::Shutdown;
use crate::store::{OnDelete, Store, StoreError};

/// Time between two rounds. Rows are kept for days: an hour more does not matter.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Rows per statement: a few milliseconds of work, so that no batch waits long for it.
const CHUNK: u32 = 1000;

/// Time between two chunks, so that the batches have the database most of the time.
const PAUSE: Duration = Duration::from_millis(50);

/// How long rows of `audit` stay at least, erasures aside: longer than a year that is looked back
/// on. They stay as long as rows of `events` if that is longer.
const AUDIT_KEEP: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// How long rows are kept. `None` keeps them forever.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Of `events`.
    pub events: Option<Duration>,
    /// Of `changes`.
    pub changes: Option<Duration>,
    /// Whether changes stay until they are published.
    pub keeps_unpublished: bool,
}

/// Runs until `shutdown`; changes nothing during a pause.
pub async fn run(
    store: Store,
    keep: Retention,
    outage: Outage,
    control: ControlView,
    shutdown: Shutdown,
) {
    let parts = (&outage, &control);
    loop {
        let round = async {
            if let Some(time) = keep.events.and_then(ago) {
                let rows = in_chunks(parts, || store.prune(time, CHUNK)).await;
                log(rows, "old rows of events were pruned");
            }
            if let Some(time) = keep.changes.and_then(ago)
                && has_changes(&store).await
            {
                let prune = || store.prune_changes(time, keep.keeps_unpublished, CHUNK);
                log(
                    prune_if_allowed("changes", &control, prune).await,
                    "old changes were pruned",
                );
            }
            // Users who were deleted while ON_DELETE was `keep`: with `scrub` the delete event
            // itself erases its user.
            if store.on_delete() == OnDelete::Scrub {
                let users = in_chunks(parts, || store.scrub(CHUNK)).await;
                log(users, "the data of deleted users was erased");
                let payloads = in_chunks(parts, || store.empty_payloads(CHUNK)).await;
                log(payloads, "payloads of events of erased users were erased");
            }
            if let Some(time) = keep.events.and_then(|keep| ago(keep.max(AUDIT_KEEP))) {
                let prune = || store.prune_audit(time, CHUNK);
                prune_if_allowed("the audit", &control, prune).await;
            }
        };
        if shutdown.or(round).await.is_none() {
            return;
        }
        if shutdown.or(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

fn log(rows: u64, what: &'static str) {
    if rows > 0 {
        info!(rows, "{what}");
    }
}

/// Whether changes are recorded, or are left from the time when they were. Without the feed the
/// role may have no rights to them.
async fn has_changes(store: &Store) -> bool {
    store.has_change_feed()
        || matches!(store.change_feed_state().await, Ok(state) if state.oldest_kept_at.is_some())
}

/// Calls `chunk` until it deletes nothing more. Returns the number of rows. A role that may not do
/// it works without: an hour later it is tried again.
async fn prune_if_allowed<F: Future<Output = Result<u64, StoreError>>>(
    table: &'static str,
    control: &ControlView,
    chunk: impl Fn() -> F,
) -> u64 {
    let mut rows = 0;
    loop {
        control.resumed().await;
        match chunk().await {
            Ok(0) => return rows,
            Ok(more) => {
                rows += more;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                warn!(%error, "old rows of {table} could not be removed; trying again in an hour");
                return rows;
            }
        }
    }
}

fn ago(age: Duration) -> Option<Timestamp> {
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_ms(now().ms().saturating_sub(age_ms))
}

/// Calls `chunk` until it changes nothing more, through any outage and pause. Returns the number of
/// rows.
async fn in_chunks<F: Future<Output = Result<u64, StoreError>>>(
    (outage, control): (&Outage, &ControlView),
    chunk: impl Fn() -> F,
) -> u64 {
    let (mut done, mut retry) = (0, outage.retry());
    loop {
        control.resumed().await;
        let chunk = chunk().await;
        if matches!(chunk, Ok(1..)) {
            outage.ended();
        }
        match chunk {
            Ok(0) => return done,
            Ok(more) => {
                done += more;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error @ StoreError::Rejected { .. }) => {
                warn!(%error, "old data could not be removed; trying again in an hour");
                return done;
            }
            Err(error) => retry.wait(&error).await,
        }
    }
}
