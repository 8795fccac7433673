//! The file of the embedded queue: created, checked and opened.
//!
//! - Only a file of this program, in a known version, is opened. Any other file is refused with an
//!   error that says what to do, and not changed.
//! - A commit is on disk when it returns: write-ahead log, `synchronous = FULL`.
//! - The file keeps its greatest size: pages of acknowledged events are used again. The log beside
//!   it restarts after every full checkpoint and is cut to `LOG_BYTES_MAX` then. It cannot restart
//!   during a read, so every read here is short; another program that keeps a read open makes it
//!   grow until it ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::Access;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor};

use crate::private_file;
use crate::queue::error::OpenError;

/// What upgrades a file to each version, from an empty one. `PRAGMA user_version` says how many of
/// them it has.
const UPGRADES: [&str; 3] = [
    include_str!("schema.sql"),
    include_str!("upgrade_2.sql"),
    include_str!("upgrade_3.sql"),
];

const SCHEMA_VERSION: i64 = UPGRADES.len() as i64;

/// What `PRAGMA application_id` says of a queue file: "CSQ1". Keeps the program from writing into
/// another's database.
const APPLICATION_ID: i64 = 0x4353_5131;

/// Whether the file is new.
const IS_EMPTY: &str = "select not exists (select 1 from sqlite_schema)
     and (select application_id = 0 from pragma_application_id)
     and (select user_version = 0 from pragma_user_version)";

/// Whether the file has an older version than `?1`.
const IS_OLDER: &str = "select user_version < ?1 from pragma_user_version";

/// Whether the file has an ID. A file of an older version has none.
const HAS_IDENTITY: &str = "select exists (select 1 from sqlite_schema where name = 'identity')";

/// Gives the file an ID, which stays when it is moved. The version does not change: an older
/// version ignores the ID.
const IDENTIFY: &str =
    "create table if not exists identity (id integer primary key check (id = 1), value text not null) strict;
     insert or ignore into identity values (1, lower(hex(randomblob(16))))";

/// Before 3.51.3 two connections could damage a file when one of them restarted the write-ahead
/// log.
const SQLITE_VERSION_MIN: [u32; 3] = [3, 51, 3];

/// Longest wait for a lock of another process, which only inserts a few rows.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between attempts to switch to the write-ahead log, while several processes create the file.
const SWITCH_AGAIN: Duration = Duration::from_millis(5);

/// Size to which the write-ahead log is cut when it restarts, in bytes: more than it needs between
/// two checkpoints.
const LOG_BYTES_MAX: &str = "67108864";

/// Largest file, in pages (16 MiB), that is checked for damage at opening. The check reads every
/// page: with a backlog it would delay the start for minutes; usually the queue is empty.
const CHECKED_PAGES_MAX: i64 = 4096;

/// What was found at the path of a queue file.
#[derive(Debug, Clone, Default)]
pub struct FileInspection {
    /// The ID of the file; `None` if there is no queue yet. Empty for a file of an older version.
    pub id: Option<String>,
    /// Events that wait; `None` if there is no queue yet.
    pub events: Option<u64>,
    /// Whether other users of this machine cannot read the file.
    pub is_private: bool,
}

/// A queue file, and how it is opened.
#[derive(Debug, Clone)]
pub struct QueueFile {
    path: PathBuf,
    /// Simulates a full disk in tests, in pages: SQLite fails with the same error.
    pages_max: Option<u32>,
}

