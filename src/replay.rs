//! Replays failed events (publishes them again), or discards them.
//!
//! - A replay publishes an event under its own ID, on the same path as all events. So no event is
//!   applied twice, and a replay that was stopped can be run again.
//! - The event stays failed until a worker has tried it again; that counts in `attempts`.
//! - A replay has a rate limit, so that it does not delay new events.
//! - Who asked for it is recorded with each event, and in the audit: before the events are
//!   published, in parts of a second.

mod outcomes;
mod report;
mod selection;
pub mod worker_queues;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::backoff::Backoff;
use crate::clerk::{EventId, SignedEvent, tables};
use crate::metrics::{self, EventStatus, EventType};
use crate::queue::{PUBLISH_TIMEOUT, PublishError, Queue};
use crate::store::{Action, Actor, Status, Store, StoreError};

pub use outcomes::{Outcome, OutcomeStatus, newly_published, outcomes, update};
pub use report::{DiscardReport, Published, ReplayPreview, ReplayReport};
pub use selection::Selection;
use selection::{EVENTS_PER_QUERY, SelectedIds, failed_event, failed_events};

/// Default rate in events per second: a tenth of what a worker applies, or less.
pub const RATE: NonZeroU32 = NonZeroU32::new(500).expect("500 is not 0");

/// Why a replay stopped. The events before it are replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue.
    #[error("{event_id} was not published again, {reason}; run it again")]
    Queue {
        /// The event that could not be published.
        event_id: String,
        /// Why.
        reason: PublishError,
    },
}

/// Publishes failed events again, at most `rate` per second. Counts in `report`, so that a caller
/// that stops it knows how far it got, and calls `notify` after each event. Records `actor`.
/// Cancel-safe.
///
/// # Errors
/// Fails when the store or the queue does; `report` has what was done until then.
pub async fn replay(
    store: &Store,
    queue: &Queue,
    selection: &Selection,
    rate: NonZeroU32,
    actor: &Actor,
    report: &mut ReplayReport,
    mut notify: impl FnMut(u64, Published),
) -> Result<(), ReplayError> {
    let mut pace = interval(Duration::from_secs(1) / rate.get());
    // A pause is not made up for.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut selected = SelectedIds::new(store, selection);
    let act = selection.act(Action::Replayed, actor);
    loop {
        // At most what is published within a second.
        let ids = selected.next_page(rate.min(EVENTS_PER_QUERY)).await?;
        if ids.is_empty() {
            report.next = selected.cursor();
            return Ok(());
        }
        store.record_replay(&ids, &act).await?;
        for event_id in ids {
            let Some((event, attempts)) = failed_event(store, &event_id).await? else {
                report.skipped += 1;
                continue;
            };
            pace.tick().await;
            if let Err(reason) = publish(queue, event).await {
                let event_id = event_id.to_string();
                return Err(ReplayError::Queue { event_id, reason });
            }
            report.replayed += 1;
            notify(report.replayed, Published { event_id, attempts });
        }
    }
}

/// Publishes with retries: the connection to the queue is made in the background.
async fn publish(queue: &Queue, event: SignedEvent) -> Result<(), PublishError> {
    let mut backoff = Backoff::for_outage();
    let deadline = Instant::now() + PUBLISH_TIMEOUT;
    loop {
        match queue.publish(event.clone()).await {
            Err(PublishError::Unavailable | PublishError::Busy | PublishError::Refused)
                if Instant::now() < deadline =>
            {
                backoff.wait().await;
            }
            done => return done,
        }
    }
}

/// Returns what a replay would do.
///
/// # Errors
/// Fails when the store cannot be read.
pub async fn preview(store: &Store, selection: &Selection) -> Result<ReplayReport, StoreError> {
    let mut report = ReplayReport {
        dry_run: true,
        ..ReplayReport::default()
    };
    let mut preview = ReplayPreview::default();
    let mut selected = SelectedIds::new(store, selection);
    loop {
        let ids = selected.next_page(EVENTS_PER_QUERY).await?;
        if ids.is_empty() {
            break;
        }
        let events = failed_events(store, &ids).await?;
        report.skipped += (ids.len() - events.len()) as u64;
        report.replayed += events.len() as u64;
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            match event.parse() {
                Err(rejection) => *preview.fail.entry(rejection.code().into()).or_default() += 1,
                Ok(event) => changes.push(event.change),
            }
        }
        for table in tables::ALL {
            let of_table: Vec<_> = changes.iter().filter(|one| one.table == *table).collect();
            let ids = of_table.iter().map(|change| change.clerk_id.clone());
            let ids: Vec<_> = ids.collect::<BTreeSet<_>>().into_iter().collect();
            if ids.is_empty() {
                continue;
            }
            let rows = store.known(table, &ids).await?.into_iter();
            let rows: HashMap<_, _> = rows.map(|row| (row.clerk_id.clone(), row)).collect();
            for change in of_table {
                match rows.get(&change.clerk_id) {
                    Some(row) if !change.alters_row(&row.state) => preview.be_stale += 1,
                    _ => preview.apply += 1,
                }
            }
        }
    }
    report.next = selected.cursor();
    report.would = Some(preview);
    Ok(report)
}

/// Sets failed events to discarded, and records `actor`; they are pruned with the other old rows.
/// Calls `notify` with the count so far, after some hundreds each.
///
/// # Errors
/// Fails when the store cannot be read or written.
pub async fn discard(
    store: &Store,
    selection: &Selection,
    actor: &Actor,
    notify: impl Fn(u64),
) -> Result<DiscardReport, StoreError> {
    let mut report = DiscardReport::default();
    let act = selection.act(Action::Discarded, actor);
    let mut selected = SelectedIds::new(store, selection);
    loop {
        let ids = selected.next_page(EVENTS_PER_QUERY).await?;
        if ids.is_empty() {
            report.next = selected.cursor();
            return Ok(report);
        }
        let types = store.discard(&ids, &act).await?;
        for name in &types {
            metrics::events(EventStatus::Discarded, EventType::of(name), 1);
        }
        report.count(types.len(), ids.len());
        notify(report.discarded);
    }
}

/// Returns what a discard would do.
///
/// # Errors
/// Fails when the store cannot be read.
pub async fn preview_discard(
    store: &Store,
    selection: &Selection,
) -> Result<DiscardReport, StoreError> {
    let mut report = DiscardReport {
        dry_run: true,
        ..DiscardReport::default()
    };
    let mut selected = SelectedIds::new(store, selection);
    loop {
        let ids = selected.next_page(EVENTS_PER_QUERY).await?;
        if ids.is_empty() {
            report.next = selected.cursor();
            return Ok(report);
        }
        let failed = count_failed(store, selection, &ids).await?;
        report.count(failed, ids.len());
    }
}

/// Returns how many of these are failed. Those that a filter found are.
async fn count_failed(
    store: &Store,
    selection: &Selection,
    ids: &[EventId],
) -> Result<usize, StoreError> {
    if matches!(selection, Selection::Matching { .. }) {
        return Ok(ids.len());
    }
    let rows = store.events_by_id(ids, 0).await?.into_iter();
    Ok(rows.filter(|row| row.status == Status::Failed).count())
}
