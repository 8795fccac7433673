//! Policies of RabbitMQ: what those in force on our queues do to events, and what cannot be seen.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::finding::{Finding, fail, note, ok};
use crate::format;
use crate::queue::Source;
use crate::queue::rabbitmq::{ManagementError, PolicyInspection, QueuePolicy};
use crate::worker::HOLD_MAX;

const CHECK: &str = "policies";

/// How to exempt the queues from a policy of a user or of the operator.
const EXEMPT: &str = "exempt our queues: docs/operations.md, Policies of the broker";

/// Deliveries that our queue of events allows.
const DELIVERIES: i64 = 20;

/// The effect of a policy: whether events are lost or fail by it, and what it does.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Effect {
    is_harm: bool,
    policy: String,
    what: String,
}

pub fn of(management: &PolicyInspection) -> Vec<Finding> {
    let place = &management.place;
    let queues = match &management.queues {
        Ok(queues) => queues,
        Err(unseen) => return vec![of_unseen(place, unseen)],
    };
    // One line for what is the same of several queues.
    let mut effects: BTreeMap<Effect, Vec<&str>> = BTreeMap::new();
    for queue in queues {
        for effect in effects_on(queue) {
            effects.entry(effect).or_default().push(&queue.name);
        }
    }
    let mut findings: Vec<_> = effects
        .into_iter()
        .rev()
        .map(|(effect, names)| of_effect(&effect, &names))
        .collect();
    findings.extend(queues.iter().filter(|queue| queue.held > 0).map(of_held));
    let young: Vec<_> = queues
        .iter()
        .filter(|queue| queue.effective_policy_definition.is_none())
        .collect();
    if let Some(queue) = young.first() {
        let what = format!("{place} has no figures of {} yet", queue.name);
        findings.push(note(
            CHECK,
            what,
            "run `clerk-sync check` again in ten seconds",
        ));
    }
    if findings.is_empty() {
        findings.push(ok(
            CHECK,
            format!("none of RabbitMQ's takes events out of our queues ({place})"),
        ));
    }
    findings
}

fn of_unseen(place: &str, unseen: &ManagementError) -> Finding {
    let by_hand = "or see yourself that `rabbitmqctl list_policies` and `list_operator_policies` give our queues no message-ttl, max-length, expires or overflow, and that `rabbitmqctl list_queues name messages messages_ready messages_unacknowledged` has no queue with more messages than the two others together";
    let (why, remedy) = match unseen {
        ManagementError::Away(reason) => (
            format!("the management API does not answer at {place}: {reason}"),
            "turn it on with `rabbitmq-plugins enable rabbitmq_management`, or set AMQP_MANAGEMENT_URL",
        ),
        ManagementError::Unauthorized => (
            format!(
                "the management API at {place} does not take the user and the password, or the user has no tag"
            ),
            "`rabbitmqctl set_user_tags USER management`, or set AMQP_MANAGEMENT_URL with a user that may look",
        ),
        ManagementError::Forbidden => (
            format!("the user may not look into the virtual host at {place}"),
            "`rabbitmqctl set_user_tags USER monitoring`, or set AMQP_MANAGEMENT_URL with a user that may look",
        ),
        ManagementError::Other(status) => (
            format!("what answers at {place} is not RabbitMQ's management API ({status})"),
            "set AMQP_MANAGEMENT_URL to its address",
        ),
    };
    let what = format!(
        "AMQP does not show them, nor how many events RabbitMQ holds because of one, and {why}"
    );
    note(CHECK, what, format!("{remedy}; {by_hand}"))
}

fn of_effect(effect: &Effect, names: &[&str]) -> Finding {
    let what = format!("{} {} ({})", names.join(", "), effect.what, effect.policy);
    if effect.is_harm {
        fail(CHECK, what, EXEMPT)
    } else {
        note(CHECK, what, EXEMPT)
    }
}

fn of_held(
    QueuePolicy {
        name, held, source, ..
    }: &QueuePolicy,
) -> Finding {
    let events = format::count(*held, "event");
    let what = format!("RabbitMQ holds {events} that expired in {name}, or were given up there");
    let remedy = match source {
        Some(Source::Events) => "see that the queues of dead letters are there and take events",
        _ => {
            "see that a worker runs and its database takes writes: they are recorded as failed within three minutes; what stays longer: docs/operations.md, Policies of the broker"
        }
    };
    note(CHECK, what, remedy)
}

