//! A queue of its own, of either arm, and the events that go through it.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use clerk_sync::clerk::{EventId, EventType, SignedEvent, Timestamp};
use clerk_sync::queue::{self, Batch, Consumer, ConsumerOptions, PublishError, Queue, Source};
use futures_util::FutureExt;
use tokio::time::timeout;

use super::app::tempdir::TempDir;
use super::app::{DEADLINE, until};
use super::broker::{self, Namespace};

/// Time enough for what should not come.
pub const QUIET: Duration = Duration::from_millis(300);

/// Where one test's queue lies. Every queue that is opened here is closed at the end, however the
/// test ends, before what it made is deleted: an open one would declare it again.
pub struct Arm {
    place: Place,
    opened: Mutex<Vec<Queue>>,
}

enum Place {
    RabbitMq(Namespace),
    Embedded(TempDir),
}

impl Arm {
    pub async fn rabbitmq(test: impl AsyncFnOnce(&Self)) {
        Self::run(Place::RabbitMq(Namespace::new()), test).await;
    }

    pub async fn embedded(test: impl AsyncFnOnce(&Self)) {
        Self::run(Place::Embedded(TempDir::new()), test).await;
    }

    async fn run(place: Place, test: impl AsyncFnOnce(&Self)) {
        let arm = Self {
            place,
            opened: Mutex::default(),
        };
        let outcome = AssertUnwindSafe(test(&arm)).catch_unwind().await;
        let opened = std::mem::take(&mut *arm.opened.lock().unwrap());
        for queue in opened {
            queue.close().await;
        }
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    }

    pub async fn open(&self) -> Queue {
        match &self.place {
            Place::RabbitMq(_) => self.open_at(&broker::url()).await,
            Place::Embedded(directory) => {
                let path = directory.path().join("queue.db");
                self.open_with(queue::Options::Embedded(queue::embedded::Options { path }))
                    .await
            }
        }
    }

    /// The same namespace by way of another URL.
    pub async fn open_at(&self, url: &str) -> Queue {
        let namespace = self.namespace().name().to_owned();
        let address = url.parse().unwrap();
        self.open_with(queue::Options::RabbitMq(queue::rabbitmq::Options {
            address,
            namespace,
        }))
        .await
    }

    async fn open_with(&self, options: queue::Options) -> Queue {
        let queue = Queue::open(&options).await.unwrap();
        self.opened.lock().unwrap().push(queue.clone());
        queue
    }

    pub fn namespace(&self) -> &Namespace {
        match &self.place {
            Place::RabbitMq(namespace) => namespace,
            Place::Embedded(_) => panic!("the embedded queue has no namespace"),
        }
    }
}

/// A small event; its ID says which one.
pub fn event(id: &str) -> SignedEvent {
    event_with(
        id,
        EventType::named("user.updated"),
        format!(r#"{{"type":"user.updated","n":"{id}"}}"#).into(),
    )
}

pub fn event_with(id: &str, event_type: EventType, body: Bytes) -> SignedEvent {
    // Svix sends whole seconds; we receive at any millisecond.
    let sent_at = Timestamp::from_ms(1_795_172_400_000).unwrap();
    let received_at = Timestamp::from_ms(1_795_172_401_234).unwrap();
    SignedEvent::restored(
        EventId::new(id).unwrap(),
        event_type,
        sent_at,
        received_at,
        body,
    )
}

pub fn ids(batch: &Batch) -> Vec<String> {
    batch
        .events
        .iter()
        .map(|event| event.id().to_string())
        .collect()
}

/// `PREFIX_0` to `PREFIX_{count-1}`.
pub fn names(prefix: &str, count: usize) -> BTreeSet<String> {
    (0..count).map(|n| format!("{prefix}_{n}")).collect()
}

/// Publishes until the event is taken, as Svix would: a busy RabbitMQ takes its time to let us in,
/// and now and then refuses an event that there is room for; nothing is promised then, and the next
/// try is taken.
pub async fn publish(queue: &Queue, event: SignedEvent) {
    let taken = async {
        while let Err(error) = queue.publish(event.clone()).await {
            assert!(
                matches!(error, PublishError::Refused | PublishError::Unavailable),
                "{error}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, taken)
        .await
        .expect("the event is taken in time");
}

pub async fn publish_all<'a>(queue: &Queue, ids: impl IntoIterator<Item = &'a String>) {
    futures_util::future::join_all(
        ids.into_iter()
            .map(async |id| publish(queue, event(id)).await),
    )
    .await;
}

/// One batch in flight.
pub fn taking(batch_max: usize) -> ConsumerOptions {
    ConsumerOptions {
        batch_max: NonZeroUsize::new(batch_max).unwrap(),
        batches: NonZeroUsize::MIN,
    }
}

pub fn consumer(queue: &Queue, batch_max: usize) -> Consumer {
    queue.consume(Source::Events, taking(batch_max))
}

/// The next batch, which must come.
pub async fn next(consumer: &mut Consumer) -> Batch {
    let batch = timeout(DEADLINE, consumer.next_batch())
        .await
        .expect("a batch comes in time");
    batch.expect("the consumer has not ended")
}

/// Takes and acknowledges until `count` different events were there. Every ID, as often as it came.
pub async fn drain(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.iter().collect::<BTreeSet<_>>().len() < count {
        let batch = next(consumer).await;
        seen.extend(ids(&batch));
        consumer.ack(batch).await.unwrap();
    }
    seen
}

/// Asserts that nothing waits: what should not be there has had time to come.
pub async fn assert_nothing_comes(consumer: &mut Consumer) {
    if let Ok(Some(batch)) = timeout(QUIET, consumer.next_batch()).await {
        panic!("nothing should come, but {:?} came", ids(&batch));
    }
}

pub async fn ready(queue: &Queue) {
    until("the queue is ready", async || queue.ready().is_ok()).await;
}

/// Returns why the queue is not ready, or `ready`.
pub fn reason(queue: &Queue) -> String {
    queue
        .ready()
        .map_or_else(|reason| reason.to_string(), |()| "ready".into())
}
