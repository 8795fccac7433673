//! Runs queries over a pool's connections, each within a time limit.
//!
//! A server that loses power ends no connection, and sqlx waits for an answer without an end. So a
//! query has a timeout here, and a connection whose query was not answered, for that or because the
//! caller went away, is dropped.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Error, PgConnection, Postgres};
use tokio::time::timeout;

use super::error;
use super::pool::Pool;
use crate::store::StoreError;

/// Longest wait for an answer: the server ends a statement after `statement_timeout`, and the rest
/// is for the network.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// The server is a standby, since another took its place: the next connection may lead to that one.
const READ_ONLY: &str = "25006";

/// The rows that answer `query`. May be canceled at any time; the statement may take effect all the
/// same.
///
/// # Errors
/// Fails if the server refuses the query or does not answer in time.
pub async fn rows(
    pool: &Pool,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<Vec<PgRow>, Error> {
    run(pool, async |connection| query.fetch_all(connection).await).await
}

/// The answer to what `ask` asks over one connection.
///
/// # Errors
/// Fails if the server refuses a query or does not answer in time.
pub async fn run<T>(
    pool: &Pool,
    ask: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut connection = pool.acquire().await?;
    let answer = timeout(ANSWER_TIMEOUT, ask(connection.connection())).await;
    let answer = answer.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())));
    match &answer {
        Ok(_) => connection.release(),
        Err(Error::Database(error)) if error.code().as_deref().is_some_and(error::is_of_pooler) => {
            pool.drop_idle_and_pooling()
        }
        Err(Error::Database(error)) if !ends_the_session(error.code().as_deref()) => {
            connection.release()
        }
        Err(Error::Database(_) | Error::Io(_)) => pool.drop_idle(),
        Err(_) => {}
    }
    answer
}

/// An answer, or an error if it does not come in time.
///
/// # Errors
/// Fails if the server refuses the query or does not answer in time.
pub async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
    let answer = timeout(ANSWER_TIMEOUT, answer).await;
    let answer = answer.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())));
    answer.map_err(error::of)
}

/// Whether an error says that the server has ended the session, or is about to, or is not the one
/// to ask.
fn ends_the_session(code: Option<&str>) -> bool {
    code.is_none_or(|code| code == READ_ONLY || code.starts_with("57P") || code.starts_with("08"))
}
