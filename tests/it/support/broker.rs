//! A namespace of its own on the RabbitMQ server, emptied away with the value.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection, ConnectionProperties};

use super::app::until;

/// The broker that the tests use.
pub fn url() -> String {
    std::env::var("TEST_AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".into())
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
    let output = command.args(words).arg("-q").args(arguments).output().expect("rabbitmqctl can be run");
    assert!(output.status.success(), "rabbitmqctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub struct Namespace(String);

impl Namespace {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("clerk-sync-test-{}-{number}", std::process::id()))
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn queue(&self, part: &str) -> String {
        format!("{}.{part}", self.0)
    }

    /// Limits the queue of user events by policy, as an operator would. Returns when the limit is in force.
    pub async fn limit_length(&self, length: usize) {
        let pattern = format!("^{}$", self.queue("users").replace('.', "\\."));
        let definition = format!(r#"{{"max-length":{length}}}"#);
        rabbitmqctl(&["set_policy", "--apply-to", "queues", &self.0, &pattern, &definition]);
        let line = format!("{}\t{}", self.queue("users"), self.0);
        until("the policy is in force", async || rabbitmqctl(&["list_queues", "name", "policy"]).contains(&line)).await;
    }

    pub async fn lift_limit(&self) {
        rabbitmqctl(&["clear_policy", &self.0]);
        let line = format!("{}\t{}", self.queue("users"), self.0);
        until("the policy is gone", async || !rabbitmqctl(&["list_queues", "name", "policy"]).contains(&line)).await;
    }

    /// Takes everything out of a queue; the IDs.
    pub async fn take_all(&self, part: &str) -> Vec<String> {
        let (connection, channel) = connect().await;
        let mut ids = Vec::new();
        let get = BasicGetOptions { no_ack: false };
        while let Some(message) = channel.basic_get(self.queue(part).into(), get).await.unwrap() {
            ids.push(message.delivery.properties.message_id().as_ref().unwrap().to_string());
            message.delivery.acker.ack(BasicAckOptions { multiple: false }).await.unwrap();
        }
        connection.close(200, "taken".into()).await.unwrap();
        ids
    }

    pub async fn delete_queue(&self, part: &str) {
        let (connection, channel) = connect().await;
        let options = QueueDeleteOptions { if_unused: false, if_empty: false, nowait: false };
        channel.queue_delete(self.queue(part).into(), options).await.unwrap();
        connection.close(200, "deleted".into()).await.unwrap();
    }

    async fn tidy(name: String) {
        let tidy = async {
            let (connection, channel) = connect().await;
            for part in ["users", "dead", "unrouted"] {
                let options = QueueDeleteOptions { if_unused: false, if_empty: false, nowait: false };
                channel.queue_delete(format!("{name}.{part}").into(), options).await?;
            }
            for part in ["events", "dead", "unrouted"] {
                let options = ExchangeDeleteOptions { if_unused: false, nowait: false };
                channel.exchange_delete(format!("{name}.{part}").into(), options).await?;
            }
            connection.close(200, "tidied".into()).await
        };
        let _ = tokio::time::timeout(Duration::from_secs(10), tidy).await;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.0);
        // A test that failed is inside a runtime that must not be blocked, so the tidying gets a thread.
        let tidying = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(Self::tidy(name));
        });
        let _ = tidying.join();
    }
}
