//! What each figure must reach.
//!
//! A target is a ratio of two figures of the same run wherever it can be: a time, or a rate, says
//! more of the machine than of the program. The denominators are floors, which are what broker,
//! database or file can do here by themselves (`limit.*`), the plain way (`plain.*`), and the
//! Node handlers (`node.*`).

use serde::Serialize;

use crate::figures::{Figures, short};

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

enum Measure {
    Figure(&'static str),
    /// One figure as a multiple of another of the same round.
    Ratio(&'static str, &'static str),
}

struct Target {
    what: &'static str,
    measure: Measure,
    bound: Bound,
}

const fn at_least(what: &'static str, measure: Measure, bound: f64) -> Target {
    Target {
        what,
        measure,
        bound: Bound::AtLeast(bound),
    }
}

const fn at_most(what: &'static str, measure: Measure, bound: f64) -> Target {
    Target {
        what,
        measure,
        bound: Bound::AtMost(bound),
    }
}

use Measure::{Figure, Ratio};

const TARGETS: &[Target] = &[
    at_least(
        "accepted / bare confirmed publish, 64 in flight",
        Ratio("accept.rate", "limit.publish_64"),
        0.75,
    ),
    at_least(
        "accepted / Node receiver",
        Ratio("accept.rate", "node.receiver.rate"),
        2.5,
    ),
    at_least(
        "committed, sustained / Node with a queue",
        Ratio("sustained.rate", "node.queued.rate"),
        4.0,
    ),
    at_least(
        "committed, sustained / Node inline",
        Ratio("sustained.rate", "node.inline.rate"),
        2.0,
    ),
    at_least(
        "drain of a backlog / bare UNNEST of 500 and record",
        Ratio("drain.rate", "limit.upsert_500"),
        0.75,
    ),
    at_most(
        "due to committed at 200 per second, p50 / floor",
        Ratio("latency.200.commit_p50_ms", "limit.floor_ms"),
        2.5,
    ),
    at_most(
        "due to committed at 1,000 per second, p50 / floor",
        Ratio("latency.1000.commit_p50_ms", "limit.floor_ms"),
        2.5,
    ),
    at_most(
        "due to committed at 200 per second, p99 / plain way",
        Ratio(
            "latency.200.commit_p99_ms",
            "plain.latency.200.commit_p99_ms",
        ),
        1.0,
    ),
    at_most(
        "due to committed at 1,000 per second, p99 / plain way",
        Ratio(
            "latency.1000.commit_p99_ms",
            "plain.latency.1000.commit_p99_ms",
        ),
        1.0,
    ),
    at_least(
        "with TLS / without: accepted",
        Ratio("tls.accept.rate", "clear.accept.rate"),
        0.85,
    ),
    at_least(
        "with TLS / without: committed, sustained",
        Ratio("tls.sustained.rate", "clear.sustained.rate"),
        0.85,
    ),
    at_least(
        "with TLS / without: drain of a backlog",
        Ratio("tls.drain.rate", "clear.drain.rate"),
        0.85,
    ),
    at_most(
        "with TLS / without: due to committed at 200 per second, p50",
        Ratio(
            "tls.latency.200.commit_p50_ms",
            "clear.latency.200.commit_p50_ms",
        ),
        1.3,
    ),
    at_most(
        "with TLS / without: due to committed at 1,000 per second, p50",
        Ratio(
            "tls.latency.1000.commit_p50_ms",
            "clear.latency.1000.commit_p50_ms",
        ),
        1.3,
    ),
    at_most("memory idle, MB", Figure("memory.idle_mb"), 20.0),
    at_most(
        "memory at full load over a backlog, MB",
        Figure("memory.loaded_mb"),
        64.0,
    ),
    at_most(
        "memory, last third of a minute at the highest rate / first",
        Figure("age.memory_last_third_over_first"),
        1.1,
    ),
    at_least(
        "drain with 1,000,000 rows in users / with 5,000",
        Ratio("many.rate", "drain.rate"),
        0.85,
    ),
    at_least(
        "embedded: accepted / bare insert of 64 in SQLite",
        Ratio("embedded.accepted", "limit.sqlite_insert_64"),
        0.5,
    ),
    at_least(
        "embedded: committed, once nothing comes in / bare upsert of 500 and record in SQLite",
        Ratio("embedded.drained", "limit.sqlite_upsert_500"),
        0.7,
    ),
    at_most("start to ready, ms", Figure("start.ready_ms"), 150.0),
    at_most("release binary, MB", Figure("program.size_mb"), 25.0),
    at_least(
        "backfill from a Clerk API on loopback, users per second",
        Figure("backfill.rate"),
        10_000.0,
    ),
    at_most("backfill, memory, MB", Figure("backfill.memory_mb"), 64.0),
];

/// One line of the table of targets.
#[derive(Serialize)]
pub struct Line {
    pub what: &'static str,
    pub target: String,
    pub figure: Option<f64>,
    pub met: Option<bool>,
    /// The values of all rounds, of which the figure is the middle.
    rounds: Vec<f64>,
}

/// The targets, and what this run has for them.
pub fn lines(figures: &Figures) -> Vec<Line> {
    TARGETS.iter().map(|target| line(target, figures)).collect()
}

fn line(target: &Target, figures: &Figures) -> Line {
    let (figure, rounds) = match target.measure {
        Figure(name) => (figures.median(name), figures.values(name)),
        Ratio(one, other) => (figures.ratio(one, other), figures.ratios(one, other)),
    };
    let (said, met) = match target.bound {
        Bound::AtLeast(bound) => (
            format!("≥ {}", short(bound)),
            figure.map(|figure| figure >= bound),
        ),
        Bound::AtMost(bound) => (
            format!("≤ {}", short(bound)),
            figure.map(|figure| figure <= bound),
        ),
    };
    Line {
        what: target.what,
        target: said,
        figure,
        met,
        rounds,
    }
}
