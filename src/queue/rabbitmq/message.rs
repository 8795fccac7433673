//! An event as an AMQP message, and back.

use std::collections::HashSet;

use aws_lc_rs::digest;
use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, MAX_SHORT_STRING_LENGTH, ShortString};
use lapin::{BasicProperties, Confirmation};

use super::dead_letter;
use super::header::{integer, long_text, table, text};
use super::topology::Names;
use crate::clerk::{EventId, EventType, SignedEvent, Timestamp, TraceContext};
use crate::clock::now;
use crate::queue::batch::Source;
use crate::queue::error::PublishError;

/// AMQP's delivery mode for messages that are kept on disk.
pub const PERSISTENT: u8 = 2;

/// `svix-timestamp`, in seconds.
const SENT_AT: &str = "svix-timestamp";

/// The time of receipt in milliseconds: AMQP's own timestamp has only seconds.
const RECEIVED_AT_MS: &str = "received-at-ms";

/// Set on a possible poison message that is published again: the queue then counts its deliveries
/// from 0.
const POSSIBLE_POISON: &str = "suspected";

/// W3C's names for the trace of the event.
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The routing key, one of four: an event that is not a known user event is routed like one that
/// cannot be read.
pub fn routing_key(event: &SignedEvent) -> &'static str {
    event.event_type().known_name().unwrap_or("user.unreadable")
}

/// The properties of the message, with the mark of the receiver that publishes it. Marks a possible
/// poison message.
pub fn properties(
    event: &SignedEvent,
    may_be_poison: bool,
    receiver: Option<&ShortString>,
) -> BasicProperties {
    let received_at_ms = event.received_at().ms();
    let trace = event.trace();
    let state = trace.map(TraceContext::state);
    let headers = table(
        [
            may_be_poison.then_some((POSSIBLE_POISON, AMQPValue::Boolean(true))),
            Some((SENT_AT, AMQPValue::LongLongInt(event.sent_at().ms() / 1000))),
            Some((RECEIVED_AT_MS, AMQPValue::LongLongInt(received_at_ms))),
            trace.map(|trace| (TRACEPARENT, long_text(trace.parent()))),
            state
                .filter(|state| !state.is_empty())
                .map(|state| (TRACESTATE, long_text(state))),
        ]
        .into_iter()
        .flatten(),
    );
    // A type that is too long for AMQP is read from the body again.
    let event_type = Some(event.event_type().as_str());
    let event_type = event_type.filter(|name| name.len() <= MAX_SHORT_STRING_LENGTH);
    let properties = match receiver {
        Some(mark) => BasicProperties::default().with_app_id(mark.clone()),
        None => BasicProperties::default(),
    };
    properties
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(event.id().as_str().into())
        .with_type(event_type.unwrap_or("").into())
        .with_timestamp(received_at_ms.unsigned_abs() / 1000)
        .with_headers(headers)
}

/// The event of a delivery from the queue of `source`. A message that was published by hand lacks
/// some properties; it is not lost for that.
pub fn restore(delivery: Delivery, source: Source, names: &Names) -> SignedEvent {
    let properties = &delivery.properties;
    let time = |name| header(&delivery, name).and_then(integer);
    let trace = |name| header(&delivery, name).and_then(text);
    let seconds = properties.timestamp().map(i64::try_from);
    let received_at = time(RECEIVED_AT_MS)
        .and_then(Timestamp::from_ms)
        .or_else(|| Timestamp::from_seconds(seconds?.ok()?))
        .unwrap_or_else(now);
    let sent_at = time(SENT_AT)
        .and_then(Timestamp::from_seconds)
        .unwrap_or(received_at);
    let id = properties.message_id().as_ref();
    let id = id.and_then(|id| EventId::new(id.as_str()));
    let event_type = properties.kind().as_ref().map(|name| name.as_str());
    let event_type = event_type
        .filter(|name| !name.is_empty())
        .map(EventType::named);
    let trace = trace(TRACEPARENT)
        .and_then(|parent| TraceContext::new(parent, trace(TRACESTATE).unwrap_or("")));
    let dead_letter = (source != Source::Events)
        .then(|| dead_letter::of(properties.headers().as_ref(), source, names, received_at));
    let body = Bytes::from(delivery.data);
    let id = id.unwrap_or_else(|| unidentified(&body));
    let event_type = event_type.unwrap_or_else(|| EventType::read(&body));
    SignedEvent::restored(id, event_type, sent_at, received_at, body)
        .with_trace(trace)
        .with_dead_letter(dead_letter)
}

