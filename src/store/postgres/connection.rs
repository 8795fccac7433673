//! Questions to the server: what a session may take, and that none holds anything up.
//!
//! A server that loses power ends no connection, and sqlx waits for an answer without an end. So a question here has a
//! deadline of ours, and a connection whose question was not answered, for that or because the caller went away, is thrown
//! away.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Error, PgConnection, Postgres};

use super::address::Address;
use super::pool::Pool;
use crate::store::StoreError;
use crate::url::bracketed;

/// Longest wait for a connection. The caller tries again.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for an answer: the server ends a statement after `statement_timeout`, and the rest is for the wire.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// What a session may take, in the server's own words: a statement that hangs must not hold a batch for ever, and one that
/// waits for another's lock is better tried again.
const LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "30s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "30s")];

/// How a session for writes makes its plans: once. To plan a write anew costs as much as to make it, where it is of one event.
/// A plan that is kept must be good for tables that were small when it was made, so none reads a table from end to end: all
/// that is written is found by an index.
const PLANS: [(&str, &str); 2] = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")];

/// A migration may take its time with a large table, and waits for one that another process makes.
const MIGRATION_LIMITS: [(&str, &str); 2] = [("statement_timeout", "0"), ("lock_timeout", "0")];

/// The server stands by, since another took its place: the next connection may lead to that one.
const READ_ONLY: &str = "25006";

/// Where the server is and how to get in.
#[derive(Clone)]
pub struct Server(Arc<PgConnectOptions>);

impl Server {
    /// Connects to nothing yet.
    pub fn at(address: &Address) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(address.connect_options()?.disable_statement_logging())))
    }

    /// Connections for writes: at most `size`, made when they are needed.
    pub fn writers(&self, size: u32) -> Pool {
        Pool::new((*self.0).clone().options(LIMITS).options(PLANS), Some(include_str!("durable.sql")), size)
    }

    /// Connections for questions.
    pub fn readers(&self, size: u32) -> Pool {
        // A part of a filter that is not asked for is null; only a plan made for the question can leave it out.
        let options = (*self.0).clone().options(LIMITS).options([("plan_cache_mode", "force_custom_plan")]);
        Pool::new(options, None, size)
    }

    /// A connection of its own for one question. It is not one of those that are kept.
    pub async fn asking(&self) -> Result<PgConnection, Error> {
        let options = (*self.0).clone().options(LIMITS);
        tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await.unwrap_or(Err(Error::PoolTimedOut))
    }

    /// Host, port and database: the URL without its name and password.
    pub fn place(&self) -> String {
        let host = self.0.get_socket().map_or_else(|| bracketed(self.0.get_host()), |path| path.display().to_string());
        format!("{host}:{}/{}", self.0.get_port(), self.0.get_database().unwrap_or_default())
    }

    /// A connection of its own for migrations, without a limit on what it does.
    pub async fn migrating(&self) -> Result<PgConnection, Error> {
        let options = (*self.0).clone().options(MIGRATION_LIMITS);
        tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await.unwrap_or(Err(Error::PoolTimedOut))
    }
}

/// The rows that answer `query`. May be cancelled at any time; the statement may take effect all the same.
pub async fn rows(pool: &Pool, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Error> {
    let mut lent = pool.lend().await?;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, query.fetch_all(lent.connection())).await;
    let answer = answer.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())));
    match &answer {
        Ok(_) => lent.hand_back(),
        Err(Error::Database(error)) if !is_of_the_server(error.code().as_deref()) => lent.hand_back(),
        Err(Error::Database(_) | Error::Io(_)) => pool.forget(),
        Err(_) => {}
    }
    answer
}

/// Whether an error says that the server has ended the session, or is about to, or is not the one to ask.
fn is_of_the_server(code: Option<&str>) -> bool {
    code.is_none_or(|code| code == READ_ONLY || code.starts_with("57P") || code.starts_with("08"))
}
