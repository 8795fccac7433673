//! The contract of the embedded queue, on real files. Faults are in `faults`, refusals at opening
//! in `opening`, crashes in `crash_guard`.

mod crash_guard;
mod faults;
mod opening;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::task::JoinSet;

use super::*;
use crate::clerk::{EventId, EventType, Timestamp};
use crate::queue::batch::{Batch, Lease as BatchLease};

/// How long a condition may take to come true on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A directory of one test's own, gone at its end.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("clerk-sync-queue-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("queue.db")
    }

    pub(super) async fn open(&self) -> Queue {
        Queue::open(&Options { path: self.file() }).await.unwrap()
    }

    /// A connection of another program's to the same file.
    pub(super) async fn stranger(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.file())
            .create_if_missing(true)
            .connect()
            .await
            .unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(super) fn event(id: &str) -> SignedEvent {
    event_of(
        id,
        Bytes::from(format!(
            r#"{{"type":"user.updated","data":{{"id":"user_{id}"}}}}"#
        )),
    )
}

pub(super) fn event_of(id: &str, body: Bytes) -> SignedEvent {
    let at = |ms| Timestamp::from_ms(ms).unwrap();
    let (sent_at, received_at) = (at(1_700_000_000_000), at(1_700_000_000_123));
    SignedEvent::restored(
        EventId::new(id).unwrap(),
        EventType::named("user.updated"),
        sent_at,
        received_at,
        body,
    )
}

pub(super) fn consumer(queue: &Queue, batch_max: usize) -> Consumer {
    queue.consume(Source::Events, NonZeroUsize::new(batch_max).unwrap())
}

pub(super) async fn next(consumer: &mut Consumer) -> Batch {
    tokio::time::timeout(DEADLINE, consumer.next_batch())
        .await
        .expect("a batch in time")
        .expect("not stopped")
}

pub(super) async fn ack(consumer: &mut Consumer, batch: Batch) -> Result<(), Unavailable> {
    match batch.lease {
        BatchLease::Embedded(lease) => consumer.ack(lease).await,
        BatchLease::RabbitMq(_) => unreachable!(),
    }
}

pub(super) fn ids(batch: &Batch) -> Vec<&str> {
    batch
        .events
        .iter()
        .map(|event| event.id().as_str())
        .collect()
}

/// Takes and acknowledges all that is there; says how often each ID came.
pub(super) async fn drain(queue: &Queue, batch_max: usize) -> BTreeMap<String, u32> {
    let mut consumer = consumer(queue, batch_max);
    let mut seen = BTreeMap::new();
    while queue.depth().await.unwrap() > 0 {
        let batch = next(&mut consumer).await;
        for id in ids(&batch) {
            *seen.entry(id.to_owned()).or_default() += 1;
        }
        ack(&mut consumer, batch).await.unwrap();
    }
    seen
}

