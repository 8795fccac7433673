//! The status of a recorded event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `events.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It changed its row.
    Applied,
    /// A newer version was there.
    Stale,
    /// It cannot be applied.
    Failed,
    /// A person gave it up.
    Discarded,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Applied, Self::Stale, Self::Failed, Self::Discarded];

    /// Returns the text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
        }
    }

    /// Returns the status of this name, or `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}
