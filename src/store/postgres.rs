//! The store on PostgreSQL: schema `clerk`, one statement a write.
//!
//! Nothing here opens a transaction: a `begin` that is cancelled leaves its connection inside one (sqlx 0.9), and a
//! single statement is a transaction of its own.

mod address;
mod apply;
mod connection;
mod error;
mod inspect;
mod known;
mod pool;
mod read;
mod stats;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Connection, Executor, PgConnection};

use super::{
    EventFilter, EventRow, Failed, HistoryRow, Keep, KnownUser, Listing, LiveUser, Outcome, Page, Recent,
    SchemaVersion, StoreError, Time, Totals, User, UserFilter, Write,
};
use crate::clerk::{ClerkId, EventId, SignedEvent, Timestamp};
use connection::Server;
use pool::Pool;

pub use address::Address;
pub use inspect::{Inspection, Rights};

/// Which server. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    pub address: Address,
    /// Most connections for writes.
    pub connections: u32,
    pub keep: Keep,
}

/// Most connections for questions, so that these never wait for a write.
const READERS: u32 = 4;

/// A handle on the database. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    server: Server,
    writers: Pool,
    readers: Pool,
    /// Whether the last write of a batch failed for what time or a person may mend.
    failing: Arc<AtomicBool>,
    /// Whether the schema has been this program's since the process started.
    was_current: Arc<AtomicBool>,
    pub(super) keep: Keep,
}

impl Store {
    /// Connects to nothing yet. Fails for a file of TLS that cannot be used.
    pub fn open(options: &Options) -> Result<Self, StoreError> {
        let server = Server::at(&options.address)?;
        Ok(Self {
            // One more than batches in flight: the dead ends are drained beside them.
            writers: server.writers(options.connections.saturating_add(1)),
            readers: server.readers(READERS),
            server,
            failing: Arc::default(),
            was_current: Arc::default(),
            keep: options.keep,
        })
    }

