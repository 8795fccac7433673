//! What commands print: tables and lists for people, JSON for programs.
//!
//! What came from outside is shown by `visible`: cells, fields and lines on standard error all go
//! through it here. A reader that has read enough, such as `head`, is no error and changes no exit
//! status.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use chrono::DateTime;
use serde::Serialize;

use super::terminal;
use crate::clerk::Timestamp;
use crate::escape::{visible, visible_json, visible_json_lines};
use crate::format;
use crate::store::{Listing, Time};

pub use super::table::{Cell, Column, Table, of_columns, of_rows};

/// Writes to standard output. What is in it from outside must be `visible` already.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_while_read(text).map(drop)
}

/// The same. Returns whether it is still read.
pub fn print_while_read(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        done => done
            .map(|()| true)
            .context("cannot write to standard output"),
    }
}

/// Writes one line to standard error. Errors are ignored: there is nowhere else to report them.
pub fn note(line: &str) {
    let line = terminal::wrapped(&visible(line), 0, terminal::width());
    let line = format!("{line}\n");
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

/// Writes one JSON object. Returns whether it is still read.
pub fn print_json_line(row: &impl Serialize) -> anyhow::Result<bool> {
    let line = serde_json::to_string(row)?;
    print_while_read(&format!("{}\n", visible_json(&line)))
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
    table: impl FnOnce(&[T]) -> Table,
) -> anyhow::Result<ExitCode> {
    if json {
        print_json_lines(&listing.rows)?;
    } else if listing.rows.is_empty() {
        note(none);
    } else {
        let table = table(&listing.rows);
        print(&table.text)?;
        if !table.is_whole {
            note("The terminal is too narrow for all of it: --wide shows everything.");
        }
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

/// Names and values below each other, the values aligned.
pub fn of_fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let value = |text: &str| terminal::wrapped(&visible(text), width + 2, terminal::width());
    fields
        .iter()
        .map(|(name, text)| format!("{name:width$}  {}\n", value(text)))
        .collect()
}

/// The time in this machine's zone, to the second, with the zone.
pub fn local(time: Time) -> String {
    zoned(time, &chrono::Local)
}

fn zoned<Z: chrono::TimeZone>(time: Time, zone: &Z) -> String {
    let utc = DateTime::from_timestamp_millis(time.0.ms()).unwrap_or_default();
    let local = utc.with_timezone(zone);
    let zone = match chrono::Offset::fix(local.offset()) {
        offset if offset.local_minus_utc() == 0 => "UTC".into(),
        offset => offset.to_string(),
    };
    format!("{} {zone}", local.naive_local().format("%Y-%m-%d %H:%M:%S"))
}

/// The same with its age.
pub fn local_and_age(time: Time, now: Timestamp) -> String {
    format!("{} ({})", local(time), format::age(now.ms() - time.0.ms()))
}

/// How old it is, for a column that is called so.
pub fn age(time: Time, now: Timestamp) -> String {
    let age = format::age(now.ms() - time.0.ms());
    age.strip_suffix(" ago").unwrap_or(&age).into()
}

/// The value, or a dash if there is none.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    #[test]
    fn what_came_from_outside_is_shown_by_number() {
        assert_eq!(
            of_fields(&[("name", "Ada\u{202e}\nname  Bob".into())]),
            "name  Ada\\u202e\\u000aname  Bob\n"
        );
    }

    #[test]
    fn a_time_has_its_zone() {
        let time = Time(Timestamp::from_ms(1_795_400_000_999).unwrap());
        for (seconds, expected) in [
            (0, "2026-11-23 02:13:20 UTC"),
            (3600, "2026-11-23 03:13:20 +01:00"),
            (-12_600, "2026-11-22 22:43:20 -03:30"),
        ] {
            let zone = FixedOffset::east_opt(seconds).unwrap();
            assert_eq!(zoned(time, &zone), expected);
        }
    }
}
