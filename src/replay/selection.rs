//! Which failed events to replay or discard, read from the database page by page.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU32;

use bytes::Bytes;

use crate::clerk::{self, EventId, SignedEvent};
use crate::clock::now;
use crate::store::{
    Act, Action, Actor, Cursor, EventFilter, EventRow, Page, Status, Store, StoreError,
};

/// Events per query.
pub const EVENTS_PER_QUERY: NonZeroU32 = NonZeroU32::new(200).expect("200 is not 0");

/// Largest payload, in bytes, that is read together with others: twenty times the usual size. A
/// larger one is read alone.
const PAYLOAD_MAX: u32 = 64 * 1024;

/// Which failed events.
#[derive(Debug, Clone)]
pub enum Selection {
    /// These. Those that are not failed are skipped.
    Ids(Vec<EventId>),
    /// The failed events that match the filter, the newest first; the status of the filter is
    /// ignored.
    Matching {
        /// Which events.
        filter: EventFilter,
        /// Most events.
        limit: u64,
        /// Where to start; `None` for the newest.
        after: Option<Cursor>,
    },
}

impl Selection {
    /// What is recorded of an action on the events.
    pub fn act(&self, action: Action, actor: &Actor) -> Act {
        let act = Act::new(action, actor);
        match self {
            Self::Ids(ids) => match &ids[..] {
                [id] => act.about_event(id),
                _ => act,
            },
            Self::Matching { filter, .. } => act.about_events(filter),
        }
    }
}

/// The IDs of selected events, read page by page.
pub struct SelectedIds<'a> {
    store: &'a Store,
    /// `None` for given IDs.
    filter: Option<EventFilter>,
    ids: VecDeque<EventId>,
    /// Where the next page starts.
    after: Option<Cursor>,
    /// How many more may be selected.
    left: u64,
    is_last_page: bool,
}

impl<'a> SelectedIds<'a> {
    /// Returns the IDs of a selection, each once.
    pub fn new(store: &'a Store, selection: &Selection) -> Self {
        let mut selected = Self {
            store,
            filter: None,
            ids: VecDeque::new(),
            after: None,
            left: u64::MAX,
            is_last_page: true,
        };
        match selection {
            Selection::Ids(ids) => {
                let mut seen = HashSet::new();
                selected.ids = ids.iter().filter(|id| seen.insert(*id)).cloned().collect();
            }
            Selection::Matching {
                filter,
                limit,
                after,
            } => {
                selected.filter = Some(EventFilter {
                    status: Some(Status::Failed),
                    ..filter.clone()
                });
                selected.left = *limit;
                selected.after.clone_from(after);
                selected.is_last_page = false;
            }
        }
        selected
    }

    /// Returns the next ID, or `None` at the end or at the limit.
    async fn next(&mut self) -> Result<Option<EventId>, StoreError> {
        if self.left == 0 {
            return Ok(None);
        }
        while self.ids.is_empty()
            && !self.is_last_page
            && let Some(filter) = &self.filter
        {
            let left = u32::try_from(self.left).ok().and_then(NonZeroU32::new);
            let page = Page {
                limit: left.map_or(EVENTS_PER_QUERY, |left| left.min(EVENTS_PER_QUERY)),
                after: self.after.take(),
            };
            let listing = self.store.events(filter, &page).await?;
            let ids = listing.rows.iter();
            self.ids
                .extend(ids.filter_map(|row| EventId::new(&row.event_id)));
            self.is_last_page = listing.next.is_none();
            self.after = listing.next;
        }
        self.left -= 1;
        Ok(self.ids.pop_front())
    }

    /// Returns the next IDs, at most so many; none at the end.
    pub async fn next_page(&mut self, most: NonZeroU32) -> Result<Vec<EventId>, StoreError> {
        let mut ids = Vec::new();
        while ids.len() < most.get() as usize
            && let Some(id) = self.next().await?
        {
            ids.push(id);
        }
        Ok(ids)
    }

    /// Returns the cursor after the limit, or `None` if no event is left.
    pub fn cursor(&self) -> Option<String> {
        let after = self.after.as_ref().filter(|_| !self.is_last_page);
        after.map(ToString::to_string)
    }
}

/// Returns an event and how often it was tried, or `None` if it is not failed (any more).
pub async fn failed_event(
    store: &Store,
    id: &EventId,
) -> Result<Option<(SignedEvent, i64)>, StoreError> {
    let row = store.event(id).await?;
    Ok(row.and_then(|row| {
        let attempts = row.attempts;
        Some((restored(row)?, attempts))
    }))
}

/// Returns those of the events that are failed: one query for all of them, and one for each large
/// one.
pub async fn failed_events(store: &Store, ids: &[EventId]) -> Result<Vec<SignedEvent>, StoreError> {
    let mut events = Vec::with_capacity(ids.len());
    for row in store.events_by_id(ids, PAYLOAD_MAX).await? {
        let is_large = row.status == Status::Failed && row.payload.is_none();
        match EventId::new(&row.event_id).filter(|_| is_large) {
            Some(id) => events.extend(failed_event(store, &id).await?.map(|(event, _)| event)),
            None => events.extend(restored(row)),
        }
    }
    Ok(events)
}

fn restored(row: EventRow) -> Option<SignedEvent> {
    let body = Bytes::from(row.payload.filter(|_| row.status == Status::Failed)?);
    let id = EventId::new(&row.event_id)?;
    // The type is read again: a newer version may know one that an older one did not.
    let event_type = clerk::EventType::read(&body);
    // The row keeps the time of its receipt; the lag of a replay starts now.
    Some(SignedEvent::restored(
        id,
        event_type,
        row.sent_at.0,
        now(),
        body,
    ))
}
