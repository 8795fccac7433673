//! The result of many deliveries: counted while they run, reported at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::sender::{Answer, PostError};
use crate::clerk::EventId;
use crate::commands::output;
use crate::format::number;

/// Most different answers that are counted separately: the target may send a different one each
/// time.
const KINDS_MAX: usize = 50;

/// Most different reasons that are reported.
const REASONS_MAX: usize = 5;

/// Significant digits of a latency: 3 keep it within 0.1 %.
const LATENCY_DIGITS: u8 = 3;

/// Longest latency, in microseconds: a day. It limits what the histogram takes.
const LATENCY_MAX_US: u64 = 86_400_000_000;

/// Counts of one task, joined at the end: nothing is shared while events are sent.
pub struct Tally {
    /// How often events were sent again.
    pub retries: u64,
    /// Of queued events, if they are kept.
    pub queued_ids: BTreeSet<EventId>,
    /// Number of answers by status and code.
    answers: BTreeMap<(u16, String), u64>,
    failed: u64,
    reasons: Vec<String>,
    /// Of answered deliveries, in microseconds. Grows with the longest one: there is one per
    /// connection.
    latencies: Histogram<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new(LATENCY_DIGITS);
        Self {
            retries: 0,
            queued_ids: BTreeSet::new(),
            answers: BTreeMap::new(),
            failed: 0,
            reasons: Vec::new(),
            latencies: latencies.expect("3 digits are within a histogram's limits"),
        }
    }
}

impl Tally {
    /// Counts a delivery. `latency` runs from when it was due to its last answer.
    pub fn add(&mut self, result: &Result<Answer, PostError>, latency: Duration) {
        match result {
            Ok(answer) => {
                let us = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US);
                let recorded = self.latencies.record(us.min(LATENCY_MAX_US));
                recorded.expect("the histogram grows as needed");
                self.count((answer.status, answer.word.clone()), 1);
                if !answer.is_accepted() {
                    self.add_reason(answer.reason());
                }
            }
            Err(error) => {
                self.failed += 1;
                self.add_reason(error.to_string());
            }
        }
    }

    /// Adds the counts of another task.
    pub fn join(&mut self, other: Self) {
        self.retries += other.retries;
        self.queued_ids.extend(other.queued_ids);
        self.failed += other.failed;
        for (kind, count) in other.answers {
            self.count(kind, count);
        }
        for reason in other.reasons {
            self.add_reason(reason);
        }
        let joined = self.latencies.add(&other.latencies);
        joined.expect("the histogram grows as needed");
    }

    fn count(&mut self, mut kind: (u16, String), count: u64) {
        if self.answers.len() >= KINDS_MAX && !self.answers.contains_key(&kind) {
            kind.1 = "other".into();
        }
        *self.answers.entry(kind).or_default() += count;
    }

    fn add_reason(&mut self, reason: String) {
        if self.reasons.len() < REASONS_MAX && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// The result of the run. `planned` is how many deliveries there were to be.
    pub fn summary(self, run: Run, planned: usize, took: Duration) -> Summary {
        let ms = |us: u64| us as f64 / 1000.0;
        let at = |quantile| ms(self.latencies.value_at_quantile(quantile));
        let latency_ms = (!self.latencies.is_empty()).then(|| Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: ms(self.latencies.max()),
        });
        let mut summary = Summary {
            run,
            planned: planned as u64,
            sent: self.failed,
            accepted: 0,
            queued: 0,
            ignored: 0,
            refused: Vec::new(),
            failed: self.failed,
            retries: self.retries,
            seconds: took.as_secs_f64(),
            per_second: 0.0,
            latency_ms,
            reasons: self.reasons,
            queued_ids: self.queued_ids,
        };
        for ((status, code), count) in self.answers {
            summary.sent += count;
            if !(200..300).contains(&status) {
                summary.refused.push(Refused {
                    status,
                    code,
                    count,
                });
                continue;
            }
            summary.accepted += count;
            match code.as_str() {
                "queued" => summary.queued += count,
                "ignored" => summary.ignored += count,
                _ => {}
            }
        }
        summary.per_second = summary.sent as f64 / summary.seconds.max(f64::EPSILON);
        summary
    }
}

/// What was to be sent.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// `None` if there were several deliveries.
    #[serde(flatten)]
    pub single: Option<SingleEvent>,
    /// `None` if a file was sent.
    pub event_type: Option<&'static str>,
    /// Without a password.
    pub url: String,
    /// Repeats the run.
    pub seed: u64,
    /// How many users, organizations, memberships… the events were about; `None` if a file was sent.
    pub users: Option<u32>,
}

/// The one event of a run.
#[derive(Debug, Clone, Serialize)]
pub struct SingleEvent {
    pub event_id: String,
    /// ID of what it is about; `None` if a file was sent.
    pub clerk_id: Option<String>,
    /// What that is called in commands, such as `users`.
    #[serde(skip)]
    pub plural: &'static str,
}

