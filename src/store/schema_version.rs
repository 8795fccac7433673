//! The version of a schema, and whether this program can work with it.

use super::error::{NO_SCHEMA, StoreError};

/// The version of a database's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersion {
    /// The newest migration in the database; `None` if it has none.
    pub found: Option<i64>,
    /// The newest migration in this program.
    pub wanted: i64,
}

impl SchemaVersion {
    /// Checks that this program can work with the schema.
    ///
    /// # Errors
    /// `Incompatible`, with what to do first.
    pub fn check(self) -> Result<(), StoreError> {
        match self.found {
            Some(found) if found == self.wanted => Ok(()),
            Some(found) if found > self.wanted => Err(StoreError::Incompatible(format!(
                "its schema has version {found}, newer than this program's {}: use a newer clerk-sync",
                self.wanted
            ))),
            _ => Err(StoreError::Incompatible(NO_SCHEMA.into())),
        }
    }
}
