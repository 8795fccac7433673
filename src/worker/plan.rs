//! Plans the writes of a batch, one per table: parses its events and joins their changes; records dead letters as
//! failed. No I/O.
//!
//! A panic while an event is read is a bug of clerk-sync. Only that event fails.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::clerk::{
    Change, ClerkId, ErrorCode, Event, EventId, EventType, OmittedFields, SignedEvent, Table,
    tables,
};
use crate::queue::Source;
use crate::store::{EventFailure, Parsed, Record, Write};

/// The write of events of one table, in the order in which they were taken.
pub fn plan(events: &[SignedEvent]) -> Write {
    one_of(plan_batch(
        events,
        Source::Events,
        &OmittedFields::default(),
    ))
}

/// The writes of a batch from `source`, one per table, without the omitted fields: one change per
/// row, one record per event, both sorted by key. Events of a secondary source are recorded as
/// failed, with the reason that their queue gives.
pub fn plan_batch(events: &[SignedEvent], source: Source, omitted: &OmittedFields) -> Vec<Write> {
    plan_each(events, |event| {
        let read = AssertUnwindSafe(|| {
            #[cfg(test)]
            assert!(event.id().as_str() != BUG, "a bug, made by a test");
            match source {
                Source::Events => {
                    let (event, parsed) = event.parse_without(omitted);
                    (event, parsed.map_err(EventFailure::from))
                }
                Source::DeadLetters | Source::Unrouted | Source::Rescued => {
                    (event.without(omitted), Err(dead_letter_failure(event)))
                }
            }
        });
        catch_unwind(read).unwrap_or_else(|_| {
            match catch_unwind(AssertUnwindSafe(|| event.without(omitted))) {
                Ok(event) => (event, Err(panicked())),
                // The body may hold omitted fields.
                Err(_) => (event.without_body(), Err(EventFailure {
                    text: "clerk-sync met a bug of its own while it took out OMIT_FIELDS, so the body is not kept; report it, and repair the row with `clerk-sync reconcile --fix`".into(),
                    ..panicked()
                })),
            }
        })
    })
}

/// Records that keep these events of one table as failed, all for the same reason. Changes no row.
pub fn plan_failed(events: &[SignedEvent], failure: &EventFailure) -> Write {
    one_of(plan_each(events, |event| {
        (event.clone(), Err(failure.clone()))
    }))
}

fn one_of(mut writes: Vec<Write>) -> Write {
    debug_assert!(writes.len() <= 1, "the events are of one table");
    writes.pop().unwrap_or_else(|| Write::empty(UNKNOWN))
}

/// The table whose write has the records of events of an unknown type: they change no row.
const UNKNOWN: &Table = &tables::users::TABLE;

/// The code panics at this event.
#[cfg(test)]
pub const BUG: &str = "msg_with_a_bug";

/// The failure of an event whose code panics. The text of the panic may quote the body, so it is
/// not used.
pub fn panicked() -> EventFailure {
    EventFailure {
        code: ErrorCode::Panicked.name().into(),
        text: "clerk-sync met a bug of its own at this event; report it, and replay the event with a version that fixes it".into(),
    }
}

/// Splits a write by rows; each part keeps the order. Records that change no row are in the first
/// part.
pub fn split(write: Write, is_in_second: impl Fn(&ClerkId) -> bool) -> (Write, Write) {
    let (second, first): (Vec<Change>, Vec<Change>) = write
        .changes
        .into_iter()
        .partition(|change| is_in_second(&change.clerk_id));
    let (second_records, first_records) = if second.is_empty() {
        (Vec::new(), write.records)
    } else {
        write.records.into_iter().partition(|record| {
            matches!(&record.parsed, Parsed::Readable { clerk_id, .. } if is_in_second(clerk_id))
        })
    };
    let table = write.table;
    let part = |changes, records| Write {
        table,
        changes,
        records,
    };
    (part(first, first_records), part(second, second_records))
}

fn dead_letter_failure(event: &SignedEvent) -> EventFailure {
    match event.dead_letter() {
        Some(dead_letter) => EventFailure {
            code: dead_letter.code.name().into(),
            text: dead_letter.text.clone(),
        },
        // The embedded queue has one reason, and does not store it.
        None => EventFailure {
            code: ErrorCode::DeliveryLimit.name().into(),
            text:
                "it was delivered more often than the queue allows without being applied; replay it"
                    .into(),
        },
    }
}

