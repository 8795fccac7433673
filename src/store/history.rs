//! The history of a row: what each event did, and why.

use std::collections::HashMap;
use std::num::NonZeroU32;

use serde::Serialize;
use utoipa::ToSchema;

use super::database_row::DatabaseRow;
use super::event_status::Status;
use super::filter::{Listing, Page};
use super::rows::EventRow;
use super::sort::Sort;
use super::time::Time;
use super::{Store, StoreError};
use crate::clerk::{
    ClerkId, Detail, Difference, EventId, Fields, SignedEvent, Table, Version, api_object, tables,
};

/// An event about a row, and what it did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HistoryRow {
    /// The event.
    #[serde(flatten)]
    pub event: EventRow,
    /// When the event occurred that made it stale; null if that one is not recorded.
    pub superseded_at: Option<Time>,
    /// From receipt to commit; of an event that was tried again, to the last try.
    pub lag_ms: u64,
    /// What it did and why, for a person.
    pub why: String,
    /// The fields of Clerk's object that differ from the version before; null if the payload of
    /// either is not kept.
    pub changed: Option<Vec<String>>,
    /// The same with the values, and with the columns that are derived from other fields.
    #[serde(skip)]
    pub differences: Vec<Difference>,
    /// Whether the payload is kept.
    pub has_payload: bool,
}

impl HistoryRow {
    /// The fields beside those of the event, in their order.
    pub const MORE_FIELDS: [&str; 5] = ["superseded_at", "lag_ms", "why", "changed", "has_payload"];

    pub(super) fn of(
        table: &Table,
        event: EventRow,
        superseded_at: Option<Time>,
        has_payload: bool,
    ) -> Self {
        let lag_ms = (event.processed_at.0.ms() - event.received_at.0.ms())
            .max(0)
            .unsigned_abs();
        let why = why(table, &event, superseded_at);
        Self {
            event,
            superseded_at,
            lag_ms,
            why,
            changed: None,
            differences: Vec::new(),
            has_payload,
        }
    }

    /// Whether the row was what this event says, once.
    pub(super) fn is_version(&self) -> bool {
        let kind = tables::of_event(&self.event.event_type);
        self.event.status == Status::Applied && kind.is_some_and(|(_, kind)| kind.has_profile)
    }
}

/// What an applied event changed of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowChange {
    /// What differs from the version before.
    Known {
        /// The event of that version; `None` if this one is the first.
        before: Option<String>,
        /// The differences.
        differences: Vec<Difference>,
    },
    /// The payload of the event is not kept, or is too long to be compared.
    NoPayload,
    /// The payload of the event before is not kept.
    NotComparable,
}

/// Versions by the ID of their event, with their fields.
pub(super) type Versions = HashMap<String, (Version, Fields)>;

/// Events before the page whose payloads are read too: the version before its oldest one is among
/// them, unless as many events about the row were stale since.
pub(super) const LOOK_BACK: NonZeroU32 = NonZeroU32::new(50).expect("50 is not 0");

/// Longest payload that is compared, in bytes, and most payloads in memory at once: 4 MiB together.
/// Clerk's have a few thousand bytes.
const COMPARED_BYTES_MAX: i64 = 256 * 1024;
const COMPARED_AT_ONCE: usize = 16;

/// Kept of each version of a history: the beginnings of its values.
const IN_HISTORY: Detail = Detail {
    levels: 1,
    text_max: 60,
};

impl Store {
    /// What each event about a row did and why, newest first by time of receipt, without payloads.
    /// The fields that changed are named where payloads of applied events are kept.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn history(
        &self,
        table: &'static Table,
        id: &ClerkId,
        page: &Page,
    ) -> Result<Listing<HistoryRow>, StoreError> {
        let mut listing = self.history_page(table, id, page).await?;
        if !listing.rows.iter().any(HistoryRow::is_version) {
            return Ok(listing);
        }
        let older = match listing.next.clone() {
            Some(next) => {
                let page = Page {
                    limit: LOOK_BACK,
                    after: Some(next),
                };
                self.history_page(table, id, &page).await?.rows
            }
            None => Vec::new(),
        };
        let rows = listing.rows.iter().chain(&older);
        let versions: Vec<_> = rows.filter(|row| row.is_version()).collect();
        let known = read_versions(self, &versions, IN_HISTORY).await?;
        let rows = listing.rows.iter();
        let changes: Vec<_> = rows.map(|row| change(row, &versions, &known)).collect();
        for (row, change) in listing.rows.iter_mut().zip(changes) {
            // A delete is described by what it is, even if it carries the object.
            if tables::is_delete(&row.event.event_type) {
                continue;
            }
            if let RowChange::Known {
                before: Some(_),
                differences,
            } = change
            {
                let fields = differences.iter().filter(|field| !field.is_derived);
                row.changed = Some(fields.map(|field| field.name.clone()).collect());
                row.differences = differences;
            }
        }
        Ok(listing)
    }

    pub(super) async fn history_page(
        &self,
        table: &'static Table,
        id: &ClerkId,
        page: &Page,
    ) -> Result<Listing<HistoryRow>, StoreError> {
        let [received_at, event_id] = page.after_event();
        let binds = [
            id.as_str().into(),
            received_at,
            event_id,
            (i64::from(page.limit.get()) + 1).into(),
        ];
        let read = |row: &DatabaseRow| {
            let superseded_at = row.display_time("superseded_at")?;
            Ok(HistoryRow::of(
                table,
                EventRow::read(row)?,
                superseded_at,
                row.get("has_payload")?,
            ))
        };
        let rows = self
            .query(|sql| &sql.of(table).history, &binds, read)
            .await?;
        Ok(Listing::of(rows, page, |row| {
            row.event.cursor(Sort::NEWEST_EVENTS)
        }))
    }
}

