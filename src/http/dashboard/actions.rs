//! What an operator can do with failed events: replay or discard them.

use serde::Deserialize;

use super::error::DashboardError;
use crate::format;
use crate::http::admin::Admin;
use crate::replay::{self, Done, ReplayError, Which};

/// A part of the path, and a word of the buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Replay,
    Discard,
}

impl Action {
    /// As a verb, for people.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Replay => "Replay",
            Self::Discard => "Discard",
        }
    }

    /// As a part of a path, and as a command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }

    /// What was done, as a value in an address.
    pub fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Discard => "discarded",
        }
    }

    /// Does it, and returns to how many events.
    ///
    /// # Errors
    ///
    /// If a server does not answer. Then it may be done to some of the events.
    pub async fn run(self, admin: &Admin, which: &Which) -> Result<u64, DashboardError> {
        if self == Self::Discard {
            return Ok(replay::discard(&admin.store, which, false).await?.discarded);
        }
        let mut done = Done::default();
        let replay = replay::replay(&admin.store, &admin.queue, which, replay::RATE, &mut done);
        match replay.await {
            Ok(()) => Ok(done.replayed),
            Err(ReplayError::Store(error)) => Err(error.into()),
            Err(error @ ReplayError::Queue { .. }) => Err(DashboardError::Unavailable(format!(
                "{} back on the queue; {error}.",
                format::count(done.replayed, "event")
            ))),
        }
    }
}
