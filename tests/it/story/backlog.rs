//! A backlog of the largest bodies does not fill a worker's memory.

use clerk_sync::queue::{self, Queue};
use futures_util::{StreamExt, stream};

use crate::support::app::{App, Place, until};
use crate::support::broker;
use crate::support::history::{EPOCH_MS, event};

/// Enough to distinguish a worker with all of them in memory from one with a part.
const EVENTS: usize = 300;

/// As large as a receiver lets one be, less the rest of the body.
const METADATA_BYTES: usize = 1024 * 1024 - 1024;

/// Above what two batches that are written and what is sent ahead take (300 MiB were seen), below
/// all bodies besides (510 MiB).
const RESIDENT_MAX_MIB: usize = 400;

/// Most memory that the process has had at once.
fn peak_mib(app: &App) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", app.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("Linux says so");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        / 1024
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_large_bodies_is_applied_in_bounded_memory() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let namespace = place.namespace().name().to_owned();
    let options = queue::rabbitmq::Options {
        address: broker::url().parse().unwrap(),
        namespace,
    };
    let queue = Queue::open(&queue::Options::RabbitMq(options))
        .await
        .unwrap();
    let queue = &queue;
    let publishes = stream::iter(0..EVENTS).map(async |number| {
        let metadata = "x".repeat(METADATA_BYTES);
        let data =
            format!(r#"{{"id":"user_{number}","updated_at":{EPOCH_MS},"unsafe_metadata":{{"x":"{metadata}"}}}}"#);
        let body = format!(r#"{{"data":{data},"timestamp":{EPOCH_MS},"type":"user.updated"}}"#);
        let event = event(&format!("msg_{number}"), body);
        until("it is queued", async || queue.publish(event.clone()).await.is_ok()).await;
    });
    publishes.buffer_unordered(16).collect::<()>().await;

    let worker = place.start(&["worker"], &[]).await;
    for number in 0..EVENTS {
        worker.settled(&format!("msg_{number}")).await;
    }
    let peak = peak_mib(&worker);
    println!("{EVENTS} bodies of 1 MiB: {peak} MiB at most");
    assert!(
        peak < RESIDENT_MAX_MIB,
        "{peak} MiB for {EVENTS} bodies of 1 MiB"
    );
    assert!(worker.stop().success());
    queue.close().await;
}
