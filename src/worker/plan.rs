//! Events to one write, without any I/O.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;

use crate::clerk::{Change, ClerkId, EventId, SignedEvent};
use crate::store::{EventFailure, Parsed, Record, Write};

/// What these events, taken in this order, come to: one change a user, one record an event, both sorted by key.
pub fn plan(events: &[SignedEvent]) -> Write {
    let mut changes: HashMap<ClerkId, Change> = HashMap::new();
    let records = each_once(events, |event| match event.parse() {
        Ok(read) => {
            let clerk_id = read.change.clerk_id.clone();
            let updated_at = read
                .change
                .profile
                .as_ref()
                .map(|(version, _)| version.updated_at);
            let changed_within_write = join_into(&mut changes, read.change);
            Parsed::Readable {
                clerk_id,
                occurred_at: read.occurred_at,
                updated_at,
                changed_within_write,
            }
        }
        Err(rejection) => Parsed::Failed {
            clerk_id: event.clerk_id(),
            failure: rejection.into(),
        },
    });
    let mut changes: Vec<_> = changes.into_values().collect();
    changes.sort_unstable_by(|a, b| a.clerk_id.cmp(&b.clerk_id));
    Write { changes, records }
}

/// Records that keep these events as failed, all for the same reason, and change no user.
pub fn plan_failed(events: &[SignedEvent], failure: &EventFailure) -> Write {
    let records = each_once(events, |event| Parsed::Failed {
        clerk_id: clerk_id_of(event),
        failure: failure.clone(),
    });
    Write {
        changes: Vec::new(),
        records,
    }
}

/// Records that keep these events as failed, each for the reason that its queue gives, and change no user.
pub fn plan_dead_letters(events: &[SignedEvent]) -> Write {
    let failure = |event: &SignedEvent| match event.dead_letter() {
        Some(dead_letter) => EventFailure {
            code: dead_letter.code.into(),
            text: dead_letter.text.clone(),
        },
        // The embedded queue has one reason, and does not write it down.
        None => EventFailure {
            code: "delivery_limit".into(),
            text:
                "it was delivered more often than the queue allows without being applied; replay it"
                    .into(),
        },
    };
    let records = each_once(events, |event| Parsed::Failed {
        clerk_id: clerk_id_of(event),
        failure: failure(event),
    });
    Write {
        changes: Vec::new(),
        records,
    }
}

/// What makes our reading panic must be kept all the same, so here a panic is only an ID that could not be read.
fn clerk_id_of(event: &SignedEvent) -> Option<ClerkId> {
    std::panic::catch_unwind(AssertUnwindSafe(|| event.clerk_id()))
        .ok()
        .flatten()
}

/// Whether the change altered what was there before it in `changes`.
fn join_into(changes: &mut HashMap<ClerkId, Change>, change: Change) -> bool {
    let before = changes.remove(&change.clerk_id);
    let changed_within_write = before.as_ref().is_none_or(|before| change.alters(before));
    let joined = match before {
        Some(before) => before.join(change),
        None => change,
    };
    changes.insert(joined.clerk_id.clone(), joined);
    changed_within_write
}

/// One record for each event ID; what comes again is counted, not judged again.
fn each_once(events: &[SignedEvent], mut judge: impl FnMut(&SignedEvent) -> Parsed) -> Vec<Record> {
    let mut places: HashMap<&EventId, usize> = HashMap::with_capacity(events.len());
    let mut records: Vec<Record> = Vec::with_capacity(events.len());
    for event in events {
        if let Some(place) = places.get(event.id()) {
            records[*place].deliveries += 1;
            continue;
        }
        places.insert(event.id(), records.len());
        records.push(Record {
            event: event.clone(),
            deliveries: 1,
            parsed: judge(event),
        });
    }
    records.sort_unstable_by(|a, b| a.event.id().cmp(b.event.id()));
    records
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
    fn events_of_one_user_come_to_one_change() {
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
    fn an_event_that_comes_twice_is_one_record_with_two_deliveries() {
        let write = plan(&[update("msg_1", "user_a", 1), update("msg_1", "user_a", 1)]);
        assert_eq!(write.records.len(), 1);
        assert_eq!(write.records[0].deliveries, 2);
        assert_eq!(changed_within_write(&write), [("msg_1", true)]);
    }

    #[test]
    fn the_earliest_delete_and_the_newest_profile_meet_in_one_change() {
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
}
