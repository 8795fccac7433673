//! The settings of what is kept: payloads of events, and the data of deleted users.

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
    /// Of events.
    pub payloads: Payloads,
    /// Of deleted users.
    pub on_delete: OnDelete,
}
