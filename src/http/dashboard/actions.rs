//! What an operator can do with failed events: replay or discard them.

use serde::Deserialize;

use crate::http::admin::Admin;
use crate::http::problem::Problem;
use crate::replay::{self, Selection};

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
    pub async fn run(self, admin: &Admin, selection: &Selection) -> Result<u64, Problem> {
        Ok(match self {
            Self::Replay => admin.replay(selection, replay::RATE).await?.replayed,
            Self::Discard => admin.discard(selection, false).await?.discarded,
        })
    }
}
