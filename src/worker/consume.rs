//! Drains one source: takes its batches, has several applied at once, and acknowledges them.
//!
//! - One consumer per source, so that all events in flight are known: one that may be a poison
//!   message is applied while no other event is in flight.
//! - While a batch is in flight, the next one is taken when it is full or the first takes long. A
//!   write of one event costs nearly as much as a write of ten, so events that arrive meanwhile
//!   share the next batch.
//! - Batches are acknowledged in the order in which they were taken: one acknowledgement then
//!   covers all events up to it, where out of order each event needs its own. A batch that takes
//!   long is not waited for.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::apply::Applier;
use super::return_reason::ReturnReason;
use crate::backoff::Backoff;
use crate::queue::{Batch, Consumer, ConsumerOptions, Source};
use crate::shutdown::Shutdown;
use crate::tasks;

/// How long a batch is held if the queue accepts no events either: below RabbitMQ's consumer
/// timeout of 30 minutes, with time to return it.
const HOLD_WHILE_REFUSED: Duration = Duration::from_secs(25 * 60);

/// How long to wait for a full batch while another is in flight: longer than the write of a full
/// one takes. One that waits for a lock must not hold up the others.
const FULL_WITHIN: Duration = Duration::from_millis(50);

/// How often events that arrive while no batch can be taken are counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How long nothing else is taken while a possible poison message is applied. What kills a process
/// does it sooner.
const ISOLATED_MAX: Duration = Duration::from_secs(5);

/// Drains one source.
pub struct Drain {
    applier: Arc<Applier>,
    options: ConsumerOptions,
    shutdown: Shutdown,
}

/// The batches that are taken and not acknowledged.
struct InFlight {
    consumer: Consumer,
    /// Most events in a batch of this consumer.
    batch_max: NonZeroUsize,
    applying: JoinSet<Applied>,
    /// Batches in the order in which they were taken. `None` while a batch is being applied.
    batches: BTreeMap<u64, Option<Batch>>,
    taken: u64,
    /// Set while a possible poison message is applied: nothing else is taken before.
    isolated_until: Option<Instant>,
    /// The queue sends nothing, since the store takes no writes.
    is_paused: bool,
    /// Set once everything in flight is to return to the queue.
    unapplied: Option<Unapplied>,
    ack_retry: Backoff,
}

struct TakenBatch {
    number: u64,
    batch: Batch,
    since: Instant,
}

type Applied = (TakenBatch, Result<(), ReturnReason>);

/// Batches that could not be applied, and why they return to the queue.
struct Unapplied {
    batches: Vec<Batch>,
    /// When the first of them was taken.
    since: Instant,
    reason: ReturnReason,
}

impl Drain {
    pub fn new(applier: Applier, options: ConsumerOptions) -> Self {
        Self {
            shutdown: applier.shutdown.clone(),
            applier: Arc::new(applier),
            options,
        }
    }

    /// Runs until the worker stops. A panic is a bug, and no reason to stop: the events of the
    /// batch are delivered again. An unexpected end is handled in the same way.
    pub async fn run_through_panics(self) {
        let task = match self.applier.source {
            Source::Events => "worker of events",
            Source::DeadLetters => "worker of dead letters",
            Source::Unrouted => "worker of unrouted events",
            Source::Rescued => "worker of rescued events",
        };
        let died = || {
            let reason = "it met a bug of clerk-sync, and starts again: report it";
            self.applier.status.waits(reason);
        };
        let is_asked_to_end = || self.shutdown.is_requested();
        tasks::restarted(task, is_asked_to_end, died, || async {
            self.run().await;
            if self.applier.queue.has_end(self.applier.source) {
                self.shutdown.requested().await;
            }
        })
        .await;
    }

