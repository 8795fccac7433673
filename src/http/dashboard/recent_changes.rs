//! The recent changes of a row, as the change feed has them: which event changed which columns.

use std::num::NonZeroU32;

use super::view_models::{Badge, When, WithCode};
use crate::clerk::{ChangeKind, ClerkId, Table, Timestamp, api_object};
use crate::store::{ChangeRow, Store, StoreError};

/// Most changes that a page has.
const RECENT: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");

/// Changes that are shown at once; the others can be opened.
const SHOWN: usize = 5;

/// Columns of a change that are shown at once; the others can be opened.
const COLUMNS: usize = 6;

/// The recent changes of a row, newest first.
pub struct RecentChanges {
    pub shown: Vec<ChangeLine>,
    pub older: Vec<ChangeLine>,
    /// Whether there may be more than the page has.
    pub is_cut: bool,
    /// Whether changes are still recorded.
    pub is_on: bool,
}

/// A change of the row.
pub struct ChangeLine {
    pub badge: Badge,
    pub columns: Vec<String>,
    pub more_columns: Vec<String>,
    /// The event that made it.
    pub event: Option<String>,
    /// What made it, if no event did.
    pub origin: WithCode,
    pub made: When,
}

impl RecentChanges {
    /// The changes as they look at `now`. Returns `None` if the feed is off and none is left of the
    /// time when it was on.
    ///
    /// # Errors
    ///
    /// If the feed is on, and the database does not answer.
    pub async fn of(
        store: &Store,
        table: &Table,
        id: &ClerkId,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let is_on = store.has_change_feed();
        let rows = match store.changes_of_row(table, id, RECENT).await {
            Ok(rows) => rows,
            // Without the feed the role may have no right to read it.
            Err(_) if !is_on => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_cut = rows.len() >= RECENT.get() as usize;
        let mut lines = rows.iter().map(|row| ChangeLine::of(row, now));
        let changes = Self {
            shown: lines.by_ref().take(SHOWN).collect(),
            older: lines.collect(),
            is_cut,
            is_on,
        };
        Ok((is_on || !changes.shown.is_empty()).then_some(changes))
    }
}

impl ChangeLine {
    fn of(row: &ChangeRow, now: Timestamp) -> Self {
        let class = match row.change {
            ChangeKind::Created | ChangeKind::Updated => "applied",
            ChangeKind::Deleted | ChangeKind::Erased => "discarded",
        };
        let event = row.event_id.as_deref();
        let mut columns = row.fields.clone();
        let more_columns = match columns.len() {
            // One name takes no more room than the word that there is one.
            count if count > COLUMNS + 1 => columns.split_off(COLUMNS),
            _ => Vec::new(),
        };
        Self {
            badge: Badge {
                class,
                word: row.change.as_str(),
            },
            columns,
            more_columns,
            event: event
                .filter(|id| !api_object::is_reading(id))
                .map(str::to_owned),
            origin: WithCode::of(origin(row.change, event)),
            made: When::at(row.committed_at, now),
        }
    }
}

/// What made a change that no event made.
fn origin(change: ChangeKind, event_id: Option<&str>) -> &'static str {
    match (change, event_id) {
        (_, Some(id)) if id == api_object::LISTED.as_str() => {
            "No event: read from Clerk’s API, by `backfill`, `reconcile` or a refresh."
        }
        (_, Some(_)) => "No event: `reconcile` found other values at Clerk.",
        (ChangeKind::Deleted, None) => "No event: `reconcile` did not find it at Clerk any more.",
        (ChangeKind::Erased, None) => {
            "No event: erased, by a person or because of `ON_DELETE=scrub`."
        }
        (ChangeKind::Created | ChangeKind::Updated, None) => "No event.",
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::*;
    use crate::store::Time;

    fn line(change: ChangeKind, event_id: Option<&str>, fields: &[&str]) -> ChangeLine {
        let row = ChangeRow {
            id: 1,
            table_name: "users".into(),
            clerk_id: "user_1".into(),
            change,
            fields: fields.iter().map(|&name| name.into()).collect(),
            event_id: event_id.map(str::to_owned),
            committed_at: Time(Timestamp::MIN),
        };
        ChangeLine::of(&row, Timestamp::MIN)
    }

    #[test]
    fn a_change_without_an_event_says_where_it_came_from() {
        for (change, event_id, said) in [
            (
                ChangeKind::Created,
                Some("backfill"),
                "<code>backfill</code>",
            ),
            (ChangeKind::Updated, Some("reconcile"), "found other values"),
            (ChangeKind::Deleted, None, "did not find it"),
            (ChangeKind::Erased, None, "erased, by a person"),
        ] {
            let line = line(change, event_id, &[]);
            let origin = line.origin.render().unwrap();
            assert!(line.event.is_none() && origin.contains(said), "{origin}");
            assert_eq!(line.badge.word, change.as_str());
        }
        let by_event = line(ChangeKind::Deleted, Some("msg_1"), &["deleted_at"]);
        assert_eq!(by_event.event.as_deref(), Some("msg_1"));
    }

    #[test]
    fn many_columns_are_folded_but_never_one_alone() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let of = |count: usize| line(ChangeKind::Updated, None, &names[..count]);
        assert_eq!((of(7).columns.len(), of(7).more_columns.len()), (7, 0));
        assert_eq!(of(8).columns, names[..6]);
        assert_eq!(of(8).more_columns, ["g", "h"]);
    }
}
