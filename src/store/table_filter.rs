//! `TableFilter`: which rows of any table a list has. Pure.

use crate::clerk::Column;

/// Selects rows of a table. Every part that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct TableFilter {
    /// The values of columns; case does not count in a column that is folded.
    pub values: Vec<(&'static Column, String)>,
    /// What a person typed: the beginning of a Clerk ID, or of a column that is searched. Case
    /// counts in IDs alone.
    pub q: Option<String>,
    /// Only rows with one of these Clerk IDs.
    pub ids: Option<Vec<String>>,
    /// Only deleted ones, only the others, or with `None` both.
    pub deleted: Option<bool>,
    /// Only expired ones, only the others, or with `None` both. Of a table with such a column.
    pub expired: Option<bool>,
}

impl TableFilter {
    /// Rows that have this value in a column.
    pub fn by(column: &'static Column, value: impl Into<String>) -> Self {
        Self {
            values: vec![(column, value.into())],
            ..Self::default()
        }
    }

    /// The column whose index has the rows in the order of their IDs: the only indexed one that is
    /// asked for, if it names another row. Returns `None` if there is none.
    pub(super) fn leading(&self) -> Option<&'static Column> {
        let mut indexed = self.indexed();
        let column = indexed.next()?;
        let is_only = indexed.next().is_none() && self.ids.is_none();
        (is_only && column.id_of.is_some()).then_some(column)
    }

    /// The columns that are asked for and have an index.
    pub(super) fn indexed(&self) -> impl Iterator<Item = &'static Column> {
        let columns = self.values.iter().map(|(column, _)| *column);
        columns.filter(|column| column.is_indexed)
    }

    /// What is searched for. Returns `None` for white space alone.
    pub(super) fn term(&self) -> Option<&str> {
        let term = self.q.as_deref()?.trim();
        (!term.is_empty()).then_some(term)
    }
}
