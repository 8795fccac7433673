//! The change feed of SQLite: the turn to publish changes, and their retention.

use std::fs::{File, TryLockError};

use sqlx::Connection;

use super::store::Store;
use crate::clerk::Timestamp;
use crate::private_file;
use crate::store::StoreError;

/// The turn to publish: a lock on a file beside the database, which ends with the process.
pub struct Turn {
    _file: File,
}

impl Store {
    /// Takes the turn to publish. Returns `None` if another process has it.
    ///
    /// # Errors
    /// Fails if the file cannot be locked.
    pub(in crate::store) fn take_publish_turn(&self) -> Result<Option<Turn>, StoreError> {
        let path = self.path.with_added_extension("publishing");
        let failed = |error| {
            StoreError::Unavailable(format!("{} cannot be locked: {error}", path.display()))
        };
        let file = private_file::options().open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Turn { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// See [`crate::store::Store::prune_changes`].
    ///
    /// # Errors
    /// As there.
    pub async fn prune_changes(
        &self,
        older_than: Timestamp,
        keeps_unpublished: bool,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.write(async |connection| {
            let mut transaction = connection.begin_with("begin immediate").await?;
            let prune = sqlx::query_scalar(include_str!("prune_changes.sql"))
                .bind(older_than.ms())
                .bind(keeps_unpublished)
                .bind(limit);
            let gone: Vec<i64> = prune.fetch_all(&mut *transaction).await?;
            if let Some(last) = gone.iter().max() {
                let expire = sqlx::query(include_str!("expire_changes.sql")).bind(last);
                expire.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            Ok(gone.len() as u64)
        })
        .await
    }
}
