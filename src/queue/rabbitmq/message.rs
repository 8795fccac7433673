//! A signed event as an AMQP message, and back.

use aws_lc_rs::digest;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, MAX_SHORT_STRING_LENGTH};

use crate::clerk::{EventId, EventType, SignedEvent, Timestamp, TraceContext};
use crate::clock::now;

/// AMQP's number for messages that are kept on disk.
const PERSISTENT: u8 = 2;

/// `svix-timestamp`, in seconds.
const SENT_AT: &str = "svix-timestamp";

/// The time of receipt in milliseconds: AMQP's own timestamp has only seconds.
const RECEIVED_AT_MS: &str = "received-at-ms";

/// On what is published again although it is suspected of killing whoever takes it: the queue counts its deliveries anew, and
/// what is known of it must not be lost by that.
const SUSPECTED: &str = "suspected";

/// The trace that the event is a part of, under W3C's names.
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// One of four: what is not a user event that we know takes the way of what cannot be read.
pub fn routing_key(event: &SignedEvent) -> &'static str {
    event.event_type().known_name().unwrap_or("user.unreadable")
}

/// The `type`, unless it is longer than AMQP can say: then it is read from the body again.
fn type_name(event: &SignedEvent) -> &str {
    let name = event.event_type().as_str();
    if name.len() <= MAX_SHORT_STRING_LENGTH {
        name
    } else {
        ""
    }
}

pub fn properties(event: &SignedEvent, is_suspect: bool) -> BasicProperties {
    let mut headers = FieldTable::default();
    if is_suspect {
        headers.insert(SUSPECTED.into(), AMQPValue::Boolean(true));
    }
    headers.insert(
        SENT_AT.into(),
        AMQPValue::LongLongInt(event.sent_at().ms() / 1000),
    );
    headers.insert(
        RECEIVED_AT_MS.into(),
        AMQPValue::LongLongInt(event.received_at().ms()),
    );
    if let Some(trace) = event.trace() {
        headers.insert(
            TRACEPARENT.into(),
            AMQPValue::LongString(trace.parent().into()),
        );
        if !trace.state().is_empty() {
            headers.insert(
                TRACESTATE.into(),
                AMQPValue::LongString(trace.state().into()),
            );
        }
    }
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(event.id().as_str().into())
        .with_type(type_name(event).into())
        .with_timestamp(event.received_at().ms().unsigned_abs() / 1000)
        .with_headers(headers)
}

/// The event of a delivery. A message that somebody put there by hand lacks some of this; it is not lost for that.
pub fn restore(delivery: Delivery) -> SignedEvent {
    let properties = &delivery.properties;
    let header = |name: &str| {
        properties
            .headers()
            .as_ref()?
            .inner()
            .get(name)
            .and_then(integer)
    };
    let seconds = properties
        .timestamp()
        .and_then(|seconds| i64::try_from(seconds).ok());
    let received_at = header(RECEIVED_AT_MS)
        .and_then(Timestamp::from_ms)
        .or_else(|| seconds.and_then(Timestamp::from_seconds))
        .unwrap_or_else(now);
    let sent_at = header(SENT_AT)
        .and_then(Timestamp::from_seconds)
        .unwrap_or(received_at);
    let id = properties
        .message_id()
        .as_ref()
        .and_then(|id| EventId::new(id.as_str()));
    let event_type = properties
        .kind()
        .as_ref()
        .map(|name| name.as_str())
        .filter(|name| !name.is_empty());
    let event_type = event_type.map(EventType::named);
    let text = |name: &str| {
        properties
            .headers()
            .as_ref()?
            .inner()
            .get(name)
            .and_then(text)
    };
    let trace = text(TRACEPARENT)
        .and_then(|parent| TraceContext::new(parent, text(TRACESTATE).unwrap_or("")));
    let body = Bytes::from(delivery.data);
    let id = id.unwrap_or_else(|| unidentified(&body));
    let event_type = event_type.unwrap_or_else(|| EventType::read(&body));
    SignedEvent::restored(id, event_type, sent_at, received_at, body).with_trace(trace)
}

/// How often a delivery of this message came to nothing: a quorum queue counts it. Nothing is 0.
pub fn deliveries_in_vain(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    headers
        .and_then(|headers| headers.inner().get("x-delivery-count"))
        .and_then(integer)
        .unwrap_or(0)
}

/// Whether it was a suspect when it was published.
pub fn was_suspect(delivery: &Delivery) -> bool {
    let headers = delivery.properties.headers().as_ref();
    headers.is_some_and(|headers| {
        matches!(
            headers.inner().get(SUSPECTED),
            Some(AMQPValue::Boolean(true))
        )
    })
}

pub fn text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

pub fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::Timestamp(number) => i64::try_from(*number).ok(),
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok(),
        _ => None,
    }
}

/// An ID for a body without one: the same each time it is delivered.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(properties: BasicProperties, body: &[u8]) -> Delivery {
        let mut delivery = Delivery::mock(1, "".into(), "".into(), false, body.to_vec());
        delivery.properties = properties;
        delivery
    }

    #[test]
    fn an_event_comes_back_as_it_went() {
        let (sent, received) = (1_795_172_400_000, 1_795_172_401_234);
        let event = SignedEvent::restored(
            EventId::new("msg_1").unwrap(),
            EventType::named("user.deleted"),
            Timestamp::from_ms(sent).unwrap(),
            Timestamp::from_ms(received).unwrap(),
            Bytes::from_static(b"\xff{}"),
        );
        let back = restore(delivery(properties(&event, false), event.body()));
        assert_eq!(back.id(), event.id());
        assert_eq!(back.event_type(), event.event_type());
        assert_eq!(
            (back.sent_at().ms(), back.received_at().ms()),
            (sent, received)
        );
        assert_eq!(back.body(), event.body());
    }

    #[test]
    fn a_trace_goes_along() {
        let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
        let event = SignedEvent::restored(
            EventId::new("msg_1").unwrap(),
            EventType::named("user.created"),
            at,
            at,
            Bytes::new(),
        );
        assert_eq!(
            restore(delivery(properties(&event, false), b"")).trace(),
            None
        );
        for state in ["", "vendor=1"] {
            let trace = TraceContext::new(
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                state,
            );
            let event = event.clone().with_trace(trace.clone());
            assert_eq!(
                restore(delivery(properties(&event, false), b"")).trace(),
                trace.as_ref()
            );
        }
    }

    #[test]
    fn a_message_put_there_by_hand_gets_the_same_id_each_time() {
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
    fn every_type_comes_back() {
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
                restore(delivery(properties(&event, false), event.body())).event_type(),
                event.event_type()
            );
        }
    }

    #[test]
    fn times_are_read_as_numbers_and_as_text_and_stand_in_for_each_other() {
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
        // Nothing at all: the time at which it is read.
        assert!(restore(delivery(BasicProperties::default(), b"{}")).received_at() <= now());
    }
}
