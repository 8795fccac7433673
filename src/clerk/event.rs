//! An event of Clerk's: from a signed body that nobody has read to what it says of one user.
//!
//! `SignedEvent` is made by a verifier, or restored from where we stored it ourselves. `parse` is the one door from
//! bytes to `Event`; after it a wrong ID or time cannot be written down.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::change::{Change, Version};
use super::id::{ClerkId, EventId, Timestamp};
use super::json;
use super::user::UserObject;

/// The `type` in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventType {
    UserCreated,
    UserUpdated,
    UserDeleted,
    /// The body is not JSON or has no `type`: queued all the same, so that it ends as a failed event.
    Unreadable,
    /// Any other type: not ours to keep.
    Other(Box<str>),
}

impl EventType {
    /// Reads the type of a body without judging the rest of it.
    pub fn read(body: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(body) else {
            return Self::Unreadable;
        };
        match Outer::read(text) {
            Ok(Outer {
                event_type: Some(event_type),
                ..
            }) => event_type,
            _ => Self::Unreadable,
        }
    }

    /// The type under the name that `as_str` gave it.
    pub fn named(name: &str) -> Self {
        match name {
            "user.created" => Self::UserCreated,
            "user.updated" => Self::UserUpdated,
            "user.deleted" => Self::UserDeleted,
            "user.unreadable" => Self::Unreadable,
            other => Self::Other(other.into()),
        }
    }

    /// The name, which is the routing key too: an unreadable event takes the way of the user events.
    pub fn as_str(&self) -> &str {
        match self {
            Self::UserCreated => "user.created",
            Self::UserUpdated => "user.updated",
            Self::UserDeleted => "user.deleted",
            Self::Unreadable => "user.unreadable",
            Self::Other(name) => name,
        }
    }
}

/// The trace that an event is a part of, as the two headers of W3C's Trace Context name it. It only travels along, and is read
/// elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    parent: Box<str>,
    state: Box<str>,
}

impl TraceContext {
    /// `traceparent` has 55 characters in the version that there is; a later one may have some more.
    const PARENT_MAX: usize = 128;
    /// What `tracestate` may have at least, by the specification.
    const STATE_MAX: usize = 512;

    /// Takes what can be a `traceparent`; a `tracestate` that cannot be one is left out.
    pub fn new(parent: &str, state: &str) -> Option<Self> {
        let is_plain = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if parent.is_empty() || parent.len() > Self::PARENT_MAX || !is_plain(parent) {
            return None;
        }
        let state = if state.len() <= Self::STATE_MAX && is_plain(state) {
            state
        } else {
            ""
        };
        Some(Self {
            parent: parent.into(),
            state: state.into(),
        })
    }

    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// Empty where there is none.
    pub fn state(&self) -> &str {
        &self.state
    }
}

/// Why a queue gave an event up. It only travels along, and is recorded as the failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// `events.error_code`.
    pub code: &'static str,
    /// What happened to it, and what to do.
    pub text: String,
}

/// A body whose signature is good and which nobody has read yet.
#[derive(Debug, Clone)]
pub struct SignedEvent {
    id: EventId,
    event_type: EventType,
    sent_at: Timestamp,
    received_at: Timestamp,
    body: Bytes,
    trace: Option<Arc<TraceContext>>,
    dead_letter: Option<Arc<DeadLetter>>,
}

impl SignedEvent {
    /// Only `signature` calls this: the signature has been checked.
    pub(super) fn verified(
        id: EventId,
        sent_at: Timestamp,
        received_at: Timestamp,
        body: Bytes,
    ) -> Self {
        let event_type = EventType::read(&body);
        Self {
            id,
            event_type,
            sent_at,
            received_at,
            body,
            trace: None,
            dead_letter: None,
        }
    }

    /// An event that was verified before and comes back from our own queue or table.
    pub fn restored(
        id: EventId,
        event_type: EventType,
        sent_at: Timestamp,
        received_at: Timestamp,
        body: Bytes,
    ) -> Self {
        Self {
            id,
            event_type,
            sent_at,
            received_at,
            body,
            trace: None,
            dead_letter: None,
        }
    }