    async fn run(&self) {
        // No batch is taken while it could only be held.
        while self.applier.may_take_events().await {
            let Applier {
                queue,
                source,
                status,
                ..
            } = &*self.applier;
            let batch_max = self.batch_max();
            let options = ConsumerOptions {
                batch_max,
                ..self.options
            };
            let consumer = queue.consume(*source, options);
            status.applies();
            match self.drain(InFlight::new(consumer, batch_max)).await {
                Some(ReturnReason::HeldTooLong) => {
                    warn!("the database is away: events wait in the queue");
                }
                Some(ReturnReason::Paused | ReturnReason::OtherRate) => {}
                Some(ReturnReason::Stopping) | None => return,
            }
        }
    }

    /// Most events in a batch: fewer under a rate limit.
    fn batch_max(&self) -> NonZeroUsize {
        self.applier.control.batch_max(self.options.batch_max)
    }

    /// Takes batches until the worker stops and all of them are done, or some must return to the
    /// queue.
    async fn drain(&self, mut in_flight: InFlight) -> Option<ReturnReason> {
        let (mut stopping, mut outage) = (false, self.applier.outage.met());
        loop {
            let applying = in_flight.applying.len();
            let has_capacity = applying < self.options.batches.get()
                && in_flight.isolated_until.is_none()
                && (stopping || !in_flight.is_paused);
            let can_pause = self.applier.source == Source::Rescued && !stopping;
            let isolated_until = in_flight.isolated_until.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = self.shutdown.requested(), if !stopping => {
                    stopping = true;
                    in_flight.consumer.stop().await;
                }
                Ok(()) = outage.changed(), if can_pause && !in_flight.is_paused => {
                    // Events that are not delivered yet may expire; those that the broker retains
                    // do not.
                    in_flight.consumer.pause().await;
                    in_flight.is_paused = true;
                }
                Some(applied) = in_flight.applying.join_next() => {
                    in_flight.finished(applied);
                    self.acknowledge_in_order(&mut in_flight).await;
                }
                () = sleep_until(isolated_until.into()), if in_flight.isolated_until.is_some() => {
                    in_flight.isolated_until = None;
                }
                _ = self.applier.may_take_events(), if can_pause && in_flight.is_paused => {
                    outage.mark_unchanged();
                    in_flight.is_paused = false;
                }
                // What an outage keeps here is seen by operators.
                () = sleep(COUNT_EVERY), if !has_capacity => in_flight.consumer.count_arrived(),
                batch = next(&mut in_flight.consumer, applying), if has_capacity => match batch {
                    Some(batch) => self.start(&mut in_flight, batch).await,
                    None => {
                        self.finish_all(&mut in_flight).await;
                        in_flight.unapplied.as_ref()?;
                    }
                },
            }
            if in_flight.unapplied.is_some() {
                // The other batches meet the same outage.
                self.finish_all(&mut in_flight).await;
                let reason = self.return_all(&mut in_flight).await;
                if reason.is_some() {
                    return reason;
                }
            }
        }
    }

    /// Starts to apply a batch. A possible poison message waits until nothing else is in flight, so
    /// that it counts against no other event if it kills the process.
    async fn start(&self, in_flight: &mut InFlight, batch: Batch) {
        let since = Instant::now();
        if in_flight.batch_max != self.batch_max() {
            return in_flight.returns(batch, since, ReturnReason::OtherRate);
        }
        if batch.may_be_poison {
            self.finish_all(in_flight).await;
            if let Some(unapplied) = &mut in_flight.unapplied {
                return unapplied.batches.push(batch);
            }
            warn!(event_id = %batch.events[0].id(), "an event was delivered many times without being applied; it may be a poison message and is isolated");
            in_flight.consumer.return_prefetched().await;
            in_flight.isolated_until = Some(Instant::now() + ISOLATED_MAX);
        }
        in_flight.taken += 1;
        let (number, applier) = (in_flight.taken, Arc::clone(&self.applier));
        in_flight.batches.insert(number, None);
        in_flight.applying.spawn(async move {
            let applied = applier.apply(&batch.events, since).await;
            let taken = TakenBatch {
                number,
                batch,
                since,
            };
            (taken, applied)
        });
    }

    /// Waits until nothing is being applied, and acknowledges.
    async fn finish_all(&self, in_flight: &mut InFlight) {
        while let Some(applied) = in_flight.applying.join_next().await {
            in_flight.finished(applied);
        }
        self.acknowledge_in_order(in_flight).await;
    }

    /// Acknowledges the applied batches that were taken before all that are being applied; the
    /// others too, if too many wait.
    async fn acknowledge_in_order(&self, in_flight: &mut InFlight) {
        let batches = &mut in_flight.batches;
        let in_order = batches.values().take_while(|batch| batch.is_some()).count();
        let applied = batches.values().flatten().count();
        let acknowledged = if applied - in_order < self.options.batches.get() {
            in_order
        } else {
            applied
        };
        let applied = batches.extract_if(.., |_, batch| batch.is_some());
        let ready: Vec<Batch> = applied
            .take(acknowledged)
            .filter_map(|(_, batch)| batch)
            .collect();
        for batch in ready {
            self.acknowledge(in_flight, batch).await;
        }
    }

    /// Returns everything in flight to the queue. Returns the reason, or `None` if the batches
    /// could be applied after all: while the queue does not take them, they are tried again in
    /// turn.
    async fn return_all(&self, in_flight: &mut InFlight) -> Option<ReturnReason> {
        let Unapplied {
            mut batches,
            since,
            mut reason,
        } = in_flight.unapplied.take()?;
        let mut refused = Backoff::for_outage();
        loop {
            let force = self.shutdown.is_requested()
                || since.elapsed() > self.applier.queue.hold_max(HOLD_WHILE_REFUSED);
            let Some(rest) = in_flight.consumer.return_all(batches, force).await else {
                return Some(reason);
            };
            self.shutdown.or(refused.wait()).await;
            match self.applier.apply(&rest.events, since).await {
                Ok(()) => {
                    self.acknowledge(in_flight, rest).await;
                    return None;
                }
                Err(again) => reason = again,
            }
            batches = vec![rest];
        }
    }

    async fn acknowledge(&self, in_flight: &mut InFlight, batch: Batch) {
        match in_flight.consumer.ack(batch).await {
            Ok(()) => in_flight.ack_retry.reset(),
            Err(reason) => {
                info!(%reason, "a batch was applied but not acknowledged; it is delivered again and changes nothing");
                // On a full disk the embedded queue delivers the same batch again at once.
                self.shutdown.or(in_flight.ack_retry.wait()).await;
            }
        }
    }
}

