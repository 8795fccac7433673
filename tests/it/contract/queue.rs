//! One suite for both queues: what `queue/mod.rs` promises, whichever arm keeps it.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clerk_sync::clerk::EventType;
use clerk_sync::queue::{ConsumerOptions, PublishError, Source};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::support::app::{DEADLINE, until};
use crate::support::queues::{
    Arm, QUIET, assert_nothing_comes, consumer, drain, event, event_with, ids, names, next,
    publish, publish_all, taking,
};

/// Makes `rabbitmq::name` and `embedded::name` of every `async fn name(arm: &Arm)`, so that no arm
/// can be forgotten.
macro_rules! on_both_queues {
    ($(async fn $name:ident($arm:ident: &Arm) $story:block)*) => {
        $(async fn $name($arm: &Arm) $story)*

        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::Arm::rabbitmq(super::$name).await;
            })*
        }

        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::Arm::embedded(super::$name).await;
            })*
        }
    };
}

on_both_queues! {
    async fn an_event_comes_back_whole(arm: &Arm) {
        let queue = arm.open().await;
        let every_byte: Vec<u8> = (0..=255).collect();
        let sent = [
            event_with("msg_empty", EventType::Unreadable, Bytes::new()),
            event_with("msg_bytes", EventType::Unreadable, every_byte.into()),
            event_with("msg_large", EventType::named("user.created"), vec![b'x'; 1024 * 1024].into()),
            event_with("msg_deleted", EventType::named("user.deleted"), Bytes::from_static(b"{\"type\":\"user.deleted\"}")),
            event_with("msg_other", EventType::named("session.created"), Bytes::from_static(b"{}")),
            event_with(&"x".repeat(255), EventType::named("user.updated"), Bytes::from_static(b"{}")),
        ];
        join_all(sent.iter().map(async |event| publish(&queue, event.clone()).await)).await;
        let mut consumer = consumer(&queue, 10);
        let mut received = Vec::new();
        while received.len() < sent.len() {
            let batch = next(&mut consumer).await;
            received.extend(batch.events.iter().cloned());
            consumer.ack(batch).await.unwrap();
        }
        for event in &sent {
            let back = received.iter().find(|back| back.id() == event.id()).expect("it came back");
            assert_eq!(back.event_type(), event.event_type(), "{}", event.id());
            assert_eq!(back.sent_at(), event.sent_at(), "{}", event.id());
            assert_eq!(back.received_at(), event.received_at(), "{}", event.id());
            assert!(back.body() == event.body(), "the body of {} differs", event.id());
        }
    }

    async fn an_unacknowledged_event_is_delivered_again(arm: &Arm) {
        let queue = arm.open().await;
        let sent = names("msg", 20);
        publish_all(&queue, &sent).await;

        let mut first = consumer(&queue, 20);
        let mut taken = BTreeSet::new();
        while taken.len() < sent.len() {
            // The batch goes with the consumer, without an acknowledgement.
            taken.extend(ids(&next(&mut first).await));
        }
        drop(first);

        let again = drain(&mut consumer(&queue, 20), sent.len()).await;
        assert_eq!(again.into_iter().collect::<BTreeSet<_>>(), sent);
    }

    async fn an_acknowledged_event_is_not_delivered_again(arm: &Arm) {
        let queue = arm.open().await;
        let sent = names("msg", 20);
        publish_all(&queue, &sent).await;
        let mut first = consumer(&queue, 7);
        assert_eq!(drain(&mut first, sent.len()).await.len(), sent.len(), "each came once");
        drop(first);
        assert_nothing_comes(&mut consumer(&queue, 7)).await;
    }

    async fn an_acknowledged_event_is_gone_after_a_restart(arm: &Arm) {
        let queue = arm.open().await;
        publish_all(&queue, &names("done", 5)).await;
        drain(&mut consumer(&queue, 5), 5).await;
        publish_all(&queue, &names("open", 5)).await;
        queue.close().await;

        let queue = arm.open().await;
        let mut consumer = consumer(&queue, 5);
        let came: BTreeSet<String> = drain(&mut consumer, 5).await.into_iter().collect();
        assert_eq!(came, names("open", 5));
        assert_nothing_comes(&mut consumer).await;
    }

    async fn an_acknowledgement_covers_its_own_batch_alone(arm: &Arm) {
        let queue = arm.open().await;
        let mut consumer_1 = consumer(&queue, 1);
        // Three batches in flight, in this order.
        let mut in_flight = Vec::new();
        for id in ["msg_a", "msg_b", "msg_c"] {
            publish(&queue, event(id)).await;
            if id != "msg_c" {
                let batch = next(&mut consumer_1).await;
                assert_eq!(ids(&batch), [id]);
                in_flight.push(batch);
            }
        }
        // The second is acknowledged, the first is not.
        let second = in_flight.pop().unwrap();
        consumer_1.ack(second).await.unwrap();
        drop(in_flight);
        drop(consumer_1);

        let mut consumer_2 = consumer(&queue, 1);
        let came: BTreeSet<String> = drain(&mut consumer_2, 2).await.into_iter().collect();
        assert_eq!(came, BTreeSet::from(["msg_a".to_string(), "msg_c".to_string()]));
        assert_nothing_comes(&mut consumer_2).await;
    }

    async fn a_batch_has_the_waiting_events_up_to_its_limit(arm: &Arm) {
        let queue = arm.open().await;
        let mut consumer = consumer(&queue, 10);
        // A broker that gets little of the processor hands them over one by one, and then none
        // waits.
        let since = Instant::now();
        for round in 0.. {
            publish_all(&queue, &names(&format!("msg_{round}"), 100)).await;
            let mut sizes = Vec::new();
            while sizes.iter().sum::<usize>() < 100 {
                let batch = next(&mut consumer).await;
                sizes.push(batch.events.len());
                consumer.ack(batch).await.unwrap();
            }
            assert!(sizes.iter().all(|size| (1..=10).contains(size)), "{sizes:?}");
            if sizes.contains(&10) {
                break;
            }
            assert!(since.elapsed() < DEADLINE, "no batch was filled although a hundred waited: {sizes:?}");
        }

        // One that comes alone does not wait for company.
        publish(&queue, event("msg_alone")).await;
        assert_eq!(ids(&next(&mut consumer).await), ["msg_alone"]);
    }

    async fn two_consumers_share_without_losing_or_doubling(arm: &Arm) {
        let queue = arm.open().await;
        let sent = names("msg", 400);
        let take = async |mut consumer: clerk_sync::queue::Consumer| {
            let mut seen = Vec::new();
            while let Ok(Some(batch)) = timeout(QUIET * 10, consumer.next_batch()).await {
                seen.extend(ids(&batch));
                consumer.ack(batch).await.unwrap();
            }
            seen
        };
        let (left, right) = (consumer(&queue, 10), consumer(&queue, 10));
        let ((), left, right) = tokio::join!(publish_all(&queue, &sent), take(left), take(right));
        let mut all = [left, right].concat();
        all.sort();
        assert_eq!(all, sent.into_iter().collect::<Vec<_>>());
    }

    async fn taking_can_be_cancelled_at_any_time(arm: &Arm) {
        let queue = arm.open().await;
        let sent = names("msg", 300);
        let mut consumer = consumer(&queue, 5);
        let take = async {
            let (mut seen, mut cancelled) = (Vec::new(), 0);
            // From one poll up to what a read of a file takes on a loaded machine.
            let mut patience = [0, 1, 20, 0, 500].map(Duration::from_millis).into_iter().cycle();
            let all_in_time = timeout(DEADLINE, async {
                while seen.len() < sent.len() {
                    let patience = patience.next().unwrap();
                    let taken = match patience.is_zero() {
                        true => consumer.next_batch().now_or_never(),
                        false => timeout(patience, consumer.next_batch()).await.ok(),
                    };
                    let Some(batch) = taken else {
                        cancelled += 1;
                        continue;
                    };
                    let batch = batch.unwrap();
                    seen.extend(ids(&batch));
                    consumer.ack(batch).await.unwrap();
                }
            });
            all_in_time.await.expect("cancelling keeps nothing from coming");
            (seen, cancelled)
        };
        let publish = async {
            for id in &sent {
                publish(&queue, event(id)).await;
            }
        };
        let ((), (mut seen, cancelled)) = tokio::join!(publish, take);
        assert!(cancelled > 10, "only {cancelled} were cancelled: this showed nothing");
        seen.sort();
        assert_eq!(seen, sent.into_iter().collect::<Vec<_>>());
    }

    async fn a_stop_loses_nothing(arm: &Arm) {
        let queue = arm.open().await;
        let sent = names("msg", 50);
        publish_all(&queue, &sent).await;
        let mut stopped = consumer(&queue, 10);
        let in_flight = next(&mut stopped).await;
        stopped.stop().await;
        let mut seen = Vec::new();
        while let Some(batch) = timeout(DEADLINE, stopped.next_batch()).await.expect("it ends") {
            seen.extend(ids(&batch));
            stopped.ack(batch).await.unwrap();
        }
        assert!(stopped.next_batch().await.is_none(), "and stays at its end");
        // A batch that was in flight all the time can still be acknowledged.
        seen.extend(ids(&in_flight));
        stopped.ack(in_flight).await.unwrap();
        drop(stopped);

        let mut other = consumer(&queue, 10);
        if seen.len() < sent.len() {
            seen.extend(drain(&mut other, sent.len() - seen.len()).await);
        }
        assert_nothing_comes(&mut other).await;
        seen.sort();
        assert_eq!(seen, sent.into_iter().collect::<Vec<_>>());
    }

    async fn a_consumer_that_waits_can_be_stopped(arm: &Arm) {
        let queue = arm.open().await;
        let mut consumer = consumer(&queue, 10);
        assert_nothing_comes(&mut consumer).await;
        consumer.stop().await;
        assert!(timeout(DEADLINE, consumer.next_batch()).await.expect("it ends").is_none());
    }

    // Beside a batch in flight none is begun for a few events.
    async fn a_full_batch_is_waited_for_until_it_is_full_or_nothing_more_comes(arm: &Arm) {
        let queue = arm.open().await;
        let mut consumer = queue.consume(Source::Events, ConsumerOptions { batches: NonZeroUsize::new(2).unwrap(), ..taking(5) });
        publish_all(&queue, &names("first", 1)).await;
        let in_flight = next(&mut consumer).await;
        publish_all(&queue, &names("few", 4)).await;
        assert!(timeout(QUIET, consumer.next_full_batch()).await.is_err(), "4 are no full batch");
        publish_all(&queue, &names("more", 3)).await;
        let full = timeout(DEADLINE, consumer.next_full_batch()).await.expect("it is full").unwrap();
        assert_eq!(full.events.len(), 5);
        assert!(timeout(QUIET, consumer.next_full_batch()).await.is_err(), "2 are none");
        consumer.ack(full).await.unwrap();
        consumer.ack(in_flight).await.unwrap();
        let rest = next(&mut consumer).await;
        assert_eq!(rest.events.len(), 2, "a batch is what is there");
        consumer.stop().await;
        let after = timeout(DEADLINE, consumer.next_full_batch()).await.expect("nothing more can come");
        assert!(after.is_none());
        consumer.ack(rest).await.unwrap();
    }

    async fn a_batch_in_flight_can_be_acknowledged_while_more_is_asked_for(arm: &Arm) {
        let queue = arm.open().await;
        publish_all(&queue, &names("msg", 20)).await;
        let mut consumer = consumer(&queue, 3);
        let mut seen = BTreeSet::new();
        while seen.len() < 20 {
            let batch = next(&mut consumer).await;
            seen.extend(ids(&batch));
            // Given up in the middle of whatever it does for it.
            let more = consumer.next_batch().now_or_never().flatten();
            consumer.ack(batch).await.expect("it is still ours");
            if let Some(more) = more {
                seen.extend(ids(&more));
                consumer.ack(more).await.expect("so is this");
            }
        }
        assert_eq!(seen, names("msg", 20));
        assert_nothing_comes(&mut consumer).await;
    }

    async fn hundreds_of_publishes_at_once_are_all_there(arm: &Arm) {
        let queue = arm.open().await;
        let sent = names("msg", 800);
        publish_all(&queue, &sent).await;
        let seen = drain(&mut consumer(&queue, 100), sent.len()).await;
        assert_eq!(seen.len(), sent.len(), "each came once");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), sent);
    }

    async fn the_caller_of_a_publish_may_go_away(arm: &Arm) {
        let queue = arm.open().await;
        let (kept, dropped) = (names("kept", 100), names("dropped", 100));
        let give_up = async |id: &String| {
            // Polled once and dropped: the event may be stored all the same, or not.
            let _ = timeout(Duration::ZERO, queue.publish(event(id))).await;
        };
        tokio::join!(publish_all(&queue, &kept), join_all(dropped.iter().map(give_up)));
        publish_all(&queue, &names("after", 1)).await;

        let mut consumer = consumer(&queue, 100);
        let mut seen = BTreeSet::new();
        while !seen.is_superset(&kept) || !seen.contains("after_0") {
            let batch = next(&mut consumer).await;
            seen.extend(ids(&batch));
            consumer.ack(batch).await.unwrap();
        }
    }

    async fn depth_counts_the_waiting_events(arm: &Arm) {
        let queue = arm.open().await;
        until("nothing waits", async || queue.depth().await.is_ok_and(|depth| depth == 0)).await;
        publish_all(&queue, &names("msg", 25)).await;
        // RabbitMQ counts a moment after it confirms.
        until("25 wait", async || queue.depth().await.unwrap() == 25).await;
        drain(&mut consumer(&queue, 10), 25).await;
        until("nothing waits again", async || queue.depth().await.unwrap() == 0).await;
    }

    async fn a_closed_queue_says_so(arm: &Arm) {
        let queue = arm.open().await;
        publish(&queue, event("msg_before")).await;
        until("it is ready", async || queue.ready().is_ok()).await;
        let mut waiting = consumer(&queue, 10);
        drain(&mut waiting, 1).await;

        let (ended, ()) = tokio::join!(timeout(DEADLINE, waiting.next_batch()), queue.close());
        assert!(ended.expect("it ends").is_none());
        assert_eq!(queue.publish(event("msg_after")).await, Err(PublishError::Unavailable));
        assert!(queue.ready().is_err());
        assert!(queue.depth().await.is_err());
        let mut late = consumer(&queue, 10);
        assert!(timeout(DEADLINE, late.next_batch()).await.expect("it ends").is_none());
        // Closing what is closed does nothing.
        queue.close().await;
    }
}