    /// Runs on a connection of its own, which ends, and with it its lock, however this ends.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.server.migrating().await.map_err(error::of)?;
        migrate(&mut connection).await.map_err(error::of_migration)?;
        // Everything is committed; a connection that is already gone changes nothing.
        drop(connection.close().await);
        Ok(())
    }

    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        let wanted = newest_migration();
        let known = read::value(&self.readers, include_str!("postgres/schema_known.sql")).await.map_err(error::of)?;
        let found = match known {
            Some(true) => read::value(&self.readers, include_str!("postgres/schema_version.sql")).await,
            _ => Ok(None),
        };
        Ok(SchemaVersion { found: found.map_err(error::of)?, wanted })
    }

    /// Whether this process may work with the schema. The migrations of the next version leave this one working, so who is at
    /// work goes on until it is replaced; who starts does not know what it would miss, and is refused.
    pub fn accept(&self, version: SchemaVersion) -> Result<(), StoreError> {
        let checked = version.check();
        if checked.is_ok() {
            self.was_current.store(true, Ordering::Relaxed);
        } else if version.found > Some(version.wanted) && self.was_current.load(Ordering::Relaxed) {
            return Ok(());
        }
        checked
    }

    /// Whether a write can be made: a server that stands by for another, or has no more room, answers every question all
    /// the same. Where the last batch was not written, one that changes nothing is tried.
    pub async fn writable(&self) -> Result<(), StoreError> {
        let allowed = read::value(&self.readers, include_str!("postgres/may_write.sql")).await.map_err(error::of)?;
        if allowed != Some(true) {
            return Err(error::of_missing_grant());
        }
        if self.failing.load(Ordering::Relaxed) {
            let tried = connection::rows(&self.readers, sqlx::query(include_str!("postgres/try_write.sql"))).await;
            self.settle(tried)?;
        }
        Ok(())
    }

    /// What a write came to, kept in mind for `writable`.
    fn settle<T>(&self, written: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        let written = written.map_err(error::of);
        let failing = matches!(written, Err(StoreError::Unavailable(_) | StoreError::Incompatible(_)));
        self.failing.store(failing, Ordering::Relaxed);
        written
    }

    /// See `store::Store::inspect`.
    pub async fn inspect(&self) -> Result<Inspection, StoreError> {
        inspect::inspect(&self.server, newest_migration()).await.map_err(error::of)
    }

    /// Host, port and database.
    pub fn place(&self) -> String {
        self.server.place()
    }

    /// See `store::Store::apply`.
    pub async fn apply(&self, write: &Write) -> Result<Vec<Outcome>, StoreError> {
        self.settle(apply::apply(&self.writers, write, self.keep).await)
    }

    pub async fn prune(&self, older_than: Timestamp, limit: u32) -> Result<u64, StoreError> {
        apply::prune(&self.writers, older_than, limit).await.map_err(error::of)
    }

    pub async fn discard(&self, ids: &[EventId]) -> Result<Vec<String>, StoreError> {
        apply::discard(&self.writers, ids).await.map_err(error::of)
    }

    pub async fn erase(&self, id: &ClerkId) -> Result<(u64, u64), StoreError> {
        apply::erase(&self.writers, id).await.map_err(error::of)
    }

    pub async fn empty_payloads(&self, limit: u32) -> Result<u64, StoreError> {
        apply::empty_payloads(&self.writers, limit).await.map_err(error::of)
    }

    pub async fn scrub(&self, limit: u32) -> Result<u64, StoreError> {
        apply::scrub(&self.writers, limit).await.map_err(error::of)
    }

    pub async fn forget(&self, id: &ClerkId) -> Result<(u64, u64), StoreError> {
        apply::forget(&self.writers, id).await.map_err(error::of)
    }

    pub async fn user(&self, id: &ClerkId) -> Result<Option<User>, StoreError> {
        read::user(&self.readers, id).await.map_err(error::of)
    }

    pub async fn users(&self, filter: &UserFilter, page: &Page) -> Result<Listing<User>, StoreError> {
        read::users(&self.readers, filter, page).await.map_err(error::of)
    }

    pub async fn known(&self, ids: &[ClerkId]) -> Result<Vec<KnownUser>, StoreError> {
        known::known(&self.readers, ids).await.map_err(error::of)
    }

    pub async fn live(&self, after: Option<&ClerkId>, limit: NonZeroU32) -> Result<Vec<LiveUser>, StoreError> {
        known::live(&self.readers, after, limit).await.map_err(error::of)
    }

    pub async fn event(&self, id: &EventId) -> Result<Option<EventRow>, StoreError> {
        read::event(&self.readers, id).await.map_err(error::of)
    }

    pub async fn events(&self, filter: &EventFilter, page: &Page) -> Result<Listing<EventRow>, StoreError> {
        read::events(&self.readers, filter, page).await.map_err(error::of)
    }

    pub async fn history(&self, id: &ClerkId, page: &Page) -> Result<Listing<HistoryRow>, StoreError> {
        read::history(&self.readers, id, page).await.map_err(error::of)
    }

    pub async fn payloads(&self, ids: &[EventId]) -> Result<Vec<SignedEvent>, StoreError> {
        read::payloads(&self.readers, ids).await.map_err(error::of)
    }

    pub async fn totals(&self) -> Result<Totals, StoreError> {
        stats::totals(&self.readers).await.map_err(error::of)
    }

    pub async fn failed(&self) -> Result<Failed, StoreError> {
        stats::failed(&self.readers).await.map_err(error::of)
    }

    pub async fn recent(&self, now: Timestamp) -> Result<Recent, StoreError> {
        stats::recent(&self.readers, now).await.map_err(error::of)
    }

    pub async fn last_received_at(&self) -> Result<Option<Time>, StoreError> {
        stats::last_received_at(&self.readers).await.map_err(error::of)
    }

    pub async fn failed_count(&self, limit: u32) -> Result<u64, StoreError> {
        read::failed_count(&self.readers, limit).await.map_err(error::of)
    }

    pub async fn close(&self) {
        tokio::join!(self.writers.close(), self.readers.close());
    }
}

/// One process at a time: the others wait for the first, however long it takes.
async fn migrate(connection: &mut PgConnection) -> Result<(), MigrateError> {
    connection.lock().await?;
    // A change to a table that somebody holds must not make all others queue up behind it.
    connection.execute("set lock_timeout = '5s'").await?;
    // `create schema if not exists` asks for the right to create one even where it exists.
    let exists = sqlx::query_scalar::<_, bool>("select to_regnamespace('clerk') is not null");
    if !exists.fetch_one(&mut *connection).await? {
        connection.execute("create schema if not exists clerk").await?;
    }
    migrator().run_direct(None, connection, false).await
}

fn newest_migration() -> i64 {
    migrator().iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The migrations, with their bookkeeping in our schema, where it never meets that of the application.
fn migrator() -> Migrator {
    static EMBEDDED: Migrator = sqlx::migrate!("migrations/postgres");
    let mut migrator = Migrator::with_migrations(EMBEDDED.iter().cloned().collect());
    migrator.dangerous_set_table_name("clerk._migrations");
    // `migrate` holds the lock already.
    migrator.set_locking(false);
    migrator
}
