//! The results of a run: a table of targets for a person, and a file for programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::comparisons::{COMPARISONS, PROCESSOR_TIME, SETTINGS, SETTINGS_FIGURES};
use crate::figures::{Figures, short};
use crate::machine::Machine;
use crate::targets::{Line, lines};

/// Every table has the servers' versions above it.
pub fn print(figures: &Figures, machine: &Machine) {
    let show = |title: &str, table: &Table| println!("{title} ({})\n{table}\n", machine.servers());
    let mut all = table(&["figure", "median", "least", "greatest"]);
    for (name, values) in figures.all() {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let median = figures.median(name).unwrap_or(f64::NAN);
        all.add_row([
            name.to_owned(),
            short(median),
            short(least),
            short(greatest),
        ]);
    }
    show("every figure", &all);
    for comparison in COMPARISONS {
        let mut rows = table(&["what", comparison.one, comparison.other, "ratio"]);
        for (what, one, other) in comparison.rows {
            if let Some(ratio) = figures.ratio(one, other) {
                let sides = [figures.median(one), figures.median(other)].map(or_dash);
                rows.add_row([*what, &sides[0], &sides[1], &short(ratio)]);
            }
        }
        if !rows.is_empty() {
            show(comparison.name, &rows);
        }
    }
    show_settings(figures, &show);
    let mut time = table(&[
        "µs of processor time per event",
        "clerk-sync",
        "RabbitMQ",
        "PostgreSQL",
    ]);
    for (what, names) in PROCESSOR_TIME {
        let [own, broker, server] = names.map(|name| or_dash(figures.median(name)));
        time.add_row([*what, &own, &broker, &server]);
    }
    show("processor time", &time);
    let mut targets = table(&["what", "target", "figure", "met"]);
    for line in lines(figures) {
        let met = line.met.map_or("", |met| if met { "yes" } else { "no" });
        let figure = line.figure.map_or("not measured".to_owned(), short);
        targets.add_row([line.what, &line.target, &figure, met]);
    }
    show("targets", &targets);
}

fn show_settings(figures: &Figures, show: &impl Fn(&str, &Table)) {
    let header = SETTINGS_FIGURES.iter().map(|(header, _)| *header);
    let mut rows = table(
        &std::iter::once("RabbitMQ")
            .chain(header)
            .collect::<Vec<_>>(),
    );
    for (what, prefix) in SETTINGS {
        let figure = |end: &str| figures.median(&format!("{prefix}.{end}"));
        let figures: Vec<_> = SETTINGS_FIGURES
            .iter()
            .map(|(_, end)| figure(end))
            .collect();
        if figures.iter().any(Option::is_some) {
            let cells = figures.into_iter().map(or_dash);
            rows.add_row(std::iter::once((*what).to_owned()).chain(cells));
        }
    }
    if !rows.is_empty() {
        show("settings", &rows);
    }
}

fn or_dash(figure: Option<f64>) -> String {
    figure.map_or("–".to_owned(), short)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[derive(Serialize)]
struct Results<'a> {
    version: &'static str,
    at: String,
    quick: bool,
    rounds: u32,
    machine: &'a Machine,
    targets: Vec<Line>,
    figures: BTreeMap<&'a str, Vec<f64>>,
}

/// Writes the file of this run; where. Runs that are quick or partial say so in their names and are
/// not kept by git; one of the settings alone says so, and is.
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
