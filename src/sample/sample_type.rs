//! The types of event that a sample can have: those of every synced table, and two that fill none.

use crate::clerk::table::{EventKind, Table};
use crate::clerk::tables;

/// Types that fill no table, for what a server does with them.
const OTHERS: [&str; 2] = ["session.created", "email.created"];

/// The types of the first release: the place of each is part of the seed of its events.
const FIRST: [&str; 5] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "session.created",
    "email.created",
];

/// A type of event that a sample can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleType {
    name: &'static str,
    filled: Option<(&'static Table, &'static EventKind)>,
}

/// What the events of a type are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// A user.
    User,
    /// An organization.
    Organization,
    /// An object of an organization, with an ID that begins with this and `_`.
    Other(&'static str),
}

impl SampleType {
    /// Every type, in the order of the tables.
    pub fn all() -> impl Iterator<Item = Self> {
        let events = tables::ALL.iter().flat_map(|table| table.events);
        let names = events.map(|kind| kind.name).chain(OTHERS);
        names.map(|name| Self {
            name,
            filled: tables::of_event(name),
        })
    }

    /// The type of this name. Returns `None` if no sample has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name == name)
    }

    /// Clerk's name for the type.
    pub fn as_str(self) -> &'static str {
        self.name
    }

    /// The table that events of this type fill. Returns `None` if they fill none.
    pub fn table(self) -> Option<&'static Table> {
        Some(self.filled?.0)
    }

    /// Whether the events carry a whole object that is stored.
    pub fn has_profile(self) -> bool {
        self.filled.is_some_and(|(_, kind)| kind.has_profile)
    }

    /// What the events are about. Those that fill no table are about a user.
    pub fn object(self) -> Object {
        match self.table().map(|table| table.id_prefix) {
            None | Some("user") => Object::User,
            Some("org") => Object::Organization,
            Some(prefix) => Object::Other(prefix),
        }
    }

    /// Whether the object comes into being with events of this type.
    pub(super) fn creates(self) -> bool {
        let first = self.table().and_then(|table| table.events.first());
        first.is_some_and(|first| first.name == self.name)
    }

    /// Whether Clerk has deleted the object of an event of this type.
    pub(super) fn deletes(self) -> bool {
        self.filled.is_some_and(|(_, kind)| kind.deletes)
    }

    /// The number of the type in seeds: fixed for ever.
    pub(super) fn number(self) -> u64 {
        let place = FIRST.iter().position(|name| *name == self.name);
        place.map_or_else(
            || super::Seeded::of_text(self.name).number(),
            |place| place as u64,
        )
    }
}
