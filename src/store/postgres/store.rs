//! The store on PostgreSQL.
//!
//! Nothing here opens a transaction: a `begin` that is cancelled leaves its connection inside one
//! (sqlx 0.9), and a single statement is a transaction of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row, SqlStr};

use super::address::Address;
use super::pool::{Pool, PooledConnection};
use super::probe::{self, ServerReport};
use super::schema_name::SchemaName;
use super::schema_state::SchemaState;
use super::session::{Server, SessionSettings};
use super::settling::Settling;
use super::statements::Statements;
use super::{apply, connection, error, listen, migrate, migrations};
use crate::clerk::{Table, Timestamp};
use crate::store::bind::Bind;
use crate::store::queries::Queries;
use crate::store::waiters::Waiters;
use crate::store::{Keep, Outcome, Parsed, SchemaVersion, StoreError, Write};

/// The server, and how it is used. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address of the server.
    pub address: Address,
    /// The schema that holds the tables.
    pub schema: SchemaName,
    /// Most connections for writes.
    pub connections: u32,
    /// What to keep of events and deleted users.
    pub keep: Keep,
    /// Whether changes of rows are recorded for applications.
    pub change_feed: bool,
}

/// Most connections for reads, so that these never wait for a write.
const READERS: u32 = 4;

/// A handle on the database. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    server: Server,
    writers: Pool,
    readers: Pool,
    /// Why the last batch was not written; `None` if it was, or is isolated.
    fault: Arc<Mutex<Option<StoreError>>>,
    /// Whether the schema has been this program's since the process started.
    was_current: Arc<AtomicBool>,
    pub(in crate::store) keep: Keep,
    pub(in crate::store) change_feed: bool,
    pub(super) settling: Arc<tokio::sync::Mutex<Settling>>,
    pub(in crate::store) waiters: Arc<Waiters>,
}

impl Store {
    /// Makes the value. Connects to nothing yet.
    ///
    /// # Errors
    /// Fails for a file of TLS that cannot be used.
    pub fn open(options: &Options) -> Result<Self, StoreError> {
        let server = Server::at(&options.address)?;
        let statements = Arc::new(Statements::new(options.schema.clone(), options.change_feed));
        let pool =
            |settings, size| Pool::new(server.clone(), settings, Arc::clone(&statements), size);
        Ok(Self {
            // More than batches in flight: the secondary sources are drained beside them, and changes
            // are published.
            writers: pool(
                SessionSettings::WRITER,
                options.connections + 1 + u32::from(options.change_feed),
            ),
            readers: pool(SessionSettings::READER, READERS),
            server,
            fault: Arc::default(),
            was_current: Arc::default(),
            keep: options.keep,
            change_feed: options.change_feed,
            settling: Arc::default(),
            waiters: Arc::default(),
        })
    }

