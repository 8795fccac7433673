//! Sessions with the server: how one begins, and what is between us and it.
//!
//! Nothing but names is asked for in the startup message, since poolers refuse the rest: settings are set after connecting, in
//! one round trip. With transaction pooling a server session belongs to a client for one transaction only: a setting would stay
//! with it and reach other clients, so none is set there, and nothing else is left in a session. There the driver needs a pooler
//! that follows prepared statements. Unnamed ones are no way: sqlx prepares and executes in two round trips, each of which may
//! reach another session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Error, Executor, PgConnection, Row};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::info;

use super::{error, no_delay};
use crate::store::StoreError;

/// For how long a connection has the same session of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// As long as it lasts: a server, or a pooler that pools sessions.
    Session,
    /// For one transaction.
    Transaction,
}

/// What the server's address leads to, found out with the first connection. Clones share it.
#[derive(Clone, Default)]
pub struct Known {
    pooling: Arc<Mutex<Option<Pooling>>>,
    /// Whether a connection has changed its session since: a pooler of several processes, of which the first two connections
    /// missed each other.
    is_suspected: Arc<AtomicBool>,
}

/// A connection with its session.
pub struct Begun {
    pub connection: PgConnection,
    /// Which session of the server it has; nothing where that changes.
    pub identity: Option<String>,
}

/// Longest wait for a second session beside the first: a pooler may have to wait for one that is free.
const SECOND_WITHIN: Duration = Duration::from_secs(3);

/// What a session begins with.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub sql: &'static str,
    /// Whether a session may do without them where it cannot be told whether it keeps any.
    pub may_be_left_out: bool,
}

/// Opens a connection and begins the session with these settings, where a session keeps any. Has no deadline of its own.
///
/// # Errors
/// `Error::Configuration` holds a `StoreError` where the server or a pooler refuses us.
pub async fn begin(
    options: &PgConnectOptions,
    known: &Known,
    settings: Settings,
) -> Result<Begun, Error> {
    let mut connection = open(options).await.map_err(error::of_connecting)?;
    let identity = match known.pooling(options, &mut connection).await? {
        Some(Pooling::Session) => {
            connection
                .execute(settings.sql)
                .await
                .map_err(error::of_connecting)?;
            Some(identity(&mut connection, IDENTITY).await?)
        }
        Some(Pooling::Transaction) => None,
        None if settings.may_be_left_out => None,
        None => {
            return Err(Error::Configuration(Box::new(StoreError::Unavailable(
                error::ONE_CONNECTION.into(),
            ))));
        }
    };
    Ok(Begun {
        connection,
        identity,
    })
}

const IDENTITY: &str = include_str!("session_identity.sql");

/// Which session of the server answers.
pub async fn identity(connection: &mut PgConnection, sql: &'static str) -> Result<String, Error> {
    let row = connection
        .fetch_one(sql)
        .await
        .map_err(error::of_connecting)?;
    row.try_get(0)
}

impl Begun {
    /// Whether the connection works and still has its session.
    ///
    /// # Errors
    /// The connection does not work.
    pub async fn is_as_begun(&mut self) -> Result<bool, Error> {
        let now = identity(&mut self.connection, IDENTITY).await?;
        Ok(self.identity.as_ref().is_none_or(|begun| *begun == now))
    }
}

async fn open(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    let connection = options.connect().await?;
    if options.get_socket().is_none() {
        no_delay::set(options.get_port());
    }
    Ok(connection)
}

impl Known {
    /// To be called when something shows that the address leads to something else.
    pub fn forget(&self) {
        // Whoever holds it is finding it out anew.
        if let Ok(mut known) = self.pooling.try_lock() {
            *known = None;
        }
    }

    /// To be called when a connection has changed its session.
    pub fn suspect(&self) {
        self.is_suspected.store(true, Ordering::Relaxed);
        self.forget();
    }

    /// What is known; nothing before the first connection.
    pub async fn get(&self) -> Option<Pooling> {
        *self.pooling.lock().await
    }

