//! One source, drained: its batches are taken, settled several at once, and acknowledged.
//!
//! - One consumer, so that all that is in hand is known: an event that may kill the process is tried while nothing else is.
//! - A batch is begun beside one in flight when it is full, or the other takes long. A write of one event costs nearly as
//!   much as a write of ten, so what comes meanwhile is better together in the next batch than each in one of its own.
//! - Batches are acknowledged in the order in which they were taken: one acknowledgement then stands for all events up to it,
//!   where out of order each event needs its own. One that takes long is not waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use super::apply::{GiveBack, Settler};
use crate::backoff::Backoff;
use crate::queue::{Batch, Consumer, ConsumerOptions, Queue, Source};
use crate::shutdown::Shutdown;
use crate::tasks;

/// How long a batch is held while the queue does not take it back either: below the 30 minutes, with time to return it.
const HOLD_WHILE_REFUSED: Duration = Duration::from_secs(25 * 60);

/// How long a full batch is waited for beside one in flight: longer than the write of a full one takes. One that waits for
/// somebody's lock must not hold up what has nothing to do with it.
const FULL_WITHIN: Duration = Duration::from_millis(50);

/// How long nothing else is taken while a suspect is tried. What kills a process does it sooner.
const ALONE_MAX: Duration = Duration::from_secs(5);

/// Drains one source.
pub struct Drain {
    queue: Queue,
    settler: Arc<Settler>,
    taking: ConsumerOptions,
    shutdown: Shutdown,
}

/// What is in hand.
struct Hand {
    consumer: Consumer,
    in_flight: JoinSet<Settled>,
    /// Numbers of what is in flight.
    numbers: BTreeSet<u64>,
    /// Settled, and not acknowledged before what was taken earlier.
    settled: BTreeMap<u64, Batch>,
    taken: u64,
    /// While what is in flight is a suspect.
    alone_until: Option<Instant>,
    /// While no more may come, since the store takes no writes.
    is_paused: bool,
    unacknowledged: Backoff,
}

/// A batch in hand.
struct Held {
    number: u64,
    batch: Batch,
    since: Instant,
}

/// A batch, and why it is to be given back where it could not be settled.
type Settled = (Held, Result<(), GiveBack>);

impl Drain {
    pub fn new(
        queue: Queue,
        settler: Settler,
        batch_max: NonZeroUsize,
        batches: NonZeroUsize,
    ) -> Self {
        let shutdown = settler.shutdown.clone();
        Self {
            queue,
            settler: Arc::new(settler),
            taking: ConsumerOptions { batch_max, batches },
            shutdown,
        }
    }

    /// A panic is a bug, and no reason to stop working: the events of the batch are delivered again. Nor is an end that nobody
    /// asked for.
    pub async fn run_through_panics(self) {
        let drain = Arc::new(self);
        let died = || {
            drain
                .settler
                .status
                .waits("it met a bug of clerk-sync, and starts again: report it")
        };
        let is_asked_to_end = || drain.shutdown.is_requested();
        tasks::restarted(drain.task(), is_asked_to_end, died, || {
            Arc::clone(&drain).run_to_the_end()
        })
        .await;
    }

    async fn run_to_the_end(self: Arc<Self>) {
        self.run().await;
        if self.queue.has_end(self.settler.source) {
            self.shutdown.requested().await;
        }
    }

