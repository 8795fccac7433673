//! Which queue the workers of a database take from: they record it when they start, and a command compares before it replays.
//! An event on another queue would wait there, and nobody would say so.

use crate::queue::Identity;
use crate::store::{Store, StoreError};

/// The name of the setting.
const SETTING: &str = "worker_queue";

/// Records the queue of a worker that starts. The last one that started counts: a broker can move.
pub async fn record(store: &Store, queue: &Identity) -> Result<(), StoreError> {
    let value = serde_json::to_string(queue).map_err(|error| StoreError::Incompatible(error.to_string()))?;
    store.set(SETTING, &value).await
}

/// The queue that workers take from; `None` if none has recorded it, as in a database that only older programs have used.
pub async fn recorded(store: &Store) -> Result<Option<Identity>, StoreError> {
    let Some(value) = store.setting(SETTING).await? else { return Ok(None) };
    let read = serde_json::from_str(&value);
    read.map(Some).map_err(|_| {
        StoreError::Incompatible(format!("a newer clerk-sync has written its setting {SETTING}: use that one"))
    })
}
