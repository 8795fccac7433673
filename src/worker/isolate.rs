//! Finds the poison events of a write that is refused, so that only they fail.
//!
//! A refused write is halved until the event that causes it stands alone: k poison events among n
//! cost about k·log₂(n) more attempts. A panic counts as a refusal: it is a bug of clerk-sync, and
//! must stop neither the worker nor the other events.

use super::plan::{plan, split};
use crate::clerk::{SignedEvent, Table};
use crate::store::{Parsed, Record, Write};

/// Halves a refused write. The first half is to be attempted first.
///
/// # Errors
/// Returns the record if it is the only one, and `None` if there is none.
pub fn halve(mut write: Write) -> Result<[Write; 2], Option<Box<Record>>> {
    if write.records.len() < 2 {
        return Err(write.records.pop().map(Box::new));
    }
    let (middle, table) = (write.records.len() / 2, write.table);
    let (first, second) = match write.changes.as_slice() {
        [] => {
            let second = write.records.split_off(middle);
            (write, records_only(table, second))
        }
        [_] => {
            let records = std::mem::take(&mut write.records);
            let (failed, mut readable): (Vec<_>, Vec<_>) = records
                .into_iter()
                .partition(|record| matches!(record.parsed, Parsed::Failed { .. }));
            if failed.is_empty() {
                // Events of one row are joined in one change: only the events themselves can be
                // split.
                let second = readable.split_off(middle);
                (plan_again(readable), plan_again(second))
            } else {
                let records = readable;
                (records_only(table, failed), Write { records, ..write })
            }
        }
        changes => {
            let middle = changes[changes.len() / 2].clerk_id.clone();
            split(write, |clerk_id| *clerk_id >= middle)
        }
    };
    Ok([first, second])
}

fn records_only(table: &'static Table, records: Vec<Record>) -> Write {
    Write {
        records,
        ..Write::empty(table)
    }
}

fn plan_again(before: Vec<Record>) -> Write {
    let events: Vec<SignedEvent> = before.iter().map(|record| record.event.clone()).collect();
    let mut write = plan(&events);
    // Both are sorted by the ID of the event.
    for (record, before) in write.records.iter_mut().zip(before) {
        record.deliveries = before.deliveries;
    }
    write
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;
    use crate::clerk::{EventId, EventType, Timestamp};

    fn event(number: usize, body: String) -> SignedEvent {
        let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
        let id = EventId::new(&format!("msg_{number:03}")).unwrap();
        SignedEvent::restored(
            id,
            EventType::named("user.updated"),
            at,
            at,
            Bytes::from(body),
        )
    }

    fn update(number: usize, user: usize) -> SignedEvent {
        let data = format!(r#"{{"id":"user_{user:03}","updated_at":1795172400000}}"#);
        event(
            number,
            format!(r#"{{"data":{data},"type":"user.updated"}}"#),
        )
    }

    /// Isolates `poison` events: the applied events, the refused ones, and the number of attempts.
    fn isolated(events: &[SignedEvent], poison: &[usize]) -> (usize, Vec<String>, usize) {
        let poison: BTreeSet<_> = poison
            .iter()
            .map(|place| events[*place].id().clone())
            .collect();
        let (mut applied, mut refused, mut attempts) = (BTreeSet::new(), Vec::new(), 0);
        let mut parts = vec![plan(events)];
        while let Some(part) = parts.pop() {
            attempts += 1;
            let mut ids = part.records.iter().map(|record| record.event.id());
            if ids.any(|id| poison.contains(id)) {
                match halve(part) {
                    Ok([first, second]) => parts.extend([second, first]),
                    Err(record) => refused.push(record.unwrap().event.id().to_string()),
                }
                continue;
            }
            for record in part.records {
                let id = record.event.id().clone();
                assert!(applied.insert(id), "it is applied twice");
            }
        }
        (applied.len(), refused, attempts)
    }

    #[test]
    fn only_poison_events_are_refused_in_about_k_log_n_attempts() {
        let of_many_users: Vec<_> = (0..500).map(|number| update(number, number)).collect();
        let of_one_user: Vec<_> = (0..500).map(|number| update(number, 0)).collect();
        let not_all_readable: Vec<_> = (0..500)
            .map(|number| match number % 3 {
                0 => event(number, "not json".into()),
                1 => update(number, number),
                _ => update(number, 7),
            })
            .collect();
        for events in [of_many_users, of_one_user, not_all_readable] {
            for poison in [vec![0], vec![499], vec![7, 8], vec![1, 100, 250, 499]] {
                let (applied, mut refused, attempts) = isolated(&events, &poison);
                assert_eq!(applied, 500 - poison.len());
                refused.sort();
                let expected: Vec<_> = poison.iter().map(|n| format!("msg_{n:03}")).collect();
                assert_eq!(refused, expected);
                // Each is at the end of at most 2·ceil(log2(500)) = 18 halvings, with two attempts
                // each.
                assert!(
                    attempts <= 1 + poison.len() * 36,
                    "{attempts} attempts for {poison:?}"
                );
            }
        }
        assert_eq!(
            isolated(&[update(1, 1)], &[0]),
            (0, vec!["msg_001".into()], 1)
        );
    }

    #[test]
    fn the_deliveries_of_an_event_are_kept() {
        let write = plan(&[update(1, 0), update(2, 0), update(2, 0)]);
        let [first, second] = halve(write).unwrap();
        assert_eq!(first.records[0].deliveries, 1);
        assert_eq!(second.records[0].deliveries, 2);
    }
}
