//! docs/performance.md and README have the figures of the newest full run of `scripts/bench`. Each
//! table is made of its results: `UPDATE_DOCS=1 cargo test --test it generated_pages` writes them.

use std::path::Path;

use serde_json::Value;

use super::{compare, table};

#[path = "../../../benches/load/comparisons.rs"]
mod comparisons;
#[allow(dead_code, reason = "the benchmark uses the rest of it")]
#[path = "../../../benches/load/figures.rs"]
mod figures;

use comparisons::{COMPARISONS, Comparison, PROCESSOR_TIME, SETTINGS, SETTINGS_FIGURES};
use figures::short;

const RESULTS: &str = "benches/results";

/// What, its figures, and figures beside it, with `{name}` for the middle of a figure's rounds. A
/// row is left out where the run has not measured it.
type Row = (&'static str, &'static str, &'static str);

const SUMMARY: &[Row] = &[
    (
        "accepted, verified and confirmed by RabbitMQ",
        "{accept.rate} per second",
        "{node.receiver.rate} by a Node receiver: fastify, svix, amqplib",
    ),
    (
        "committed, at the highest rate that holds",
        "{sustained.rate} per second",
        "{node.queued.rate} by Node with the same queue; {node.inline.rate} by a Node handler that writes the row before it answers",
    ),
    (
        "the same over TLS to both servers",
        "{tls.sustained.rate} per second",
        "{clear.sustained.rate} without TLS, on the same node of RabbitMQ",
    ),
    (
        "a backlog of 100,000, committed",
        "{drain.rate} per second",
        "{limit.upsert_500} by sqlx alone, which has no queue to empty",
    ),
    (
        "one process without servers, committed once nothing comes in",
        "{embedded.drained} per second",
        "{limit.sqlite_upsert_500} by SQLite alone",
    ),
    (
        "at 200 events per second, from due to committed",
        "{latency.200.commit_p50_ms} ms in the middle, {latency.200.commit_p99_ms} ms at the 99th percentile",
        "{plain.latency.200.commit_p50_ms} and {plain.latency.200.commit_p99_ms} ms by actix-web, lapin and sqlx alone",
    ),
    (
        "memory",
        "{memory.idle_mb} MB idle, {memory.loaded_mb} MB over a backlog, {sustained.memory_mb} MB at the highest rate that holds",
        "{node.receiver.memory_mb} and {node.queued.memory_mb} MB by the Node receiver, and by Node with a queue",
    ),
    (
        "backfill, from a list on loopback",
        "{backfill.rate} users per second",
        "Clerk's answers are slower",
    ),
    (
        "start to ready; size of the program",
        "{start.ready_ms} ms; {program.size_mb} MB",
        "",
    ),
];

const README_HEADER: &str = "| | clerk-sync | compared with |\n| --- | ---: | --- |\n";

const README: &[Row] = &[
    (
        "accepted per second",
        "{accept.rate}",
        "{node.receiver.rate} by a Node receiver (fastify, svix, amqplib)",
    ),
    (
        "committed per second, sustained",
        "{sustained.rate}",
        "{node.queued.rate} by Node with the same queue; {node.inline.rate} by a Node handler without one",
    ),
    (
        "from scheduled send to committed row at 200 per second, median",
        "{latency.200.commit_p50_ms} ms",
        "{plain.latency.200.commit_p50_ms} ms by actix-web, lapin and sqlx alone, without the promises",
    ),
    (
        "memory of a receiver at full load",
        "{accept.memory_mb} MB",
        "{node.receiver.memory_mb} MB by the Node receiver",
    ),
];

/// Ratios whose rounds the page lists, to show how much they differ.
const SPREAD: &[(&str, &str, &str)] = &[
    (
        "accepted / Node receiver",
        "accept.rate",
        "node.receiver.rate",
    ),
    (
        "sustained / Node inline",
        "sustained.rate",
        "node.inline.rate",
    ),
    (
        "sustained / Node with a queue",
        "sustained.rate",
        "node.queued.rate",
    ),
];

/// The results of a run.
struct Run {
    name: String,
    results: Value,
}

impl Run {
    /// The newest of everything. Short and partial runs have other names.
    fn newest() -> Self {
        Self::newest_of("20").expect("results of a full run")
    }

    fn newest_of(prefix: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(RESULTS);
        let names = std::fs::read_dir(folder).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let name = names
            .filter(|name| name.starts_with(prefix) && name.ends_with(".json"))
            .max()?;
        let results = serde_json::from_str(&read(&format!("{RESULTS}/{name}"))).unwrap();
        Some(Self { name, results })
    }

    fn rounds(&self, figure: &str) -> Vec<f64> {
        let rounds = self.results["figures"][figure].as_array();
        let rounds = rounds.into_iter().flatten();
        rounds.map(|round| round.as_f64().unwrap()).collect()
    }

    fn middle(&self, figure: &str) -> Option<f64> {
        middle(self.rounds(figure))
    }

    /// What one figure is of another in each round.
    fn ratios(&self, one: &str, other: &str) -> Vec<f64> {
        let (ones, others) = (self.rounds(one), self.rounds(other));
        ones.iter()
            .zip(others)
            .map(|(one, other)| one / other)
            .collect()
    }

    /// The text with figures in it; `None` if one was not measured.
    fn fill(&self, text: &str) -> Option<String> {
        let mut parts = text.split('{');
        let mut filled = parts.next()?.to_owned();
        for part in parts {
            let (figure, rest) = part.split_once('}')?;
            filled += &short(self.middle(figure)?);
            filled += rest;
        }
        Some(filled)
    }

    fn rows<'a>(&'a self, rows: &'a [Row]) -> impl Iterator<Item = [String; 3]> {
        rows.iter().filter_map(|(what, figure, beside)| {
            let beside = self.fill(beside).unwrap_or_default();
            Some([(*what).to_owned(), self.fill(figure)?, beside])
        })
    }

    fn text(&self, key: &str) -> String {
        match &self.results["machine"][key] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => "of a version that was not recorded".to_owned(),
        }
    }

    /// The servers' versions, which stand above every table.
    fn servers(&self) -> String {
        let postgresql = self.text("postgresql");
        format!(
            "RabbitMQ {}, Erlang {}, PostgreSQL {}; {} cores ({}).",
            self.text("rabbitmq"),
            self.text("erlang"),
            postgresql.split(' ').next().unwrap(),
            self.text("cores"),
            self.text("processor"),
        )
    }

    /// A table with the versions above it.
    fn shown<const N: usize>(
        &self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> String {
        let rows: Vec<_> = rows.into_iter().collect();
        if rows.is_empty() {
            return "That run has not measured it.".to_owned();
        }
        let line = format!("|{}", " --- |".repeat(N));
        // Numbers end where they end in the next row; the third cell of three is text.
        let right = match N {
            3 => "| --- | ---: | --- |".to_owned(),
            _ => format!("| --- |{}", " ---: |".repeat(N - 1)),
        };
        let table = table(header, rows).replacen(&line, &right, 1);
        format!("{}\n\n{}", self.servers(), table.trim_end())
    }

    fn summary(&self) -> String {
        let date = self.results["at"]
            .as_str()
            .unwrap()
            .split('T')
            .next()
            .unwrap();
        let spread = SPREAD
            .iter()
            .map(|(what, one, other)| format!("{what} {}", range(&self.ratios(one, other))));
        let spread: Vec<_> = spread.collect();
        format!(
            "One run of {date}, whose machine ran the servers and the load, too, with all writes on disk. {}\n{}\n\n\
             Ratios move less than absolute figures from machine to machine, but they do from round to round: {}.\n\n\
             [All figures](../{RESULTS}/{}) of that run.",
            match self.results["rounds"].as_u64() {
                Some(1) => "One round.".to_owned(),
                rounds => format!("The middle of {} rounds.", rounds.unwrap_or_default()),
            },
            self.shown(["what", "figure", "beside it"], self.rows(SUMMARY)),
            spread.join(", "),
            self.name
        )
    }

    fn targets(&self) -> String {
        let targets = self.results["targets"].as_array().unwrap();
        let measured = targets.iter().filter(|target| !target["figure"].is_null());
        let rows: Vec<_> = measured
            .map(|target| {
                let is_met = target["met"].as_bool().unwrap();
                let text = |key: &str| target[key].as_str().unwrap().to_owned();
                let figure = short(target["figure"].as_f64().unwrap());
                let met = if is_met { "yes" } else { "no" };
                [text("what"), text("target"), figure, met.to_owned()]
            })
            .collect();
        let met = rows.iter().filter(|row| row[3] == "yes").count();
        format!(
            "{met} of {} targets are met. A figure is the middle of the rounds, and a ratio the middle of their ratios.\n{}",
            rows.len(),
            self.shown(["what", "target", "figure", "met"], rows)
        )
    }

    fn comparison(&self, comparison: &Comparison) -> String {
        let rows = comparison.rows.iter().filter_map(|(what, one, other)| {
            let ratios = self.ratios(one, other);
            let ratio = short(middle(ratios.clone())?);
            let sides = [self.middle(one)?, self.middle(other)?].map(short);
            let [one, other] = sides;
            Some([(*what).to_owned(), one, other, ratio, range(&ratios)])
        });
        let (one, other) = (comparison.one, comparison.other);
        self.shown(["what", one, other, "ratio", "of the rounds"], rows)
    }

    fn settings(&self) -> String {
        let rows = SETTINGS.iter().filter_map(|(what, prefix)| {
            let figure = |end: &str| self.middle(&format!("{prefix}.{end}"));
            let mut cells = [const { String::new() }; SETTINGS_FIGURES.len() + 1];
            cells[0] = (*what).to_owned();
            let figures: Vec<_> = SETTINGS_FIGURES
                .iter()
                .map(|(_, end)| figure(end))
                .collect();
            let is_measured = figures.iter().any(Option::is_some);
            for (cell, figure) in cells[1..].iter_mut().zip(figures) {
                *cell = figure.map_or("–".to_owned(), short);
            }
            is_measured.then_some(cells)
        });
        let mut header = ["RabbitMQ"; SETTINGS_FIGURES.len() + 1];
        for (cell, (what, _)) in header[1..].iter_mut().zip(SETTINGS_FIGURES) {
            *cell = what;
        }
        self.shown(header, rows)
    }

    fn processor_time(&self) -> String {
        let rows = PROCESSOR_TIME.iter().filter_map(|(what, names)| {
            let figures = names.map(|name| self.middle(name));
            figures.iter().any(Option::is_some).then(|| {
                let sum = figures.iter().flatten().sum();
                let [own, broker, server] =
                    figures.map(|figure| figure.map_or("–".to_owned(), short));
                [(*what).to_owned(), own, broker, server, short(sum)]
            })
        });
        let header = [
            "µs per event",
            "clerk-sync",
            "RabbitMQ",
            "PostgreSQL",
            "together",
        ];
        self.shown(header, rows)
    }
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[half]),
        _ => Some(f64::midpoint(values[half - 1], values[half])),
    }
}

