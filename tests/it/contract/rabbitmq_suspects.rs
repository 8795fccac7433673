//! What is suspected of killing whoever takes it is tried alone, and what was sent ahead beside it is not lost by that.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use clerk_sync::queue::Source;
use lapin::options::{BasicGetOptions, BasicRejectOptions};

use crate::support::app::until;
use crate::support::broker;
use crate::support::queues::{
    Arm, assert_nothing_comes, consumer, drain, event, ids, names, next, publish, publish_all,
};

/// Has the queue count deliveries in vain until it is suspected of killing whoever takes it. It must be alone in the queue.
async fn make_suspect(arm: &Arm, part: &str) {
    let (connection, channel) = broker::connect().await;
    let mut deliveries = 0;
    until("it was delivered in vain ten times", async || {
        let get = BasicGetOptions { no_ack: false };
        if let Some(message) = channel.basic_get(arm.namespace().queue(part).into(), get).await.unwrap() {
            deliveries += 1;
            message.delivery.acker.reject(BasicRejectOptions { requeue: true }).await.unwrap();
        }
        deliveries >= 10
    })
    .await;
    connection.close(200, "rejected".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_aside_is_handed_out_after_the_suspect() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        publish(&queue, event("msg_suspect")).await;
        make_suspect(arm, "users").await;
        let others = names("msg", 12);
        publish_all(&queue, &others).await;
        // Nothing more is taken.
        arm.namespace().limit_length(1).await;

        let mut consumer = consumer(&queue, 4);
        let mut seen = Vec::new();
        let suspect = loop {
            let batch = next(&mut consumer).await;
            if batch.suspect {
                break batch;
            }
            seen.extend(ids(&batch));
            consumer.ack(batch).await.unwrap();
        };
        assert_eq!(ids(&suspect), ["msg_suspect"]);
        // As many as were sent ahead with it.
        until("others were sent ahead", async || arm.namespace().ready("users").await < Some(12)).await;
        queue.set_aside(&mut consumer).await;
        consumer.ack(suspect).await.expect("it is still ours");
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

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_in_hand_while_a_suspect_is_tried() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        publish(&queue, event("msg_suspect")).await;
        make_suspect(arm, "users").await;
        let mut consumer = consumer(&queue, 4);
        let suspect = next(&mut consumer).await;
        assert!(suspect.suspect);
        publish_all(&queue, &names("before", 3)).await;
        queue.set_aside(&mut consumer).await;
        publish_all(&queue, &names("after", 3)).await;
        until("all others wait in the queue", async || arm.namespace().ready("users").await == Some(6)).await;
        assert_eq!(arm.namespace().ready("users").await, Some(6), "they come to nobody who holds a suspect");
        consumer.ack(suspect).await.unwrap();
        let seen: BTreeSet<_> = drain(&mut consumer, 6).await.into_iter().collect();
        assert_eq!(seen, names("before", 3).into_iter().chain(names("after", 3)).collect());
    })
    .await;
}

/// Where events are parked no count ends one, and nothing is published again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_never_a_suspect() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        until("the queue is ready", async || queue.ready().is_ok()).await;
        arm.namespace().unbind("user.*").await;
        publish(&queue, event("msg_0")).await;
        make_suspect(arm, "unrouted").await;
        for number in 1..6 {
            publish(&queue, event(&format!("msg_{number}"))).await;
        }
        let mut unrouted = queue.consume(Source::Unrouted, NonZeroUsize::new(2).unwrap());
        let mut seen = BTreeSet::new();
        while seen.len() < 6 {
            let batch = next(&mut unrouted).await;
            assert!(!batch.suspect);
            queue.set_aside(&mut unrouted).await;
            seen.extend(ids(&batch));
            unrouted.ack(batch).await.unwrap();
        }
        assert_eq!(seen, names("msg", 6));
    })
    .await;
}