impl QueueFile {
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            pages_max: None,
        }
    }

    #[cfg(test)]
    pub fn with_pages_max(self, pages_max: u32) -> Self {
        Self {
            pages_max: Some(pages_max),
            ..self
        }
    }

    /// Creates the file if it is missing, checks it, and opens it for writing.
    pub async fn prepare(&self) -> Result<SqliteConnection, OpenError> {
        self.create().map_err(|error| {
            let path = self.path.display();
            OpenError(format!("the queue file {path} cannot be made: {error}. Make its directory writable, or set DATA_DIR to one that is"))
        })?;
        let refused = |error| self.refused(&error);
        // Before SQLite creates the files beside it, with the same permissions.
        rustix::fs::access(&self.path, Access::WRITE_OK)
            .map_err(|error| refused(sqlx::Error::Io(error.into())))?;
        // Sets nothing that stays in the file: it may belong to another program.
        let mut connection = self.options().connect().await.map_err(refused)?;
        self.check(&mut connection).await?;
        connection.close().await.map_err(refused)?;
        let start = Instant::now();
        let mut connection = loop {
            match self.connect().await {
                // The switch to the write-ahead log does not wait for a lock: SQLite is busy at
                // once.
                Err(error)
                    if primary_code(&error) == Some(BUSY) && start.elapsed() < BUSY_TIMEOUT =>
                {
                    tokio::time::sleep(SWITCH_AGAIN).await;
                }
                connected => break connected.map_err(refused)?,
            }
        };
        // SQLite opens a read-only file without an error, and fails at the first write, even of no
        // rows.
        let write = connection.execute("delete from queue where false").await;
        write.map_err(refused)?;
        Ok(connection)
    }

    /// Inspects the file. Creates and upgrades nothing.
    pub async fn inspect(&self) -> Result<FileInspection, OpenError> {
        let mut found = FileInspection {
            is_private: self.is_private(),
            ..FileInspection::default()
        };
        if !self.path.exists() {
            return Ok(found);
        }
        let reader = self.connect_reader().await;
        let mut reader = reader.map_err(|error| self.refused(&error))?;
        let connection = &mut reader;
        if self.ask::<bool>(connection, IS_EMPTY).await? {
            return Ok(found);
        }
        self.recognize(connection).await?;
        let events = self
            .ask::<i64>(connection, "select events from depth")
            .await?;
        found.events = u64::try_from(events).ok();
        found.id = Some(if self.ask::<bool>(connection, HAS_IDENTITY).await? {
            self.ask(connection, "select value from identity").await?
        } else {
            String::new()
        });
        // The last connection to close takes the files beside it away.
        drop(reader.close().await);
        Ok(found)
    }

    /// Whether other users of this machine cannot read the file, or it is missing.
    fn is_private(&self) -> bool {
        #[cfg(unix)]
        if let Ok(file) = std::fs::metadata(&self.path) {
            return std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o077 == 0;
        }
        true
    }

    /// A connection that writes. The file must exist: a queue whose file was removed must fail, not
    /// start empty.
    pub async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let mut options = self
            .options()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", LOG_BYTES_MAX);
        if let Some(pages_max) = self.pages_max {
            options = options.pragma("max_page_count", pages_max.to_string());
        }
        options.connect().await
    }

    /// A connection that can only read.
    pub async fn connect_reader(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.options().pragma("query_only", "on").connect().await
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .thread_name(|number| format!("queue-sqlite-{number}"))
            .disable_statement_logging()
    }

    /// Creates the directory and the file if they are missing. Bodies are personal data, so other
    /// users may not read them; SQLite gives its log the permissions of the file.
    fn create(&self) -> io::Result<()> {
        // A close of any handle on a file drops the locks that SQLite holds on it in the same
        // process. So a file that may be in use is never opened here, and a new one is not used
        // before it is closed.
        static CREATING: Mutex<()> = Mutex::new(());
        let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = self
            .path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            private_file::create_directory(directory)?;
        }
        match private_file::options().create_new(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map(drop),
        }
    }

    async fn check(&self, connection: &mut SqliteConnection) -> Result<(), OpenError> {
        let linked: String = self.ask(connection, "select sqlite_version()").await?;
        if !is_recent(&linked) {
            let needed = SQLITE_VERSION_MIN.map(|part| part.to_string()).join(".");
            return Err(OpenError(format!(
                "this program was built with SQLite {linked}, which can damage the queue: build it with {needed} or later"
            )));
        }
        if self.ask(connection, IS_EMPTY).await? {
            self.upgrade(connection, IS_EMPTY).await?;
        }
        // Only after the check. An older program may run beside it: it names the columns that it
        // knows.
        if self.recognize(connection).await? < SCHEMA_VERSION {
            self.upgrade(connection, IS_OLDER).await?;
        }
        if !self.ask::<bool>(connection, HAS_IDENTITY).await? {
            let identify = sqlx::raw_sql(IDENTIFY).execute(connection).await;
            identify.map_err(|error| self.refused(&error))?;
        }
        Ok(())
    }

    /// Checks that the file is a queue of this program and not damaged. Returns its version.
    async fn recognize(&self, connection: &mut SqliteConnection) -> Result<i64, OpenError> {
        let path = self.path.display();
        if self.ask::<i64>(connection, "pragma application_id").await? != APPLICATION_ID {
            return Err(OpenError(format!(
                "{path} is a database of another kind, not a queue of clerk-sync's: move it away, or set DATA_DIR to another directory"
            )));
        }
        let version = self.ask::<i64>(connection, "pragma user_version").await?;
        if !(1..=SCHEMA_VERSION).contains(&version) {
            return Err(OpenError(format!(
                "the queue file {path} has version {version}, this program knows {SCHEMA_VERSION}: use the clerk-sync that wrote it, or a newer one"
            )));
        }
        if self.ask::<i64>(connection, "pragma page_count").await? <= CHECKED_PAGES_MAX {
            let found: String = self.ask(connection, "pragma quick_check(1)").await?;
            if found != "ok" {
                return Err(self.damaged());
            }
        }
        Ok(version)
    }

    /// Upgrades the file to the newest version. Does nothing if another process was faster.
    async fn upgrade(
        &self,
        connection: &mut SqliteConnection,
        is_due: &'static str,
    ) -> Result<(), OpenError> {
        let upgraded = async {
            let mut transaction = connection.begin_with("begin immediate").await?;
            let is_due = sqlx::query_scalar(is_due).bind(SCHEMA_VERSION);
            if is_due.fetch_one(&mut *transaction).await? {
                let version = sqlx::query_scalar("pragma user_version");
                let version: i64 = version.fetch_one(&mut *transaction).await?;
                let version = usize::try_from(version).unwrap_or(usize::MAX);
                for upgrade in UPGRADES.iter().skip(version) {
                    sqlx::raw_sql(*upgrade).execute(&mut *transaction).await?;
                }
                let mark = format!(
                    "pragma application_id = {APPLICATION_ID}; pragma user_version = {SCHEMA_VERSION}"
                );
                let mark = sqlx::raw_sql(sqlx::AssertSqlSafe(mark));
                mark.execute(&mut *transaction).await?;
            }
            transaction.commit().await
        };
        upgraded.await.map_err(|error| self.refused(&error))
    }

    async fn ask<T>(
        &self,
        connection: &mut SqliteConnection,
        question: &'static str,
    ) -> Result<T, OpenError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
    {
        let answer = sqlx::query_scalar(question).fetch_one(connection).await;
        answer.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &sqlx::Error) -> OpenError {
        let path = self.path.display();
        match primary_code(error) {
            Some(NOT_A_DATABASE) => OpenError(format!(
                "{path} is not a SQLite database: move it away, or set DATA_DIR to another directory. Nothing was changed"
            )),
            Some(CORRUPT) => self.damaged(),
            _ => OpenError(format!(
                "the queue file {path} cannot be opened: {error}. Check its permissions and those of its -wal and -shm files, the room on its disk, and that no other program holds it"
            )),
        }
    }

    fn damaged(&self) -> OpenError {
        OpenError(format!(
            "the queue file {} is damaged: keep it with its -wal file, try `sqlite3 FILE .recover`, or move both away, start with an empty queue and run `clerk-sync reconcile --fix`. Nothing was changed",
            self.path.display()
        ))
    }
}

/// SQLite's primary result codes, from sqlite3.h.
const BUSY: i32 = 5;
pub const READ_ONLY: i32 = 8;
pub const IO_ERROR: i32 = 10;
pub const CORRUPT: i32 = 11;
pub const FULL: i32 = 13;
pub const NOT_A_DATABASE: i32 = 26;

/// The primary code of an error of SQLite; `None` for an error of sqlx.
pub fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

fn is_recent(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    found >= SQLITE_VERSION_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for good in ["3.51.3", "3.51.10", "3.52.0", "4.0", "10.0.0"] {
            assert!(is_recent(good), "{good}");
        }
        for bad in ["3.51.2", "3.9.99", "3.40.1", "", "new"] {
            assert!(!is_recent(bad), "{bad}");
        }
    }
}
