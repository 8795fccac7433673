//! What a person does with failed events: put them back onto the queue, or discard them.
//!
//! - A replay publishes an event under its own ID, on the one way that all events take. So nothing is applied twice, and a
//!   replay that was stopped can be run again.
//! - The event stays failed until a worker has tried it again; that counts in `attempts`.
//! - A replay is held to a rate, so that it does not stand before the events that come in meanwhile.

pub mod target;
mod wait;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use utoipa::ToSchema;

use crate::backoff::Backoff;
use crate::clerk::{self, Change, EventId, SignedEvent};
use crate::clock::now;
use crate::metrics::{self, EventStatus, EventType};
use crate::queue::{PUBLISH_TIMEOUT, PublishError, Queue};
use crate::store::{Cursor, EventFilter, EventRow, KnownUser, Page, Status, Store, StoreError};

pub use wait::{Outcome, OutcomeStatus, Replayed, outcomes};

/// Events a second, unless somebody says otherwise: a tenth of what a worker does, or less.
pub const RATE: NonZeroU32 = NonZeroU32::new(500).expect("500 is not 0");

/// Events a page, and IDs a statement.
const PAGE: NonZeroU32 = NonZeroU32::new(200).expect("200 is not 0");

/// Largest payload, in bytes, that is read with those of a whole page: twenty times the usual one. A larger one is read alone.
const PAYLOAD_MAX: u32 = 64 * 1024;

/// Which failed events.
#[derive(Debug, Clone)]
pub enum Which {
    /// These. Others than failed ones are skipped.
    Ids(Vec<EventId>),
    /// Those that the filter lets through, the newest first; its status does not count.
    Matching {
        filter: EventFilter,
        limit: u64,
        after: Option<Cursor>,
    },
}

/// What went wrong in the middle. What was done before it stays done.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{event_id} was not put back, {reason}; run it again")]
    Queue {
        event_id: String,
        reason: PublishError,
    },
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Done {
    pub dry_run: bool,
    /// Events that were put back onto the queue, or would be.
    pub replayed: u64,
    /// Events that were not failed, or are not there.
    pub skipped: u64,
    /// What would become of them now. Of a dry run only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<Would>,
    /// Where to go on, when the limit was reached before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a replay would come to, judged by the table as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Would {
    pub apply: u64,
    /// A newer version is there.
    pub be_stale: u64,
    /// They would fail again, by code.
    pub fail: BTreeMap<String, u64>,
}

/// Failed events with their payloads, one after the other.
struct Walk<'a> {
    store: &'a Store,
    which: &'a Which,
    ids: VecDeque<EventId>,
    page: Page,
    /// How many more.
    left: u64,
    ended: bool,
}

impl<'a> Walk<'a> {
    fn of(store: &'a Store, which: &'a Which) -> Self {
        let (ids, left, after) = match which {
            Which::Ids(ids) => {
                let mut seen = HashSet::new();
                (
                    ids.iter().filter(|id| seen.insert(*id)).cloned().collect(),
                    u64::MAX,
                    None,
                )
            }
            Which::Matching { limit, after, .. } => (VecDeque::new(), *limit, after.clone()),
        };
        let ended = matches!(which, Which::Ids(_));
        Self {
            store,
            which,
            ids,
            page: Page { limit: PAGE, after },
            left,
            ended,
        }
    }

    /// The next ID; nothing at the end, or when the limit is reached.
    async fn next_id(&mut self) -> Result<Option<EventId>, StoreError> {
        if self.left == 0 {
            return Ok(None);
        }
        while self.ids.is_empty() && !self.ended {
            let Which::Matching { filter, .. } = self.which else {
                break;
            };
            let filter = EventFilter {
                status: Some(Status::Failed),
                ..filter.clone()
            };
            self.page.limit = PAGE.min(
                u32::try_from(self.left)
                    .ok()
                    .and_then(NonZeroU32::new)
                    .unwrap_or(PAGE),
            );
            let listing = self.store.events(&filter, &self.page).await?;
            self.ids.extend(
                listing
                    .rows
                    .iter()
                    .filter_map(|row| EventId::new(&row.event_id)),
            );
            self.ended = listing.next.is_none();
            self.page.after = listing.next;
        }
        self.left -= 1;
        Ok(self.ids.pop_front())
    }

