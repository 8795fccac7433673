//! A connection to the queue file that is kept until an error.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Error};

use super::file::QueueFile;

/// A connection that is opened when needed. An error drops it, and SQLite rolls back what was open;
/// the next one is new.
pub struct KeptConnection {
    file: QueueFile,
    is_reader: bool,
    open: Option<SqliteConnection>,
}

impl KeptConnection {
    pub fn reader(file: QueueFile) -> Self {
        Self {
            file,
            is_reader: true,
            open: None,
        }
    }

    pub fn writer(file: QueueFile, open: Option<SqliteConnection>) -> Self {
        Self {
            file,
            is_reader: false,
            open,
        }
    }

    /// Takes the connection. To be kept again after success.
    pub async fn take(&mut self) -> Result<SqliteConnection, Error> {
        match self.open.take() {
            Some(connection) => Ok(connection),
            None if self.is_reader => self.file.connect_reader().await,
            None => self.file.connect().await,
        }
    }

    pub fn keep(&mut self, connection: SqliteConnection) {
        self.open = Some(connection);
    }

    pub async fn close(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some(connection) => connection.close().await,
            None => Ok(()),
        }
    }
}
