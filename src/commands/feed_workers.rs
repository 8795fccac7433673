//! Whether the workers of a database record changes of rows, for `check` and `status`: the setting
//! of the environment of a command may be another one.

use crate::store::{ChangeFeedState, RECEIVER, Store};

/// Said where changes are recorded, and commands that run here would record none.
pub const OFF_HERE: &str = "CHANGE_FEED is off here: what commands such as `clerk-sync backfill` change from here is not recorded.";

/// Whether the worker that started last records changes. Returns `None` if no worker has started
/// lately, or if the database does not say.
pub async fn record_changes(store: &Store, state: &ChangeFeedState) -> Option<bool> {
    if state.is_on {
        return Some(true);
    }
    let processes = store.processes().await.ok()?;
    let has_worker = processes.iter().any(|process| process.role != RECEIVER);
    has_worker.then_some(false)
}
