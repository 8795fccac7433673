//! An event of Clerk's: the signed body, and what it says of one object.
//!
//! A `SignedEvent` is made by a verifier, or restored from our own queue or table. `parse` is the
//! one way from bytes to an `Event`, which has no wrong ID and no wrong time.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::change::{Change, Version};
use super::error_code::ErrorCode;
use super::event_type::EventType;
use super::id::{ClerkId, EventId, Timestamp};
use super::json::{self, Object};
use super::redact::{OmittedFields, in_place_of_no_object};
use super::table::id_of;
use super::trace_context::TraceContext;

/// Why a queue gave up on an event. An event carries it, and it is recorded as the failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// `events.error_code`.
    pub code: ErrorCode,
    /// What happened to it, and what to do.
    pub text: String,
}

/// A body with a valid signature that is not parsed yet.
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
    /// An event whose signature was verified, now or before it was stored in our own queue or
    /// table.
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

    /// The same with an empty body, which stands for one that must not be stored.
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

    /// The trace that it is a part of. Returns `None` if there is none.
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

    /// Why its queue gave up on it. Returns `None` if the queue does not say so.
    pub fn dead_letter(&self) -> Option<&DeadLetter> {
        self.dead_letter.as_deref()
    }

    /// The `svix-id`.
    pub fn id(&self) -> &EventId {
        &self.id
    }

    /// The type in the body.
    pub fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// `svix-timestamp`: the time of the delivery, not of the event.
    pub fn sent_at(&self) -> Timestamp {
        self.sent_at
    }

    /// When it was received; of a replay, when it was replayed.
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// The bytes that were signed, less the omitted fields.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether it is a JSON object with neither `type` nor `data`: no event of Clerk's, but a test
    /// message of Svix's own.
    pub fn is_ping(&self) -> bool {
        self.event_type == EventType::Unreadable
            && std::str::from_utf8(&self.body).is_ok_and(|body| {
                Object::read(body)
                    .is_ok_and(|outer| outer.get("type").is_none() && outer.get("data").is_none())
            })
    }

    /// Reads what the event says of its object.
    ///
    /// Only the type, `data.id` and the times can make it fail, and what no database can hold;
    /// every other field may be missing or of another shape.
    ///
    /// # Errors
    /// Says why the event can never be applied.
    pub fn parse(&self) -> Result<Event, Rejection> {
        self.parse_without(&OmittedFields::default()).1
    }

    /// The event without the fields that are not stored. Does not read what it says.
    pub fn without(&self, omitted: &OmittedFields) -> Self {
        self.redact_then(omitted, |_| Ok(())).0
    }

    /// The event without the fields that are not stored, and what it says.
    pub fn parse_without(&self, omitted: &OmittedFields) -> (Self, Result<Event, Rejection>) {
        self.redact_then(omitted, |parts| self.read(parts))
    }

    /// Removes the fields, and calls `read` with what is left: the JSON is scanned once for both.
    fn redact_then<T>(
        &self,
        omitted: &OmittedFields,
        read: impl FnOnce(Parts<'_>) -> Result<T, Rejection>,
    ) -> (Self, Result<T, Rejection>) {
        let outer = match self.outer() {
            Ok(outer) => outer,
            Err(rejection) => return (self.clone(), Err(rejection)),
        };
        let event_type = EventType::of(&outer);
        let table = match event_type {
            Some(EventType::Synced(table, _)) => Some(table),
            _ => None,
        };
        let mut data = Vec::with_capacity(1);
        for (place, member) in outer.members().iter().enumerate() {
            if member.name == "data" {
                let mut object = Object::read(member.value.get()).ok();
                let rest = match &mut object {
                    Some(object) => omitted.remove_from(object, table),
                    None => in_place_of_no_object(table),
                };
                data.push((place, member.value, object, rest));
            }
        }
        let rest_of = |place| {
            let (.., rest) = data.iter().find(|(data, ..)| *data == place)?;
            rest.as_deref()
        };
        let mut event = self.clone();
        if data.iter().any(|(.., rest)| rest.is_some()) {
            event.body = outer.write(rest_of).into();
        }
        // If `data` occurs several times, the last one counts.
        let (object, text) = match data.last() {
            Some((_, value, object, rest)) => {
                (object.as_ref(), rest.as_deref().unwrap_or(value.get()))
            }
            None => (None, ""),
        };
        let result = read(Parts {
            outer: &outer,
            event_type,
            object,
            text,
        });
        (event, result)
    }

    fn outer(&self) -> Result<Object<'_>, Rejection> {
        let text = std::str::from_utf8(&self.body).map_err(|e| {
            Rejection::NotJson(format!("it is not UTF-8 from byte {} on", e.valid_up_to()))
        })?;
        Object::read_outer(text).map_err(|e| Rejection::NotJson(place(&e)))
    }

    fn read(&self, parts: Parts<'_>) -> Result<Event, Rejection> {
        let Parts {
            outer,
            event_type,
            object,
            text,
        } = parts;
        let EventType::Synced(table, kind) = event_type.ok_or(Rejection::MissingType)? else {
            return Err(Rejection::UnsupportedType);
        };
        let no_object = if outer.get("data").is_some() {
            "data is no object"
        } else {
            "data is missing"
        };
        let object = object.ok_or(Rejection::InvalidId(no_object))?;
        let clerk_id = id_of(object).map_err(Rejection::InvalidId)?;
        let time = |field, value, read| plausible_time(field, value, self.sent_at, read);
        let occurred_at = time("timestamp", outer.get("timestamp"), seconds_or_ms)?;
        let occurred_at = occurred_at.unwrap_or(self.sent_at);
        let mut change = Change {
            table,
            clerk_id,
            profile: None,
            deleted_at: None,
        };
        if kind.deletes {
            change.deleted_at = Some(occurred_at);
        }
        if kind.has_profile {
            let updated_at = time(
                "data.updated_at",
                object.get("updated_at"),
                Timestamp::from_ms,
            )?;
            let version = Version {
                updated_at: updated_at.unwrap_or(occurred_at),
                occurred_at,
                event_id: self.id.clone(),
            };
            json::check_storable(text).map_err(Rejection::Unstorable)?;
            change.profile = Some((version, table.profile(object, text.into())));
        }
        Ok(Event {
            id: self.id.clone(),
            occurred_at,
            change,
        })
    }

    /// The ID of its object, even if the event cannot be applied. Returns `None` if it cannot be
    /// read.
    pub fn clerk_id(&self) -> Option<ClerkId> {
        let data = self.outer().ok()?.get("data")?;
        id_of(&Object::read(data.get()).ok()?).ok()
    }
}