/// What the policies in force do to the events in a queue.
fn effects_on(queue: &QueuePolicy) -> Vec<Effect> {
    let none = Map::new();
    let definition = queue.effective_policy_definition.as_ref().unwrap_or(&none);
    let number = |key: &str| definition.get(key).and_then(Value::as_i64);
    let is_parked = queue.source != Some(Source::Events);
    let drops = definition
        .get("overflow")
        .and_then(Value::as_str)
        .is_some_and(|overflow| overflow != "reject-publish");
    let mut effects = Vec::new();
    let mut effect = |is_harm, what: String| {
        effects.push(Effect {
            is_harm,
            policy: policy_of(queue),
            what,
        })
    };
    if let Some(ms) = number("expires") {
        effect(
            true,
            format!(
                "is deleted with its events when it has no consumer for {}: expires",
                span(ms)
            ),
        );
    }
    if let Some(ms) = number("message-ttl") {
        let fate = match (is_parked, drops) {
            (false, _) => "fail as `expired`",
            (true, false) => "are held by the broker until a worker is there",
            (true, true) => "are lost",
        };
        effect(
            true,
            format!(
                "has a message-ttl: events that no worker takes within {} {fate}",
                span(ms)
            ),
        );
    }
    for (key, unit) in [("max-length", "events"), ("max-length-bytes", "bytes")] {
        let Some(most) = number(key) else { continue };
        let fate = match (drops, is_parked) {
            (true, false) => "drops the oldest, which fail as `maxlen`",
            (true, true) => "loses the oldest",
            (false, false) => "refuses the rest: deliveries get 503",
            (false, true) => "takes no more, and dead letters wait in the queue before it",
        };
        effect(
            drops,
            format!("holds {most} {unit} at most and {fate}: {key}"),
        );
    }
    if drops
        && number("max-length")
            .or(number("max-length-bytes"))
            .is_none()
    {
        effect(
            true,
            "has an overflow that drops events: dead letters are sent on without confirms, and can be lost".into(),
        );
    }
    if let Some(limit) = number("delivery-limit").filter(|limit| *limit < DELIVERIES) {
        effect(
            false,
            format!("gives an event up after {limit} failed deliveries: delivery-limit"),
        );
    }
    let held_max = i64::try_from(HOLD_MAX.as_millis()).unwrap_or(i64::MAX);
    if let Some(ms) = number("consumer-timeout").filter(|ms| *ms < held_max) {
        effect(
            false,
            format!(
                "takes events back from a worker after {}, and each time costs one of their {DELIVERIES} deliveries: consumer-timeout. A worker that has met it once holds events for half of it while the database is away",
                span(ms)
            ),
        );
    }
    effects
}

fn policy_of(queue: &QueuePolicy) -> String {
    let named = [
        ("policy", &queue.policy),
        ("operator policy", &queue.operator_policy),
    ];
    let named = named
        .iter()
        .filter_map(|(kind, name)| name.as_deref().map(|name| format!("{kind} {name:?}")));
    named.collect::<Vec<_>>().join(" with ")
}

