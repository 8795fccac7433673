//! The processes that work with a database: their signs of life, one row a start.

use std::time::Duration;

use serde::Serialize;
use sqlx::Error;
use utoipa::ToSchema;

use super::database_row::DatabaseRow;
use super::time::Time;
use super::{Store, StoreError, dispatch};
use crate::clerk::Timestamp;

/// The role of a process without a database. Workers record it, by the events that they take.
pub const RECEIVER: &str = "receiver";

/// A process without a sign of life for so long is gone: many times the interval of the signs.
const GONE_AFTER: Duration = Duration::from_secs(10 * 60);

/// A process as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessDescription {
    /// Distinguishes one start from every other.
    pub process_id: String,
    /// `serve`, `worker`, `dev` or `receiver`.
    pub role: String,
    /// The version of clerk-sync.
    pub version: String,
    /// The machine or the container.
    pub host: String,
    /// The process ID there.
    pub pid: u32,
    /// When it started, in milliseconds since 1970.
    pub started_at_ms: i64,
}

/// A process, and how long ago it gave a sign of life.
#[derive(Debug, Clone, Serialize)]
pub struct SignOfLife {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessDescription,
    /// In milliseconds.
    pub age_ms: u64,
    /// Whether it records changes; `None` if it does not apply events.
    pub change_feed: Option<bool>,
}

/// A process that is recorded.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Process {
    /// Host, process ID and start, as one text.
    pub process_id: String,
    /// `serve`, `worker` or `dev`; `receiver` for one that a worker has had an event from.
    pub role: String,
    /// The version of clerk-sync.
    pub version: String,
    /// The machine or the container.
    pub host: String,
    /// The process ID there.
    pub pid: i64,
    /// When it started, by its own clock.
    pub started_at: Time,
    /// The last sign of life; of a receiver, when a worker last had an event from it.
    pub seen_at: Time,
    /// Whether the last sign of life is more than 10 minutes old. A receiver without events gives
    /// none.
    pub gone: bool,
}

impl Process {
    fn read(row: &DatabaseRow) -> Result<Self, Error> {
        let age = Duration::from_millis(row.count("age_ms")?);
        Ok(Self {
            process_id: row.get("process_id")?,
            role: row.get("role")?,
            version: row.get("version")?,
            host: row.get("host")?,
            pid: row.get("pid")?,
            started_at: row.required_time("started_at")?,
            seen_at: row.required_time("seen_at")?,
            gone: age > GONE_AFTER,
        })
    }
}

impl ProcessDescription {
    /// When it started.
    pub fn started_at(&self) -> Option<Timestamp> {
        Timestamp::from_ms(self.started_at_ms)
    }
}

impl Store {
    /// Records signs of life, and forgets processes that gave none for a day.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn record_processes(&self, signs: &[SignOfLife]) -> Result<(), StoreError> {
        let signs = serde_json::to_string(signs)
            .map_err(|error| StoreError::Incompatible(error.to_string()))?;
        dispatch!(self, store => store.record_processes(&signs).await)
    }

    /// Forgets a process that stops.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn remove_process(&self, process_id: &str) -> Result<(), StoreError> {
        dispatch!(self, store => store.remove_process(process_id).await)
    }

    /// The processes, by role, host and start.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn processes(&self) -> Result<Vec<Process>, StoreError> {
        let rows = self.query(|sql| &sql.processes, &[], Process::read).await?;
        self.check_visible("processes", rows).await
    }

    /// How many processes but this one apply events.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn other_workers(&self, process_id: &str) -> Result<u64, StoreError> {
        let binds = [process_id.into()];
        let counts = self
            .query(|sql| &sql.other_workers, &binds, |row| row.count("workers"))
            .await?;
        Ok(counts.into_iter().next().unwrap_or(0))
    }
}
