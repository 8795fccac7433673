//! Changes of rows on their way to applications: what is declared, what a message looks like, and
//! that a broker that fails in the middle loses none and reorders none.

use std::time::{Duration, Instant};

use clerk_sync::clerk::Timestamp;
use clerk_sync::queue::ChangeMessage;
use clerk_sync::queue::rabbitmq::ChangePublisher;
use serde_json::json;

use crate::support::app::until;
use crate::support::broker::{self, APPLICATION, Namespace};
use crate::support::feed_listener::{FeedListener, Heard, first_times};
use crate::support::queues::{Arm, ready};
use crate::support::wire::Proxy;

const AT_ONCE: Duration = Duration::from_millis(500);

fn message(number: usize) -> ChangeMessage {
    ChangeMessage {
        id: format!("users-{number}"),
        routing_key: "users.updated".into(),
        committed_at: Timestamp::from_ms(1_795_172_401_234).unwrap(),
        body: json!({ "id": number }).to_string().into(),
    }
}

fn messages(numbers: std::ops::Range<usize>) -> Vec<ChangeMessage> {
    numbers.map(message).collect()
}

fn ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| message(number).id).collect()
}

fn first_ids(heard: &[Heard]) -> Vec<String> {
    let heard = first_times(heard);
    heard.into_iter().map(|heard| heard.id.clone()).collect()
}

async fn listener(namespace: &Namespace, key: &str) -> FeedListener {
    let (exchange, queue) = (namespace.queue("changes"), namespace.queue(APPLICATION));
    FeedListener::bind(&broker::url(), &exchange, &queue, key).await
}

async fn publisher(arm: &Arm, url: &str) -> ChangePublisher {
    let queue = arm.open_at(url).await;
    let publisher = queue.change_publisher();
    publisher.expect("RabbitMQ has an exchange")
}

/// As the worker does: the batch is published until all of it is confirmed.
async fn publish(publisher: &mut ChangePublisher, batch: &[ChangeMessage]) {
    let (deadline, mut is_confirmed) = (Instant::now() + Duration::from_secs(30), false);
    while !is_confirmed {
        assert!(publisher.is_usable().await && Instant::now() < deadline);
        is_confirmed = publisher.publish(batch).await.is_ok();
    }
}

