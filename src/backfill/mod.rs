//! Clerk's list of users, walked from end to end: to fill the table (`fill`), and to find where it has drifted (`reconcile`).
//!
//! Every user that is read becomes a `Change` (`clerk::api_object`) and goes through `Store::apply`: the same join and the same SQL as
//! an event. So it does no harm to walk while events come in, to walk twice, or to stop in the middle.
//!
//! - A page is read while those before it are written, and only a few are in hand: memory does not grow with the number of users.
//! - What time mends is waited for, with an end to the patience (`patience`); what a person must mend stops the walk at once.

mod api;
mod drift;
mod fill;
mod reconcile;
mod resume;
mod retry;
mod store_retry;
mod walk;

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::clerk::{ClerkId, OmittedFields, Rejection, Timestamp};
use crate::store::StoreError;
use crate::tls::Files;

pub use api::Api;
pub use fill::{Filled, News, Tally, fill};
pub use reconcile::{Drift, Kind, Plan, reconcile};
pub use resume::{Identity, Resume};

/// Which instance of Clerk's, and how long to wait for it. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    /// Base URL of the Backend API, without a slash at its end.
    pub url: String,
    /// CAs that are trusted beside the system's roots.
    pub files: Files,
    pub key: SecretString,
    pub omitted: OmittedFields,
    /// Longest wait for Clerk or for the database while nothing goes forward.
    pub patience: Duration,
    /// What the time is.
    pub now: fn() -> Timestamp,
}

/// Why a walk ended before its end. Named for what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// A person must mend something at Clerk's side: the key, the address.
    #[error("{0}")]
    Refused(String),
    /// Try again later: it lasted longer than the patience.
    #[error("{what}; given up after {} s (--patience)", waited.as_secs())]
    Away { what: String, waited: Duration },
    /// A person must mend something at the database's side.
    #[error(transparent)]
    Store(StoreError),
    /// Somebody asked for it.
    #[error("stopped")]
    Requested,
}

/// A user who could not be read or written. Never with what stood there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Nothing where it is the ID that cannot be read.
    pub clerk_id: Option<String>,
    /// The same codes as of events.
    pub error_code: String,
    pub error: String,
}

impl Failure {
    fn rejected(id: Option<&ClerkId>, rejection: &Rejection) -> Self {
        Self {
            clerk_id: id.map(ToString::to_string),
            error_code: rejection.code().into(),
            error: rejection.to_string(),
        }
    }
}

/// Most users that are named one by one, of each kind: the others are counted.
const NAMED_MAX: usize = 100;
