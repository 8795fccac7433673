//! One row of any table, and its history, as commands print them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};

use super::arguments::{PageArgs, read_clerk_id};
use super::output::{self, Cell, Column, Table, or_dash};
use super::terminal;
use crate::clerk::{ClerkId, Table as Synced, Timestamp, Value};
use crate::clock::now;
use crate::escape::visible;
use crate::format;
use crate::store::{HistoryRow, Sort, Store, TableRow, Time};

/// Reads the ID of a row.
///
/// # Errors
///
/// If it is none.
pub fn clerk_id(id: &str) -> anyhow::Result<ClerkId> {
    read_clerk_id(id).map_err(anyhow::Error::msg)
}

/// The error for an ID without a row.
pub fn no_row(table: &Synced, id: &str, source: &str) -> anyhow::Error {
    let Synced {
        singular, plural, ..
    } = table;
    anyhow!("no {singular} has the ID {id}{source}; see `clerk-sync {plural} list`")
}

/// Prints one row, with every column.
///
/// # Errors
///
/// If there is none, or the database does not answer.
pub async fn show(
    table: &'static Synced,
    id: &str,
    json: bool,
    store: &Store,
    source: &str,
) -> anyhow::Result<ExitCode> {
    let row = store.row(table, &clerk_id(id)?).await?;
    let row = row.ok_or_else(|| no_row(table, id, source))?;
    print_row(&row, json)
}

/// Prints a row, with every column.
///
/// # Errors
///
/// If it cannot be printed.
pub fn print_row(row: &TableRow, json: bool) -> anyhow::Result<ExitCode> {
    output::print_one(row, json, || of_row(row, now()))
}

/// Prints what each event about a row did and why.
///
/// # Errors
///
/// If there is neither the row nor an event about it, or the database does not answer.
pub async fn history(
    table: &'static Synced,
    id: &str,
    page: &PageArgs,
    store: &Store,
    source: &str,
) -> anyhow::Result<ExitCode> {
    let usual = Sort::NEWEST_EVENTS;
    let (clerk_id, (part, _)) = (clerk_id(id)?, page.page_in(Some(usual), usual)?);
    let listing = store.history(table, &clerk_id, &part).await?;
    let is_empty = listing.rows.is_empty() && part.after.is_none();
    let Synced {
        singular, plural, ..
    } = table;
    if is_empty && store.row(table, &clerk_id).await?.is_none() {
        bail!(
            "no {singular} has the ID {id}, and no event is about one{source}; see `clerk-sync {plural} list`"
        );
    }
    let none =
        format!("No events of this {singular} are kept (EVENT_RETENTION_DAYS says for how long).");
    output::print_listing(&listing, page.json, &none, |rows| {
        of_history(rows, now(), page.wide)
    })
}

/// A line for an event, and below it what it did.
fn of_history(history: &[HistoryRow], now: Timestamp, wide: bool) -> Table {
    const COLUMNS: [Column; 6] = [
        Column::new("RECEIVED").first_out(1),
        Column::new("AGE").last_out(2),
        Column::new("STATUS"),
        Column::new("TYPE").at_least(12).keeping_end(),
        Column::new("LAG").last_out(1),
        Column::new("EVENT ID"),
    ];
    let rows = history.iter().map(|HistoryRow { event, lag_ms, .. }| {
        vec![
            Cell::new(output::local(event.received_at)),
            Cell::new(output::age(event.received_at, now)),
            Cell::of_status(event.status, event.status.as_str()),
            Cell::new(&event.event_type),
            Cell::new(format::duration(Duration::from_millis(*lag_ms))),
            Cell::new(&event.event_id),
        ]
    });
    let table = output::of_columns(&COLUMNS, rows, wide);
    let what = history.iter().map(|row| match &row.changed {
        None => row.why.clone(),
        Some(names) if names.is_empty() => format!("{}; no field differs", row.why),
        Some(names) => format!("{}: {}", row.why, names.join(", ")),
    });
    let width = terminal::width();
    let below = |what: String| terminal::wrapped(&visible(&what), INDENT.len(), width);
    let below = what.map(|what| format!("{INDENT}{}\n", below(what)));
    let lines = table
        .text
        .lines()
        .zip(std::iter::once(String::new()).chain(below));
    Table {
        text: lines
            .map(|(line, below)| format!("{line}\n{below}"))
            .collect(),
        ..table
    }
}

/// Before the line that says what an event did.
const INDENT: &str = "   ";

/// Every column of a row.
fn of_row(row: &TableRow, now: Timestamp) -> String {
    let time = |value| or_dash(Option::map(value, |time| output::local_and_age(time, now)));
    // A contact and whether it is verified are one line.
    let is_verified = |column| row.boolean(&format!("{column}_verified"));
    let columns = row.table.columns.iter().zip(&row.values);
    let shown = columns.filter(|(column, _)| !column.name.ends_with("_verified"));
    let own = shown.map(|(column, value)| {
        let text = match value {
            Value::Null => "-".into(),
            Value::Text(contact) if matches!(column.name, "email" | "phone") => {
                let not = if is_verified(column.name) == Some(true) {
                    ""
                } else {
                    "not "
                };
                format!("{contact} ({not}verified)")
            }
            Value::Text(text) | Value::Json(text) => text.to_string(),
            Value::Boolean(value) => value.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Time(at) => time(Some(Time(*at))),
        };
        (column.name, text)
    });
    // A row that was read from Clerk's list has none.
    let occurred_at = row.occurred_at.filter(|time| time.0 != Timestamp::MIN);
    let last = [
        ("updated_at", time(row.updated_at)),
        ("deleted_at", time(row.deleted_at)),
        ("event_id", or_dash(row.event_id.as_ref())),
        ("occurred_at", time(occurred_at)),
        ("synced_at", time(Some(row.synced_at))),
        ("erased_at", time(row.erased_at)),
        ("data", "the whole object: --json".into()),
    ];
    let first = [("clerk_id", row.clerk_id.clone())];
    let fields: Vec<_> = first.into_iter().chain(own).chain(last).collect();
    output::of_fields(&fields)
}
