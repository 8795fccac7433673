//! The store on PostgreSQL: one schema, one statement per write.
//!
//! Nothing here opens a transaction: a `begin` that is cancelled leaves its connection inside one (sqlx 0.9), and a
//! single statement is a transaction of its own.

mod address;
mod apply;
mod connection;
pub(super) mod error;
mod migrate;
mod migrations;
mod no_delay;
mod pool;
mod probe;
mod schema_fault;
mod schema_name;
mod schema_state;
mod session;
mod statements;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row, SqlStr};

use super::bind::Bind;
use super::queries::Queries;
use super::{Keep, Outcome, Parsed, SchemaVersion, StoreError, Write};
use crate::clerk::{ClerkId, EventId, Timestamp};
use pool::Pool;

pub use address::Address;
pub use probe::{Rights, ServerReport};
pub use schema_fault::SchemaFault;
pub use schema_name::SchemaName;
pub use schema_state::SchemaState;
pub use session::Pooling;
use session::{Server, SessionSettings};
use statements::Statements;

/// Which server. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    pub address: Address,
    /// The schema that holds the tables.
    pub schema: SchemaName,
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
    /// Why the last batch was not written, where time or a person may fix it.
    fault: Arc<Mutex<Option<StoreError>>>,
    /// Whether the schema has been this program's since the process started.
    was_current: Arc<AtomicBool>,
    pub(super) keep: Keep,
}

impl Store {
    /// Connects to nothing yet. Fails for a file of TLS that cannot be used.
    pub fn open(options: &Options) -> Result<Self, StoreError> {
        let server = Server::at(&options.address)?;
        let statements = Arc::new(Statements::new(options.schema.clone()));
        let pool =
            |settings, size| Pool::new(server.clone(), settings, Arc::clone(&statements), size);
        Ok(Self {
            // One more than batches in flight: the dead ends are drained beside them.
            writers: pool(
                SessionSettings::WRITER,
                options.connections.saturating_add(1),
            ),
            readers: pool(SessionSettings::READER, READERS),
            server,
            fault: Arc::default(),
            was_current: Arc::default(),
            keep: options.keep,
        })
    }