/// What is planned for one table.
struct Part {
    table: &'static Table,
    changes: HashMap<ClerkId, Change>,
    records: Vec<Record>,
}

impl Part {
    /// The part of a table, which is added if there is none yet.
    fn of(parts: &mut Vec<Self>, table: &'static Table) -> usize {
        let place = parts.iter().position(|part| part.table == table);
        place.unwrap_or_else(|| {
            parts.push(Self {
                table,
                changes: HashMap::new(),
                records: Vec::new(),
            });
            parts.len() - 1
        })
    }

    fn finish(self) -> Write {
        let mut changes: Vec<_> = self.changes.into_values().collect();
        let mut records = self.records;
        changes.sort_unstable_by(|a, b| a.clerk_id.cmp(&b.clerk_id));
        records.sort_unstable_by(|a, b| a.event.id().cmp(b.event.id()));
        Write {
            table: self.table,
            changes,
            records,
        }
    }
}

/// A record per event ID, and the joined changes of what `read` returns, by tables. A repeated ID
/// adds to `deliveries`.
fn plan_each(
    events: &[SignedEvent],
    read: impl Fn(&SignedEvent) -> (SignedEvent, Result<Event, EventFailure>),
) -> Vec<Write> {
    let mut places: HashMap<&EventId, (usize, usize)> = HashMap::with_capacity(events.len());
    let mut parts = Vec::with_capacity(1);
    for event in events {
        if let Some((part, place)) = places.get(event.id()) {
            let part: &mut Part = &mut parts[*part];
            part.records[*place].deliveries += 1;
            continue;
        }
        let id = event.id();
        let (event, read) = read(event);
        let table = match (&read, event.event_type()) {
            (Ok(read), _) => read.change.table,
            (Err(_), EventType::Synced(table, _)) => table,
            (Err(_), _) => UNKNOWN,
        };
        let place = Part::of(&mut parts, table);
        let part = &mut parts[place];
        places.insert(id, (place, part.records.len()));
        let parsed = match read {
            Ok(read) => join(&mut part.changes, read),
            Err(failure) => Parsed::Failed {
                // A bug in reading it must not prevent its record.
                clerk_id: catch_unwind(AssertUnwindSafe(|| event.clerk_id())).unwrap_or(None),
                failure,
            },
        };
        part.records.push(Record {
            event,
            deliveries: 1,
            parsed,
        });
    }
    // What belongs to users comes before users: an erasure of a user in the same batch sees it.
    parts.sort_by_key(|part| part.table.is_erased_whole());
    parts.into_iter().map(Part::finish).collect()
}

