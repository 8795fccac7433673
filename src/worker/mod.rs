//! Queue to store: take a batch, plan one write, apply it, acknowledge the batch.
//!
//! A batch is acknowledged only after its write has committed. A write that fails now is made
//! later, by the same worker or another. So an event is applied at least once, whatever is killed,
//! and the rule in `clerk::change` makes a repetition do nothing.

mod apply;
mod consume;
mod control;
mod isolate;
pub mod plan;
mod publish_changes;
mod report;
mod retention;
mod retry;
mod return_reason;
mod row_locks;
mod status;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clerk::OmittedFields;
use crate::queue::{ConsumerOptions, Queue, Source};
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::tasks;
use apply::Applier;
use consume::Drain;
use control::ControlView;
use retention::Retention;
use retry::Outage;
use row_locks::RowLocks;
pub use status::{Reason, Status};

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most events in one transaction.
    pub batch_max: NonZeroUsize,
    /// Batches in flight at once.
    pub concurrency: NonZeroUsize,
    /// Longest time a batch is held during an outage of the database; then it returns to the queue.
    pub hold_max: Duration,
    /// Fields that are never stored.
    pub omitted: OmittedFields,
    /// How long rows of `events` are kept. `None` keeps them forever.
    pub retention: Option<Duration>,
    /// How long rows of `changes` are kept. `None` keeps them forever.
    pub change_retention: Option<Duration>,
}

/// The `hold_max` to use: RabbitMQ takes a batch back by force after 30 minutes
/// (`consumer_timeout`) and closes the channel for it, and a batch may have waited for those before
/// it. If the broker's timeout is known to be less, a batch is held for half of it.
pub const HOLD_MAX: Duration = Duration::from_secs(10 * 60);

/// Applies events until `shutdown`, then finishes what was already taken. Keeps `status` up to
/// date. `process_id` is that of this process in the table of processes.
pub async fn run(
    queue: Queue,
    store: Store,
    options: Options,
    process_id: &str,
    status: Status,
    shutdown: Shutdown,
) {
    let mut parts = JoinSet::new();
    let outage = Outage::default();
    let feed_noted = Arc::default();
    let control = ControlView::new(store.clone(), process_id.to_owned());
    let sources = [Source::Events]
        .iter()
        .chain(queue.secondary_sources())
        .copied();
    for source in sources {
        // `status` is about events alone: nothing waits for the other sources.
        let (status, batches) = match source {
            Source::Events => (status.clone(), options.concurrency),
            _ => (Status::default(), NonZeroUsize::MIN),
        };
        let applier = Applier {
            store: store.clone(),
            source,
            queue: queue.clone(),
            omitted: options.omitted.clone(),
            hold_max: options.hold_max,
            row_locks: RowLocks::default(),
            outage: outage.clone(),
            control: control.clone(),
            status,
            shutdown: shutdown.clone(),
            feed_noted: Arc::clone(&feed_noted),
        };
        let consumer_options = ConsumerOptions {
            batch_max: options.batch_max,
            batches,
        };
        parts.spawn(Drain::new(applier, consumer_options).run_through_panics());
    }
    let publishes_changes = store.has_change_feed() && matches!(queue, Queue::RabbitMq(_));
    let is_stopping = {
        let shutdown = shutdown.clone();
        move || shutdown.is_requested()
    };
    let keep = Retention {
        events: options.retention,
        changes: options.change_retention,
        keeps_unpublished: publishes_changes,
    };
    let prune = {
        let (store, shutdown) = (store.clone(), shutdown.clone());
        move || {
            retention::run(
                store.clone(),
                keep,
                outage.clone(),
                control.clone(),
                shutdown.clone(),
            )
        }
    };
    parts.spawn(tasks::restarted(
        "retention",
        is_stopping.clone(),
        || {},
        prune,
    ));
    if publishes_changes {
        let publish = move || publish_changes::run(store.clone(), queue.clone(), shutdown.clone());
        parts.spawn(tasks::restarted("change feed", is_stopping, || {}, publish));
    }
    while let Some(ended) = parts.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            // The caller handles it.
            std::panic::resume_unwind(panic);
        }
    }
}
