//! The store on SQLite: one file, one writer at a time.
//!
//! Other processes may read the file while one serves. Questions never make it.

mod apply;
mod error;
pub(super) mod lowercase;
mod multi_insert;
pub(super) mod statements;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlStr};
use tokio::sync::{Mutex, MutexGuard};

use super::bind::Bind;
use super::{Keep, Outcome, SchemaVersion, StoreError, Write};
use crate::clerk::{ClerkId, EventId, Timestamp};
use crate::clock::now;
use crate::private_file;

/// Which file. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    pub path: PathBuf,
    pub keep: Keep,
}

/// What is there.
#[derive(Debug, Clone)]
pub struct FileReport {
    pub schema: SchemaVersion,
    /// Whether nobody else on this machine may read the file; nothing where there is none.
    pub is_private: Option<bool>,
}

/// Most connections for questions.
const READERS: u32 = 4;

/// Longest wait for another process that writes, such as a second command.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two tries where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Largest file, in pages (64 MiB), that is checked for damage at the start: the check reads every page, at about 0.5 s for
/// so many. Damage in a larger one shows when it is met.
const CHECKED_PAGES_MAX: i64 = 16_384;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle on the file. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    /// Opened at the first write, and again after it failed.
    writer: Arc<Mutex<Option<SqliteConnection>>>,
    /// Whether the last write failed for what time or a person may mend.
    failing: Arc<AtomicBool>,
    readers: SqlitePool,
    pub(super) keep: Keep,
}

impl Store {
    /// Opens nothing yet.
    pub fn open(options: &Options) -> Self {
        let read = connect_options(&options.path).read_only(true);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(read);
        Self {
            path: options.path.clone(),
            writer: Arc::default(),
            failing: Arc::default(),
            readers,
            keep: options.keep,
        }
    }

    /// Makes the file and its directory where they are missing.
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

    /// Opens the file, or makes it. Processes that make it at once fail to switch it to WAL, whatever the busy timeout, so
    /// they try again for as long.
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

    /// Makes the file, for this user alone, where there is none: it will hold personal data, and SQLite gives the two files
    /// beside it the same permissions. Where that fails SQLite says why.
    fn make_private(&self) {
        drop(private_file::options().create_new(true).open(&self.path));
    }

