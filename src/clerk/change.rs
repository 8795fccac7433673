//! `Change`, and the rule (the join): how changes of one row combine, and which change alters the
//! row.
//!
//! A change joins with another: the newest profile, the earliest delete. The join is commutative,
//! associative and idempotent, so order, repeats, batches, replays and several workers at once
//! cannot alter the result. Each store's upsert is this join in SQL.

use super::id::{ClerkId, EventId, Timestamp};
use super::table::{Profile, Table, Value};

/// How new a profile is. The order of the fields is the order of comparison.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `data.updated_at`.
    pub updated_at: Timestamp,
    /// The event's own time.
    pub occurred_at: Timestamp,
    /// Decides between two events of the same millisecond: any order will do, as long as it is the
    /// same everywhere.
    pub event_id: EventId,
}

/// What one or more events say of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The table.
    pub table: &'static Table,
    /// Clerk's ID.
    pub clerk_id: ClerkId,
    /// The newest profile; `None` if no event brought one.
    pub profile: Option<(Version, Profile)>,
    /// The earliest delete; `None` if no event was one.
    pub deleted_at: Option<Timestamp>,
}

/// The columns of a row that decide whether a change alters it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowVersion {
    /// `None` if no profile has reached the row.
    pub version: Option<Version>,
    /// The time of the delete; `None` if not deleted.
    pub deleted_at: Option<Timestamp>,
    /// Whether its data was erased. Such a row is never filled again.
    pub is_erased: bool,
}

/// Which parts of a change alter what they are joined to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Altering {
    /// The profile: it is newer.
    pub profile: bool,
    /// The delete: it is earlier.
    pub delete: bool,
}

impl Altering {
    /// Whether any part does.
    pub fn any(self) -> bool {
        self.profile || self.delete
    }
}

impl RowVersion {
    /// What of a profile of this version, and of a delete at this time, alters the row.
    pub fn altered_by(&self, version: Option<&Version>, deleted_at: Option<Timestamp>) -> Altering {
        Altering {
            profile: version > self.version.as_ref() && !self.is_erased,
            delete: deleted_at
                .is_some_and(|ours| self.deleted_at.is_none_or(|theirs| ours < theirs)),
        }
    }
}

impl Change {
    /// Joins two changes to the same object: newest profile, earliest delete.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        debug_assert_eq!(
            (self.table, &self.clerk_id),
            (other.table, &other.clerk_id),
            "changes to two rows cannot be joined"
        );
        let is_newer = other.version() > self.version();
        let deletes = [self.deleted_at, other.deleted_at].into_iter().flatten();
        Self {
            profile: if is_newer {
                other.profile
            } else {
                self.profile
            },
            deleted_at: deletes.min(),
            ..self
        }
    }

    /// What joining `self` to `before` would alter of it.
    pub fn altering(&self, before: Option<&Self>) -> Altering {
        let before = before.map(|before| RowVersion {
            version: before.version().cloned(),
            deleted_at: before.deleted_at,
            is_erased: false,
        });
        let before = before.unwrap_or_default();
        before.altered_by(self.version(), self.deleted_at)
    }

    /// Whether joining `self` to `before` would alter it.
    pub fn alters(&self, before: &Self) -> bool {
        self.altering(Some(before)).any()
    }

    /// Whether applying the change would alter the row.
    pub fn alters_row(&self, row: &RowVersion) -> bool {
        row.altered_by(self.version(), self.deleted_at).any()
    }

    /// The version of the profile. Returns `None` for a change without one.
    pub fn version(&self) -> Option<&Version> {
        self.profile.as_ref().map(|(version, _)| version)
    }

    /// What the profile says for a column. Returns `None` without a profile, or if the table has no
    /// such column.
    pub fn value(&self, column: &str) -> Option<&Value> {
        self.value_at(self.table.place(column)?)
    }

    /// The same for the column in this place.
    pub fn value_at(&self, place: usize) -> Option<&Value> {
        self.profile.as_ref()?.1.values.get(place)
    }
}
