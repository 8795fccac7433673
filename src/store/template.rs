//! Renders the SQL templates with the names of one table and its columns, once. Values are never
//! rendered but bound.
//!
//! A template is an `.sql` file with marks:
//!
//! | mark | stands for |
//! | --- | --- |
//! | `{{ … }}` | the text once for each column of a profile, with `column` for its name |
//! | `{< … >}` | the same for each column that the change feed names |
//! | `[[ … ]]` | the text, for what an erasure leaves nothing of: in a pattern the column, elsewhere a row of the table |
//! | `<table>` | the table's name |
//! | `<row>` | the columns of a row as they are read |
//! | `<listed>` | the same without `data` |
//! | `<event>` | the columns of a row of `events` but the payload |
//! | `<columns>` | the table's own columns |
//! | `<compared>` | those that are compared with Clerk's list |
//! | `<stored>`, `<parameters>` | the own columns as PostgreSQL stores them, and their parameters from 23 on |
//! | `<own_of_row>` | the table's own columns, of `row` |
//! | `<last>` | the number of the parameter after those of the own columns |
//! | `<deletes>` | the types of the events that delete |
//! | `<bare_deletes>` | those of them that carry nothing but the ID, so nothing personal |
//! | `<events>` | the types of the events of the table |
//! | `<tables>` | the names of all synced tables, as texts |
//! | `<nothing_personal>` | sets the personal columns to null |
//! | `<owned>` | whether a row holds data of the users with the IDs or the addresses of parameters 1 and 2 |
//! | `<owner_is_erased>` | whether the data of the user whose ID the row holds is erased |
//!
//! Further marks stand for a condition; the caller gives these.

use crate::clerk::table::{EventKind, Owner};
use crate::clerk::{Column, Kind, Table, tables};

/// The columns of a profile that every table has.
const SHARED: [&str; 4] = ["updated_at", "data", "event_id", "occurred_at"];

const EVENT: &str = "event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, attempts, error, error_code, superseded_by";

/// The parameters of `postgres/apply.sql` before those of the table's own columns.
pub(super) const PARAMETERS_BEFORE_COLUMNS: usize = 22;

/// The database that a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// Every column of a table that a profile fills: all but the ID and our own.
pub fn profile_columns(table: &Table) -> impl Iterator<Item = &'static str> + Clone {
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
    // A condition may hold patterns, and a pattern conditions.
    let mut statement = template.to_owned();
    for (mark, condition) in conditions {
        statement = statement.replace(mark, condition);
    }
    statement = repeat(&statement, ("{{", "}}"), table, profile_columns(table));
    statement = repeat(&statement, ("{<", ">}"), table, named_in_changes(table));
    statement = only_if(table.is_erased_whole(), &statement);
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
        ("<own_of_row>", own(|column| format!("row.{}", column.name))),
        (
            "<last>",
            (PARAMETERS_BEFORE_COLUMNS + table.columns.len() + 1).to_string(),
        ),
        ("<events>", types(table.events.iter())),
        ("<deletes>", events(|kind| kind.deletes)),
        ("<bare_deletes>", events(|kind| !kind.has_profile)),
        ("<nothing_personal>", nothing_personal(table, dialect)),
        ("<owned>", owned(table, dialect)),
        ("<owner_is_erased>", owner_is_erased(table, dialect)),
        (
            "<tables>",
            list(tables::ALL.iter().map(|table| format!("'{}'", table.name))),
        ),
    ] {
        statement = statement.replace(mark, &text);
    }
    statement
}

/// The template with each pattern between these marks once for each of these columns.
fn repeat(
    template: &str,
    (open, close): (&str, &str),
    table: &Table,
    columns: impl Iterator<Item = &'static str> + Clone,
) -> String {
    // The time of a delete is none of a profile's columns, and stays.
    let is_erased =
        |column| table.is_erased(column) && profile_columns(table).any(|known| known == column);
    let mut statement = String::with_capacity(template.len() * 4);
    let mut rest = template;
    while let Some((before, (pattern, after))) = rest
        .split_once(open)
        .and_then(|(before, tail)| Some((before, tail.split_once(close)?)))
    {
        statement += before;
        statement += &list(columns.clone().map(|column| {
            let pattern = only_if(is_erased(column), pattern.trim());
            pattern.replace("column", column)
        }));
        rest = after;
    }
    statement + rest
}

