//! What is applied in one transaction, and what comes of it.

use std::borrow::Cow;

use crate::clerk::{Change, ClerkId, Rejection, SignedEvent, Timestamp, Version};

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

    /// What this write says of a row.
    pub(super) fn change(&self, clerk_id: &ClerkId) -> Option<&Change> {
        let changes = &self.changes;
        let place = changes
            .binary_search_by(|change| change.clerk_id.cmp(clerk_id))
            .ok()?;
        Some(&changes[place])
    }
}

impl Record {
    /// The row that the event is about. Returns `None` if that could not be read.
    pub fn clerk_id(&self) -> Option<&ClerkId> {
        match &self.parsed {
            Parsed::Readable { clerk_id, .. } => Some(clerk_id),
            Parsed::Failed { clerk_id, .. } => clerk_id.as_ref(),
        }
    }

    /// Why the event is kept as failed. Returns `None` if it could be read.
    pub fn failure(&self) -> Option<&EventFailure> {
        match &self.parsed {
            Parsed::Readable { .. } => None,
            Parsed::Failed { failure, .. } => Some(failure),
        }
    }

    /// When the event occurred. Returns `None` if it could not be read.
    pub(super) fn occurred_at(&self) -> Option<Timestamp> {
        match &self.parsed {
            Parsed::Readable { occurred_at, .. } => Some(*occurred_at),
            Parsed::Failed { .. } => None,
        }
    }

    /// The version of the profile. Returns `None` for a delete, and if the event could not be read.
    pub(super) fn version(&self) -> Option<Version> {
        match &self.parsed {
            Parsed::Readable {
                occurred_at,
                updated_at: Some(updated_at),
                ..
            } => Some(Version {
                updated_at: *updated_at,
                occurred_at: *occurred_at,
                event_id: self.event.id().clone(),
            }),
            _ => None,
        }
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