    /// Looks for damage. Fails only where there is some: whatever passes by itself is met again at the first write.
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

    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        let wanted = MIGRATIONS
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or(0);
        if !self.path.exists() {
            return Ok(SchemaVersion {
                found: None,
                wanted,
            });
        }
        let known = sqlx::query_scalar::<_, bool>(
            "select exists (select 1 from sqlite_schema where name = '_migrations')",
        );
        if !known
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.fault(error))?
        {
            return Ok(SchemaVersion {
                found: None,
                wanted,
            });
        }
        let found = sqlx::query_scalar("select max(version) from _migrations where success");
        let found = found
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.fault(error))?;
        Ok(SchemaVersion { found, wanted })
    }

    /// See `store::Store::inspect`.
    pub async fn inspect(&self) -> Result<FileReport, StoreError> {
        self.check().await?;
        let schema = self.schema_version().await?;
        let is_private = std::fs::metadata(&self.path)
            .ok()
            .map(|file| is_private(&file));
        Ok(FileReport { schema, is_private })
    }

    pub fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// See `store::Store::apply`.
    pub async fn apply(&self, write: &Write) -> Result<Vec<Outcome>, StoreError> {
        if write.records.is_empty() && write.changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut writer = self.writer().await?;
        let Some(connection) = writer.as_mut() else {
            return Err(StoreError::Unavailable("the file is not open".into()));
        };
        let applied = apply::apply(connection, write, self.keep).await;
        self.settle(&mut writer, applied)
    }

    pub async fn prune(&self, older_than: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let Some(connection) = writer.as_mut() else {
            return Err(StoreError::Unavailable("the file is not open".into()));
        };
        let prune = sqlx::query(include_str!("sqlite/prune.sql"))
            .bind(older_than.ms())
            .bind(limit);
        let pruned = prune
            .execute(connection)
            .await
            .map(|done| done.rows_affected());
        self.settle(&mut writer, pruned)
    }

    pub async fn discard(&self, ids: &[EventId]) -> Result<Vec<String>, StoreError> {
        let mut writer = self.writer().await?;
        let Some(connection) = writer.as_mut() else {
            return Err(StoreError::Unavailable("the file is not open".into()));
        };
        // An ID holds no character that JSON would have to escape.
        let ids: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
        let discard = sqlx::query_scalar(include_str!("sqlite/discard.sql"));
        let discarded = discard
            .bind(format!("[{}]", ids.join(",")))
            .bind(now().ms())
            .fetch_all(connection)
            .await;
        self.settle(&mut writer, discarded)
    }

    pub async fn set(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        let Some(connection) = writer.as_mut() else {
            return Err(StoreError::Unavailable("the file is not open".into()));
        };
        let set = sqlx::query(include_str!("sqlite/set.sql"))
            .bind(name)
            .bind(value)
            .bind(now().ms());
        let done = set.execute(connection).await;
        self.settle(&mut writer, done).map(drop)
    }

    pub async fn erase(&self, id: &ClerkId) -> Result<(u64, u64), StoreError> {
        self.erase_those(apply::Which::User(id)).await
    }

    pub async fn empty_payloads(&self, limit: u32) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let Some(connection) = writer.as_mut() else {
            return Err(StoreError::Unavailable("the file is not open".into()));
        };
        let empty = sqlx::query(SqlStr::clone(&statements::EMPTY_PAYLOADS_OF_ERASED)).bind(limit);
        let emptied = empty
            .execute(connection)
            .await
            .map(|done| done.rows_affected());
        self.settle(&mut writer, emptied)
    }

    pub async fn scrub(&self, limit: u32) -> Result<u64, StoreError> {
        Ok(self.erase_those(apply::Which::Deleted { limit }).await?.0)
    }

    async fn erase_those(&self, which: apply::Which<'_>) -> Result<(u64, u64), StoreError> {
        let mut writer = self.writer().await?;
        let Some(connection) = writer.as_mut() else {
            return Err(StoreError::Unavailable("the file is not open".into()));
        };
        let erased = apply::erase(connection, which).await;
        self.settle(&mut writer, erased)
    }

    pub async fn forget(&self, id: &ClerkId) -> Result<(u64, u64), StoreError> {
        let mut writer = self.writer().await?;
        let Some(connection) = writer.as_mut() else {
            return Err(StoreError::Unavailable("the file is not open".into()));
        };
        let forgotten = apply::forget(connection, id).await;
        self.settle(&mut writer, forgotten)
    }

    /// A connection that failed may be inside a transaction: the next write opens another.
    fn settle<T>(
        &self,
        writer: &mut Option<SqliteConnection>,
        done: Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let done = done.map_err(|error| {
            *writer = None;
            self.fault(error)
        });
        let failing = matches!(
            done,
            Err(StoreError::Unavailable(_) | StoreError::Incompatible(_))
        );
        self.failing.store(failing, Ordering::Relaxed);
        done
    }

    /// Whether a write can be made. One is tried where the last one failed: reading says nothing of a file without
    /// permission, or of a full disk.
    pub async fn writable(&self) -> Result<(), StoreError> {
        if !self.failing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut writer = self.writer().await?;
        let Some(connection) = writer.as_mut() else {
            return Err(StoreError::Unavailable("the file is not open".into()));
        };
        let tried = sqlx::query(include_str!("sqlite/try_write.sql"))
            .execute(connection)
            .await;
        self.settle(&mut writer, tried).map(|_| ())
    }

    async fn writer(&self) -> Result<MutexGuard<'_, Option<SqliteConnection>>, StoreError> {
        let mut writer = self.writer.lock().await;
        if writer.is_none() {
            let options = durable(connect_options(&self.path));
            *writer = Some(options.connect().await.map_err(|error| self.fault(error))?);
        }
        Ok(writer)
    }

    /// The rows that answer a question.
    pub async fn ask(
        &self,
        statement: SqlStr,
        binds: &[Bind<'_>],
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let mut query = sqlx::query(statement);
        for bind in binds {
            query = match bind {
                Bind::Text(text) => query.bind(*text),
                Bind::Made(text) => query.bind(text.as_deref()),
                Bind::Boolean(value) => query.bind(*value),
                Bind::Integer(number) => query.bind(*number),
                Bind::Time(time) => query.bind(time.map(Timestamp::ms)),
                Bind::Texts(texts) => query.bind(apply::json(texts.iter().copied())),
            };
        }
        let rows = query.fetch_all(&self.readers).await;
        rows.map_err(|error| self.fault(error))
    }

    pub async fn close(&self) {
        self.readers.close().await;
        if let Some(connection) = self.writer.lock().await.take() {
            // Everything is committed; closing only tidies the files up.
            drop(connection.close().await);
        }
    }

    pub(super) fn fault(&self, error: sqlx::Error) -> StoreError {
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

/// For who writes. WAL, so that readers and the writer do not wait for each other: it stays with the file, and one who only
/// reads cannot set it. `synchronous=FULL`, so that a commit is on disk.
fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // What is erased is overwritten, not only left behind in pages that are free.
        .pragma("secure_delete", "on")
}

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Whether the rows that are there have their lower case.
const IS_FOLDED: &str =
    "select exists (select 1 from pragma_table_info('users') where name = 'folded')";

/// One process at a time: sqlx has no lock for SQLite, so a transaction of ours is one.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), sqlx::migrate::MigrateError> {
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrator.dangerous_set_table_name("_migrations");
    // Locked from the first question on: two processes would both find the schema missing.
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
