//! What operators do: discards, replays and erasures, each recorded with its effect.

use sqlx::Row;

use super::error;
use super::store::{Store, count};
use crate::clerk::tables::users;
use crate::clerk::{ClerkId, EventId};
use crate::store::{Act, StoreError};

impl Store {
    /// See [`crate::store::Store::discard`].
    ///
    /// # Errors
    /// As there.
    pub async fn discard(&self, ids: &[EventId], act: &Act) -> Result<Vec<String>, StoreError> {
        let ids: Vec<_> = ids.iter().map(EventId::as_str).collect();
        let binds = [ids.into(), Some(act.json()).into()];
        let rows = self.write(|sql| &sql.discard, &binds).await?;
        let types: Result<_, _> = rows.iter().map(|row| row.try_get("event_type")).collect();
        types.map_err(error::of)
    }

    /// See [`crate::store::Store::record_replay`].
    ///
    /// # Errors
    /// As there.
    pub async fn record_replay(&self, ids: &[EventId], act: &Act) -> Result<(), StoreError> {
        let ids: Vec<_> = ids.iter().map(EventId::as_str).collect();
        let binds = [ids.into(), Some(act.json()).into()];
        self.write(|sql| &sql.record_replay, &binds).await.map(drop)
    }

    /// See [`crate::store::Store::record_act`].
    ///
    /// # Errors
    /// As there.
    pub async fn record_act(&self, act: &Act) -> Result<(), StoreError> {
        let binds = [act.count.into(), Some(act.json()).into()];
        self.write(|sql| &sql.record_act, &binds).await.map(drop)
    }

    /// See [`crate::store::Store::prune_audit`].
    ///
    /// # Errors
    /// As there.
    pub async fn prune_audit(&self, before: &str, limit: u32) -> Result<u64, StoreError> {
        let binds = [before.into(), limit.into()];
        count(&self.write(|sql| &sql.prune_audit, &binds).await?, "rows")
    }

    /// See [`crate::store::Store::erase`].
    ///
    /// # Errors
    /// As there.
    pub async fn erase(&self, id: &ClerkId, act: &Act) -> Result<(u64, u64), StoreError> {
        let binds = [id.as_str().into(), Some(act.json()).into()];
        let rows = self
            .erase_with(&users::TABLE, |sql| &sql.erase, &binds)
            .await?;
        Ok((count(&rows, "users")?, count(&rows, "payloads")?))
    }

    /// See [`crate::store::Store::forget`].
    ///
    /// # Errors
    /// As there.
    pub async fn forget(&self, id: &ClerkId, act: &Act) -> Result<(u64, u64), StoreError> {
        let binds = [id.as_str().into(), Some(act.json()).into()];
        let rows = self
            .erase_with(&users::TABLE, |sql| &sql.forget, &binds)
            .await?;
        Ok((count(&rows, "users")?, count(&rows, "events")?))
    }
}