    /// Runs on one of the connections for questions, so that a command needs no second one. It ends, and with it all that it holds,
    /// unless all was made.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.readers.acquire().await.map_err(error::of)?;
        migrate::migrate(connection.connection(), self.readers.sql()).await?;
        connection.release();
        Ok(())
    }

    /// The newest migration of a schema that is ours.
    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        Ok(self.schema().await?.1)
    }

    /// Fails where nothing was found, and may be there: the role does not see every row.
    pub(super) async fn unless_hidden(
        &self,
        table: &str,
        is_nothing: bool,
    ) -> Result<(), StoreError> {
        if !is_nothing {
            return Ok(());
        }
        self.state(false).await?.check_visible(table)
    }

    /// The state of the schema, with the migrations that were made if they are asked for.
    async fn state(&self, with_migrations: bool) -> Result<SchemaState, StoreError> {
        let sql = self.readers.sql();
        let read = async |connection: &mut PgConnection| {
            SchemaState::read(connection, sql, with_migrations).await
        };
        connection::run(&self.readers, read)
            .await
            .map_err(error::of)
    }

    async fn schema(&self) -> Result<(SchemaState, SchemaVersion), StoreError> {
        let state = self.state(true).await?;
        state.check_versions()?;
        let (version, fault) = migrations::version(state.applied());
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        if version.found < Some(version.wanted) {
            // Its migrations could not be made.
            state.check_encoding()?;
        }
        Ok((state, version))
    }

    /// Whether this process can work with the schema that is there.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let (schema, version) = self.schema().await?;
        self.accept(version)?;
        schema.check(version)
    }

    /// Whether this process may work with the schema. The migrations of the next version leave this one working, so who is at
    /// work goes on until it is replaced; who starts does not know what it would miss, and is refused.
    fn accept(&self, version: SchemaVersion) -> Result<(), StoreError> {
        let checked = version.check();
        if checked.is_ok() {
            self.was_current.store(true, Ordering::Relaxed);
        } else if version.found > Some(version.wanted) && self.was_current.load(Ordering::Relaxed) {
            return Ok(());
        }
        checked
    }

    /// Whether a batch may be tried: a server that stands by for another, or has no more room, answers every question all
    /// the same. If the last batch was not written, a write that changes nothing is tried. It may succeed where an insert
    /// fails, so it does not clear the fault.
    pub async fn writable(&self) -> Result<(), StoreError> {
        let sql = self.readers.sql();
        let rows = self.ask(sql.may_write.clone(), &[]).await?;
        let allowed = rows.first().map(|row| row.try_get(0)).transpose();
        if allowed.map_err(error::of)? != Some(true) {
            return Err(error::of_missing_grant());
        }
        if self.last_fault().is_err() {
            self.ask(sql.try_write.clone(), &[]).await?;
        }
        Ok(())
    }

    /// Why the last batch was not written, until one is committed.
    pub fn last_fault(&self) -> Result<(), StoreError> {
        self.fault().clone().map_or(Ok(()), Err)
    }

    fn fault(&self) -> MutexGuard<'_, Option<StoreError>> {
        // One value cannot be half written.
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a write came to, kept in mind for `last_fault`.
    fn settle<T>(&self, written: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        let is_current = self.was_current.load(Ordering::Relaxed);
        let written = written.map_err(if is_current {
            error::of_write
        } else {
            error::of
        });
        match &written {
            Ok(_) => *self.fault() = None,
            Err(fault @ (StoreError::Unavailable(_) | StoreError::Incompatible(_))) => {
                *self.fault() = Some(fault.clone());
            }
            // Nothing was committed: the parts of the batch show whether one can be.
            Err(StoreError::Rejected { .. }) => {}
        }
        written
    }

    /// See `store::Store::inspect`.
    pub async fn inspect(&self) -> Result<ServerReport, StoreError> {
        probe::inspect(&self.server, &self.readers)
            .await
            .map_err(error::of)
    }

    /// Host, port and database, and the schema if it is another than usual.
    pub fn place(&self) -> String {
        let (place, schema) = (self.server.place(), &self.readers.sql().schema);
        if schema.is_default() {
            place
        } else {
            format!("{place}, schema {schema}")
        }
    }

    /// See `store::Store::apply`.
    pub async fn apply(&self, write: &Write) -> Result<Vec<Outcome>, StoreError> {
        if write.records.is_empty() && write.changes.is_empty() {
            return Ok(Vec::new());
        }
        let written = self.settle(apply::apply(&self.writers, write, self.keep).await);
        if let Err(StoreError::Rejected { text, .. }) = &written
            && write
                .records
                .iter()
                .all(|record| matches!(record.parsed, Parsed::Failed { .. }))
        {
            // There is no smaller part to attempt.
            let text = format!("a failed event cannot be recorded, and stays in the queue: {text}");
            *self.fault() = Some(StoreError::Incompatible(text));
        }
        written
    }

    pub async fn prune(&self, older_than: Timestamp, limit: u32) -> Result<u64, StoreError> {
        apply::prune(&self.writers, older_than, limit)
            .await
            .map_err(error::of)
    }

    pub async fn discard(&self, ids: &[EventId]) -> Result<Vec<String>, StoreError> {
        apply::discard(&self.writers, ids).await.map_err(error::of)
    }

    pub async fn erase(&self, id: &ClerkId) -> Result<(u64, u64), StoreError> {
        apply::erase(&self.writers, id).await.map_err(error::of)
    }

    pub async fn empty_payloads(&self, limit: u32) -> Result<u64, StoreError> {
        apply::empty_payloads(&self.writers, limit)
            .await
            .map_err(error::of)
    }

    pub async fn scrub(&self, limit: u32) -> Result<u64, StoreError> {
        apply::scrub(&self.writers, limit).await.map_err(error::of)
    }

    pub async fn forget(&self, id: &ClerkId) -> Result<(u64, u64), StoreError> {
        apply::forget(&self.writers, id).await.map_err(error::of)
    }

    pub async fn set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        apply::set(&self.writers, name, value)
            .await
            .map_err(error::of)
    }

    /// The questions, for the schema of this store.
    pub fn queries(&self) -> &Queries {
        &self.readers.sql().queries
    }

    /// The rows that answer a question.
    pub async fn ask(
        &self,
        statement: SqlStr,
        binds: &[Bind<'_>],
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut query = sqlx::query(statement);
        for bind in binds {
            query = match bind {
                Bind::Text(text) => query.bind(*text),
                Bind::Made(text) => query.bind(text.as_deref()),
                Bind::Boolean(value) => query.bind(*value),
                Bind::Integer(number) => query.bind(*number),
                Bind::Time(time) => query.bind(time.map(apply::utc)),
                Bind::Texts(texts) => query.bind(texts.clone()),
            };
        }
        connection::rows(&self.readers, query)
            .await
            .map_err(error::of)
    }

    pub async fn close(&self) {
        tokio::join!(self.writers.close(), self.readers.close());
    }
}
