//! A bug of ours in reading one event, shown by a worker whose reading has one: on real files, through the whole loop.

use bytes::Bytes;

use super::*;
use crate::clerk::{EventId, EventType, SignedEvent, Timestamp};
use crate::queue::{self, embedded};
use crate::store::{self, EventRow, Keep, Status, Write};

/// What kills the thread that reads it, unless that is caught.
const BUG: &str = "msg_3";

fn with_a_bug(events: &[SignedEvent]) -> Write {
    assert!(events.iter().all(|event| event.id().as_str() != BUG), "a bug, shown by a test");
    plan::plan(events)
}

fn event(id: &str) -> SignedEvent {
    let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
    let body = format!(r#"{{"data":{{"id":"user_of_{id}","updated_at":1795172400000}},"type":"user.updated"}}"#);
    SignedEvent::restored(EventId::new(id).unwrap(), EventType::UserUpdated, at, at, Bytes::from(body))
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

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_the_event_that_it_met_and_the_worker_works_on() {
    let directory = std::env::temp_dir().join(format!("clerk-sync-worker-{}", std::process::id()));
    let options = queue::Options::Embedded(embedded::Options { path: directory.join("queue.db") });
    let queue = Queue::open(&options).await.unwrap();
    let options = store::sqlite::Options { path: directory.join("users.db"), keep: Keep::default() };
    let store = Store::open(&store::Options::Sqlite(options)).unwrap();
    store.migrate().await.unwrap();
    // There before the worker is, so that they are one batch.
    for number in 0..6 {
        queue.publish(event(&format!("msg_{number}"))).await.unwrap();
    }
    let shutdown = Shutdown::default();
    let settler = Settler {
        store: store.clone(),
        source: Source::Events,
        queue: queue.clone(),
        omitted: OmittedFields::default(),
        hold_max: HOLD_MAX,
        claims: Claims::default(),
        outage: Outage::default(),
        reading: with_a_bug,
        shutdown: shutdown.clone(),
    };
    let drain = Drain::new(queue.clone(), settler, NonZeroUsize::new(100).unwrap(), NonZeroUsize::MIN);
    let working = tokio::spawn(drain.run_through_panics());
    for number in 0..6 {
        let id = format!("msg_{number}");
        let line = line(&store, &id).await;
        let expected = if id == BUG { (Status::Failed, Some("panicked")) } else { (Status::Applied, None) };
        assert_eq!((line.status, line.error_code.as_deref()), expected, "{id}");
    }
    assert!(line(&store, BUG).await.payload.is_some(), "it can be replayed by a version that has no such bug");
    queue.publish(event("msg_later")).await.unwrap();
    assert_eq!(line(&store, "msg_later").await.status, Status::Applied, "the worker works on");
    shutdown.request();
    working.await.unwrap();
    queue.close().await;
    store.close().await;
    std::fs::remove_dir_all(directory).unwrap();
}
