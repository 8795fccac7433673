//! Old lines of `events` go, on a timer, in small pieces between the batches.

use std::time::Duration;

use tracing::{info, warn};

use super::Retry;
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::shutdown::Shutdown;
use crate::store::Store;

/// Between two rounds. Lines live for days: an hour more is nothing.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Lines a statement: a few milliseconds of work, so that no batch waits long for it.
const CHUNK: u32 = 1000;

/// Between two chunks, so that the batches have the database most of the time.
const PAUSE: Duration = Duration::from_millis(50);

/// Prunes until `shutdown`.
pub async fn run(store: Store, keep: Duration, shutdown: Shutdown) {
    loop {
        let pruned = shutdown.or(prune(&store, keep)).await;
        match pruned {
            None => return,
            Some(0) => {}
            Some(lines) => info!(lines, "old lines of events were pruned"),
        }
        if shutdown.or(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// One round; how many lines went.
async fn prune(store: &Store, keep: Duration) -> u64 {
    let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let Some(older_than) = Timestamp::from_ms(now().ms().saturating_sub(keep_ms)) else {
        return 0;
    };
    let (mut lines, mut retry) = (0, Retry::default());
    loop {
        match store.prune(older_than, CHUNK).await {
            Ok(0) => return lines,
            Ok(pruned) => {
                lines += pruned;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error @ crate::store::StoreError::Rejected { .. }) => {
                warn!(%error, "old lines of events could not be pruned");
                return lines;
            }
            Err(error) => retry.wait(&error).await,
        }
    }
}
