//! What SQLite says, as what the caller can do.

use std::path::Path;

use sqlx::Error;
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

use crate::store::{NO_SCHEMA, StoreError};

pub fn of(path: &Path, error: Error) -> StoreError {
    match error {
        Error::Database(error) => of_database(path, &*error),
        Error::PoolTimedOut => {
            StoreError::Unavailable("all connections are busy with questions".into())
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

/// Whether the statement does not fit what is in the file.
fn is_schema(error: &dyn DatabaseError) -> bool {
    result_code(error) & 0xFF == 1
}

fn of_database(path: &Path, error: &dyn DatabaseError) -> StoreError {
    let file = path.display();
    let code = result_code(error);
    match code & 0xFF {
        5 | 6 => StoreError::Unavailable(format!("{file} is being written by another process")),
        8 => StoreError::Unavailable(format!(
            "{file} cannot be written: check its permissions and those of its folder"
        )),
        10 => StoreError::Unavailable(format!("{file} cannot be read or written: check the disk")),
        13 => StoreError::Unavailable(format!("{file} has no more room: free some on its disk")),
        14 if !path.exists() => StoreError::Incompatible(format!(
            "{file} is missing: run `clerk-sync dev` or `clerk-sync serve` first, or set DATA_DIR or DATABASE_URL"
        )),
        14 => StoreError::Unavailable(format!(
            "{file} cannot be opened: check its permissions and those of its folder"
        )),
        11 | 26 => damaged(path),
        18..=20 => StoreError::Rejected {
            code: format!("sqlite_{code}"),
            text: format!("SQLite cannot hold a value (result code {code})"),
        },
        1 => StoreError::Incompatible(format!("{NO_SCHEMA} ({file})")),
        _ => StoreError::Unavailable(format!("{file} reports an error (result code {code})")),
    }
}

pub fn damaged(path: &Path) -> StoreError {
    StoreError::Incompatible(format!(
        "{} is damaged or no SQLite database: bring back a backup, or move it away with its -wal file and start with an empty one. Nothing was changed",
        path.display()
    ))
}

pub fn of_migration(path: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::ExecuteMigration(Error::Database(error), _) if is_schema(&*error) => {
            StoreError::Incompatible(format!(
                "{} holds tables of another program: give clerk-sync a file of its own by DATA_DIR or DATABASE_URL",
                path.display()
            ))
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => of(path, error),
        MigrateError::VersionMissing(version) => StoreError::Incompatible(format!(
            "its schema has migration {version}, which this program does not know: use a newer clerk-sync"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Incompatible(format!(
            "its migration {version} is not the one of this program: use the clerk-sync that made the schema"
        )),
        _ => StoreError::Incompatible(format!(
            "the migrations of {} cannot be read",
            path.display()
        )),
    }
}
