//! A signed event as an AMQP message, and back.

use aws_lc_rs::digest;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};

use crate::clerk::{EventId, EventType, SignedEvent, Timestamp};
use crate::clock::now;

/// AMQP's number for messages that are kept on disk.
const PERSISTENT: u8 = 2;

/// `svix-timestamp`, in seconds.
const SENT_AT: &str = "svix-timestamp";

/// The time of receipt in milliseconds: AMQP's own timestamp has only seconds.
const RECEIVED_AT_MS: &str = "received-at-ms";

/// One of four: what is not a user event that we know takes the way of what cannot be read.
pub fn routing_key(event: &SignedEvent) -> &'static str {
    match event.event_type() {
        EventType::UserCreated => "user.created",
        EventType::UserUpdated => "user.updated",
        EventType::UserDeleted => "user.deleted",
        EventType::Unreadable | EventType::Other(_) => "user.unreadable",
    }
}

pub fn properties(event: &SignedEvent) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(SENT_AT.into(), AMQPValue::LongLongInt(event.sent_at().ms() / 1000));
    headers.insert(RECEIVED_AT_MS.into(), AMQPValue::LongLongInt(event.received_at().ms()));
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(event.id().as_str().into())
        .with_type(routing_key(event).into())
        .with_timestamp(event.received_at().ms().unsigned_abs() / 1000)
        .with_headers(headers)
}

/// The event of a delivery. A message that somebody put there by hand lacks some of this; it is not lost for that.
pub fn restore(delivery: Delivery) -> SignedEvent {
    let properties = &delivery.properties;
    let header = |name: &str| properties.headers().as_ref()?.inner().get(name).and_then(integer);
    let seconds = properties.timestamp().and_then(|seconds| i64::try_from(seconds).ok());
    let received_at = header(RECEIVED_AT_MS)
        .and_then(Timestamp::from_ms)
        .or_else(|| seconds.and_then(Timestamp::from_seconds))
        .unwrap_or_else(now);
    let sent_at = header(SENT_AT).and_then(Timestamp::from_seconds).unwrap_or(received_at);
    let id = properties.message_id().as_ref().and_then(|id| EventId::new(id.as_str()));
    let event_type = properties.kind().as_ref().map(|name| EventType::named(name.as_str()));
    let body = Bytes::from(delivery.data);
    let id = id.unwrap_or_else(|| unidentified(&body));
    let event_type = event_type.unwrap_or_else(|| EventType::read(&body));
    SignedEvent::restored(id, event_type, sent_at, received_at, body)
}

fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok(),
        _ => None,
    }
}

/// An ID for a body without one: the same each time it is delivered.
fn unidentified(body: &[u8]) -> EventId {
    let digest = digest::digest(&digest::SHA256, body);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    EventId::new(&format!("unidentified_{hex}")).expect("letters, digits and an underscore make an ID")
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
            EventType::UserDeleted,
            Timestamp::from_ms(sent).unwrap(),
            Timestamp::from_ms(received).unwrap(),
            Bytes::from_static(b"\xff{}"),
        );
        let back = restore(delivery(properties(&event), event.body()));
        assert_eq!(back.id(), event.id());
        assert_eq!(back.event_type(), event.event_type());
        assert_eq!((back.sent_at().ms(), back.received_at().ms()), (sent, received));
        assert_eq!(back.body(), event.body());
    }

    #[test]
    fn a_message_put_there_by_hand_gets_the_same_id_each_time() {
        let body = br#"{"type":"user.deleted"}"#;
        let first = restore(delivery(BasicProperties::default(), body));
        let second = restore(delivery(BasicProperties::default(), body));
        assert_eq!(first.id(), second.id());
        assert_eq!(first.event_type(), &EventType::UserDeleted);
        let other = restore(delivery(BasicProperties::default().with_message_id("not an id".into()), b"x"));
        assert_ne!(first.id(), other.id());
        assert!(other.id().as_str().starts_with("unidentified_"));
    }
}
