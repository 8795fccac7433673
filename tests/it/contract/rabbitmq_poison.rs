//! A possible poison message is delivered alone, and events that were prefetched beside it are not
//! lost by that.

use std::collections::{BTreeMap, BTreeSet};

use clerk_sync::queue::{Batch, Consumer, Queue, Source};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, BasicRejectOptions};
use lapin::types::AMQPValue;

use crate::support::app::until;
use crate::support::broker;
use crate::support::queues::{
    Arm, assert_nothing_comes, consumer, drain, event, ids, names, next, publish, publish_all,
    taking,
};

/// Has the queue count deliveries until its only message is a possible poison message.
async fn make_possible_poison(arm: &Arm, part: &str) {
    let (connection, channel) = broker::connect().await;
    let mut deliveries = 0;
    until("it was delivered ten times", async || {
        let get = BasicGetOptions { no_ack: false };
        if let Some(message) = channel
            .basic_get(arm.namespace().queue(part).into(), get)
            .await
            .unwrap()
        {
            deliveries += 1;
            message
                .delivery
                .acker
                .reject(BasicRejectOptions { requeue: true })
                .await
                .unwrap();
        }
        deliveries >= 10
    })
    .await;
    connection.close(200, "rejected".into()).await.unwrap();
}

/// Publishes a possible poison message, as another worker returns it to the queue.
async fn put_possible_poison(arm: &Arm, id: &str) {
    let (connection, channel) = broker::connect().await;
    let headers = BTreeMap::from([("suspected".into(), AMQPValue::Boolean(true))]);
    let properties = BasicProperties::default()
        .with_message_id(id.into())
        .with_headers(headers.into());
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let queue = arm.namespace().queue("events").into();
    #[expect(
        clippy::disallowed_methods,
        reason = "by hand, as a stranger would; no other task has this channel"
    )]
    let published = channel
        .basic_publish("".into(), queue, options, b"{}", properties)
        .await;
    published.unwrap().await.unwrap();
    connection.close(200, "put".into()).await.unwrap();
}

/// A consumer that has seen a harmless message, so that it prefetches.
async fn prefetching_consumer(queue: &Queue, batch_max: usize) -> Consumer {
    publish(queue, event("msg_usual")).await;
    let mut consumer = consumer(queue, batch_max);
    drain(&mut consumer, 1).await;
    assert_nothing_comes(&mut consumer).await;
    consumer
}

/// The possible poison message, and the events before it, which are acknowledged.
async fn until_possible_poison(consumer: &mut Consumer) -> (Batch, Vec<String>) {
    let mut before = Vec::new();
    loop {
        let batch = next(consumer).await;
        if batch.may_be_poison {
            return (batch, before);
        }
        before.extend(ids(&batch));
        consumer.ack(batch).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_prefetched_beside_a_message_that_was_delivered_many_times() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        publish(&queue, event("msg_poison")).await;
        make_possible_poison(arm, "events").await;
        publish_all(&queue, &names("msg", 6)).await;
        let mut consumer = consumer(&queue, 4);
        let possible_poison = next(&mut consumer).await;
        assert!(possible_poison.may_be_poison);
        assert_eq!(ids(&possible_poison), ["msg_poison"]);
        consumer.return_prefetched().await;
        until("all others wait in the queue", async || {
            arm.namespace().ready("events").await == Some(6)
        })
        .await;
        consumer.ack(possible_poison).await.unwrap();
        let seen: BTreeSet<_> = drain(&mut consumer, 6).await.into_iter().collect();
        assert_eq!(seen, names("msg", 6));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetched_events_are_returned_and_possible_poison_among_them_is_marked() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        let mut consumer = prefetching_consumer(&queue, 4).await;
        put_possible_poison(arm, "msg_first").await;
        put_possible_poison(arm, "msg_second").await;
        publish_all(&queue, &names("msg", 4)).await;
        let (first, mut seen) = until_possible_poison(&mut consumer).await;
        assert_eq!(ids(&first), ["msg_first"]);
        consumer.return_prefetched().await;
        // The second is among them; all are in the queue, so none has spent a delivery if this
        // process dies.
        let left = u32::try_from(5 - seen.len()).unwrap();
        until("all others wait in the queue", async || {
            arm.namespace().ready("events").await == Some(left)
        })
        .await;
        consumer.ack(first).await.unwrap();
        let (second, between) = until_possible_poison(&mut consumer).await;
        assert_eq!(ids(&second), ["msg_second"], "it is delivered alone");
        seen.extend(between);
        consumer.ack(second).await.unwrap();
        if seen.len() < 4 {
            seen.extend(drain(&mut consumer, 4 - seen.len()).await);
        }
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names("msg", 4));
        assert_nothing_comes(&mut consumer).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_cannot_be_returned_are_delivered_after_the_poison_message() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        let mut consumer = prefetching_consumer(&queue, 4).await;
        put_possible_poison(arm, "msg_poison").await;
        let others = names("msg", 12);
        publish_all(&queue, &others).await;
        // Nothing more is taken.
        arm.namespace().limit_length(1).await;
        let (possible_poison, mut seen) = until_possible_poison(&mut consumer).await;
        assert_eq!(ids(&possible_poison), ["msg_poison"]);
        consumer.return_prefetched().await;
        consumer
            .ack(possible_poison)
            .await
            .expect("it is still ours");
        if seen.len() < others.len() {
            seen.extend(drain(&mut consumer, others.len() - seen.len()).await);
        }
        assert_eq!(seen.len(), others.len(), "each came once");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), others);
        assert_nothing_comes(&mut consumer).await;
        arm.namespace().lift_limit().await;
    })
    .await;
}

/// A secondary queue gives no event up by its deliveries, and no event is published again.
#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_queue_has_no_possible_poison() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        until("the queue is ready", async || queue.ready().is_ok()).await;
        arm.namespace().unbind("user.*").await;
        publish(&queue, event("msg_0")).await;
        make_possible_poison(arm, "unrouted").await;
        for number in 1..6 {
            publish(&queue, event(&format!("msg_{number}"))).await;
        }
        let mut unrouted = queue.consume(Source::Unrouted, taking(2));
        let mut seen = BTreeSet::new();
        while seen.len() < 6 {
            let batch = next(&mut unrouted).await;
            assert!(!batch.may_be_poison);
            unrouted.return_prefetched().await;
            seen.extend(ids(&batch));
            unrouted.ack(batch).await.unwrap();
        }
        assert_eq!(seen, names("msg", 6));
    })
    .await;
}
