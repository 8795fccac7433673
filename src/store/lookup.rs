//! Reads the versions of many rows at once, to compare a table with Clerk's list.

use std::num::NonZeroU32;

use super::database_row::DatabaseRow;
use super::{Store, StoreError};
use crate::clerk::tables::users;
use crate::clerk::{ClerkId, RowVersion, Timestamp, Value};

/// A row, as far as a change is compared with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRow {
    /// Clerk's ID.
    pub clerk_id: ClerkId,
    /// Its version, and whether it is deleted or erased.
    pub state: RowVersion,
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
    /// What is known of these users, in no order. Those without a row are left out.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn known(&self, ids: &[ClerkId]) -> Result<Vec<KnownRow>, StoreError> {
        let ids: Vec<_> = ids.iter().map(ClerkId::as_str).collect();
        let read = |row: &DatabaseRow| {
            let compared = users::TABLE.compared().map(|column| row.value(column));
            Ok(KnownRow {
                clerk_id: row.clerk_id()?,
                state: row.state()?,
                compared: compared.collect::<Result<_, _>>()?,
            })
        };
        self.query(|sql| &sql.known_rows, &[ids.into()], read).await
    }

    /// Up to `limit` users that are not deleted, by `clerk_id`, after this one.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn live(
        &self,
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
        self.query(|sql| &sql.live_rows, &binds, read).await
    }
}
