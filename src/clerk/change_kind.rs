//! `ChangeKind`: what a change of the change feed did to its row.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The row is there for the first time.
    Created,
    /// Its profile is a newer one.
    Updated,
    /// Clerk has deleted the object, or an earlier time of the delete is known.
    Deleted,
    /// Its personal data was erased.
    Erased,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Created, Self::Updated, Self::Deleted, Self::Erased];

    /// The name in the database, the API, routing keys and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Erased => "erased",
        }
    }

    /// The kind with this name. Returns `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
