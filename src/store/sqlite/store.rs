//! The store on SQLite.
//!
//! Other processes may read the file while one serves. Reads never create it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlStr, Sqlite};
use tokio::sync::Mutex;

use super::json_texts::json;
use super::{apply, demo_rule, error, file_changes, lowercase, record_changes};
use crate::clerk::{ClerkId, Timestamp};
use crate::clock::now;
use crate::private_file;
use crate::store::bind::Bind;
use crate::store::embedded_migrations::SQLITE as EMBEDDED;
use crate::store::waiters::Waiters;
use crate::store::{Keep, Outcome, SchemaVersion, StoreError, Write};

/// The file, and what is kept in it. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    /// The path.
    pub path: PathBuf,
    /// What to keep of events and deleted users.
    pub keep: Keep,
    /// Whether changes of rows are recorded for applications.
    pub change_feed: bool,
}

/// What the file is like.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// The version of the schema.
    pub schema: SchemaVersion,
    /// Whether other users of this machine cannot read the file; `None` if there is no file.
    pub is_private: Option<bool>,
}

/// Most connections for reads.
const READERS: u32 = 4;

/// Longest wait for another process that writes, such as a second command.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two tries where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Largest file, in pages (64 MiB), that is checked for damage at the start: the check reads every
/// page, at about 0.5 s for so many. Damage in a larger one shows when it is met.
const CHECKED_PAGES_MAX: i64 = 16_384;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle on the file. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    pub(super) path: PathBuf,
    writer: Arc<Mutex<Writer>>,
    /// Whether the last write failed, and was not rejected.
    is_failing: Arc<AtomicBool>,
    readers: SqlitePool,
    pub(in crate::store) keep: Keep,
    pub(in crate::store) change_feed: bool,
    pub(in crate::store) waiters: Arc<Waiters>,
}

/// What writes to the file.
#[derive(Default)]
struct Writer {
    /// Opened at the first write, and again after it failed.
    connection: Option<SqliteConnection>,
    /// The account that each connection refuses, see [`demo_rule`].
    refused: Option<ClerkId>,
}

impl Store {
    /// Makes the value. Opens nothing yet.
    pub fn open(options: &Options) -> Self {
        let read = connect_options(&options.path).read_only(true);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(read);
        Self {
            path: options.path.clone(),
            writer: Arc::default(),
            is_failing: Arc::default(),
            readers,
            keep: options.keep,
            change_feed: options.change_feed,
            waiters: Arc::default(),
        }
    }

