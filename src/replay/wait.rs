//! What became of events that were replayed: asked until a worker has tried each of them.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::PAGE;
use crate::clerk::EventId;
use crate::store::{EventRow, Status, Store, StoreError};

/// Between two rounds of questions.
const ROUND: Duration = Duration::from_millis(250);

/// An event that is on the queue again.
#[derive(Debug, Clone)]
pub struct Replayed {
    pub event_id: EventId,
    /// How often it had been tried before.
    pub attempts: i64,
}

/// What an event came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub event_id: String,
    pub status: OutcomeStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeStatus {
    Applied,
    Stale,
    /// Again.
    Failed,
    Discarded,
    /// Its row is gone: the user was forgotten.
    Gone,
    /// No worker has tried it yet.
    Waiting,
}

impl OutcomeStatus {
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

    /// Whether a person has to look at it.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Waiting)
    }
}

/// Waits until each event was tried, or for `timeout`; one outcome for each, in order. `tell` is called with how many are known. An
/// outage of the database is waited for too.
pub async fn outcomes(
    store: &Store,
    replayed: &[Replayed],
    timeout: Duration,
    tell: impl Fn(u64),
) -> Result<Vec<Outcome>, StoreError> {
    let deadline = Instant::now() + timeout;
    let mut found: Vec<Option<Outcome>> = vec![None; replayed.len()];
    loop {
        let open: Vec<usize> = (0..replayed.len())
            .filter(|at| found[*at].is_none())
            .collect();
        tell((replayed.len() - open.len()) as u64);
        if open.is_empty() || Instant::now() >= deadline {
            break;
        }
        for page in open.chunks(PAGE.get() as usize) {
            let ids: Vec<_> = page
                .iter()
                .map(|at| replayed[*at].event_id.clone())
                .collect();
            let rows = match store.events_by_id(&ids, 0).await {
                Err(StoreError::Unavailable(_)) => break,
                rows => rows?,
            };
            for at in page {
                let row = rows
                    .iter()
                    .find(|row| row.event_id == replayed[*at].event_id.as_str());
                found[*at] = outcome(&replayed[*at], row);
            }
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + ROUND)).await;
    }
    let waiting = |event: &Replayed| of(event, OutcomeStatus::Waiting);
    Ok(found
        .into_iter()
        .zip(replayed)
        .map(|(outcome, event)| outcome.unwrap_or_else(|| waiting(event)))
        .collect())
}

/// `None` while no worker has tried it again.
fn outcome(event: &Replayed, row: Option<&EventRow>) -> Option<Outcome> {
    let Some(row) = row else {
        return Some(of(event, OutcomeStatus::Gone));
    };
    let status = match row.status {
        Status::Applied => OutcomeStatus::Applied,
        Status::Stale => OutcomeStatus::Stale,
        Status::Discarded => OutcomeStatus::Discarded,
        Status::Failed if row.attempts > event.attempts => OutcomeStatus::Failed,
        Status::Failed => return None,
    };
    let (error_code, error) = match status {
        OutcomeStatus::Failed => (row.error_code.clone(), row.error.clone()),
        _ => (None, None),
    };
    Some(Outcome {
        error_code,
        error,
        ..of(event, status)
    })
}

fn of(event: &Replayed, status: OutcomeStatus) -> Outcome {
    Outcome {
        event_id: event.event_id.to_string(),
        status,
        error_code: None,
        error: None,
    }
}
