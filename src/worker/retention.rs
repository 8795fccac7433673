//! Retention: a timer deletes old rows of `events` and of `audit`, and with `ON_DELETE=scrub` the
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

/// Runs until `shutdown`; changes nothing during a pause. If `keep` is `None`, rows stay forever.
pub async fn run(
    store: Store,
    keep: Option<Duration>,
    outage: Outage,
    control: ControlView,
    shutdown: Shutdown,
) {
    loop {
        let round = async {
            let older_than = keep.and_then(ago);
            let rows = match older_than {
                Some(time) => in_chunks((&outage, &control), || store.prune(time, CHUNK)).await,
                None => 0,
            };
            // Users who were deleted while ON_DELETE was `keep`: with `scrub` the delete event
            // itself erases its user.
            let (users, payloads) = match store.on_delete() {
                OnDelete::Scrub => (
                    in_chunks((&outage, &control), || store.scrub(CHUNK)).await,
                    in_chunks((&outage, &control), || store.empty_payloads(CHUNK)).await,
                ),
                OnDelete::Keep => (0, 0),
            };
            if let Some(time) = keep.and_then(|keep| ago(keep.max(AUDIT_KEEP))) {
                prune_audit(&store, &control, time).await;
            }
            (rows, users, payloads)
        };
        let Some((rows, users, payloads)) = shutdown.or(round).await else {
            return;
        };
        if rows > 0 {
            info!(rows, "old rows of events were pruned");
        }
        if users > 0 {
            info!(users, "the data of deleted users was erased");
        }
        if payloads > 0 {
            info!(payloads, "payloads of events of erased users were erased");
        }
        if shutdown.or(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// Deletes old rows of `audit`. A role that may not do it works without: an hour later it is tried
/// again.
async fn prune_audit(store: &Store, control: &ControlView, older_than: Timestamp) {
    loop {
        control.resumed().await;
        match store.prune_audit(older_than, CHUNK).await {
            Ok(0) => return,
            Ok(_) => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                warn!(%error, "old rows of the audit could not be removed; trying again in an hour");
                return;
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
