//! The results of a run: a table of targets for a person, and a file for programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use sqlx::{PgPool, Row};

use crate::figures::{Figures, short};
use crate::place::Place;

/// What a figure must reach.
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// What a figure is.
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
        1.8,
    ),
    at_least(
        "committed, sustained / Node with a queue",
        Ratio("sustained.rate", "node.queued.rate"),
        2.0,
    ),
    at_least(
        "committed, sustained / Node inline",
        Ratio("sustained.rate", "node.inline.rate"),
        1.5,
    ),
    at_most(
        "own processor time an event at that rate, µs",
        Figure("sustained.processor_us"),
        45.0,
    ),
    at_least(
        "drain of a backlog / bare UNNEST of 500 and record",
        Ratio("drain.rate", "limit.upsert_500"),
        0.9,
    ),
    at_most(
        "due to committed at 200 a second, p50 ms",
        Figure("latency.200.commit_p50_ms"),
        1.5,
    ),
    at_most(
        "due to committed at 200 a second, p99 ms",
        Figure("latency.200.commit_p99_ms"),
        6.0,
    ),
    at_most(
        "due to committed at 1,000 a second, p50 ms",
        Figure("latency.1000.commit_p50_ms"),
        1.5,
    ),
    at_most(
        "due to committed at 1,000 a second, p99 ms",
        Figure("latency.1000.commit_p99_ms"),
        6.0,
    ),
    at_most(
        "due to committed at 3,000 a second, p50 ms",
        Figure("latency.3000.commit_p50_ms"),
        3.0,
    ),
    at_most(
        "due to committed at 3,000 a second, p99 ms",
        Figure("latency.3000.commit_p99_ms"),
        12.0,
    ),
    at_most(
        "answer at 1,000 a second, p50 ms",
        Figure("latency.1000.answer_p50_ms"),
        1.0,
    ),
    at_most(
        "answer at 1,000 a second, p99 ms",
        Figure("latency.1000.answer_p99_ms"),
        4.0,
    ),
    at_most("memory idle, MB", Figure("memory.idle_mb"), 20.0),
    at_most(
        "memory at full load over a backlog, MB",
        Figure("memory.loaded_mb"),
        64.0,
    ),
    at_most(
        "memory, last third of that minute / first",
        Figure("age.memory_last_third_over_first"),
        1.1,
    ),
    at_most(
        "processor time an event, last third / first",
        Figure("age.processor_last_third_over_first"),
        1.1,
    ),
    at_least(
        "drain with many rows in users / with 5,000",
        Ratio("many.rate", "drain.rate"),
        0.85,
    ),
    at_least(
        "embedded: accepted a second",
        Figure("embedded.accepted"),
        12_000.0,
    ),
    at_least(
        "embedded: committed a second, once nothing comes in",
        Figure("embedded.drained"),
        8000.0,
    ),
    at_most(
        "embedded: due to committed at 1,000 a second, p99 ms",
        Figure("embedded.commit_p99_ms"),
        10.0,
    ),
    at_most("start to ready, ms", Figure("start.ready_ms"), 150.0),
    at_most("release binary, MB", Figure("program.size_mb"), 25.0),
    at_least(
        "backfill from a Clerk API on loopback, users a second",
        Figure("backfill.rate"),
        15_000.0,
    ),
    at_most("backfill, memory, MB", Figure("backfill.memory_mb"), 64.0),
    at_most(
        "with TLS to PostgreSQL / without: due to committed at 1,000 a second, p50",
        Ratio("tls.1000.commit_p50_ms", "clear.1000.commit_p50_ms"),
        1.25,
    ),
    at_least(
        "with TLS to PostgreSQL / without: a backlog",
        Ratio("tls.drain.rate", "clear.drain.rate"),
        0.9,
    ),
    at_least(
        "committed, sustained: with the change feed / without",
        Ratio("feed.on.rate", "feed.off.rate"),
        0.85,
    ),
    at_least(
        "a backlog: with the change feed / without",
        Ratio("feed.on.drain.rate", "feed.off.drain.rate"),
        0.85,
    ),
];

