//! The promises of the embedded queue, on real files. Faults are in `faults`, refusals at opening in `opening`,
//! processes that die in `session`.

mod crash_guard;
mod faults;
mod opening;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
use crate::queue::Batch;

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

/// The writer's code meets a bug at this event.
const BUG: &str = "msg_that_meets_a_bug";

pub(super) fn meet_a_bug(event: &SignedEvent) {
    assert!(event.id().as_str() != BUG, "a bug, shown by a test");
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
    match batch.receipt {
        crate::queue::Receipt::Embedded(receipt) => consumer.ack(receipt).await,
        crate::queue::Receipt::RabbitMq(_) => unreachable!(),
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

    // A consumer that waits gets what another one gives back.
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
    until("the row is read", async || queue.shared.ledger.cursor() > 0).await;
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
async fn what_was_not_acknowledged_is_there_after_a_restart_without_a_close() {
    let place = Place::new();
    {
        let queue = place.open().await;
        for number in 0..20 {
            queue
                .publish(event(&format!("msg_{number:02}")))
                .await
                .unwrap();
        }
        let mut consumer = consumer(&queue, 5);
        let [done, held] = [next(&mut consumer).await, next(&mut consumer).await];
        ack(&mut consumer, done).await.unwrap();
        std::mem::forget(held);
    }
    let queue = place.open().await;
    assert_eq!(queue.depth().await.unwrap(), 15);
    let seen = drain(&queue, 100).await;
    assert_eq!(
        seen,
        (5..20)
            .map(|number| (format!("msg_{number:02}"), 1))
            .collect()
    );

    // Numbers of deleted rows are not given again, or a cursor would pass over new rows.
    queue.publish(event("msg_new")).await.unwrap();
    assert_eq!(drain(&queue, 100).await.len(), 1);
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
async fn a_close_writes_what_waits_and_leaves_one_file() {
    let place = Place::new();
    let queue = place.open().await;
    let mut holder = consumer(&queue, 1);
    queue.publish(event("held")).await.unwrap();
    let held = next(&mut holder).await;
    let mut waiting = consumer(&queue, 1);
    let publishes =
        (0..50).map(|number| queue.publish(event_of(&format!("msg_{number}"), Bytes::new())));
    let (published, (), ()) = tokio::join!(
        futures_util::future::join_all(publishes),
        queue.close(),
        queue.close()
    );
    assert!(published.iter().all(Result::is_ok), "{published:?}");
    assert!(waiting.next_batch().await.is_none());
    assert_eq!(
        queue.publish(event("late")).await,
        Err(PublishError::Unavailable)
    );
    assert!(queue.ready().is_err());
    assert!(queue.depth().await.is_err());
    assert!(ack(&mut holder, held).await.is_err());
    let left: Vec<_> = std::fs::read_dir(&place.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["queue.db"]);

    let seen = drain(&place.open().await, 500).await;
    assert_eq!(seen.len(), 51, "the held one and the fifty");
}

#[tokio::test]
async fn another_process_may_publish_into_the_file() {
    let place = Place::new();
    let [serving, replaying] = [place.open().await, place.open().await];
    let mut consumer = consumer(&serving, 500);
    for round in 0..3 {
        let sent: Vec<String> = (0..40)
            .map(|number| format!("msg_{round}_{number:02}"))
            .collect();
        let both = sent.iter().enumerate().map(|(number, id)| {
            let queue = if number % 2 == 0 {
                &serving
            } else {
                &replaying
            };
            queue.publish(event(id))
        });
        let mut taken = Vec::new();
        let take = async {
            while taken.len() < sent.len() {
                let batch = next(&mut consumer).await;
                taken.extend(ids(&batch).into_iter().map(String::from));
                ack(&mut consumer, batch).await.unwrap();
            }
        };
        let (published, ()) = tokio::join!(futures_util::future::join_all(both), take);
        assert!(published.iter().all(Result::is_ok), "{published:?}");
        taken.sort();
        assert_eq!(taken, sent);
    }
    assert_eq!(serving.depth().await.unwrap(), 0);
    replaying.close().await;
    serving.publish(event("after")).await.unwrap();
    assert_eq!(ids(&next(&mut consumer).await), ["after"]);
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

/// The child publishes and says of each event when it was promised; the parent kills it in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_was_promised() {
    const CHILD: &str = "CLERK_SYNC_TEST_PUBLISH_INTO";
    if let Some(path) = std::env::var_os(CHILD) {
        return publish_for_ever(Path::new(&path)).await;
    }
    let place = Place::new();
    let mut promised = BTreeSet::new();
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "queue::embedded::tests::a_kill_loses_nothing_that_was_promised",
                "--nocapture",
            ])
            .env(CHILD, place.file())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let before = promised.len();
        // Other lines come from the test harness, the first one perhaps before the first event on one line.
        let promise = |line: String| line.split_once("promised ").map(|(_, id)| id.to_owned());
        promised.extend(lines.by_ref().filter_map(promise).take(300));
        child.kill().unwrap();
        child.wait().unwrap();
        promised.extend(lines.filter_map(promise));
        assert!(
            promised.len() >= before + 300,
            "round {round}: only {} promises",
            promised.len() - before
        );
    }
    let queue = place.open().await;
    let stored: BTreeSet<String> = drain(&queue, 500).await.into_keys().collect();
    let lost: Vec<_> = promised.difference(&stored).collect();
    assert!(
        lost.is_empty(),
        "{} of {} are lost: {lost:?}",
        lost.len(),
        promised.len()
    );
}

async fn publish_for_ever(path: &Path) {
    let queue = Queue::open(&Options {
        path: path.to_owned(),
    })
    .await
    .unwrap();
    let mut senders = JoinSet::new();
    for sender in 0..16 {
        let queue = queue.clone();
        senders.spawn(async move {
            for number in 0.. {
                let id = format!("msg_{}_{sender}_{number}", std::process::id());
                queue.publish(event(&id)).await.unwrap();
                println!("promised {id}");
            }
        });
    }
    senders.join_all().await;
}
