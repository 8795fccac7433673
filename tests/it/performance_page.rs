//! docs/performance.md has the figures of the newest full run of `scripts/bench`: of its targets,
//! and of its summary. README has some of them.

use std::path::Path;

use serde_json::Value;

const RESULTS: &str = "benches/results";

/// Figures of the summary, as written there with what follows, and what each is in the results.
const SUMMARY: &[(&str, &str)] = &[
    ("10,370", "accept.rate"),
    ("4,814", "node.receiver.rate"),
    ("4,406", "sustained.rate"),
    ("1,364", "node.queued.rate"),
    ("2,627", "node.inline.rate"),
    ("9,332", "drain.rate"),
    ("7,022", "embedded.drained"),
    ("2.4 ms", "latency.200.commit_p50_ms"),
    ("23 ms", "latency.200.commit_p99_ms"),
    ("20 MB idle", "memory.idle_mb"),
    ("60 MB over a backlog", "memory.loaded_mb"),
    ("75 MB at the highest rate", "sustained.memory_mb"),
    ("114 and", "node.receiver.memory_mb"),
    ("124 MB", "node.queued.memory_mb"),
    ("12,939", "backfill.rate"),
    ("24.7 MB", "program.size_mb"),
];

/// Figures of README that are not in the summary.
const README: &[(&str, &str)] = &[
    ("23 MB", "accept.memory_mb"),
    ("2.3 ms", "plain.latency.200.commit_p50_ms"),
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The newest results, and their file. Short and partial runs have other names.
fn newest() -> (String, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(RESULTS);
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names
        .filter(|name| name.starts_with("20") && name.ends_with(".json"))
        .max()
        .expect("results of a full run");
    let results = serde_json::from_str(&read(&format!("{RESULTS}/{name}"))).unwrap();
    (name, results)
}

/// The number in a cell such as `9,508`.
fn number(cell: &str) -> f64 {
    cell.trim()
        .replace(',', "")
        .parse()
        .unwrap_or_else(|_| panic!("no number: {cell}"))
}

/// Whether a figure is written as it was measured, to as many digits as are written. What follows
/// the number is its unit.
fn is_rounded(written: &str, measured: f64) -> bool {
    let written = written.split(' ').next().unwrap();
    let decimals = written
        .split_once('.')
        .map_or(0, |(_, digits)| digits.len());
    let half = 0.5 / 10_f64.powi(i32::try_from(decimals).unwrap());
    (number(written) - measured).abs() <= half * 1.001
}

#[test]
fn the_page_has_the_targets_of_the_newest_run() {
    let (name, results) = newest();
    let page = read("docs/performance.md");
    assert!(
        page.contains(&format!("(../{RESULTS}/{name})")),
        "{name} is not the run of the page"
    );
    let targets = results["targets"].as_array().unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.ends_with("| yes |") || line.ends_with("| no |"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells.len() == 4)
        .filter(|cells| cells[1].starts_with(['≥', '≤']))
        .collect();
    assert_eq!(rows.len(), targets.len());
    for (row, target) in rows.iter().zip(targets) {
        let is_met = if target["met"].as_bool().unwrap() {
            "yes"
        } else {
            "no"
        };
        assert_eq!(
            (row[1], row[3]),
            (target["target"].as_str().unwrap(), is_met)
        );
        let measured = target["figure"].as_f64().unwrap();
        assert!(is_rounded(row[2], measured), "{}: {measured}", row[0]);
    }
}

#[test]
fn the_summary_has_the_middle_of_the_rounds() {
    let (_, results) = newest();
    let page = read("docs/performance.md");
    let summary = page.split("## How to measure").next().unwrap();
    for (written, figure) in SUMMARY {
        assert!(summary.contains(written), "{written}: {figure}");
        let middle = middle(&results, figure);
        assert!(is_rounded(written, middle), "{figure}: {middle}");
    }
}

/// The figure of the middle round.
fn middle(results: &Value, figure: &str) -> f64 {
    let rounds = results["figures"][figure].as_array().unwrap();
    let mut rounds: Vec<f64> = rounds.iter().map(|round| round.as_f64().unwrap()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

#[test]
fn the_readme_has_figures_of_the_same_run() {
    let (name, results) = newest();
    let readme = read("README.md");
    assert!(readme.contains(&format!("({RESULTS}/{name})")), "{name}");
    let rows = readme
        .split("| | clerk-sync | compared with |")
        .nth(1)
        .unwrap();
    let rows = rows.split("\n\n").next().unwrap();
    let numbers = rows
        .split(|letter: char| !(letter.is_ascii_digit() || matches!(letter, ',' | '.')))
        .filter(|word| word.starts_with(|letter: char| letter.is_ascii_digit()));
    // At how many events per second a latency was measured is no figure.
    let numbers: Vec<_> = numbers.filter(|number| *number != "200").collect();
    assert_eq!(numbers.len(), 9);
    for number in numbers {
        let figures = SUMMARY.iter().chain(README);
        let mut figures = figures.filter(|(written, _)| written.split(' ').next() == Some(number));
        assert!(
            figures.any(|(_, figure)| is_rounded(number, middle(&results, figure))),
            "{number}"
        );
    }
}