/// `1.75 to 2.15`.
fn range(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values {
        [] => "–".to_owned(),
        [only] => short(*only),
        _ => format!("{} to {}", short(least), short(greatest)),
    }
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_page_has_the_figures_of_the_newest_run() {
    let run = Run::newest();
    let mut blocks = vec![
        ("summary", run.summary()),
        ("targets", run.targets()),
        ("processor time", run.processor_time()),
    ];
    let compared = |comparison: &'static Comparison| (comparison.name, run.comparison(comparison));
    blocks.extend(COMPARISONS.iter().map(compared));
    let blocks: Vec<_> = blocks
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    compare("docs/performance.md", &blocks);
}

#[test]
fn the_settings_of_the_broker_have_figures_of_their_newest_run() {
    if let Some(run) = Run::newest_of("settings-") {
        compare("docs/operations.md", &[("settings", &run.settings())]);
    }
}

/// README has no marks for its table: it begins with its header and ends with an empty line.
#[test]
fn the_readme_has_figures_of_the_same_run() {
    let run = Run::newest();
    let written = read("README.md");
    let (before, rest) = written.split_once(README_HEADER).expect("the header");
    let (_, after) = rest.split_once("\n\n").expect("the end of the table");
    let link = format!("({RESULTS}/");
    let (before, rest) = before.rsplit_once(&link).expect("the link to the run");
    let (_, sentence) = rest.split_once(')').expect("its end");
    let line = |row: [String; 3]| format!("| {} |", row.join(" | "));
    let rows: Vec<_> = run.rows(README).map(line).collect();
    assert_eq!(rows.len(), README.len(), "the run has not measured them");
    let (name, rows) = (&run.name, rows.join("\n"));
    let expected = format!("{before}{link}{name}){sentence}{README_HEADER}{rows}\n\n{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"),
            &expected,
        )
        .unwrap();
        return;
    }
    assert!(
        written == expected,
        "README.md is old; run UPDATE_DOCS=1 cargo test --test it generated_pages. Its table is now:\n{rows}"
    );
}
