//! The time limit of each part of a check.

use std::time::Duration;

/// Longest wait for one part: a cluster's nodes and six names are asked within it.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer. Returns `None` if it takes too long.
pub async fn in_time<T>(asked: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PART_TIMEOUT, asked).await.ok()
}
