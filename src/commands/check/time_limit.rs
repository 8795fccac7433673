//! `in_time`: the time limit of each part of `check`.

use std::time::Duration;

/// Longest time for one part: it is enough for the nodes of a cluster and six queues.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer. Returns `None` if it takes too long.
pub async fn in_time<T>(check: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PART_TIMEOUT, check).await.ok()
}
