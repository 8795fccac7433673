//! Builds and reads the headers of messages and the arguments of declarations.

use std::collections::BTreeMap;

use lapin::types::{AMQPValue, FieldTable};

/// A table of these entries.
pub fn table<'k>(entries: impl IntoIterator<Item = (&'k str, AMQPValue)>) -> FieldTable {
    let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
    entries.collect::<BTreeMap<_, _>>().into()
}

/// A value of text.
pub fn long_text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The value as text; `None` if it is none.
pub fn text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

/// The value as an integer; `None` if it is none. Text of digits counts.
pub fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::Timestamp(number) => i64::try_from(*number).ok(),
        AMQPValue::LongString(_) => text(value)?.parse().ok(),
        _ => None,
    }
}
