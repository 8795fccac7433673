//! A broker that takes some and refuses others: the number of 2xx is exactly the number of events
//! stored.

use std::collections::BTreeSet;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::interval;

use crate::support::app::{App, Place, SECRET, until};

const CONCURRENT: usize = 300;
const ROUNDS: usize = 4;
/// Capacity of the queue before it refuses.
const LENGTH_MAX: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_2xx_is_exactly_a_stored_event() {
    let place = Place::servers().await;
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    // By policy, as an operator would; there is no consumer.
    place.namespace().limit_length(LENGTH_MAX).await;

    let mut acknowledged = BTreeSet::new();
    let mut refused = 0;
    for round in 0..ROUNDS {
        let answers = join_all((0..CONCURRENT).map(async |n| {
            let id = format!("msg_{round}_{n}");
            let body = format!(
                r#"{{"data":{{"id":"user_{n}"}},"timestamp":1795172400033,"type":"user.updated"}}"#
            );
            let answer = receiver
                .try_deliver(&id, body)
                .await
                .expect("the program answers");
            (id, answer)
        }))
        .await;
        for (id, answer) in answers {
            match answer.status {
                200 => assert!(acknowledged.insert(id)),
                503 => {
                    assert_eq!(answer.code(), "queue_unavailable");
                    assert!(answer.headers.contains_key("retry-after"));
                    refused += 1;
                }
                other => panic!("{id} got {other}: {:?}", answer.body),
            }
        }
    }
    let stored = place.namespace().take_all("events").await;
    assert_eq!(
        stored.len(),
        acknowledged.len(),
        "as many are stored as were acknowledged"
    );
    assert_eq!(
        stored.into_iter().collect::<BTreeSet<_>>(),
        acknowledged,
        "and they are the same"
    );
    assert_eq!(acknowledged.len() + refused, CONCURRENT * ROUNDS);
    assert!(
        acknowledged.len() >= LENGTH_MAX,
        "the queue took what it could: {}",
        acknowledged.len()
    );
    assert!(
        refused > 0,
        "the queue refused none: the limit was not in force"
    );

    place.namespace().lift_limit().await;
    assert_eq!(
        receiver
            .deliver(
                "msg_after",
                r#"{"data":{"id":"user_1"},"type":"user.deleted"}"#
            )
            .await
            .status,
        200
    );
}

/// Delivers until it is stopped, many at once. Returns the IDs that got a 2xx, and how many got
/// none.
async fn deliver_until(
    receiver: &App,
    sender: usize,
    stop: &AtomicBool,
    refused: &AtomicBool,
) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    let mut pace = interval(Duration::from_millis(5));
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        pace.tick().await;
        let id = format!("msg_{sender}_{number}");
        let body = format!(
            r#"{{"data":{{"id":"user_{sender}"}},"timestamp":1795172400033,"type":"user.updated"}}"#
        );
        let answer = receiver
            .try_deliver(&id, body)
            .await
            .expect("the program answers");
        match answer.status {
            200 => assert!(acknowledged.insert(id)),
            503 => {
                assert_eq!(answer.code(), "queue_unavailable");
                assert!(answer.headers.contains_key("retry-after"));
                refused.store(true, Ordering::SeqCst);
            }
            other => panic!("{id} got {other}: {:?}", answer.body),
        }
    }
    acknowledged
}

/// The broker closes every channel that publishes to an exchange which is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_exchange_is_declared_again_and_no_2xx_is_lost() {
    let place = Place::servers().await;
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    let (stop, refused) = (AtomicBool::new(false), AtomicBool::new(false));
    let senders = join_all((0..16).map(|sender| deliver_until(&receiver, sender, &stop, &refused)));
    let harm = async {
        for _ in 0..3 {
            refused.store(false, Ordering::SeqCst);
            place.namespace().delete_exchange("events").await;
            until("a delivery is refused", async || {
                refused.load(Ordering::SeqCst)
            })
            .await;
            until("events are taken again", async || {
                let body =
                    r#"{"data":{"id":"user_x"},"timestamp":1795172400033,"type":"user.updated"}"#;
                receiver
                    .try_deliver("msg_probe", body)
                    .await
                    .unwrap()
                    .status
                    == 200
            })
            .await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (acknowledged, ()) = tokio::join!(senders, harm);
    let acknowledged: BTreeSet<String> = acknowledged.into_iter().flatten().collect();
    let mut stored: BTreeSet<String> = place
        .namespace()
        .take_all("events")
        .await
        .into_iter()
        .collect();
    assert!(stored.contains("msg_probe"), "the queue is bound again");
    // An event between the declaration of the exchange and the binding is kept there.
    stored.extend(place.namespace().take_all("unrouted").await);
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(
        acknowledged.len() > 100,
        "only {} were accepted: this showed nothing",
        acknowledged.len()
    );
}