/// The versions by event, of those whose payload is kept and not too long.
pub(super) async fn read_versions(
    store: &Store,
    rows: &[&HistoryRow],
    detail: Detail,
) -> Result<Versions, StoreError> {
    let ids = rows
        .iter()
        .filter(|row| row.has_payload)
        .filter_map(|row| EventId::new(&row.event.event_id));
    let mut versions = HashMap::new();
    for ids in ids.collect::<Vec<_>>().chunks(COMPARED_AT_ONCE) {
        let events = store.payloads(ids, COMPARED_BYTES_MAX).await?;
        versions.extend(events.iter().filter_map(|event| version(event, detail)));
    }
    Ok(versions)
}

fn version(event: &SignedEvent, detail: Detail) -> Option<(String, (Version, Fields))> {
    let change = event.parse().ok()?.change;
    let (version, profile) = change.profile?;
    let fields = Fields::of(change.table, &profile, detail);
    Some((event.id().to_string(), (version, fields)))
}

/// What this row's version changed of the one before it. Versions of one row were applied in their
/// own order, so the one before is the greatest of those that are less. It is not known if one
/// without a payload came between.
pub(super) fn change(row: &HistoryRow, versions: &[&HistoryRow], known: &Versions) -> RowChange {
    let Some((version, fields)) = known.get(&row.event.event_id) else {
        return RowChange::NoPayload;
    };
    let less = versions
        .iter()
        .filter_map(|row| Some((row, known.get(&row.event.event_id)?)));
    let less = less.filter(|(_, (other, _))| other < version);
    let before = less.max_by(|(_, (a, _)), (_, (b, _))| a.cmp(b));
    let since = before.map(|(before, _)| before.event.processed_at);
    let came_between = versions.iter().any(|other| {
        let processed_at = other.event.processed_at;
        !known.contains_key(&other.event.event_id)
            && since.is_none_or(|since| since <= processed_at)
            && processed_at <= row.event.processed_at
    });
    match before {
        _ if came_between => RowChange::NotComparable,
        Some((before, (_, fields_before))) => RowChange::Known {
            before: Some(before.event.event_id.clone()),
            differences: fields.differences(fields_before),
        },
        None if row.event.event_type.ends_with(".created") => RowChange::Known {
            before: None,
            differences: fields.differences(&Fields::default()),
        },
        None => RowChange::NotComparable,
    }
}

/// One sentence, which never quotes the event's body.
fn why(table: &Table, event: &EventRow, superseded_at: Option<Time>) -> String {
    let Table {
        singular, plural, ..
    } = table;
    let is_delete = tables::is_delete(&event.event_type);
    let failure = || match (&event.error_code, &event.error) {
        (Some(code), Some(error)) => format!("{code}: {error}"),
        (code, error) => code
            .as_ref()
            .or(error.as_ref())
            .cloned()
            .unwrap_or_else(|| "no reason was kept".into()),
    };
    match event.status {
        Status::Applied if is_delete => format!("it marked the {singular} as deleted"),
        Status::Applied => "it changed the row".into(),
        Status::Failed => failure(),
        Status::Discarded if event.error_code.is_some() => {
            format!("discarded, after it had failed with {}", failure())
        }
        Status::Discarded => "discarded".into(),
        Status::Stale => {
            let when = superseded_at
                .map(|time| format!(", which occurred at {time}"))
                .unwrap_or_default();
            match &event.superseded_by {
                Some(id) if *id == event.event_id => "the row had this version already".into(),
                Some(id) if api_object::is_reading(id) => {
                    format!("a newer version was there, read from Clerk's list of {plural}")
                }
                Some(id) if is_delete => {
                    format!("the {singular} was deleted already, by {id}{when}")
                }
                Some(id) => format!("a newer version was there, of {id}{when}"),
                None if is_delete => format!("the {singular} was deleted already"),
                None => format!("a newer version was there, or the {singular}'s data is erased"),
            }
        }
    }
}
