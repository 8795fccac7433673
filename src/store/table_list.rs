//! Lists of rows of any table, the newest Clerk ID first, and one row of any table.

use sqlx::SqlStr;

use super::bind::Bind;
use super::filter::{Cursor, Listing, Page};
use super::list_statement::{ListStatement, Part};
use super::queries::statement;
use super::read::first;
use super::rows::TableRow;
use super::table_filter::TableFilter;
use super::template::{self, Dialect};
use super::{Store, StoreError};
use crate::clerk::table::View;
use crate::clerk::{ClerkId, Table};
use crate::clock::now;

impl Store {
    /// One row of a table. Returns `None` if there is none.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn row(
        &self,
        table: &'static Table,
        id: &ClerkId,
    ) -> Result<Option<TableRow>, StoreError> {
        let sql = self.queries().of(table).row.clone();
        let rows = self.rows_of(table, sql, &[id.as_str().into()]).await?;
        self.check_visible(table.name, rows).await.map(first)
    }

    /// Rows by `clerk_id`, newest first: Clerk's IDs grow with time. Without `data` unless it is
    /// asked for: then it is not read at all.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn rows(
        &self,
        table: &'static Table,
        filter: &TableFilter,
        page: &Page,
        with_data: bool,
    ) -> Result<Listing<TableRow>, StoreError> {
        let dialect = self.dialect();
        let part = Part {
            filter,
            after: match &page.after {
                Some(Cursor::Row { clerk_id, .. }) => Some(clerk_id),
                _ => None,
            },
            limit: i64::from(page.limit.get()) + 1,
            with_data,
            now: now(),
        };
        let list = match filter.term() {
            None => ListStatement::list(table, dialect, &part),
            Some(term) if self.is_common_in(table, term).await? => {
                ListStatement::search_in_order(table, dialect, &part, term)
            }
            Some(term) => ListStatement::search(table, dialect, &part, term),
        };
        let sql = self.rendered(table, &list.sql);
        let rows = self.rows_of(table, sql, &list.binds).await?;
        let rows = self.check_visible(table.name, rows).await?;
        Ok(Listing::of(rows, page, |row| {
            Some(Cursor::Row {
                table,
                clerk_id: row.clerk_id.clone(),
            })
        }))
    }

    /// The rows of a view of a table that have this value in a column, without `data`, the oldest
    /// Clerk ID first.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn rows_of_view(
        &self,
        table: &'static Table,
        view: &View,
        column: &str,
        value: &str,
    ) -> Result<Vec<TableRow>, StoreError> {
        let (schema, parameter) = match self {
            Self::Postgres(_) => ("clerk.", "$1"),
            Self::Sqlite(_) => ("", "?1"),
        };
        let view = view.name;
        let sql = format!(
            "select <listed>, null as data from {schema}{view} where {column} = {parameter} order by clerk_id"
        );
        let sql = self.rendered(table, &sql);
        self.rows_of(table, sql, &[value.into()]).await
    }

    async fn rows_of(
        &self,
        table: &'static Table,
        sql: SqlStr,
        binds: &[Bind<'_>],
    ) -> Result<Vec<TableRow>, StoreError> {
        self.query_statement(sql, binds, |row| TableRow::read(row, table))
            .await
    }

    /// Whether many rows begin with what was typed.
    async fn is_common_in(&self, table: &'static Table, term: &str) -> Result<bool, StoreError> {
        let count = ListStatement::is_common(table, self.dialect(), term);
        let sql = self.rendered(table, &count.sql);
        let answer = self.query_statement(sql, &count.binds, |row| row.get("is_common"));
        Ok(first(answer.await?) == Some(true))
    }

    fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    fn rendered(&self, table: &'static Table, sql: &str) -> SqlStr {
        match self {
            Self::Postgres(store) => store.list_of(table, sql),
            Self::Sqlite(_) => statement(template::render(sql, table, Dialect::Sqlite, &[])),
        }
    }
}
