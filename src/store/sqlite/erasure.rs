//! Erases what is stored of users.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Error, SqlStr};

use super::json_texts::json;
use super::payloads::empty_payloads_of;
use super::record_changes::Recording;
use super::statements;
use super::store::Store;
use crate::clerk::Table;
use crate::clerk::tables::users;
use crate::clock::now;
use crate::store::StoreError;
use crate::store::erasure::Owners;
use crate::store::failed_payloads::Payloads;

impl Store {
    /// Erases those of these users that are deleted, and the payloads of their events. Returns how
    /// many users.
    ///
    /// # Errors
    /// Fails if SQLite refuses it.
    pub async fn scrub(&self, ids: &[&str]) -> Result<u64, StoreError> {
        self.write(async |connection| {
            let mut transaction = connection.begin_with("begin immediate").await?;
            let recording = Recording::start(&mut transaction, self.change_feed).await?;
            let mut rows = 0;
            for id in ids {
                rows += erase(&mut transaction, id).await?.0;
            }
            recording.count(&mut transaction, &users::TABLE).await?;
            transaction.commit().await?;
            Ok(rows)
        })
        .await
    }

    /// See [`crate::store::Store::empty_payloads`].
    ///
    /// # Errors
    /// As there.
    pub async fn empty_payloads(&self, table: &Table, limit: u32) -> Result<u64, StoreError> {
        let empty = statements::of(table).empty_payloads_of_erased.clone();
        self.execute(sqlx::query(empty).bind(limit)).await
    }

    /// Erases what rows of this table hold of users. Returns how many rows and payloads.
    ///
    /// # Errors
    /// Fails if SQLite refuses it.
    pub(in crate::store) async fn erase_owned(
        &self,
        table: &Table,
        owners: &Owners,
        is_final: bool,
    ) -> Result<(u64, u64), StoreError> {
        let sql = statements::of(table);
        let texts = |texts: &[String]| json(texts.iter().map(String::as_str));
        self.write(async |connection| {
            let mut transaction = connection.begin_with("begin immediate").await?;
            let recording = Recording::start(&mut transaction, self.change_feed).await?;
            let at = now().ms();
            let erase = sqlx::query_scalar(sql.erase_owned.clone())
                .bind(texts(&owners.ids))
                .bind(texts(&owners.addresses))
                .bind(is_final.then_some(at))
                .bind(at);
            let ids: Vec<String> = erase.fetch_all(&mut *transaction).await?;
            recording.count(&mut transaction, table).await?;
            let mut payloads = 0;
            for id in &ids {
                payloads += empty_payloads_of(&mut transaction, table, id).await?;
            }
            transaction.commit().await?;
            Ok((ids.len() as u64, payloads))
        })
        .await
    }

    /// Of these rows, erases those whose user is erased.
    ///
    /// # Errors
    /// Fails if SQLite refuses it.
    pub async fn erase_late(&self, table: &Table, ids: &[&str]) -> Result<(), StoreError> {
        let sql = statements::of(table);
        self.write(async |connection| {
            let mut transaction = connection.begin_with("begin immediate").await?;
            let recording = Recording::start(&mut transaction, self.change_feed).await?;
            let erase = sqlx::query_scalar(sql.erase_late.clone())
                .bind(json(ids.iter().copied()))
                .bind(now().ms());
            let erased: Vec<String> = erase.fetch_all(&mut *transaction).await?;
            recording.count(&mut transaction, table).await?;
            for id in &erased {
                empty_payloads_of(&mut transaction, table, id).await?;
            }
            transaction.commit().await
        })
        .await
    }

    /// Empties payloads of failed events. Returns how many.
    ///
    /// # Errors
    /// Fails if SQLite refuses it.
    pub(in crate::store) async fn empty_failed(
        &self,
        payloads: &Payloads,
    ) -> Result<u64, StoreError> {
        let [discarded, bare, bodies] = payloads.texts().map(|texts| json(texts.into_iter()));
        self.write(async |connection| {
            let mut transaction = connection.begin_with("begin immediate").await?;
            let discard = sqlx::query(SqlStr::clone(&statements::DISCARD_FAILED)).bind(&discarded);
            let rows = discard.execute(&mut *transaction).await?.rows_affected();
            let keep = sqlx::query(SqlStr::clone(&statements::KEEP_BARE));
            let keep = keep.bind(&bare).bind(&bodies).execute(&mut *transaction);
            let rows = rows + keep.await?.rows_affected();
            transaction.commit().await?;
            Ok(rows)
        })
        .await
    }
}

/// Erases a user's row and the payloads of the user's events. Returns how many of each.
///
/// # Errors
/// Fails if SQLite refuses it.
pub async fn erase(transaction: &mut SqliteConnection, id: &str) -> Result<(u64, u64), Error> {
    let erase = sqlx::query(statements::of(&users::TABLE).erase.clone())
        .bind(id)
        .bind(now().ms());
    let rows = erase.execute(&mut *transaction).await?.rows_affected();
    Ok((
        rows,
        empty_payloads_of(transaction, &users::TABLE, id).await?,
    ))
}
