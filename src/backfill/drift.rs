//! Compares a user of Clerk's list with the row of the same ID: pure decisions.

use crate::clerk::Change;
use crate::store::{KnownUser, OnDelete};

/// How a row compares to the user of the list.
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

/// Compares a listed user with its row.
pub fn row_state(listed: &Change, known: Option<&KnownUser>) -> RowState {
    let Some(known) = known else {
        return RowState::Missing;
    };
    if known.deleted_at.is_some() {
        return RowState::Deleted;
    }
    let (Some((theirs, profile)), Some(ours)) = (&listed.profile, &known.version) else {
        return RowState::Older;
    };
    match ours.updated_at.cmp(&theirs.updated_at) {
        std::cmp::Ordering::Less => RowState::Older,
        std::cmp::Ordering::Equal if !known.outline.agrees_with(profile) => RowState::Different,
        _ => RowState::Current,
    }
}

/// Whether applying the change would alter the row. One that would not now never will: versions only grow, and what is erased stays so.
pub fn alters(listed: &Change, known: Option<&KnownUser>, on_delete: OnDelete) -> bool {
    let Some(known) = known else { return true };
    if known.is_erased || on_delete == OnDelete::Scrub && known.deleted_at.is_some() {
        return false;
    }
    let newer = |(theirs, _): &(_, _)| known.version.as_ref().is_none_or(|ours| theirs > ours);
    listed.profile.as_ref().is_some_and(newer)
}

#[cfg(test)]
mod tests {
    use super::super::store::sorted;
    use super::*;
    use crate::clerk::api_object::Outline;
    use crate::clerk::{ClerkId, EventId, OmittedFields, Timestamp, Version, api_object};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    fn listed(updated_ms: i64) -> Change {
        let text = format!(r#"[{{"id":"user_1","first_name":"Ada","updated_at":{updated_ms}}}]"#);
        let mut users = api_object::read_page(&text, &OmittedFields::default(), at(1000)).unwrap();
        users.remove(0).read.unwrap()
    }

    fn known(updated_ms: i64) -> KnownUser {
        let event_id = EventId::new("msg_1").unwrap();
        let version = Version {
            updated_at: at(updated_ms),
            occurred_at: at(updated_ms),
            event_id,
        };
        let mut outline = Outline::default();
        outline.texts[3] = Some("Ada".into());
        let clerk_id = ClerkId::new("user_1").unwrap();
        KnownUser {
            clerk_id,
            version: Some(version),
            deleted_at: None,
            is_erased: false,
            outline,
        }
    }

    #[test]
    fn a_row_is_compared_with_the_list() {
        let state = |row: Option<KnownUser>| row_state(&listed(50), row.as_ref());
        assert_eq!(state(None), RowState::Missing);
        assert_eq!(state(Some(known(49))), RowState::Older);
        assert_eq!(state(Some(known(50))), RowState::Current);
        assert_eq!(state(Some(known(51))), RowState::Current);
        assert_eq!(
            state(Some(KnownUser {
                version: None,
                ..known(50)
            })),
            RowState::Older
        );
        assert_eq!(
            state(Some(KnownUser {
                deleted_at: Some(at(60)),
                ..known(50)
            })),
            RowState::Deleted
        );
        assert_eq!(
            state(Some(KnownUser {
                outline: Outline::default(),
                ..known(50)
            })),
            RowState::Different
        );
        let mut fewer = known(50);
        fewer.outline.truths[2] = Some(false);
        assert_eq!(
            state(Some(fewer)),
            RowState::Current,
            "the list leaves it out"
        );
    }

    #[test]
    fn only_what_alters_a_row_is_written() {
        let alters =
            |row: Option<KnownUser>, on_delete| alters(&listed(50), row.as_ref(), on_delete);
        for (row, keep, scrub) in [
            (None, true, true),
            (Some(known(49)), true, true),
            (Some(known(50)), false, false),
            (
                Some(KnownUser {
                    deleted_at: Some(at(60)),
                    ..known(49)
                }),
                true,
                false,
            ),
            (
                Some(KnownUser {
                    deleted_at: Some(at(60)),
                    is_erased: true,
                    ..known(49)
                }),
                false,
                false,
            ),
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
