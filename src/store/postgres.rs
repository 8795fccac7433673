//! The store on PostgreSQL: schema `clerk`, one statement a write.
//!
//! Nothing here opens a transaction: a `begin` that is cancelled leaves a pooled connection inside one (sqlx 0.9), and a
//! single statement is a transaction of its own.

mod apply;
mod error;
mod read;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::{
    EventFilter, EventRow, Listing, Outcome, Page, Payloads, SchemaVersion, StoreError, User, UserFilter, Write,
};
use crate::clerk::{ClerkId, EventId, Timestamp};

/// Which server. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    pub url: SecretString,
    /// Most connections for writes.
    pub connections: u32,
    pub payloads: Payloads,
}

/// Most connections for questions, so that these never wait for a write.
const READERS: u32 = 4;

/// Longest wait for a connection. The caller tries again.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a session may take, in the server's own words: a statement that hangs must not hold a batch for ever, and one that
/// waits for another's lock is better tried again.
const LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "30s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "30s")];

/// A handle on the database. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    options: Arc<PgConnectOptions>,
    writers: PgPool,
    readers: PgPool,
    payloads: Payloads,
}

impl Store {
    /// Connects to nothing yet. Fails when the URL cannot be read.
    pub fn open(options: &Options) -> Result<Self, StoreError> {
        let connect = PgConnectOptions::from_str(options.url.expose_secret())
            // The error can quote the URL, and with it the password.
            .map_err(|_| {
                StoreError::Incompatible(
                    "DATABASE_URL cannot be read; give a URL such as postgres://user:password@host:5432/database"
                        .into(),
                )
            })?
            .application_name("clerk-sync")
            .options(LIMITS)
            .disable_statement_logging();
        // A part of a filter that is not asked for is null; only a plan made for the question can leave it out.
        let ask = connect.clone().options([("plan_cache_mode", "force_custom_plan")]);
        let pool = |size| PgPoolOptions::new().max_connections(size).acquire_timeout(ACQUIRE_TIMEOUT);
        Ok(Self {
            // One more than batches in flight: the dead ends are drained beside them.
            writers: pool(options.connections.saturating_add(1)).connect_lazy_with(connect.clone()),
            readers: pool(READERS).connect_lazy_with(ask),
            options: Arc::new(connect),
            payloads: options.payloads,
        })
    }

    /// Runs on a connection of its own, which ends, and with it its lock, however this ends.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = PgConnection::connect_with(&self.options).await.map_err(error::of)?;
        // `create schema if not exists` asks for the right to create one even where it exists.
        let exists = sqlx::query_scalar::<_, bool>("select to_regnamespace('clerk') is not null");
        if !exists.fetch_one(&mut connection).await.map_err(error::of)? {
            make_schema(&mut connection).await?;
        }
        migrator().run_direct(None, &mut connection, false).await.map_err(error::of_migration)?;
        // Everything is committed; a connection that is already gone changes nothing.
        drop(connection.close().await);
        Ok(())
    }

    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        let wanted = migrator().iter().map(|migration| migration.version).max().unwrap_or(0);
        let known = sqlx::query_scalar::<_, bool>("select to_regclass('clerk._migrations') is not null");
        if !known.fetch_one(&self.readers).await.map_err(error::of)? {
            return Ok(SchemaVersion { found: None, wanted });
        }
        let found = sqlx::query_scalar("select max(version) from clerk._migrations where success");
        Ok(SchemaVersion { found: found.fetch_one(&self.readers).await.map_err(error::of)?, wanted })
    }

    /// See `store::Store::apply`.
    pub async fn apply(&self, write: &Write) -> Result<Vec<Outcome>, StoreError> {
        apply::apply(&self.writers, write, self.payloads).await.map_err(error::of)
    }

    pub async fn prune(&self, older_than: Timestamp, limit: u32) -> Result<u64, StoreError> {
        apply::prune(&self.writers, older_than, limit).await.map_err(error::of)
    }

    pub async fn user(&self, id: &ClerkId) -> Result<Option<User>, StoreError> {
        read::user(&self.readers, id).await.map_err(error::of)
    }

    pub async fn users(&self, filter: &UserFilter, page: &Page) -> Result<Listing<User>, StoreError> {
        read::users(&self.readers, filter, page).await.map_err(error::of)
    }

    pub async fn event(&self, id: &EventId) -> Result<Option<EventRow>, StoreError> {
        read::event(&self.readers, id).await.map_err(error::of)
    }

    pub async fn events(&self, filter: &EventFilter, page: &Page) -> Result<Listing<EventRow>, StoreError> {
        read::events(&self.readers, filter, page).await.map_err(error::of)
    }

    pub async fn close(&self) {
        tokio::join!(self.writers.close(), self.readers.close());
    }
}

/// Makes the schema; that another process makes it at this moment is fine.
async fn make_schema(connection: &mut PgConnection) -> Result<(), StoreError> {
    const DUPLICATE_SCHEMA: &str = "42P06";
    const UNIQUE_VIOLATION: &str = "23505";
    match sqlx::query("create schema if not exists clerk").execute(connection).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| code == DUPLICATE_SCHEMA || code == UNIQUE_VIOLATION) =>
        {
            Ok(())
        }
        Err(error) => Err(error::of(error)),
    }
}

/// The migrations, with their bookkeeping in our schema, where it never meets that of the application.
fn migrator() -> Migrator {
    static EMBEDDED: Migrator = sqlx::migrate!("migrations/postgres");
    let mut migrator = Migrator::with_migrations(EMBEDDED.iter().cloned().collect());
    migrator.dangerous_set_table_name("clerk._migrations");
    migrator
}
