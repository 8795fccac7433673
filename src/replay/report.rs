//! What a replay or a discard did, or would do, as the API and the commands report it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::clerk::EventId;

/// What a replay did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Done)]
pub struct ReplayReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Events that were published again, or would be.
    pub replayed: u64,
    /// Events that are not failed, or do not exist.
    pub skipped: u64,
    /// What the events would do now. Only of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<ReplayPreview>,
    /// Where to continue, if the limit was reached before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What the events of a replay would do to the table as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Would)]
pub struct ReplayPreview {
    /// They would change their row.
    pub apply: u64,
    /// A newer version is there.
    pub be_stale: u64,
    /// They would fail again, by code.
    pub fail: BTreeMap<String, u64>,
}

/// An event that is on the queue, for the first time or again.
#[derive(Debug, Clone)]
pub struct Published {
    /// The event.
    pub event_id: EventId,
    /// How often it had been tried before; 0 if it is new.
    pub attempts: i64,
}

impl Published {
    /// An event that is published for the first time.
    pub fn first(event_id: EventId) -> Self {
        let attempts = 0;
        Self { event_id, attempts }
    }
}

/// What a discard did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Discarded)]
pub struct DiscardReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Events that were discarded, or would be.
    pub discarded: u64,
    /// Events that are not failed, or do not exist.
    pub skipped: u64,
    /// Where to continue, if the limit was reached before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl DiscardReport {
    /// Counts so many discarded events among these.
    pub(super) fn count(&mut self, discarded: usize, selected: usize) {
        self.discarded += discarded as u64;
        self.skipped += selected.saturating_sub(discarded) as u64;
    }
}
