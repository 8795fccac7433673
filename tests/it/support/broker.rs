//! A namespace of its own on the RabbitMQ server, emptied away with the value.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions,
    ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::app::until;

/// The broker that the tests use.
pub fn url() -> String {
    std::env::var("TEST_AMQP_URL")
        .unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".into())
}

/// Host and port of the broker.
pub fn authority() -> String {
    let url = url();
    let rest = url.split_once("://").expect("TEST_AMQP_URL has a scheme").1;
    let place = rest.split('/').next().unwrap().rsplit('@').next().unwrap();
    if place.contains(':') {
        place.into()
    } else {
        format!("{place}:5672")
    }
}

pub async fn connect() -> (Connection, Channel) {
    let connection = Connection::connect(&url(), ConnectionProperties::default()).await;
    let connection = connection.expect("a RabbitMQ server at TEST_AMQP_URL");
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// Runs the broker's own command, with the prefix that reaches it.
pub fn rabbitmqctl(arguments: &[&str]) -> String {
    let prefix = std::env::var("TEST_RABBITMQCTL").unwrap_or_else(|_| "rabbitmqctl".into());
    let mut words = prefix.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let output = command
        .args(words)
        .arg("-q")
        .args(arguments)
        .output()
        .expect("rabbitmqctl can be run");
    assert!(
        output.status.success(),
        "rabbitmqctl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn connections(namespace: &str, purpose: &str) -> Vec<String> {
    let name = format!("\"clerk-sync {namespace} {purpose}\"");
    let listed = rabbitmqctl(&["list_connections", "pid", "client_properties"]);
    let mine = listed.lines().filter(|line| line.contains(&name));
    mine.map(|line| line.split('\t').next().unwrap().to_owned())
        .collect()
}

/// Has the broker close the connections of a namespace for `publish` or `consume`, as an operator
/// would.
pub fn close_connections(namespace: &str, purpose: &str) {
    let connections = connections(namespace, purpose);
    assert!(
        !connections.is_empty(),
        "there is no connection to {purpose}"
    );
    for connection in connections {
        rabbitmqctl(&["close_connection", &connection, "closed by a test"]);
    }
}

/// The part of the name of a queue that stands for one of an application.
pub const APPLICATION: &str = "application";

pub struct Namespace {
    name: String,
    /// Whether a policy was set that must be cleared.
    limited: AtomicBool,
}

impl Namespace {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // The random part: a process of an earlier run may have had this number, and left something
        // behind.
        let random: u32 = rand::random();
        let name = format!(
            "clerk-sync-test-{}-{number}-{random:08x}",
            std::process::id()
        );
        Self {
            name,
            limited: AtomicBool::new(false),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn queue(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }

    /// Limits the queue of events by policy, as an operator would. Returns when the limit is
    /// in force.
    pub async fn limit_length(&self, length: usize) {
        self.set_policy(&["events"], &format!(r#"{{"max-length":{length}}}"#))
            .await;
    }

    /// Gives these queues a policy, as an operator would. Returns when it is in force. There is one
    /// at a time.
    pub async fn set_policy(&self, parts: &[&str], definition: &str) {
        let pattern = format!(
            "^{}\\.({})$",
            self.name.replace('.', "\\."),
            parts.join("|")
        );
        self.limited.store(true, Ordering::Relaxed);
        rabbitmqctl(&[
            "set_policy",
            "--apply-to",
            "queues",
            &self.name,
            &pattern,
            definition,
        ]);
        until("the policy is in force", async || {
            let listed = rabbitmqctl(&["list_queues", "name", "policy"]);
            parts
                .iter()
                .all(|part| listed.contains(&format!("{}\t{}", self.queue(part), self.name)))
        })
        .await;
    }

    pub async fn lift_limit(&self) {
        rabbitmqctl(&["clear_policy", &self.name]);
        self.limited.store(false, Ordering::Relaxed);
        let line = format!("{}\t{}", self.queue("events"), self.name);
        until("the policy is gone", async || {
            !rabbitmqctl(&["list_queues", "name", "policy"]).contains(&line)
        })
        .await;
    }

    /// Puts a message into a queue by hand.
    pub async fn put(&self, part: &str, properties: BasicProperties, body: &[u8]) {
        let (connection, channel) = connect().await;
        channel
            .confirm_select(ConfirmSelectOptions { nowait: false })
            .await
            .unwrap();
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        #[expect(clippy::disallowed_methods, reason = "the channel has no other user")]
        let published = channel
            .basic_publish(
                "".into(),
                self.queue(part).into(),
                options,
                body,
                properties,
            )
            .await;
        assert!(published.unwrap().await.unwrap().is_ack());
        connection.close(200, "put".into()).await.unwrap();
    }

    /// Takes everything out of a queue; the IDs.
    pub async fn take_all(&self, part: &str) -> Vec<String> {
        let (connection, channel) = connect().await;
        let mut ids = Vec::new();
        let get = BasicGetOptions { no_ack: false };
        while let Some(message) = channel
            .basic_get(self.queue(part).into(), get)
            .await
            .unwrap()
        {
            ids.push(
                message
                    .delivery
                    .properties
                    .message_id()
                    .as_ref()
                    .unwrap()
                    .to_string(),
            );
            message
                .delivery
                .acker
                .ack(BasicAckOptions { multiple: false })
                .await
                .unwrap();
        }
        connection.close(200, "taken".into()).await.unwrap();
        ids
    }

    /// Messages that are ready to be taken from a queue; `None` if there is no such queue.
    pub async fn ready(&self, part: &str) -> Option<u32> {
        let (connection, channel) = connect().await;
        let passive = QueueDeclareOptions {
            passive: true,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: false,
        };
        let queue = channel
            .queue_declare(self.queue(part).into(), passive, FieldTable::default())
            .await
            .ok()?;
        connection.close(200, "counted".into()).await.unwrap();
        Some(queue.message_count())
    }

    pub async fn delete_queue(&self, part: &str) {
        let (connection, channel) = connect().await;
        let options = QueueDeleteOptions {
            if_unused: false,
            if_empty: false,
            nowait: false,
        };
        channel
            .queue_delete(self.queue(part).into(), options)
            .await
            .unwrap();
        connection.close(200, "deleted".into()).await.unwrap();
    }

    /// What the broker keeps of this namespace, as JSON: `queues` or `exchanges`, with their
    /// arguments.
    pub fn listed(&self, kind: &str, columns: &[&str]) -> Vec<serde_json::Value> {
        let command = format!("list_{kind}");
        let listed = rabbitmqctl(&[&["--formatter", "json", &command], columns].concat());
        let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
        let mine = |thing: &serde_json::Value| {
            let name = thing["name"].as_str().or(thing["source_name"].as_str());
            name.is_some_and(|name| name.starts_with(&format!("{}.", self.name)))
        };
        listed.into_iter().filter(mine).collect()
    }

    /// The broker's IDs of the connections for `publish` or `consume`.
    pub fn connections(&self, purpose: &str) -> Vec<String> {
        connections(&self.name, purpose)
    }

    pub async fn bind(&self, key: &str) {
        let (connection, channel) = connect().await;
        let events = self.queue("events");
        let options = QueueBindOptions { nowait: false };
        channel
            .queue_bind(
                events.as_str().into(),
                events.as_str().into(),
                key.into(),
                options,
                FieldTable::default(),
            )
            .await
            .unwrap();
        connection.close(200, "bound".into()).await.unwrap();
    }

    pub async fn bind_queue(&self, queue: &str, exchange: &str) {
        let (connection, channel) = connect().await;
        let (queue, exchange) = (self.queue(queue).into(), self.queue(exchange).into());
        let options = QueueBindOptions { nowait: false };
        channel
            .queue_bind(queue, exchange, "".into(), options, FieldTable::default())
            .await
            .unwrap();
        connection.close(200, "bound".into()).await.unwrap();
    }

    pub async fn unbind(&self, key: &str) {
        self.unbind_queue("events", "events", key).await;
    }

    pub async fn unbind_queue(&self, queue: &str, exchange: &str, key: &str) {
        let (connection, channel) = connect().await;
        let (queue, exchange) = (self.queue(queue).into(), self.queue(exchange).into());
        channel
            .queue_unbind(queue, exchange, key.into(), FieldTable::default())
            .await
            .unwrap();
        connection.close(200, "unbound".into()).await.unwrap();
    }

    pub async fn delete_exchange(&self, part: &str) {
        let (connection, channel) = connect().await;
        let options = ExchangeDeleteOptions {
            if_unused: false,
            nowait: false,
        };
        channel
            .exchange_delete(self.queue(part).into(), options)
            .await
            .unwrap();
        connection.close(200, "deleted".into()).await.unwrap();
    }

    async fn tidy(name: String) {
        let tidy = async {
            let dead_letters =
                tokio::time::timeout(Duration::from_secs(5), until_dead_letters_work(&name)).await;
            // A queue that is not there, or not as the program declares it, needs none of this.
            drop(dead_letters);
            let (connection, channel) = connect().await;
            for part in ["events", "dead", "unrouted", "rescued", APPLICATION] {
                let options = QueueDeleteOptions {
                    if_unused: false,
                    if_empty: false,
                    nowait: false,
                };
                channel
                    .queue_delete(format!("{name}.{part}").into(), options)
                    .await?;
            }
            for part in [
                "events", "dead", "unrouted", "rescued", "expired", "changes",
            ] {
                let options = ExchangeDeleteOptions {
                    if_unused: false,
                    nowait: false,
                };
                channel
                    .exchange_delete(format!("{name}.{part}").into(), options)
                    .await?;
            }
            connection.close(200, "tidied".into()).await
        };
        let _ = tokio::time::timeout(Duration::from_secs(10), tidy).await;
    }
}

/// Sends one message the way of dead letters out of each queue, and waits for it at the end.
///
/// Seen with RabbitMQ 3.10: a queue that is deleted within moments of its declaration meets its own
/// dead-letter worker at its start, which then crashes over and over, until the supervisor of all
/// such workers gives up; from then on, and until the broker is started again, every queue with
/// at-least-once dead letters dies at its first event.
async fn until_dead_letters_work(namespace: &str) -> Result<(), lapin::Error> {
    let (connection, channel) = connect().await;
    channel
        .confirm_select(ConfirmSelectOptions { nowait: false })
        .await?;
    let [events, dead, unrouted, rescued] =
        ["events", "dead", "unrouted", "rescued"].map(|part| format!("{namespace}.{part}"));
    let bind = QueueBindOptions { nowait: false };
    let expired = format!("{namespace}.expired");
    for (queue, exchange) in [(&rescued, &rescued), (&dead, &expired)] {
        channel
            .queue_bind(
                queue.as_str().into(),
                exchange.as_str().into(),
                "".into(),
                bind,
                FieldTable::default(),
            )
            .await?;
    }
    for (from, to) in [
        (&events, &dead),
        (&dead, &rescued),
        (&unrouted, &rescued),
        (&rescued, &dead),
    ] {
        for queue in [from, to] {
            channel
                .queue_purge(queue.as_str().into(), QueuePurgeOptions { nowait: false })
                .await?;
        }
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let persistent = BasicProperties::default().with_delivery_mode(2);
        #[expect(clippy::disallowed_methods, reason = "the channel has no other user")]
        channel
            .basic_publish(
                "".into(),
                from.as_str().into(),
                options,
                b"last",
                persistent,
            )
            .await?
            .await?;
        if let Some(message) = channel
            .basic_get(from.as_str().into(), BasicGetOptions { no_ack: false })
            .await?
        {
            message
                .delivery
                .acker
                .reject(BasicRejectOptions { requeue: false })
                .await?;
            while channel
                .basic_get(to.as_str().into(), BasicGetOptions { no_ack: true })
                .await?
                .is_none()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    connection.close(200, "dead letters work".into()).await
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        if self.limited.load(Ordering::Relaxed) && !std::thread::panicking() {
            rabbitmqctl(&["clear_policy", &name]);
        } else if self.limited.load(Ordering::Relaxed) {
            // A second panic would abort the other tests.
            let _cleared = std::panic::catch_unwind(|| rabbitmqctl(&["clear_policy", &name]));
        }
        // A test that failed is inside a runtime that must not be blocked, so the tidying gets a
        // thread.
        let tidying = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(Self::tidy(name));
        });
        let _ = tidying.join();
    }
}