    /// As many of the next IDs as are asked about at once; empty at the end.
    async fn next_page(&mut self) -> Result<Vec<EventId>, StoreError> {
        let mut ids = Vec::new();
        while ids.len() < PAGE.get() as usize
            && let Some(id) = self.next_id().await?
        {
            ids.push(id);
        }
        Ok(ids)
    }

    /// Where to go on, if anything is left.
    fn next(&self) -> Option<String> {
        self.page
            .after
            .as_ref()
            .filter(|_| !self.ended)
            .map(ToString::to_string)
    }
}

/// Puts failed events back onto the queue, at most `rate` a second. Tells `done` of each, so that whoever stops it in the
/// middle knows how far it came. Cancel-safe.
pub async fn replay(
    store: &Store,
    queue: &Queue,
    which: &Which,
    rate: NonZeroU32,
    done: &mut Done,
) -> Result<(), ReplayError> {
    replay_telling(store, queue, which, rate, done, |_, _| ()).await
}

/// The same for whoever watches: `tell` is called after each, with how many are done.
pub async fn replay_telling(
    store: &Store,
    queue: &Queue,
    which: &Which,
    rate: NonZeroU32,
    done: &mut Done,
    mut tell: impl FnMut(u64, Replayed),
) -> Result<(), ReplayError> {
    let mut pace = pace(rate);
    let mut walk = Walk::of(store, which);
    while let Some(id) = walk.next_id().await? {
        let Some((event, attempts)) = failed(store, &id).await? else {
            done.skipped += 1;
            continue;
        };
        pace.tick().await;
        publish(queue, event)
            .await
            .map_err(|reason| ReplayError::Queue {
                event_id: id.to_string(),
                reason,
            })?;
        done.replayed += 1;
        tell(
            done.replayed,
            Replayed {
                event_id: id,
                attempts,
            },
        );
    }
    done.next = walk.next();
    Ok(())
}

/// What `replay` would do, and what would come of it.
pub async fn preview(store: &Store, which: &Which) -> Result<Done, StoreError> {
    let (mut done, mut would) = (
        Done {
            dry_run: true,
            ..Done::default()
        },
        Would::default(),
    );
    let mut walk = Walk::of(store, which);
    loop {
        let ids = walk.next_page().await?;
        if ids.is_empty() {
            break;
        }
        let events = failed_of(store, &ids).await?;
        done.skipped += (ids.len() - events.len()) as u64;
        done.replayed += events.len() as u64;
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            match event.parse() {
                Err(rejection) => *would.fail.entry(rejection.code().into()).or_default() += 1,
                Ok(read) => changes.push(read.change),
            }
        }
        let mut users: Vec<_> = changes
            .iter()
            .map(|change| change.clerk_id.clone())
            .collect();
        users.sort_unstable();
        users.dedup();
        let known: HashMap<_, _> = store
            .known(&users)
            .await?
            .into_iter()
            .map(|row| (row.clerk_id.clone(), row))
            .collect();
        for change in &changes {
            let row = known.get(&change.clerk_id);
            if row.is_none_or(|row| alters(change, row)) {
                would.apply += 1
            } else {
                would.be_stale += 1
            }
        }
    }
    done.next = walk.next();
    done.would = Some(would);
    Ok(done)
}

/// What was discarded, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Discarded {
    pub dry_run: bool,
    pub discarded: u64,
    /// Events that were not failed, or are not there.
    pub skipped: u64,
    /// Where to go on, when the limit was reached before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Sets failed events to discarded: nobody waits for them any more, and they go with the other old lines.
