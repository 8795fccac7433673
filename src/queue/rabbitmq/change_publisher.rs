//! Publishes changes of rows to the exchange that applications bind their queues to.
//!
//! One value has one channel and one caller, so changes arrive in the order in which they are
//! published. A batch counts once the broker has confirmed all of it. After an error the caller
//! publishes the whole batch again: a queue may get a change twice, and never one before an earlier
//! one of which it got none.

use std::sync::Arc;
use std::time::Duration;

use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::timeout;

use super::amqp_error::describe;
use super::confirmed::{self, Outgoing, open_channel};
use super::connection::{Broker, Connection, Session};
use super::message::PERSISTENT;
use super::purpose::Purpose;
use crate::queue::ChangeMessage;
use crate::queue::error::Unavailable;

/// Longest wait for a channel, and for the confirms of a batch.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(8);

/// Publishes changes, over a connection of its own.
pub struct ChangePublisher {
    connection: Connection,
    exchange: String,
    /// The open channel, and the session that it belongs to.
    channel: Option<(Arc<Session>, Channel)>,
    /// A session on which an alarm came before the confirms of a batch. What lapin has of that
    /// batch leaves when the alarm is over.
    unclear: Option<Arc<Session>>,
}

impl ChangePublisher {
    /// Connects, and declares the exchange, from now on and after every outage.
    pub(super) fn connect(broker: Broker) -> Self {
        let exchange = broker.names.changes.clone();
        let connection = Connection::new(broker, Purpose::PublishChanges);
        connection.want();
        Self {
            connection,
            exchange,
            channel: None,
            unclear: None,
        }
    }

    /// Waits until the exchange is declared and the broker takes messages. Returns false once the
    /// connection is closed. Cancel-safe.
    pub async fn is_usable(&mut self) -> bool {
        while let Some(session) = self.connection.opened().await {
            if session.is_blocked() {
                tokio::select! {
                    () = session.ended() => {}
                    () = session.unblocked() => {}
                }
                continue;
            }
            let is_unclear = |unclear: &mut Arc<Session>| Arc::ptr_eq(unclear, &session);
            if self.unclear.take_if(is_unclear).is_none() {
                return true;
            }
            session.end();
        }
        false
    }

    /// Publishes changes in their order. Returns once the broker has confirmed each; a change that
    /// no queue is bound for is confirmed, too. If this is cancelled, nothing is known of any
    /// change.
    ///
    /// # Errors
    /// Fails if any is not confirmed: then all are to be published again.
    pub async fn publish(&mut self, messages: &[ChangeMessage]) -> Result<(), Unavailable> {
        let session = self.connection.current();
        let session = session.filter(|session| !session.is_blocked());
        let session = session
            .ok_or_else(|| Unavailable::new("RabbitMQ is away, or takes no messages now"))?;
        // Kept only after confirms: on any other a late confirm could be taken for one of these.
        let channel = self.channel.take();
        let channel = channel.filter(|(of, _)| Arc::ptr_eq(of, &session));
        let publish = async {
            let channel = match channel {
                Some((_, channel)) => channel,
                None => open_channel(&session).await?,
            };
            let messages = messages.iter().map(outgoing);
            let confirmed = confirmed::publish(&channel, &self.exchange, false, messages).await?;
            Ok::<_, lapin::Error>((channel, confirmed))
        };
        let fault = tokio::select! {
            biased;
            () = session.ended() => Unavailable::new("the connection to RabbitMQ was lost"),
            published = timeout(CONFIRM_TIMEOUT, publish) => match published {
                Ok(Ok((channel, confirmed))) if confirmed.iter().all(Confirmation::is_ack) => {
                    self.channel = Some((session, channel));
                    return Ok(());
                }
                Ok(Ok((channel, _))) => {
                    // A new channel may do better, see `publisher.rs`. One that cannot be closed
                    // ends with its connection.
                    drop(timeout(CONFIRM_TIMEOUT, channel.close(200, "replaced".into())).await);
                    return Err(Unavailable::new(
                        "a queue that is bound to the exchange of changes refuses them: it is full, or has no leader",
                    ));
                }
                Ok(Err(error)) => Unavailable::new(describe(&error)),
                Err(_) => Unavailable::new("RabbitMQ does not confirm changes in time"),
            },
            () = session.blocked() => {
                self.unclear = Some(session);
                return Err(Unavailable::new("RabbitMQ takes no messages now"));
            }
        };
        session.end();
        Err(fault)
    }

    /// Closes the connection in order.
    pub async fn close(self) {
        self.connection.close().await;
    }
}

fn outgoing(message: &ChangeMessage) -> Outgoing<'_> {
    let seconds = message.committed_at.ms().unsigned_abs() / 1000;
    Outgoing {
        routing_key: message.routing_key.as_str().into(),
        body: &message.body,
        properties: BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into())
            .with_message_id(message.id.as_str().into())
            .with_type(message.routing_key.as_str().into())
            .with_timestamp(seconds),
    }
}
