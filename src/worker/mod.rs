//! Queue to store: take a batch, plan it, apply it, acknowledge it.
//!
//! What holds here: a batch is acknowledged only after its write has committed, and a write that cannot be made now is
//! made later, by the same worker or another. So whatever is killed, an event is applied at least once, and the rule in
//! `clerk::change` makes a second time do nothing.

mod isolate;
mod outage;
pub mod plan;
mod report;
mod retention;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::clerk::{OmittedFields, SignedEvent};
use crate::queue::{Batch, Consumer, Queue, Source};
use crate::shutdown::Shutdown;
use crate::store::{Failure, Store, StoreError, Write};
use isolate::{Isolation, refusing_panics};
use outage::Outage;
use report::Report;

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
/// for it, and a batch may have waited for the one before it.
pub const HOLD_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a batch is held while the queue does not take it back either: below the 30 minutes, with time to return it.
const HOLD_WHILE_REFUSED: Duration = Duration::from_secs(25 * 60);

/// Between setting the others aside and trying a suspect, at least: time for the other slots to finish, or set aside, what
/// they hold.
const ALONE_AFTER: Duration = Duration::from_millis(500);

/// Applies events until `shutdown`, then finishes what was handed over already.
pub async fn run(queue: Queue, store: Store, options: Options, shutdown: Shutdown) {
    let mut slots = JoinSet::new();
    let (alone, outage) = (Arc::default(), Outage::default());
    let sources = std::iter::repeat_n(Source::Events, options.concurrency.get());
    for source in sources.chain(queue.dead_ends().iter().copied()) {
        let (queue, store, alone, shutdown) = (queue.clone(), store.clone(), Arc::clone(&alone), shutdown.clone());
        let outage = outage.clone();
        let (options, reading) = (options.clone(), plan::plan);
        let slot = Slot { queue, store, source, options, alone, outage, reading, shutdown };
        slots.spawn(slot.run_through_panics());
    }
    slots.spawn(retention::run(store, options.retention, outage, shutdown));
    while slots.join_next().await.is_some() {}
}

/// One batch in flight.
struct Slot {
    queue: Queue,
    store: Store,
    source: Source,
    options: Options,
    /// Held by the slot that tries a suspect.
    alone: Arc<Mutex<()>>,
    outage: Outage,
    /// What events come to: `plan::plan`, but for a test of what a bug in it does.
    reading: fn(&[SignedEvent]) -> Write,
    shutdown: Shutdown,
}

/// Why a batch is given back.
enum GiveBack {
    /// The database has been away for too long.
    HeldTooLong,
    /// The worker stops, and the database is away.
    Stopping,
}

impl Slot {
    /// A panic is a bug, and no reason to work on with one slot less.
    async fn run_through_panics(self) {
        let mut backoff = Backoff::for_repair();
        while AssertUnwindSafe(self.run()).catch_unwind().await.is_err() {
            error!("a worker met a bug of clerk-sync; its events are delivered again. Report it");
            self.shutdown.or(backoff.wait()).await;
        }
    }

    async fn run(&self) {
        loop {
            // No batch is taken while it could only be held.
            if !self.store_is_ready().await {
                return;
            }
            let consumer = self.queue.consume(self.source, self.options.batch_max);
            match self.drain(consumer).await {
                Some(GiveBack::HeldTooLong) => warn!("the database is away: events wait in the queue"),
                Some(GiveBack::Stopping) | None => return,
            }
        }
    }

    /// Waits until the store can be used; false when the worker is to stop first.
    async fn store_is_ready(&self) -> bool {
        let mut retry = self.outage.retry();
        while let Err(error) = self.store.ping().await {
            if self.shutdown.or(retry.wait(&error)).await.is_none() {
                return false;
            }
        }
        !self.shutdown.is_requested()
    }

    /// Takes batches until the worker is to stop and all that was handed over is done, or one must be given back.
    async fn drain(&self, mut consumer: Consumer) -> Option<GiveBack> {
        let mut stopping = false;
        let mut unacknowledged = Backoff::for_outage();
        loop {
            let batch = tokio::select! {
                biased;
                () = self.shutdown.requested(), if !stopping => {
                    stopping = true;
                    consumer.stop().await;
                    continue;
                }
                batch = consumer.next_batch() => batch?,
            };
            let batch = match self.deal_with(batch, &mut consumer).await {
                Ok(batch) => batch,
                Err(give_back) => return Some(give_back),
            };
            match consumer.ack(batch).await {
                Ok(()) => unacknowledged.reset(),
                Err(reason) => {
                    info!(%reason, "a batch was applied but not acknowledged; it is delivered again and changes nothing");
                    // On a full disk the embedded queue hands the same batch out at once.
                    self.shutdown.or(unacknowledged.wait()).await;
                }
            }
        }
    }

