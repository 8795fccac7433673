//! Whether changes of rows are recorded: the setting here, and that of the workers.

use super::finding::{Finding, note, ok};
use crate::commands::feed_workers;
use crate::config::Config;
use crate::queue;
use crate::store::Store;

/// Whether the workers of the database record changes; `None` if it is not known, or if none has
/// started lately.
pub async fn of_workers(store: &Store) -> Option<bool> {
    let state = store.change_feed_state().await.ok()?;
    feed_workers::record_changes(store, &state).await
}

/// Compares the setting with that of the workers. A setting that is about to be changed looks as
/// one that was forgotten, so a difference is a note.
pub fn judge(config: &Config, of_workers: Option<bool>) -> Finding {
    match (config.store.change_feed(), of_workers) {
        (true, Some(true)) => ok(
            "change_feed",
            format!(
                "on: every change of a synced row is recorded, and {}",
                readers(&config.queue)
            ),
        ),
        (true, None) => ok(
            "change_feed",
            format!(
                "on: a worker that starts here records every change of a synced row, and {}",
                readers(&config.queue)
            ),
        ),
        (true, Some(false)) => note(
            "change_feed",
            "the worker that started last has CHANGE_FEED=off: changes of rows are not recorded",
            "set CHANGE_FEED=on for every worker and restart it",
        ),
        (false, Some(true)) => note(
            "change_feed",
            "off here, and the worker that started last records changes: commands that run from here, such as `backfill`, record none, and a worker that starts here ends the feed",
            "set CHANGE_FEED=on here, too",
        ),
        (false, Some(false) | None) => ok("change_feed", "off: changes of rows are not recorded"),
    }
}

/// How applications come to know of changes.
fn readers(queue: &queue::Options) -> String {
    match queue {
        queue::Options::RabbitMq(options) => {
            format!("published to the exchange {}", options.change_exchange())
        }
        queue::Options::Embedded(_) => "applications read them over the API".into(),
    }
}
