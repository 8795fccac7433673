//! Why a run stops, and which objects could not be read or written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clerk::{ClerkId, Rejection};
use crate::store::StoreError;

/// Why a run stopped before its end, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// An operator must fix something at Clerk's side: the key, the address.
    #[error("{0}")]
    Refused(String),
    /// Try again later: it lasted longer than `--patience`.
    #[error("{what}; given up after {} s (--patience)", waited.as_secs())]
    Away {
        /// What is unavailable.
        what: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The instance does not have such objects (any more).
    #[error("Clerk says that organizations are not turned on for this instance")]
    NotEnabled,
    /// An operator must fix something at the database's side.
    #[error(transparent)]
    Store(StoreError),
    /// A person has paused the applying of changes.
    #[error("applying is paused: `clerk-sync resume` ends that")]
    Paused,
    /// A signal asked for it.
    #[error("stopped")]
    Requested,
}

/// An object that could not be read, written or compared. Its values are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFailure {
    /// `None` if the ID itself cannot be read.
    pub clerk_id: Option<String>,
    /// The same codes as those of events.
    pub error_code: String,
    /// The reason, for a person.
    pub error: String,
}

impl ObjectFailure {
    /// Returns the failure of an object that is rejected.
    pub fn rejected(id: Option<&ClerkId>, rejection: &Rejection) -> Self {
        Self {
            clerk_id: id.map(ToString::to_string),
            error_code: rejection.code().into(),
            error: rejection.to_string(),
        }
    }

    /// Returns the failure of a row of which Clerk cannot be asked.
    pub fn unconfirmed(id: &ClerkId) -> Self {
        Self {
            clerk_id: Some(id.to_string()),
            error_code: "unconfirmed".into(),
            error: "the row lacks what Clerk must be asked with, so it is not known whether it is deleted".into(),
        }
    }
}

/// Most objects that are named, of each kind; the others are counted.
pub const NAMED_MAX: usize = 100;

/// Names as many more as there is room for.
pub fn name_more<T>(named: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    let room = NAMED_MAX.saturating_sub(named.len());
    named.extend(more.into_iter().take(room));
}