    /// Creates the file and its directory if they are missing.
    ///
    /// # Errors
    /// Fails if a migration cannot be made.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        if let Some(directory) = self.path.parent() {
            private_file::create_directory(directory).map_err(|error| {
                StoreError::Unavailable(format!("{} cannot be made: {error}", directory.display()))
            })?;
        }
        let mut connection = self.create().await?;
        let migrated = migrate(&mut connection).await;
        drop(connection.close().await);
        migrated.map_err(|error| error::of_migration(&self.path, error))
    }

    /// Opens the file, or creates it. Processes that create it at once fail to switch it to WAL,
    /// whatever the busy timeout, so they try again for as long.
    async fn create(&self) -> Result<SqliteConnection, StoreError> {
        self.make_private();
        let options = durable(connect_options(&self.path)).create_if_missing(true);
        let started = Instant::now();
        loop {
            match options.connect().await.map_err(|error| self.fault(error)) {
                Err(StoreError::Unavailable(_)) if started.elapsed() < BUSY_TIMEOUT => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    /// Creates the file, for this user alone, if there is none: it will hold personal data, and
    /// SQLite gives the two files beside it the same permissions. If that fails, SQLite reports
    /// why.
    fn make_private(&self) {
        drop(private_file::options().create_new(true).open(&self.path));
    }

    /// Checks for damage. A transient fault is no error here: it is met again at the first write.
    ///
    /// # Errors
    /// Fails for a damaged file.
    pub async fn check(&self) -> Result<(), StoreError> {
        if !self.path.exists() {
            return Ok(());
        }
        let checked = async {
            let pages: i64 = sqlx::query_scalar("pragma page_count")
                .fetch_one(&self.readers)
                .await?;
            if pages > CHECKED_PAGES_MAX {
                return Ok(true);
            }
            let found: String = sqlx::query_scalar("pragma quick_check(1)")
                .fetch_one(&self.readers)
                .await?;
            Ok(found == "ok")
        };
        match checked.await.map_err(|error| self.fault(error)) {
            Ok(true) | Err(StoreError::Unavailable(_)) => Ok(()),
            Ok(false) => Err(error::damaged(&self.path)),
            Err(error) => Err(error),
        }
    }

    /// See [`crate::store::Store::schema_version`].
    ///
    /// # Errors
    /// As there.
    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        let wanted = EMBEDDED
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or(0);
        let newest = async {
            let is_migrated =
                "select exists (select 1 from sqlite_schema where name = '_migrations')";
            let is_migrated = sqlx::query_scalar(is_migrated).fetch_one(&self.readers);
            if !self.path.exists() || !is_migrated.await? {
                return Ok(None);
            }
            sqlx::query_scalar("select max(version) from _migrations where success")
                .fetch_one(&self.readers)
                .await
        };
        let found = newest.await.map_err(|error| self.fault(error))?;
        Ok(SchemaVersion { found, wanted })
    }

    /// See [`crate::store::Store::inspect`].
    ///
    /// # Errors
    /// As there.
    pub async fn inspect(&self) -> Result<FileReport, StoreError> {
        self.check().await?;
        let schema = self.schema_version().await?;
        let is_private = std::fs::metadata(&self.path)
            .ok()
            .map(|file| is_private(&file));
        Ok(FileReport { schema, is_private })
    }

    /// See [`crate::store::Store::place`].
    pub fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// See [`crate::store::Store::apply`].
    ///
    /// # Errors
    /// As there.
    pub async fn apply(&self, write: &Write) -> Result<Vec<Outcome>, StoreError> {
        if write.records.is_empty() && write.changes.is_empty() {
            return Ok(Vec::new());
        }
        self.write(async |connection| {
            apply::apply(connection, write, self.keep, self.change_feed).await
        })
        .await
    }

    /// See [`crate::store::Store::prune`].
    ///
    /// # Errors
    /// As there.
    pub async fn prune(&self, older_than: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let prune = sqlx::query(include_str!("prune.sql"))
            .bind(older_than.ms())
            .bind(limit);
        self.execute(prune).await
    }

    /// See [`crate::store::Store::set`].
    ///
    /// # Errors
    /// As there.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let set = sqlx::query(include_str!("set.sql"))
            .bind(name)
            .bind(value)
            .bind(now().ms());
        self.execute(set).await.map(drop)
    }

    /// See [`crate::store::Store::record_processes`].
    ///
    /// # Errors
    /// As there.
    pub async fn record_processes(&self, signs: &str) -> Result<(), StoreError> {
        let record = sqlx::query(include_str!("record_processes.sql")).bind(signs);
        self.execute(record).await?;
        let forget = sqlx::query(include_str!("forget_processes.sql"));
        self.execute(forget).await.map(drop)
    }

    /// See [`crate::store::Store::remove_process`].
    ///
    /// # Errors
    /// As there.
    pub async fn remove_process(&self, process_id: &str) -> Result<(), StoreError> {
        let remove = sqlx::query(include_str!("remove_process.sql")).bind(process_id);
        self.execute(remove).await.map(drop)
    }

    /// Runs one statement that writes. Returns how many rows it changed.
    pub(super) async fn execute(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<u64, StoreError> {
        let done = self.write(async |connection| query.execute(connection).await);
        done.await.map(|done| done.rows_affected())
    }

    /// Runs `write` on the connection that writes. After an error, which may have left it inside a
    /// transaction, the next write opens another.
    pub(super) async fn write<T>(
        &self,
        write: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let mut writer = self.writer.lock().await;
        if writer.connection.is_none() {
            let opened = self.open_to_write(writer.refused.as_ref()).await;
            writer.connection = Some(opened.map_err(|error| self.fault(error))?);
        }
        let connection = writer.connection.as_mut();
        let connection =
            connection.ok_or(StoreError::Unavailable("the file is not open".into()))?;
        let done = write(connection).await.map_err(|error| {
            writer.connection = None;
            self.fault(error)
        });
        let is_failing = matches!(
            done,
            Err(StoreError::Unavailable(_) | StoreError::Incompatible(_))
        );
        self.is_failing.store(is_failing, Ordering::Relaxed);
        done
    }

    async fn open_to_write(
        &self,
        refused: Option<&ClerkId>,
    ) -> Result<SqliteConnection, sqlx::Error> {
        let options = durable(connect_options(&self.path));
        let mut connection = options.connect().await?;
        if self.change_feed {
            record_changes::install_triggers(&mut connection).await?;
        }
        if let Some(account) = refused {
            demo_rule::set(&mut connection, account).await?;
        }
        Ok(connection)
    }

    /// Refuses this account if another row has its address, until this is called with `None`: for
    /// `dev --demo`.
    pub async fn set_demo_rule(&self, account: Option<&ClerkId>) {
        let mut writer = self.writer.lock().await;
        writer.refused = account.cloned();
        // The next write opens another. The rule goes with its connection: that cannot fail, as a
        // statement could.
        writer.connection = None;
    }

    /// Checks that a write can be made. One is tried if the last one failed: a read does not show a
    /// missing permission, or a full disk.
    ///
    /// # Errors
    /// Fails if no write can be made.
    pub async fn writable(&self) -> Result<(), StoreError> {
        if !self.is_failing.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.execute(sqlx::query(include_str!("try_write.sql")))
            .await
            .map(drop)
    }

    /// The rows that a query returns.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn query(
        &self,
        statement: SqlStr,
        binds: &[Bind<'_>],
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let mut query = sqlx::query(statement);
        for bind in binds {
            query = match bind {
                Bind::Text(text) => query.bind(*text),
                Bind::Owned(text) => query.bind(text.as_deref()),
                Bind::Boolean(value) => query.bind(*value),
                Bind::Integer(number) => query.bind(*number),
                Bind::Time(time) => query.bind(time.map(Timestamp::ms)),
                Bind::Texts(texts) => {
                    let texts = texts.as_ref().map(|texts| json(texts.iter().copied()));
                    query.bind(texts)
                }
            };
        }
        let rows = query.fetch_all(&self.readers).await;
        rows.map_err(|error| self.fault(error))
    }

    /// Follows the file for those who wait, until the task ends. `query` finds the rows that are
    /// waited for.
    pub async fn follow<F>(&self, task: u64, query: impl Fn() -> F)
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let options = connect_options(&self.path).read_only(true);
        file_changes::follow(&options, &self.waiters, task, query).await;
    }

    /// See [`crate::store::Store::close`].
    pub async fn close(&self) {
        self.waiters.close().await;
        self.readers.close().await;
        if let Some(connection) = self.writer.lock().await.connection.take() {
            // Everything is committed; closing only tidies the files up.
            drop(connection.close().await);
        }
    }

    /// An error of SQLite, as what the caller can do.
    pub(in crate::store) fn fault(&self, error: sqlx::Error) -> StoreError {
        error::of(&self.path, error)
    }
}

