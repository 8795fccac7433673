//! Waits for the outcomes of published events, until a worker has tried each of them.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::report::Published;
use super::selection::EVENTS_PER_QUERY;
use crate::store::{EventRow, Status, Store, StoreError};

/// Between two rounds of queries.
const INTERVAL: Duration = Duration::from_millis(250);

/// The outcome of a published event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The event.
    pub event_id: String,
    /// How it ended.
    pub status: OutcomeStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Why it failed again; `None` if it did not.
    pub error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The same, for a person.
    pub error: Option<String>,
}

/// How a published event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeStatus {
    /// It changed its row.
    Applied,
    /// A newer version was there.
    Stale,
    /// It failed again.
    Failed,
    /// A person gave it up.
    Discarded,
    /// Its row is gone: the user was forgotten.
    Gone,
    /// No worker has tried it yet.
    Waiting,
}

impl OutcomeStatus {
    /// Returns the status as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
            Self::Gone => "gone",
            Self::Waiting => "waiting",
        }
    }

    /// Returns whether a person must look at it.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Waiting)
    }
}

/// Waits until each event was tried, or for `timeout`. Keeps the outcomes in `outcomes`, in order,
/// so that a caller that stops it has those known until then; calls `notify` with how many are.
/// Retries while the database is unavailable.
///
/// # Errors
/// Fails when an operator must fix the database first; `outcomes` has what was known until then.
pub async fn outcomes(
    store: &Store,
    published: &[Published],
    timeout: Duration,
    outcomes: &mut Vec<Outcome>,
    notify: impl Fn(u64),
) -> Result<(), StoreError> {
    let deadline = Instant::now() + timeout;
    *outcomes = published.iter().map(newly_published).collect();
    loop {
        let waiting = outcomes.iter();
        let waiting = waiting.filter(|outcome| outcome.status == OutcomeStatus::Waiting);
        let waiting = waiting.count();
        notify((published.len() - waiting) as u64);
        if waiting == 0 || Instant::now() >= deadline {
            return Ok(());
        }
        match update(store, published, outcomes).await {
            Err(StoreError::Unavailable(_)) => {}
            updated => updated?,
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + INTERVAL)).await;
    }
}

/// Asks once for the outcomes of the events that wait, of those published in the same order.
///
/// # Errors
/// Fails if the database does not answer; `outcomes` has what was known until then.
pub async fn update(
    store: &Store,
    published: &[Published],
    outcomes: &mut [Outcome],
) -> Result<(), StoreError> {
    let waiting = outcomes.iter().zip(published).enumerate();
    let waiting = waiting.filter(|(_, (outcome, _))| outcome.status == OutcomeStatus::Waiting);
    let waiting: Vec<_> = waiting.map(|(at, (_, event))| (at, event)).collect();
    for page in waiting.chunks(EVENTS_PER_QUERY.get() as usize) {
        let ids: Vec<_> = page
            .iter()
            .map(|(_, event)| event.event_id.clone())
            .collect();
        let rows = store.events_by_id(&ids, 0).await?;
        for (at, event) in page {
            let row = rows
                .iter()
                .find(|row| row.event_id == event.event_id.as_str());
            outcomes[*at] = outcome(event, row);
        }
    }
    Ok(())
}

fn outcome(event: &Published, row: Option<&EventRow>) -> Outcome {
    let mut outcome = newly_published(event);
    outcome.status = match row.map(|row| row.status) {
        None if event.attempts == 0 => OutcomeStatus::Waiting,
        None => OutcomeStatus::Gone,
        Some(Status::Applied) => OutcomeStatus::Applied,
        Some(Status::Stale) => OutcomeStatus::Stale,
        Some(Status::Discarded) => OutcomeStatus::Discarded,
        Some(Status::Failed) => OutcomeStatus::Waiting,
    };
    if let Some(row) =
        row.filter(|row| row.status == Status::Failed && row.attempts > event.attempts)
    {
        outcome.status = OutcomeStatus::Failed;
        outcome.error_code.clone_from(&row.error_code);
        outcome.error.clone_from(&row.error);
    }
    outcome
}

/// The outcome of an event that no worker has tried yet.
pub fn newly_published(event: &Published) -> Outcome {
    Outcome {
        event_id: event.event_id.to_string(),
        status: OutcomeStatus::Waiting,
        error_code: None,
        error: None,
    }
}
