//! A policy of the broker takes events out of our queues: none is lost, and each is kept with the
//! reason that is true.

use clerk_sync::store::Status;
use lapin::options::{BasicGetOptions, BasicRejectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use crate::support::app::{App, Place, SECRET, until};
use crate::support::broker::{connect, rabbitmqctl};
use crate::support::proxy::Proxy;
use crate::support::scrape::Scrape;

fn body(user: usize) -> String {
    format!(
        r#"{{"data":{{"first_name":"Ada","id":"user_{user}","updated_at":1795172400018}},"timestamp":1795172400033,"type":"user.updated"}}"#
    )
}

async fn receiver(place: &Place) -> App {
    place.succeed(&["migrate"]);
    place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await
}

/// Delivers five events while no worker is there; how many were acknowledged.
async fn deliver(receiver: &App) -> usize {
    let mut acknowledged = 0;
    for number in 0..5 {
        acknowledged += usize::from(
            receiver
                .deliver(&format!("msg_{number}"), body(number))
                .await
                .status
                == 200,
        );
    }
    acknowledged
}

/// The events that failed with this code, of those that were delivered; their text.
async fn failed_with(worker: &App, ids: std::ops::Range<usize>, code: &str) -> String {
    let mut text = String::new();
    for number in ids {
        let event = worker.settled(&format!("msg_{number}")).await;
        assert_eq!(
            (event.status, event.error_code.as_deref()),
            (Status::Failed, Some(code)),
            "msg_{number}"
        );
        assert_eq!(
            event.payload.as_deref(),
            Some(body(number).as_bytes()),
            "it is kept whole"
        );
        text = event.error.unwrap();
    }
    let page = Scrape::of(worker).await;
    assert!(
        page.get(&format!(
            "clerk_sync_dead_letters_total{{reason=\"{code}\"}}"
        ))
        .is_some_and(|count| count >= 1.0)
    );
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_expires_in_the_queue_is_kept_as_expired() {
    let place = Place::servers().await;
    let receiver = receiver(&place).await;
    place
        .namespace()
        .set_policy(&["events"], r#"{"message-ttl":500}"#)
        .await;
    assert_eq!(deliver(&receiver).await, 5);
    until("all are dead letters", async || {
        place.namespace().ready("dead").await == Some(5)
    })
    .await;
    let worker = place.start(&["worker"], &[]).await;
    let text = failed_with(&worker, 0..5, "expired").await;
    assert!(
        text.contains(&place.namespace().queue("events")) && text.contains("message-ttl"),
        "{text}"
    );
    place.namespace().lift_limit().await;
    place.succeed(&["events", "replay", "--error-code", "expired"]);
    until("all are applied", async || {
        worker.event("msg_4").await.unwrap().status == Status::Applied
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_a_full_queue_drops_is_kept_as_maxlen() {
    let place = Place::servers().await;
    let receiver = receiver(&place).await;
    place
        .namespace()
        .set_policy(&["events"], r#"{"max-length":3,"overflow":"drop-head"}"#)
        .await;
    assert_eq!(deliver(&receiver).await, 5);
    until("two are dead letters", async || {
        place.namespace().ready("dead").await == Some(2)
    })
    .await;
    let worker = place.start(&["worker"], &[]).await;
    let text = failed_with(&worker, 0..2, "maxlen").await;
    assert!(
        text.contains("max-length") && text.contains("overflow"),
        "{text}"
    );
    for number in 2..5 {
        assert_eq!(
            worker.settled(&format!("msg_{number}")).await.status,
            Status::Applied
        );
    }
    place.namespace().lift_limit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_another_consumer_rejects_is_kept_as_rejected() {
    let place = Place::servers().await;
    let receiver = receiver(&place).await;
    assert_eq!(deliver(&receiver).await, 5);
    let (connection, channel) = connect().await;
    let get = BasicGetOptions { no_ack: false };
    while let Some(message) = channel
        .basic_get(place.namespace().queue("events").into(), get)
        .await
        .unwrap()
    {
        message
            .delivery
            .acker
            .reject(BasicRejectOptions { requeue: false })
            .await
            .unwrap();
    }
    connection.close(200, "rejected".into()).await.unwrap();
    let worker = place.start(&["worker"], &[]).await;
    let text = failed_with(&worker, 0..5, "rejected").await;
    assert!(text.contains("list_consumers"), "{text}");
}

/// The broker holds what expires among the dead letters: the arguments say where to, and there is
/// no binding.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_dead_letter_is_kept() {
    let place = Place::servers().await;
    let receiver = receiver(&place).await;
    place
        .namespace()
        .set_policy(
            &["events", "dead", "unrouted", "rescued"],
            r#"{"message-ttl":300}"#,
        )
        .await;
    assert_eq!(deliver(&receiver).await, 5);
    let columns = ["name", "messages", "messages_ready"];
    until("all are held", async || {
        let listed = place.namespace().listed("queues", &columns);
        let dead = listed
            .iter()
            .find(|queue| queue["name"] == place.namespace().queue("dead"))
            .unwrap();
        (&dead["messages"], &dead["messages_ready"]) == (&Value::from(5), &Value::from(0))
    })
    .await;
    place.namespace().lift_limit().await;
    // A worker binds the queue for them, and takes that back when it stops.
    assert_eq!(ways_out(&place), 0);
    let worker = place.start(&["worker"], &[]).await;
    until("the queue is bound", async || ways_out(&place) == 3).await;
    assert!(worker.stop().success());
    assert_eq!(
        ways_out(&place),
        0,
        "what expires while no worker is there is held"
    );
}

/// The bindings that let go of what the broker holds.
fn ways_out(place: &Place) -> usize {
    let bindings = place
        .namespace()
        .listed("bindings", &["source_name", "destination_name"]);
    let ours = ["rescued", "expired"].map(|part| place.namespace().queue(part));
    bindings
        .iter()
        .filter(|it| ours.iter().any(|name| it["source_name"] == **name))
        .count()
}

/// Most messages that the broker delivers from the queue of rescued events before one is
/// acknowledged.
fn prefetch_of_rescued(place: &Place) -> Option<u64> {
    let listed = rabbitmqctl(&[
        "--formatter",
        "json",
        "list_consumers",
        "queue_name",
        "prefetch_count",
    ]);
    let consumers: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let rescued = place.namespace().queue("rescued");
    consumers.iter().find(|it| it["queue_name"] == rescued)?["prefetch_count"].as_u64()
}

/// Neither delivered messages expire, nor those that the broker holds. No event is acknowledged
/// before it is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_keeps_expired_events_while_the_database_is_away() {
    let place = Place::servers().await;
    let receiver = receiver(&place).await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let mut url = reqwest::Url::parse(&database.url()).unwrap();
    let proxy = Proxy::before(format!(
        "{}:{}",
        url.host_str().unwrap(),
        url.port().unwrap()
    ))
    .await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    let worker = place
        .start(&["worker"], &[("DATABASE_URL", url.as_str())])
        .await;
    until("the queue is consumed", async || {
        prefetch_of_rescued(&place) == Some(10_000)
    })
    .await;
    assert_eq!(ways_out(&place), 3);
    proxy.cut();
    assert_eq!(deliver(&receiver).await, 5);
    until("nothing is let go", async || ways_out(&place) == 0).await;
    assert_eq!(prefetch_of_rescued(&place), None);
    proxy.restore();
    assert_eq!(worker.settled("msg_4").await.status, Status::Applied);
    until("the queue is bound again", async || ways_out(&place) == 3).await;
    until("the queue is consumed again", async || {
        prefetch_of_rescued(&place) == Some(10_000)
    })
    .await;
    // The same while it stops in an outage.
    proxy.cut();
    assert_eq!(receiver.deliver("msg_5", body(5)).await.status, 200);
    until("nothing is let go", async || ways_out(&place) == 0).await;
    assert!(worker.stop().success());
    assert_eq!(ways_out(&place), 0);
}

/// RabbitMQ holds for good what expired in a queue that leads back to itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_rescued_event_that_expires_is_recorded() {
    let place = Place::servers().await;
    let receiver = receiver(&place).await;
    assert_eq!(deliver(&receiver).await, 5);
    // As a worker that was killed leaves it.
    place.namespace().bind_queue("dead", "expired").await;
    place
        .namespace()
        .set_policy(&["rescued"], r#"{"message-ttl":300}"#)
        .await;
    let (connection, channel) = connect().await;
    let get = BasicGetOptions { no_ack: true };
    while let Some(message) = channel
        .basic_get(place.namespace().queue("events").into(), get)
        .await
        .unwrap()
    {
        place
            .namespace()
            .put(
                "rescued",
                message.delivery.properties.clone(),
                &message.delivery.data,
            )
            .await;
    }
    connection.close(200, "moved".into()).await.unwrap();
    until("all are dead letters", async || {
        place.namespace().ready("dead").await == Some(5)
    })
    .await;
    place.namespace().lift_limit().await;
    let worker = place.start(&["worker"], &[]).await;
    let text = failed_with(&worker, 0..5, "expired").await;
    assert!(text.contains(&place.namespace().queue("rescued")), "{text}");
    assert_eq!(
        worker
            .log()
            .iter()
            .filter(|line| line.contains("a policy's message-ttl takes events"))
            .count(),
        1
    );
}

/// The queues of dead letters as they were declared before they led on.
#[tokio::test(flavor = "multi_thread")]
async fn queues_that_an_earlier_version_declared_are_used_as_they_are() {
    let place = Place::servers().await;
    let (connection, channel) = connect().await;
    for part in ["dead", "unrouted"] {
        let durable = QueueDeclareOptions {
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: false,
        };
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(1_000_000));
        arguments.insert(
            "x-overflow".into(),
            AMQPValue::LongString("reject-publish".into()),
        );
        channel
            .queue_declare(place.namespace().queue(part).into(), durable, arguments)
            .await
            .unwrap();
    }
    connection.close(200, "declared".into()).await.unwrap();
    let app = place.serve().await;
    assert_eq!(app.deliver("msg_0", body(0)).await.status, 200);
    assert_eq!(app.settled("msg_0").await.status, Status::Applied);
    let output = String::from_utf8(place.run(&["check"]).stdout).unwrap();
    for part in ["dead", "unrouted"] {
        let line = format!(
            "the queue {} is as an earlier version declared it",
            place.namespace().queue(part)
        );
        assert!(
            output.contains(&line) && output.contains("rabbitmqctl delete_queue"),
            "{output}"
        );
    }
    // The connection lives: the broker's refusal was the answer to a question.
    assert_eq!(
        app.log()
            .iter()
            .filter(|line| line.contains("RabbitMQ is away"))
            .count(),
        0
    );
}

/// An event that is delivered again with the headers of its death is no dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_somebody_moves_back_is_an_event_again() {
    let place = Place::servers().await;
    let receiver = receiver(&place).await;
    place
        .namespace()
        .set_policy(&["events"], r#"{"message-ttl":300}"#)
        .await;
    assert_eq!(deliver(&receiver).await, 5);
    until("all are dead letters", async || {
        place.namespace().ready("dead").await == Some(5)
    })
    .await;
    place.namespace().lift_limit().await;
    let (connection, channel) = connect().await;
    let get = BasicGetOptions { no_ack: true };
    while let Some(message) = channel
        .basic_get(place.namespace().queue("dead").into(), get)
        .await
        .unwrap()
    {
        place
            .namespace()
            .put(
                "events",
                message.delivery.properties.clone(),
                &message.delivery.data,
            )
            .await;
    }
    connection.close(200, "moved".into()).await.unwrap();
    let worker = place.start(&["worker"], &[]).await;
    for number in 0..5 {
        assert_eq!(
            worker.settled(&format!("msg_{number}")).await.status,
            Status::Applied
        );
    }
}
