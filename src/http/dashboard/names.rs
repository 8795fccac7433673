//! The names of rows, to be shown beside their IDs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;

use crate::clerk::{Table, tables};
use crate::store::{EventRow, Page, Store, StoreError, TableFilter, TableRow};

/// Names by the name of a table and a Clerk ID.
#[derive(Default)]
pub struct Names(HashMap<(&'static str, String), String>);

impl Names {
    /// The name of a row, if it is known.
    pub fn of(&self, table: &Table, id: &str) -> Option<String> {
        self.0.get(&(table.name, id.to_owned())).cloned()
    }

    /// The names of these rows, by one query for each table that has names. Rows without one are
    /// left out, and deleted ones: of them the ID is enough.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn read<'i>(
        store: &Store,
        ids: impl IntoIterator<Item = (&'static Table, &'i str)>,
    ) -> Result<Self, StoreError> {
        let mut of_tables = BTreeMap::<_, (&'static Table, BTreeSet<&str>)>::new();
        for (table, id) in ids.into_iter().filter(|(table, _)| has_names(table)) {
            let (_, ids) = of_tables
                .entry(table.name)
                .or_insert_with(|| (table, BTreeSet::new()));
            ids.insert(id);
        }
        let mut names = Self::default();
        for (table, ids) in of_tables.into_values() {
            let count = u32::try_from(ids.len()).ok().and_then(NonZeroU32::new);
            let Some(limit) = count else { continue };
            let filter = TableFilter {
                ids: Some(ids.into_iter().map(str::to_owned).collect()),
                deleted: Some(false),
                ..TableFilter::default()
            };
            let page = Page { limit, after: None };
            let rows = store.rows(table, &filter, &page, false).await?.rows;
            let named = rows.into_iter().filter_map(|row| {
                let name = name_of(&row)?;
                Some(((table.name, row.clerk_id), name))
            });
            names.0.extend(named);
        }
        Ok(names)
    }

    /// The names of the rows that events are about.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn of_events(store: &Store, events: &[EventRow]) -> Result<Self, StoreError> {
        let ids = events.iter().filter_map(|event| {
            let id = event.clerk_id.as_deref()?;
            Some((table_of(&event.event_type), id))
        });
        Self::read(store, ids).await
    }

    /// The names of the rows whose IDs are in the columns of these.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn of_rows(store: &Store, rows: &[TableRow]) -> Result<Self, StoreError> {
        let ids = rows.iter().flat_map(|row| {
            let columns = row.table.columns.iter();
            columns.filter_map(|column| {
                let table = tables::named(column.id_of?)?;
                Some((table, row.text(column.name)?))
            })
        });
        Self::read(store, ids).await
    }
}

/// The table of the row that events of this type are about: of unreadable ones that of users, as
/// they are routed.
pub fn table_of(event_type: &str) -> &'static Table {
    tables::of_event(event_type).map_or(&tables::users::TABLE, |(table, _)| table)
}

/// Whether people call its rows by a name: then they look them up by it, without regard to case.
fn has_names(table: &Table) -> bool {
    table.columns.iter().any(|column| column.is_folded)
}

/// What people call a row: of a user the name, or what else is known; of another what it is looked up
/// by without regard to case. Returns `None` if nothing is known.
pub fn name_of(row: &TableRow) -> Option<String> {
    let names = [row.text("first_name"), row.text("last_name")];
    let names = names.into_iter().flatten().map(str::trim);
    let name = names.filter(|name| !name.is_empty());
    let name = name.collect::<Vec<_>>().join(" ");
    let others = ["username", "email", "phone"].map(|column| row.text(column));
    let folded = row.table.columns.iter().filter(|column| column.is_folded);
    let folded = folded.map(|column| row.text(column.name));
    let all = [Some(&*name)].into_iter().chain(others).chain(folded);
    let all = all.flatten();
    let mut known = all.filter(|name| !name.trim().is_empty());
    known.next().map(str::to_owned)
}
