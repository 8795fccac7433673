//! `Keep`: what EVENT_PAYLOADS and ON_DELETE say is kept of events and of deleted users.

use crate::clerk::Table;
use crate::clerk::tables::users;

/// How much of an event `events` keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payloads {
    /// The payloads of failed events.
    #[default]
    Failed,
    /// The payloads of all events.
    All,
}

/// What stays of a deleted user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDelete {
    /// The profile.
    #[default]
    Keep,
    /// The ID and the time of the delete.
    Scrub,
}

/// What is kept of events and of deleted users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Which payloads of events are kept.
    pub payloads: Payloads,
    /// What is kept of deleted users.
    pub on_delete: OnDelete,
}

impl Keep {
    /// Whether a delete erases the row of this table.
    pub fn scrubs(self, table: &Table) -> bool {
        self.on_delete == OnDelete::Scrub && *table == users::TABLE
    }
}