/// What is measured of the plain way too, where its name begins with `plain.`.
const BESIDE: &[(&str, &str)] = &[
    ("accepted a second", "accept.rate"),
    ("committed a second, sustained", "sustained.rate"),
    ("a backlog, committed a second", "drain.rate"),
    (
        "own processor time an event, accepted, µs",
        "accept.processor_us",
    ),
    ("… sustained, µs", "sustained.processor_us"),
    ("… a backlog, µs", "drain.processor_us"),
    (
        "due to committed at 200 a second, p50 ms",
        "latency.200.commit_p50_ms",
    ),
    ("… p99 ms", "latency.200.commit_p99_ms"),
    (
        "due to committed at 1,000 a second, p50 ms",
        "latency.1000.commit_p50_ms",
    ),
    ("… p99 ms", "latency.1000.commit_p99_ms"),
    (
        "due to committed at 3,000 a second, p50 ms",
        "latency.3000.commit_p50_ms",
    ),
    ("… p99 ms", "latency.3000.commit_p99_ms"),
    (
        "answer at 1,000 a second, p50 ms",
        "latency.1000.answer_p50_ms",
    ),
    ("… p99 ms", "latency.1000.answer_p99_ms"),
];

/// One line of the table of targets.
#[derive(Serialize)]
pub struct Line {
    what: &'static str,
    target: String,
    figure: Option<f64>,
    met: Option<bool>,
}

/// The targets, and what this run has for them.
pub fn lines(figures: &Figures) -> Vec<Line> {
    TARGETS.iter().map(|target| line(target, figures)).collect()
}

fn line(target: &Target, figures: &Figures) -> Line {
    let figure = match target.measure {
        Figure(name) => figures.median(name),
        Ratio(one, other) => figures.ratio(one, other),
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
    }
}

pub fn print(figures: &Figures) {
    let mut all = table(&["figure", "median", "least", "greatest"]);
    for (name, values) in figures.all() {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let median = figures.median(name).unwrap_or(f64::NAN);
        all.add_row([name.clone(), short(median), short(least), short(greatest)]);
    }
    println!("{all}\n");
    let mut targets = table(&["what", "target", "figure", "met"]);
    for line in lines(figures) {
        let met = line.met.map_or("", |met| if met { "yes" } else { "no" });
        let figure = line.figure.map_or("not measured".to_owned(), short);
        targets.add_row([line.what, &line.target, &figure, met]);
    }
    println!("{targets}\n");
    let mut beside = table(&["what", "clerk-sync", "plain way", "ratio"]);
    for (what, ours) in BESIDE {
        let plain = format!("plain.{ours}");
        let [ours, plain, ratio] = [
            figures.median(ours),
            figures.median(&plain),
            figures.ratio(ours, &plain),
        ]
        .map(|figure| figure.map_or("not measured".to_owned(), short));
        beside.add_row([what, ours.as_str(), &plain, &ratio]);
    }
    println!("{beside}");
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What the figures depend on, and nothing that identifies the owner of the machine.
#[derive(Serialize)]
pub struct Machine {
    pub processor: Option<String>,
    pub cores: usize,
    pub memory_gb: Option<f64>,
    pub system: &'static str,
    pub postgresql: String,
    pub postgresql_settings: BTreeMap<String, String>,
    pub rabbitmq: Option<String>,
    pub node: Option<String>,
    pub rustc: Option<String>,
    /// What others took of the processor while nothing was measured, in percent of one core.
    pub busy_before_percent: Option<f64>,
}

impl Machine {
    pub async fn look(pool: &PgPool) -> anyhow::Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
        };
        let memory = after(&read("/proc/meminfo"), "MemTotal");
        let memory = memory.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let mut settings = BTreeMap::new();
        let names = "select name, setting || coalesce(unit, '') from pg_settings where name in \
            ('fsync', 'full_page_writes', 'synchronous_commit', 'shared_buffers', 'max_wal_size')";
        for row in sqlx::query(names).fetch_all(pool).await? {
            settings.insert(row.try_get(0)?, row.try_get(1)?);
        }
        Ok(Self {
            processor: after(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism()?.get(),
            memory_gb: memory.map(|kib| (kib * 1024.0 / 1e9).round()),
            system: std::env::consts::OS,
            postgresql: sqlx::query_scalar("show server_version")
                .fetch_one(pool)
                .await?,
            postgresql_settings: settings,
            rabbitmq: rabbitmq_version(),
            node: crate::peer::version().ok(),
            rustc: Command::new("rustc")
                .arg("--version")
                .output()
                .ok()
                .map(|said| {
                    let said = String::from_utf8_lossy(&said.stdout);
                    said.split(' ').nth(1).unwrap_or_default().trim().to_owned()
                }),
            busy_before_percent: busy().await,
        })
    }

    /// Whether a commit is on disk; nothing that is measured otherwise says anything.
    pub fn is_durable(&self) -> bool {
        ["fsync", "full_page_writes", "synchronous_commit"]
            .iter()
            .all(|name| {
                self.postgresql_settings
                    .get(*name)
                    .is_some_and(|value| value == "on")
            })
    }
}

