//! Applies a batch to the store. Decides for each error whether to retry, to isolate events or to
//! return the batch, so that every event is applied or recorded as failed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tracing::error;

use super::control::ControlView;
use super::isolate::halve;
use super::plan::{panicked, plan_batch, plan_failed};
use super::report::Report;
use super::retry::Outage;
use super::return_reason::ReturnReason;
use super::row_locks::RowLocks;
use super::status::Status;
use crate::backoff::Backoff;
use crate::clerk::{OmittedFields, SignedEvent};
use crate::queue::{Queue, Source};
use crate::shutdown::Shutdown;
use crate::store::{EventFailure, Record, Store, StoreError, Write};

/// Applies the events of one source.
pub struct Applier {
    pub store: Store,
    pub source: Source,
    pub queue: Queue,
    pub omitted: OmittedFields,
    /// See `Options::hold_max`.
    pub hold_max: Duration,
    pub row_locks: RowLocks,
    pub outage: Outage,
    pub control: ControlView,
    pub status: Status,
    pub shutdown: Shutdown,
    /// Set once it is noted in the database whether changes are recorded.
    pub feed_noted: Arc<OnceCell<()>>,
}

impl Applier {
    /// Waits until the store can be used and applying is not paused. Returns false if the worker is
    /// to stop first.
    pub async fn may_take_events(&self) -> bool {
        let mut retry = self.outage.retry();
        loop {
            while let Err(error) = self.usable().await {
                self.status.waits(error.to_string());
                if self.shutdown.or(retry.wait(&error)).await.is_none() {
                    return false;
                }
            }
            if self.shutdown.is_requested() {
                return false;
            }
            if !self.control.is_paused().await {
                return true;
            }
            // A person wants it so: no part is missing.
            self.status.applies();
            if self.shutdown.or(self.control.resumed()).await.is_none() {
                return false;
            }
        }
    }

    /// Whether the store can be used. The first write of this process comes after it was noted whether
    /// changes are recorded.
    async fn usable(&self) -> Result<(), StoreError> {
        self.store.usable().await?;
        let note = || self.store.note_change_feed();
        self.feed_noted.get_or_try_init(note).await.map(drop)
    }

    /// Applies events that were taken at `since`, and records every one.
    ///
    /// # Errors
    /// Fails if the batch must return to the queue; part of it may be applied.
    pub async fn apply(&self, events: &[SignedEvent], since: Instant) -> Result<(), ReturnReason> {
        self.control.permit(events.len(), &self.shutdown).await?;
        let mut report = Report::start(events, self.source, self.queue.system(), since);
        let applied = self.apply_each(events, &mut report).await;
        report.finish();
        applied
    }

    async fn apply_each(
        &self,
        events: &[SignedEvent],
        report: &mut Report,
    ) -> Result<(), ReturnReason> {
        for write in plan_batch(events, self.source, &self.omitted) {
            self.apply_by_rows(write, report).await?;
        }
        Ok(())
    }

    async fn apply_by_rows(&self, write: Write, report: &mut Report) -> Result<(), ReturnReason> {
        if !self.store.writes_side_by_side() {
            return self.apply_or_isolate(write, report).await;
        }
        let (mut lock, now, later) = self.row_locks.lock(write);
        self.apply_or_isolate(now, report).await?;
        lock.wait_for_earlier().await;
        self.apply_or_isolate(later, report).await
    }

    /// Makes a write. If the database refuses it, the poison events are isolated and recorded as
    /// failed.
    async fn apply_or_isolate(
        &self,
        write: Write,
        report: &mut Report,
    ) -> Result<(), ReturnReason> {
        let mut parts = vec![write];
        while let Some(part) = parts.pop() {
            if part.records.is_empty() {
                continue;
            }
            let Err(refusal) = refusing_panics(self.attempt(&part, report)).await? else {
                continue;
            };
            match halve(part) {
                Ok([first, second]) => parts.extend([second, first]),
                Err(Some(record)) => self.record_failed(*record, &refusal, report).await?,
                Err(None) => {}
            }
        }
        Ok(())
    }

    /// Records an event as failed. A database should accept every record; if it refuses one, the
    /// event stays in the queue.
    async fn record_failed(
        &self,
        record: Record,
        refusal: &EventFailure,
        report: &mut Report,
    ) -> Result<(), ReturnReason> {
        let event = &record.event;
        let mut failed = plan_failed(std::slice::from_ref(event), refusal);
        for again in &mut failed.records {
            again.deliveries = record.deliveries;
        }
        let Err(again) = self.attempt(&failed, report).await? else {
            return Ok(());
        };
        error!(event_id = %event.id(), code = %again.code, "a failed event cannot be recorded; it stays in the queue");
        self.shutdown.or(Backoff::for_repair().wait()).await;
        Err(ReturnReason::HeldTooLong)
    }

    /// Makes one write, through any outage. The inner error is the refusal of the database.
    async fn attempt(
        &self,
        write: &Write,
        report: &mut Report,
    ) -> Result<Result<(), EventFailure>, ReturnReason> {
        let mut retry = self.outage.retry();
        loop {
            if self.control.is_paused().await {
                return Err(ReturnReason::Paused);
            }
            let (mut span, start) = (report.write(write, self.store.system()), Instant::now());
            let error = match self.store.apply(write).await {
                Ok(outcomes) => {
                    self.outage.ended();
                    report.committed(write, &outcomes, start.elapsed(), span);
                    return Ok(Ok(()));
                }
                Err(error) => error,
            };
            span.end(Some(error.kind()));
            if let StoreError::Rejected { code, text } = error {
                let code = code.into();
                return Ok(Err(EventFailure { code, text }));
            }
            let left = self
                .queue
                .hold_max(self.hold_max)
                .checked_sub(report.age())
                .ok_or(ReturnReason::HeldTooLong)?;
            match timeout(left, self.shutdown.or(retry.wait(&error))).await {
                Ok(Some(())) => {}
                Ok(None) => return Err(ReturnReason::Stopping),
                Err(_) => return Err(ReturnReason::HeldTooLong),
            }
        }
    }
}

/// Makes a panic a refusal: it leaves nothing but a transaction that is not committed.
async fn refusing_panics<T, E>(
    attempt: impl Future<Output = Result<Result<T, EventFailure>, E>>,
) -> Result<Result<T, EventFailure>, E> {
    let attempt = AssertUnwindSafe(attempt).catch_unwind();
    attempt.await.unwrap_or_else(|_| Ok(Err(panicked())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_refusal_and_other_results_pass() {
        let panics = async |panics: bool| {
            assert!(!panics, "a bug, made by a test");
            Ok::<_, &str>(Ok(()))
        };
        assert_eq!(refusing_panics(panics(false)).await, Ok(Ok(())));
        let refused = refusing_panics(panics(true)).await.unwrap().unwrap_err();
        assert_eq!(refused.code, "panicked");
        assert!(!refused.text.contains("made by a test"), "{}", refused.text);
        assert_eq!(
            refusing_panics(async { Err::<Result<(), _>, _>("away") }).await,
            Err("away")
        );
    }
}
