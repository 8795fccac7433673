//! The status of a recorded event.

use serde::Serialize;
use utoipa::ToSchema;

/// `events.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Applied,
    Stale,
    Failed,
    Discarded,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Applied, Self::Stale, Self::Failed, Self::Discarded];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}
