//! Sample events that fail, each as events that Clerk really sent, or could send, fail.

use serde_json::Value;

use super::event::SampleEvent;
use crate::clerk::Timestamp;

/// How far ahead of the delivery the time of an implausible event is, in milliseconds: two days.
const AHEAD_MS: i64 = 2 * 24 * 60 * 60 * 1000;

/// Why a sample event fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// a NUL character in the metadata, which no database stores: `unstorable`
    Nul,
    /// changed two days ahead of now: `implausible_time`
    Time,
    /// a body that breaks off: `not_json`
    Json,
}

impl Fault {
    /// The `error_code` of such an event.
    pub fn code(self) -> &'static str {
        match self {
            Self::Nul => "unstorable",
            Self::Time => "implausible_time",
            Self::Json => "not_json",
        }
    }

    /// The event with this fault; it carries a whole object.
    #[must_use]
    pub fn in_event(self, mut event: SampleEvent, now: Timestamp) -> SampleEvent {
        if self == Self::Json {
            event.body.truncate(event.body.len() / 2);
            return event;
        }
        let mut body: Value = serde_json::from_slice(&event.body).expect("a sample is JSON");
        match self {
            Self::Nul => body["data"]["public_metadata"]["note"] = "a\0b".into(),
            _ => body["data"]["updated_at"] = (now.ms() + AHEAD_MS).into(),
        }
        event.body = body.to_string().into();
        event
    }
}
