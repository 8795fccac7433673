//! What a synced table is: the events that fill it, its columns, and what is erased of it.

use std::fmt;

use super::id::ClerkId;
use super::json::{self, Object};

pub use super::column::{Column, Json, Kind, Value, boolean, integer, json, text, texts, time};

/// Everything that is special about one table: parsing, SQL, rows, JSON and schemas come from it.
///
/// Each table has more columns, which are the same in all: see `row_columns`.
pub struct Table {
    /// The name in both databases.
    pub name: &'static str,
    /// What one row is called in texts, and several in texts, commands, routes and `SYNC`.
    pub singular: &'static str,
    /// See `singular`.
    pub plural: &'static str,
    /// What Clerk's IDs of its rows begin with, before the underscore.
    pub id_prefix: &'static str,
    /// The types of the events that fill it.
    pub events: &'static [EventKind],
    /// The columns that are read from Clerk's object, in the order of the rows.
    pub columns: &'static [Column],
    /// The fields of Clerk's object. Of two that are as near to a misspelled name, the first is
    /// meant.
    pub fields: &'static [&'static str],
    /// Words for a field that are nothing like its name.
    pub synonyms: &'static [(&'static str, &'static str)],
    /// Fields that are never stored, neither in a column nor in `data` nor in a payload.
    pub never_stored: &'static [NeverStored],
    /// The columns that name a user, with whose data the row's is erased; empty if none does.
    pub erased_with: &'static [Owner],
    /// The JSON of sample events of every type of it; see `sample`.
    pub sample: &'static str,
    /// The views of it in both databases, with all of its columns.
    pub views: &'static [View],
    /// How Clerk's Backend API lists the objects.
    pub list: super::list::List,
}

/// A view of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    /// The name in both databases.
    pub name: &'static str,
    /// Which rows it shows: one sentence for the documentation.
    pub shows: &'static str,
}

/// A field of which nothing is ever stored, or one member of its object only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeverStored {
    /// The field.
    pub field: &'static str,
    /// The member that is stored; `None` if the field is left out.
    pub except: Option<&'static str>,
}

/// A column that says whose data a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It holds the user's ID.
    Id(&'static str),
    /// It holds one of the user's e-mail addresses.
    Address(&'static str),
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
    /// Whether it carries the whole object.
    pub has_profile: bool,
}

impl EventKind {
    /// An event that carries the object.
    pub const fn profile(name: &'static str) -> Self {
        Self {
            name,
            deletes: false,
            has_profile: true,
        }
    }

    /// An event that says that the object is deleted, and nothing else.
    pub const fn delete(name: &'static str) -> Self {
        Self {
            name,
            deletes: true,
            has_profile: false,
        }
    }

    /// The same with the object as it was last.
    pub const fn delete_with_profile(name: &'static str) -> Self {
        Self {
            name,
            deletes: true,
            has_profile: true,
        }
    }
}

/// What an event says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// One for each column of the table, in its order.
    pub values: Box<[Value]>,
    /// The whole object.
    pub data: Json,
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

    /// Whether an erasure leaves nothing of a row but its ID and times: a row that is a user.
    pub fn is_erased_whole(&self) -> bool {
        self.erased_with.is_empty()
    }

    /// Whether an erasure empties this column of a profile. Of a row that belongs to a user, what is
    /// personal goes; that the row is there, and where it belongs, stays.
    pub fn is_erased(&self, column: &str) -> bool {
        let mut personal = self.columns.iter().filter(|column| column.is_personal);
        self.is_erased_whole() || column == "data" || personal.any(|known| known.name == column)
    }

    /// All columns of a row, in their order.
    pub fn row_columns(&self) -> impl Iterator<Item = &Column> {
        BEFORE.iter().chain(self.columns).chain(&BEHIND)
    }

    /// The columns by which lists can be filtered.
    pub fn filtered(&self) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(|column| column.is_filtered)
    }

    /// The columns by whose beginnings lists can be searched.
    pub fn searched(&self) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(|column| column.is_searched)
    }

    /// The column with the time at which a row expires. Returns `None` if its rows do not.
    pub fn expiry(&self) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.is_expiry)
    }

    /// The singular with its article: `an organization`.
    pub fn one(&self) -> String {
        // A word with u begins as `user` does.
        let article = match self.singular.chars().next() {
            Some('a' | 'e' | 'i' | 'o') => "an",
            _ => "a",
        };
        format!("{article} {}", self.singular)
    }

    /// The columns that are compared with Clerk's list.
    pub fn compared(&self) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(|column| column.is_compared)
    }

    /// Whether a row with these values, one for each compared column, holds what the profile says.
    /// A boolean that one of the two leaves out is no difference: an event has fewer of them than
    /// the list. Nor is what an erasure has emptied, if the row `is_erased`.
    pub fn agrees(&self, row: &[Value], profile: &Profile, is_erased: bool) -> bool {
        let columns = self.columns.iter().zip(&profile.values);
        let compared = columns.filter(|(column, _)| column.is_compared);
        compared.zip(row).all(|((column, ours), theirs)| {
            ours == theirs
                || is_erased && self.is_erased(column.name)
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
    use crate::clerk::column::INDEXED_TEXT_MAX;
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
