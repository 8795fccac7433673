//! What both queues promise.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use clerk_sync::clerk::{EventId, EventType, SignedEvent};
use clerk_sync::queue::{self, Consumer, PublishError, Queue, Source};
use futures_util::future::join_all;
use secrecy::SecretString;

use crate::support::app::tempdir::TempDir;
use crate::support::app::{DEADLINE, until};
use crate::support::broker::{self, Namespace};
use crate::support::history::{at, update};

/// A queue of its own.
pub enum Place {
    RabbitMq(Namespace),
    Embedded(TempDir),
}

impl Place {
    pub fn options(&self) -> queue::Options {
        match self {
            Self::RabbitMq(namespace) => queue::Options::RabbitMq(queue::rabbitmq::Options {
                url: SecretString::from(broker::url()),
                namespace: namespace.name().into(),
            }),
            Self::Embedded(directory) => {
                queue::Options::Embedded(queue::embedded::Options { path: directory.path().join("queue.db") })
            }
        }
    }

    pub async fn open(&self) -> Queue {
        let queue = Queue::open(&self.options()).await.unwrap();
        until("the queue is ready", async || queue.ready().is_ok()).await;
        queue
    }
}

super::both_arms! {
    rabbitmq: super::Place::RabbitMq(crate::support::broker::Namespace::new()),
    embedded: super::Place::Embedded(crate::support::app::tempdir::TempDir::new());

    events_come_back_whole
    hundreds_at_once_are_all_there
    what_is_not_acknowledged_comes_again
    what_is_acknowledged_is_gone
    a_batch_is_what_is_there_up_to_its_limit
    two_consumers_share_without_losing_or_doubling
    waiting_may_be_cancelled_at_any_time
    a_stop_hands_out_the_rest_and_then_nothing
    an_acknowledgement_of_another_life_does_no_harm
    depth_counts_what_waits
    a_closed_queue_promises_nothing
}

const BATCH: NonZeroUsize = NonZeroUsize::new(50).expect("50 is not 0");

pub fn id_of(number: usize) -> String {
    format!("msg_{number:05}")
}

pub async fn publish(queue: &Queue, numbers: std::ops::Range<usize>) {
    let published = join_all(numbers.map(|n| queue.publish(update(&id_of(n), "user_1", 1)))).await;
    for result in published {
        result.unwrap();
    }
}

/// Takes batches until `count` events have come; the IDs, acknowledged where `acks`.
pub async fn take(consumer: &mut Consumer, count: usize, acks: bool) -> Vec<String> {
    let mut ids = Vec::new();
    let mut held = Vec::new();
    while ids.len() < count {
        let batch = tokio::time::timeout(DEADLINE, consumer.next_batch()).await;
        let batch = batch.unwrap_or_else(|_| panic!("only {} of {count} came", ids.len())).expect("not stopped");
        ids.extend(batch.events.iter().map(|event| event.id().to_string()));
        if acks {
            consumer.ack(batch).await.unwrap();
        } else {
            held.push(batch);
        }
    }
    ids
}

pub fn ids(numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    numbers.map(id_of).collect()
}

async fn events_come_back_whole(place: Place) {
    let queue = place.open().await;
    let bodies: [&[u8]; 5] = [b"", b"\xff\x00\xfe", b"no JSON", br#"{"type":"user.created"}"#, &[b' '; 1_000_000]];
    let mut sent = BTreeMap::new();
    for (number, body) in bodies.into_iter().enumerate() {
        let (id, event_type) = (EventId::new(&id_of(number)).unwrap(), EventType::read(body));
        let received_at = at(i64::try_from(number).unwrap() + 7);
        let event = SignedEvent::restored(id.clone(), event_type, at(-1000), received_at, Bytes::from_static(body));
        queue.publish(event.clone()).await.unwrap();
        sent.insert(id, event);
    }
    let mut consumer = queue.consume(Source::Events, BATCH);
    while !sent.is_empty() {
        let batch = tokio::time::timeout(DEADLINE, consumer.next_batch()).await.unwrap().unwrap();
        for back in &batch.events {
            let event = sent.remove(back.id()).expect("each once");
            assert_eq!(back.body(), event.body());
            assert_eq!(back.event_type(), event.event_type());
            assert_eq!((back.sent_at(), back.received_at()), (event.sent_at(), event.received_at()));
        }
        consumer.ack(batch).await.unwrap();
    }
}

async fn hundreds_at_once_are_all_there(place: Place) {
    let queue = place.open().await;
    publish(&queue, 0..800).await;
    let mut consumer = queue.consume(Source::Events, BATCH);
    let taken = take(&mut consumer, 800, true).await;
    assert_eq!(taken.len(), 800);
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), ids(0..800));
}

async fn what_is_not_acknowledged_comes_again(place: Place) {
    let queue = place.open().await;
    publish(&queue, 0..120).await;
    let mut first = queue.consume(Source::Events, BATCH);
    // With RabbitMQ a second batch waits at the consumer: it comes again as well.
    let held = first.next_batch().await.unwrap();
    assert!(!held.events.is_empty());
    drop(held);
    drop(first);
    let mut second = queue.consume(Source::Events, BATCH);
    let taken: BTreeSet<_> = take(&mut second, 120, true).await.into_iter().collect();
    assert_eq!(taken, ids(0..120));
}

async fn what_is_acknowledged_is_gone(place: Place) {
    let queue = place.open().await;
    publish(&queue, 0..100).await;
    let mut consumer = queue.consume(Source::Events, BATCH);
    take(&mut consumer, 100, true).await;
    drop(consumer);
    queue.close().await;
    let queue = place.open().await;
    publish(&queue, 100..101).await;
    let mut consumer = queue.consume(Source::Events, BATCH);
    assert_eq!(take(&mut consumer, 1, true).await, [id_of(100)]);
}

