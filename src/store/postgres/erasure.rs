//! Erases what is stored of users.

use sqlx::SqlStr;
use sqlx::postgres::PgRow;

use super::statements::TableStatements;
use super::store::{Store, count};
use crate::clerk::tables::users;
use crate::clerk::{ChangeKind, Table};
use crate::metrics;
use crate::store::StoreError;
use crate::store::bind::Bind;
use crate::store::erasure::Owners;
use crate::store::failed_payloads::Payloads;

impl Store {
    /// Erases those of these users that are deleted, and the payloads of their events. Returns how
    /// many users.
    ///
    /// # Errors
    /// Fails if the server refuses it.
    pub async fn scrub(&self, ids: &[&str]) -> Result<u64, StoreError> {
        let binds = [ids.to_vec().into()];
        let rows = self.erase_with(&users::TABLE, |sql| &sql.scrub, &binds);
        count(&rows.await?, "rows")
    }

    /// See [`crate::store::Store::empty_payloads`].
    ///
    /// # Errors
    /// As there.
    pub async fn empty_payloads(&self, table: &Table, limit: u32) -> Result<u64, StoreError> {
        let binds = [limit.into()];
        let rows = self.write(|sql| &sql.of(table).empty_payloads, &binds);
        count(&rows.await?, "payloads")
    }

    /// Erases what rows of this table hold of users. Returns how many rows and payloads.
    ///
    /// # Errors
    /// Fails if the server refuses it.
    pub(in crate::store) async fn erase_owned(
        &self,
        table: &Table,
        owners: &Owners,
        is_final: bool,
    ) -> Result<(u64, u64), StoreError> {
        let [ids, addresses] = owners.binds();
        let binds = [ids, addresses, Some(is_final).into()];
        let rows = self
            .erase_with(table, |sql| &sql.erase_owned, &binds)
            .await?;
        Ok((count(&rows, "rows")?, count(&rows, "payloads")?))
    }

    /// Empties payloads of failed events. Returns how many.
    ///
    /// # Errors
    /// Fails if the server refuses it.
    pub(in crate::store) async fn empty_failed(
        &self,
        payloads: &Payloads,
    ) -> Result<u64, StoreError> {
        let binds = payloads.texts().map(Bind::from);
        count(
            &self.write(|sql| &sql.empty_failed, &binds).await?,
            "payloads",
        )
    }

    /// Of these rows, erases those whose user is erased.
    ///
    /// # Errors
    /// Fails if the server refuses it.
    pub async fn erase_late(&self, table: &Table, ids: &[&str]) -> Result<(), StoreError> {
        let binds = [ids.to_vec().into()];
        let erased = self.erase_with(table, |sql| &sql.erase_late, &binds);
        erased.await.map(drop)
    }

    /// Runs a statement that erases rows of this table, and counts the changes that it recorded.
    pub(super) async fn erase_with(
        &self,
        table: &Table,
        statement: impl Fn(&TableStatements) -> &SqlStr,
        binds: &[Bind<'_>],
    ) -> Result<Vec<PgRow>, StoreError> {
        let rows = self.write(|sql| statement(sql.of(table)), binds).await?;
        metrics::changes(table, ChangeKind::Erased, count(&rows, "changes")?);
        Ok(rows)
    }
}
