//! Waits until workers have tried events that were published, and prints the outcomes: for `events
//! replay` and `send`.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use indicatif::ProgressBar;

use super::{output, progress};
use crate::clerk::error_code::ERRORS_PAGE;
use crate::escape::visible;
use crate::format;
use crate::replay::{self, Outcome, OutcomeStatus, Published};
use crate::store::{Store, StoreError};

/// Longest wait without a line: a worker takes what is published in less.
const SILENT_MAX: Duration = Duration::from_secs(3);

/// Waits until each event was tried, or for `timeout`. Returns the outcomes known until then, and
/// how the wait ended: `None` after Ctrl-C.
pub async fn wait(
    store: &Store,
    published: &[Published],
    timeout: Duration,
) -> (Vec<Outcome>, Option<Result<(), StoreError>>) {
    let mut outcomes = Vec::new();
    let bar = progress::bar(Some(published.len() as u64));
    let known = |count| bar.set_position(count);
    let ended = tokio::select! {
        ended = replay::outcomes(store, published, timeout, &mut outcomes, known) => Some(ended),
        never = note_waiting(&bar, published.len() as u64, timeout) => match never {},
        _ = tokio::signal::ctrl_c() => None,
    };
    bar.finish_and_clear();
    (outcomes, ended)
}

/// Prints once, after a few seconds, what the command waits for.
async fn note_waiting(bar: &ProgressBar, published: u64, timeout: Duration) -> Infallible {
    tokio::time::sleep(SILENT_MAX).await;
    let waiting = format::count(published.saturating_sub(bar.position()), "event");
    bar.suspend(|| {
        output::note(&format!(
            "Waiting for a worker to take {waiting}, for up to {}.",
            format::duration(timeout)
        ))
    });
    std::future::pending().await
}

/// One line for an event.
pub fn of_outcome(outcome: &Outcome, again: &str) -> String {
    let Outcome {
        event_id,
        status,
        error_code,
        error,
    } = outcome;
    let why: String = [error_code, error]
        .into_iter()
        .flatten()
        .map(|part| format!(": {part}"))
        .collect();
    let again = if *status == OutcomeStatus::Failed {
        again
    } else {
        ""
    };
    let line = format!("{event_id}  {}{again}{why}", status.as_str());
    format!("{}\n", visible(&line))
}

/// A line that counts them, with the codes of those that failed, after the verb of what was done.
pub fn of_counts(verb: &str, outcomes: &[Outcome]) -> String {
    let all = [
        OutcomeStatus::Applied,
        OutcomeStatus::Stale,
        OutcomeStatus::Failed,
        OutcomeStatus::Discarded,
        OutcomeStatus::Gone,
        OutcomeStatus::Waiting,
    ];
    let of = |status| {
        outcomes
            .iter()
            .filter(move |outcome| outcome.status == status)
    };
    let counts: Vec<_> = all
        .into_iter()
        .filter(|status| of(*status).next().is_some())
        .map(|status| {
            let codes: BTreeSet<_> = of(status)
                .filter_map(|it| it.error_code.as_deref())
                .collect();
            let codes: Vec<_> = codes.into_iter().collect();
            let codes = if codes.is_empty() {
                String::new()
            } else {
                format!(" ({})", visible(&codes.join(", ")))
            };
            let count = format::number(of(status).count() as u64);
            format!("{count} {}{codes}", status.as_str())
        })
        .collect();
    let mut text = format!(
        "{verb} {}: {}.\n",
        format::count(outcomes.len() as u64, "event"),
        counts.join(", ")
    );
    if of(OutcomeStatus::Failed).next().is_some() {
        text += &format!("{ERRORS_PAGE} has every code, with what to do.\n");
    }
    text
}

/// How many of them no worker has tried.
pub fn waiting(outcomes: &[Outcome]) -> u64 {
    let is_waiting = |outcome: &&Outcome| outcome.status == OutcomeStatus::Waiting;
    outcomes.iter().filter(is_waiting).count() as u64
}