    /// Runs on one of the connections for reads, so that a command needs no second one. The
    /// connection is closed, and with it the lock, unless all was made.
    ///
    /// # Errors
    /// Fails if a migration cannot be made.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.readers.acquire().await.map_err(error::of)?;
        migrate::migrate(connection.connection(), self.readers.sql()).await?;
        connection.release();
        Ok(())
    }

    /// The newest migration of a schema that is ours.
    ///
    /// # Errors
    /// As there.
    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        Ok(self.schema().await?.1)
    }

    /// Fails where nothing was found, and may be there: the role does not see every row.
    ///
    /// # Errors
    /// Fails if row-level security hides rows.
    pub(in crate::store) async fn unless_hidden(
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

    /// Checks that this process can work with the schema.
    ///
    /// # Errors
    /// Fails if it cannot.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let (schema, version) = self.schema().await?;
        self.accept(version)?;
        schema.check(version)
    }

    /// Whether this process may work with the schema. The migrations of the next version leave this
    /// one working, so a process that already runs continues until it is replaced. A process of
    /// this version that starts later is refused: it cannot know what changed.
    fn accept(&self, version: SchemaVersion) -> Result<(), StoreError> {
        let checked = version.check();
        if checked.is_ok() {
            self.was_current.store(true, Ordering::Relaxed);
        } else if version.found > Some(version.wanted) && self.was_current.load(Ordering::Relaxed) {
            return Ok(());
        }
        checked
    }

    /// Whether a batch may be tried: a standby, or a server whose disk is full, still answers every
    /// query. If the last batch was not written, a write that changes nothing is tried. It may
    /// succeed where an insert fails, so it does not clear the fault.
    ///
    /// # Errors
    /// Fails if no write can be made.
    pub async fn writable(&self) -> Result<(), StoreError> {
        let sql = self.readers.sql();
        let rows = self.query(sql.may_write.clone(), &[]).await?;
        let allowed = rows.first().map(|row| row.try_get(0)).transpose();
        if allowed.map_err(error::of)? != Some(true) {
            return Err(error::of_missing_grant());
        }
        if self.last_fault().is_err() {
            // A role without rights on `settings` can apply events all the same: `may_write` has
            // checked the tables that a batch writes.
            let tried = self.query(sql.try_write.clone(), &[]).await;
            if let Err(error @ StoreError::Unavailable(_)) = tried {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Why the last batch was not written, until one is committed.
    ///
    /// # Errors
    /// Fails with that fault.
    pub fn last_fault(&self) -> Result<(), StoreError> {
        self.fault().clone().map_or(Ok(()), Err)
    }

    fn fault(&self) -> MutexGuard<'_, Option<StoreError>> {
        // One value cannot be half written.
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the fault of a write for `last_fault`.
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

    /// See [`crate::store::Store::inspect`].
    ///
    /// # Errors
    /// As there.
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

    /// See [`crate::store::Store::apply`].
    ///
    /// # Errors
    /// As there.
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

    /// See [`crate::store::Store::prune`].
    ///
    /// # Errors
    /// As there.
    pub async fn prune(&self, older_than: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let binds = [older_than.into(), limit.into()];
        count(&self.write(|sql| &sql.prune, &binds).await?, "lines")
    }

    /// See [`crate::store::Store::set`].
    ///
    /// # Errors
    /// As there.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let binds = [name.into(), value.into()];
        self.write(|sql| &sql.set, &binds).await.map(drop)
    }

    /// See [`crate::store::Store::record_processes`].
    ///
    /// # Errors
    /// As there.
    pub async fn record_processes(&self, signs: &str) -> Result<(), StoreError> {
        let binds = [signs.into()];
        self.write(|sql| &sql.record_processes, &binds)
            .await
            .map(drop)
    }

    /// See [`crate::store::Store::remove_process`].
    ///
    /// # Errors
    /// As there.
    pub async fn remove_process(&self, process_id: &str) -> Result<(), StoreError> {
        let binds = [process_id.into()];
        self.write(|sql| &sql.remove_process, &binds)
            .await
            .map(drop)
    }

    /// See [`crate::store::Store::control_before_write`].
    ///
    /// # Errors
    /// As there.
    pub async fn control_before_write(&self) -> Result<Vec<PgRow>, StoreError> {
        self.write(|sql| &sql.queries.control, &[]).await
    }

    /// The rows that a statement returns which writes.
    pub(super) async fn write(
        &self,
        statement: impl Fn(&Statements) -> &SqlStr,
        binds: &[Bind<'_>],
    ) -> Result<Vec<PgRow>, StoreError> {
        let statement = statement(self.writers.sql()).clone();
        rows(&self.writers, statement, binds).await
    }

    /// A connection that writes.
    pub(super) async fn writer(&self) -> Result<PooledConnection, StoreError> {
        self.writers.acquire().await.map_err(error::of)
    }

    /// The statements, for the schema of this store.
    pub(super) fn sql(&self) -> &Statements {
        self.writers.sql()
    }

    /// The queries, for the schema of this store.
    pub fn queries(&self) -> &Queries {
        &self.readers.sql().queries
    }

    /// The statement of a list of rows of this table.
    pub fn list_of(&self, table: &Table, sql: &str) -> SqlStr {
        self.readers.sql().list_of(table, sql)
    }

    /// The statement of a list, with these conditions.
    pub fn list(&self, sql: &str, conditions: &[(&str, &str)]) -> SqlStr {
        self.readers.sql().list(sql, conditions)
    }

    /// The rows that a query returns.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn query(
        &self,
        statement: SqlStr,
        binds: &[Bind<'_>],
    ) -> Result<Vec<PgRow>, StoreError> {
        rows(&self.readers, statement, binds).await
    }

    /// Follows the database for those who wait, until the task ends. `query` finds the rows that
    /// are waited for.
    pub async fn follow<F>(&self, task: u64, query: impl Fn() -> F)
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        listen::follow(&self.server, &self.waiters, task, query).await;
    }

    /// See [`crate::store::Store::close`].
    pub async fn close(&self) {
        self.waiters.close().await;
        tokio::join!(self.writers.close(), self.readers.close());
    }
}

async fn rows(
    pool: &Pool,
    statement: SqlStr,
    binds: &[Bind<'_>],
) -> Result<Vec<PgRow>, StoreError> {
    let mut query = sqlx::query(statement);
    for bind in binds {
        query = match bind {
            Bind::Text(text) => query.bind(*text),
            Bind::Owned(text) => query.bind(text.as_deref()),
            Bind::Boolean(value) => query.bind(*value),
            Bind::Integer(number) => query.bind(*number),
            Bind::Time(time) => query.bind(time.map(apply::utc)),
            Bind::Texts(texts) => query.bind(texts.clone()),
        };
    }
    connection::rows(pool, query).await.map_err(error::of)
}

/// A count in the first row.
pub(super) fn count(rows: &[PgRow], column: &str) -> Result<u64, StoreError> {
    let count: Result<i64, _> = rows.first().map_or(Ok(0), |row| row.try_get(column));
    count.map(i64::unsigned_abs).map_err(error::of)
}
