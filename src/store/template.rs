//! Renders the SQL templates with the names of one table and its columns, once. Values are never
//! rendered but bound.
//!
//! A template is an `.sql` file with marks:
//!
//! | mark | stands for |
//! | --- | --- |
//! | `{{ … }}` | the text once for each column of a profile, with `column` for its name |
//! | `<table>` | the table's name |
//! | `<row>` | the columns of a row as they are read |
//! | `<listed>` | the same without `data` |
//! | `<event>` | the columns of a row of `events` but the payload |
//! | `<columns>` | the table's own columns |
//! | `<compared>` | those that are compared with Clerk's list |
//! | `<stored>`, `<parameters>` | the own columns as PostgreSQL stores them, and their parameters from 22 on |
//! | `<deletes>` | the types of the events that delete |
//!
//! Further marks stand for a condition; the caller gives these.

use crate::clerk::{Column, Kind, Table, tables};

/// The columns of a profile that every table has.
const SHARED: [&str; 4] = ["updated_at", "data", "event_id", "occurred_at"];

const EVENT: &str = "event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, attempts, error, error_code, superseded_by";

/// The parameters of `postgres/apply.sql` before those of the table's own columns.
pub(super) const PARAMETERS_BEFORE_COLUMNS: usize = 21;

/// The database that a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// Every column of a table that a profile fills: all but the ID and our own.
pub fn profile_columns(table: &Table) -> impl Iterator<Item = &'static str> {
    table.columns.iter().map(|column| column.name).chain(SHARED)
}

/// The statement for a table, with these conditions. A condition may hold the marks of those behind
/// it.
pub fn render(
    template: &str,
    table: &Table,
    dialect: Dialect,
    conditions: &[(&str, &str)],
) -> String {
    let mut statement = String::with_capacity(template.len() * 4);
    let mut rest = template;
    while let Some((before, (pattern, after))) = rest
        .split_once("{{")
        .and_then(|(before, tail)| Some((before, tail.split_once("}}")?)))
    {
        statement += before;
        let columns = profile_columns(table);
        statement += &list(columns.map(|column| pattern.trim().replace("column", column)));
        rest = after;
    }
    statement += rest;
    for (mark, condition) in conditions {
        statement = statement.replace(mark, condition);
    }
    let own = |write: fn(&Column) -> String| list(table.columns.iter().map(write));
    let name = |column: &Column| column.name.to_owned();
    let parameters = (PARAMETERS_BEFORE_COLUMNS + 1..).zip(table.columns);
    for (mark, text) in [
        ("<table>", table.name.to_owned()),
        ("<row>", row(table, dialect, |_| true)),
        ("<listed>", row(table, dialect, |name| name != "data")),
        ("<event>", EVENT.to_owned()),
        ("<columns>", own(name)),
        ("<compared>", list(table.compared().map(name))),
        ("<stored>", own(stored)),
        (
            "<parameters>",
            list(parameters.map(|(place, column)| format!("${place}::{}[]", bound_type(column)))),
        ),
        ("<deletes>", deletes()),
    ] {
        statement = statement.replace(mark, &text);
    }
    statement
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn row(table: &Table, dialect: Dialect, is_read: fn(&str) -> bool) -> String {
    list(
        table
            .row_columns()
            .filter(|column| is_read(column.name))
            .map(|column| match (dialect, column.kind) {
                (Dialect::Postgres, Kind::Json) => format!("{0}::text as {0}", column.name),
                _ => column.name.to_owned(),
            }),
    )
}

fn stored(column: &Column) -> String {
    let cast = if column.kind == Kind::Json {
        "::jsonb"
    } else {
        ""
    };
    format!("{}{cast}", column.name)
}

/// PostgreSQL's type of a parameter. JSON is bound as text, which costs nothing to encode.
fn bound_type(column: &Column) -> &'static str {
    match column.kind {
        Kind::Text | Kind::Json => "text",
        Kind::Boolean => "boolean",
        Kind::Integer => "bigint",
        Kind::Time => "timestamptz",
    }
}

fn deletes() -> String {
    let events = tables::ALL.iter().flat_map(|table| table.events);
    list(
        events
            .filter(|kind| kind.deletes)
            .map(|kind| format!("'{}'", kind.name)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::tables::users::TABLE;

    #[test]
    fn a_template_repeats_its_pattern_for_each_column() {
        let statement = render(
            "set {{ column = case when <c> then row.column end }}, x = 1",
            &TABLE,
            Dialect::Sqlite,
            &[("<c>", "(true)")],
        );
        assert!(
            statement.starts_with("set email = case when (true) then row.email end, "),
            "{statement}"
        );
        assert!(
            statement.ends_with("occurred_at = case when (true) then row.occurred_at end, x = 1"),
            "{statement}"
        );
        assert_eq!(
            statement.matches("case").count(),
            profile_columns(&TABLE).count()
        );
    }
}
