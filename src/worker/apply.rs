//! Events to the store: every one is settled, applied or recorded as failed, through any outage.

use std::borrow::Cow;
use std::collections::HashSet;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tracing::error;

use super::isolate::{Isolation, refusing_panics};
use super::plan;
use super::report::Report;
use super::retry::Outage;
use super::row_locks::Claims;
use super::status::Status;
use crate::backoff::Backoff;
use crate::clerk::{OmittedFields, SignedEvent};
use crate::queue::{Queue, Source};
use crate::shutdown::Shutdown;
use crate::store::{EventFailure, Store, StoreError, Write};

/// Settles the events of one source.
pub struct Settler {
    pub store: Store,
    pub source: Source,
    pub queue: Queue,
    pub omitted: OmittedFields,
    /// See `Options::hold_max`.
    pub hold_max: Duration,
    pub claims: Claims,
    pub outage: Outage,
    /// `OmittedFields::out_of`, and `plan::plan`: what events come to; but for a test of what a bug in one of them does.
    pub omitting: for<'a> fn(&OmittedFields, &'a [SignedEvent]) -> Cow<'a, [SignedEvent]>,
    pub reading: fn(&[SignedEvent]) -> Write,
    pub status: Status,
    pub shutdown: Shutdown,
}

/// Why a batch is given back.
#[derive(Clone, Copy)]
pub enum GiveBack {
    /// The database has been away for too long.
    HeldTooLong,
    /// The worker stops, and the database is away.
    Stopping,
}

impl Settler {
    /// Waits until the store can be used; false when the worker is to stop first.
    pub async fn store_is_ready(&self) -> bool {
        let mut retry = self.outage.retry();
        while let Err(error) = self.store.usable().await {
            self.status.waits(error.to_string());
            if self.shutdown.or(retry.wait(&error)).await.is_none() {
                return false;
            }
        }
        !self.shutdown.is_requested()
    }

    /// Applies these events, each as far as it can be, and records every one.
    pub async fn settle(&self, events: &[SignedEvent], since: Instant) -> Result<(), GiveBack> {
        let mut report = Report::begin(events, self.source, self.queue.system(), since);
        let settled = self.settle_omitting(events, &mut report).await;
        report.finish();
        settled
    }

    /// An event whose fields cannot be taken out fails alone, and without its body: what is omitted is never stored.
    async fn settle_omitting(
        &self,
        events: &[SignedEvent],
        report: &mut Report,
    ) -> Result<(), GiveBack> {
        if let Ok(stripped) = self.omit(events).await {
            return self.settle_each(&stripped, report).await;
        }
        let mut stripped = Vec::with_capacity(events.len());
        for event in events {
            match self.omit(std::slice::from_ref(event)).await {
                Ok(event) => stripped.extend(event.into_owned()),
                Err(refusal) => self.record_without_body(event, refusal, report).await?,
            }
        }
        self.settle_each(&stripped, report).await
    }

    async fn omit<'a>(
        &self,
        events: &'a [SignedEvent],
    ) -> Result<Cow<'a, [SignedEvent]>, EventFailure> {
        let omitting = async { Ok::<_, Infallible>(Ok((self.omitting)(&self.omitted, events))) };
        refusing_panics(omitting)
            .await
            .unwrap_or_else(|never| match never {})
    }

    async fn record_without_body(
        &self,
        event: &SignedEvent,
        refusal: EventFailure,
        report: &mut Report,
    ) -> Result<(), GiveBack> {
        let text = "clerk-sync met a bug of its own while it took out OMIT_FIELDS, so the body is not kept; report it, and repair the row with `clerk-sync reconcile --fix`";
        let failed = plan::plan_failed(
            &[event.without_body()],
            &EventFailure {
                text: text.into(),
                ..refusal
            },
        );
        self.record_failed(event, &failed, report).await
    }

    async fn settle_each(
        &self,
        events: &[SignedEvent],
        report: &mut Report,
    ) -> Result<(), GiveBack> {
        let Ok(write) = refusing_panics(async { Ok(Ok(self.plan(events))) }).await? else {
            return self.isolate(events, report).await;
        };
        if !self.store.writes_side_by_side() {
            return self.write(&write, events, report).await;
        }
        let (mut claim, now, later) = self.claims.claim(write);
        self.write(&now, events, report).await?;
        claim.wait_for_others().await;
        self.write(&later, events, report).await
    }

    /// Makes a write of some of these events; where the database refuses it, each of them is settled as far as it can be.
    async fn write(
        &self,
        write: &Write,
        events: &[SignedEvent],
        report: &mut Report,
    ) -> Result<(), GiveBack> {
        if write.records.is_empty() || refusing_panics(self.apply(write, report)).await?.is_ok() {
            return Ok(());
        }
        let refused: HashSet<_> = write
            .records
            .iter()
            .map(|record| record.event.id())
            .collect();
        let events: Vec<_> = events
            .iter()
            .filter(|event| refused.contains(event.id()))
            .cloned()
            .collect();
        self.isolate(&events, report).await
    }

    /// Settles events that are refused together.
    async fn isolate(&self, events: &[SignedEvent], report: &mut Report) -> Result<(), GiveBack> {
        let mut isolation = Isolation::of_refused(events.len());
        while let Some(part) = isolation.next_part() {
            let attempt = async { self.apply(&self.plan(&events[part.clone()]), report).await };
            let Err(refusal) = refusing_panics(attempt).await? else {
                continue;
            };
            let Some(place) = isolation.refused(part) else {
                continue;
            };
            let event = &events[place];
            self.record_failed(
                event,
                &plan::plan_failed(std::slice::from_ref(event), &refusal),
                report,
            )
            .await?;
        }
        Ok(())
    }

    /// A record holds nothing that a database refuses; if one does all the same, the event must not go.
    async fn record_failed(
        &self,
        event: &SignedEvent,
        failed: &Write,
        report: &mut Report,
    ) -> Result<(), GiveBack> {
        let Err(again) = self.apply(failed, report).await? else {
            return Ok(());
        };
        error!(event_id = %event.id(), code = %again.code, "a failed event cannot be recorded; it stays in the queue");
        self.shutdown.or(Backoff::for_repair().wait()).await;
        Err(GiveBack::HeldTooLong)
    }

    fn plan(&self, events: &[SignedEvent]) -> Write {
        match self.source {
            Source::Events => (self.reading)(events),
            Source::DeadLetters | Source::Unrouted | Source::Rescued => {
                plan::plan_dead_letters(events)
            }
        }
    }

    /// Makes one write, through any outage. The inner error is the database's refusal of something in it.
    async fn apply(
        &self,
        write: &Write,
        report: &mut Report,
    ) -> Result<Result<(), EventFailure>, GiveBack> {
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
                return Ok(Err(EventFailure {
                    code: code.into(),
                    text,
                }));
            }
            let hold_max = self.queue.hold_max(self.hold_max);
            if report.age() > hold_max {
                return Err(GiveBack::HeldTooLong);
            }
            let left = hold_max.saturating_sub(report.age());
            match timeout(left, self.shutdown.or(retry.wait(&error))).await {
                Ok(Some(())) => {}
                Ok(None) => return Err(GiveBack::Stopping),
                Err(_) => return Err(GiveBack::HeldTooLong),
            }
        }
    }
}
