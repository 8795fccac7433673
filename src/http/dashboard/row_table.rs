//! `RowTable`: rows of any table as lists show them, with the columns that they are found by. And
//! the lists that the page of a row has of the rows that name it.

use std::num::NonZeroU32;

use super::names::{Names, name_of};
use super::page_query::PageQuery;
use super::view_models::{Badge, RowLink, When};
use crate::clerk::{Column, Table, Timestamp, Value, tables};
use crate::format;
use crate::store::{Page, Store, StoreError, TableFilter, TableRow, Time};

/// Rows of one table.
pub struct RowTable {
    /// What the first column has: the names of the rows, or their IDs.
    pub first: String,
    /// Whether the rows have names.
    pub has_names: bool,
    /// The other columns, and whether each has the IDs of other rows.
    pub columns: Vec<(String, bool)>,
    pub rows: Vec<RowLine>,
}

/// A row.
pub struct RowLine {
    pub link: RowLink,
    pub flags: Vec<Badge>,
    /// Each with the name of its column.
    pub cells: Vec<(String, Cell)>,
    pub updated: Option<When>,
}

/// The value of a column.
pub enum Cell {
    Absent,
    Text(String),
    Time(When),
    /// The ID of another row.
    Link(RowLink),
}

impl Cell {
    /// The value of a column of a row as it looks at `now`.
    pub fn of(row: &TableRow, column: &Column, names: &Names, now: Timestamp) -> Self {
        let other = column.id_of.and_then(tables::named);
        match (row.value(column.name), other) {
            (Value::Null, _) => Self::Absent,
            (Value::Text(id), Some(table)) => {
                Self::Link(RowLink::of(table, id, names.of(table, id)))
            }
            (Value::Text(text) | Value::Json(text), _) => Self::Text(text.to_string()),
            (Value::Boolean(true), _) => Self::Text("yes".into()),
            (Value::Boolean(false), _) => Self::Text("no".into()),
            (Value::Integer(number), _) => Self::Text(number.to_string()),
            (Value::Time(time), _) => Self::Time(When::at(Time(*time), now)),
        }
    }
}

impl RowTable {
    /// The rows as they look at `now`, with the names of those that they name. `without` is a
    /// column that is the same in all.
    pub fn of(
        table: &'static Table,
        rows: &[TableRow],
        names: &Names,
        without: Option<&Column>,
        now: Timestamp,
    ) -> Self {
        let named_by = name_column(table);
        let is_shown = |column: &&Column| {
            let is_other = |other: Option<&Column>| other.is_none_or(|it| it.name != column.name);
            let is_listed = column.is_filtered || column.is_searched || column.is_expiry;
            is_listed && is_other(without) && is_other(named_by)
        };
        let columns: Vec<_> = table.columns.iter().filter(is_shown).collect();
        let line = |row: &TableRow| RowLine {
            link: RowLink::of(table, &row.clerk_id, name_of(row)),
            flags: flags(row),
            cells: columns
                .iter()
                .map(|column| (label(column.name), Cell::of(row, column, names, now)))
                .collect(),
            updated: row.updated_at.map(|time| When::at(time, now)),
        };
        Self {
            first: named_by.map_or("Clerk ID".into(), |column| label(column.name)),
            has_names: named_by.is_some(),
            columns: columns
                .iter()
                .map(|column| (label(column.name), column.id_of.is_some()))
                .collect(),
            rows: rows.iter().map(line).collect(),
        }
    }
}

/// The column that holds what people call a row.
fn name_column(table: &Table) -> Option<&'static Column> {
    table.columns.iter().find(|column| column.is_folded)
}

/// What a person should know of a row at once.
pub fn flags(row: &TableRow) -> Vec<Badge> {
    let deleted = Badge {
        class: "discarded",
        word: "deleted",
    };
    let flag = row.deleted_at.is_some().then_some(deleted);
    flag.into_iter().collect()
}

/// What people call a column: `Organization` of `organization_id`.
pub fn label(column: &str) -> String {
    let short = column.strip_suffix("_id").or(column.strip_suffix("_at"));
    let words = short.unwrap_or(column).replace('_', " ");
    format::capitalized(&words.replace("url", "URL"))
}

/// The rows that name a row, on its page.
pub struct Related {
    /// The table's name in addresses and texts.
    pub plural: &'static str,
    pub heading: String,
    /// Where all of them are.
    pub all: String,
    pub table: RowTable,
    pub has_more: bool,
}

/// Rows of each list.
const SHOWN: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

impl Related {
    /// The newest rows of each table that name this one, without deleted ones.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn of(
        store: &Store,
        table: &Table,
        id: &str,
        now: Timestamp,
    ) -> Result<Vec<Self>, StoreError> {
        let mut all = Vec::new();
        for (other, column) in tables::lists_of(table) {
            let filter = TableFilter {
                deleted: Some(false),
                ..TableFilter::by(column, id)
            };
            let page = Page {
                limit: SHOWN,
                after: None,
            };
            let listing = store.rows(other, &filter, &page, false).await?;
            let names = Names::of_rows(store, &listing.rows).await?;
            let query = PageQuery::of([(column.name, id)]);
            all.push(Self {
                plural: other.plural,
                heading: format::capitalized(other.plural),
                all: query.on(&format!("/{}", other.plural)),
                table: RowTable::of(other, &listing.rows, &names, Some(column), now),
                has_more: listing.next.is_some(),
            });
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_called_as_people_do() {
        for (column, name) in [
            ("organization_id", "Organization"),
            ("email_address", "Email address"),
            ("expires_at", "Expires"),
            ("image_url", "Image URL"),
            ("role", "Role"),
        ] {
            assert_eq!(label(column), name);
        }
    }

    #[test]
    fn what_a_list_shows_follows_from_the_columns() {
        let columns = |table, without: Option<&str>| {
            let without =
                without.and_then(|name| tables::organization_memberships::TABLE.place(name));
            let without =
                without.map(|place| &tables::organization_memberships::TABLE.columns[place]);
            let shown = RowTable::of(table, &[], &Names::default(), without, Timestamp::MIN);
            let columns = shown.columns.into_iter();
            (
                shown.first,
                columns.map(|(name, _)| name).collect::<Vec<_>>(),
            )
        };
        let memberships = &tables::organization_memberships::TABLE;
        let (first, shown) = columns(memberships, None);
        assert_eq!(
            (&*first, shown),
            (
                "Clerk ID",
                vec!["Organization".into(), "User".into(), "Role".into()]
            )
        );
        let (_, shown) = columns(memberships, Some("organization_id"));
        assert_eq!(shown, ["User", "Role"]);
        let (first, shown) = columns(&tables::organizations::TABLE, None);
        assert_eq!((&*first, shown), ("Name", vec!["Slug".into()]));
    }
}
