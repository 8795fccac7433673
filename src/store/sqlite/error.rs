//! Sorts errors of SQLite (result codes) by their remedy: wait and retry, isolate the event, or
//! report to an operator.

use std::path::Path;

use sqlx::Error;
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

use crate::clerk::ErrorCode;
use crate::store::{NO_SCHEMA, StoreError};

/// The error of a statement, or of opening the file.
pub fn of(path: &Path, error: Error) -> StoreError {
    match error {
        Error::Database(error) => of_database(path, &*error),
        Error::PoolTimedOut => {
            StoreError::Unavailable("all connections are busy with reads".into())
        }
        Error::PoolClosed => StoreError::Unavailable("the store is closed".into()),
        Error::ColumnDecode { index, .. } => StoreError::Incompatible(format!(
            "column {index} has another type than this program's schema"
        )),
        Error::ColumnNotFound(name) => {
            StoreError::Incompatible(format!("column {name} is missing"))
        }
        _ => StoreError::Unavailable(format!("{} cannot be used now", path.display())),
    }
}

/// An extended result code holds the primary one in its low byte (sqlite.org/rescode.html).
fn result_code(error: &dyn DatabaseError) -> u32 {
    error.code().and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// The primary result code of a statement that does not fit the tables of the file.
const SCHEMA: u32 = 1;

fn of_database(path: &Path, error: &dyn DatabaseError) -> StoreError {
    let file = path.display();
    let unavailable = |what: &str| StoreError::Unavailable(format!("{file} {what}"));
    let code = result_code(error);
    match code & 0xFF {
        5 | 6 => unavailable("is being written by another process"),
        8 => unavailable("cannot be written: check its permissions and those of its folder"),
        10 => unavailable("cannot be read or written: check the disk"),
        13 => unavailable("has no more room: free some on its disk"),
        14 if !path.exists() => StoreError::Incompatible(format!(
            "{file} is missing: run `clerk-sync dev` or `clerk-sync serve` first, or set DATA_DIR or DATABASE_URL"
        )),
        14 => unavailable("cannot be opened: check its permissions and those of its folder"),
        11 | 26 => damaged(path),
        primary @ 18..=20 => {
            let what = match primary {
                19 => "a constraint or trigger of the SQLite database refuses a row",
                _ => "SQLite cannot hold a value",
            };
            StoreError::Rejected {
                code: format!("{}{code}", ErrorCode::Sqlite.name()),
                text: format!("{what} (result code {code})"),
            }
        }
        SCHEMA => StoreError::Incompatible(format!("{NO_SCHEMA} ({file})")),
        _ => unavailable(&format!("reports an error (result code {code})")),
    }
}

/// The error of a file that is damaged.
pub fn damaged(path: &Path) -> StoreError {
    StoreError::Incompatible(format!(
        "{} is damaged or no SQLite database: restore a backup, or move it away with its -wal file and start with an empty one. Nothing was changed",
        path.display()
    ))
}

/// The error of a migration.
pub fn of_migration(path: &Path, error: MigrateError) -> StoreError {
    let incompatible = StoreError::Incompatible;
    let file = path.display();
    match error {
        MigrateError::ExecuteMigration(Error::Database(error), _)
            if result_code(&*error) & 0xFF == SCHEMA =>
        {
            incompatible(format!(
                "{file} holds tables of another program: give clerk-sync a file of its own by DATA_DIR or DATABASE_URL"
            ))
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => of(path, error),
        MigrateError::VersionMissing(version) => incompatible(format!(
            "its schema has migration {version}, which this program does not know: use a newer clerk-sync"
        )),
        MigrateError::VersionMismatch(version) => incompatible(format!(
            "its migration {version} is not the one of this program: use the clerk-sync that made the schema"
        )),
        _ => incompatible(format!("the migrations of {file} cannot be read")),
    }
}
