//! The outcomes of a replay, for people.

use crate::escape::visible;
use crate::format;
use crate::replay::{Outcome, OutcomeStatus, ReplayReport};

/// One line for each event, and a last one that counts them.
pub fn of_outcomes(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for Outcome {
        event_id,
        status,
        error_code,
        error,
    } in outcomes
    {
        let why: String = [error_code, error]
            .into_iter()
            .flatten()
            .map(|part| format!(": {part}"))
            .collect();
        let again = if *status == OutcomeStatus::Failed {
            " again"
        } else {
            ""
        };
        let line = format!("{event_id}  {}{again}{why}", status.as_str());
        text += &format!("{}\n", visible(&line));
    }
    let all = [
        OutcomeStatus::Applied,
        OutcomeStatus::Stale,
        OutcomeStatus::Failed,
        OutcomeStatus::Discarded,
        OutcomeStatus::Gone,
        OutcomeStatus::Waiting,
    ];
    let count = |status| {
        outcomes
            .iter()
            .filter(|outcome| outcome.status == status)
            .count() as u64
    };
    let counts: Vec<_> = all
        .into_iter()
        .filter(|status| count(*status) > 0)
        .map(|status| format!("{} {}", count(status), status.as_str()))
        .collect();
    text += &format!(
        "Replayed {}: {}.\n",
        format::count(outcomes.len() as u64, "event"),
        counts.join(", ")
    );
    let waiting = count(OutcomeStatus::Waiting);
    if waiting > 0 {
        text += &format!(
            "No worker took {} in time: see whether one runs (`clerk-sync check`). The queue keeps the others; `clerk-sync events list` shows their outcomes.\n",
            format::count(waiting, "event")
        );
    }
    text
}

/// How many events would be replayed, and with which outcome.
pub fn of_preview(done: &ReplayReport) -> String {
    let would = done.would.clone().unwrap_or_default();
    let mut text = format!(
        "{} would be published again.\n",
        format::count(done.replayed, "failed event")
    );
    let mut say = |count: u64, what: &str| {
        if count > 0 {
            text += &format!("  {count:>6}  {what}\n");
        }
    };
    say(would.apply, "would be applied now");
    say(would.be_stale, "would be stale: a newer version is there");
    for (code, count) in &would.fail {
        say(*count, &format!("would fail again: {}", visible(code)));
    }
    text
}
