//! `WholeEvent`: one event with its payload, its attempts and who acted on it.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::Error;
use utoipa::ToSchema;

use super::act::EventAct;
use super::attempts::{Attempt, elements};
use super::database_row::DatabaseRow;
use super::read::first;
use super::rows::EventRow;
use super::{Store, StoreError};
use crate::clerk::EventId;

/// An event with its payload as text and as JSON, its attempts, and who acted on it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct WholeEvent {
    /// The event.
    #[serde(flatten)]
    pub event: EventRow,
    /// The last 20 attempts to apply it, the oldest first.
    pub attempts_log: Vec<Attempt>,
    /// The last 20 replays and discards of it, the oldest first.
    pub audit: Vec<EventAct>,
    /// The payload as JSON; absent if it is not kept, or is no JSON that every program can read.
    #[schema(value_type = Option<serde_json::Value>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_json: Option<Box<RawValue>>,
}

impl WholeEvent {
    fn read(row: &DatabaseRow) -> Result<Self, Error> {
        let event = EventRow::read(row)?;
        Ok(Self {
            attempts_log: Attempt::read_all(row, &event)?,
            audit: elements(row, "audit")?.unwrap_or_default(),
            payload_json: event.payload.as_deref().and_then(json),
            event,
        })
    }
}

fn json(body: &[u8]) -> Option<Box<RawValue>> {
    // Unlike the raw value, this refuses a lone surrogate, and what is nested too deep.
    serde_json::from_slice::<serde_json::Value>(body).ok()?;
    serde_json::from_slice(body).ok()
}

impl Store {
    /// One event with all that is kept of it. Returns `None` if there is none.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn whole_event(&self, id: &EventId) -> Result<Option<WholeEvent>, StoreError> {
        let binds = [id.as_str().into()];
        let rows = self.query(|sql| &sql.event, &binds, WholeEvent::read);
        self.check_visible("events", rows.await?).await.map(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_as_it_came_or_none() {
        let whole = r#"{"n":12345678901234567890123,"n":1.10}"#;
        assert_eq!(json(whole.as_bytes()).unwrap().get(), whole);
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for none in ["", "{", "{} {}", r#""\ud800""#, &deep] {
            assert!(json(none.as_bytes()).is_none(), "{none}");
        }
    }
}
