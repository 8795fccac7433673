//! The file under the embedded queue: made, checked and opened.
//!
//! - Only a file of this program's, in a version that it knows, is opened. Anything else is refused with a line that says
//!   what to do, and left as it is.
//! - A commit is on disk when it returns: write-ahead log, `synchronous = FULL`.
//! - The file keeps its greatest size: pages of acknowledged events are used again, not given back. The log beside it is
//!   started anew after every full checkpoint and cut to `LOG_BYTES_MAX` then. It cannot be started anew while somebody
//!   reads, so every read here is short; a program from outside that keeps a read open makes it grow until it ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::Access;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor};

use crate::private_file;
use crate::queue::OpenError;

/// What brings a file to each version, from nothing on. `PRAGMA user_version` says how many of them it has.
const UPGRADES: [&str; 3] = [
    include_str!("schema.sql"),
    include_str!("upgrade_2.sql"),
    include_str!("upgrade_3.sql"),
];

const SCHEMA_VERSION: i64 = UPGRADES.len() as i64;

/// What `PRAGMA application_id` says of a queue file: "CSQ1". Keeps the program from writing into another's database.
const APPLICATION_ID: i64 = 0x4353_5131;

/// Whether nobody has used the file yet.
const IS_EMPTY: &str = "select not exists (select 1 from sqlite_schema)
     and (select application_id = 0 from pragma_application_id)
     and (select user_version = 0 from pragma_user_version)";

/// Whether the file has an older version than `?1`.
const IS_OLDER: &str = "select user_version < ?1 from pragma_user_version";

/// Whether the file has its ID. One of an older program has none.
const HAS_IDENTITY: &str = "select exists (select 1 from sqlite_schema where name = 'identity')";

/// Gives the file an ID, which goes with it wherever it is moved. No version of its own: an older program passes over it.
const IDENTIFY: &str =
    "create table if not exists identity (id integer primary key check (id = 1), value text not null) strict;
     insert or ignore into identity values (1, lower(hex(randomblob(16))))";

/// Before 3.51.3 two connections could damage a file when one of them started the write-ahead log anew.
const SQLITE_VERSION_MIN: [u32; 3] = [3, 51, 3];

/// How long a lock of another process is waited for. It only ever inserts a few rows.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before the next try to switch to the write-ahead log, while several processes make the file.
const SWITCH_AGAIN: Duration = Duration::from_millis(5);

/// What the write-ahead log is cut to when it is started anew, in bytes: more than it needs between two checkpoints.
const LOG_BYTES_MAX: &str = "67108864";

/// Largest file, in pages (16 MiB), that is checked for damage at opening. The check reads every page: with a backlog it
/// would hold up the start for minutes, and an empty queue is the usual one.
const CHECKED_PAGES_MAX: i64 = 4096;

/// What is there.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Events that wait; nothing where there is no queue yet.
    pub events: Option<u64>,
    /// Whether nobody else on this machine may read the file.
    pub is_private: bool,
}

/// Where the queue lies and how it is opened.
#[derive(Debug, Clone)]
pub(super) struct QueueFile {
    path: PathBuf,
    /// A stand-in for the end of the disk, in pages: SQLite fails at it with the error of a full disk.
    pages_max: Option<u32>,
}

