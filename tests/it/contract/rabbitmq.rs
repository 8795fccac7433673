//! What only RabbitMQ can get wrong: names and arguments, and connections, queues and brokers that break.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use clerk_sync::queue::{PublishError, Queue, Source};
use futures_util::future::join_all;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::queue::{Place, id_of, ids, publish, take};
use crate::support::app::until;
use crate::support::broker::{Namespace, connect, rabbitmqctl};
use crate::support::history::update;

const BATCH: NonZeroUsize = NonZeroUsize::new(50).expect("50 is not 0");

/// The process IDs of this namespace's connections at the broker.
fn connections(namespace: &Namespace, purpose: &str) -> Vec<String> {
    let name = format!("clerk-sync {} {purpose}", namespace.name());
    let list = rabbitmqctl(&["list_connections", "pid", "client_properties"]);
    list.lines()
        .filter(|line| line.contains(&name))
        .filter_map(|line| line.split('\t').next())
        .map(String::from)
        .collect()
}

fn cut(namespace: &Namespace, purpose: &str) {
    let found = connections(namespace, purpose);
    assert!(!found.is_empty(), "no connection to cut");
    for connection in found {
        rabbitmqctl(&["close_connection", &connection, "cut by a test"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_declared_as_promised() {
    let place = Place::RabbitMq(Namespace::new());
    let Place::RabbitMq(namespace) = &place else { unreachable!() };
    let queue = place.open().await;
    let queues = rabbitmqctl(&["list_queues", "name", "durable", "arguments"]);
    let line = |part: &str| {
        let name = namespace.queue(part);
        queues
            .lines()
            .find(|line| line.starts_with(&format!("{name}\t")))
            .unwrap_or_else(|| panic!("no {name}"))
            .to_owned()
    };
    let users = line("users");
    for argument in [
        "\ttrue\t",
        r#""x-queue-type","quorum""#,
        r#""x-delivery-limit",20}"#,
        &format!(r#""x-dead-letter-exchange","{}""#, namespace.queue("dead")),
        r#""x-dead-letter-strategy","at-least-once""#,
        r#""x-overflow","reject-publish""#,
    ] {
        assert!(users.contains(argument), "{argument} is not in {users}");
    }
    for part in ["dead", "unrouted"] {
        let parked = line(part);
        for argument in
            [r#""x-queue-type","quorum""#, r#""x-delivery-limit",1000000}"#, r#""x-overflow","reject-publish""#]
        {
            assert!(parked.contains(argument), "{argument} is not in {parked}");
        }
    }
    let exchanges = rabbitmqctl(&["list_exchanges", "name", "type", "durable", "arguments"]);
    let exchange = |part: &str, kind: &str| format!("{}\t{kind}\ttrue", namespace.queue(part));
    for (part, kind) in [("events", "topic"), ("dead", "fanout"), ("unrouted", "fanout")] {
        assert!(exchanges.contains(&exchange(part, kind)), "no {part} in {exchanges}");
    }
    assert!(exchanges.contains(&format!(r#""alternate-exchange","{}""#, namespace.queue("unrouted"))), "{exchanges}");
    // A second process declares the same and works beside the first.
    let second = place.open().await;
    publish(&second, 0..1).await;
    drop(queue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_named_and_left_alone() {
    let place = Place::RabbitMq(Namespace::new());
    let Place::RabbitMq(namespace) = &place else { unreachable!() };
    let (_connection, channel) = connect().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(5));
    let options =
        QueueDeclareOptions { passive: false, durable: true, exclusive: false, auto_delete: false, nowait: false };
    channel.queue_declare(namespace.queue("users").into(), options, arguments).await.unwrap();

    let queue = Queue::open(&place.options()).await.unwrap();
    let reason = || queue.ready().err().map(|reason| reason.to_string()).unwrap_or_default();
    until("the difference is named", async || reason().contains("x-")).await;
    let said = reason();
    assert!(said.contains(&namespace.queue("users")) && said.contains("AMQP_NAMESPACE"), "{said}");
    assert_eq!(queue.publish(update("msg_1", "user_1", 1)).await, Err(PublishError::Unavailable));
    let queues = rabbitmqctl(&["list_queues", "name", "arguments"]);
    let line = queues.lines().find(|line| line.starts_with(&namespace.queue("users"))).unwrap();
    assert!(line.contains(r#""x-delivery-limit",5}"#), "it was touched: {line}");

    // Once somebody has mended it, the program goes on by itself.
    namespace.delete_queue("users").await;
    until("the queue is ready", async || queue.ready().is_ok()).await;
    publish(&queue, 0..1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_binding_takes_is_kept_and_told_apart() {
    let place = Place::RabbitMq(Namespace::new());
    let Place::RabbitMq(namespace) = &place else { unreachable!() };
    let queue = place.open().await;
    namespace.delete_queue("users").await;
    publish(&queue, 0..20).await;
    let mut unrouted = queue.consume(Source::Unrouted, BATCH);
    let kept: BTreeSet<_> = take(&mut unrouted, 20, true).await.into_iter().collect();
    assert_eq!(kept, ids(0..20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_publishing_connection_fails_what_is_in_flight_and_comes_back() {
    let place = Place::RabbitMq(Namespace::new());
    let Place::RabbitMq(namespace) = &place else { unreachable!() };
    let queue = place.open().await;
    let flood = async {
        let results = join_all((0..3000).map(async |n| (n, queue.publish(update(&id_of(n), "user_1", 1)).await))).await;
        results.into_iter().filter_map(|(n, result)| result.ok().map(|()| id_of(n))).collect::<BTreeSet<_>>()
    };
    let cutting = tokio::task::spawn_blocking({
        let name = namespace.name().to_owned();
        move || {
            let list = rabbitmqctl(&["list_connections", "pid", "client_properties"]);
            let name = format!("clerk-sync {name} publish");
            let pid = list
                .lines()
                .find(|line| line.contains(&name))
                .and_then(|line| line.split('\t').next())
                .unwrap()
                .to_owned();
            rabbitmqctl(&["close_connection", &pid, "cut by a test"]);
        }
    });
    let (acknowledged, cut) = tokio::join!(flood, cutting);
    cut.unwrap();
    until("the queue is ready again", async || queue.ready().is_ok()).await;
    until("publishes work again", async || queue.publish(update("msg_after", "user_1", 1)).await.is_ok()).await;
    let stored: BTreeSet<_> = namespace.take_all("users").await.into_iter().collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_comes_back_after_a_cut_and_after_its_queue_was_deleted() {
    let place = Place::RabbitMq(Namespace::new());
    let Place::RabbitMq(namespace) = &place else { unreachable!() };
    let queue = place.open().await;
    let mut consumer = queue.consume(Source::Events, BATCH);
    publish(&queue, 0..10).await;
    assert_eq!(take(&mut consumer, 10, true).await.len(), 10);

    until("it is listed", async || !connections(namespace, "consume").is_empty()).await;
    cut(namespace, "consume");
    publish(&queue, 10..20).await;
    let taken: BTreeSet<_> = take(&mut consumer, 10, true).await.into_iter().collect();
    assert_eq!(taken, ids(10..20));

    namespace.delete_queue("users").await;
    // Its consumer notices, declares the queue again and goes on.
    let waiting = tokio::spawn(async move { take(&mut consumer, 1, true).await });
    // Until the binding is there too, events go where they are kept for lack of one.
    until("an event arrives", async || {
        publish(&queue, 30..31).await;
        waiting.is_finished()
    })
    .await;
    assert_eq!(waiting.await.unwrap()[0], id_of(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_said_at_once_and_without_the_password() {
    let url = secrecy::SecretString::from("amqp://guest:hunter2@127.0.0.1:1/%2f");
    let options = clerk_sync::queue::rabbitmq::Options { url, namespace: "nowhere".into() };
    let queue = Queue::open(&clerk_sync::queue::Options::RabbitMq(options)).await.unwrap();
    let started = std::time::Instant::now();
    for n in 0..100 {
        assert_eq!(queue.publish(update(&id_of(n), "user_1", 1)).await, Err(PublishError::Unavailable));
    }
    assert!(started.elapsed().as_millis() < 1000, "100 refusals took {:?}", started.elapsed());
    until("the reason is known", async || queue.ready().is_err_and(|reason| reason.to_string().contains("refused")))
        .await;
    assert!(!queue.ready().unwrap_err().to_string().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_with_what_to_do() {
    let url = secrecy::SecretString::from(crate::support::broker::url().replace("guest:guest", "guest:wrong"));
    let options = clerk_sync::queue::rabbitmq::Options { url, namespace: "nowhere".into() };
    let queue = Queue::open(&clerk_sync::queue::Options::RabbitMq(options)).await.unwrap();
    until("the reason is known", async || queue.ready().is_err_and(|reason| reason.to_string().contains("AMQP_URL")))
        .await;
}