/// Deliveries of this message without an acknowledgement, as a quorum queue counts them.
pub fn unacknowledged_deliveries(delivery: &Delivery) -> i64 {
    header(delivery, "x-delivery-count")
        .and_then(integer)
        .unwrap_or(0)
}

/// The mark of the receiver that published it, if it has one.
pub fn receiver(delivery: &Delivery) -> Option<&str> {
    let mark = delivery.properties.app_id().as_ref()?;
    Some(mark.as_str())
}

/// Whether it was published again as a possible poison message.
pub fn is_marked_as_possible_poison(delivery: &Delivery) -> bool {
    header(delivery, POSSIBLE_POISON) == Some(&AMQPValue::Boolean(true))
}

fn header<'d>(delivery: &'d Delivery, name: &str) -> Option<&'d AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name)
}

/// An ID for a body without one: the same at each delivery.
fn unidentified(body: &[u8]) -> EventId {
    let digest = digest::digest(&digest::SHA256, body);
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    EventId::new(&format!("unidentified_{hex}"))
        .expect("letters, digits and an underscore make an ID")
}

/// The result of each event by the confirms of the whole batch. An event that is not confirmed
/// explicitly is refused.
pub fn results<'a>(
    events: impl Iterator<Item = &'a EventId>,
    confirmations: Vec<Confirmation>,
) -> impl Iterator<Item = Result<(), PublishError>> {
    let acknowledged: Vec<bool> = confirmations.iter().map(Confirmation::is_ack).collect();
    let returned: HashSet<String> = confirmations
        .into_iter()
        .filter_map(Confirmation::take_message)
        .filter_map(|message| Some(message.properties.message_id().as_ref()?.to_string()))
        .collect();
    let events = events.zip(acknowledged);
    events.map(move |(id, is_acknowledged)| match is_acknowledged {
        _ if returned.contains(id.as_str()) => Err(PublishError::Unroutable),
        true => Ok(()),
        false => Err(PublishError::Refused),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restore(delivery: Delivery) -> SignedEvent {
        super::restore(delivery, Source::Events, &Names::new("ns"))
    }

    fn delivery(properties: BasicProperties, body: &[u8]) -> Delivery {
        let mut delivery = Delivery::mock(1, "".into(), "".into(), false, body.to_vec());
        delivery.properties = properties;
        delivery
    }

    #[test]
    fn an_event_is_restored_unchanged() {
        let (sent, received) = (1_795_172_400_000, 1_795_172_401_234);
        let event = SignedEvent::restored(
            EventId::new("msg_1").unwrap(),
            EventType::named("user.deleted"),
            Timestamp::from_ms(sent).unwrap(),
            Timestamp::from_ms(received).unwrap(),
            Bytes::from_static(b"\xff{}"),
        );
        let back = restore(delivery(properties(&event, false, None), event.body()));
        assert_eq!(back.id(), event.id());
        assert_eq!(back.event_type(), event.event_type());
        assert_eq!(
            (back.sent_at().ms(), back.received_at().ms()),
            (sent, received)
        );
        assert_eq!(back.body(), event.body());
    }

    #[test]
    fn a_trace_is_restored() {
        let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
        let event = SignedEvent::restored(
            EventId::new("msg_1").unwrap(),
            EventType::named("user.created"),
            at,
            at,
            Bytes::new(),
        );
        assert_eq!(
            restore(delivery(properties(&event, false, None), b"")).trace(),
            None
        );
        for state in ["", "vendor=1"] {
            let trace = TraceContext::new(
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                state,
            );
            let event = event.clone().with_trace(trace.clone());
            assert_eq!(
                restore(delivery(properties(&event, false, None), b"")).trace(),
                trace.as_ref()
            );
        }
    }

    #[test]
    fn a_message_published_by_hand_gets_the_same_id_each_time() {
        let body = br#"{"type":"user.deleted"}"#;
        let first = restore(delivery(BasicProperties::default(), body));
        let second = restore(delivery(BasicProperties::default(), body));
        assert_eq!(first.id(), second.id());
        assert_eq!(first.event_type(), &EventType::named("user.deleted"));
        let other = restore(delivery(
            BasicProperties::default().with_message_id("not an id".into()),
            b"x",
        ));
        assert_ne!(first.id(), other.id());
        assert!(other.id().as_str().starts_with("unidentified_"));
    }

    #[test]
    fn every_type_is_restored() {
        let long = "x".repeat(256);
        for name in [
            "user.created",
            "user.unreadable",
            "session.created",
            "",
            &long,
        ] {
            let body = Bytes::from(format!(r#"{{"type":"{name}"}}"#));
            let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
            let id = EventId::new("msg_1").unwrap();
            let event = SignedEvent::restored(id, EventType::named(name), at, at, body);
            assert_eq!(
                restore(delivery(properties(&event, false, None), event.body())).event_type(),
                event.event_type()
            );
        }
    }

    #[test]
    fn times_are_read_as_numbers_and_as_text_and_replace_each_other() {
        let with = |headers: &[(&str, AMQPValue)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| ((*name).into(), value.clone()));
            let headers = headers.collect::<std::collections::BTreeMap<_, _>>().into();
            let event = restore(delivery(
                BasicProperties::default()
                    .with_timestamp(1_795_172_401)
                    .with_headers(headers),
                b"{}",
            ));
            (event.sent_at().ms(), event.received_at().ms())
        };
        let seconds = 1_795_172_400;
        for value in [
            AMQPValue::LongLongInt(seconds),
            AMQPValue::LongString(seconds.to_string().into()),
            AMQPValue::LongInt(seconds.try_into().unwrap()),
            AMQPValue::Timestamp(seconds.try_into().unwrap()),
        ] {
            assert_eq!(
                with(&[(SENT_AT, value)]),
                (1_795_172_400_000, 1_795_172_401_000)
            );
        }
        let received = (RECEIVED_AT_MS, AMQPValue::LongLongInt(1_795_172_401_234));
        assert_eq!(with(&[received]), (1_795_172_401_234, 1_795_172_401_234));
        for nonsense in [
            AMQPValue::Void,
            AMQPValue::LongString("soon".into()),
            AMQPValue::LongLongInt(-1),
        ] {
            assert_eq!(
                with(&[(SENT_AT, nonsense)]),
                (1_795_172_401_000, 1_795_172_401_000)
            );
        }
        // Without any time: the time at which it is read.
        assert!(restore(delivery(BasicProperties::default(), b"{}")).received_at() <= now());
    }

    #[test]
    fn an_event_that_was_moved_back_from_a_secondary_queue_is_no_dead_letter() {
        let death = table([
            ("queue", long_text("ns.events")),
            ("reason", long_text("expired")),
        ]);
        let deaths = vec![AMQPValue::FieldTable(death)];
        let headers = table([("x-death", AMQPValue::FieldArray(deaths.into()))]);
        let properties = BasicProperties::default().with_headers(headers);
        let restored = |source| {
            let delivery = delivery(properties.clone(), b"{}");
            super::restore(delivery, source, &Names::new("ns"))
        };
        assert!(restored(Source::Events).dead_letter().is_none());
        let dead_letter = restored(Source::DeadLetters);
        assert_eq!(dead_letter.dead_letter().unwrap().code.name(), "expired");
    }
}
