//! The wire between the program and RabbitMQ, broken: an alarm, silence, a cut, a close in the
//! middle.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clerk_sync::queue::PublishError;
use futures_util::future::join_all;

use crate::support::app::until;
use crate::support::broker;
use crate::support::queues::{Arm, event, names, publish, publish_all, ready, reason};
use crate::support::wire::Proxy;

/// Limit for an answer without a request to the broker. It takes microseconds; the rest is for a
/// loaded machine.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_fails_what_is_in_flight_and_keeps_the_connection() {
    Arm::rabbitmq(async |arm| {
        let proxy = Proxy::start().await;
        let queue = arm.open_at(&proxy.url()).await;
        publish(&queue, event("msg_before")).await;

        // In flight: the broker has it and its confirm is held back.
        proxy.hold();
        let in_flight = tokio::spawn({
            let queue = queue.clone();
            async move { queue.publish(event("msg_in_flight")).await }
        });
        until("the broker has it", async || {
            arm.namespace().ready("events").await == Some(2)
        })
        .await;
        let since = Instant::now();
        proxy.block("low on memory");
        assert_eq!(in_flight.await.unwrap(), Err(PublishError::Unavailable));
        assert!(since.elapsed() < AT_ONCE, "it took {:?}", since.elapsed());
        assert!(
            reason(&queue).contains("low on memory"),
            "{}",
            reason(&queue)
        );

        // For longer than a batch may take: every answer is at once, and the connection stays.
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        while since.elapsed() < Duration::from_secs(10) {
            let asked = Instant::now();
            assert_eq!(
                queue.publish(event("msg_blocked")).await,
                Err(PublishError::Unavailable)
            );
            assert!(asked.elapsed() < AT_ONCE, "it took {:?}", asked.elapsed());
            pace.tick().await;
        }
        assert_eq!(proxy.connections(), 1, "it connected again");

        proxy.unblock();
        proxy.release();
        ready(&queue).await;
        publish_all(&queue, &names("after", 50)).await;
        assert_eq!(proxy.connections(), 1, "the channels were not clean");
        assert!(
            !arm.namespace()
                .take_all("events")
                .await
                .contains(&"msg_blocked".into()),
            "it was never given to lapin"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_given_up_in_time() {
    Arm::rabbitmq(async |arm| {
        let proxy = Proxy::start().await;
        let queue = arm.open_at(&proxy.url()).await;
        publish(&queue, event("msg_before")).await;
        proxy.hold();
        let since = Instant::now();
        assert_eq!(
            queue.publish(event("msg_silent")).await,
            Err(PublishError::TimedOut)
        );
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "it took {:?}",
            since.elapsed()
        );
        proxy.release();
        until("a publish succeeds", async || {
            queue.publish(event("msg_after")).await.is_ok()
        })
        .await;
        // The state of the old connection is unknown, so it is closed.
        until("it connects again", async || proxy.connections() > 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_fails_what_is_in_flight_at_once() {
    Arm::rabbitmq(async |arm| {
        let proxy = Proxy::start().await;
        let queue = arm.open_at(&proxy.url()).await;
        publish(&queue, event("msg_before")).await;
        proxy.hold();
        let in_flight: Vec<_> = (0..200)
            .map(|n| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.publish(event(&format!("msg_{n}"))).await })
            })
            .collect();
        until("the broker has some", async || {
            arm.namespace().ready("events").await > Some(1)
        })
        .await;
        // Held on, so that no confirm slips through before the cut.
        proxy.cut();
        let since = Instant::now();
        for answer in in_flight {
            assert_eq!(answer.await.unwrap(), Err(PublishError::Unavailable));
        }
        assert!(
            since.elapsed() < AT_ONCE * 4,
            "it took {:?}",
            since.elapsed()
        );
        proxy.release();
        until("a publish succeeds", async || {
            queue.publish(event("msg_after")).await.is_ok()
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_waits_for_what_is_in_flight_but_not_for_long() {
    Arm::rabbitmq(async |arm| {
        let proxy = Proxy::start().await;
        let in_flight = async |id: &'static str| {
            let queue = arm.open_at(&proxy.url()).await;
            ready(&queue).await;
            let waiting = arm.namespace().ready("events").await;
            proxy.hold();
            let answer = tokio::spawn({
                let queue = queue.clone();
                async move { queue.publish(event(id)).await }
            });
            until("the broker has it", async || {
                arm.namespace().ready("events").await > waiting
            })
            .await;
            (queue, answer)
        };
        let (queue, answer) = in_flight("msg_flushed").await;
        let release = async { proxy.release() };
        tokio::join!(queue.close(), release);
        assert_eq!(answer.await.unwrap(), Ok(()), "its confirm came in time");

        let (queue, answer) = in_flight("msg_cut").await;
        let since = Instant::now();
        queue.close().await;
        assert!(
            since.elapsed() < Duration::from_secs(3),
            "it took {:?}",
            since.elapsed()
        );
        assert_eq!(answer.await.unwrap(), Err(PublishError::Unavailable));
        proxy.release();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_silent_from_the_start_is_soon_reported_as_unavailable() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://guest:guest@{}/%2f", silent.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok(connection) = silent.accept().await {
            connections.push(connection);
        }
    });
    Arm::rabbitmq(async |arm| {
        let queue = arm.open_at(&url).await;
        // The first one waits for what comes of the connection, and not until the attempt to
        // connect is given up.
        let since = Instant::now();
        assert_eq!(
            queue.publish(event("msg_first")).await,
            Err(PublishError::Unavailable)
        );
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "it took {:?}",
            since.elapsed()
        );
        assert!(
            reason(&queue).contains("has not answered"),
            "{}",
            reason(&queue)
        );
        for number in 0..10 {
            let since = Instant::now();
            assert_eq!(
                queue.publish(event(&format!("msg_{number}"))).await,
                Err(PublishError::Unavailable)
            );
            assert!(since.elapsed() < AT_ONCE, "it took {:?}", since.elapsed());
        }
    })
    .await;
    accepting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_goes_on_after_the_broker_closed_the_connection() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        let namespace = arm.namespace();
        let before = namespace.connections("publish");
        assert_eq!(before.len(), 1);

        // Always something in flight while the broker's own command runs.
        let closed = AtomicBool::new(false);
        let publish = async {
            let mut taken = BTreeSet::new();
            let mut round = 0;
            // Slowly: all messages are read back one by one.
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            while !closed.load(Ordering::SeqCst) {
                pace.tick().await;
                round += 1;
                let sent = names(&format!("msg_{round}"), 20);
                for (published, id) in join_all(
                    sent.into_iter()
                        .map(async |id| (queue.publish(event(&id)).await, id)),
                )
                .await
                {
                    match published {
                        Ok(()) => drop(taken.insert(id)),
                        Err(PublishError::Unavailable) => {}
                        Err(other) => panic!("{id}: {other}"),
                    }
                }
            }
            taken
        };
        let name = namespace.name().to_owned();
        let close = async {
            let closing =
                tokio::task::spawn_blocking(move || broker::close_connections(&name, "publish"));
            closing.await.unwrap();
            closed.store(true, Ordering::SeqCst);
        };
        let (mut taken, ()) = tokio::join!(publish, close);

        // By itself, without a new queue.
        until("a publish succeeds", async || {
            queue.publish(event("msg_after")).await.is_ok()
        })
        .await;
        taken.insert("msg_after".into());
        let after = namespace.connections("publish");
        assert!(
            after.len() == 1 && after != before,
            "it is another connection: {before:?}, {after:?}"
        );
        let stored: BTreeSet<_> = namespace.take_all("events").await.into_iter().collect();
        assert!(
            stored.is_superset(&taken),
            "lost: {:?}",
            taken.difference(&stored).collect::<Vec<_>>()
        );
    })
    .await;
}
