//! Empties payloads of events.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Error, SqlStr};

use super::statements;

/// Empties the payloads of the events of a row. Returns how many.
///
/// # Errors
/// Fails if SQLite refuses it.
pub async fn empty_payloads_of(connection: &mut SqliteConnection, id: &str) -> Result<u64, Error> {
    let emptied = sqlx::query(SqlStr::clone(&statements::EMPTY_PAYLOADS)).bind(id);
    Ok(emptied.execute(connection).await?.rows_affected())
}
