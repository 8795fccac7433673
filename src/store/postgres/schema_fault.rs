//! What is wrong with a schema.

use crate::store::StoreError;

/// What a person must fix in the database, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// What is wrong.
    pub what: String,
    /// How to fix it.
    pub fix: String,
}

impl SchemaFault {
    /// A fault of these words.
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }
}

impl From<SchemaFault> for StoreError {
    fn from(SchemaFault { what, fix }: SchemaFault) -> Self {
        Self::Incompatible(format!("{what}: {fix}"))
    }
}
