//! The attempts of an event: the last 20, each with its time, its outcome and its error.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::Error;
use utoipa::ToSchema;

use super::database_row::DatabaseRow;
use super::event_status::Status;
use super::rows::EventRow;
use super::time::Time;

/// An attempt to apply an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// When.
    pub at: Time,
    /// What it came to.
    pub outcome: Status,
    /// The code of the error; null if it did not fail.
    pub error_code: Option<String>,
    /// Why it failed; null if it did not.
    pub error: Option<String>,
}

impl Attempt {
    /// The attempts that the row has, the oldest first. Of a single one the event's own columns say
    /// what it came to.
    pub(super) fn read_all(row: &DatabaseRow, event: &EventRow) -> Result<Vec<Self>, Error> {
        Ok(elements(row, "attempts_log")?.unwrap_or_else(|| vec![Self::last_of(event)]))
    }

    fn last_of(event: &EventRow) -> Self {
        let outcome = match event.status {
            // It was discarded since, by a person or with the data of its user.
            Status::Discarded if event.error_code.is_some() => Status::Failed,
            status => status,
        };
        Self {
            at: event.processed_at,
            outcome,
            error_code: event.error_code.clone(),
            error: event.error.clone(),
        }
    }
}

/// The elements of a JSON array that this version knows. Returns `None` if the column is null.
pub(super) fn elements<T: DeserializeOwned>(
    row: &DatabaseRow,
    column: &str,
) -> Result<Option<Vec<T>>, Error> {
    let json = row.json(column)?;
    Ok(json.map(|json| {
        let elements: Vec<serde_json::Value> = serde_json::from_str(json.get()).unwrap_or_default();
        let known = elements.into_iter();
        known
            .filter_map(|element| serde_json::from_value(element).ok())
            .collect()
    }))
}