    /// Settles a batch, to be acknowledged; or gives it back, and says why. What the queue does not take back is tried again,
    /// in turn with giving it back.
    async fn deal_with(&self, mut batch: Batch, consumer: &mut Consumer) -> Result<Batch, GiveBack> {
        let (since, mut refused) = (Instant::now(), Backoff::for_outage());
        loop {
            let Err(give_back) = self.attempt(&batch, consumer, since).await else { return Ok(batch) };
            let must_go = self.shutdown.is_requested() || since.elapsed() > HOLD_WHILE_REFUSED;
            let Some(rest) = self.queue.give_back(consumer, batch, must_go).await else { return Err(give_back) };
            batch = rest;
            self.shutdown.or(refused.wait()).await;
        }
    }

    async fn attempt(&self, batch: &Batch, consumer: &mut Consumer, since: Instant) -> Result<(), GiveBack> {
        let _alone = if batch.suspect { Some(self.be_alone(batch, consumer, since).await?) } else { None };
        self.settle(&batch.events, since).await
    }

    /// Sees to it that nothing else is in hand while a suspect is tried: if it does kill the process, that must not count
    /// against other events.
    async fn be_alone(
        &self,
        suspect: &Batch,
        consumer: &mut Consumer,
        since: Instant,
    ) -> Result<MutexGuard<'_, ()>, GiveBack> {
        warn!(event_id = %suspect.events[0].id(), "this event came to nothing many times; it is tried alone");
        self.queue.set_aside(consumer).await;
        // Where other slots hold suspects too, chance decides who is first, so that the innocent get their turn.
        let pause = ALONE_AFTER.mul_f64(rand::random_range(1.0..2.0));
        self.shutdown.or(tokio::time::sleep(pause)).await;
        // Another one may be tried for long, while the database is away.
        let left = self.options.hold_max.saturating_sub(since.elapsed());
        tokio::time::timeout(left, self.alone.lock()).await.map_err(|_| GiveBack::HeldTooLong)
    }

    /// Applies these events, each as far as it can be, and records every one.
    async fn settle(&self, events: &[SignedEvent], since: Instant) -> Result<(), GiveBack> {
        let mut report = Report::begin(events, self.source, self.queue.system(), since);
        let settled = self.settle_each(&self.options.omitted.out_of(events), &mut report).await;
        report.finish();
        settled
    }

    async fn settle_each(&self, events: &[SignedEvent], report: &mut Report) -> Result<(), GiveBack> {
        let mut isolation = Isolation::of(events.len());
        while let Some(part) = isolation.next_part() {
            let attempt = async { self.apply(&self.plan(&events[part.clone()]), report).await };
            let Err(refusal) = refusing_panics(attempt).await? else { continue };
            let Some(place) = isolation.refused(part) else { continue };
            let event = &events[place];
            let failed = plan::plan_failed(std::slice::from_ref(event), &refusal);
            if let Err(again) = self.apply(&failed, report).await? {
                // A record holds nothing that a database refuses; if one does all the same, the event must not go.
                error!(event_id = %event.id(), code = %again.code, "a failed event cannot be recorded; it stays in the queue");
                self.shutdown.or(Backoff::for_repair().wait()).await;
                return Err(GiveBack::HeldTooLong);
            }
        }
        Ok(())
    }

    fn plan(&self, events: &[SignedEvent]) -> Write {
        let failed = |code: &'static str, text: &str| {
            plan::plan_failed(events, &Failure { code: code.into(), text: text.into() })
        };
        match self.source {
            Source::Events => (self.reading)(events),
            Source::DeadLetters => failed(
                "delivery_limit",
                "it was delivered more often than the queue allows without being applied; replay it",
            ),
            Source::Unrouted => failed("unrouted", "no queue was bound for it when it came; replay it"),
        }
    }

    /// Makes one write, through any outage. The inner error is the database's refusal of something in it.
    async fn apply(&self, write: &Write, report: &mut Report) -> Result<Result<(), Failure>, GiveBack> {
        let mut retry = self.outage.retry();
        loop {
            let (mut span, begun) = (report.writes(write, self.store.system()), Instant::now());
            let error = match self.store.apply(write).await {
                Ok(outcomes) => {
                    self.outage.is_over();
                    report.committed(write, &outcomes, begun.elapsed(), span);
                    return Ok(Ok(()));
                }
                Err(error) => error,
            };
            span.ended(Some(error.kind()));
            if let StoreError::Rejected { code, text } = error {
                return Ok(Err(Failure { code: code.into(), text }));
            }
            if report.age() > self.options.hold_max {
                return Err(GiveBack::HeldTooLong);
            }
            if self.shutdown.or(retry.wait(&error)).await.is_none() {
                return Err(GiveBack::Stopping);
            }
        }
    }
}
