//! Reads the versions of many rows at once, to compare a table with Clerk's list.

use std::num::NonZeroU32;

use super::database_row::DatabaseRow;
use super::{Store, StoreError};
use crate::clerk::{ClerkId, RowVersion, Table, Timestamp, Value};

/// A row, as far as a change is compared with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRow {
    /// Clerk's ID.
    pub clerk_id: ClerkId,
    /// Its version, and whether it is deleted. A row that an erasure leaves something of is not
    /// erased here: a newer profile alters it.
    pub state: RowVersion,
    /// Whether what is personal in it was erased.
    pub is_erased: bool,
    /// One value for each column that is compared, in their order.
    pub compared: Vec<Value>,
}

/// A row that is not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRow {
    /// Clerk's ID.
    pub clerk_id: ClerkId,
    /// `None` if no profile has reached the row.
    pub created_at: Option<Timestamp>,
}

impl Store {
    /// What a table knows of these objects, in no order. Those without a row are left out.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn known(&self, table: &Table, ids: &[ClerkId]) -> Result<Vec<KnownRow>, StoreError> {
        let ids: Vec<_> = ids.iter().map(ClerkId::as_str).collect();
        let read = |row: &DatabaseRow| {
            let compared = table.compared().map(|column| row.value(column));
            let state = row.state()?;
            Ok(KnownRow {
                clerk_id: row.clerk_id()?,
                is_erased: state.is_erased,
                state: RowVersion {
                    is_erased: state.is_erased && table.is_erased_whole(),
                    ..state
                },
                compared: compared.collect::<Result<_, _>>()?,
            })
        };
        self.query(|sql| &sql.of(table).known_rows, &[ids.into()], read)
            .await
    }

    /// Up to `limit` rows of a table that are not deleted, by `clerk_id`, after this one.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn live(
        &self,
        table: &Table,
        after: Option<&ClerkId>,
        limit: NonZeroU32,
    ) -> Result<Vec<LiveRow>, StoreError> {
        // No ID is less than the empty text.
        let binds = [after.map_or("", ClerkId::as_str).into(), limit.get().into()];
        let read = |row: &DatabaseRow| {
            Ok(LiveRow {
                clerk_id: row.clerk_id()?,
                created_at: row.time("created_at")?,
            })
        };
        self.query(|sql| &sql.of(table).live_rows, &binds, read)
            .await
    }
}