    /// The same with an empty body, which stands for one that must not be kept.
    pub fn without_body(&self) -> Self {
        Self {
            body: Bytes::new(),
            ..self.clone()
        }
    }

    /// The same as a part of this trace.
    pub fn with_trace(self, trace: Option<TraceContext>) -> Self {
        Self {
            trace: trace.map(Arc::new),
            ..self
        }
    }

    /// The trace that it is a part of.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_deref()
    }

    /// The same as a dead letter.
    pub fn with_dead_letter(self, dead_letter: Option<DeadLetter>) -> Self {
        Self {
            dead_letter: dead_letter.map(Arc::new),
            ..self
        }
    }

    /// Why its queue gave it up, where the queue says so.
    pub fn dead_letter(&self) -> Option<&DeadLetter> {
        self.dead_letter.as_deref()
    }

    pub fn id(&self) -> &EventId {
        &self.id
    }

    pub fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// `svix-timestamp`: the time of the delivery, not of the event.
    pub fn sent_at(&self) -> Timestamp {
        self.sent_at
    }

    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether it is a JSON object with neither `type` nor `data`: no event of Clerk's, but a test message of Svix's own.
    pub fn is_ping(&self) -> bool {
        if self.event_type != EventType::Unreadable {
            return false;
        }
        let mut is_event = false;
        let read = std::str::from_utf8(&self.body).ok().map(|body| {
            json::for_each_field(body, |name, _| is_event |= matches!(name, "type" | "data"))
        });
        matches!(read, Some(Ok(()))) && !is_event
    }

    /// Reads what the event says of its user.
    ///
    /// Only the type, `data.id` and the times can make it fail, and what no database can hold; every other field may be
    /// missing or of another shape.
    pub fn parse(&self) -> Result<Event, Rejection> {
        let text = std::str::from_utf8(&self.body).map_err(|e| {
            Rejection::NotJson(format!("it is not UTF-8 from byte {} on", e.valid_up_to()))
        })?;
        let outer = Outer::read(text).map_err(|e| Rejection::NotJson(place(&e)))?;
        let event_type = outer.event_type.ok_or(Rejection::MissingType)?;
        let is_delete = match event_type {
            EventType::UserDeleted => true,
            EventType::UserCreated | EventType::UserUpdated => false,
            EventType::Unreadable | EventType::Other(_) => return Err(Rejection::UnsupportedType),
        };

        let data = outer.data.ok_or(Rejection::InvalidId("data is missing"))?;
        let (clerk_id, user) = read_user(data)?;
        let occurred_at = self.time("timestamp", outer.timestamp, seconds_or_ms)?;
        let occurred_at = occurred_at.unwrap_or(self.sent_at);
        if is_delete {
            let change = Change {
                clerk_id,
                profile: None,
                deleted_at: Some(occurred_at),
            };
            return Ok(Event {
                id: self.id.clone(),
                occurred_at,
                change,
            });
        }

        let updated_at = self.time("data.updated_at", user.updated_at, Timestamp::from_ms)?;
        if let Some(reason) = json::unstorable(data.get()) {
            return Err(Rejection::Unstorable(reason));
        }
        let version = Version {
            updated_at: updated_at.unwrap_or(occurred_at),
            occurred_at,
            event_id: self.id.clone(),
        };
        let change = Change {
            clerk_id,
            profile: Some((version, user.profile(data))),
            deleted_at: None,
        };
        Ok(Event {
            id: self.id.clone(),
            occurred_at,
            change,
        })
    }

    /// The user it is about, as far as that can be read, even where the event cannot be applied.
    pub fn clerk_id(&self) -> Option<ClerkId> {
        let outer = Outer::read(std::str::from_utf8(&self.body).ok()?).ok()?;
        read_user(outer.data?).ok().map(|(id, _)| id)
    }

    /// A time of the event: nothing where it is missing or null, so that another time can stand in.
    fn time(
        &self,
        field: &'static str,
        value: Option<&RawValue>,
        read: fn(i64) -> Option<Timestamp>,
    ) -> Result<Option<Timestamp>, Rejection> {
        let Some(value) = value.filter(|value| !json::is_null(value)) else {
            return Ok(None);
        };
        let rejected = |fault| Rejection::ImplausibleTime { field, fault };
        let number = json::integer(value).ok_or(rejected("is no integer"))?;
        if number <= 0 {
            return Err(rejected("is not positive"));
        }
        let time = read(number).ok_or(rejected("is after the year 9999"))?;
        if time.ms() > self.sent_at.ms() + AHEAD_MAX_MS {
            return Err(rejected("is more than 24 hours after svix-timestamp"));
        }
        Ok(Some(time))
    }
}

