//! Many deliveries at once, at a rate or as fast as they are answered.
//!
//! With a rate the load is open: each delivery is due at a time that no slow answer moves, and its
//! latency counts from then. A receiver that stops for a second is charged for everything that came
//! due in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::plan::Plan;
use super::sender::{Answer, PostError, Sender};
use super::summary::{Run, Summary, Tally};
use crate::backoff::Backoff;
use crate::sample::SampleEvent;
use crate::shutdown::Shutdown;

/// Longest wait before an event is sent again, whatever Retry-After says. Svix would wait for
/// minutes; this is a test.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);

/// How late the timer may wake us: it counts in milliseconds. That much is ours and not the
/// receiver's.
const TIMER_SLOP: Duration = Duration::from_millis(2);

/// What every task of a run shares.
pub struct Load {
    pub run: Run,
    pub plan: Plan,
    pub sender: Sender,
    pub connections: usize,
    /// Deliveries per second, over all connections; above zero.
    pub rate: Option<f64>,
    /// How often an event is sent again after a transient failure.
    pub retries: u32,
    /// Whether the IDs of queued events are kept.
    pub keeps_ids: bool,
    pub progress: indicatif::ProgressBar,
    /// Ends the run early, after the deliveries in flight.
    pub shutdown: Shutdown,
}

impl Load {
    /// Sends everything. Returns the result.
    pub async fn run(self) -> Summary {
        let load = Arc::new(self);
        let next = Arc::new(AtomicUsize::new(0));
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        let planned = load.plan.deliveries();
        for _ in 0..load.connections.min(planned) {
            tasks.spawn(load.clone().send_in_turn(next.clone(), start));
        }
        let mut total = Tally::default();
        while let Some(finished) = tasks.join_next().await {
            match finished {
                Ok(tally) => total.join(tally),
                // They are never aborted: only a panic ends one early, and it must not look like a
                // good run.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        load.progress.finish_and_clear();
        total.summary(load.run.clone(), planned, start.elapsed())
    }

    async fn send_in_turn(self: Arc<Self>, next: Arc<AtomicUsize>, start: Instant) -> Tally {
        let mut tally = Tally::default();
        while !self.shutdown.is_requested() {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(planned) = self.plan.event(place) else {
                break;
            };
            let Some(from) = self.wait_until_due(place, start).await else {
                break;
            };
            let (result, retries) = self.deliver(&planned.event).await;
            tally.retries += retries;
            tally.add(&result, from.elapsed());
            if self.keeps_ids && result.is_ok_and(|answer| answer.word == "queued") {
                tally.queued_ids.insert(planned.event.id);
            }
            self.progress.inc(1);
        }
        tally
    }

    /// The time from which the latency of the delivery at `place` counts. Returns `None` if the run
    /// is to stop.
    async fn wait_until_due(&self, place: usize, start: Instant) -> Option<Instant> {
        let Some(rate) = self.rate else {
            return Some(Instant::now());
        };
        // A number of deliveries is far below 2^52, so a double holds it.
        let due = start + Duration::from_secs_f64(place as f64 / rate);
        if due <= Instant::now() {
            return Some(due);
        }
        self.shutdown.or(tokio::time::sleep_until(due)).await?;
        Some(Instant::now().min(due + TIMER_SLOP))
    }

    /// The last answer, and how often the event was sent again before it.
    async fn deliver(&self, event: &SampleEvent) -> (Result<Answer, PostError>, u64) {
        let mut backoff = Backoff::for_outage();
        let mut retries = 0;
        loop {
            let result = self.sender.post(event).await;
            let wait = match &result {
                Ok(answer) if !answer.is_transient() => return (result, retries),
                Ok(answer) => answer
                    .retry_after
                    .unwrap_or_else(|| backoff.next_interval()),
                Err(_) => backoff.next_interval(),
            };
            let pause = tokio::time::sleep(wait.min(RETRY_WAIT_MAX));
            if retries >= u64::from(self.retries) || self.shutdown.or(pause).await.is_none() {
                return (result, retries);
            }
            retries += 1;
        }
    }
}