impl InFlight {
    fn new(consumer: Consumer, batch_max: NonZeroUsize) -> Self {
        Self {
            consumer,
            batch_max,
            applying: JoinSet::new(),
            batches: BTreeMap::new(),
            taken: 0,
            isolated_until: None,
            is_paused: false,
            unapplied: None,
            ack_retry: Backoff::for_outage(),
        }
    }

    /// Stores the result of a batch. Continues a panic.
    fn finished(&mut self, applied: Result<Applied, JoinError>) {
        let (taken, applied) = applied.unwrap_or_else(|error| resume_unwind(error.into_panic()));
        self.isolated_until = None;
        let Err(reason) = applied else {
            self.batches.insert(taken.number, Some(taken.batch));
            return;
        };
        self.batches.remove(&taken.number);
        self.returns(taken.batch, taken.since, reason);
    }

    /// Adds a batch to those that return to the queue.
    fn returns(&mut self, batch: Batch, since: Instant, reason: ReturnReason) {
        let unapplied = self.unapplied.get_or_insert(Unapplied {
            batches: Vec::new(),
            since,
            reason,
        });
        unapplied.since = unapplied.since.min(since);
        unapplied.batches.push(batch);
    }
}

/// Returns the next batch. Cancel-safe.
async fn next(consumer: &mut Consumer, applying: usize) -> Option<Batch> {
    if applying > 0
        && let Ok(batch) = timeout(FULL_WITHIN, consumer.next_full_batch()).await
    {
        return batch;
    }
    consumer.next_batch().await
}
