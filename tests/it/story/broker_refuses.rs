//! A broker that takes some and refuses others: the number of 2xx is exactly the number of events stored.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::support::app::{Place, SECRET};

const CONCURRENT: usize = 300;
const ROUNDS: usize = 4;
/// What the queue holds before it refuses.
const LENGTH_MAX: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_2xx_is_exactly_a_stored_event() {
    let place = Place::servers().await;
    let receiver = place.start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)]).await;
    // By policy, as an operator would; nobody consumes.
    place.namespace().limit_length(LENGTH_MAX).await;

    let mut acknowledged = BTreeSet::new();
    let mut refused = 0;
    for round in 0..ROUNDS {
        let answers = join_all((0..CONCURRENT).map(async |n| {
            let id = format!("msg_{round}_{n}");
            let body = format!(r#"{{"data":{{"id":"user_{n}"}},"timestamp":1795172400033,"type":"user.updated"}}"#);
            let answer = receiver.try_deliver(&id, body).await.expect("the program answers");
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
    let stored = place.namespace().take_all("users").await;
    assert_eq!(stored.len(), acknowledged.len(), "as many are stored as were acknowledged");
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), acknowledged, "and they are the same");
    assert_eq!(acknowledged.len() + refused, CONCURRENT * ROUNDS);
    assert!(acknowledged.len() >= LENGTH_MAX, "the queue took what it could: {}", acknowledged.len());
    assert!(refused > 0, "the queue refused none: the limit was not in force");

    place.namespace().lift_limit().await;
    assert_eq!(receiver.deliver("msg_after", r#"{"data":{"id":"user_1"},"type":"user.deleted"}"#).await.status, 200);
}
