//! What `fill` and `reconcile` have in common: where they read and write, and what they report
//! while they run.

use std::sync::Arc;

use serde::Serialize;

use super::clerk_api::ClerkApi;
use super::store::PatientStore;
use super::tally::Tally;
use crate::clerk::Table;
use crate::shutdown::Shutdown;
use crate::store::Store;

/// A run over some tables.
pub struct Run<'a> {
    /// Where it reads.
    pub api: Arc<ClerkApi>,
    /// Where it writes.
    pub store: &'a Store,
    /// The tables, in the order in which they are read.
    pub tables: Vec<&'static Table>,
    /// Ends it early.
    pub stop: &'a Shutdown,
    /// Whether Clerk is asked for the number of objects of each list first.
    pub with_totals: bool,
}

/// What a run reports to its caller while it runs.
pub enum Notice<'a> {
    /// It starts with this table, with so many objects if that is known.
    Table(&'static Table, Option<u64>),
    /// The objects of the table so far.
    Progress(&'static Table, Tally),
    /// A sentence for a person.
    Note(&'a str),
}

/// How far a run got with a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The list was read to its end.
    Complete,
    /// The instance has no such objects.
    Skipped,
    /// The run stopped before its end.
    #[default]
    Incomplete,
}

impl<'a> Run<'a> {
    pub(super) fn store(&self, table: &'static Table) -> PatientStore<'a> {
        PatientStore {
            store: self.store,
            table,
            patience: self.api.options().patience,
            stop: self.stop,
        }
    }

    pub(super) async fn total(&self, table: &'static Table) -> Option<u64> {
        match self.with_totals {
            true => self.api.count(table).await,
            false => None,
        }
    }
}
