//! Sessions with the server: how one starts, and whether a pooler is between us and it.
//!
//! The startup message has nothing but names in it, since poolers refuse the rest: settings are set
//! after connecting, in one round trip. With transaction pooling a client has a server session for
//! one transaction only: a setting would stay with the session and reach other clients, so none is
//! set there, and nothing else is left in a session. There the driver needs a pooler that follows
//! prepared statements. Unnamed ones do not help: sqlx prepares and executes in two round trips,
//! each of which may reach another session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgListener, PgNotification, PgPool, PgPoolOptions};
use sqlx::{Acquire, ConnectOptions, Connection, Error, Executor, PgConnection, Row};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::info;

use super::address::Address;
use super::{error, no_delay};
use crate::store::StoreError;
use crate::url::bracketed;

/// How long a connection keeps its session of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// As long as it lasts: there is no pooler, or one that pools sessions.
    Session,
    /// For one transaction.
    Transaction,
}

/// Where the server is and how to log in. Clones share what is known of it.
#[derive(Clone)]
pub struct Server {
    options: Arc<PgConnectOptions>,
    /// Found out with the first connection; `None` before.
    pooling: Arc<Mutex<Option<Pooling>>>,
    /// Whether a connection has changed its session since: a pooler of several processes, of which
    /// the first two connections missed each other.
    has_changed_session: Arc<AtomicBool>,
    /// The settings that ask for TLS.
    asking_for_tls: Arc<str>,
}

/// A connection with its session.
pub struct Session {
    pub connection: PgConnection,
    /// Which session of the server it has; `None` if that changes.
    identity: Option<String>,
    pub opened_at: Instant,
}

/// A connection that listens.
pub struct Listener {
    listener: PgListener,
    /// sqlx listens on connections of its own pool alone. This one has a single connection, and
    /// another is never opened in its place.
    pool: PgPool,
    /// Which session of the server listens.
    identity: String,
    server: Server,
}

/// Longest wait for a second session beside the first: a pooler may have to wait for one that is
/// free.
const SECOND_TIMEOUT: Duration = Duration::from_secs(3);

/// The settings of a new session.
#[derive(Debug, Clone, Copy)]
pub struct SessionSettings {
    sql: &'static str,
    /// Whether a session may do without them if it is unknown whether it keeps any.
    is_optional: bool,
}

/// Longest wait for a connection that listens to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl SessionSettings {
    /// Those of a session that writes.
    pub const WRITER: Self = Self {
        sql: include_str!("session_for_writes.sql"),
        is_optional: false,
    };
    /// Those of a session that only reads.
    pub const READER: Self = Self {
        sql: include_str!("session_for_reads.sql"),
        is_optional: true,
    };
}

const IDENTITY: &str = include_str!("session_identity.sql");

/// Which session of the server answers.
async fn identity(connection: &mut PgConnection, sql: &'static str) -> Result<String, Error> {
    let row = connection.fetch_one(sql).await;
    row.map_err(error::of_connecting)?.try_get(0)
}

impl Session {
    /// Whether the connection still has its session.
    ///
    /// # Errors
    /// Fails if the connection does not work.
    pub async fn is_unchanged(&mut self) -> Result<bool, Error> {
        let now = identity(&mut self.connection, IDENTITY).await?;
        Ok(self.identity.as_ref().is_none_or(|before| *before == now))
    }
}

impl Listener {
    /// The next notification. Returns `None` if the connection is lost. Cancel-safe.
    ///
    /// # Errors
    /// Fails if the connection does not work.
    pub async fn next(&mut self) -> Result<Option<PgNotification>, Error> {
        self.listener.try_recv().await
    }

    /// Whether the connection works, and still has the session that listens.
    pub async fn is_unchanged(&mut self) -> bool {
        let Ok(connection) = self.listener.acquire().await else {
            return false;
        };
        let Ok(now) = identity(connection, IDENTITY).await else {
            return false;
        };
        if now != self.identity {
            self.server.note_changed_session();
        }
        now == self.identity
    }

    /// Closes it in good order if the server answers.
    pub async fn close(self) {
        drop(self.listener);
        drop(timeout(CLOSE_TIMEOUT, self.pool.close()).await);
    }
}

impl Server {
    /// Makes the value. Connects to nothing yet.
    ///
    /// # Errors
    /// Fails for a file of TLS that cannot be used.
    pub fn at(address: &Address) -> Result<Self, StoreError> {
        // Poolers refuse what they do not know in the startup message. Every server that is
        // supported prints numbers in full.
        let options = address
            .connect_options()?
            .extra_float_digits(None)
            .disable_statement_logging();
        Ok(Self {
            options: Arc::new(options),
            pooling: Arc::default(),
            has_changed_session: Arc::default(),
            asking_for_tls: address.asking_for_tls().into(),
        })
    }

    /// Opens a connection and applies the settings, if a session keeps any. Has no time limit of
    /// its own.
    ///
    /// # Errors
    /// `Error::Configuration` holds a `StoreError` if the server or a pooler refuses the session.
    pub async fn connect(&self, settings: SessionSettings) -> Result<Session, Error> {
        let session = self.start(settings).await;
        session.map_err(|error| error::name_what_asks_for_tls(error, &self.asking_for_tls))
    }

    async fn start(&self, settings: SessionSettings) -> Result<Session, Error> {
        let mut connection = self.open().await.map_err(error::of_connecting)?;
        let identity = match self.find_pooling(&mut connection).await? {
            Some(Pooling::Session) => {
                let set = connection.execute(settings.sql).await;
                set.map_err(error::of_connecting)?;
                Some(identity(&mut connection, IDENTITY).await?)
            }
            None if !settings.is_optional => {
                let error = StoreError::Unavailable(error::ONE_CONNECTION.into());
                return Err(Error::Configuration(Box::new(error)));
            }
            Some(Pooling::Transaction) | None => None,
        };
        Ok(Session {
            connection,
            identity,
            opened_at: Instant::now(),
        })
    }