#[cfg(unix)]
fn is_private(file: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o077 == 0
}

#[cfg(not(unix))]
fn is_private(_: &std::fs::Metadata) -> bool {
    true
}

fn connect_options(path: &std::path::Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .disable_statement_logging()
}

/// The options of a connection that writes. WAL, so that readers and the writer do not wait for
/// each other: it stays with the file, and a reader cannot set it. `synchronous=FULL`, so that a
/// commit is on disk.
fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // What is erased is overwritten, not only left behind in pages that are free.
        .pragma("secure_delete", "on")
}

/// Whether the rows that are there have their lower case.
const IS_FOLDED: &str =
    "select exists (select 1 from pragma_table_info('users') where name = 'folded')";

/// One process at a time: sqlx has no lock for SQLite, so a transaction of ours is one.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), sqlx::migrate::MigrateError> {
    let mut migrator = Migrator::with_migrations(EMBEDDED.iter().cloned().collect());
    migrator.dangerous_set_table_name("_migrations");
    // Locked from the first query on: two processes would both find the schema missing.
    let mut transaction = connection.begin_with("begin immediate").await?;
    let is_folded: bool = sqlx::query_scalar(IS_FOLDED)
        .fetch_one(&mut *transaction)
        .await?;
    migrator.run_direct(None, &mut *transaction, false).await?;
    if !is_folded {
        lowercase::fill(&mut transaction).await?;
    }
    Ok(transaction.commit().await?)
}