/// As the broker's own command says it, where that can be run.
fn rabbitmq_version() -> Option<String> {
    let prefix = std::env::var("TEST_RABBITMQCTL").unwrap_or_else(|_| "rabbitmqctl".into());
    let mut words = prefix.split_whitespace();
    let output = Command::new(words.next()?)
        .args(words)
        .args(["-q", "version"])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines()
        .last()
        .map(|line| line.trim().to_owned())
        .filter(|version| !version.is_empty())
}

/// The processor time of everything over a second, in percent of one core.
async fn busy() -> Option<f64> {
    let busy = || {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let fields: Vec<u64> = stat
            .lines()
            .next()?
            .split_whitespace()
            .skip(1)
            .filter_map(|f| f.parse().ok())
            .collect();
        // user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
        Some(fields.iter().take(8).sum::<u64>() - fields.get(3)? - fields.get(4)?)
    };
    let before = busy()?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    Some((busy()? - before) as f64 / 2.0)
}

#[derive(Serialize)]
struct Results<'a> {
    version: &'static str,
    at: String,
    quick: bool,
    rounds: u32,
    machine: &'a Machine,
    targets: Vec<Line>,
    figures: &'a BTreeMap<String, Vec<f64>>,
}

/// Writes the file of this run; where. Runs that are quick or partial say so in their names and are
/// not kept by git.
pub fn write(
    figures: &Figures,
    machine: &Machine,
    kind: &str,
    rounds: u32,
) -> anyhow::Result<PathBuf> {
    let at =
        chrono::DateTime::from_timestamp_millis(clerk_sync::clock::now().ms()).unwrap_or_default();
    let results = Results {
        version: env!("CARGO_PKG_VERSION"),
        at: at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        quick: kind != "full",
        rounds,
        machine,
        targets: lines(figures),
        figures: figures.all(),
    };
    let prefix = if kind == "full" {
        String::new()
    } else {
        format!("{kind}-")
    };
    let name = format!(
        "benches/results/{prefix}{}.json",
        at.format("%Y-%m-%dT%H%MZ")
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
    std::fs::create_dir_all("benches/results")?;
    std::fs::write(path, serde_json::to_string_pretty(&results)? + "\n")?;
    Ok(name.into())
}

/// Says at the start what would make the figures say nothing.
pub fn warn(machine: &Machine, place: &Place) {
    if !machine.is_durable() {
        eprintln!(
            "{}: this PostgreSQL does not put commits on disk (fsync, full_page_writes, synchronous_commit): its figures say nothing",
            place.name
        );
    }
    if machine
        .busy_before_percent
        .is_some_and(|percent| percent > 10.0)
    {
        eprintln!(
            "{}: others use the processor: only ratios of one round say something",
            place.name
        );
    }
}