    async fn open(&self) -> Result<PgConnection, Error> {
        let connection = self.options.connect().await?;
        if self.options.get_socket().is_none() {
            no_delay::set(self.options.get_port());
        }
        Ok(connection)
    }

    /// Opens a connection that listens on these channels. Returns `None` if no session can:
    /// behind a transaction pooler, and if it is unknown whether there is one. Has no time limit of its
    /// own.
    ///
    /// # Errors
    /// As [`Self::connect`]; and fails if the server does not let it listen, as a standby.
    pub async fn listen(&self, channels: [&str; 2]) -> Result<Option<Listener>, Error> {
        let listener = self.start_listening(channels).await;
        listener.map_err(|error| error::name_what_asks_for_tls(error, &self.asking_for_tls))
    }

    async fn start_listening(&self, channels: [&str; 2]) -> Result<Option<Listener>, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            // It waits for a server that refuses connections, and the caller's limit is shorter.
            .acquire_slow_threshold(Duration::from_secs(60))
            .connect_lazy_with((*self.options).clone());
        let opened = PgListener::connect_with(&pool).await;
        let mut listener = opened.map_err(error::of_connecting)?;
        listener.eager_reconnect(false);
        // The pool is closed only after the listener is dropped.
        listener.ignore_pool_close_event(true);
        let pooling = self.find_pooling(listener.acquire().await?).await?;
        if pooling != Some(Pooling::Session) {
            return Ok(None);
        }
        listener.listen_all(channels).await?;
        let identity = identity(listener.acquire().await?, IDENTITY).await?;
        Ok(Some(Listener {
            listener,
            pool,
            identity,
            server: self.clone(),
        }))
    }

    /// Whether a pooler is between us and the server; `None` before the first connection.
    pub async fn pooling(&self) -> Option<Pooling> {
        *self.pooling.lock().await
    }

    /// Forgets what is known of a pooler. To be called when an answer shows that the address leads
    /// to something else.
    pub fn forget_pooling(&self) {
        // The holder of the lock is already finding it out again.
        if let Ok(mut pooling) = self.pooling.try_lock() {
            *pooling = None;
        }
    }

    /// To be called when a connection has changed its session.
    pub fn note_changed_session(&self) {
        self.has_changed_session.store(true, Ordering::Relaxed);
        self.forget_pooling();
    }

    /// Returns `None` if no second connection can be opened: the next connection tries again.
    async fn find_pooling(&self, first: &mut PgConnection) -> Result<Option<Pooling>, Error> {
        // One at a time: it takes a second connection.
        let mut pooling = self.pooling.lock().await;
        if pooling.is_none() {
            *pooling = self.detect_pooling(first).await?;
            if *pooling == Some(Pooling::Transaction) {
                info!(
                    "a transaction pooler is in front of PostgreSQL; no limits are set for its sessions"
                );
            }
        }
        Ok(*pooling)
    }

    /// Detects transaction pooling. While a second connection is inside a transaction, the first
    /// must still have the session that it had, and the second another one. Returns `None` if there
    /// is no second one: a wrong guess would leave settings in sessions of others.
    async fn detect_pooling(&self, first: &mut PgConnection) -> Result<Option<Pooling>, Error> {
        let own = identity(first, IDENTITY).await?;
        // A pooler that assigns sessions in turn answers with another session now.
        let again = identity(first, IDENTITY).await?;
        let open_second = async {
            let mut second = match self.open().await {
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
        let opened = timeout(SECOND_TIMEOUT, open_second).await;
        let Some((mut second, held)) = opened.unwrap_or(Ok(None))? else {
            return Ok(None);
        };
        let is_shared = self.has_changed_session.load(Ordering::Relaxed)
            || is_named_as_pooler(self.options.get_host(), self.options.get_port())
            || again != own
            || held == own
            // No query if the second connection has the first one's session: there may be no other
            // session, and the query would wait.
            || identity(first, IDENTITY).await? != own;
        if is_shared {
            // If it fails the connection is dropped inside its transaction, and the pooler ends the
            // session.
            check_pooler(&mut second).await?;
        }
        let ended = second.execute("rollback").await;
        ended.map_err(error::of_connecting)?;
        // All was answered; how it ends changes nothing.
        drop(second.close().await);
        Ok(Some(if is_shared {
            Pooling::Transaction
        } else {
            Pooling::Session
        }))
    }

    /// Host, port and database: the URL without its user and password.
    pub fn place(&self) -> String {
        let options = &self.options;
        let host = options.get_socket().map_or_else(
            || bracketed(options.get_host()),
            |path| path.display().to_string(),
        );
        let database = options.get_database().unwrap_or_default();
        format!("{host}:{}/{database}", options.get_port())
    }
}

/// Whether it is the address of a hosted pooler. Those may have several processes, and two
/// connections could miss each other.
fn is_named_as_pooler(host: &str, port: u16) -> bool {
    let is_supabase = host.ends_with(".supabase.com") || host.ends_with(".supabase.co");
    let is_neon = host
        .split('.')
        .next()
        .is_some_and(|label| label.ends_with("-pooler"));
    is_supabase && port == 6543 || is_neon
}

/// Checks inside a transaction that a transaction pooler keeps what this program needs.
async fn check_pooler(connection: &mut PgConnection) -> Result<(), Error> {
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
