//! What a column of a synced table is, and where its value is in Clerk's object.

use std::fmt;

use super::id::Timestamp;
use super::json::{self, Object};

/// The text of a valid JSON value, exactly as Clerk sent it: numbers no double can hold stay whole.
pub type Json = Box<str>;

/// Longest text, in bytes, in a column with an index: PostgreSQL refuses index keys over 2,704
/// bytes (error 54000), and lower() can make a text longer. Clerk's own limits are far below.
pub(super) const INDEXED_TEXT_MAX: usize = 1000;

/// A column that is read from Clerk's object. A field that is missing or of another shape makes it
/// null; `data` keeps what came.
#[derive(Clone)]
pub struct Column {
    /// The name in both databases and in the API.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// One sentence for the documentation and the API's schema.
    pub description: &'static str,
    /// Whether people look rows up by it without regard to case; only of texts.
    pub is_folded: bool,
    /// Whether `reconcile` compares it with Clerk's list. Some fields change without `updated_at`,
    /// and some are written in another way in the list than in an event: these are not compared.
    pub is_compared: bool,
    /// Whether it has an index: then a text that is too long for one is null.
    pub is_indexed: bool,
    /// Whether lists can be asked for the rows with one value of it.
    pub is_filtered: bool,
    /// Whether lists can be searched by the beginning of it.
    pub is_searched: bool,
    /// Whether it is erased with the user that the row belongs to; see `Table::erased_with`.
    pub is_personal: bool,
    /// The name of the table whose row's ID it holds. If the column is filtered, that row has a list
    /// of the rows that name it.
    pub id_of: Option<&'static str>,
    /// The values that are known, to choose from; empty if there is no such list.
    pub known_values: &'static [&'static str],
    /// Whether it is the time at which the row expires: lists can be asked for those that have not.
    pub is_expiry: bool,
    source: Source,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// True or false.
    Boolean,
    /// A whole number of 64 bits.
    Integer,
    /// A time in milliseconds.
    Time,
    /// A JSON object.
    Json,
    /// A JSON array of texts.
    Texts,
}

/// Where the value of a column is.
#[derive(Clone)]
enum Source {
    /// In the field of the column's name.
    Field,
    /// In a member of the object in a field.
    Member(&'static str, &'static str),
    /// In several fields, which hold the value of the next column too.
    Pair(fn(&Object<'_>) -> (Value, Value)),
    /// See the column before.
    Previous,
}

/// The value of a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// A text.
    Text(Box<str>),
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A time.
    Time(Timestamp),
    /// A JSON object or array.
    Json(Json),
}

/// A column of texts.
pub const fn text(name: &'static str, description: &'static str) -> Column {
    column(name, Kind::Text, description)
}

/// A column of booleans.
pub const fn boolean(name: &'static str, description: &'static str) -> Column {
    column(name, Kind::Boolean, description)
}

/// A column of whole numbers.
pub const fn integer(name: &'static str, description: &'static str) -> Column {
    column(name, Kind::Integer, description)
}

/// A column of times.
pub const fn time(name: &'static str, description: &'static str) -> Column {
    column(name, Kind::Time, description)
}

/// A column of JSON objects.
pub const fn json(name: &'static str, description: &'static str) -> Column {
    column(name, Kind::Json, description)
}

/// A column of JSON arrays of texts.
pub const fn texts(name: &'static str, description: &'static str) -> Column {
    column(name, Kind::Texts, description)
}

/// A column that holds the field of its own name.
const fn column(name: &'static str, kind: Kind, description: &'static str) -> Column {
    Column {
        name,
        kind,
        description,
        is_folded: false,
        is_compared: false,
        is_indexed: false,
        is_filtered: false,
        is_searched: false,
        is_personal: false,
        id_of: None,
        known_values: &[],
        is_expiry: false,
        source: Source::Field,
    }
}

impl Column {
    /// The same, derived from several fields, which hold the value of the next column too.
    pub const fn derived(self, read: fn(&Object<'_>) -> (Value, Value)) -> Self {
        Self {
            source: Source::Pair(read),
            ..self
        }
    }

    /// The same, derived together with the column before.
    pub const fn with_previous(self) -> Self {
        Self {
            source: Source::Previous,
            ..self
        }
    }

    /// The same with an index: a text that is too long for one is null.
    pub const fn indexed(self) -> Self {
        Self {
            is_indexed: true,
            ..self
        }
    }

    /// The same, read from a member of the object in a field.
    pub const fn member_of(self, field: &'static str, member: &'static str) -> Self {
        Self {
            source: Source::Member(field, member),
            ..self
        }
    }

    /// The same, by one value of which lists can be filtered.
    pub const fn filtered(self) -> Self {
        Self {
            is_filtered: true,
            ..self
        }
    }

    /// The same, by the beginning of which lists can be searched.
    pub const fn searched(self) -> Self {
        Self {
            is_searched: true,
            ..self
        }
    }

    /// The same, erased with the user that the row belongs to.
    pub const fn personal(self) -> Self {
        Self {
            is_personal: true,
            ..self
        }
    }

    /// The same, holding the ID of a row of another table.
    pub const fn id_of(self, table: &'static str) -> Self {
        Self {
            id_of: Some(table),
            ..self
        }
    }

    /// The same, usually with one of these values.
    pub const fn one_of(self, known_values: &'static [&'static str]) -> Self {
        Self {
            known_values,
            ..self
        }
    }