/// How far a time may lie ahead of the delivery, in milliseconds: 24 hours. A later one would shut out every update
/// until then.
pub(super) const AHEAD_MAX_MS: i64 = 24 * 60 * 60 * 1000;

/// Clerk's catalogue gives `timestamp` in seconds, its events in milliseconds. 100,000,000,000 is the year 1973 in
/// milliseconds and 5138 in seconds: below it a number can only be seconds.
const SECONDS_BELOW: i64 = 100_000_000_000;

fn seconds_or_ms(number: i64) -> Option<Timestamp> {
    if number < SECONDS_BELOW {
        Timestamp::from_seconds(number)
    } else {
        Timestamp::from_ms(number)
    }
}

/// Where and how reading ended. serde_json's own text can quote the body, so it is not used.
fn place(error: &serde_json::Error) -> String {
    let fault = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "it is of another type",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
    };
    format!(
        "{fault}, at line {}, column {}",
        error.line(),
        error.column()
    )
}

/// The user object `data`, and its ID.
pub(super) fn read_user(data: &RawValue) -> Result<(ClerkId, UserObject<'_>), Rejection> {
    let user = UserObject::read(data).map_err(|_| Rejection::InvalidId("data is no object"))?;
    let id = user.id.ok_or(Rejection::InvalidId("data.id is missing"))?;
    let id = json::text(id).ok_or(Rejection::InvalidId("data.id is no text"))?;
    let id = ClerkId::new(&id).ok_or(Rejection::InvalidId("data.id is not 1 to 255 characters"))?;
    Ok((id, user))
}

/// Clerk's outer object, as far as it matters here.
#[derive(Default)]
struct Outer<'a> {
    event_type: Option<EventType>,
    timestamp: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
}

impl<'a> Outer<'a> {
    fn read(body: &'a str) -> Result<Self, serde_json::Error> {
        let mut outer = Self::default();
        json::for_each_field(body, |name, value| match name {
            "type" => {
                outer.event_type = json::text(value).map(|name| match name.as_str() {
                    // No event of Clerk's has our own name for what has none.
                    "user.unreadable" => EventType::Other(name.into()),
                    known_or_not => EventType::named(known_or_not),
                })
            }
            "timestamp" => outer.timestamp = Some(value),
            "data" => outer.data = Some(value),
            _ => {}
        })?;
        Ok(outer)
    }
}

/// An event that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub occurred_at: Timestamp,
    pub change: Change,
}

/// Why an event can never be applied as it is. The texts name places and limits, never what stood there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the body cannot be read as a JSON object: {0}")]
    NotJson(String),
    #[error("the body has no type, or one that is no text")]
    MissingType,
    #[error("only user.created, user.updated and user.deleted can be applied")]
    UnsupportedType,
    #[error("the user's ID cannot be read: {0}")]
    InvalidId(&'static str),
    #[error("{field} {fault}")]
    ImplausibleTime {
        field: &'static str,
        fault: &'static str,
    },
    #[error("no database can store data: {0}")]
    Unstorable(&'static str),
}

impl Rejection {
    /// The name in `events.error_code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "not_json",
            Self::MissingType => "missing_type",
            Self::UnsupportedType => "unsupported_type",
            Self::InvalidId(_) => "invalid_id",
            Self::ImplausibleTime { .. } => "implausible_time",
            Self::Unstorable(_) => "unstorable",
        }
    }
}