fn exchanges(namespace: &Namespace) -> Vec<serde_json::Value> {
    let columns = [
        "name",
        "type",
        "durable",
        "auto_delete",
        "internal",
        "arguments",
    ];
    namespace.listed("exchanges", &columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_is_there_once_changes_are_to_be_published_and_not_before() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        let name = arm.namespace().queue("changes");
        let declared = || {
            let mut exchanges = exchanges(arm.namespace());
            exchanges.retain(|exchange| exchange["name"] == json!(name));
            exchanges
        };
        assert_eq!(declared(), [] as [serde_json::Value; 0]);
        let mut publisher = queue.change_publisher().unwrap();
        assert!(publisher.is_usable().await);
        let expected = json!({
            "name": name, "type": "topic", "durable": true, "auto_delete": false, "internal": false,
            "arguments": [],
        });
        assert_eq!(declared(), std::slice::from_ref(&expected));

        // An operator deletes it.
        arm.namespace().delete_exchange("changes").await;
        until("it is declared again", async || {
            declared() == std::slice::from_ref(&expected)
        })
        .await;
        publish(&mut publisher, &messages(0..1)).await;
        publisher.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_queue_has_no_exchange() {
    Arm::embedded(async |arm| assert!(arm.open().await.change_publisher().is_none())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_a_persistent_message_that_names_itself() {
    Arm::rabbitmq(async |arm| {
        let mut publisher = publisher(arm, &broker::url()).await;
        let listener = listener(arm.namespace(), "users.*").await;
        publish(&mut publisher, &messages(7..8)).await;
        let deliveries = listener.deliveries().await;
        let [delivery] = &*deliveries else {
            panic!("{deliveries:?}")
        };
        let properties = &delivery.properties;
        let text = |text: &Option<lapin::types::ShortString>| text.as_ref().unwrap().to_string();
        assert_eq!(delivery.exchange.as_str(), arm.namespace().queue("changes"));
        assert_eq!(delivery.routing_key.as_str(), "users.updated");
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(text(properties.message_id()), "users-7");
        assert_eq!(text(properties.kind()), "users.updated");
        assert_eq!(text(properties.content_type()), "application/json");
        assert_eq!(properties.timestamp(), &Some(1_795_172_401));
        assert_eq!(delivery.data, br#"{"id":7}"#);
        publisher.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_in_their_order_and_one_that_no_queue_wants_is_confirmed() {
    Arm::rabbitmq(async |arm| {
        let mut publisher = publisher(arm, &broker::url()).await;
        publish(&mut publisher, &messages(0..10)).await;
        let listener = listener(arm.namespace(), "users.*").await;
        for start in (10..2010).step_by(500) {
            let mut batch = messages(start..start + 500);
            batch.push(ChangeMessage {
                routing_key: "organizations.created".into(),
                ..message(9999)
            });
            publisher.publish(&batch).await.unwrap();
        }
        let heard: Vec<_> = listener
            .take_all()
            .await
            .into_iter()
            .map(|it| it.id)
            .collect();
        assert_eq!(heard, ids(10..2010));
        publisher.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_before_the_confirms_repeats_changes_and_loses_none() {
    Arm::rabbitmq(async |arm| {
        let proxy = Proxy::start().await;
        let mut publisher = publisher(arm, &proxy.url()).await;
        let listener = listener(arm.namespace(), "#").await;
        publish(&mut publisher, &messages(0..100)).await;

        // The broker has the batch, and its confirms are held back.
        proxy.hold();
        let batch = messages(100..200);
        let is_there = async || arm.namespace().ready(APPLICATION).await >= Some(200);
        let failed = tokio::join!(publisher.publish(&batch), async {
            until("the broker has the batch", is_there).await;
            proxy.cut();
        });
        assert!(failed.0.is_err(), "nothing was confirmed");
        proxy.release();
        publish(&mut publisher, &batch).await;
        publish(&mut publisher, &messages(200..300)).await;

        let heard = listener.take_all().await;
        assert_eq!(heard.len(), 400, "the batch came twice");
        assert_eq!(first_ids(&heard), ids(0..300));
        publisher.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_fails_a_batch_at_once_and_it_is_published_after_it() {
    Arm::rabbitmq(async |arm| {
        let proxy = Proxy::start().await;
        let mut publisher = publisher(arm, &proxy.url()).await;
        let listener = listener(arm.namespace(), "#").await;
        publish(&mut publisher, &messages(0..10)).await;

        proxy.hold();
        let batch = messages(10..20);
        let is_there = async || arm.namespace().ready(APPLICATION).await >= Some(20);
        let (failed, since) = tokio::join!(publisher.publish(&batch), async {
            until("the broker has the batch", is_there).await;
            proxy.block("low on memory");
            Instant::now()
        });
        assert!(failed.is_err() && since.elapsed() < AT_ONCE);
        let waiting = tokio::time::timeout(AT_ONCE, publisher.is_usable()).await;
        assert!(waiting.is_err(), "an alarm is not usable");
        assert!(publisher.publish(&batch).await.is_err());

        proxy.unblock();
        proxy.release();
        publish(&mut publisher, &batch).await;
        publish(&mut publisher, &messages(20..30)).await;
        assert_eq!(first_ids(&listener.take_all().await), ids(0..30));
        publisher.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_refuses_a_change_fails_the_batch_until_it_has_room() {
    Arm::rabbitmq(async |arm| {
        let mut publisher = publisher(arm, &broker::url()).await;
        let names = [
            arm.namespace().queue("changes"),
            arm.namespace().queue(APPLICATION),
        ];
        let listener =
            FeedListener::bind_limited(&broker::url(), &names[0], &names[1], "#", 1).await;
        // A quorum queue notices that it is full some messages later.
        let mut refused = Ok(());
        let mut published = 0;
        while refused.is_ok() {
            assert!(published < 1000, "it never refuses");
            assert!(publisher.is_usable().await);
            refused = publisher
                .publish(&messages(published..published + 10))
                .await;
            published += 10;
        }
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("it is full"), "{error}");
        let mut heard = listener.take_all().await;
        let batch = messages(published - 10..published);
        let mut confirmed = false;
        while !confirmed {
            assert!(heard.len() < 1000, "it never takes the batch");
            confirmed = publisher.publish(&batch).await.is_ok();
            heard.extend(listener.take_all().await);
        }
        assert_eq!(first_ids(&heard).len(), published, "none is lost");
        publisher.close().await;
    })
    .await;
}
