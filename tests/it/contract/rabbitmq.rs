//! What only a broker can do: refuse, return, break off; and what it is asked to keep.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clerk_sync::clerk::EventType;
use clerk_sync::queue::{Batch, PublishError, Source};
use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::app::until;
use crate::support::broker;
use crate::support::queues::{
    Arm, assert_nothing_comes, consumer, drain, event, event_with, ids, names, next, publish,
    publish_all, ready, reason, taking,
};

/// What must be answered without asking the broker. It takes microseconds; a loaded machine gets its due.
const AT_ONCE: Duration = Duration::from_millis(500);

async fn put(channel: &Channel, queue: String, properties: BasicProperties, body: &[u8]) {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "by hand, as a stranger would; nobody else has this channel"
    )]
    let published = channel
        .basic_publish("".into(), queue.into(), options, body, properties)
        .await;
    published.unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_is_what_the_contract_says() {
    Arm::rabbitmq(async |arm| {
        ready(&arm.open().await).await;
        // Again, where it is all there.
        ready(&arm.open().await).await;

        let namespace = arm.namespace();
        let name = |part: &str| namespace.queue(part);
        let arguments = |thing: &Value| -> serde_json::Map<String, Value> {
            // [["x-overflow", "longstr", "reject-publish"], …]
            let listed = thing["arguments"].as_array().unwrap().iter();
            listed.map(|argument| (argument[0].as_str().unwrap().to_owned(), argument[2].clone())).collect()
        };
        let mut queues = namespace.listed("queues", &["name", "durable", "arguments"]);
        queues.sort_by_key(|queue| queue["name"].to_string());
        let found: Vec<_> = queues.iter().map(|queue| queue["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, ["dead", "rescued", "unrouted", "users"].map(name));
        assert!(queues.iter().all(|queue| queue["durable"] == json!(true)), "{queues:?}");
        let declared = |limit, letters_to| {
            json!({
                "x-queue-type": "quorum", "x-delivery-limit": limit, "x-overflow": "reject-publish",
                "x-dead-letter-exchange": name(letters_to), "x-dead-letter-strategy": "at-least-once",
            })
        };
        for (parked, letters_to) in queues.iter().zip(["rescued", "expired", "rescued"]) {
            assert_eq!(Value::from(arguments(parked)), declared(1_000_000, letters_to));
        }
        assert_eq!(Value::from(arguments(&queues[3])), declared(20, "dead"));

        let mut exchanges = namespace.listed("exchanges", &["name", "type", "durable", "arguments"]);
        exchanges.sort_by_key(|exchange| exchange["name"].to_string());
        let found: Vec<_> =
            exchanges.iter().map(|it| (it["name"].as_str().unwrap(), it["type"].as_str().unwrap())).collect();
        let names = ["dead", "events", "expired", "rescued", "unrouted"].map(name);
        let kinds = ["fanout", "topic", "fanout", "fanout", "fanout"];
        assert_eq!(found, names.iter().map(|name| &**name).zip(kinds).collect::<Vec<_>>());
        assert!(exchanges.iter().all(|exchange| exchange["durable"] == json!(true)), "{exchanges:?}");
        assert_eq!(Value::from(arguments(&exchanges[1])), json!({"alternate-exchange": name("unrouted")}));

        let bindings = namespace.listed("bindings", &["source_name", "destination_name", "routing_key"]);
        let mut bindings: Vec<_> = bindings
            .iter()
            .map(|it| {
                [&it["source_name"], &it["destination_name"], &it["routing_key"]]
                    .map(|it| it.as_str().unwrap().to_owned())
            })
            .collect();
        bindings.sort();
        assert_eq!(
            bindings,
            [
                [name("dead"), name("dead"), String::new()],
                [name("events"), name("users"), "user.*".into()],
                [name("unrouted"), name("unrouted"), String::new()],
            ]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_what_the_contract_says() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        publish(
            &queue,
            event_with(
                "msg_1",
                EventType::named("user.deleted"),
                Bytes::from_static(b"\xff"),
            ),
        )
        .await;
        let (connection, channel) = broker::connect().await;
        let options = lapin::options::BasicGetOptions { no_ack: true };
        let message = channel
            .basic_get(arm.namespace().queue("users").into(), options)
            .await
            .unwrap()
            .unwrap();
        let properties = &message.delivery.properties;
        assert_eq!(message.delivery.routing_key.as_str(), "user.deleted");
        assert_eq!(message.delivery.data, b"\xff");
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "msg_1");
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "user.deleted");
        assert_eq!(
            properties.content_type().as_ref().unwrap().as_str(),
            "application/json"
        );
        assert_eq!(properties.timestamp(), &Some(1_795_172_401));
        let headers = properties.headers().as_ref().unwrap().inner();
        assert_eq!(
            headers.get("svix-timestamp").unwrap().as_long_long_int(),
            Some(1_795_172_400)
        );
        connection.close(200, "read".into()).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_topology_is_named_and_left_alone() {
    Arm::rabbitmq(async |arm| {
        let users = arm.namespace().queue("users");
        let (connection, channel) = broker::connect().await;
        let durable = QueueDeclareOptions {
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: false,
        };
        channel
            .queue_declare(users.as_str().into(), durable, FieldTable::default())
            .await
            .unwrap();
        channel
            .confirm_select(lapin::options::ConfirmSelectOptions { nowait: false })
            .await
            .unwrap();
        put(
            &channel,
            users.clone(),
            BasicProperties::default(),
            b"theirs",
        )
        .await;
        connection.close(200, "declared".into()).await.unwrap();

        let queue = arm.open().await;
        let published = queue.publish(event("msg_1")).await;
        assert_eq!(
            published,
            Err(PublishError::Unavailable),
            "the first attempt is waited for"
        );
        let told = reason(&queue);
        assert!(
            told.contains(&users) && told.contains("inequivalent arg 'x-dead-letter-exchange'"),
            "{told}"
        );
        assert!(
            told.contains("AMQP_NAMESPACE"),
            "it says what to do: {told}"
        );

        let queues = arm
            .namespace()
            .listed("queues", &["name", "type", "messages"]);
        let theirs = queues
            .iter()
            .find(|queue| queue["name"] == json!(users))
            .unwrap();
        assert_eq!(
            (&theirs["type"], &theirs["messages"]),
            (&json!("classic"), &json!(1)),
            "it was touched"
        );

        // Once it is out of the way the program goes on by itself.
        arm.namespace().delete_queue("users").await;
        ready(&queue).await;
        publish(&queue, event("msg_2")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ok_is_exactly_what_a_full_queue_took() {
    const CONCURRENT: usize = 300;
    const LENGTH_MAX: usize = 150;
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        arm.namespace().limit_length(LENGTH_MAX).await;
        let mut taken = BTreeSet::new();
        let mut refused = 0;
        for round in 0..4 {
            let sent = names(&format!("msg_{round}"), CONCURRENT);
            let publishes = sent
                .into_iter()
                .map(async |id| (queue.publish(event(&id)).await, id));
            for (published, id) in join_all(publishes).await {
                match published {
                    Ok(()) => assert!(taken.insert(id)),
                    Err(PublishError::Refused) => refused += 1,
                    Err(other) => panic!("{id}: {other}"),
                }
            }
        }
        let stored = arm.namespace().take_all("users").await;
        assert_eq!(
            stored.len(),
            taken.len(),
            "as many are stored as were taken"
        );
        assert_eq!(
            stored.into_iter().collect::<BTreeSet<_>>(),
            taken,
            "and they are the same"
        );
        assert!(
            taken.len() >= LENGTH_MAX && refused > 0,
            "{} taken, {refused} refused",
            taken.len()
        );
        arm.namespace().lift_limit().await;
        publish(&queue, event("msg_after")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_binding_takes_is_kept() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        arm.namespace().unbind("user.*").await;
        publish(&queue, event("msg_1")).await;
        let mut unrouted = queue.consume(Source::Unrouted, taking(10));
        let batch = next(&mut unrouted).await;
        assert_eq!(ids(&batch), ["msg_1"]);
        unrouted.ack(batch).await.unwrap();
    })
    .await;
}

/// lapin can pin a returned message on another one's confirm, so this is told apart by ID, under load.
#[tokio::test(flavor = "multi_thread")]
async fn unroutable_is_exactly_what_nothing_took() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        let namespace = arm.namespace();
        namespace.bind("user.created").await;
        namespace.unbind("user.*").await;
        // Its binding, and not the exchange: that would be missed and declared again.
        namespace.unbind_queue("unrouted", "unrouted", "").await;

        let mut stored = BTreeSet::new();
        for round in 0..4 {
            let publishes = (0..400).map(async |n| {
                let (id, is_routable) = (format!("msg_{round}_{n}"), n % 5 != 0);
                let event_type = if is_routable {
                    EventType::named("user.created")
                } else {
                    EventType::named("user.updated")
                };
                (
                    queue
                        .publish(event_with(&id, event_type, Bytes::from_static(b"{}")))
                        .await,
                    id,
                    is_routable,
                )
            });
            for (published, id, is_routable) in join_all(publishes).await {
                assert_eq!(
                    published,
                    if is_routable {
                        Ok(())
                    } else {
                        Err(PublishError::Unroutable)
                    },
                    "{id}"
                );
                if is_routable {
                    stored.insert(id);
                }
            }
        }
        assert_eq!(
            namespace
                .take_all("users")
                .await
                .into_iter()
                .collect::<BTreeSet<_>>(),
            stored
        );
    })
    .await;
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
            // Not as fast as it can: all of it is read back one by one.
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
        let stored: BTreeSet<_> = namespace.take_all("users").await.into_iter().collect();
        assert!(
            stored.is_superset(&taken),
            "lost: {:?}",
            taken.difference(&stored).collect::<Vec<_>>()
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_publishes_for_itself_and_its_end_disturbs_nobody() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        let before = arm.namespace().connections("publish");
        let all = queue.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let queue = all.on_this_thread(NonZeroUsize::new(2).unwrap());
                publish_all(&queue, &names("of_the_thread", 100)).await;
                drop(queue);
                // Its tasks see that nobody is left.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            });
        });
        thread.await.unwrap();
        for id in names("of_others", 50) {
            assert_eq!(queue.publish(event(&id)).await, Ok(()));
        }
        assert_eq!(
            arm.namespace().connections("publish"),
            before,
            "all over one connection"
        );
        assert_eq!(drain(&mut consumer(&queue, 100), 150).await.len(), 150);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_closed_connection_is_delivered_again() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        let sent = names("msg", 10);
        publish_all(&queue, &sent).await;
        let mut consumer = consumer(&queue, 10);
        // All in hand, so that what comes after it comes from another connection.
        let mut in_hand = Vec::new();
        while in_hand
            .iter()
            .map(|batch: &Batch| batch.events.len())
            .sum::<usize>()
            < sent.len()
        {
            in_hand.push(next(&mut consumer).await);
        }
        broker::close_connections(arm.namespace().name(), "consume");
        // The same consumer is built anew, and the old batch means nothing to it.
        let again = next(&mut consumer).await;
        for batch in in_hand {
            consumer.ack(batch).await.unwrap_err();
        }
        let mut seen: BTreeSet<_> = ids(&again).into_iter().collect();
        consumer.ack(again).await.unwrap();
        if seen.len() < sent.len() {
            seen.extend(drain(&mut consumer, sent.len() - seen.len()).await);
        }
        assert_eq!(seen, sent);
        assert_nothing_comes(&mut consumer).await;
    })
    .await;
}

/// lapin says once that there is no more, and that can be read while a batch fills.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_consumer_whose_last_batch_is_not_full() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        let mut consumer = consumer(&queue, 10);
        publish_all(&queue, &names("first", 1)).await;
        drain(&mut consumer, 1).await;
        // Nothing is sent ahead before the first one is known to be no suspect.
        assert_nothing_comes(&mut consumer).await;
        publish_all(&queue, &names("sent_ahead", 5)).await;
        // Nothing is left at the broker: all five are on their way before the answer to the stop is.
        until("they were sent ahead", async || {
            arm.namespace().ready("users").await == Some(0)
        })
        .await;
        consumer.stop().await;
        let mut seen = BTreeSet::new();
        while let Some(batch) = timeout(Duration::from_secs(5), consumer.next_batch())
            .await
            .expect("it ends")
        {
            seen.extend(ids(&batch));
            consumer.ack(batch).await.unwrap();
        }
        assert_eq!(
            seen,
            names("sent_ahead", 5),
            "what was sent ahead is handed out"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        let mut consumer = consumer(&queue, 10);
        publish_all(&queue, &names("before", 3)).await;
        drain(&mut consumer, 3).await;
        arm.namespace().delete_queue("users").await;
        // Only who consumes notices.
        let wait = async { drain(&mut consumer, 1).await };
        let publish = async {
            // Between its declaration and its binding an event would go to the unrouted ones.
            let users = json!(arm.namespace().queue("users"));
            let bindings = || {
                arm.namespace().listed(
                    "bindings",
                    &["source_name", "destination_name", "routing_key"],
                )
            };
            let is_bound = |it: &Value| {
                it["destination_name"] == users && it["routing_key"] == json!("user.*")
            };
            until("the queue is bound again", async || {
                bindings().iter().any(is_bound)
            })
            .await;
            publish(&queue, event("after_0")).await;
        };
        let (came, ()) = tokio::join!(wait, publish);
        assert_eq!(came, ["after_0"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_publishes_notices_that_a_queue_or_an_exchange_was_deleted() {
    Arm::rabbitmq(async |arm| {
        let (queue, namespace) = (arm.open().await, arm.namespace());
        publish_all(&queue, &names("before", 3)).await;
        assert_eq!(namespace.take_all("users").await.len(), 3);
        namespace.delete_queue("users").await;
        let users = json!(namespace.queue("users"));
        let bindings = || {
            namespace.listed(
                "bindings",
                &["source_name", "destination_name", "routing_key"],
            )
        };
        let is_bound =
            |it: &Value| it["destination_name"] == users && it["routing_key"] == json!("user.*");
        until("the queue is bound again", async || {
            bindings().iter().any(is_bound)
        })
        .await;
        let connection = namespace.connections("publish");
        publish(&queue, event("after")).await;
        assert_eq!(namespace.take_all("users").await, ["after"]);

        namespace.delete_exchange("unrouted").await;
        let unrouted = json!(namespace.queue("unrouted"));
        let exchanges = || namespace.listed("exchanges", &["name"]);
        until("the exchange is there again", async || {
            exchanges().iter().any(|it| it["name"] == unrouted)
        })
        .await;
        assert_eq!(
            namespace.connections("publish"),
            connection,
            "and no publish was cut off for it"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_too_often_is_a_dead_letter() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        publish(&queue, event("msg_poison")).await;
        let mut dead = queue.consume(Source::DeadLetters, taking(10));
        // One delivery, and 20 again.
        for delivery in 0..21 {
            let batch = next(&mut consumer(&queue, 10)).await;
            assert_eq!(ids(&batch), ["msg_poison"], "delivery {delivery}");
        }
        let batch = next(&mut dead).await;
        assert_eq!(batch.events[0].id().as_str(), "msg_poison");
        assert_eq!(batch.events[0].body(), event("msg_poison").body());
        assert_eq!(
            batch.events[0].received_at(),
            event("msg_poison").received_at()
        );
        dead.ack(batch).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_put_there_by_hand_comes_under_the_same_id_each_time() {
    Arm::rabbitmq(async |arm| {
        let queue = arm.open().await;
        ready(&queue).await;
        let (connection, channel) = broker::connect().await;
        channel
            .confirm_select(lapin::options::ConfirmSelectOptions { nowait: false })
            .await
            .unwrap();
        let users = arm.namespace().queue("users");
        let dotted = BasicProperties::default().with_message_id("not.an.id".into());
        put(
            &channel,
            users.clone(),
            BasicProperties::default(),
            br#"{"type":"user.deleted"}"#,
        )
        .await;
        put(&channel, users, dotted, br#"{"type":"user.deleted"}"#).await;
        connection.close(200, "put".into()).await.unwrap();
        let mut consumer = consumer(&queue, 1);
        let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
        assert_eq!(ids(&first), ids(&second));
        assert!(ids(&first)[0].starts_with("unidentified_"));
        assert_eq!(
            first.events[0].event_type(),
            &EventType::named("user.deleted")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_used_is_connected() {
    Arm::rabbitmq(async |arm| {
        let worker = arm.open().await;
        let mut consumer = consumer(&worker, 10);
        assert_nothing_comes(&mut consumer).await;
        ready(&worker).await;
        until("it consumes", async || {
            arm.namespace().connections("consume").len() == 1
        })
        .await;
        assert_eq!(worker.depth().await.unwrap(), 0);
        assert!(
            arm.namespace().connections("publish").is_empty(),
            "a worker publishes nothing"
        );
        worker.close().await;

        // Connects without being asked for anything.
        let _receiver = arm.open().await;
        until("it publishes", async || {
            arm.namespace().connections("publish").len() == 1
        })
        .await;
        assert!(
            arm.namespace().connections("consume").is_empty(),
            "a receiver consumes nothing"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_be_used_is_explained_without_secrets() {
    let good = broker::url();
    let userinfo = good.split_once("://").unwrap().1.split_once('@').unwrap().0;
    let wrong_password = good.replacen(userinfo, "guest:sesame", 1);
    let wrong_vhost = format!("{}/sesame-street", good.rsplit_once('/').unwrap().0);
    let nobody_there = "amqp://guest:sesame@127.0.0.1:1/%2f".to_string();
    for (url, expected) in [
        (wrong_password, "refuses this user"),
        (wrong_vhost, "virtual host"),
        (nobody_there, "no connection to RabbitMQ"),
    ] {
        Arm::rabbitmq(async |arm| {
            let queue = arm.open_at(&url).await;
            assert_eq!(
                queue.publish(event("msg_1")).await,
                Err(PublishError::Unavailable)
            );
            until("the reason is known", async || {
                reason(&queue).contains(expected)
            })
            .await;
            assert!(
                !reason(&queue).contains(":sesame") && !reason(&queue).contains("sesame@"),
                "{}",
                reason(&queue)
            );

            let since = Instant::now();
            assert_eq!(
                queue.publish(event("msg_2")).await,
                Err(PublishError::Unavailable)
            );
            assert!(since.elapsed() < AT_ONCE, "it took {:?}", since.elapsed());
            assert!(queue.depth().await.is_err());
            // A consumer waits, and can be stopped.
            let mut waiting = consumer(&queue, 1);
            assert_nothing_comes(&mut waiting).await;
            waiting.stop().await;
            assert!(
                timeout(AT_ONCE, waiting.next_batch())
                    .await
                    .expect("it ends at once")
                    .is_none()
            );
        })
        .await;
    }
}
