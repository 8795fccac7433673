//! The type of an event: the table that it fills, if any.

use super::json::{self, Object};
use super::table::{EventKind, Table};
use super::tables;

/// The `type` in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventType {
    /// It fills a table.
    Synced(&'static Table, &'static EventKind),
    /// The body is not JSON or has no `type`: queued all the same, so that it ends as a failed
    /// event.
    Unreadable,
    /// Any other type: ignored.
    Other(Box<str>),
}

/// The name of the types that have none; no event of Clerk's has it.
const UNREADABLE: &str = "user.unreadable";

impl EventType {
    /// Reads the type of a body without judging the rest of it.
    pub fn read(body: &[u8]) -> Self {
        let outer = std::str::from_utf8(body)
            .ok()
            .and_then(|text| Object::read_outer(text).ok());
        outer
            .and_then(|outer| Self::of(&outer))
            .unwrap_or(Self::Unreadable)
    }

    /// Returns `None` for an object without a type.
    pub(super) fn of(outer: &Object<'_>) -> Option<Self> {
        let name: Box<str> = json::read(outer.get("type")?)?;
        Some(if *name == *UNREADABLE {
            Self::Other(name)
        } else {
            Self::named(&name)
        })
    }

    /// The type under the name that `as_str` gave it.
    pub fn named(name: &str) -> Self {
        match tables::of_event(name) {
            Some((table, kind)) => Self::Synced(table, kind),
            None if name == UNREADABLE => Self::Unreadable,
            None => Self::Other(name.into()),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => known.known_name().unwrap_or_default(),
        }
    }

    /// The name, which is the routing key too: an unreadable event is routed as the events of users
    /// are. Returns `None` for other types, whose names come from outside.
    pub fn known_name(&self) -> Option<&'static str> {
        match self {
            Self::Synced(_, kind) => Some(kind.name),
            Self::Unreadable => Some(UNREADABLE),
            Self::Other(_) => None,
        }
    }

    /// Whether it says that Clerk has deleted the object, and nothing else of it: such a body holds
    /// nothing personal.
    pub fn is_bare_delete(&self) -> bool {
        matches!(self, Self::Synced(_, kind) if kind.deletes && !kind.has_profile)
    }

    /// Whether it says that Clerk has deleted the object.
    pub fn is_delete(&self) -> bool {
        matches!(self, Self::Synced(_, kind) if kind.deletes)
    }
}
