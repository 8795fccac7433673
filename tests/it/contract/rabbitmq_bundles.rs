//! Several events in one message: what it looks like to others, and that each of its events is
//! taken, acknowledged, returned and given up as if it were alone.

use std::collections::BTreeSet;

use bytes::Bytes;
use clerk_sync::clerk::{EventType, SignedEvent, TraceContext};
use clerk_sync::queue::{Batch, Consumer, PublishError, Source};
use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::{BasicGetOptions, BasicRejectOptions};
use lapin::types::AMQPValue;

use super::rabbitmq_poison::make_possible_poison;
use crate::support::app::until;
use crate::support::broker::{self, BUNDLE};
use crate::support::queues::{
    Arm, assert_nothing_comes, consumer, drain, event, event_with, ids, names, next, publish,
    publish_all, ready, taking,
};

/// Publishes these as one message. They wait together for the connection, so that no channel takes
/// some of them before the others.
async fn publish_bundle(arm: &Arm, events: impl IntoIterator<Item = SignedEvent>) {
    let queue = arm.open().await;
    let published = events.into_iter().map(|event| queue.publish(event));
    for published in join_all(published).await {
        published.unwrap();
    }
    queue.close().await;
}

fn events(count: usize) -> impl Iterator<Item = SignedEvent> {
    names("msg", count).into_iter().map(|id| event(&id))
}

/// The messages of a queue, once as many are there.
async fn messages(arm: &Arm, part: &str, count: u32) -> Vec<Delivery> {
    until("the messages are there", async || {
        arm.namespace().ready(part).await == Some(count)
    })
    .await;
    arm.namespace().take_messages(part).await
}

