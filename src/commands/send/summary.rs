//! What came of many deliveries: counted while they run, told at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::sender::{Answer, PostError};
use crate::format::number;

/// Most different answers that are counted apart: whatever listens there may make up a new one each time.
const KINDS_MAX: usize = 50;

/// Most different reasons that are told.
const REASONS_MAX: usize = 5;

/// Digits of a latency that count: 3 keep it within 0.1 %.
const LATENCY_DIGITS: u8 = 3;

/// Longest latency that is told apart, in microseconds: a day. It bounds what the histogram takes.
const LATENCY_MAX_US: u64 = 86_400_000_000;

/// Counts of one task, joined at the end: nothing is shared while events are sent.
pub struct Tally {
    pub retries: u64,
    /// By status and by our word for it.
    answers: BTreeMap<(u16, String), u64>,
    failures: BTreeMap<PostError, u64>,
    reasons: Vec<String>,
    /// Of answered deliveries, in microseconds. Grows with the longest one: there is one a connection.
    latencies: Histogram<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies =
            Histogram::new(LATENCY_DIGITS).expect("3 digits are within a histogram's limits");
        let (answers, failures) = (BTreeMap::new(), BTreeMap::new());
        Self {
            retries: 0,
            answers,
            failures,
            reasons: Vec::new(),
            latencies,
        }
    }
}

impl Tally {
    /// `latency` runs from when the delivery was due to its last answer.
    pub fn add(&mut self, result: &Result<Answer, PostError>, latency: Duration) {
        match result {
            Ok(answer) => {
                let us = u64::try_from(latency.as_micros())
                    .unwrap_or(LATENCY_MAX_US)
                    .min(LATENCY_MAX_US);
                self.latencies
                    .record(us)
                    .expect("the histogram grows as needed");
                self.count_answers((answer.status, answer.word.clone()), 1);
                if !answer.is_accepted() {
                    self.add_reason(reason(answer));
                }
            }
            Err(error) => {
                self.count_failures(error.clone(), 1);
                self.add_reason(error.to_string());
            }
        }
    }

    pub fn join(&mut self, other: Self) {
        self.retries += other.retries;
        for (kind, count) in other.answers {
            self.count_answers(kind, count);
        }
        for (error, count) in other.failures {
            self.count_failures(error, count);
        }
        for reason in other.reasons {
            self.add_reason(reason);
        }
        self.latencies
            .add(&other.latencies)
            .expect("the histogram grows as needed");
    }

    fn count_answers(&mut self, (status, word): (u16, String), count: u64) {
        let is_known = self.answers.contains_key(&(status, word.clone()));
        let word = if is_known || self.answers.len() < KINDS_MAX {
            word
        } else {
            "other".to_owned()
        };
        *self.answers.entry((status, word)).or_default() += count;
    }

    fn count_failures(&mut self, error: PostError, count: u64) {
        if self.failures.contains_key(&error) || self.failures.len() < KINDS_MAX {
            *self.failures.entry(error).or_default() += count;
        } else if let Some((_, others)) = self.failures.iter_mut().next_back() {
            *others += count;
        }
    }

    fn add_reason(&mut self, reason: String) {
        if self.reasons.len() < REASONS_MAX && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// `planned` is how many deliveries there were to be.
    pub fn summary(self, run: Run, planned: usize, took: Duration) -> Summary {
        let count = |of: &dyn Fn(u16, &str) -> bool| {
            self.answers
                .iter()
                .filter(|((status, word), _)| of(*status, word))
                .map(|(_, count)| count)
                .sum::<u64>()
        };
        let accepted = |status| (200..300).contains(&status);
        let failed: u64 = self.failures.values().sum();
        let sent = count(&|_, _| true) + failed;
        let ms = |us: u64| us as f64 / 1000.0;
        let at = |quantile| ms(self.latencies.value_at_quantile(quantile));
        Summary {
            run,
            planned: planned as u64,
            sent,
            accepted: count(&|status, _| accepted(status)),
            queued: count(&|status, word| accepted(status) && word == "queued"),
            ignored: count(&|status, word| accepted(status) && word == "ignored"),
            refused: (self.answers.iter())
                .filter(|((status, _), _)| !accepted(*status))
                .map(|((status, code), count)| Refused {
                    status: *status,
                    code: code.clone(),
                    count: *count,
                })
                .collect(),
            failed,
            retries: self.retries,
            seconds: took.as_secs_f64(),
            per_second: sent as f64 / took.as_secs_f64().max(f64::EPSILON),
            latency_ms: (!self.latencies.is_empty()).then(|| Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                max: ms(self.latencies.max()),
            }),
            reasons: self.reasons,
        }
    }
}

/// One line on an answer that is no 2xx.
pub fn reason(answer: &Answer) -> String {
    let parts = [answer.word.as_str(), answer.detail.as_str()];
    let text = parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(": ");
    match (answer.status, text.is_empty()) {
        (300..400, _) => format!(
            "{}: a redirect, which Svix takes as a failure; give the final --url",
            answer.status
        ),
        (404, true) => "404: nothing takes webhooks at this path; see --url".to_owned(),
        (status, true) => format!("{status}: not an answer of clerk-sync's; see --url"),
        (status, false) => format!("{status} {text}"),
    }
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Nothing where a file was sent.
    pub event_type: Option<&'static str>,
    pub url: String,
    pub seed: u64,
    /// The users that the events were about; nothing where a file was sent.
    pub users: Option<u32>,
}

/// The document of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub run: Run,
    /// Fewer were sent where the run was stopped.
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
}

#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    pub status: u16,
    pub code: String,
    pub count: u64,
}

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

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut row = |name: &str, value: String| _ = table.add_row([name.to_owned(), value]);
        let others = self.accepted - self.queued - self.ignored;
        row("sent", self.sent_text());
        row("queued", number(self.queued));
        if self.ignored > 0 {
            row(
                "ignored",
                format!(
                    "{}  not kept: only the events of users are",
                    number(self.ignored)
                ),
            );
        }
        if others > 0 {
            row(
                "accepted",
                format!("{}  2xx, but not by clerk-sync", number(others)),
            );
        }
        for refused in &self.refused {
            row(
                "refused",
                format!(
                    "{}  {} {}",
                    number(refused.count),
                    refused.status,
                    refused.code
                ),
            );
        }
        if self.failed > 0 {
            row(
                "failed",
                format!("{}  without an answer", number(self.failed)),
            );
        }
        if self.retries > 0 {
            row("retried", number(self.retries));
        }
        row(
            "took",
            format!("{:.2} s, {} a second", self.seconds, rate(self.per_second)),
        );
        if let Some(Latency { p50, p90, p99, max }) = self.latency_ms {
            row(
                "latency",
                format!("p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, longest {max:.2} ms"),
            );
        }
        row(
            "seed",
            format!(
                "{}  --seed {} sends the same users in the same order",
                self.run.seed, self.run.seed
            ),
        );
        // The table fills each line up with spaces.
        table
            .to_string()
            .lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn sent_text(&self) -> String {
        if self.sent < self.planned {
            format!(
                "{} of {}, then stopped",
                number(self.sent),
                number(self.planned)
            )
        } else {
            number(self.sent)
        }
    }
}

fn rate(rate: f64) -> String {
    // `as` keeps to the range of u64, and a rate is never negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = rate.round() as u64;
    if whole >= 10 {
        number(whole)
    } else {
        format!("{rate:.1}")
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
