//! The synced tables. A new one is a file here, and a line in `ALL`.

pub mod users;

use super::table::{EventKind, Table};

/// Every synced table.
pub static ALL: [&Table; 1] = [&users::TABLE];

/// The table that events of this type fill. Returns `None` for a type that fills none.
pub fn of_event(event_type: &str) -> Option<(&'static Table, &'static EventKind)> {
    ALL.into_iter().find_map(|table| {
        let kind = table.events.iter().find(|kind| kind.name == event_type)?;
        Some((table, kind))
    })
}

/// Whether Clerk sends events of this type for objects that it has deleted.
pub fn is_delete(event_type: &str) -> bool {
    of_event(event_type).is_some_and(|(_, kind)| kind.deletes)
}