    /// Nothing where a second connection is not to be had: it is asked for again with the next one.
    async fn pooling(
        &self,
        options: &PgConnectOptions,
        first: &mut PgConnection,
    ) -> Result<Option<Pooling>, Error> {
        // One at a time: it takes a second connection.
        let mut known = self.pooling.lock().await;
        if known.is_some() {
            return Ok(*known);
        }
        let is_suspected = self.is_suspected.load(Ordering::Relaxed);
        let pooling = find_out(options, first, is_suspected).await?;
        if pooling == Some(Pooling::Transaction) {
            info!("a transaction pooler is before PostgreSQL; no limits are set for its sessions");
        }
        *known = pooling;
        Ok(pooling)
    }
}

/// Whether transactions are pooled. While a second connection is inside a transaction, the first must still have the session that
/// it had, and the second another one. Nothing where no second one is to be had: to guess would be to leave settings in sessions of
/// others.
async fn find_out(
    options: &PgConnectOptions,
    first: &mut PgConnection,
    is_suspected: bool,
) -> Result<Option<Pooling>, Error> {
    let own = identity(first, IDENTITY).await?;
    // A pooler that goes round gives another one now.
    let again = identity(first, IDENTITY).await?;
    let hold = async {
        let mut second = match open(options).await {
            Err(Error::Database(error))
                if error.code().as_deref() == Some(error::TOO_MANY_CONNECTIONS) =>
            {
                return Ok(None);
            }
            opened => opened.map_err(error::of_connecting)?,
        };
        let held = identity(&mut second, include_str!("session_held.sql")).await?;
        Ok::<_, Error>(Some((second, held)))
    };
    let Some((mut second, held)) = timeout(SECOND_WITHIN, hold).await.unwrap_or(Ok(None))? else {
        return Ok(None);
    };
    let is_shared = is_suspected
        || is_named_as_pooler(options.get_host(), options.get_port())
        || again != own
        || held == own
        // Not asked where the second has what was the first's: there may be no other, and the first would wait.
        || identity(first, IDENTITY).await? != own;
    if is_shared {
        // Where it fails the connection is dropped inside its transaction, and the pooler ends the session with all that it keeps.
        can_serve(&mut second).await?;
    }
    second
        .execute("rollback")
        .await
        .map_err(error::of_connecting)?;
    // All was answered; how it ends changes nothing.
    drop(second.close().await);
    Ok(Some(if is_shared {
        Pooling::Transaction
    } else {
        Pooling::Session
    }))
}

/// Addresses of hosted poolers that may have several processes, of which two connections could miss each other.
fn is_named_as_pooler(host: &str, port: u16) -> bool {
    let is_supabase = host.ends_with(".supabase.com") || host.ends_with(".supabase.co");
    let is_neon = host
        .split('.')
        .next()
        .is_some_and(|label| label.ends_with("-pooler"));
    is_supabase && port == 6543 || is_neon
}

/// Whether a transaction pooler keeps what this program needs, asked inside a transaction.
async fn can_serve(connection: &mut PgConnection) -> Result<(), Error> {
    let named = sqlx::query_scalar::<_, i32>(include_str!("session_named.sql"))
        .fetch_one(&mut *connection)
        .await;
    named.map_err(error::of_connecting)?;
    let kept = connection
        .fetch_one(include_str!("session_kept.sql"))
        .await
        .map_err(error::of_connecting)?;
    if kept.try_get("by_its_name")? {
        return Err(refusal(error::STATEMENTS_ARE_LOST.into()));
    }
    if kept.try_get("forgets_commits")? {
        return Err(refusal(
            "synchronous_commit is off, and through a transaction pooler clerk-sync cannot turn it on: `alter role … set synchronous_commit = on`, or give the server's direct address in DATABASE_URL"
                .into(),
        ));
    }
    Ok(())
}

fn refusal(text: String) -> Error {
    Error::Configuration(Box::new(StoreError::Incompatible(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosted_transaction_pooler_is_known_by_its_address() {
        for (host, port) in [
            ("aws-0-eu-west-1.pooler.supabase.com", 6543),
            ("db.abcdefgh.supabase.co", 6543),
            (
                "ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech",
                5432,
            ),
        ] {
            assert!(is_named_as_pooler(host, port), "{host}:{port}");
        }
        for (host, port) in [
            ("aws-0-eu-west-1.pooler.supabase.com", 5432),
            ("db.abcdefgh.supabase.co", 5432),
            ("ep-cool-darkness-123456.us-east-2.aws.neon.tech", 5432),
            ("localhost", 6543),
        ] {
            assert!(!is_named_as_pooler(host, port), "{host}:{port}");
        }
    }
}