/// The text with what is in double brackets, or without it.
fn only_if(is_kept: bool, text: &str) -> String {
    let mut parts = text.split("[[");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (optional, rest) = part.split_once("]]").unwrap_or((part, ""));
        kept += if is_kept { optional } else { "" };
        kept += rest;
    }
    kept
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
                (Dialect::Postgres, kind) if kind.is_json() => {
                    format!("{0}::text as {0}", column.name)
                }
                _ => column.name.to_owned(),
            }),
    )
}

fn stored(column: &Column) -> String {
    let cast = if column.kind.is_json() { "::jsonb" } else { "" };
    format!("{}{cast}", column.name)
}

/// PostgreSQL's type of a parameter. JSON is bound as text, which costs nothing to encode.
fn bound_type(column: &Column) -> &'static str {
    match column.kind {
        Kind::Text | Kind::Json | Kind::Texts => "text",
        Kind::Boolean => "boolean",
        Kind::Integer => "bigint",
        Kind::Time => "timestamptz",
    }
}

/// The types of these events of all tables, as texts.
fn events(is_meant: fn(&EventKind) -> bool) -> String {
    let events = tables::ALL.iter().flat_map(|table| table.events);
    types(events.filter(|kind| is_meant(kind)))
}

fn types<'a>(events: impl Iterator<Item = &'a EventKind>) -> String {
    list(events.map(|kind| format!("'{}'", kind.name)))
}

/// The columns that the change feed names: not those that are others with every event and say nothing
/// of the object.
fn named_in_changes(table: &Table) -> impl Iterator<Item = &'static str> + Clone {
    let own = table.columns.iter().map(|column| column.name);
    own.chain(["updated_at", "deleted_at"])
}

fn nothing_personal(table: &Table, dialect: Dialect) -> String {
    let personal = profile_columns(table).filter(|column| table.is_erased(column));
    let folded = (dialect == Dialect::Sqlite).then_some("folded");
    list(personal.chain(folded).map(|name| format!("{name} = null")))
}

/// Is false for a table whose rows belong to no user.
fn owned(table: &Table, dialect: Dialect) -> String {
    // An address does not count in a row that names another user: people delete an account and sign
    // up again with the same address.
    let ids = table.erased_with.iter().filter_map(|owner| match owner {
        Owner::Id(column) => Some(format!(" and {column} is null")),
        Owner::Address(_) => None,
    });
    let names_no_user: String = ids.collect();
    let owned = |owner: &Owner| match (dialect, owner) {
        (Dialect::Postgres, Owner::Id(column)) => format!("{column} = any ($1::text[])"),
        (Dialect::Postgres, Owner::Address(column)) => {
            format!(
                "lower({column}) in (select lower(address) from unnest($2::text[]) as address){names_no_user}"
            )
        }
        (Dialect::Sqlite, Owner::Id(column)) => {
            format!("{column} in (select value from json_each(?1))")
        }
        (Dialect::Sqlite, Owner::Address(column)) => {
            format!(
                "coalesce(folded ->> '$.{column}', lower({column})) in (select value from json_each(?2)){names_no_user}"
            )
        }
    };
    any(table.erased_with.iter().map(owned))
}

fn owner_is_erased(table: &Table, dialect: Dialect) -> String {
    let schema = match dialect {
        Dialect::Postgres => "clerk.",
        Dialect::Sqlite => "",
    };
    let is_erased = |owner: &Owner| {
        let Owner::Id(column) = owner else {
            return None;
        };
        Some(format!(
            "exists (select 1 from {schema}users as owner where owner.clerk_id = {schema}{}.{column} and owner.erased_at is not null)",
            table.name
        ))
    };
    any(table.erased_with.iter().filter_map(is_erased))
}

fn any(conditions: impl Iterator<Item = String>) -> String {
    let conditions: Vec<_> = conditions.collect();
    match conditions.is_empty() {
        true => "false".into(),
        false => format!("({})", conditions.join(" or ")),
    }
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
