//! The turn to publish changes: one process has it at a time, so that the changes of a row are
//! published in order.

use std::num::NonZeroU32;

use super::change_generation::PUBLISHED;
use super::changes::ChangeRow;
use super::{Store, StoreError, postgres, sqlite};

/// Changes that are to be published, and the right to do it. Dropped, the right ends, and the
/// changes are published again.
pub struct PublishTurn {
    store: Store,
    lock: Lock,
    changes: Vec<ChangeRow>,
}

enum Lock {
    Postgres(postgres::changes::Turn),
    Sqlite(sqlite::changes::Turn),
}

impl Store {
    /// Takes the turn to publish the oldest changes that are not, at most `limit`. Returns `None` if
    /// there are none, or if another process has the turn.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn take_publish_turn(
        &self,
        limit: NonZeroU32,
    ) -> Result<Option<PublishTurn>, StoreError> {
        let marks = self.change_marks().await?;
        if marks.newest <= marks.published {
            return Ok(None);
        }
        let taken = match self {
            Self::Postgres(store) => {
                let turn = store.take_publish_turn().await?;
                turn.map(|turn| (turn.published, Lock::Postgres(turn)))
            }
            Self::Sqlite(store) => match store.take_publish_turn()? {
                // Read again: the process before may have published more.
                Some(turn) => Some((self.change_marks().await?.published, Lock::Sqlite(turn))),
                None => None,
            },
        };
        let Some((published, lock)) = taken else {
            return Ok(None);
        };
        let (until, _) = self.settled().await?;
        let turn = PublishTurn {
            store: self.clone(),
            lock,
            changes: self.changes_between(published, until, None, limit).await?,
        };
        if turn.changes.is_empty() {
            turn.end().await?;
            return Ok(None);
        }
        Ok(Some(turn))
    }
}

impl PublishTurn {
    /// The changes to publish, in their order; never empty.
    pub fn changes(&self) -> &[ChangeRow] {
        &self.changes
    }

    /// Records that all of them are published, and ends the turn.
    ///
    /// # Errors
    /// Fails if the database refuses it: they are published again.
    pub async fn record_published(self) -> Result<(), StoreError> {
        let Some(last) = self.changes.last() else {
            return Ok(());
        };
        match (self.lock, &self.store) {
            (Lock::Postgres(turn), _) => turn.record_published(last.id).await,
            (Lock::Sqlite(_held), store) => store.set(PUBLISHED, &last.id.to_string()).await,
        }
    }

    async fn end(self) -> Result<(), StoreError> {
        match self.lock {
            Lock::Postgres(turn) => turn.end("rollback").await,
            Lock::Sqlite(_) => Ok(()),
        }
    }
}