async fn a_batch_is_what_is_there_up_to_its_limit(place: Place) {
    let queue = place.open().await;
    publish(&queue, 0..1).await;
    let mut consumer = queue.consume(Source::Events, BATCH);
    let batch = consumer.next_batch().await.unwrap();
    assert_eq!(batch.events.len(), 1, "it does not wait for more");
    consumer.ack(batch).await.unwrap();

    publish(&queue, 1..400).await;
    let mut largest = 0;
    let mut taken = 1;
    while taken < 400 {
        let batch = tokio::time::timeout(DEADLINE, consumer.next_batch()).await.unwrap().unwrap();
        assert!(batch.events.len() <= BATCH.get());
        largest = largest.max(batch.events.len());
        taken += batch.events.len();
        consumer.ack(batch).await.unwrap();
    }
    assert!(largest > 10, "it grows with what waits: {largest}");
}

async fn two_consumers_share_without_losing_or_doubling(place: Place) {
    let queue = place.open().await;
    publish(&queue, 0..600).await;
    let consumers = [queue.consume(Source::Events, BATCH), queue.consume(Source::Events, BATCH)];
    let taken = tokio::sync::Mutex::new(Vec::new());
    let drain = async |mut consumer: Consumer| {
        while taken.lock().await.len() < 600 {
            // The other may take the last one.
            let Ok(batch) = tokio::time::timeout(Duration::from_millis(200), consumer.next_batch()).await else {
                continue;
            };
            let batch = batch.unwrap();
            taken.lock().await.extend(batch.events.iter().map(|event| event.id().to_string()));
            consumer.ack(batch).await.unwrap();
        }
    };
    let [one, two] = consumers;
    tokio::join!(drain(one), drain(two));
    let taken = taken.into_inner();
    assert_eq!(taken.len(), 600);
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), ids(0..600));
}

async fn waiting_may_be_cancelled_at_any_time(place: Place) {
    let queue = place.open().await;
    let mut consumer = queue.consume(Source::Events, BATCH);
    let publishing = publish(&queue, 0..300);
    let taking = async {
        let mut taken = Vec::new();
        let mut turn = 0_u64;
        while taken.len() < 300 {
            turn += 1;
            let patience = Duration::from_micros(50 + turn * 37 % 900);
            let Ok(batch) = tokio::time::timeout(patience, consumer.next_batch()).await else { continue };
            let batch = batch.unwrap();
            taken.extend(batch.events.iter().map(|event| event.id().to_string()));
            consumer.ack(batch).await.unwrap();
        }
        taken
    };
    let ((), taken) = tokio::time::timeout(DEADLINE, async { tokio::join!(publishing, taking) }).await.unwrap();
    assert_eq!(taken.len(), 300);
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), ids(0..300));
}

async fn a_stop_hands_out_the_rest_and_then_nothing(place: Place) {
    let queue = place.open().await;
    publish(&queue, 0..120).await;
    let mut consumer = queue.consume(Source::Events, BATCH);
    let first = consumer.next_batch().await.unwrap();
    let mut taken: Vec<_> = first.events.iter().map(|event| event.id().to_string()).collect();
    consumer.ack(first).await.unwrap();
    consumer.stop().await;
    while let Some(batch) = tokio::time::timeout(DEADLINE, consumer.next_batch()).await.unwrap() {
        taken.extend(batch.events.iter().map(|event| event.id().to_string()));
        consumer.ack(batch).await.unwrap();
    }
    assert!(consumer.next_batch().await.is_none(), "it stays stopped");
    // What it did not hand out is there for the next one, and nothing comes twice.
    let mut next = queue.consume(Source::Events, BATCH);
    let left = 120 - taken.len();
    taken.extend(take(&mut next, left, true).await);
    assert_eq!(taken.len(), 120);
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), ids(0..120));
}

async fn an_acknowledgement_of_another_life_does_no_harm(place: Place) {
    let queue = place.open().await;
    publish(&queue, 0..30).await;
    let mut first = queue.consume(Source::Events, BATCH);
    let old = first.next_batch().await.unwrap();
    let old_ids: BTreeSet<_> = old.events.iter().map(|event| event.id().to_string()).collect();
    drop(first);
    let mut second = queue.consume(Source::Events, BATCH);
    if matches!(place, Place::RabbitMq(_)) {
        // Its channel is gone: the events come again to another, whose own life the old receipt must not touch.
        assert!(second.ack(old).await.is_err());
        let taken: BTreeSet<_> = take(&mut second, 30, true).await.into_iter().collect();
        assert_eq!(taken, ids(0..30));
    } else {
        // Rows have no life but their own: this acknowledges them.
        second.ack(old).await.unwrap();
        let left = take(&mut second, 30 - old_ids.len(), true).await;
        assert!(left.iter().all(|id| !old_ids.contains(id)));
    }
}

async fn depth_counts_what_waits(place: Place) {
    let queue = place.open().await;
    assert_eq!(queue.depth().await.unwrap(), 0);
    publish(&queue, 0..70).await;
    until("70 wait", async || queue.depth().await.is_ok_and(|depth| depth == 70)).await;
    let mut consumer = queue.consume(Source::Events, BATCH);
    take(&mut consumer, 70, true).await;
    until("none waits", async || queue.depth().await.is_ok_and(|depth| depth == 0)).await;
}

async fn a_closed_queue_promises_nothing(place: Place) {
    let queue = place.open().await;
    queue.close().await;
    assert_eq!(queue.publish(update("msg_1", "user_1", 1)).await, Err(PublishError::Unavailable));
    assert!(queue.ready().is_err());
}
