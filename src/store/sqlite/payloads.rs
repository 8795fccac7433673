//! Empties payloads of events.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Error, SqlStr};

use super::statements;
use crate::clerk::Table;

/// Empties the payloads of the events of a row. Those of failed events of a row that belongs to a
/// user stay: see failed_payloads.rs. Returns how many.
///
/// # Errors
/// Fails if SQLite refuses it.
pub async fn empty_payloads_of(
    connection: &mut SqliteConnection,
    table: &Table,
    id: &str,
) -> Result<u64, Error> {
    let statement = match table.is_erased_whole() {
        true => &statements::EMPTY_PAYLOADS,
        false => &statements::EMPTY_PAYLOADS_OF_ROW,
    };
    let emptied = sqlx::query(SqlStr::clone(statement)).bind(id);
    Ok(emptied.execute(connection).await?.rows_affected())
}
