//! Events as an AMQP message, and back.

use std::borrow::Cow;
use std::collections::HashSet;

use aws_lc_rs::digest;
use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, MAX_SHORT_STRING_LENGTH, ShortString};
use lapin::{BasicProperties, Confirmation};

use super::bundle;
use super::confirmed::Message;
use super::dead_letter;
use super::header::{integer, long_text, table, text};
use super::topology::Names;
use crate::clerk::{DeadLetter, EventId, EventType, SignedEvent, Timestamp, TraceContext};
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

/// The ID of a bundle begins with this; those of Svix begin with `msg_`.
const BUNDLE_ID: &str = "bundle_";

/// How many events a bundle holds, for those who look at it.
const EVENTS: &str = "events";

/// An event to publish.
#[derive(Clone)]
pub struct Outgoing {
    pub event: SignedEvent,
    /// Whether it is published again after too many deliveries. It is alone in its message, so that
    /// the broker counts its deliveries and no others.
    pub may_be_poison: bool,
}

impl Outgoing {
    /// Family and size in a bundle; `None` if it must be alone in its message.
    pub fn in_bundle(&self) -> Option<(&'static str, usize)> {
        // A bundle that was recorded as a failed event, and is replayed, is none within another.
        let is_alone = self.may_be_poison || self.event.id().as_str().starts_with(BUNDLE_ID);
        (!is_alone).then(|| (family(&self.event), bundle::size(&self.event)))
    }
}

/// The message of these events, which `bundle::group` has put together, with the mark of the
/// receiver that publishes it.
pub fn of<'e>(events: &'e [Outgoing], receiver: Option<&ShortString>) -> Message<'e> {
    let [
        Outgoing {
            event,
            may_be_poison,
        },
        others @ ..,
    ] = events
    else {
        unreachable!("a group holds an event")
    };
    if others.is_empty() {
        return Message {
            routing_key: routing_key(event).into(),
            body: Cow::Borrowed(event.body()),
            properties: properties(event, *may_be_poison, receiver),
        };
    }
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    // No `type`: a version of clerk-sync that knows no bundles then keeps it as a failed event.
    let properties = properties_from(receiver, event.received_at())
        .with_content_type(bundle::CONTENT_TYPE.into())
        .with_message_id(id(events).as_ref().into())
        .with_headers(table([(EVENTS, AMQPValue::LongLongInt(count))]));
    let bundle = bundle::write(events.iter().map(|outgoing| &outgoing.event));
    Message {
        routing_key: format!("{}.bundle", family(event)).into(),
        body: Cow::Owned(bundle),
        properties,
    }
}

/// The ID of the message of these events: that of the event, or one after the first of several.
pub fn id(events: &[Outgoing]) -> Cow<'_, str> {
    let id = events
        .first()
        .map_or("", |outgoing| outgoing.event.id().as_str());
    if events.len() == 1 {
        return id.into();
    }
    let mut id = format!("{BUNDLE_ID}{id}");
    id.truncate(MAX_SHORT_STRING_LENGTH);
    id.into()
}

/// The routing key of an event: its type. An event that is of no known type is routed like one that
/// cannot be read.
fn routing_key(event: &SignedEvent) -> &'static str {
    event.event_type().known_name().unwrap_or("user.unreadable")
}

/// What the routing keys of the events of a table have in common.
fn family(event: &SignedEvent) -> &'static str {
    let key = routing_key(event);
    key.split_once('.').map_or(key, |(family, _)| family)
}

fn properties_from(receiver: Option<&ShortString>, received_at: Timestamp) -> BasicProperties {
    let properties = match receiver {
        Some(mark) => BasicProperties::default().with_app_id(mark.clone()),
        None => BasicProperties::default(),
    };
    properties
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(received_at.ms().unsigned_abs() / 1000)
}

/// The properties of the message of one event.
fn properties(
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
    properties_from(receiver, event.received_at())
        .with_content_type("application/json".into())
        .with_message_id(event.id().as_str().into())
        .with_type(event_type.unwrap_or("").into())
        .with_headers(headers)
}

/// The events of a delivery from the queue of `source`, at least one. What says that it is a bundle
/// and is none becomes one event that cannot be read, so that it is not lost.
pub fn restore(delivery: Delivery, source: Source, names: &Names) -> Vec<SignedEvent> {
    if !says_bundle(&delivery.properties) {
        return vec![restore_one(delivery, source, names)];
    }
    let body = Bytes::from(delivery.data);
    let Some(events) = bundle::read(&body) else {
        let data = body.into();
        return vec![restore_one(Delivery { data, ..delivery }, source, names)];
    };
    let headers = delivery.properties.headers().as_ref();
    let with_dead_letter = |event: SignedEvent| {
        let dead_letter = dead_letter(headers, source, names, event.received_at());
        event.with_dead_letter(dead_letter)
    };
    events.into_iter().map(with_dead_letter).collect()
}

/// Whether a message says that it is a bundle: by its type, or by its ID alone. A version that knows
/// no bundles records one as a failed event, and a replay of that has only the ID.
fn says_bundle(properties: &BasicProperties) -> bool {
    let content_type = properties.content_type().as_ref();
    let id = properties.message_id().as_ref();
    content_type.is_some_and(|name| name.as_str() == bundle::CONTENT_TYPE)
        || id.is_some_and(|id| id.as_str().starts_with(BUNDLE_ID))
}

/// Why it is in the queue of `source`; `None` for that of events.
fn dead_letter(
    headers: Option<&FieldTable>,
    source: Source,
    names: &Names,
    received_at: Timestamp,
) -> Option<DeadLetter> {
    (source != Source::Events).then(|| dead_letter::of(headers, source, names, received_at))
}

/// A message that was published by hand lacks some properties; it is not lost for that.
fn restore_one(delivery: Delivery, source: Source, names: &Names) -> SignedEvent {
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
    let dead_letter = dead_letter(properties.headers().as_ref(), source, names, received_at);
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

/// The result of each message by the confirms of all that were published together. One that is not
/// confirmed explicitly is refused.
pub fn results<'a>(
    ids: impl Iterator<Item = Cow<'a, str>>,
    confirmations: Vec<Confirmation>,
) -> impl Iterator<Item = Result<(), PublishError>> {
    let acknowledged: Vec<bool> = confirmations.iter().map(Confirmation::is_ack).collect();
    let returned: HashSet<String> = confirmations
        .into_iter()
        .filter_map(Confirmation::take_message)
        .filter_map(|message| Some(message.properties.message_id().as_ref()?.to_string()))
        .collect();
    let messages = ids.zip(acknowledged);
    messages.map(move |(id, is_acknowledged)| match is_acknowledged {
        _ if returned.contains(&*id) => Err(PublishError::Unroutable),
        true => Ok(()),
        false => Err(PublishError::Refused),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restore(delivery: Delivery) -> SignedEvent {
        let mut events = super::restore(delivery, Source::Events, &Names::new("ns"));
        assert_eq!(events.len(), 1);
        events.remove(0)
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
            super::restore(delivery, source, &Names::new("ns")).remove(0)
        };
        assert!(restored(Source::Events).dead_letter().is_none());
        let dead_letter = restored(Source::DeadLetters);
        assert_eq!(dead_letter.dead_letter().unwrap().code.name(), "expired");
    }
}