impl QueueFile {
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            pages_max: None,
        }
    }

    #[cfg(test)]
    pub(super) fn with_pages_max(self, pages_max: u32) -> Self {
        Self {
            pages_max: Some(pages_max),
            ..self
        }
    }

    /// Makes the file where there is none, checks it, and opens it for writing.
    pub(super) async fn prepare(&self) -> Result<SqliteConnection, OpenError> {
        self.create().map_err(|error| {
            let path = self.path.display();
            OpenError(format!("the queue file {path} cannot be made: {error}. Make its directory writable, or set DATA_DIR to one that is"))
        })?;
        // Before SQLite makes the files beside it, with the same permissions.
        if let Err(error) = rustix::fs::access(&self.path, Access::WRITE_OK) {
            return Err(self.refused(&sqlx::Error::Io(error.into())));
        }
        // Sets nothing that stays in the file: it may be somebody else's.
        let mut connection = self
            .options()
            .connect()
            .await
            .map_err(|error| self.refused(&error))?;
        self.check(&mut connection).await?;
        connection
            .close()
            .await
            .map_err(|error| self.refused(&error))?;
        let start = Instant::now();
        let mut connection = loop {
            match self.connect().await {
                // The switch to the write-ahead log does not wait for a lock: SQLite says at once that it is busy.
                Err(error)
                    if primary_code(&error) == Some(BUSY) && start.elapsed() < BUSY_TIMEOUT =>
                {
                    tokio::time::sleep(SWITCH_AGAIN).await;
                }
                connected => break connected.map_err(|error| self.refused(&error))?,
            }
        };
        // SQLite opens a file that it may not write for reading, and says so at the first write alone, even one of nothing.
        connection
            .execute("delete from queue where false")
            .await
            .map_err(|error| self.refused(&error))?;
        Ok(connection)
    }

    /// What is there. A file that is missing is not made, and one of an older version is left as it is.
    pub(super) async fn inspect(&self) -> Result<Inspection, OpenError> {
        if !self.path.exists() {
            return Ok(Inspection {
                events: None,
                is_private: true,
            });
        }
        let mut connection = self
            .connect_reader()
            .await
            .map_err(|error| self.refused(&error))?;
        if self.ask::<i64>(&mut connection, IS_EMPTY).await? == 1 {
            return Ok(Inspection {
                events: None,
                is_private: self.is_private(),
            });
        }
        self.recognize(&mut connection).await?;
        let events = self
            .ask::<i64>(&mut connection, "select events from depth")
            .await?;
        // It was only read.
        drop(connection.close().await);
        Ok(Inspection {
            events: u64::try_from(events).ok(),
            is_private: self.is_private(),
        })
    }

    /// The ID of the file; `None` if the file is missing. One that an older program made has an empty one. Makes nothing.
    pub(super) async fn identity(&self) -> Result<Option<String>, OpenError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let mut connection = self
            .connect_reader()
            .await
            .map_err(|error| self.refused(&error))?;
        let is_known = self.ask::<i64>(&mut connection, IS_EMPTY).await? == 0;
        let id = match is_known {
            // An empty file is one that nobody has used yet.
            false => None,
            true => {
                self.recognize(&mut connection).await?;
                match self.ask::<i64>(&mut connection, HAS_IDENTITY).await? {
                    0 => Some(String::new()),
                    _ => Some(
                        self.ask(&mut connection, "select value from identity")
                            .await?,
                    ),
                }
            }
        };
        drop(connection.close().await);
        Ok(id)
    }

    /// Whether nobody else on this machine may read the file.
    fn is_private(&self) -> bool {
        #[cfg(unix)]
        if let Ok(file) = std::fs::metadata(&self.path) {
            return std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o077 == 0;
        }
        true
    }

    /// A connection that writes. The file must be there: a queue whose file was taken away must fail, not start empty.
    pub(super) async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let mut options = self
            .options()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        options = options.pragma("journal_size_limit", LOG_BYTES_MAX);
        if let Some(pages_max) = self.pages_max {
            options = options.pragma("max_page_count", pages_max.to_string());
        }
        options.connect().await
    }

    /// A connection that reads. It can do nothing else.
    pub(super) async fn connect_reader(&self) -> Result<SqliteConnection, sqlx::Error> {
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

    /// Makes the directory and the file where they are missing. Bodies are personal data, so nobody else may read them;
    /// SQLite gives its log the permissions of the file.
    fn create(&self) -> io::Result<()> {
        // A close of any handle on a file drops the locks that SQLite holds on it in the same process. So a file that may
        // be in use is never opened here, and nobody uses a new one before it is closed.
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
        if self.ask::<i64>(connection, IS_EMPTY).await? == 1 {
            self.upgrade(connection, IS_EMPTY)
                .await
                .map_err(|error| self.refused(&error))?;
        }
        // Only after the check, and an older program may go on beside it: it names the columns that it knows.
        if self.recognize(connection).await? < SCHEMA_VERSION {
            self.upgrade(connection, IS_OLDER)
                .await
                .map_err(|error| self.refused(&error))?;
        }
        if self.ask::<i64>(connection, HAS_IDENTITY).await? == 0 {
            sqlx::raw_sql(IDENTIFY)
                .execute(connection)
                .await
                .map_err(|error| self.refused(&error))?;
        }
        Ok(())
    }

    /// The version of the file, which is a queue of ours and whole.
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

    /// Brings the file to the newest version. Does nothing where another process was faster.
    async fn upgrade(
        &self,
        connection: &mut SqliteConnection,
        is_due: &'static str,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin_with("begin immediate").await?;
        if sqlx::query_scalar::<_, i64>(is_due)
            .bind(SCHEMA_VERSION)
            .fetch_one(&mut *transaction)
            .await?
            == 1
        {
            let version: i64 = sqlx::query_scalar("pragma user_version")
                .fetch_one(&mut *transaction)
                .await?;
            for upgrade in UPGRADES
                .iter()
                .skip(usize::try_from(version).unwrap_or(usize::MAX))
            {
                sqlx::raw_sql(*upgrade).execute(&mut *transaction).await?;
            }
            let mark = format!(
                "pragma application_id = {APPLICATION_ID}; pragma user_version = {SCHEMA_VERSION}"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(mark))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }

    async fn ask<T>(
        &self,
        connection: &mut SqliteConnection,
        question: &'static str,
    ) -> Result<T, OpenError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
    {
        sqlx::query_scalar(question)
            .fetch_one(connection)
            .await
            .map_err(|error| self.refused(&error))
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
pub(super) const READ_ONLY: i32 = 8;
pub(super) const IO_ERROR: i32 = 10;
pub(super) const CORRUPT: i32 = 11;
pub(super) const FULL: i32 = 13;
pub(super) const NOT_A_DATABASE: i32 = 26;

/// The kind of an error of SQLite's; nothing for one of sqlx's own.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
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
