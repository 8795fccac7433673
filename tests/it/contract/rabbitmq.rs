//! The topology and messages at RabbitMQ, and publishes that are refused, returned or cut off.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clerk_sync::clerk::{EventType, tables};
use clerk_sync::queue::{PublishError, Source};
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

/// Limit for an answer without a request to the broker. It takes microseconds; the rest is for a
/// loaded machine.
const AT_ONCE: Duration = Duration::from_millis(500);

pub async fn put(channel: &Channel, queue: String, properties: BasicProperties, body: &[u8]) {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "by hand, as a stranger would; no other task has this channel"
    )]
    let published = channel
        .basic_publish("".into(), queue.into(), options, body, properties)
        .await;
    published.unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_matches_the_contract() {
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
        assert_eq!(found, ["dead", "events", "rescued", "unrouted"].map(name));
        assert!(queues.iter().all(|queue| queue["durable"] == json!(true)), "{queues:?}");
        let declared = |limit, letters_to| {
            json!({
                "x-queue-type": "quorum", "x-delivery-limit": limit, "x-overflow": "reject-publish",
                "x-dead-letter-exchange": name(letters_to), "x-dead-letter-strategy": "at-least-once",
            })
        };
        let expected =
            [(1_000_000, "rescued"), (20, "dead"), (1_000_000, "expired"), (1_000_000, "rescued")];
        for (queue, (limit, letters_to)) in queues.iter().zip(expected) {
            assert_eq!(Value::from(arguments(queue)), declared(limit, letters_to));
        }

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
        let of_tables = tables::ALL.iter().map(|table| {
            let family = table.events[0].name.split('.').next().unwrap();
            [name("events"), name("events"), format!("{family}.*")]
        });
        let mut expected: Vec<_> = of_tables.collect();
        expected.extend(["dead", "unrouted"].map(|part| [name(part), name(part), String::new()]));
        expected.sort();
        assert_eq!(bindings, expected);
        let keys: Vec<_> = bindings.iter().map(|[.., key]| key.as_str()).collect();
        for key in ["user.*", "organization.*", "organizationMembership.*", "organizationInvitation.*"] {
            assert!(keys.contains(&key), "{key}: {keys:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_matches_the_contract() {
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
            .basic_get(arm.namespace().queue("events").into(), options)
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
        let users = arm.namespace().queue("events");
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
        let reported = reason(&queue);
        assert!(
            reported.contains(&users)
                && reported.contains("inequivalent arg 'x-dead-letter-exchange'"),
            "{reported}"
        );
        assert!(
            reported.contains("AMQP_NAMESPACE"),
            "it says what to do: {reported}"
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
        arm.namespace().delete_queue("events").await;
        ready(&queue).await;
        publish(&queue, event("msg_2")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_returns_ok_only_for_what_a_full_queue_accepted() {
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
        let stored = arm.namespace().take_all("events").await;
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
async fn an_event_that_no_binding_matches_is_kept() {
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

/// lapin can pin a returned message on another one's confirm, so they are distinguished by ID,
/// under load.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_events_without_a_queue_are_unroutable() {
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
                .take_all("events")
                .await
                .into_iter()
                .collect::<BTreeSet<_>>(),
            stored
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_publishes_for_itself_and_its_end_disturbs_no_other() {
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
                // Its tasks see that no handle is left.
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
async fn a_publisher_notices_that_a_queue_or_an_exchange_was_deleted() {
    Arm::rabbitmq(async |arm| {
        let (queue, namespace) = (arm.open().await, arm.namespace());
        publish_all(&queue, &names("before", 3)).await;
        assert_eq!(namespace.take_all("events").await.len(), 3);
        namespace.delete_queue("events").await;
        let users = json!(namespace.queue("events"));
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
        assert_eq!(namespace.take_all("events").await, ["after"]);

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
async fn a_broker_that_cannot_be_used_is_explained_without_secrets() {
    let good = broker::url();
    let userinfo = good.split_once("://").unwrap().1.split_once('@').unwrap().0;
    let wrong_password = good.replacen(userinfo, "guest:sesame", 1);
    let wrong_vhost = format!("{}/sesame-street", good.rsplit_once('/').unwrap().0);
    let closed_port = "amqp://guest:sesame@127.0.0.1:1/%2f".to_string();
    for (url, expected) in [
        (wrong_password, "refuses this user"),
        (wrong_vhost, "virtual host"),
        (closed_port, "no connection to RabbitMQ"),
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