/// A time in the body. Returns `None` if it is missing or null, so that another time can stand in.
///
/// # Errors
/// Fails for a time far ahead of `now`: it would shut out every update until then.
pub(super) fn plausible_time(
    field: &'static str,
    value: Option<&RawValue>,
    now: Timestamp,
    read: fn(i64) -> Option<Timestamp>,
) -> Result<Option<Timestamp>, Rejection> {
    let Some(value) = value.filter(|value| value.get() != "null") else {
        return Ok(None);
    };
    let rejected = |fault| Rejection::ImplausibleTime { field, fault };
    let number = json::read(value).ok_or(rejected("is no integer"))?;
    if number <= 0 {
        return Err(rejected("is not positive"));
    }
    let time = read(number).ok_or(rejected("is after the year 9999"))?;
    if time.ms() > now.ms() + AHEAD_MAX_MS {
        return Err(rejected("is more than 24 hours ahead"));
    }
    Ok(Some(time))
}

/// How far a time may lie ahead, in milliseconds: 24 hours.
const AHEAD_MAX_MS: i64 = 24 * 60 * 60 * 1000;

/// Clerk's catalogue gives `timestamp` in seconds, its events in milliseconds. 100,000,000,000 is
/// the year 1973 in milliseconds and 5138 in seconds: below it a number can only be seconds.
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

/// The parts of a body, without the fields that are not stored.
struct Parts<'a> {
    outer: &'a Object<'a>,
    /// `None` if the body has no type.
    event_type: Option<EventType>,
    /// The object in `data`; `None` if there is none.
    object: Option<&'a Object<'a>>,
    /// Its text.
    text: &'a str,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The ID.
    pub id: EventId,
    /// When the event occurred.
    pub occurred_at: Timestamp,
    /// What it changes.
    pub change: Change,
}