pub async fn discard(store: &Store, which: &Which, dry_run: bool) -> Result<Discarded, StoreError> {
    discard_telling(store, which, dry_run, |_| ()).await
}

/// The same for whoever watches: `tell` is called with how many are done, after some hundreds.
pub async fn discard_telling(
    store: &Store,
    which: &Which,
    dry_run: bool,
    tell: impl Fn(u64),
) -> Result<Discarded, StoreError> {
    let mut done = Discarded {
        dry_run,
        ..Discarded::default()
    };
    let mut walk = Walk::of(store, which);
    loop {
        let ids = walk.next_page().await?;
        if ids.is_empty() {
            done.next = walk.next();
            return Ok(done);
        }
        let discarded = if dry_run {
            count_failed(store, which, &ids).await?
        } else {
            let types = store.discard(&ids).await?;
            let types = types.iter().map(|name| EventType::of(name));
            types
                .map(|of| metrics::events(EventStatus::Discarded, of, 1))
                .count() as u64
        };
        done.discarded += discarded;
        done.skipped += (ids.len() as u64).saturating_sub(discarded);
        tell(done.discarded);
    }
}

/// How many of these are failed. Those that a filter found are.
async fn count_failed(store: &Store, which: &Which, ids: &[EventId]) -> Result<u64, StoreError> {
    if matches!(which, Which::Matching { .. }) {
        return Ok(ids.len() as u64);
    }
    let rows = store.events_by_id(ids, 0).await?;
    Ok(rows
        .iter()
        .filter(|row| row.status == Status::Failed)
        .count() as u64)
}

/// The event of a failed line, and how often it was tried; `None` if it is not failed (any more).
async fn failed(store: &Store, id: &EventId) -> Result<Option<(SignedEvent, i64)>, StoreError> {
    let Some(row) = store.event(id).await? else {
        return Ok(None);
    };
    let attempts = row.attempts;
    Ok(restored(row).map(|event| (event, attempts)))
}

/// The events of those lines that are failed: one question for all of them, and one more for each that is large.
async fn failed_of(store: &Store, ids: &[EventId]) -> Result<Vec<SignedEvent>, StoreError> {
    let mut events = Vec::with_capacity(ids.len());
    for row in store.events_by_id(ids, PAYLOAD_MAX).await? {
        let is_large = row.status == Status::Failed && row.payload.is_none();
        match EventId::new(&row.event_id).filter(|_| is_large) {
            Some(id) => events.extend(failed(store, &id).await?.map(|(event, _)| event)),
            None => events.extend(restored(row)),
        }
    }
    Ok(events)
}

fn restored(row: EventRow) -> Option<SignedEvent> {
    let EventRow {
        event_id,
        status: Status::Failed,
        sent_at,
        payload: Some(payload),
        ..
    } = row
    else {
        return None;
    };
    let body = Bytes::from(payload);
    // The type is read anew: a newer version may know what an older one could not read.
    let event_type = clerk::EventType::read(&body);
    // Its line keeps the time of its receipt. The lag of what comes now is that of the replay.
    Some(SignedEvent::restored(
        EventId::new(&event_id)?,
        event_type,
        sent_at.0,
        now(),
        body,
    ))
}

/// Whether the change would alter the row.
fn alters(change: &Change, row: &KnownUser) -> bool {
    let newer = change
        .profile
        .as_ref()
        .is_some_and(|(ours, _)| row.version.as_ref().is_none_or(|theirs| ours > theirs));
    let earlier = change
        .deleted_at
        .is_some_and(|ours| row.deleted_at.is_none_or(|theirs| ours < theirs));
    // An erased row is never filled again.
    newer && !row.is_erased || earlier
}

fn pace(rate: NonZeroU32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / rate.get());
    // After a pause it does not make up for it.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// Publishes with patience: the connection to the queue is made in the background.
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
