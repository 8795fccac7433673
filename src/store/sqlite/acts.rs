//! What operators do: discards, replays and erasures, each recorded in the transaction of its effect.

use std::sync::LazyLock;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Error, SqlStr};

use super::erasure;
use super::json_texts::json;
use super::statements::{DISCARD, RECORD_REPLAY};
use super::store::Store;
use crate::clerk::{ClerkId, EventId};
use crate::store::{Act, StoreError};

impl Store {
    /// See [`crate::store::Store::discard`].
    ///
    /// # Errors
    /// As there.
    pub async fn discard(&self, ids: &[EventId], act: &Act) -> Result<Vec<String>, StoreError> {
        self.act_on(&DISCARD, ids, act).await
    }

    /// See [`crate::store::Store::record_replay`].
    ///
    /// # Errors
    /// As there.
    pub async fn record_replay(&self, ids: &[EventId], act: &Act) -> Result<(), StoreError> {
        self.act_on(&RECORD_REPLAY, ids, act).await.map(drop)
    }

    /// Runs a statement for failed events. Returns the types of those that it found.
    async fn act_on(
        &self,
        statement: &LazyLock<SqlStr>,
        ids: &[EventId],
        act: &Act,
    ) -> Result<Vec<String>, StoreError> {
        let found = sqlx::query_scalar(SqlStr::clone(statement))
            .bind(json(ids.iter().map(EventId::as_str)))
            .bind(act.json());
        self.write(async |connection| {
            let mut transaction = connection.begin_with("begin immediate").await?;
            let types: Vec<String> = found.fetch_all(&mut *transaction).await?;
            if !types.is_empty() {
                record(&mut transaction, act, i64::try_from(types.len()).ok()).await?;
            }
            transaction.commit().await?;
            Ok(types)
        })
        .await
    }

    /// See [`crate::store::Store::record_act`].
    ///
    /// # Errors
    /// As there.
    pub async fn record_act(&self, act: &Act) -> Result<(), StoreError> {
        self.write(async |connection| record(connection, act, act.count).await)
            .await
    }

    /// See [`crate::store::Store::prune_audit`].
    ///
    /// # Errors
    /// As there.
    pub async fn prune_audit(&self, before: &str, limit: u32) -> Result<u64, StoreError> {
        let prune = sqlx::query(include_str!("prune_audit.sql"));
        self.execute(prune.bind(before).bind(limit)).await
    }

    /// See [`crate::store::Store::erase`].
    ///
    /// # Errors
    /// As there.
    pub async fn erase(&self, id: &ClerkId, act: &Act) -> Result<(u64, u64), StoreError> {
        self.write(async |connection| {
            let mut transaction = connection.begin_with("begin immediate").await?;
            let (users, payloads) = erasure::erase(&mut transaction, id.as_str()).await?;
            if users + payloads > 0 {
                record(&mut transaction, act, i64::try_from(payloads).ok()).await?;
            }
            transaction.commit().await?;
            Ok((users, payloads))
        })
        .await
    }

    /// See [`crate::store::Store::forget`].
    ///
    /// # Errors
    /// As there.
    pub async fn forget(&self, id: &ClerkId, act: &Act) -> Result<(u64, u64), StoreError> {
        self.write(async |connection| {
            let mut transaction = connection.begin_with("begin immediate").await?;
            let users = sqlx::query("delete from users where clerk_id = ?1").bind(id.as_str());
            let users = users.execute(&mut *transaction).await?.rows_affected();
            let events = sqlx::query("delete from events where clerk_id = ?1").bind(id.as_str());
            let events = events.execute(&mut *transaction).await?.rows_affected();
            if users + events > 0 {
                record(&mut transaction, act, i64::try_from(events).ok()).await?;
            }
            transaction.commit().await?;
            Ok((users, events))
        })
        .await
    }
}

async fn record(
    connection: &mut SqliteConnection,
    act: &Act,
    count: Option<i64>,
) -> Result<(), Error> {
    sqlx::query(include_str!("record_act.sql"))
        .bind(act.json())
        .bind(act.at.0.ms())
        .bind(count)
        .execute(connection)
        .await
        .map(drop)
}
