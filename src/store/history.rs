//! What each event of a user did, and why.

use serde::Serialize;

use super::query::Cursor;
use super::row::{EventRow, Status, Time};

/// An event of a user's, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryRow {
    #[serde(flatten)]
    pub event: EventRow,
    /// When the event behind which it is stale occurred, where that one's line is there.
    pub superseded_at: Option<Time>,
    /// From receipt to commit; of an event that was tried again, to the last try.
    pub lag_ms: u64,
    /// What it did and why, for a person.
    pub why: String,
    /// The fields of the user object that differ from the version before. Nothing where that or this one's payload is not kept.
    pub changed: Option<Vec<String>>,
}

impl HistoryRow {
    pub(super) fn of(event: EventRow, superseded_at: Option<Time>) -> Self {
        let lag_ms = (event.processed_at.0.ms() - event.received_at.0.ms()).max(0).unsigned_abs();
        let why = why(&event, superseded_at);
        Self { event, superseded_at, lag_ms, why, changed: None }
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.event.cursor()
    }
}

/// One sentence, which quotes nothing of the event's body.
fn why(event: &EventRow, superseded_at: Option<Time>) -> String {
    let is_delete = event.event_type == "user.deleted";
    let failure = || match (&event.error_code, &event.error) {
        (Some(code), Some(error)) => format!("{code}: {error}"),
        (code, error) => code.as_ref().or(error.as_ref()).cloned().unwrap_or_else(|| "no reason was kept".into()),
    };
    match event.status {
        Status::Applied if is_delete => "it marked the user as deleted".into(),
        Status::Applied => "it changed the row".into(),
        Status::Failed => failure(),
        Status::Discarded if event.error_code.is_some() => format!("discarded, after it had failed with {}", failure()),
        Status::Discarded => "discarded".into(),
        Status::Stale => {
            let when = superseded_at.map(|time| format!(", which occurred at {time}")).unwrap_or_default();
            match &event.superseded_by {
                Some(id) if *id == event.event_id => "the row had this version already".into(),
                Some(id) if is_delete => format!("the user was deleted already, by {id}{when}"),
                Some(id) => format!("a newer version was there, of {id}{when}"),
                None if is_delete => "the user was deleted already".into(),
                None => "a newer version was there, or the user's data is erased".into(),
            }
        }
    }
}