    /// The same, being the time at which the row expires.
    pub const fn expiry(self) -> Self {
        Self {
            is_expiry: true,
            ..self
        }
    }

    /// The same, found without regard to case.
    pub const fn folded(self) -> Self {
        Self {
            is_folded: true,
            ..self
        }
    }

    /// The same, compared with Clerk's list.
    pub const fn compared(self) -> Self {
        Self {
            is_compared: true,
            ..self
        }
    }

    pub(super) fn read(&self, object: &Object<'_>, next: &mut Value) -> Value {
        let value = match self.source {
            Source::Field => object
                .get(self.name)
                .map_or(Value::Null, |value| self.kind.read(value)),
            Source::Member(field, member) => object
                .get(field)
                .and_then(|value| Object::read(value.get()).ok()?.get(member))
                .map_or(Value::Null, |value| self.kind.read(value)),
            Source::Pair(read) => {
                let (value, second) = read(object);
                *next = second;
                value
            }
            Source::Previous => std::mem::take(next),
        };
        match value {
            Value::Text(text) if self.is_indexed && text.len() > INDEXED_TEXT_MAX => {
                *next = Value::Null;
                Value::Null
            }
            value => value,
        }
    }
}

impl Kind {
    fn read(self, value: &serde_json::value::RawValue) -> Value {
        let read = match self {
            Self::Text => json::read(value).map(Value::Text),
            Self::Boolean => json::read(value).map(Value::Boolean),
            Self::Integer => json::read(value).map(Value::Integer),
            Self::Time => json::read(value)
                .and_then(Timestamp::from_ms)
                .map(Value::Time),
            Self::Json => json::object(value).map(|text| Value::Json(text.into())),
            Self::Texts => json::texts(value).map(|text| Value::Json(text.into())),
        };
        read.unwrap_or_default()
    }

    /// Whether the values are JSON.
    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Texts)
    }
}

impl Value {
    /// The text. Returns `None` for any other value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value. Returns `None` for any other value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The number. Returns `None` for any other value.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The time. Returns `None` for any other value.
    pub fn as_time(&self) -> Option<Timestamp> {
        match self {
            Self::Time(time) => Some(*time),
            _ => None,
        }
    }

    /// The text of a JSON object or array. Returns `None` for any other value.
    pub fn as_json(&self) -> Option<&str> {
        match self {
            Self::Json(json) => Some(json),
            _ => None,
        }
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
