//! The synced tables. A new one is a file here, and a line in `ALL`.

pub mod organization_domains;
pub mod organization_invitations;
pub mod organization_memberships;
pub mod organizations;
pub mod users;

use super::table::{Column, EventKind, Table};

/// Every synced table.
pub const ALL: &[&Table] = &[
    &users::TABLE,
    &organizations::TABLE,
    &organization_memberships::TABLE,
    &organization_invitations::TABLE,
    &organization_domains::TABLE,
];

/// The table that events of this type fill. Returns `None` for a type that fills none.
pub fn of_event(event_type: &str) -> Option<(&'static Table, &'static EventKind)> {
    ALL.iter().copied().find_map(|table| {
        let kind = table.events.iter().find(|kind| kind.name == event_type)?;
        Some((table, kind))
    })
}

/// Every table but users, which have lists and pages of their own.
pub fn others() -> impl Iterator<Item = &'static Table> {
    let users = users::TABLE.name;
    ALL.iter().copied().filter(move |table| table.name != users)
}

/// The table with this name. Returns `None` if there is none.
pub fn named(name: &str) -> Option<&'static Table> {
    ALL.iter().copied().find(|table| table.name == name)
}

/// The columns of all tables that hold the ID of a row of this one, and that lists are filtered by,
/// each with its table.
pub fn lists_of(table: &Table) -> impl Iterator<Item = (&'static Table, &'static Column)> {
    let name = table.name;
    ALL.iter().copied().flat_map(move |other| {
        let columns = other
            .filtered()
            .filter(move |column| column.id_of == Some(name));
        columns.map(move |column| (other, column))
    })
}

/// Whether Clerk sends events of this type for objects that it has deleted.
pub fn is_delete(event_type: &str) -> bool {
    of_event(event_type).is_some_and(|(_, kind)| kind.deletes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_holds_the_id_of_a_row_of_a_table_and_no_row_has_two_lists_of_one_name() {
        for table in ALL {
            for column in table.columns {
                assert!(
                    column.id_of.is_none_or(|name| named(name).is_some()),
                    "{column:?}"
                );
            }
            let lists: Vec<_> = lists_of(table).map(|(other, _)| other.plural).collect();
            let mut names = lists.clone();
            names.dedup();
            assert_eq!(names, lists);
        }
        let of_organization: Vec<_> = lists_of(&organizations::TABLE)
            .map(|(other, _)| other.plural)
            .collect();
        assert!(of_organization.starts_with(&["memberships", "invitations"]));
    }
}
