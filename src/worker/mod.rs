//! Queue to store: take a batch, plan it, apply it, acknowledge it.
//!
//! What holds here: a batch is acknowledged only after its write has committed, and a write that cannot be made now is
//! made later, by the same worker or another. So whatever is killed, an event is applied at least once, and the rule in
//! `clerk::change` makes a second time do nothing.

mod apply;
mod consume;
mod isolate;
pub mod plan;
mod report;
mod retention;
mod retry;
mod row_locks;
mod status;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clerk::OmittedFields;
use crate::queue::{Queue, Source};
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::tasks;
use apply::Settler;
use consume::Drain;
use retry::Outage;
use row_locks::Claims;
pub use status::{Reason, Status};

/// How a worker works. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most events in one transaction.
    pub batch_max: NonZeroUsize,
    /// Batches in flight at once.
    pub concurrency: NonZeroUsize,
    /// Longest time a batch is held while the database is away; then it goes back to the queue.
    pub hold_max: Duration,
    /// Fields that are never stored.
    pub omitted: OmittedFields,
    /// How long lines of `events` are kept; nothing keeps them for ever.
    pub retention: Option<Duration>,
}

/// The `hold_max` to use: RabbitMQ takes a batch back by force after 30 minutes (`consumer_timeout`) and closes the channel
/// for it, and a batch may have waited for those before it. Where that is known to be less, a batch is held for half of it.
pub const HOLD_MAX: Duration = Duration::from_secs(10 * 60);

/// Applies events until `shutdown`, then finishes what was handed over already.
pub async fn run(queue: Queue, store: Store, options: Options, shutdown: Shutdown) {
    run_with_status(queue, store, options, Status::default(), shutdown).await;
}

/// The same, and keeps `status` true.
pub async fn run_with_status(
    queue: Queue,
    store: Store,
    options: Options,
    status: Status,
    shutdown: Shutdown,
) {
    let mut parts = JoinSet::new();
    let outage = Outage::default();
    let events = (Source::Events, options.concurrency);
    let secondary_sources = queue
        .secondary_sources()
        .iter()
        .map(|source| (*source, NonZeroUsize::MIN));
    for (source, concurrency) in std::iter::once(events).chain(secondary_sources) {
        let settler = Settler {
            store: store.clone(),
            source,
            queue: queue.clone(),
            omitted: options.omitted.clone(),
            hold_max: options.hold_max,
            claims: Claims::default(),
            outage: outage.clone(),
            omitting: |omitted, events| events.iter().map(|event| event.without(omitted)).collect(),
            reading: plan::plan,
            // What is set aside waits for nobody: the events say whether the worker applies.
            status: if source == Source::Events {
                status.clone()
            } else {
                Status::default()
            },
            shutdown: shutdown.clone(),
        };
        let drain = Drain::new(queue.clone(), settler, options.batch_max, concurrency);
        parts.spawn(drain.run_through_panics());
    }
    let retention = {
        let shutdown = shutdown.clone();
        move || {
            retention::run(
                store.clone(),
                options.retention,
                outage.clone(),
                shutdown.clone(),
            )
        }
    };
    parts.spawn(tasks::restarted(
        "retention",
        move || shutdown.is_requested(),
        || {},
        retention,
    ));
    while let Some(ended) = parts.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            // Who runs the worker hears of it.
            std::panic::resume_unwind(panic);
        }
    }
}