/// Why an event can never be applied as it is. The texts name places and limits, never what the
/// body holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The body is not JSON.
    #[error("the body cannot be read as a JSON object: {0}")]
    NotJson(String),
    /// The body has no type.
    #[error("the body has no type, or one that is no text")]
    MissingType,
    /// The type belongs to no synced table.
    #[error("no table is filled by events of this type")]
    UnsupportedType,
    /// The ID is missing or cannot be used.
    #[error("the object's ID cannot be read: {0}")]
    InvalidId(&'static str),
    /// A time is missing, not positive or too far ahead.
    #[error("{field} {fault}")]
    ImplausibleTime {
        /// The field.
        field: &'static str,
        /// What is wrong.
        fault: &'static str,
    },
    /// No database stores a value of the object.
    #[error("no database can store data: {0}")]
    Unstorable(&'static str),
}

impl Rejection {
    /// The name in `events.error_code`.
    pub fn code(&self) -> &'static str {
        let code = match self {
            Self::NotJson(_) => ErrorCode::NotJson,
            Self::MissingType => ErrorCode::MissingType,
            Self::UnsupportedType => ErrorCode::UnsupportedType,
            Self::InvalidId(_) => ErrorCode::InvalidId,
            Self::ImplausibleTime { .. } => ErrorCode::ImplausibleTime,
            Self::Unstorable(_) => ErrorCode::Unstorable,
        };
        code.name()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    /// The body without the fields. Returns `None` if it stays as it was.
    fn omit(fields: &str, body: &str) -> Option<String> {
        let names: Vec<_> = fields
            .split([',', ' '])
            .filter(|name| !name.is_empty())
            .collect();
        let at = Timestamp::MIN;
        let (id, event_type) = (EventId::new("msg_1").unwrap(), EventType::Unreadable);
        let event = SignedEvent::restored(id, event_type, at, at, Bytes::from(body.to_owned()));
        let without = event.without(&OmittedFields::of_any_names(&names)).body;
        (without != event.body).then(|| String::from_utf8(without.to_vec()).unwrap())
    }

    #[test]
    fn the_fields_go_and_everything_else_stays_as_it_came() {
        let body = r#"{"data":{"id":"user_1","private_metadata":{"a":"secret"},"n":1.50,"priv\u0061te_metadata":2},"type":"user.updated"}"#;
        assert_eq!(
            omit("private_metadata, unsafe_metadata", body).unwrap(),
            r#"{"data":{"id":"user_1","n":1.50},"type":"user.updated"}"#
        );
        assert_eq!(
            omit("id_x", r#"{"data":{"id_x":1}}"#).unwrap(),
            r#"{"data":{}}"#
        );
        // Half of a surrogate pair in a name is no way past.
        assert_eq!(
            omit("id_x", r#"{"\ude00":0,"data":{"a\ud800":2,"id_x":1}}"#).unwrap(),
            r#"{"\ude00":0,"data":{"a\ud800":2}}"#
        );
    }

    #[test]
    fn only_the_user_object_is_meant() {
        for body in [
            r#"{"private_metadata":1,"data":{"id":"user_1"}}"#,
            r#"{"data":{"nested":{"private_metadata":1}}}"#,
            r#"{"data":["private_metadata"]}"#,
            "no JSON",
            "",
            "[]",
        ] {
            assert_eq!(omit("private_metadata", body), None, "{body}");
        }
        assert_eq!(omit("", r#"{"data":{"a":1}}"#), None);
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        let value = prop_oneof![
            any::<i64>().prop_map(Value::from),
            "\\PC*".prop_map(Value::from),
            Just(json!({"a": [1, null]})),
        ];
        prop::collection::btree_map("[a-c\"\\\\é]{0,2}", value, 0..6)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn omitting_is_removing_and_twice_is_once(data in object(), other in any::<i64>(), name in "[a-c]{1,2}") {
            let body = json!({"data": data, "other": other}).to_string();
            let omitted = omit(&name, &body);
            prop_assert_eq!(omitted.is_some(), data.contains_key(&name));
            let omitted = omitted.unwrap_or(body);
            let mut expected = data;
            expected.remove(&name);
            let found: Value = serde_json::from_str(&omitted).unwrap();
            prop_assert_eq!(found, json!({"data": expected, "other": other}));
            prop_assert_eq!(omit(&name, &omitted), None);
        }
    }
}