async fn has_one_message(arm: &Arm, part: &str) {
    until("it is one message", async || {
        arm.namespace().ready(part).await == Some(1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_together_are_one_message_that_others_can_read() {
    Arm::rabbitmq(async |arm| {
        let trace = TraceContext::new(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "vendor=1",
        );
        let updated = event("msg_1").with_trace(trace);
        let deleted = EventType::named("user.deleted");
        let deleted = event_with("msg_2", deleted, Bytes::from_static(b"{\n\xff}"));
        publish_bundle(arm, [updated, deleted]).await;
        let messages = messages(arm, "events", 1).await;
        let message = &messages[0];
        assert_eq!(message.routing_key.as_str(), "user.bundle");
        let properties = &message.properties;
        let text = |value: &Option<lapin::types::ShortString>| {
            value.as_ref().map(|text| text.as_str().to_owned())
        };
        assert_eq!(text(properties.content_type()).as_deref(), Some(BUNDLE));
        assert_eq!(text(properties.message_id()).as_deref(), Some("bundle_msg_1"));
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(properties.timestamp(), &Some(1_795_172_401));
        assert_eq!(properties.kind(), &None);
        let headers = properties.headers().as_ref().unwrap().inner();
        assert_eq!(headers.get("events"), Some(&AMQPValue::LongLongInt(2)));
        let mut expected = Vec::new();
        let lines = [
            (
                r#"{"message_id":"msg_1","type":"user.updated","svix-timestamp":1795172400,"received-at-ms":1795172401234,"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"vendor=1","bytes":35}"#,
                br#"{"type":"user.updated","n":"msg_1"}"#.as_slice(),
            ),
            (
                r#"{"message_id":"msg_2","type":"user.deleted","svix-timestamp":1795172400,"received-at-ms":1795172401234,"bytes":4}"#,
                b"{\n\xff}",
            ),
        ];
        for (line, body) in lines {
            expected.extend([line.as_bytes(), b"\n", body, b"\n"].concat());
        }
        assert_eq!(
            String::from_utf8_lossy(&message.data),
            String::from_utf8_lossy(&expected)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_tables_and_large_ones_have_messages_of_their_own() {
    Arm::rabbitmq(async |arm| {
        let of = |id: &str, name: &str, bytes: usize| {
            event_with(id, EventType::named(name), vec![b' '; bytes].into())
        };
        let users = (0..70).map(|number| of(&format!("msg_user_{number}"), "user.updated", 10));
        let others = [
            of("msg_organization_1", "organization.created", 10),
            of("msg_large", "user.updated", 300 * 1024),
            of("msg_unreadable", "user.unreadable", 0),
            of("msg_organization_2", "organization.updated", 10),
            of("msg_membership", "organizationMembership.created", 10),
        ];
        publish_bundle(arm, users.chain(others)).await;
        let mut keys: Vec<String> = messages(arm, "events", 5)
            .await
            .iter()
            .map(|message| message.routing_key.to_string())
            .collect();
        keys.sort();
        // At most 64 of the users are in one.
        let expected = [
            "organization.bundle",
            "organizationMembership.created",
            "user.bundle",
            "user.bundle",
            "user.updated",
        ];
        assert_eq!(keys, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_event_and_all_events_without_bundles_have_messages_of_their_own() {
    Arm::rabbitmq(async |arm| {
        publish_bundle(arm, [event("msg_lone")]).await;
        let message = &messages(arm, "events", 1).await[0];
        assert_eq!(message.routing_key.as_str(), "user.updated");
        let properties = &message.properties;
        assert_eq!(
            properties.content_type().as_ref().unwrap().as_str(),
            "application/json"
        );
        let queue = arm.open_without_bundles().await;
        publish_all(&queue, &names("msg", 30)).await;
        assert_eq!(messages(arm, "events", 30).await.len(), 30);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_count_events_and_a_message_is_done_with_the_last_of_them() {
    Arm::rabbitmq(async |arm| {
        publish_bundle(arm, events(23)).await;
        has_one_message(arm, "events").await;
        let queue = arm.open().await;
        let mut first = consumer(&queue, 5);
        let mut taken = Vec::new();
        for _ in 0..4 {
            let batch = next(&mut first).await;
            assert_eq!(batch.events.len(), 5);
            taken.push(batch);
        }
        assert_eq!(queue.taken(), Some(23));
        // In any order; three events are left.
        for batch in taken.into_iter().rev() {
            first.ack(batch).await.unwrap();
        }
        assert_eq!(queue.taken(), Some(3));
        drop(first);
        // None is lost, and those that are done come again: a repetition changes nothing.
        let mut second = consumer(&queue, 100);
        let all = next(&mut second).await;
        assert_eq!(
            ids(&all).into_iter().collect::<BTreeSet<_>>(),
            names("msg", 23)
        );
        second.ack(all).await.unwrap();
        drop(second);
        assert_nothing_comes(&mut consumer(&queue, 100)).await;
        has_no_message(arm, "events").await;
    })
    .await;
}

async fn has_no_message(arm: &Arm, part: &str) {
    until("nothing waits", async || {
        arm.namespace().ready(part).await == Some(0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn depth_counts_the_events_of_bundles() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        publish_all(&queue, &names("msg", 200)).await;
        until("200 events wait", async || {
            queue.depth().await.is_ok_and(|depth| depth == 200)
        })
        .await;
        let messages = arm.namespace().ready("events").await.unwrap();
        assert!(messages < 200, "none of them shared a message");
        drain(&mut consumer(&queue, 50), 200).await;
        until("none waits", async || {
            queue.depth().await.is_ok_and(|depth| depth == 0)
        })
        .await;
    })
    .await;
}

/// Takes possible poison, each alone, and acknowledges it.
async fn take_each_alone(consumer: &mut Consumer, count: usize) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        let batch = next(consumer).await;
        assert!(batch.may_be_poison, "each is isolated");
        assert_eq!(batch.events.len(), 1);
        let batch = consumer
            .publish_singly(batch)
            .await
            .expect("it has a message of its own");
        seen.extend(ids(&batch));
        consumer.ack(batch).await.unwrap();
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_delivered_many_times_is_taken_apart() {
    Arm::rabbitmq(async |arm| {
        publish_bundle(arm, events(12)).await;
        make_possible_poison(arm, "events").await;
        let queue = arm.open().await;
        // So that the queue takes them.
        ready(&queue).await;
        let mut consumer = consumer(&queue, 5);
        let batch: Batch = next(&mut consumer).await;
        assert!(batch.may_be_poison && batch.events.len() == 1);
        assert!(consumer.publish_singly(batch).await.is_none());
        until("each is a message", async || {
            arm.namespace().ready("events").await == Some(12)
        })
        .await;
        assert_eq!(take_each_alone(&mut consumer, 12).await, names("msg", 12));
        assert_nothing_comes(&mut consumer).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_cannot_be_taken_apart_now_is_applied_event_by_event() {
    Arm::rabbitmq(async |arm| {
        publish_bundle(arm, events(6)).await;
        make_possible_poison(arm, "events").await;
        let queue = arm.open_without_bundles().await;
        ready(&queue).await;
        let mut consumer = consumer(&queue, 5);
        let mut seen = BTreeSet::new();
        let batch = next(&mut consumer).await;
        // Nothing more is taken.
        publish_all(&queue, &names("other", 12)).await;
        arm.namespace().limit_length(1).await;
        let mut batch = consumer.publish_singly(batch).await;
        while let Some(alone) = batch.take() {
            assert!(alone.may_be_poison && alone.events.len() == 1);
            seen.extend(ids(&alone));
            consumer.ack(alone).await.unwrap();
            if seen.len() < 6 {
                let alone = next(&mut consumer).await;
                batch = consumer.publish_singly(alone).await;
            }
        }
        assert_eq!(seen, names("msg", 6), "each, and all on the old message");
        arm.namespace().lift_limit().await;
        let others = drain(&mut consumer, 12).await;
        assert_eq!(
            others.into_iter().collect::<BTreeSet<_>>(),
            names("other", 12)
        );
        assert_nothing_comes(&mut consumer).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_bundle_is_taken_apart_by_its_reader() {
    Arm::rabbitmq(async |arm| {
        publish_bundle(arm, events(7)).await;
        let (connection, channel) = broker::connect().await;
        let get = BasicGetOptions { no_ack: false };
        let events = arm.namespace().queue("events");
        let message = channel.basic_get(events.into(), get).await.unwrap();
        let reject = BasicRejectOptions { requeue: false };
        message
            .unwrap()
            .delivery
            .acker
            .reject(reject)
            .await
            .unwrap();
        connection.close(200, "rejected".into()).await.unwrap();
        let queue = arm.open().await;
        let mut dead = queue.consume(Source::DeadLetters, taking(3));
        let mut seen = BTreeSet::new();
        while seen.len() < 7 {
            let batch = next(&mut dead).await;
            assert!(batch.events.len() <= 3);
            for event in &batch.events {
                let dead_letter = event.dead_letter().expect("it says why");
                assert_eq!(dead_letter.code.name(), "rejected");
            }
            seen.extend(ids(&batch));
            dead.ack(batch).await.unwrap();
        }
        assert_eq!(seen, names("msg", 7));
        drop(dead);
        has_no_message(arm, "dead").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrouted_bundle_is_taken_apart_by_its_reader() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        arm.namespace().unbind("user.*").await;
        publish_all(&queue, &names("msg", 40)).await;
        let mut unrouted = queue.consume(Source::Unrouted, taking(7));
        let mut seen = BTreeSet::new();
        while seen.len() < 40 {
            let batch = next(&mut unrouted).await;
            for event in &batch.events {
                assert_eq!(event.dead_letter().unwrap().code.name(), "unrouted");
            }
            seen.extend(ids(&batch));
            unrouted.ack(batch).await.unwrap();
        }
        assert_eq!(seen, names("msg", 40));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescued_bundle_is_split_by_its_reader() {
    Arm::rabbitmq(async |arm| {
        publish_bundle(arm, events(20)).await;
        let message = messages(arm, "events", 1).await.remove(0);
        arm.namespace()
            .put("rescued", message.properties, &message.data)
            .await;
        let queue = arm.open().await;
        let mut rescued = queue.consume(Source::Rescued, taking(8));
        let mut seen = BTreeSet::new();
        while seen.len() < 20 {
            let batch = next(&mut rescued).await;
            assert!(batch.events.len() <= 8);
            assert!(
                batch
                    .events
                    .iter()
                    .all(|event| event.dead_letter().is_some())
            );
            seen.extend(ids(&batch));
            rescued.ack(batch).await.unwrap();
        }
        assert_eq!(seen, names("msg", 20));
    })
    .await;
}

/// A version that knows no bundles has recorded one as a failed event, and that is replayed: its ID
/// is all that says what it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_replayed_as_one_event_is_split() {
    Arm::rabbitmq(async |arm| {
        publish_bundle(arm, events(9)).await;
        let message = messages(arm, "events", 1).await.remove(0);
        let id = message
            .properties
            .message_id()
            .as_ref()
            .unwrap()
            .to_string();
        let bundle = event_with(&id, EventType::Unreadable, message.data.into());
        // With another event at the same time: it is not put into a bundle again.
        publish_bundle(arm, [bundle, event("msg_beside")]).await;
        let queue = arm.open().await;
        let came = drain(&mut consumer(&queue, 100), 10).await;
        let mut expected = names("msg", 9);
        expected.insert("msg_beside".into());
        assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_bundle_returns_to_the_queue_without_spending_a_delivery() {
    Arm::rabbitmq(async |arm| {
        publish_bundle(arm, events(10)).await;
        has_one_message(arm, "events").await;
        let queue = arm.open().await;
        ready(&queue).await;
        let mut first = consumer(&queue, 4);
        let done = next(&mut first).await;
        let held = next(&mut first).await;
        let done_ids: BTreeSet<_> = ids(&done).into_iter().collect();
        first.ack(done).await.unwrap();
        assert!(first.return_all(vec![held], false).await.is_none());
        let left: BTreeSet<_> = names("msg", 10).difference(&done_ids).cloned().collect();
        let came = drain(&mut consumer(&queue, 100), 6).await;
        assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), left);
        assert_nothing_comes(&mut consumer(&queue, 100)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_says_that_it_is_a_bundle_is_one_event_that_cannot_be_read() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        let good = b"{\"message_id\":\"msg_1\",\"type\":\"user.updated\",\"svix-timestamp\":1,\"received-at-ms\":1,\"bytes\":2}\n{}\n";
        let bodies: [&[u8]; 4] = [b"", b"not a bundle", &good[..good.len() - 1], b"\n"];
        for (number, body) in bodies.into_iter().enumerate() {
            let properties = BasicProperties::default()
                .with_content_type(BUNDLE.into())
                .with_message_id(format!("bundle_{number}").into());
            arm.namespace().put("events", properties, body).await;
        }
        let mut consumer = consumer(&queue, 10);
        let mut seen = BTreeSet::new();
        while seen.len() < bodies.len() {
            let batch = next(&mut consumer).await;
            for event in &batch.events {
                assert_eq!(event.event_type(), &EventType::Unreadable);
                let number: usize = event.id().as_str().strip_prefix("bundle_").unwrap().parse().unwrap();
                assert_eq!(event.body().as_ref(), bodies[number]);
            }
            seen.extend(ids(&batch));
            consumer.ack(batch).await.unwrap();
        }
        assert_nothing_comes(&mut consumer).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_answers_every_event_of_a_bundle() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        publish(&queue, event("msg_first")).await;
        arm.namespace().unbind("user.*").await;
        // What no binding takes is not kept either: it comes back.
        arm.namespace()
            .unbind_queue("unrouted", "unrouted", "")
            .await;
        let names = names("msg", 50);
        let published = names.iter().map(|id| queue.publish(event(id)));
        for published in join_all(published).await {
            assert_eq!(published, Err(PublishError::Unroutable));
        }
        assert_eq!(arm.namespace().take_all("events").await, ["msg_first"]);
    })
    .await;
}
