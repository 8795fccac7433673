//! The change feed of PostgreSQL: which changes a reader may see, and the turn to publish them.
//!
//! IDs are drawn in one order and committed in another. A reader that has seen a change must not
//! find one with a smaller ID later. So it sees changes only up to an ID that is settled: every
//! transaction that may have drawn that ID or a smaller one has ended. A transaction of another
//! application, however long, holds nothing up.

use std::time::{Duration, Instant};

use sqlx::{Executor, Row, SqlStr};

use super::pool::PooledConnection;
use super::settling::Look;
use super::store::{Store, count};
use super::{connection, error};
use crate::clerk::Timestamp;
use crate::store::StoreError;
use crate::store::changes::Settled;

/// Between two looks at the transactions that still write, at first and at most: a large write takes
/// tens of milliseconds, and each look is a query.
const LOOK_AFTER: Duration = Duration::from_millis(3);
const LOOK_AFTER_MAX: Duration = Duration::from_millis(24);

/// Longest wait for them. A reader then sees what was settled before, and the next one waits on.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(250);

impl Store {
    /// The ID up to which every change is committed, or never will be.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub(in crate::store) async fn settled(&self) -> Result<Settled, StoreError> {
        let asked_at = Instant::now();
        // One reader looks for all that wait here. Those who came while it looked in vain do not
        // look in turn: each would take as long.
        let mut settling = self.settling.lock().await;
        if let Some(look) = &settling.last_look
            && (look.began_at >= asked_at || look.ended_at >= asked_at && !look.is_all)
        {
            return Ok(Settled {
                id: settling.settled,
                is_all: look.is_all,
                went_back: false,
            });
        }
        let began_at = Instant::now();
        let mut went_back = false;
        // What one before has not seen the end of comes first: so the feed moves on however the
        // writers overlap.
        let (pending, is_new) = match settling.pending.take() {
            Some(pending) => (pending, false),
            None => (self.newest_and_writers().await?, true),
        };
        let (newest, mut writers) = pending;
        if is_new && newest < settling.settled {
            // The database was restored from a backup, or lost its last transactions in a failover.
            settling.settled = newest;
            went_back = true;
        }
        let mut pause = LOOK_AFTER;
        while !writers.is_empty() && began_at.elapsed() < SETTLE_TIMEOUT {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AFTER_MAX);
            let now = self.writers().await?;
            writers.retain(|writer| now.contains(writer));
        }
        let is_settled = writers.is_empty();
        if is_settled {
            settling.settled = settling.settled.max(newest);
        } else {
            settling.pending = Some((newest, writers));
        }
        let is_all = is_settled && is_new;
        settling.last_look = Some(Look {
            began_at,
            ended_at: Instant::now(),
            is_all,
        });
        Ok(Settled {
            id: settling.settled,
            is_all,
            went_back,
        })
    }

    /// The newest change, and the transactions that may have drawn a smaller ID than its. In this
    /// order: one that begins in between draws a greater one.
    async fn newest_and_writers(&self) -> Result<(i64, Vec<String>), StoreError> {
        let marks = self.queries().change_marks.clone();
        let rows = self.query(marks, &[]).await?;
        let mark = |name: &str| {
            rows.first()
                .map_or(Ok(0), |row| row.try_get::<i64, _>(name))
        };
        let newest = mark("newest").and_then(|newest| Ok(newest.max(mark("expired")?)));
        Ok((newest.map_err(error::of)?, self.writers().await?))
    }

    /// Which database it is: the server's own number, and that of the database there.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub(in crate::store) async fn identity(&self) -> Result<String, StoreError> {
        let rows = self.query(self.sql().identity.clone(), &[]).await?;
        let identity = rows.first().map_or(Ok(String::new()), |row| row.try_get(0));
        identity.map_err(error::of)
    }

    async fn writers(&self) -> Result<Vec<String>, StoreError> {
        let statement = self.sql().change_writers.clone();
        let rows = self.query(statement, &[]).await?;
        let writers: Result<_, _> = rows.iter().map(|row| row.try_get(0)).collect();
        writers.map_err(error::of)
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
        let binds = [
            older_than.into(),
            Some(keeps_unpublished).into(),
            limit.into(),
        ];
        let rows = self.write(|sql| &sql.prune_changes, &binds).await?;
        count(&rows, "changes")
    }

    /// Takes the turn to publish. Returns `None` if another process has it.
    ///
    /// # Errors
    /// Fails if the server refuses it.
    pub(in crate::store) async fn take_publish_turn(&self) -> Result<Option<Turn>, StoreError> {
        // Dropped, the connection is closed, and the server ends what it began.
        let mut turn = Turn {
            connection: self.writer().await?,
            published: 0,
            keep: self.sql().set_published.clone(),
        };
        let take = self.sql().take_publish_turn.clone();
        let connection = turn.connection.connection();
        connection::within(connection.execute(BEGIN)).await?;
        let taken = connection::within(sqlx::query(take).fetch_optional(connection)).await?;
        let Some(row) = taken else {
            turn.end("rollback").await?;
            return Ok(None);
        };
        turn.published = row.try_get("published").map_err(error::of)?;
        Ok(Some(turn))
    }
}

/// Begins the transaction of a turn. A process that was stopped inside it loses the turn.
const BEGIN: &str = "begin; set local idle_in_transaction_session_timeout = '30s'";

/// The turn to publish: a lock on the row that says up to which change it was done.
pub struct Turn {
    connection: PooledConnection,
    /// The changes up to this ID are published.
    pub published: i64,
    keep: SqlStr,
}

impl Turn {
    /// Records that the changes up to this ID are published, and ends the turn.
    ///
    /// # Errors
    /// Fails if the server refuses it: they are published again.
    pub async fn record_published(mut self, id: i64) -> Result<(), StoreError> {
        let keep = sqlx::query(self.keep.clone()).bind(id);
        connection::within(keep.execute(self.connection.connection())).await?;
        self.end("commit").await
    }

    /// Ends the transaction in this way, and the turn.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub async fn end(mut self, how: &'static str) -> Result<(), StoreError> {
        connection::within(self.connection.connection().execute(how)).await?;
        self.connection.release();
        Ok(())
    }
}
