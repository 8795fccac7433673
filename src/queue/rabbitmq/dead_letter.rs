//! Reads from the broker's headers (`x-death`) why an event is a dead letter, as an `error_code`
//! and a text. `worker/plan.rs` makes a failed record of it.
//!
//! A message that is dead-lettered again has an entry in `x-death` for each time. The first one is
//! the cause: the later ones happened to a message that was in a secondary queue already.

use lapin::types::{AMQPValue, FieldTable};

use super::header::{integer, text};
use super::topology::Names;
use crate::clerk::{DeadLetter, ErrorCode, Timestamp};
use crate::queue::batch::Source;

/// The first death of a message.
struct Death<'h> {
    queue: &'h str,
    reason: &'h str,
    /// Seconds since 1970.
    at_s: Option<i64>,
}

/// Why the event is in the queue of this secondary source.
pub fn of(
    headers: Option<&FieldTable>,
    source: Source,
    names: &Names,
    received_at: Timestamp,
) -> DeadLetter {
    match headers.and_then(first_death) {
        None if source != Source::Unrouted => DeadLetter {
            code: ErrorCode::Rejected,
            text: format!(
                "it is in {} without a reason (x-death): somebody published it there; replay it or discard it",
                names.of_source(source)
            ),
        },
        Some(death) if death.queue != names.unrouted => died(&death, received_at),
        _ => DeadLetter {
            code: ErrorCode::Unrouted,
            text: "no queue was bound for it when it came; replay it".into(),
        },
    }
}

fn first_death(headers: &FieldTable) -> Option<Death<'_>> {
    let of = |name: &str| headers.inner().get(name);
    let Some(AMQPValue::FieldArray(deaths)) = of("x-death") else {
        return None;
    };
    let entries = || {
        deaths.as_slice().iter().filter_map(|entry| match entry {
            AMQPValue::FieldTable(entry) => Some(entry.inner()),
            _ => None,
        })
    };
    // The newest is the first.
    let oldest = entries().next_back()?;
    let named = |header: &str, field: &str| of(header).or_else(|| oldest.get(field)).and_then(text);
    let (queue, reason) = (
        named("x-first-death-queue", "queue")?,
        named("x-first-death-reason", "reason")?,
    );
    let first = entries().find(|entry| {
        let has = |field: &str, value| entry.get(field).and_then(text) == Some(value);
        has("queue", queue) && has("reason", reason)
    });
    let at_s = first.unwrap_or(oldest).get("time").and_then(integer);
    Some(Death {
        queue,
        reason,
        at_s,
    })
}

fn died(death: &Death<'_>, received_at: Timestamp) -> DeadLetter {
    let Death {
        queue,
        reason,
        at_s,
    } = death;
    let after = at_s.map_or_else(String::new, |at| {
        format!(" {} after its receipt", span(at - received_at.ms() / 1000))
    });
    let look = "look at `rabbitmqctl list_policies` and `list_operator_policies`";
    let (code, text) = match *reason {
        "delivery_limit" => (
            ErrorCode::DeliveryLimit,
            format!(
                "{queue} gave it up{after}: it was delivered more often than the queue allows without being applied; find what ended the workers that had it, then replay it"
            ),
        ),
        "expired" => (
            ErrorCode::Expired,
            format!(
                "it expired in {queue}{after}, before a worker had applied it: a policy gives the queue a message-ttl ({look}). Take the queue out of that policy, then replay it"
            ),
        ),
        "maxlen" => (
            ErrorCode::Maxlen,
            format!(
                "{queue} dropped it{after}, before a worker had applied it, because it was full: a policy gives the queue a max-length and an overflow other than reject-publish ({look}). Take the queue out of that policy, then replay it"
            ),
        ),
        "rejected" => (
            ErrorCode::Rejected,
            format!(
                "a consumer of {queue} rejected it{after}, and clerk-sync rejects nothing: find who else consumes the queue (`rabbitmqctl list_consumers`), then replay it"
            ),
        ),
        _ => (
            ErrorCode::Rejected,
            format!(
                "{queue} gave it up{after} for a reason that this version does not know; replay it"
            ),
        ),
    };
    DeadLetter { code, text }
}

/// A span of time for people.
fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED_S: i64 = 1_795_172_400;

    fn short(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    /// Headers of a message with these deaths, the newest first, as the broker writes them.
    fn headers(deaths: &[(&str, &str, i64)]) -> FieldTable {
        let entries = deaths.iter().map(|(queue, reason, after)| {
            let mut entry = FieldTable::default();
            entry.insert("queue".into(), short(queue));
            entry.insert("reason".into(), short(reason));
            entry.insert(
                "time".into(),
                AMQPValue::Timestamp((RECEIVED_S + after).try_into().unwrap()),
            );
            AMQPValue::FieldTable(entry)
        });
        let mut headers = FieldTable::default();
        headers.insert(
            "x-death".into(),
            AMQPValue::FieldArray(entries.collect::<Vec<_>>().into()),
        );
        headers
    }

    fn judged(headers: Option<&FieldTable>, source: Source) -> DeadLetter {
        of(
            headers,
            source,
            &Names::new("ns"),
            Timestamp::from_seconds(RECEIVED_S).unwrap(),
        )
    }

    #[test]
    fn each_reason_is_a_code_and_its_text_is_true() {
        for (reason, code, words) in [
            ("delivery_limit", "delivery_limit", "delivered more often"),
            (
                "expired",
                "expired",
                "expired in ns.events 25 h after its receipt",
            ),
            ("maxlen", "maxlen", "max-length"),
            ("rejected", "rejected", "list_consumers"),
            ("of_the_future", "rejected", "does not know"),
        ] {
            let letter = judged(
                Some(&headers(&[("ns.events", reason, 90_000)])),
                Source::DeadLetters,
            );
            assert_eq!(letter.code.name(), code);
            assert!(
                letter.text.contains(words) && letter.text.contains("25 h after"),
                "{}",
                letter.text
            );
        }
    }

    #[test]
    fn the_first_death_is_the_cause() {
        let mut twice = headers(&[
            ("ns.dead", "expired", 100),
            ("ns.events", "delivery_limit", 90),
        ]);
        let letter = judged(Some(&twice), Source::Rescued);
        assert_eq!(letter.code.name(), "delivery_limit");
        assert!(
            letter.text.contains("ns.events gave it up 90 s after"),
            "{}",
            letter.text
        );
        // What the broker says itself goes before the order of the entries.
        twice.insert("x-first-death-queue".into(), short("ns.dead"));
        twice.insert("x-first-death-reason".into(), short("expired"));
        assert!(
            judged(Some(&twice), Source::Rescued)
                .text
                .contains("expired in ns.dead 100 s after")
        );
        let unrouted = headers(&[("ns.unrouted", "expired", 1)]);
        assert_eq!(
            judged(Some(&unrouted), Source::Rescued).code.name(),
            "unrouted"
        );
    }

    #[test]
    fn a_missing_reason_is_reported() {
        assert_eq!(judged(None, Source::Unrouted).code.name(), "unrouted");
        for headers in [None, Some(FieldTable::default())] {
            let letter = judged(headers.as_ref(), Source::DeadLetters);
            assert!(
                letter.code == ErrorCode::Rejected && letter.text.contains("without a reason"),
                "{}",
                letter.text
            );
        }
    }

    #[test]
    fn a_span_is_never_negative() {
        assert_eq!(
            [span(-5), span(119), span(120), span(7200)],
            ["0 s", "119 s", "2 min", "2 h"]
        );
    }
}
