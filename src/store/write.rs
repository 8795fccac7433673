//! A write: what is applied in one transaction, and its outcomes.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::clerk::{
    Altering, Change, ClerkId, EventId, Rejection, SignedEvent, Table, Timestamp, Version,
};

/// Changes of rows of one table, and records of the events that they came from.
#[derive(Debug, Clone)]
pub struct Write {
    /// The table of the changes. A record of an event that could not be read may be in any write.
    pub table: &'static Table,
    /// One per row, sorted by `clerk_id`, so that two workers never wait for each other in a
    /// circle.
    pub changes: Vec<Change>,
    /// One per event, sorted by `event_id`, for the same reason.
    pub records: Vec<Record>,
}

/// A row of `events` to write.
#[derive(Debug, Clone)]
pub struct Record {
    /// The event.
    pub event: SignedEvent,
    /// How often the event is in the batch.
    pub deliveries: u32,
    /// What it parsed to.
    pub parsed: Parsed,
}

/// The result of parsing an event.
#[derive(Debug, Clone)]
pub enum Parsed {
    /// It was parsed.
    Readable {
        /// Clerk's ID.
        clerk_id: ClerkId,
        /// When the event occurred.
        occurred_at: Timestamp,
        /// `data.updated_at` of its profile; `None` without one.
        updated_at: Option<Timestamp>,
        /// Whether it is a delete.
        deletes: bool,
        /// What of it alters the join of the events before it in the same write. The rest is
        /// without effect whatever the table holds; this is `applied` if it alters the row too.
        altering: Altering,
    },
    /// It can never be applied as it is.
    Failed {
        /// The row that it is about; `None` if that could not be read.
        clerk_id: Option<ClerkId>,
        /// Why it failed.
        failure: EventFailure,
    },
}

/// Why an event is kept as `failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFailure {
    /// `events.error_code`.
    pub code: Cow<'static, str>,
    /// `events.error`: what is wrong and where, never what the body holds.
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
    /// A write of nothing.
    pub fn empty(table: &'static Table) -> Self {
        Self {
            table,
            changes: Vec::new(),
            records: Vec::new(),
        }
    }

    pub(super) fn is_in_order(&self) -> bool {
        let is_of_table = |change: &Change| change.table == self.table;
        self.changes.iter().all(is_of_table)
            && self.changes.is_sorted_by(|a, b| a.clerk_id < b.clerk_id)
            && self
                .records
                .is_sorted_by(|a, b| a.event.id() < b.event.id())
    }

    /// The same for `ON_DELETE=scrub`: a change that deletes has no profile.
    pub(super) fn without_profiles_of_deleted(&self) -> Self {
        let mut write = self.clone();
        write
            .changes
            .iter_mut()
            .filter(|change| change.deleted_at.is_some())
            .for_each(|change| change.profile = None);
        write
    }

    /// The events whose deletes this write makes, by the IDs of the rows. One that no event made, as
    /// `reconcile`'s, is not among them.
    pub(super) fn deleting_events(&self) -> HashMap<&ClerkId, &EventId> {
        let deletes = |record: &&Record| {
            let change = record.clerk_id().and_then(|id| self.change(id));
            record.altering().delete
                && change.is_some_and(|change| change.deleted_at == record.deleted_at())
        };
        let records = self.records.iter().filter(deletes);
        records
            .filter_map(|record| Some((record.clerk_id()?, record.event.id())))
            .collect()
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

    /// When the object was deleted. Returns `None` if the event is no delete, and if it could not be
    /// read.
    pub(super) fn deleted_at(&self) -> Option<Timestamp> {
        match &self.parsed {
            Parsed::Readable {
                occurred_at,
                deletes: true,
                ..
            } => Some(*occurred_at),
            _ => None,
        }
    }

    /// What of the event alters the join of those before it in the same write: nothing if it could
    /// not be read.
    pub(super) fn altering(&self) -> Altering {
        match &self.parsed {
            Parsed::Readable { altering, .. } => *altering,
            Parsed::Failed { .. } => Altering::default(),
        }
    }

    /// The version of the profile. Returns `None` without one, and if the event could not be read.
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

/// The outcome of an event: one for each record of a write, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It altered the row.
    Applied,
    /// A newer version, or an earlier delete, was there.
    Stale,
    /// It was recorded before, and not as failed: one more delivery is counted.
    Repeated,
    /// It is kept with its payload until it is replayed or discarded.
    Failed,
    /// It cannot be applied, and its payload is not kept for a replay: the data of its row was
    /// erased.
    Discarded,
}
