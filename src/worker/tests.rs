//! A bug of ours in reading one event, shown by a worker whose reading has one: on real files, through the whole loop.

use std::borrow::Cow;

use bytes::Bytes;

use super::*;
use crate::clerk::{EventId, EventType, SignedEvent, Timestamp};
use crate::queue::{self, embedded};
use crate::store::{self, EventRow, Keep, Status as EventStatus, Write};

/// What kills the thread that reads it, unless that is caught.
const BUG: &str = "msg_3";

fn with_a_bug(events: &[SignedEvent]) -> Write {
    assert!(
        events.iter().all(|event| event.id().as_str() != BUG),
        "a bug, shown by a test"
    );
    plan::plan(events)
}

fn event(id: &str) -> SignedEvent {
    let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
    let body = format!(
        r#"{{"data":{{"id":"user_of_{id}","updated_at":1795172400000}},"type":"user.updated"}}"#
    );
    SignedEvent::restored(
        EventId::new(id).unwrap(),
        EventType::named("user.updated"),
        at,
        at,
        Bytes::from(body),
    )
}

async fn line(store: &Store, id: &str) -> EventRow {
    for _ in 0..600 {
        if let Some(line) = store.event(&EventId::new(id).unwrap()).await.unwrap() {
            return line;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{id} is never settled")
}

/// A worker whose code has a bug, and six events that are there before it is, so that they are one batch.
struct Buggy {
    directory: std::path::PathBuf,
    queue: Queue,
    store: Store,
    status: Status,
    shutdown: Shutdown,
    working: tokio::task::JoinHandle<()>,
}

impl Buggy {
    async fn start(name: &str, with_bug: impl FnOnce(Settler) -> Settler) -> Self {
        let directory =
            std::env::temp_dir().join(format!("clerk-sync-worker-{name}-{}", std::process::id()));
        let options = queue::Options::Embedded(embedded::Options {
            path: directory.join("queue.db"),
        });
        let queue = Queue::open(&options).await.unwrap();
        let options = store::sqlite::Options {
            path: directory.join("users.db"),
            keep: Keep::default(),
        };
        let store = Store::open(&store::Options::Sqlite(options)).unwrap();
        store.migrate().await.unwrap();
        for number in 0..6 {
            queue
                .publish(event(&format!("msg_{number}")))
                .await
                .unwrap();
        }
        let (shutdown, status) = (Shutdown::default(), Status::default());
        let settler = with_bug(Settler {
            store: store.clone(),
            source: Source::Events,
            queue: queue.clone(),
            omitted: OmittedFields::default(),
            hold_max: HOLD_MAX,
            claims: Claims::default(),
            outage: Outage::default(),
            omitting: |omitted, events| events.iter().map(|event| event.without(omitted)).collect(),
            reading: plan::plan,
            status: status.clone(),
            shutdown: shutdown.clone(),
        });
        assert!(status.subscribe().borrow().is_some(), "it has not started");
        let drain = Drain::new(
            queue.clone(),
            settler,
            NonZeroUsize::new(100).unwrap(),
            NonZeroUsize::MIN,
        );
        let working = tokio::spawn(drain.run_through_panics());
        Self {
            directory,
            queue,
            store,
            status,
            shutdown,
            working,
        }
    }

    /// The event that meets the bug fails alone, and the worker works on; the line of that event.
    async fn fails_one(self) -> EventRow {
        for number in 0..6 {
            let id = format!("msg_{number}");
            let line = line(&self.store, &id).await;
            let expected = if id == BUG {
                (EventStatus::Failed, Some("panicked"))
            } else {
                (EventStatus::Applied, None)
            };
            assert_eq!((line.status, line.error_code.as_deref()), expected, "{id}");
        }
        self.queue.publish(event("msg_later")).await.unwrap();
        assert_eq!(
            line(&self.store, "msg_later").await.status,
            EventStatus::Applied,
            "the worker works on"
        );
        assert_eq!(*self.status.subscribe().borrow(), None, "it applies");
        let failed = line(&self.store, BUG).await;
        self.shutdown.request();
        self.working.await.unwrap();
        self.queue.close().await;
        self.store.close().await;
        std::fs::remove_dir_all(self.directory).unwrap();
        failed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_the_event_that_it_met_and_the_worker_works_on() {
    let worker = Buggy::start("reading", |settler| Settler {
        reading: with_a_bug,
        ..settler
    })
    .await;
    assert!(
        worker.fails_one().await.payload.is_some(),
        "it can be replayed by a version that has no such bug"
    );
}

fn omitting_with_a_bug<'a>(
    omitted: &OmittedFields,
    events: &'a [SignedEvent],
) -> Cow<'a, [SignedEvent]> {
    with_a_bug(events);
    events.iter().map(|event| event.without(omitted)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_fields_are_omitted_fails_one_event_and_stores_none_of_its_fields() {
    let omitted = OmittedFields::parse("private_metadata").unwrap();
    let with_bug = |settler| Settler {
        omitted,
        omitting: omitting_with_a_bug,
        ..settler
    };
    let failed = Buggy::start("omitting", with_bug).await.fails_one().await;
    assert_eq!(
        failed.payload.as_deref(),
        Some(&b""[..]),
        "what is omitted is never stored"
    );
    assert!(
        failed.error.unwrap().contains("reconcile --fix"),
        "and the row can be repaired"
    );
}
