//! What a synced table is: the events that fill it, its columns, and where each is in Clerk's
//! object.

use std::fmt;

use super::id::{ClerkId, Timestamp};
use super::json::{self, Object};

/// The text of a valid JSON value, exactly as Clerk sent it: numbers no double can hold stay whole.
pub type Json = Box<str>;

/// Longest text, in bytes, in a column with an index: PostgreSQL refuses index keys over 2,704
/// bytes (error 54000), and lower() can make a text longer. Clerk's own limits are far below.
const INDEXED_TEXT_MAX: usize = 1000;

/// Everything that is special about one table. Parsing, SQL, rows, JSON and schemas are made from
/// it.
///
/// Each table has more columns, which are the same in all: see `row_columns`.
pub struct Table {
    /// The name in both databases.
    pub name: &'static str,
    /// The types of the events that fill it.
    pub events: &'static [EventKind],
    /// The columns that are read from Clerk's object, in the order of the rows.
    pub columns: &'static [Column],
    /// The fields of Clerk's object. Of two that are as near to a misspelled name, the first is
    /// meant.
    pub fields: &'static [&'static str],
    /// Words for a field that are nothing like its name.
    pub synonyms: &'static [(&'static str, &'static str)],
}

/// The columns of every table before its own.
static BEFORE: [Column; 1] = [text("clerk_id", "Clerk's ID.")];

/// The columns of every table behind its own.
#[rustfmt::skip]
static BEHIND: [Column; 7] = [
    time("updated_at", "When it was last changed at Clerk; first part of the version."),
    time("deleted_at", "When it was deleted at Clerk: the earliest delete. Never cleared."),
    json("data", "The whole object as Clerk sent it."),
    text("event_id", "svix-id of the event that the profile came from; null in a row that only a delete has reached."),
    time("occurred_at", "Time of the event that the profile came from."),
    time("synced_at", "When clerk-sync last wrote this row."),
    time("erased_at", "When the data of the row was erased."),
];

/// A type of event that fills a table.
#[derive(Debug, PartialEq, Eq)]
pub struct EventKind {
    /// The `type` in the body.
    pub name: &'static str,
    /// Whether it says that Clerk has deleted the object.
    pub deletes: bool,
}

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
}

/// Where the value of a column is.
#[derive(Clone)]
enum Source {
    /// In the field of the column's name.
    Field,
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
    /// A JSON object.
    Json(Json),
}

/// What an event says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// One for each column of the table, in its order.
    pub values: Box<[Value]>,
    /// The whole object.
    pub data: Json,
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

/// A column that holds the field of its own name.
const fn column(name: &'static str, kind: Kind, description: &'static str) -> Column {
    Column {
        name,
        kind,
        description,
        is_folded: false,
        is_compared: false,
        is_indexed: false,
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

    fn read(&self, object: &Object<'_>, next: &mut Value) -> Value {
        let value = match self.source {
            Source::Field => object
                .get(self.name)
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
        };
        read.unwrap_or_default()
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

    /// The text of a JSON object. Returns `None` for any other value.
    pub fn as_json(&self) -> Option<&str> {
        match self {
            Self::Json(json) => Some(json),
            _ => None,
        }
    }
}

impl Table {
    /// What the object says; `data` is its text.
    pub fn profile(&self, object: &Object<'_>, data: Json) -> Profile {
        let mut next = Value::Null;
        let columns = self.columns.iter();
        let values = columns
            .map(|column| column.read(object, &mut next))
            .collect();
        Profile { values, data }
    }

    /// The place of a column in the rows. Returns `None` if the table has no such column.
    pub fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|known| known.name == column)
    }

    /// All columns of a row, in their order.
    pub fn row_columns(&self) -> impl Iterator<Item = &Column> {
        BEFORE.iter().chain(self.columns).chain(&BEHIND)
    }

    /// The columns that are compared with Clerk's list.
    pub fn compared(&self) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(|column| column.is_compared)
    }

    /// Whether a row with these values, one for each compared column, holds what the profile says.
    /// A boolean that one of the two leaves out is no difference: an event has fewer of them than
    /// the list.
    pub fn agrees(&self, row: &[Value], profile: &Profile) -> bool {
        let columns = self.columns.iter().zip(&profile.values);
        let compared = columns.filter(|(column, _)| column.is_compared);
        compared.zip(row).all(|((column, ours), theirs)| {
            ours == theirs
                || column.kind == Kind::Boolean && (*ours == Value::Null || *theirs == Value::Null)
        })
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Table {}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The ID of Clerk's object.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn id_of(object: &Object<'_>) -> Result<ClerkId, &'static str> {
    let id = object.get("id").ok_or("data.id is missing")?;
    let id: String = json::read(id).ok_or("data.id is no text")?;
    ClerkId::new(&id).ok_or("data.id is not 1 to 255 characters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::tables::users::users_with;

    #[test]
    fn a_column_that_is_added_to_the_list_is_read() {
        let table = users_with(integer("sign_ins", "How often the user signed in."));
        let data = r#"{"id":"user_1","sign_ins":7,"username":"ada"}"#;
        let profile = table.profile(&Object::read(data).unwrap(), data.into());
        let value = |column| &profile.values[table.place(column).unwrap()];
        assert_eq!(value("sign_ins").as_integer(), Some(7));
        assert_eq!(value("username").as_text(), Some("ada"));
    }

    #[test]
    fn a_text_that_is_too_long_for_an_index_is_null() {
        let table = &super::super::tables::users::TABLE;
        let long = "a".repeat(INDEXED_TEXT_MAX + 1);
        let data = format!(
            r#"{{"username":"{long}","first_name":"{long}","primary_email_address_id":"idn_1",
                "email_addresses":[{{"id":"idn_1","email_address":"{long}","verification":{{"status":"verified"}}}}]}}"#
        );
        let profile = table.profile(&Object::read(&data).unwrap(), "{}".into());
        let value = |column| &profile.values[table.place(column).unwrap()];
        for column in ["username", "email", "email_verified"] {
            assert_eq!(*value(column), Value::Null, "{column}");
        }
        assert_eq!(value("first_name").as_text(), Some(&*long));
    }
}
