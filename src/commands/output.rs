//! What commands print: tables and lists for people, JSON for programs.
//!
//! What came from outside is shown by `visible`: cells, fields and lines on standard error all go
//! through it here. A reader that has read enough, such as `head`, is no error and changes no exit
//! status.
//!
//! Color only on a terminal, and not if NO_COLOR (no-color.org) refuses it: it never has a meaning
//! alone.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use chrono::DateTime;
use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::clerk::Timestamp;
use crate::escape::{visible, visible_json, visible_json_lines};
use crate::format;
use crate::store::{Listing, Status, Time};

/// Space around a cell, in characters.
const PADDING: u16 = 2;

/// Width of the last column on a terminal that is too narrow for all of them; its own lines then
/// break.
const LAST_COLUMN_MIN: u16 = 30;

/// Writes to standard output. What is in it from outside must be `visible` already.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write to standard output"),
    }
}

/// Writes one line to standard error. Errors are ignored: there is nowhere else to report them.
pub fn note(line: &str) {
    let line = format!("{}\n", visible(line));
    drop(io::stderr().lock().write_all(line.as_bytes()));
}

/// Writes one JSON object per line.
pub fn print_json_lines(rows: &[impl Serialize]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for row in rows {
        lines += &visible_json(&serde_json::to_string(row)?);
        lines.push('\n');
    }
    print(&lines)
}

/// Writes one JSON document.
pub fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    print(&format!(
        "{}\n",
        visible_json_lines(&serde_json::to_string_pretty(document)?)
    ))
}

/// Prints the rows of a list: as JSON, one object per line, or as a table.
pub fn print_listing<T: Serialize>(
    listing: &Listing<T>,
    json: bool,
    none: &str,
    table: impl FnOnce(&[T]) -> String,
) -> anyhow::Result<ExitCode> {
    if json {
        print_json_lines(&listing.rows)?;
    } else if listing.rows.is_empty() {
        note(none);
    } else {
        print(&table(&listing.rows))?;
        if let Some(next) = &listing.next {
            note(&format!("There are more: --cursor {next}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints one JSON document, or the text for people.
pub fn print_one(
    document: &impl Serialize,
    json: bool,
    text: impl FnOnce() -> String,
) -> anyhow::Result<ExitCode> {
    if json {
        print_json(document)?;
    } else {
        print(&text())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A cell of a table.
pub struct Cell {
    text: String,
    status: Option<Status>,
}

impl Cell {
    /// A plain text.
    pub fn new(text: impl ToString) -> Self {
        Self {
            text: text.to_string(),
            status: None,
        }
    }

    /// A status, in its color.
    pub fn of_status(status: Status, text: impl ToString) -> Self {
        Self {
            status: Some(status),
            ..Self::new(text)
        }
    }

    fn shown(&self) -> comfy_table::Cell {
        let text = visible(&self.text);
        match self.status {
            Some(status) => toned(text, |cell| match status {
                Status::Applied => cell.fg(Color::Green),
                Status::Failed => cell.fg(Color::Red),
                Status::Stale | Status::Discarded => cell.fg(Color::DarkGrey),
            }),
            None => comfy_table::Cell::new(text),
        }
    }
}

/// A table for a person. Its last column keeps to the width of the terminal; the others hold what
/// one copies, whole.
pub fn of_rows(header: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(
        header
            .iter()
            .map(|name| toned(name, |cell| cell.add_attribute(Attribute::Bold))),
    );
    for row in rows {
        table.add_row(row.iter().map(Cell::shown));
    }
    let widths = table.column_max_content_widths();
    let Some((last, others)) = widths.split_last() else {
        return String::new();
    };
    for column in table.column_iter_mut().take(others.len()) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    // `None` if it is no terminal: then no line is broken.
    if let Some(width) = table.width() {
        let needed = others.iter().map(|width| width + PADDING).sum::<u16>()
            + last.min(&LAST_COLUMN_MIN)
            + PADDING;
        table.set_width(width.max(needed));
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

fn toned(
    text: impl ToString,
    tone: impl FnOnce(comfy_table::Cell) -> comfy_table::Cell,
) -> comfy_table::Cell {
    let cell = comfy_table::Cell::new(text);
    if has_color() { tone(cell) } else { cell }
}

/// Read from the environment here, as in every program for terminals: it is no setting of this one.
fn has_color() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    io::stdout().is_terminal() && !refused && !is_dumb
}

/// Names and values below each other, the values aligned.
pub fn of_fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", visible(value)))
        .collect()
}

/// The time in this machine's zone, to the second.
pub fn local(time: Time) -> String {
    let utc = DateTime::from_timestamp_millis(time.0.ms()).unwrap_or_default();
    utc.with_timezone(&chrono::Local)
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// The same with its age.
pub fn local_and_age(time: Time, now: Timestamp) -> String {
    format!("{} ({})", local(time), age(time, now))
}

/// How long ago the time was.
pub fn age(time: Time, now: Timestamp) -> String {
    format::age(now.ms() - time.0.ms())
}

/// The value, or a dash if there is none.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_outside_is_shown_by_number() {
        let rows = [vec![
            Cell::new("msg_1"),
            Cell::of_status(Status::Failed, "x\n\u{1b}[2Jy"),
        ]];
        assert_eq!(
            of_rows(&["ID", "STATUS"], rows),
            " ID     STATUS\n msg_1  x\\u000a\\u001b[2Jy\n"
        );
        assert_eq!(
            of_fields(&[("name", "Ada\u{202e}\nname  Bob".into())]),
            "name  Ada\\u202e\\u000aname  Bob\n"
        );
    }

    #[test]
    fn what_one_copies_stays_whole() {
        let rows = [vec![
            Cell::new("msg_3MXmBdXuz4eWlGqrUKzXHxEWh1C"),
            Cell::new("-"),
        ]];
        assert_eq!(
            of_rows(&["EVENT ID", "WHY"], rows),
            " EVENT ID                         WHY\n msg_3MXmBdXuz4eWlGqrUKzXHxEWh1C  -\n"
        );
    }
}
