//! A panic in the code that reads one event, with the whole worker on real files.

use bytes::Bytes;

use super::plan::BUG;
use super::*;
use crate::clerk::{EventId, EventType, SignedEvent, Timestamp};
use crate::queue::{self, embedded};
use crate::store::{self, EventRow, Keep, Status as EventStatus};

fn event(id: &str) -> SignedEvent {
    let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
    let body = format!(
        r#"{{"data":{{"id":"user_of_{id}","private_metadata":{{}},"updated_at":1795172400000}},"type":"user.updated"}}"#
    );
    SignedEvent::restored(
        EventId::new(id).unwrap(),
        EventType::named("user.updated"),
        at,
        at,
        Bytes::from(body),
    )
}

async fn row(store: &Store, id: &str) -> EventRow {
    for _ in 0..600 {
        if let Some(row) = store.event(&EventId::new(id).unwrap()).await.unwrap() {
            return row;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{id} is never recorded")
}

/// A worker, and six events that are queued before it starts, so that they are one batch. The code
/// panics at one of them.
struct Buggy {
    directory: std::path::PathBuf,
    queue: Queue,
    store: Store,
    status: Status,
    shutdown: Shutdown,
    working: tokio::task::JoinHandle<()>,
}

impl Buggy {
    async fn start(name: &str, omitted: OmittedFields) -> Self {
        let directory =
            std::env::temp_dir().join(format!("clerk-sync-worker-{name}-{}", std::process::id()));
        let options = queue::Options::Embedded(embedded::Options {
            path: directory.join("queue.db"),
        });
        let queue = Queue::open(&options).await.unwrap();
        let options = store::sqlite::Options {
            path: directory.join("users.db"),
            keep: Keep::default(),
            change_feed: false,
        };
        let store = Store::open(&store::Options::Sqlite(options)).unwrap();
        store.migrate().await.unwrap();
        for id in Self::IDS {
            queue.publish(event(id)).await.unwrap();
        }
        let (shutdown, status) = (Shutdown::default(), Status::default());
        assert!(status.subscribe().borrow().is_some(), "it has not started");
        let options = Options {
            batch_max: NonZeroUsize::new(100).unwrap(),
            concurrency: NonZeroUsize::MIN,
            hold_max: HOLD_MAX,
            omitted,
            retention: None,
            change_retention: None,
        };
        let working = tokio::spawn(run(
            queue.clone(),
            store.clone(),
            options,
            "a test",
            status.clone(),
            shutdown.clone(),
        ));
        Self {
            directory,
            queue,
            store,
            status,
            shutdown,
            working,
        }
    }

    const IDS: [&str; 6] = ["msg_0", "msg_1", "msg_2", BUG, "msg_4", "msg_5"];

    /// Asserts that the event with the bug fails alone and the worker continues. Returns the row of
    /// that event.
    async fn fails_one(self) -> EventRow {
        for id in Self::IDS {
            let row = row(&self.store, id).await;
            let expected = if id == BUG {
                (EventStatus::Failed, Some("panicked"))
            } else {
                (EventStatus::Applied, None)
            };
            assert_eq!((row.status, row.error_code.as_deref()), expected, "{id}");
        }
        self.queue.publish(event("msg_later")).await.unwrap();
        assert_eq!(
            row(&self.store, "msg_later").await.status,
            EventStatus::Applied,
            "the worker continues"
        );
        assert_eq!(*self.status.subscribe().borrow(), None, "it applies");
        let failed = row(&self.store, BUG).await;
        self.shutdown.request();
        self.working.await.unwrap();
        self.queue.close().await;
        self.store.close().await;
        std::fs::remove_dir_all(self.directory).unwrap();
        failed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_an_event_is_parsed_fails_that_event_alone() {
    let worker = Buggy::start("parsing", OmittedFields::default()).await;
    assert!(
        worker.fails_one().await.payload.is_some(),
        "it can be replayed by a version that has no such bug"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_stores_no_omitted_field() {
    let omitted = OmittedFields::parse("private_metadata").unwrap();
    let failed = Buggy::start("omitting", omitted).await.fails_one().await;
    let payload = String::from_utf8(failed.payload.unwrap()).unwrap();
    assert!(
        payload.contains("updated_at") && !payload.contains("private_metadata"),
        "{payload}"
    );
}
