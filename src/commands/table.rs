//! What commands print: tables and lists for people, JSON for programs.

use std::io::{self, ErrorKind, Write};

use chrono::DateTime;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::store::Time;

/// Writes to standard output. A reader that has seen enough, such as `head`, is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Writes one JSON object a line.
pub fn print_json_lines(rows: &[impl Serialize]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for row in rows {
        lines += &serde_json::to_string(row)?;
        lines.push('\n');
    }
    Ok(print(&lines)?)
}

/// Writes one JSON document.
pub fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(document)?))?)
}

/// A table for a person; its cells keep to the width of the terminal.
pub fn of_rows(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// Names and values below each other, the values aligned.
pub fn of_fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// The time in this machine's zone, to the second.
pub fn local(time: Time) -> String {
    let utc = DateTime::from_timestamp_millis(time.0.ms()).unwrap_or_default();
    utc.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The value, or a dash where there is none.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}
