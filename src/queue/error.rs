//! Why an event cannot be queued, or a queue cannot be used.

use std::time::Duration;

/// Longest time for a publish; then the sender is to try again. Svix gives up after 15 s.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an event is not queued. Each is a 503, except `TooLarge`; the kind is a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is no connection, or the file cannot be written.
    #[error("the queue is unavailable")]
    Unavailable,
    /// The limit of events in memory is reached.
    #[error("too many events wait to be queued")]
    Busy,
    /// The event matched no binding.
    #[error("no queue takes this event")]
    Unroutable,
    /// The queue or its disk is full.
    #[error("the queue refused the event: it is full")]
    Refused,
    /// The event may have been stored nevertheless.
    #[error("the queue did not answer in time")]
    TimedOut,
    /// It can never be queued with this configuration of the broker.
    #[error("RabbitMQ takes at most {max} bytes in one message (max_message_size)")]
    TooLarge {
        /// The largest body, in bytes.
        max: u64,
    },
}

impl PublishError {
    /// The kind, as metrics and spans name it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Unroutable => "unroutable",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// The queue cannot be used for now. The text says why and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(String);

impl Unavailable {
    /// The error with this text.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The queue cannot be opened: an operator must fix something first. The text says what.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);
