//! A bundle: several events in one message, which costs the broker little more than one event.
//! docs/rabbitmq.md describes it for those who bind a queue of their own.
//!
//! The body has two parts for each event: a line of JSON that says what the headers of a message of
//! its own would, and how many bytes its body has; then that body, unchanged, and a line feed.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clerk::{EventId, EventType, SignedEvent, Timestamp, TraceContext};

/// How a message says that it is a bundle.
pub const CONTENT_TYPE: &str = "application/vnd.clerk-sync.bundle";

/// Most events in a bundle.
pub const EVENTS_MAX: usize = 64;

/// Most bytes of the body of a bundle: what is lost time if it is sent again, and in memory at both
/// ends.
pub const BYTES_MAX: usize = 256 * 1024;

/// Most bytes of a line besides its texts.
const LINE_MAX: usize = 200;

/// The line before the body of an event. Its names are those of the properties and headers of a
/// message that holds one event.
#[derive(Serialize, Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    message_id: Cow<'l, str>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'l, str>,
    /// In seconds.
    #[serde(rename = "svix-timestamp")]
    sent_at: i64,
    #[serde(rename = "received-at-ms")]
    received_at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'l, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<Cow<'l, str>>,
    /// Length of the body that follows.
    bytes: usize,
}

/// Puts events together: those of one family, which have one routing key, as many as `EVENTS_MAX`
/// and `bytes_max` allow. `of` says the family and the size (see `size`) of an event; `None` if it
/// must be alone. Events keep their order within a family.
pub fn group<T>(
    events: Vec<T>,
    bytes_max: usize,
    of: impl Fn(&T) -> Option<(&'static str, usize)>,
) -> Vec<Vec<T>> {
    let mut groups: Vec<(&'static str, usize, Vec<T>)> = Vec::new();
    for event in events {
        // One that must be alone has no room beside it.
        let (family, size) = of(&event).unwrap_or(("", usize::MAX));
        let with_room = groups.iter_mut().find(|(name, bytes, events)| {
            *name == family && bytes.saturating_add(size) <= bytes_max && events.len() < EVENTS_MAX
        });
        match with_room {
            Some((_, bytes, events)) => {
                *bytes += size;
                events.push(event);
            }
            None => groups.push((family, size, vec![event])),
        }
    }
    groups.into_iter().map(|(.., events)| events).collect()
}

/// Most bytes that an event takes in a bundle.
pub fn size(event: &SignedEvent) -> usize {
    let trace = event
        .trace()
        .map_or(0, |trace| trace.parent().len() + escaped_max(trace.state()));
    let texts = event.id().as_str().len() + escaped_max(event.event_type().as_str()) + trace;
    LINE_MAX + texts + event.body().len()
}

/// Most bytes of a text in JSON: a control character takes six.
fn escaped_max(text: &str) -> usize {
    text.len() * 6
}

/// The body of a bundle of these events.
pub fn write<'e>(events: impl Iterator<Item = &'e SignedEvent> + Clone) -> Vec<u8> {
    let mut bundle = Vec::with_capacity(events.clone().map(size).sum());
    for event in events {
        let trace = event.trace();
        let state = trace.map(TraceContext::state);
        let line = Line {
            message_id: event.id().as_str().into(),
            event_type: event.event_type().as_str().into(),
            sent_at: event.sent_at().ms() / 1000,
            received_at_ms: event.received_at().ms(),
            traceparent: trace.map(|trace| trace.parent().into()),
            tracestate: state.filter(|state| !state.is_empty()).map(Into::into),
            bytes: event.body().len(),
        };
        serde_json::to_writer(&mut bundle, &line).expect("texts and numbers are written to memory");
        bundle.push(b'\n');
        bundle.extend_from_slice(event.body());
        bundle.push(b'\n');
    }
    bundle
}

/// The events of a bundle; `None` if these bytes are not one, in whole. The events share the memory
/// of `bundle`, so one of them keeps all of it.
pub fn read(bundle: &Bytes) -> Option<Vec<SignedEvent>> {
    let (mut events, mut at) = (Vec::new(), 0);
    while at < bundle.len() {
        let end = at + bundle[at..].iter().position(|byte| *byte == b'\n')?;
        let line: Line<'_> = serde_json::from_slice(&bundle[at..end]).ok()?;
        let body = end + 1;
        let after = body.checked_add(line.bytes)?;
        if events.len() == EVENTS_MAX || *bundle.get(after)? != b'\n' {
            return None;
        }
        let trace = line.traceparent.and_then(|parent| {
            TraceContext::new(&parent, line.tracestate.as_deref().unwrap_or(""))
        });
        let event = SignedEvent::restored(
            EventId::new(&line.message_id)?,
            EventType::named(&line.event_type),
            Timestamp::from_seconds(line.sent_at)?,
            Timestamp::from_ms(line.received_at_ms)?,
            bundle.slice(body..after),
        );
        events.push(event.with_trace(trace));
        at = after + 1;
    }
    Some(events).filter(|events| !events.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn event(id: &str, event_type: &str, received_at_ms: i64, body: &[u8]) -> SignedEvent {
        SignedEvent::restored(
            EventId::new(id).unwrap(),
            EventType::named(event_type),
            Timestamp::from_seconds(1_795_172_400).unwrap(),
            Timestamp::from_ms(received_at_ms).unwrap(),
            Bytes::copy_from_slice(body),
        )
    }

    fn any_event() -> impl Strategy<Value = SignedEvent> {
        let types = prop_oneof![
            Just("user.updated".to_owned()),
            Just("organization.created".to_owned()),
            Just("user.unreadable".to_owned()),
            "[\\PC\u{0}-\u{1f}]{0,40}",
        ];
        let trace = proptest::option::of(("[ -~]{1,60}", "[ -~]{0,60}"));
        let body = vec(any::<u8>(), 0..200);
        (
            "[A-Za-z0-9_-]{1,40}",
            types,
            1..4_000_000_000_000_i64,
            trace,
            body,
        )
            .prop_map(|(id, event_type, at, trace, body)| {
                let trace = trace.and_then(|(parent, state)| TraceContext::new(&parent, &state));
                event(&id, &event_type, at, &body).with_trace(trace)
            })
    }

    /// All that must survive, to compare.
    fn whole(event: &SignedEvent) -> impl PartialEq + std::fmt::Debug + use<> {
        (
            event.id().clone(),
            event.event_type().clone(),
            (event.sent_at(), event.received_at()),
            event.trace().cloned(),
            event.body().clone(),
        )
    }

    proptest! {
        #[test]
        fn every_event_comes_out_as_it_went_in(events in vec(any_event(), 1..10)) {
            let bundle = write(events.iter());
            prop_assert!(bundle.len() <= events.iter().map(size).sum::<usize>());
            let back = read(&bundle.into()).expect("it is a bundle");
            let whole = |events: &[SignedEvent]| events.iter().map(whole).collect::<Vec<_>>();
            prop_assert_eq!(whole(&back), whole(&events));
        }

        /// Neither a panic nor half of the events: what is no whole bundle stays one message.
        #[test]
        fn a_part_of_a_bundle_and_any_bytes_are_no_bundle(
            events in vec(any_event(), 1..4), cut in any::<prop::sample::Index>(), bytes in vec(any::<u8>(), 0..100)
        ) {
            let bundle = write(events.iter());
            let ends: Vec<_> = (1..=events.len()).map(|count| write(events[..count].iter()).len()).collect();
            let cut = cut.index(bundle.len());
            if !ends.contains(&cut) {
                prop_assert!(read(&Bytes::copy_from_slice(&bundle[..cut])).is_none());
            }
            prop_assert!(read(&bytes.into()).is_none());
        }

        #[test]
        fn groups_hold_every_event_once_within_the_limits(
            events in vec((0..3_usize, 1..200_000_usize, any::<bool>()), 0..200)
        ) {
            let families = ["user", "organization", "organizationMembership"];
            let numbered: Vec<_> = events.iter().copied().enumerate().collect();
            let groups = group(numbered, BYTES_MAX, |(_, (family, size, is_alone))| {
                (!is_alone).then_some((families[*family], *size))
            });
            let mut seen = Vec::new();
            for group in &groups {
                let is_alone = |(_, (_, _, is_alone)): &(usize, (usize, usize, bool))| *is_alone;
                prop_assert!(group.len() == 1 || !group.iter().any(is_alone));
                prop_assert!(group.len() <= EVENTS_MAX);
                let bytes: usize = group.iter().map(|(_, (_, size, _))| size).sum();
                prop_assert!(group.len() == 1 || bytes <= BYTES_MAX);
                prop_assert!(group.iter().all(|(_, (family, ..))| *family == group[0].1.0));
                prop_assert!(group.is_sorted_by_key(|(number, _)| *number));
                seen.extend(group.iter().map(|(number, _)| *number));
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..events.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_bytes_are_those_that_are_documented() {
        let trace = TraceContext::new(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "",
        );
        let events = [
            event("msg_1", "user.created", 1_795_172_401_234, b"{\n}"),
            event("msg_2", "user.deleted", 1_795_172_401_235, b"").with_trace(trace),
        ];
        let bundle = String::from_utf8(write(events.iter())).unwrap();
        assert_eq!(
            bundle,
            "{\"message_id\":\"msg_1\",\"type\":\"user.created\",\"svix-timestamp\":1795172400,\"received-at-ms\":1795172401234,\"bytes\":3}\n{\n}\n\
             {\"message_id\":\"msg_2\",\"type\":\"user.deleted\",\"svix-timestamp\":1795172400,\"received-at-ms\":1795172401235,\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\",\"bytes\":0}\n\n"
        );
    }

    #[test]
    fn as_many_events_as_may_are_grouped_and_no_more_are_read() {
        let events: Vec<_> = (0..=EVENTS_MAX)
            .map(|number| event(&format!("msg_{number}"), "user.updated", 1, b"{}"))
            .collect();
        let groups = group(events.iter().collect(), BYTES_MAX, |event| {
            Some(("user", size(event)))
        });
        assert_eq!(
            groups.iter().map(Vec::len).collect::<Vec<_>>(),
            [EVENTS_MAX, 1]
        );
        assert!(read(&write(events[..EVENTS_MAX].iter()).into()).is_some());
        assert!(read(&write(events.iter()).into()).is_none());
        assert!(read(&Bytes::new()).is_none());
        let too_long = b"{\"message_id\":\"a\",\"type\":\"\",\"svix-timestamp\":1,\"received-at-ms\":1,\"bytes\":18446744073709551615}\n\n";
        assert!(read(&Bytes::from_static(too_long)).is_none());
    }
}
