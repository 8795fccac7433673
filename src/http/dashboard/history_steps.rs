//! The history of a row as its page shows it: what each event did, and why. Pure.

use super::event_diff::{self, ColumnChange};
use super::view_models::EventLine;
use crate::clerk::Timestamp;
use crate::store::{HistoryRow, Status};

/// An event about a row, and what it did.
pub struct Step {
    pub event: EventLine,
    pub why: String,
    /// The part of the reason after the ID that it names.
    pub why_then: String,
    /// Whether the reason is a sentence, and does not start with a code.
    pub is_sentence: bool,
    /// The event whose newer version was there.
    pub behind: Option<String>,
    /// What it changed, as far as that is known.
    pub changes: Vec<ColumnChange>,
    /// How many more columns it changed.
    pub more_changes: usize,
    /// Whether it is known to have changed no column of interest.
    pub is_same: bool,
}

/// Most columns that a line of the history shows; the page of the event has all.
const CHANGES_MAX: usize = 6;

impl Step {
    /// The events of a history as they look at `now`.
    pub fn all(rows: &[HistoryRow], now: Timestamp) -> Vec<Self> {
        rows.iter().map(|row| Self::of(row, now)).collect()
    }

    fn of(row: &HistoryRow, now: Timestamp) -> Self {
        let behind = row
            .event
            .superseded_by
            .as_deref()
            .filter(|by| *by != row.event.event_id);
        // The ID in the sentence becomes a link.
        let parts = behind.and_then(|by| row.why.split_once(by));
        let (why, why_then) = parts.unwrap_or((&row.why, ""));
        let changes = event_diff::columns(&row.differences, now);
        Self {
            event: EventLine::of(&row.event, now),
            why: why.to_owned(),
            why_then: why_then.to_owned(),
            is_sentence: row.event.status != Status::Failed,
            behind: behind.filter(|_| parts.is_some()).map(str::to_owned),
            more_changes: changes.len().saturating_sub(CHANGES_MAX),
            is_same: row.changed.as_ref().is_some_and(Vec::is_empty),
            changes: changes.into_iter().take(CHANGES_MAX).collect(),
        }
    }
}
