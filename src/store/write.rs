//! What is applied in one transaction, and what comes of it.

use std::borrow::Cow;

use crate::clerk::{Change, ClerkId, EventId, Rejection, SignedEvent, Timestamp};

/// Changes of users, and the events that they came from.
#[derive(Debug, Clone, Default)]
pub struct Write {
    /// One a user, sorted by `clerk_id`, so that two workers never wait for each other in a circle.
    pub changes: Vec<Change>,
    /// One an event, sorted by `event_id`, for the same reason.
    pub records: Vec<Record>,
}

/// A line of `events` to be.
#[derive(Debug, Clone)]
pub struct Record {
    pub event: SignedEvent,
    /// How often the event is in the batch.
    pub deliveries: u32,
    pub parsed: Parsed,
}

/// What became of reading an event.
#[derive(Debug, Clone)]
pub enum Parsed {
    /// It could be read.
    Readable {
        clerk_id: ClerkId,
        occurred_at: Timestamp,
        /// The time its profile is as of; nothing for a delete.
        updated_at: Option<Timestamp>,
        /// Whether it alters what the events before it in the same write come to. One that does not is `stale`
        /// whatever is in the table; one that does is `applied` if it alters the row as well.
        changed_within_write: bool,
    },
    /// It never can be applied as it is.
    Failed {
        /// The user it is about, where that could be read.
        clerk_id: Option<ClerkId>,
        failure: EventFailure,
    },
}

/// Why an event is kept as `failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFailure {
    /// `events.error_code`.
    pub code: Cow<'static, str>,
    /// `events.error`: what is wrong and where, never what stood there.
    pub text: String,
}

impl From<Rejection> for EventFailure {
    fn from(rejection: Rejection) -> Self {
        Self {
            code: rejection.code().into(),
            text: rejection.to_string(),
        }
    }
}

impl Write {
    pub(super) fn is_in_order(&self) -> bool {
        self.changes.is_sorted_by(|a, b| a.clerk_id < b.clerk_id)
            && self
                .records
                .is_sorted_by(|a, b| a.event.id() < b.event.id())
    }

    /// The same where nothing of a deleted user is kept: a change that deletes brings no profile.
    pub(super) fn without_profiles_of_deleted(&self) -> Self {
        let mut write = self.clone();
        write
            .changes
            .iter_mut()
            .filter(|change| change.deleted_at.is_some())
            .for_each(|change| change.profile = None);
        write
    }

    /// The event whose profile is the newest of this write for the user.
    pub(super) fn newest(&self, clerk_id: &ClerkId) -> Option<&EventId> {
        self.change(clerk_id)?
            .profile
            .as_ref()
            .map(|(version, _)| &version.event_id)
    }

    /// When the earliest delete of this write for the user occurred.
    pub(super) fn earliest_delete(&self, clerk_id: &ClerkId) -> Option<Timestamp> {
        self.change(clerk_id)?.deleted_at
    }

    fn change(&self, clerk_id: &ClerkId) -> Option<&Change> {
        let place = self
            .changes
            .binary_search_by(|change| change.clerk_id.cmp(clerk_id))
            .ok()?;
        Some(&self.changes[place])
    }
}

/// What became of an event: one for each record of a write, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It altered the row.
    Applied,
    /// What it says was superseded before.
    Stale,
    /// Its line was there, and is not a failed one: one more delivery is counted.
    Repeated,
    /// It is kept with its payload until it is replayed or discarded.
    Failed,
    /// It cannot be applied, and nothing of it is kept for a replay: its user's data was erased.
    Discarded,
}
