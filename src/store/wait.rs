//! Waiting for a row that does not exist yet, and for changes: in one process, one task follows the
//! database for all who wait, and runs while there are any.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::database::dispatch;
use super::database_row::DatabaseRow;
use super::rows::TableRow;
use super::waiters::{ChangeSignal, Waiters};
use super::write::Write;
use super::{Store, StoreError};
use crate::clerk::{ClerkId, Table};

/// Longest wait for the answer to a query for all rows. It is made again.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);

impl Store {
    /// The row, as soon as it exists, written by this process or by another. Returns `None` if
    /// there is none at `until`. An outage in between is no error. Dropped at any time, it leaves
    /// nothing behind.
    ///
    /// # Errors
    /// Fails if the database does not answer at `until`, or cannot be used, or the store is closed.
    pub async fn wait_for_row(
        &self,
        table: &'static Table,
        id: &ClerkId,
        until: Instant,
    ) -> Result<Option<TableRow>, StoreError> {
        let waiters = self.waiters();
        // Before the first look, so that no commit comes between the two.
        let wait = waiters.for_row(table, id);
        self.follow();
        loop {
            let is_last = Instant::now() >= until;
            match self.row(table, id).await {
                Ok(None) if !is_last => {}
                // The task queries for all who met the outage.
                Err(StoreError::Unavailable(_)) if !is_last && !waiters.is_closed() => {
                    waiters.want_query();
                }
                found => return found,
            }
            // Woken or not, it looks once more.
            let _is_woken = timeout_at(until, wait.woken()).await;
        }
    }

    /// A signal for one who reads the change feed: after each commit that may have written changes, by
    /// this process or by another. Make it before the first read, so that no commit comes between the two.
    pub fn change_signal(&self) -> ChangeSignal {
        let signal = self.waiters().for_changes();
        self.follow();
        signal
    }

    /// Wakes those in this process who wait for what was just committed. It costs nothing while
    /// no one waits, and needs no notification.
    pub(super) fn wake_for(&self, write: &Write) {
        let waiters = self.waiters();
        let changes = write.changes.iter();
        waiters.wake_rows(changes.map(|change| change.clerk_id.as_str()));
        waiters.wake_changes();
    }

    fn waiters(&self) -> &Arc<Waiters> {
        dispatch!(self, store => &store.waiters)
    }

    /// Has a task follow the database, unless one does.
    fn follow(&self) {
        let store = self.clone();
        self.waiters().follow(move |task| {
            let store = store.clone();
            async move {
                let (store, query) = (&store, || store.query_waited());
                dispatch!(store, database => database.follow(task, query).await);
            }
        });
    }

    /// Finds out which of the rows that are waited for are there, by one query for each table, and
    /// wakes their waiters.
    async fn query_waited(&self) -> Result<(), StoreError> {
        for (table, ids) in self.waiters().rows() {
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            let binds = [ids.into()];
            let statement = self.queries().of(table).existing_rows.clone();
            let rows = self.query_statement(statement, &binds, DatabaseRow::clerk_id);
            let rows = timeout(QUERY_TIMEOUT, rows).await;
            let rows = rows.unwrap_or_else(|_| {
                Err(StoreError::Unavailable("it does not answer in time".into()))
            })?;
            self.waiters().wake_rows(rows.iter().map(ClerkId::as_str));
        }
        Ok(())
    }
}
