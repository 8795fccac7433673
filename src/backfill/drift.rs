//! Compares an object of Clerk's list with the row of the same ID: pure decisions.

use crate::clerk::Change;
use crate::store::{KnownRow, OnDelete};

/// How a row compares to the object of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// There is no row.
    Missing,
    /// The row has an older profile, or none.
    Older,
    /// The row has the same `updated_at` and other values.
    Different,
    /// The row is as new or newer: an event may have arrived since the page was read.
    Current,
    /// The row is a tombstone.
    Deleted,
}

/// Compares a listed object with its row.
pub fn row_state(listed: &Change, known: Option<&KnownRow>) -> RowState {
    let Some(known) = known else {
        return RowState::Missing;
    };
    if known.state.deleted_at.is_some() {
        return RowState::Deleted;
    }
    let (Some((theirs, profile)), Some(ours)) = (&listed.profile, &known.state.version) else {
        return RowState::Older;
    };
    match ours.updated_at.cmp(&theirs.updated_at) {
        std::cmp::Ordering::Less => RowState::Older,
        std::cmp::Ordering::Equal
            if !listed
                .table
                .agrees(&known.compared, profile, known.is_erased) =>
        {
            RowState::Different
        }
        _ => RowState::Current,
    }
}

/// Whether applying the change would alter the row. One that would not now never will: versions
/// only grow, and what is erased stays so.
pub fn alters(listed: &Change, known: Option<&KnownRow>, on_delete: OnDelete) -> bool {
    known.is_none_or(|known| {
        let state = &known.state;
        let will_be_erased = on_delete == OnDelete::Scrub
            && state.deleted_at.is_some()
            && listed.table.is_erased_whole();
        !will_be_erased && listed.alters_row(state)
    })
}

#[cfg(test)]
mod tests {
    use super::super::store::sorted;
    use super::*;
    use crate::clerk::{
        ClerkId, EventId, OmittedFields, Paging, RowVersion, Timestamp, Value, Version, api_object,
        tables,
    };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    fn listed(updated_ms: i64) -> Change {
        let text = format!(r#"[{{"id":"user_1","first_name":"Ada","updated_at":{updated_ms}}}]"#);
        let (table, omitted) = (&tables::users::TABLE, OmittedFields::default());
        let page = api_object::read_page(table, Paging::Cursor, &text, &omitted, at(1000));
        page.unwrap().objects.remove(0).read.unwrap()
    }

    fn known(updated_ms: i64) -> KnownRow {
        let event_id = EventId::new("msg_1").unwrap();
        let version = Version {
            updated_at: at(updated_ms),
            occurred_at: at(updated_ms),
            event_id,
        };
        let name = Value::Text("Ada".into());
        let clerk_id = ClerkId::new("user_1").unwrap();
        KnownRow {
            clerk_id,
            state: RowVersion {
                version: Some(version),
                ..RowVersion::default()
            },
            is_erased: false,
            compared: compared("first_name", name),
        }
    }

    /// The compared columns of a row in which all but one are null.
    fn compared(column: &str, value: Value) -> Vec<Value> {
        let columns = tables::users::TABLE.compared();
        let value = |name| {
            if name == column {
                value.clone()
            } else {
                Value::Null
            }
        };
        columns.map(|known| value(known.name)).collect()
    }

    fn deleted(row: KnownRow, is_erased: bool) -> KnownRow {
        let state = RowVersion {
            deleted_at: Some(at(60)),
            is_erased,
            ..row.state
        };
        KnownRow {
            state,
            is_erased,
            ..row
        }
    }

    #[test]
    fn a_row_is_compared_with_the_list() {
        let state = |row: Option<KnownRow>| row_state(&listed(50), row.as_ref());
        assert_eq!(state(None), RowState::Missing);
        assert_eq!(state(Some(known(49))), RowState::Older);
        assert_eq!(state(Some(known(50))), RowState::Current);
        assert_eq!(state(Some(known(51))), RowState::Current);
        assert_eq!(
            state(Some(KnownRow {
                state: RowVersion::default(),
                ..known(50)
            })),
            RowState::Older
        );
        assert_eq!(state(Some(deleted(known(50), false))), RowState::Deleted);
        assert_eq!(
            state(Some(KnownRow {
                compared: compared("", Value::Null),
                ..known(50)
            })),
            RowState::Different
        );
        let mut fewer = known(50);
        let banned = compared("banned", Value::Boolean(false));
        let both = fewer.compared.iter().zip(&banned);
        fewer.compared = both
            .map(|(a, b)| if *b == Value::Null { a } else { b }.clone())
            .collect();
        assert_eq!(
            state(Some(fewer)),
            RowState::Current,
            "the list leaves it out"
        );
    }

    #[test]
    fn what_was_erased_of_a_row_is_no_difference() {
        let table = &tables::organization_invitations::TABLE;
        let text = r#"{"data":[{"id":"orginv_1","email_address":"a@example.com","role":"org:member","updated_at":50}],"total_count":1}"#;
        let omitted = OmittedFields::default();
        let page = api_object::read_page(table, Paging::Offset, text, &omitted, at(1000));
        let listed = page.unwrap().objects.remove(0).read.unwrap();
        let row = |role: &str, is_erased| {
            let role = Value::Text(role.into());
            let values = table.compared().map(|column| match column.name {
                "role" => role.clone(),
                _ => Value::Null,
            });
            KnownRow {
                is_erased,
                compared: values.collect(),
                ..known(50)
            }
        };
        let state = |row| row_state(&listed, Some(&row));
        assert_eq!(state(row("org:member", true)), RowState::Current);
        assert_eq!(state(row("org:member", false)), RowState::Different);
        assert_eq!(state(row("org:admin", true)), RowState::Different);
    }

    #[test]
    fn only_what_alters_a_row_is_written() {
        let alters =
            |row: Option<KnownRow>, on_delete| alters(&listed(50), row.as_ref(), on_delete);
        for (row, keep, scrub) in [
            (None, true, true),
            (Some(known(49)), true, true),
            (Some(known(50)), false, false),
            (Some(deleted(known(49), false)), true, false),
            (Some(deleted(known(49), true)), false, false),
        ] {
            assert_eq!(
                (
                    alters(row.clone(), OnDelete::Keep),
                    alters(row, OnDelete::Scrub)
                ),
                (keep, scrub)
            );
        }
    }

    #[test]
    fn a_user_who_is_on_a_page_twice_is_one_change() {
        let changes = sorted(vec![listed(50), listed(70), listed(60)]);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].profile.as_ref().unwrap().0.updated_at, at(70));
    }
}