fn span(ms: i64) -> String {
    format::duration(Duration::from_millis(ms.try_into().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::check::finding::Severity;

    fn queue(source: Source, definition: Value) -> QueuePolicy {
        let name = if source == Source::Events {
            "ns.events"
        } else {
            "ns.dead"
        };
        QueuePolicy {
            name: name.into(),
            source: Some(source),
            policy: Some("p".into()),
            effective_policy_definition: definition.as_object().cloned(),
            ..QueuePolicy::default()
        }
    }

    fn found(queues: Vec<QueuePolicy>) -> Vec<Finding> {
        of(&PolicyInspection {
            place: "http://h:15672".into(),
            queues: Ok(queues),
        })
    }

    #[test]
    fn every_key_that_takes_events_out_of_a_queue_is_reported() {
        for (source, definition, severity, words) in [
            (
                Source::Events,
                json!({"message-ttl": 3_600_000}),
                Severity::Fail,
                "within 1 h fail as `expired`",
            ),
            (
                Source::DeadLetters,
                json!({"message-ttl": 1000}),
                Severity::Fail,
                "within 1 s are held",
            ),
            (
                Source::Unrouted,
                json!({"message-ttl": 1000, "overflow": "drop-head"}),
                Severity::Fail,
                "are lost",
            ),
            (
                Source::Events,
                json!({"max-length": 7}),
                Severity::Note,
                "refuses the rest: deliveries get 503",
            ),
            (
                Source::Events,
                json!({"max-length-bytes": 7, "overflow": "drop-head"}),
                Severity::Fail,
                "fail as `maxlen`",
            ),
            (
                Source::DeadLetters,
                json!({"max-length": 7, "overflow": "reject-publish-dlx"}),
                Severity::Fail,
                "loses",
            ),
            (
                Source::DeadLetters,
                json!({"max-length": 7, "overflow": "reject-publish"}),
                Severity::Note,
                "takes no more",
            ),
            (
                Source::Events,
                json!({"overflow": "drop-head"}),
                Severity::Fail,
                "without confirms",
            ),
            (
                Source::Events,
                json!({"expires": 86_400_000}),
                Severity::Fail,
                "for 24 h: expires",
            ),
            (
                Source::Events,
                json!({"delivery-limit": 3}),
                Severity::Note,
                "after 3 failed deliveries",
            ),
            (
                Source::Events,
                json!({"consumer-timeout": 60_000}),
                Severity::Note,
                "after 1 min",
            ),
        ] {
            let findings = found(vec![queue(source, definition.clone())]);
            assert!(
                findings
                    .iter()
                    .any(|it| it.severity == severity && it.what.contains(words)),
                "{definition}: {findings:#?}"
            );
            assert!(
                findings.iter().all(|it| it.what.contains("(policy \"p\")")),
                "{findings:#?}"
            );
        }
    }

    #[test]
    fn what_only_repeats_our_arguments_or_is_generous_is_no_finding() {
        for definition in [
            json!({}),
            json!({"overflow": "reject-publish"}),
            json!({"delivery-limit": 1_000_000}),
            json!({"consumer-timeout": 1_800_000, "queue-leader-locator": "balanced"}),
        ] {
            let findings = found(vec![queue(Source::Events, definition.clone())]);
            assert_eq!(
                findings.iter().map(|it| it.severity).collect::<Vec<_>>(),
                [Severity::Ok],
                "{definition}"
            );
        }
    }

    #[test]
    fn one_line_stands_for_all_queues_of_a_policy_and_both_of_its_kinds_are_named() {
        let definition = json!({"expires": 1000});
        let both = QueuePolicy {
            operator_policy: Some("o".into()),
            ..queue(Source::DeadLetters, definition.clone())
        };
        let findings = found(vec![
            QueuePolicy {
                name: "ns.unrouted".into(),
                ..both.clone()
            },
            both,
        ]);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(
            findings[0]
                .what
                .starts_with("ns.unrouted, ns.dead is deleted"),
            "{findings:#?}"
        );
        assert!(
            findings[0]
                .what
                .ends_with("(policy \"p\" with operator policy \"o\")"),
            "{findings:#?}"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_a_note_with_what_to_do() {
        for (unseen, words) in [
            (
                ManagementError::Away("refused".into()),
                "rabbitmq-plugins enable rabbitmq_management",
            ),
            (ManagementError::Unauthorized, "set_user_tags"),
            (ManagementError::Forbidden, "monitoring"),
            (ManagementError::Other(502), "AMQP_MANAGEMENT_URL"),
        ] {
            let findings = of(&PolicyInspection {
                place: "http://h:15672".into(),
                queues: Err(unseen),
            });
            assert_eq!((findings.len(), findings[0].severity), (1, Severity::Note));
            let remedy = findings[0].remedy.as_ref().unwrap();
            assert!(
                remedy.contains(words) && remedy.contains("list_operator_policies"),
                "{remedy}"
            );
        }
        let young = QueuePolicy {
            effective_policy_definition: None,
            ..queue(Source::Events, json!({}))
        };
        assert!(
            found(vec![young])[0]
                .what
                .contains("no figures of ns.events yet")
        );
        let held = QueuePolicy {
            held: 5,
            ..queue(Source::DeadLetters, json!({}))
        };
        assert!(
            found(vec![held])[0]
                .what
                .contains("holds 5 events that expired in ns.dead")
        );
    }
}
