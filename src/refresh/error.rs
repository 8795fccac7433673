//! Why a user could not be refreshed.

use std::time::Duration;

use crate::backfill::ObjectError;
use crate::metrics::RefreshResult;
use crate::store::StoreError;

/// Why a user could not be refreshed, by what the caller can do. The texts say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// Clerk was not asked: no user can have this ID.
    #[error("no user can have this ID: a user ID is `user_` followed by letters and digits")]
    NoUserId,
    /// Clerk was not asked: rows of users would be out of date at once.
    #[error("SYNC does not name users: add users to it")]
    NotSynced,
    /// Clerk was not asked.
    #[error(
        "CLERK_SECRET_KEY is not set: copy the Secret key (sk_live_… or sk_test_…) from Clerk's dashboard, Configure > API keys"
    )]
    KeyMissing,
    /// A person has paused the applying of changes.
    #[error("applying is paused, and a refresh writes a row: `clerk-sync resume` ends that")]
    Paused,
    /// Clerk says that there is no such user. The row is as before.
    #[error(
        "Clerk has no user with this ID. If the database has a row, it is not changed; `clerk-sync reconcile users --fix` marks it as deleted"
    )]
    UnknownAtClerk,
    /// Too many requests, says Clerk or this process.
    #[error("{what}; try again in {} s", retry_after.as_secs().max(1))]
    TooMany {
        /// Who says so.
        what: String,
        /// When to try again; at least a second.
        retry_after: Duration,
    },
    /// Clerk is away.
    #[error("{what}")]
    ClerkAway {
        /// What is wrong.
        what: String,
        /// When to try again, if Clerk says it.
        retry_after: Option<Duration>,
    },
    /// An operator must fix something at Clerk's side: the key, the address.
    #[error("{0}")]
    ClerkRefuses(String),
    /// Clerk's object cannot be stored.
    #[error("Clerk's object of this user cannot be stored ({code}): {text}")]
    Unstorable {
        /// The same codes as those of events.
        code: String,
        /// Where and why; no value.
        text: String,
    },
    /// The database does not answer, or cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RefreshError {
    /// The error of a write with this one object.
    pub(super) fn of_write(error: StoreError) -> Self {
        match error {
            StoreError::Rejected { code, text } => Self::Unstorable { code, text },
            error => Self::Store(error),
        }
    }

    /// How the metrics count it.
    pub(super) fn counted_as(&self) -> RefreshResult {
        match self {
            Self::NoUserId | Self::UnknownAtClerk => RefreshResult::NotFound,
            Self::KeyMissing => RefreshResult::ClerkKeyMissing,
            Self::TooMany { .. } => RefreshResult::ClerkRateLimited,
            Self::ClerkAway { .. } | Self::ClerkRefuses(_) => RefreshResult::ClerkUnavailable,
            Self::NotSynced | Self::Paused | Self::Unstorable { .. } | Self::Store(_) => {
                RefreshResult::Other
            }
        }
    }
}

impl From<ObjectError> for RefreshError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::TooMany { what, retry_after } => Self::TooMany { what, retry_after },
            ObjectError::Away { what, retry_after } => Self::ClerkAway { what, retry_after },
            ObjectError::Refused(what) => Self::ClerkRefuses(what),
            ObjectError::Rejected(rejection) => Self::Unstorable {
                code: rejection.code().into(),
                text: rejection.to_string(),
            },
        }
    }
}
