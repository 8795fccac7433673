//! What one event changed of its row, with the values before and after.

use super::filter::{Cursor, Page};
use super::history::{HistoryRow, LOOK_BACK, RowChange, change, read_versions};
use super::rows::EventRow;
use super::time::Time;
use super::{Status, Store, StoreError};
use crate::clerk::{ClerkId, Detail, Difference, EventId, Excerpt, Timestamp, tables};

/// Kept of each version: values as long as a metadata object of Clerk's, and its nested objects
/// member by member.
const WHOLE: Detail = Detail {
    levels: 6,
    text_max: 16 * 1024,
};

impl Store {
    /// What an applied event changed of its row.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn row_change(&self, event: &EventRow) -> Result<RowChange, StoreError> {
        let clerk_id = event.clerk_id.as_deref().and_then(ClerkId::new);
        let event_id = EventId::new(&event.event_id);
        let kind = tables::of_event(&event.event_type);
        let (Some(clerk_id), Some(event_id), Some((table, kind))) = (clerk_id, event_id, kind)
        else {
            return Ok(RowChange::NoPayload);
        };
        // What was applied before this event had been received before that.
        let until = event.processed_at.0;
        let received_at = Timestamp::from_ms(until.ms() + 1).unwrap_or(until);
        let page = Page {
            limit: LOOK_BACK,
            after: Some(Cursor::Event {
                received_at,
                event_id,
            }),
        };
        let rows = self.history_page(table, &clerk_id, &page).await?.rows;
        if kind.deletes && !kind.has_profile {
            return Ok(deletion(event, &rows));
        }
        let versions: Vec<_> = rows.iter().filter(|row| row.is_version()).collect();
        let is_this = |row: &&&HistoryRow| row.event.event_id == event.event_id;
        let Some(row) = versions.iter().find(is_this) else {
            // Too many events were received before it was applied.
            return Ok(RowChange::NotComparable);
        };
        let known = read_versions(self, &versions, WHOLE).await?;
        let change = change(row, &versions, &known);
        if !kind.deletes {
            return Ok(change);
        }
        // A delete that carries the object is a version like any other, unless a newer one was
        // there.
        let version = |id: &str| known.get(id).map(|(version, _)| version);
        let was_newer = versions.iter().any(|other| {
            other.event.processed_at < event.processed_at
                && version(&other.event.event_id) > version(&event.event_id)
        });
        Ok(match (change, deletion(event, &rows)) {
            (
                RowChange::Known {
                    before,
                    mut differences,
                },
                RowChange::Known {
                    differences: deleted_at,
                    ..
                },
            ) if !was_newer => {
                differences.extend(deleted_at);
                RowChange::Known {
                    before,
                    differences,
                }
            }
            (_, deleted) => deleted,
        })
    }
}

/// A delete changes one column: to its time, from that of a later delete if one came before.
fn deletion(event: &EventRow, rows: &[HistoryRow]) -> RowChange {
    let excerpt = |time: Time| Excerpt::of(&time.0.ms().to_string(), WHOLE.text_max);
    let deletes = rows.iter().map(|row| &row.event).filter(|other| {
        other.status == Status::Applied
            && tables::is_delete(&other.event_type)
            && other.event_id != event.event_id
            && other.processed_at <= event.processed_at
    });
    let before = deletes
        .filter(|other| other.occurred_at > event.occurred_at)
        .min_by_key(|other| other.occurred_at);
    RowChange::Known {
        before: before.map(|other| other.event_id.clone()),
        differences: vec![Difference {
            name: "deleted_at".into(),
            is_derived: false,
            before: before.and_then(|other| other.occurred_at).map(excerpt),
            after: event.occurred_at.map(excerpt),
        }],
    }
}
