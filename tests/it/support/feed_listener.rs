//! An application that listens to the exchange of changes, with a durable queue of its own.

use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::app::{DEADLINE, until};

/// Its queue at the broker.
pub struct FeedListener {
    url: String,
    queue: String,
    exchange: String,
}

/// One message, as the application sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub id: String,
    pub key: String,
    pub body: Value,
}

impl FeedListener {
    /// Declares the queue and binds it with this key, once the exchange is there.
    pub async fn bind(url: &str, exchange: &str, queue: &str, key: &str) -> Self {
        Self::bind_with(url, exchange, queue, key, FieldTable::default()).await
    }

    /// The same for a queue that refuses what it has no room for.
    pub async fn bind_limited(
        url: &str,
        exchange: &str,
        queue: &str,
        key: &str,
        length: i32,
    ) -> Self {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(length));
        let refuse = AMQPValue::LongString("reject-publish".into());
        arguments.insert("x-overflow".into(), refuse);
        Self::bind_with(url, exchange, queue, key, arguments).await
    }

    async fn bind_with(
        url: &str,
        exchange: &str,
        queue: &str,
        key: &str,
        mut arguments: FieldTable,
    ) -> Self {
        let quorum = AMQPValue::LongString("quorum".into());
        arguments.insert("x-queue-type".into(), quorum);
        let listener = Self {
            url: url.to_owned(),
            queue: queue.to_owned(),
            exchange: exchange.to_owned(),
        };
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let (connection, channel) = listener.connect().await.unwrap();
        channel
            .queue_declare(queue.into(), options, arguments)
            .await
            .unwrap();
        connection.close(200, "declared".into()).await.unwrap();
        until("the exchange is there", async || {
            listener.try_bind(key).await.is_ok()
        })
        .await;
        listener
    }

    async fn try_bind(&self, key: &str) -> Result<(), lapin::Error> {
        let (connection, channel) = self.connect().await?;
        let (queue, exchange) = (self.queue.as_str().into(), self.exchange.as_str().into());
        let options = QueueBindOptions { nowait: false };
        // A channel that asks for an exchange that is not there is closed.
        channel
            .queue_bind(queue, exchange, key.into(), options, FieldTable::default())
            .await?;
        connection.close(200, "bound".into()).await
    }

    async fn connect(&self) -> Result<(Connection, Channel), lapin::Error> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    /// Takes what is there now, in order.
    pub async fn take_all(&self) -> Vec<Heard> {
        self.deliveries().await.iter().map(heard).collect()
    }

    /// The same, as AMQP has it.
    pub async fn deliveries(&self) -> Vec<Delivery> {
        let (connection, channel) = self.connect().await.unwrap();
        let mut taken = Vec::new();
        let get = BasicGetOptions { no_ack: false };
        while let Some(message) = channel
            .basic_get(self.queue.as_str().into(), get)
            .await
            .unwrap()
        {
            let ack = BasicAckOptions { multiple: false };
            message.delivery.acker.ack(ack).await.unwrap();
            taken.push(message.delivery);
        }
        connection.close(200, "taken".into()).await.unwrap();
        taken
    }

    /// Takes until `is_enough` says so of all that came.
    pub async fn take_until(&self, is_enough: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        let (mut heard, deadline) = (Vec::new(), Instant::now() + DEADLINE);
        loop {
            heard.extend(self.take_all().await);
            if is_enough(&heard) {
                return heard;
            }
            assert!(Instant::now() < deadline, "only {heard:#?} came");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes until so many came.
    pub async fn take(&self, count: usize) -> Vec<Heard> {
        self.take_until(|heard| heard.len() >= count).await
    }

    pub async fn delete(&self) {
        let (connection, channel) = self.connect().await.unwrap();
        let options = QueueDeleteOptions::default();
        channel
            .queue_delete(self.queue.as_str().into(), options)
            .await
            .unwrap();
        connection.close(200, "deleted".into()).await.unwrap();
    }
}

fn heard(delivery: &Delivery) -> Heard {
    let id = delivery.properties.message_id().as_ref();
    Heard {
        id: id.expect("it has an ID").to_string(),
        key: delivery.routing_key.to_string(),
        body: serde_json::from_slice(&delivery.data).unwrap(),
    }
}

/// What came, without the repetitions.
pub fn first_times(heard: &[Heard]) -> Vec<&Heard> {
    let mut seen = std::collections::HashSet::new();
    let heard = heard.iter();
    heard.filter(|message| seen.insert(&message.id)).collect()
}