/// Waits until a condition holds.
pub(super) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_event_comes_out_as_it_went_in() {
    let place = Place::new();
    let queue = place.open().await;
    let at = |ms| Timestamp::from_ms(ms).unwrap();
    let sent = [
        (
            "msg_text",
            EventType::named("user.created"),
            1,
            Bytes::from_static(b"{\"type\":\"user.created\"}"),
        ),
        (
            "msg_empty",
            EventType::Unreadable,
            253_402_300_799_999,
            Bytes::new(),
        ),
        (
            "msg_bytes",
            EventType::Unreadable,
            2,
            Bytes::from_static(b"\xff\x00\xfe'\""),
        ),
        (
            "msg_other",
            EventType::Other("user.renamed \u{e9}".into()),
            3,
            Bytes::from(vec![b'x'; 1024 * 1024]),
        ),
    ];
    for (id, event_type, ms, body) in &sent {
        let id = EventId::new(id).unwrap();
        let event = SignedEvent::restored(
            id,
            event_type.clone(),
            at(*ms),
            at(1_700_000_000_123),
            body.clone(),
        );
        queue.publish(event).await.unwrap();
    }
    assert_eq!(queue.depth().await.unwrap(), 4);

    let mut consumer = consumer(&queue, 10);
    let batch = next(&mut consumer).await;
    assert_eq!(batch.events.len(), 4);
    for (event, (id, event_type, ms, body)) in batch.events.iter().zip(&sent) {
        assert_eq!(event.id().as_str(), *id);
        assert_eq!(event.event_type(), event_type);
        assert_eq!(
            (event.sent_at(), event.received_at()),
            (at(*ms), at(1_700_000_000_123))
        );
        assert_eq!(event.body(), body);
    }
    assert_eq!(
        queue.depth().await.unwrap(),
        4,
        "what is not acknowledged still waits"
    );
    ack(&mut consumer, batch).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);

    queue.publish(event("msg_later")).await.unwrap();
    assert_eq!(
        ids(&next(&mut consumer).await),
        ["msg_later"],
        "what was acknowledged does not come again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_senders_and_four_consumers_lose_and_repeat_nothing() {
    let place = Place::new();
    let queue = place.open().await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut consumers = JoinSet::new();
    for batch_max in [1, 7, 64, 500] {
        let (mut consumer, acknowledged) = (consumer(&queue, batch_max), acknowledged.clone());
        consumers.spawn(async move {
            while let Some(batch) = consumer.next_batch().await {
                assert!((1..=batch_max).contains(&batch.events.len()));
                let taken: Vec<String> = ids(&batch).into_iter().map(String::from).collect();
                ack(&mut consumer, batch).await.unwrap();
                acknowledged.lock().unwrap().extend(taken);
            }
        });
    }
    let mut senders = JoinSet::new();
    for number in 0..1000 {
        let queue = queue.clone();
        senders.spawn(async move { queue.publish(event(&format!("msg_{number:03}"))).await });
    }
    assert!(
        senders
            .join_all()
            .await
            .into_iter()
            .all(|published| published.is_ok())
    );
    until("all are acknowledged", async || {
        acknowledged.lock().unwrap().len() >= 1000
    })
    .await;
    assert_eq!(queue.depth().await.unwrap(), 0);

    tokio::time::timeout(DEADLINE, queue.close()).await.unwrap();
    consumers.join_all().await;
    let mut taken = acknowledged.lock().unwrap().clone();
    taken.sort();
    assert_eq!(
        taken,
        (0..1000)
            .map(|number| format!("msg_{number:03}"))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_batch_that_is_dropped_comes_again_before_what_is_new() {
    let place = Place::new();
    let queue = place.open().await;
    for id in ["a", "b", "c", "d"] {
        queue.publish(event(id)).await.unwrap();
    }
    let (mut first, mut second) = (consumer(&queue, 3), consumer(&queue, 2));
    let batch = next(&mut first).await;
    assert_eq!(ids(&batch), ["a", "b", "c"]);
    drop(batch);
    let again = next(&mut second).await;
    assert_eq!(ids(&again), ["a", "b"]);
    let rest = next(&mut first).await;
    assert_eq!(ids(&rest), ["c"]);
    let new = next(&mut first).await;
    assert_eq!(ids(&new), ["d"]);
    for batch in [new, rest, again] {
        ack(&mut second, batch).await.unwrap();
    }
    assert_eq!(queue.depth().await.unwrap(), 0);

    // A waiting consumer gets what another one returns.
    queue.publish(event("e")).await.unwrap();
    let held = next(&mut first).await;
    let (batch, ()) = tokio::join!(next(&mut second), async {
        tokio::task::yield_now().await;
        drop(held);
    });
    assert_eq!(ids(&batch), ["e"]);
}

/// Drops the call when it has not ended after so many polls, wherever it waits then.
async fn poll_at_most<T>(polls: u32, call: impl Future<Output = T>) -> Option<T> {
    let (mut call, mut left) = (std::pin::pin!(call), polls);
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => {
            left -= 1;
            if left == 0 {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_cancelled_at_any_point_lose_and_repeat_nothing() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::new();
    let queue = place.open().await;
    let publishing = tokio::spawn({
        let queue = queue.clone();
        async move {
            for number in 0..400 {
                queue
                    .publish(event(&format!("msg_{number:03}")))
                    .await
                    .unwrap();
            }
        }
    });
    let mut consumer = consumer(&queue, 5);
    let (mut taken, mut cancelled, start): (Vec<String>, u32, _) = (Vec::new(), 0, Instant::now());
    while taken.len() < 400 {
        assert!(
            start.elapsed() < DEADLINE,
            "{} of 400 after {cancelled} cancelled calls",
            taken.len()
        );
        let batch = match poll_at_most(random.random_range(1..4), consumer.next_batch()).await {
            Some(batch) => batch.unwrap(),
            None => {
                cancelled += 1;
                if random.random_bool(0.5) {
                    continue;
                }
                next(&mut consumer).await
            }
        };
        if random.random_bool(0.2) {
            drop(batch);
            continue;
        }
        taken.extend(ids(&batch).into_iter().map(String::from));
        ack(&mut consumer, batch).await.unwrap();
    }
    publishing.await.unwrap();
    println!("{cancelled} calls were cancelled");
    assert!(
        cancelled >= 10,
        "too few calls were cancelled to show anything"
    );
    taken.sort();
    assert_eq!(
        taken,
        (0..400)
            .map(|number| format!("msg_{number:03}"))
            .collect::<Vec<_>>()
    );
    assert_eq!(queue.depth().await.unwrap(), 0);
}

#[tokio::test]
async fn a_read_goes_on_when_its_call_is_dropped() {
    let place = Place::new();
    let queue = place.open().await;
    let (mut first, mut second) = (consumer(&queue, 5), consumer(&queue, 5));
    queue.publish(event("a")).await.unwrap();
    assert!(poll_at_most(1, first.next_batch()).await.is_none());
    until("the row is read", async || {
        queue.shared.in_flight.cursor() > 0
    })
    .await;
    assert!(
        poll_at_most(3, second.next_batch()).await.is_none(),
        "it is with the first"
    );
    let batch = next(&mut first).await;
    assert_eq!(ids(&batch), ["a"]);
    ack(&mut first, batch).await.unwrap();

    queue.publish(event("b")).await.unwrap();
    assert!(poll_at_most(1, first.next_batch()).await.is_none());
    first.stop().await;
    assert_eq!(
        ids(&next(&mut second).await),
        ["b"],
        "a consumer that is stopped keeps nothing"
    );
}

#[tokio::test]
async fn a_stopped_consumer_takes_nothing_and_a_source_that_is_not_there_has_nothing() {
    let place = Place::new();
    let queue = place.open().await;
    queue.publish(event("a")).await.unwrap();
    let mut stopped = consumer(&queue, 5);
    let held = next(&mut stopped).await;
    queue.publish(event("b")).await.unwrap();
    stopped.stop().await;
    assert!(stopped.next_batch().await.is_none());
    ack(&mut stopped, held).await.unwrap();
    assert_eq!(
        drain(&queue, 5).await.into_keys().collect::<Vec<_>>(),
        ["b"]
    );

    let one = NonZeroUsize::new(1).unwrap();
    assert!(
        queue
            .consume(Source::DeadLetters, one)
            .next_batch()
            .await
            .is_none()
    );
    assert!(
        queue
            .consume(Source::Unrouted, one)
            .next_batch()
            .await
            .is_none()
    );
    assert_eq!(
        crate::queue::Queue::Embedded(queue).secondary_sources(),
        [Source::DeadLetters]
    );
}

#[tokio::test]
async fn a_batch_of_large_bodies_is_cut_before_it_fills_the_memory() {
    const MIB: usize = 1024 * 1024;
    let place = Place::new();
    let queue = place.open().await;
    let sent: Vec<String> = (0..20).map(|number| format!("msg_{number:02}")).collect();
    for id in &sent {
        queue
            .publish(event_of(id, Bytes::from(vec![b'x'; MIB])))
            .await
            .unwrap();
    }
    let mut consumer = consumer(&queue, 500);
    let batches = [next(&mut consumer).await, next(&mut consumer).await];
    assert_eq!(batches.each_ref().map(|batch| batch.events.len()), [8, 8]);
    drop(batches);
    let again = next(&mut consumer).await;
    assert_eq!(again.events.len(), 8);
    ack(&mut consumer, again).await.unwrap();
    assert_eq!(
        drain(&queue, 500).await.into_keys().collect::<Vec<_>>(),
        sent[8..]
    );
}