    fn task(&self) -> &'static str {
        match self.settler.source {
            Source::Events => "worker of events",
            Source::DeadLetters => "worker of dead letters",
            Source::Unrouted => "worker of unrouted events",
            Source::Rescued => "worker of rescued events",
        }
    }

    async fn run(&self) {
        loop {
            // No batch is taken while it could only be held.
            if !self.settler.store_is_ready().await {
                return;
            }
            let consumer = self.queue.consume(self.settler.source, self.taking);
            self.settler.status.applies();
            match self.drain(consumer).await {
                Some(GiveBack::HeldTooLong) => {
                    warn!("the database is away: events wait in the queue")
                }
                Some(GiveBack::Stopping) | None => return,
            }
        }
    }

    /// Takes batches until the worker is to stop and all that was handed over is done, or some must be given back.
    async fn drain(&self, consumer: Consumer) -> Option<GiveBack> {
        let (mut hand, mut stopping, mut outage) =
            (Hand::of(consumer), false, self.settler.outage.met());
        loop {
            let in_flight = hand.in_flight.len();
            let has_room = in_flight < self.taking.batches.get()
                && hand.alone_until.is_none()
                && (stopping || !hand.is_paused);
            let can_pause = self.settler.source == Source::Rescued && !stopping;
            let alone_until = hand.alone_until.unwrap_or_else(Instant::now);
            let gone = tokio::select! {
                biased;
                () = self.shutdown.requested(), if !stopping => {
                    stopping = true;
                    hand.consumer.stop().await;
                    None
                }
                Ok(()) = outage.changed(), if can_pause && !hand.is_paused => {
                    // What is not delivered yet expires; what the broker holds does not.
                    hand.consumer.pause().await;
                    hand.is_paused = true;
                    None
                }
                Some(settled) = hand.in_flight.join_next() => self.conclude(&mut hand, joined(settled)).await,
                () = sleep_until(alone_until.into()), if hand.alone_until.is_some() => {
                    hand.alone_until = None;
                    None
                }
                _ = self.settler.store_is_ready(), if can_pause && hand.is_paused => {
                    outage.mark_unchanged();
                    hand.is_paused = false;
                    None
                }
                batch = next(&mut hand.consumer, in_flight), if has_room => match batch {
                    Some(batch) => self.begin(&mut hand, batch).await,
                    None => match self.settle_in_flight(&mut hand).await {
                        (back, Some(reason)) => self.give_back(&mut hand, back, reason).await,
                        (_, None) => return None,
                    },
                },
            };
            if gone.is_some() {
                return gone;
            }
        }
    }

    /// Has a batch settled; a suspect while nothing else is in hand, so that it counts against no other if it kills us.
    async fn begin(&self, hand: &mut Hand, batch: Batch) -> Option<GiveBack> {
        hand.taken += 1;
        let held = Held {
            number: hand.taken,
            batch,
            since: Instant::now(),
        };
        if held.batch.suspect {
            if let (mut back, Some(reason)) = self.settle_in_flight(hand).await {
                back.push(held);
                return self.give_back(hand, back, reason).await;
            }
            warn!(event_id = %held.batch.events[0].id(), "this event came to nothing many times; it is tried alone");
            self.queue.set_aside(&mut hand.consumer).await;
            hand.alone_until = Some(Instant::now() + ALONE_MAX);
        }
        let settler = Arc::clone(&self.settler);
        hand.numbers.insert(held.number);
        hand.in_flight.spawn(async move {
            let settled = settler.settle(&held.batch.events, held.since).await;
            (held, settled)
        });
        None
    }

    /// Deals with what a batch came to. The reason where it was given back, and all else with it.
    async fn conclude(&self, hand: &mut Hand, (held, settled): Settled) -> Option<GiveBack> {
        hand.alone_until = None;
        hand.numbers.remove(&held.number);
        let Err(reason) = settled else {
            hand.settled.insert(held.number, held.batch);
            self.acknowledge_in_order(hand).await;
            return None;
        };
        // The others meet the same outage.
        let (mut back, _) = self.settle_in_flight(hand).await;
        back.push(held);
        self.give_back(hand, back, reason).await
    }

    /// Waits for all that is in flight: what of it is to be given back, and why.
    async fn settle_in_flight(&self, hand: &mut Hand) -> (Vec<Held>, Option<GiveBack>) {
        let (mut back, mut reason) = (Vec::new(), None);
        while let Some(settled) = hand.in_flight.join_next().await {
            let (held, settled) = joined(settled);
            hand.numbers.remove(&held.number);
            match settled {
                Ok(()) => _ = hand.settled.insert(held.number, held.batch),
                Err(why) => {
                    back.push(held);
                    reason = Some(why);
                }
            }
        }
        self.acknowledge_in_order(hand).await;
        (back, reason)
    }

    /// Acknowledges what was taken before all that is in flight; and the rest, if that would be kept waiting.
    async fn acknowledge_in_order(&self, hand: &mut Hand) {
        let first_in_flight = hand.numbers.first().copied().unwrap_or(u64::MAX);
        let mut ready = std::mem::take(&mut hand.settled);
        let later = ready.split_off(&first_in_flight);
        if later.len() < self.taking.batches.get() {
            hand.settled = later;
        } else {
            ready.extend(later);
        }
        for batch in ready.into_values() {
            self.acknowledge(hand, batch).await;
        }
    }

    /// Gives back all that is in hand; the reason, once it is gone. What the queue does not take is tried again, in turn with
    /// giving it back; nothing once it is applied.
    async fn give_back(
        &self,
        hand: &mut Hand,
        back: Vec<Held>,
        mut reason: GiveBack,
    ) -> Option<GiveBack> {
        let since = back
            .iter()
            .map(|held| held.since)
            .min()
            .unwrap_or_else(Instant::now);
        let mut batches: Vec<Batch> = back.into_iter().map(|held| held.batch).collect();
        let mut refused = Backoff::for_outage();
        loop {
            let force = self.shutdown.is_requested()
                || since.elapsed() > self.queue.hold_max(HOLD_WHILE_REFUSED);
            let Some(rest) = self
                .queue
                .give_back(&mut hand.consumer, batches, force)
                .await
            else {
                return Some(reason);
            };
            self.shutdown.or(refused.wait()).await;
            match self.settler.settle(&rest.events, since).await {
                Ok(()) => {
                    self.acknowledge(hand, rest).await;
                    return None;
                }
                Err(again) => reason = again,
            }
            batches = vec![rest];
        }
    }

    async fn acknowledge(&self, hand: &mut Hand, batch: Batch) {
        match hand.consumer.ack(batch).await {
            Ok(()) => hand.unacknowledged.reset(),
            Err(reason) => {
                info!(%reason, "a batch was applied but not acknowledged; it is delivered again and changes nothing");
                // On a full disk the embedded queue hands the same batch out at once.
                self.shutdown.or(hand.unacknowledged.wait()).await;
            }
        }
    }
}

impl Hand {
    fn of(consumer: Consumer) -> Self {
        Self {
            consumer,
            in_flight: JoinSet::new(),
            numbers: BTreeSet::new(),
            settled: BTreeMap::new(),
            taken: 0,
            alone_until: None,
            is_paused: false,
            unacknowledged: Backoff::for_outage(),
        }
    }
}

/// The next batch. Cancel-safe.
async fn next(consumer: &mut Consumer, in_flight: usize) -> Option<Batch> {
    if in_flight > 0
        && let Ok(batch) = timeout(FULL_WITHIN, consumer.next_full_batch()).await
    {
        return batch;
    }
    consumer.next_batch().await
}

/// A panic goes on where it is caught.
fn joined(settled: Result<Settled, JoinError>) -> Settled {
    settled.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
