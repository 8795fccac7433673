//! A consumer of RabbitMQ: lost connections, stops, deleted queues, and messages that were
//! published by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use clerk_sync::clerk::EventType;
use clerk_sync::queue::{Batch, Source};
use lapin::BasicProperties;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::rabbitmq::put;
use crate::support::app::until;
use crate::support::broker;
use crate::support::queues::{
    Arm, assert_nothing_comes, consumer, drain, event, ids, names, next, publish, publish_all,
    ready, taking,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_closed_connection_is_delivered_again() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        let sent = names("msg", 10);
        publish_all(&queue, &sent).await;
        let mut consumer = consumer(&queue, 10);
        // All are in flight, so that later events come from another connection.
        let mut in_flight = Vec::new();
        while in_flight
            .iter()
            .map(|batch: &Batch| batch.events.len())
            .sum::<usize>()
            < sent.len()
        {
            in_flight.push(next(&mut consumer).await);
        }
        broker::close_connections(arm.namespace().name(), "consume");
        // The same consumer is built again, and the old batch means nothing to it.
        let again = next(&mut consumer).await;
        for batch in in_flight {
            consumer.ack(batch).await.unwrap_err();
        }
        let mut seen: BTreeSet<_> = ids(&again).into_iter().collect();
        consumer.ack(again).await.unwrap();
        if seen.len() < sent.len() {
            seen.extend(drain(&mut consumer, sent.len() - seen.len()).await);
        }
        assert_eq!(seen, sent);
        assert_nothing_comes(&mut consumer).await;
    })
    .await;
}

/// lapin reports once that there is no more, which can happen while a batch fills.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_consumer_whose_last_batch_is_not_full() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        let mut consumer = consumer(&queue, 10);
        publish_all(&queue, &names("first", 1)).await;
        drain(&mut consumer, 1).await;
        // No event is prefetched before the first one is known to be harmless.
        assert_nothing_comes(&mut consumer).await;
        publish_all(&queue, &names("prefetched", 5)).await;
        // The queue is empty: all five were sent before the answer to the stop.
        until("they were prefetched", async || {
            arm.namespace().ready("events").await == Some(0)
        })
        .await;
        consumer.stop().await;
        let mut seen = BTreeSet::new();
        while let Some(batch) = timeout(Duration::from_secs(5), consumer.next_batch())
            .await
            .expect("it ends")
        {
            seen.extend(ids(&batch));
            consumer.ack(batch).await.unwrap();
        }
        assert_eq!(
            seen,
            names("prefetched", 5),
            "prefetched events are delivered"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        let mut consumer = consumer(&queue, 10);
        publish_all(&queue, &names("before", 3)).await;
        drain(&mut consumer, 3).await;
        arm.namespace().delete_queue("events").await;
        // Only who consumes notices.
        let wait = async { drain(&mut consumer, 1).await };
        let publish = async {
            // Between its declaration and its binding an event would go to the unrouted ones.
            let users = json!(arm.namespace().queue("events"));
            let bindings = || {
                arm.namespace().listed(
                    "bindings",
                    &["source_name", "destination_name", "routing_key"],
                )
            };
            let is_bound = |it: &Value| {
                it["destination_name"] == users && it["routing_key"] == json!("user.*")
            };
            until("the queue is bound again", async || {
                bindings().iter().any(is_bound)
            })
            .await;
            publish(&queue, event("after_0")).await;
        };
        let (came, ()) = tokio::join!(wait, publish);
        assert_eq!(came, ["after_0"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_delivered_too_often_is_a_dead_letter() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        publish(&queue, event("msg_poison")).await;
        let mut dead = queue.consume(Source::DeadLetters, taking(10));
        // One delivery, and 20 again.
        for delivery in 0..21 {
            let batch = next(&mut consumer(&queue, 10)).await;
            assert_eq!(ids(&batch), ["msg_poison"], "delivery {delivery}");
        }
        let batch = next(&mut dead).await;
        assert_eq!(batch.events[0].id().as_str(), "msg_poison");
        assert_eq!(batch.events[0].body(), event("msg_poison").body());
        assert_eq!(
            batch.events[0].received_at(),
            event("msg_poison").received_at()
        );
        dead.ack(batch).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_published_by_hand_gets_the_same_id_each_time() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        let (connection, channel) = broker::connect().await;
        channel
            .confirm_select(lapin::options::ConfirmSelectOptions { nowait: false })
            .await
            .unwrap();
        let users = arm.namespace().queue("events");
        let dotted = BasicProperties::default().with_message_id("not.an.id".into());
        put(
            &channel,
            users.clone(),
            BasicProperties::default(),
            br#"{"type":"user.deleted"}"#,
        )
        .await;
        put(&channel, users, dotted, br#"{"type":"user.deleted"}"#).await;
        connection.close(200, "put".into()).await.unwrap();
        let mut consumer = consumer(&queue, 1);
        let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
        assert_eq!(ids(&first), ids(&second));
        assert!(ids(&first)[0].starts_with("unidentified_"));
        assert_eq!(
            first.events[0].event_type(),
            &EventType::named("user.deleted")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_used_is_connected() {
    Arm::rabbitmq(async |arm| {
        let worker = arm.open().await;
        let mut consumer = consumer(&worker, 10);
        assert_nothing_comes(&mut consumer).await;
        ready(&worker).await;
        until("it consumes", async || {
            arm.namespace().connections("consume").len() == 1
        })
        .await;
        assert_eq!(worker.depth().await.unwrap(), 0);
        assert!(
            arm.namespace().connections("publish").is_empty(),
            "a worker publishes nothing"
        );
        worker.close().await;

        // Connects without being asked for anything.
        let _receiver = arm.open().await;
        until("it publishes", async || {
            arm.namespace().connections("publish").len() == 1
        })
        .await;
        assert!(
            arm.namespace().connections("consume").is_empty(),
            "a receiver consumes nothing"
        );
    })
    .await;
}
