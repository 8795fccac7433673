//! Questions to the server: what a session may take, and that none holds anything up.
//!
//! A server that loses power ends no connection, and sqlx waits for an answer without an end. So a question here has a
//! deadline of ours, and a connection whose question was not answered, for that or because the caller went away, is thrown
//! away.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Error, Postgres};
use tokio::time::timeout;

use super::SchemaName;
use super::address::Address;
use super::error;
use super::pool::Pool;
use super::session::{self, Begun, Known, Pooling, Settings};
use super::statements::Statements;
use crate::store::StoreError;
use crate::url::bracketed;

/// Longest wait for a connection. The caller tries again.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for an answer: the server ends a statement after `statement_timeout`, and the rest is for the wire.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// The server stands by, since another took its place: the next connection may lead to that one.
const READ_ONLY: &str = "25006";

/// Where the server is and how to get in. Clones share what is known of it.
#[derive(Clone)]
pub struct Server {
    options: Arc<PgConnectOptions>,
    known: Known,
    /// What asks for TLS.
    asking_for_tls: Arc<str>,
    statements: Arc<Statements>,
}

impl Server {
    /// Connects to nothing yet.
    pub fn at(address: &Address, schema: SchemaName) -> Result<Self, StoreError> {
        // Poolers refuse what they do not know in the startup message. Every server that is supported prints numbers in full.
        let options = address
            .connect_options()?
            .extra_float_digits(None)
            .disable_statement_logging();
        Ok(Self {
            options: Arc::new(options),
            known: Known::default(),
            asking_for_tls: address.asking_for_tls().into(),
            statements: Arc::new(Statements::new(schema)),
        })
    }

    /// Connections for writes: at most `size`, made when they are needed.
    pub fn writers(&self, size: u32) -> Pool {
        let settings = Settings {
            sql: include_str!("session_for_writes.sql"),
            may_be_left_out: false,
        };
        Pool::new(self.clone(), settings, Arc::clone(&self.statements), size)
    }

    /// Connections for questions.
    pub fn readers(&self, size: u32) -> Pool {
        let settings = Settings {
            sql: include_str!("session_for_questions.sql"),
            may_be_left_out: true,
        };
        Pool::new(self.clone(), settings, Arc::clone(&self.statements), size)
    }

    /// A session that begins with these settings.
    pub async fn connect(&self, settings: Settings) -> Result<Begun, Error> {
        let begun = session::begin(&self.options, &self.known, settings).await;
        begun.map_err(|error| error::name_what_asks_for_tls(error, &self.asking_for_tls))
    }

    /// Whether a pooler is between us and the server; nothing before the first connection.
    pub async fn pooling(&self) -> Option<Pooling> {
        self.known.get().await
    }

    /// To be called when an answer shows that something else is between us and the server.
    pub fn forget_pooling(&self) {
        self.known.forget();
    }

    /// To be called when a connection has changed its session of the server.
    pub fn suspect_pooler(&self) {
        self.known.suspect();
    }

    /// Host, port and database: the URL without its name and password; and the schema where it is another than usual.
    pub fn place(&self) -> String {
        let options = &self.options;
        let host = options.get_socket().map_or_else(
            || bracketed(options.get_host()),
            |path| path.display().to_string(),
        );
        let place = format!(
            "{host}:{}/{}",
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        let schema = &self.statements.schema;
        if schema.is_default() {
            place
        } else {
            format!("{place}, schema {schema}")
        }
    }
}

/// The rows that answer `query`. May be cancelled at any time; the statement may take effect all the same.
pub async fn rows(
    pool: &Pool,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<Vec<PgRow>, Error> {
    let mut lent = pool.lend().await?;
    let answer = timeout(ANSWER_TIMEOUT, query.fetch_all(lent.connection())).await;
    let answer = answer.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())));
    match &answer {
        Ok(_) => lent.hand_back(),
        Err(Error::Database(error)) if error.code().as_deref().is_some_and(error::is_of_pooler) => {
            pool.forget_server()
        }
        Err(Error::Database(error)) if !is_of_the_server(error.code().as_deref()) => {
            lent.hand_back()
        }
        Err(Error::Database(_) | Error::Io(_)) => pool.forget(),
        Err(_) => {}
    }
    answer
}

/// Whether an error says that the server has ended the session, or is about to, or is not the one to ask.
fn is_of_the_server(code: Option<&str>) -> bool {
    code.is_none_or(|code| code == READ_ONLY || code.starts_with("57P") || code.starts_with("08"))
}
