//! Plans the write of a batch: parses its events and joins their changes; records dead letters as
//! failed. No I/O.
//!
//! A panic while an event is read is a bug of clerk-sync. Only that event fails.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::clerk::{Change, ClerkId, ErrorCode, Event, EventId, OmittedFields, SignedEvent};
use crate::queue::Source;
use crate::store::{EventFailure, Parsed, Record, Write};

/// The write of these events, in the order in which they were taken: one change per row, one record
/// per event, both sorted by key.
pub fn plan(events: &[SignedEvent]) -> Write {
    plan_batch(events, Source::Events, &OmittedFields::default())
}

/// The write of a batch from `source`, without the omitted fields. Events of a secondary source are
/// recorded as failed, with the reason that their queue gives.
pub fn plan_batch(events: &[SignedEvent], source: Source, omitted: &OmittedFields) -> Write {
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

/// Records that keep these events as failed, all for the same reason. Changes no row.
pub fn plan_failed(events: &[SignedEvent], failure: &EventFailure) -> Write {
    plan_each(events, |event| (event.clone(), Err(failure.clone())))
}

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

/// Splits a write by users; each part keeps the order. Records that change no user are in the first
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
    let part = |changes, records| Write { changes, records };
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

/// A record per event ID, and the joined changes of what `read` returns. A repeated ID adds to
/// `deliveries`.
fn plan_each(
    events: &[SignedEvent],
    read: impl Fn(&SignedEvent) -> (SignedEvent, Result<Event, EventFailure>),
) -> Write {
    let mut places: HashMap<&EventId, usize> = HashMap::with_capacity(events.len());
    let mut records: Vec<Record> = Vec::with_capacity(events.len());
    let mut changes: HashMap<ClerkId, Change> = HashMap::new();
    for event in events {
        if let Some(place) = places.get(event.id()) {
            records[*place].deliveries += 1;
            continue;
        }
        places.insert(event.id(), records.len());
        let (event, read) = read(event);
        let parsed = match read {
            Ok(read) => join(&mut changes, read),
            Err(failure) => Parsed::Failed {
                // A bug in reading it must not prevent its record.
                clerk_id: catch_unwind(AssertUnwindSafe(|| event.clerk_id())).unwrap_or(None),
                failure,
            },
        };
        records.push(Record {
            event,
            deliveries: 1,
            parsed,
        });
    }
    let mut changes: Vec<_> = changes.into_values().collect();
    changes.sort_unstable_by(|a, b| a.clerk_id.cmp(&b.clerk_id));
    records.sort_unstable_by(|a, b| a.event.id().cmp(b.event.id()));
    Write { changes, records }
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
    let before = changes.remove(&clerk_id);
    let changed_within_write = before.as_ref().is_none_or(|before| change.alters(before));
    let joined = match before {
        Some(before) => before.join(change),
        None => change,
    };
    changes.insert(clerk_id.clone(), joined);
    Parsed::Readable {
        clerk_id,
        occurred_at,
        updated_at,
        changed_within_write,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clerk::{EventType, Timestamp};

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

    fn changed_within_write(write: &Write) -> Vec<(&str, bool)> {
        let changed_within_write = |parsed: &Parsed| {
            matches!(
                parsed,
                Parsed::Readable {
                    changed_within_write: true,
                    ..
                }
            )
        };
        write
            .records
            .iter()
            .map(|record| {
                (
                    record.event.id().as_str(),
                    changed_within_write(&record.parsed),
                )
            })
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
            changed_within_write(&write),
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
        assert_eq!(changed_within_write(&write), [("msg_1", true)]);
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
            changed_within_write(&write),
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
        let write = plan_batch(&[update(BUG, "user_1", 1)], Source::Events, &omitted);
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