/// Joins an event into `changes`.
fn join(
    changes: &mut HashMap<ClerkId, Change>,
    Event {
        occurred_at,
        change,
        ..
    }: Event,
) -> Parsed {
    let clerk_id = change.clerk_id.clone();
    let updated_at = change
        .profile
        .as_ref()
        .map(|(version, _)| version.updated_at);
    let deletes = change.deleted_at.is_some();
    let before = changes.remove(&clerk_id);
    let altering = change.altering(before.as_ref());
    let joined = match before {
        Some(before) => before.join(change),
        None => change,
    };
    changes.insert(clerk_id.clone(), joined);
    Parsed::Readable {
        clerk_id,
        occurred_at,
        updated_at,
        deletes,
        altering,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clerk::Timestamp;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_700_000_000_000 + ms).unwrap()
    }

    fn event(id: &str, body: String) -> SignedEvent {
        let event_type = EventType::read(body.as_bytes());
        SignedEvent::restored(
            EventId::new(id).unwrap(),
            event_type,
            at(0),
            at(0),
            Bytes::from(body),
        )
    }

    fn update(id: &str, user: &str, updated_ms: i64) -> SignedEvent {
        let (updated, occurred) = (at(updated_ms).ms(), at(updated_ms + 5).ms());
        let data = format!(r#"{{"id":"{user}","first_name":"{id}","updated_at":{updated}}}"#);
        event(
            id,
            format!(r#"{{"data":{data},"timestamp":{occurred},"type":"user.updated"}}"#),
        )
    }

    fn delete(id: &str, user: &str, ms: i64) -> SignedEvent {
        let occurred = at(ms).ms();
        let data = format!(r#"{{"id":"{user}","deleted":true}}"#);
        event(
            id,
            format!(r#"{{"data":{data},"timestamp":{occurred},"type":"user.deleted"}}"#),
        )
    }

    /// Whether each event alters the join of those before it.
    fn altering(write: &Write) -> Vec<(&str, bool)> {
        let alters = |parsed: &Parsed| match parsed {
            Parsed::Readable { altering, .. } => altering.any(),
            Parsed::Failed { .. } => false,
        };
        let records = write.records.iter();
        records
            .map(|record| (record.event.id().as_str(), alters(&record.parsed)))
            .collect()
    }

    #[test]
    fn events_of_one_user_are_one_change() {
        let write = plan(&[
            update("msg_1", "user_b", 10),
            update("msg_3", "user_b", 30),
            update("msg_2", "user_b", 20),
        ]);
        assert_eq!(write.changes.len(), 1);
        let change = &write.changes[0];
        assert_eq!(change.version().unwrap().event_id.as_str(), "msg_3");
        assert_eq!(change.value("first_name").unwrap().as_text(), Some("msg_3"));
        assert_eq!(
            altering(&write),
            [("msg_1", true), ("msg_2", false), ("msg_3", true)]
        );
    }

    #[test]
    fn changes_and_records_are_sorted_by_their_keys() {
        let write = plan(&[
            update("msg_9", "user_z", 1),
            delete("msg_5", "user_a", 2),
            update("msg_7", "user_m", 3),
        ]);
        let users: Vec<_> = write
            .changes
            .iter()
            .map(|change| change.clerk_id.as_str())
            .collect();
        assert_eq!(users, ["user_a", "user_m", "user_z"]);
        assert!(
            write
                .records
                .is_sorted_by(|a, b| a.event.id() < b.event.id())
        );
    }

    #[test]
    fn a_repeated_event_is_one_record_with_two_deliveries() {
        let write = plan(&[update("msg_1", "user_a", 1), update("msg_1", "user_a", 1)]);
        assert_eq!(write.records.len(), 1);
        assert_eq!(write.records[0].deliveries, 2);
        assert_eq!(altering(&write), [("msg_1", true)]);
    }

    #[test]
    fn one_change_has_the_earliest_delete_and_the_newest_profile() {
        let write = plan(&[
            delete("msg_1", "user_a", 50),
            update("msg_2", "user_a", 90),
            delete("msg_3", "user_a", 40),
        ]);
        let change = &write.changes[0];
        assert_eq!(change.deleted_at, Some(at(40)));
        assert!(change.profile.is_some());
        assert_eq!(
            altering(&write),
            [("msg_1", true), ("msg_2", true), ("msg_3", true)]
        );
    }

    #[test]
    fn an_unreadable_event_fails_alone() {
        let write = plan(&[
            event("msg_1", "not json".into()),
            update("msg_2", "user_a", 1),
        ]);
        assert_eq!(write.changes.len(), 1);
        assert!(
            matches!(&write.records[0].parsed, Parsed::Failed { failure, .. } if failure.code == "not_json")
        );
        assert!(matches!(write.records[1].parsed, Parsed::Readable { .. }));
    }

    #[test]
    fn an_event_that_meets_a_bug_keeps_its_body_without_the_omitted_fields() {
        let omitted = OmittedFields::parse("first_name").unwrap();
        let write = one_of(plan_batch(
            &[update(BUG, "user_1", 1)],
            Source::Events,
            &omitted,
        ));
        let [record] = &write.records[..] else {
            panic!("{write:?}")
        };
        let Parsed::Failed { failure, .. } = &record.parsed else {
            panic!("{record:?}")
        };
        assert_eq!(failure.code, "panicked");
        let body = std::str::from_utf8(record.event.body()).unwrap();
        assert!(
            body.contains("user_1") && !body.contains("first_name"),
            "{body}"
        );
    }
}