/// The result of a run, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub run: Run,
    /// Fewer were sent if the run was stopped.
    pub planned: u64,
    pub sent: u64,
    /// Answered 2xx.
    pub accepted: u64,
    pub queued: u64,
    pub ignored: u64,
    pub refused: Vec<Refused>,
    /// Never answered.
    pub failed: u64,
    pub retries: u64,
    pub seconds: f64,
    pub per_second: f64,
    /// Of answered deliveries.
    pub latency_ms: Option<Latency>,
    /// The first few different ones.
    pub reasons: Vec<String>,
    #[serde(skip)]
    pub queued_ids: BTreeSet<EventId>,
}

/// Deliveries that were answered with one error.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    pub status: u16,
    pub code: String,
    pub count: u64,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

impl Summary {
    /// Whether every delivery was made and accepted.
    pub fn is_whole(&self) -> bool {
        self.accepted == self.planned
    }

    /// How many deliveries a program accepted that is not clerk-sync.
    pub fn foreign(&self) -> u64 {
        self.accepted - self.queued - self.ignored
    }

    /// The result for people: one line per number that is not zero.
    pub fn table(&self) -> String {
        let mut sent = number(self.sent);
        if self.sent < self.planned {
            sent += &format!(" of {}, then stopped", number(self.planned));
        }
        let mut rows = vec![("sent", sent), ("queued", number(self.queued))];
        let mut row = |name, count, note: &str| {
            if count > 0 {
                rows.push((name, format!("{}  {note}", number(count)).trim_end().into()));
            }
        };
        row(
            "ignored",
            self.ignored,
            "not kept: the server does not keep this type",
        );
        row("accepted", self.foreign(), "2xx, but not by clerk-sync");
        for refused in &self.refused {
            let note = format!("{} {}", refused.status, refused.code);
            row("refused", refused.count, &note);
        }
        row("failed", self.failed, "without an answer");
        row("retried", self.retries, "");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "no rate is so high"
        )]
        let per_second = number(self.per_second.round() as u64);
        let took = format!("{:.2} s, {per_second} per second", self.seconds);
        rows.push(("took", took));
        if let Some(Latency { p50, p90, p99, max }) = self.latency_ms {
            let text =
                format!("p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, longest {max:.2} ms");
            rows.push(("latency", text));
        }
        let seed = self.run.seed;
        let seed = format!("{seed}  --seed {seed} sends the same users in the same order");
        rows.push(("seed", seed));
        output::of_fields(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, word: &str) -> Result<Answer, PostError> {
        Ok(Answer {
            status,
            word: word.into(),
            detail: String::new(),
            retry_after: None,
        })
    }

    fn run() -> Run {
        Run {
            single: None,
            event_type: Some("user.created"),
            url: "http://127.0.0.1/".into(),
            seed: 7,
            users: Some(10),
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn counts_of_all_tasks_come_together() {
        let (mut first, mut second) = (Tally::default(), Tally::default());
        for latency in 1..=98 {
            first.add(&answer(200, "queued"), ms(latency));
        }
        first.add(&answer(200, "ignored"), ms(99));
        second.add(&answer(503, "queue_unavailable"), ms(100));
        second.add(&answer(503, "queue_unavailable"), ms(100));
        second.retries = 3;
        first.join(second);
        let summary = first.summary(run(), 101, Duration::from_secs(10));
        assert_eq!(
            (
                summary.sent,
                summary.accepted,
                summary.queued,
                summary.ignored
            ),
            (101, 99, 98, 1)
        );
        assert_eq!(summary.refused.len(), 1);
        assert_eq!(
            (summary.refused[0].status, summary.refused[0].count),
            (503, 2)
        );
        assert_eq!(
            (summary.retries, summary.failed, summary.is_whole()),
            (3, 0, false)
        );
        let latency = summary.latency_ms.clone().unwrap();
        for (is, expected) in [
            (latency.p50, 51.0),
            (latency.p90, 91.0),
            (latency.p99, 100.0),
            (latency.max, 100.0),
        ] {
            assert!((is - expected).abs() < 0.2, "{latency:?}");
        }
        assert!((summary.per_second - 10.1).abs() < 0.001);
        assert_eq!(summary.reasons, ["503 queue_unavailable"]);
        let table = summary.table();
        for text in [
            "sent",
            "queue_unavailable",
            "p50 51.",
            "--seed 7",
            "retried",
        ] {
            assert!(table.contains(text), "{table}");
        }
    }

    #[test]
    fn a_run_that_was_stopped_is_not_whole() {
        let mut tally = Tally::default();
        tally.add(&answer(200, "queued"), ms(1));
        let summary = tally.summary(run(), 2, ms(5));
        assert!(!summary.is_whole());
        assert!(summary.table().contains("1 of 2, then stopped"));
    }

    #[test]
    fn a_server_that_makes_up_answers_takes_no_memory() {
        let mut tally = Tally::default();
        for number in 0..10_000 {
            tally.add(&answer(418, &number.to_string()), ms(1));
        }
        let summary = tally.summary(run(), 10_000, ms(5));
        assert!(summary.refused.len() <= KINDS_MAX + 1 && summary.reasons.len() == REASONS_MAX);
        assert_eq!(
            summary
                .refused
                .iter()
                .map(|refused| refused.count)
                .sum::<u64>(),
            10_000
        );
    }
}
