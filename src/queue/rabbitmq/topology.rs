//! The topology at the broker: declared at every connection, in full, without any default that
//! changed between RabbitMQ 3.10 and 4.
//!
//! ```text
//! NAMESPACE.events (topic) ──user.*, …──▶ NAMESPACE.events ──20 deliveries──▶ NAMESPACE.dead (fanout, queue)
//!        └────────no matching binding──────────▶ NAMESPACE.unrouted (fanout, queue)
//!
//! NAMESPACE.dead, .unrouted (queues) ──taken out by a policy──▶ NAMESPACE.rescued (fanout) ──▶ NAMESPACE.rescued
//! NAMESPACE.rescued (queue) ──taken out by a policy──▶ NAMESPACE.expired (fanout) ──▶ NAMESPACE.dead, .unrouted
//! ```
//!
//! A policy can give the secondary queues a `message-ttl`, which no argument overrides. Messages
//! that expire there are retained by the broker's at-least-once dead lettering until they can be
//! routed: the last arrows, bindings, only exist while a worker records what arrives. So nothing is
//! lost while no worker runs.
//!
//! With the change feed a worker also declares `NAMESPACE.changes` (topic), without a queue: that of
//! each application is its own.
//!
//! The broker never routes an expired message back into a queue in which it expired before: what
//! expires in `NAMESPACE.rescued` goes to the other of the two.

use std::collections::BTreeSet;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind, Queue};
use tracing::warn;

use super::amqp_error::channel_error;
use super::header::{long_text, table};
use crate::clerk::tables;
use crate::queue::batch::Source;

/// Every name at the broker. An exchange and its queue have one name.
#[derive(Debug)]
pub struct Names {
    pub namespace: String,
    pub events: String,
    pub dead: String,
    pub unrouted: String,
    pub rescued: String,
    /// Only an exchange.
    pub expired: String,
    /// Only an exchange, for applications. It is there if changes of rows are published.
    pub changes: String,
}

/// Deliveries of an event before it is a dead letter: enough for many outages, few enough that a
/// poison message ends.
pub const DELIVERY_LIMIT: i64 = 20;

/// The secondary queues lose nothing by deliveries: -1 means no limit to RabbitMQ 4 and a limit of
/// 0 to 3.10, which drops at the first return.
const NO_DELIVERY_LIMIT: i64 = 1_000_000;

/// The patterns that match the routing keys of the events of every table: `user.*`, and so on.
fn event_keys() -> BTreeSet<String> {
    let events = tables::ALL.iter().flat_map(|table| table.events);
    let families = events.filter_map(|kind| Some(kind.name.split_once('.')?.0));
    families.map(|family| format!("{family}.*")).collect()
}

impl Names {
    /// The names with this prefix.
    pub fn new(namespace: &str) -> Self {
        let name = |part: &str| format!("{namespace}.{part}");
        Self {
            namespace: namespace.into(),
            events: name("events"),
            dead: name("dead"),
            unrouted: name("unrouted"),
            rescued: name("rescued"),
            expired: name("expired"),
            changes: name("changes"),
        }
    }

    /// The queue of a source.
    pub fn of_source(&self, source: Source) -> &str {
        match source {
            Source::Events => &self.events,
            Source::DeadLetters => &self.dead,
            Source::Unrouted => &self.unrouted,
            Source::Rescued => &self.rescued,
        }
    }

    /// Queue and exchange of each binding that releases the events that the broker retains. Those
    /// by which events leave the rescued queue come first.
    fn releasing(&self) -> [(&str, &str); 3] {
        [
            (&self.unrouted, &self.expired),
            (&self.dead, &self.expired),
            (&self.rescued, &self.rescued),
        ]
    }
}

/// Why the topology is not there.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// It exists with other arguments, and is not changed.
    #[error("{title} exists with other arguments and is left as it is ({difference}); {remedy}")]
    Mismatch {
        title: String,
        difference: String,
        remedy: &'static str,
    },
    #[error(transparent)]
    Broker(#[from] lapin::Error),
}

/// One exchange or queue, with its arguments.
pub struct Declaration<'n> {
    /// `None` for a queue.
    exchange: Option<ExchangeKind>,
    pub name: &'n str,
    arguments: FieldTable,
    /// The arguments of an earlier version, which are accepted.
    earlier: Option<FieldTable>,
}

/// All declarations, in an order in which each refers to earlier ones.
pub fn declarations(names: &Names) -> [Declaration<'_>; 9] {
    let exchange = |kind, name, arguments| Declaration {
        exchange: Some(kind),
        name,
        arguments,
        earlier: None,
    };
    let fanout = |name| exchange(ExchangeKind::Fanout, name, FieldTable::default());
    let queue = |name, limit, dead_letters_to| Declaration {
        exchange: None,
        name,
        arguments: dead_lettering(dead_letters_to, limit),
        earlier: None,
    };
    let secondary = |name| Declaration {
        earlier: Some(quorum(NO_DELIVERY_LIMIT)),
        ..queue(name, NO_DELIVERY_LIMIT, &names.rescued)
    };
    let events = table([("alternate-exchange", long_text(&names.unrouted))]);
    [
        fanout(&names.expired),
        fanout(&names.rescued),
        queue(&names.rescued, NO_DELIVERY_LIMIT, &names.expired),
        fanout(&names.dead),
        secondary(&names.dead),
        fanout(&names.unrouted),
        secondary(&names.unrouted),
        exchange(ExchangeKind::Topic, &names.events, events),
        queue(&names.events, DELIVERY_LIMIT, &names.dead),
    ]
}

/// The exchange of changes of rows. Applications bind queues of their own to it.
pub fn change_exchange(names: &Names) -> Declaration<'_> {
    Declaration {
        exchange: Some(ExchangeKind::Topic),
        name: &names.changes,
        arguments: FieldTable::default(),
        earlier: None,
    }
}

/// Declares the exchange of changes, over a channel of its own: a mismatch closes it.
pub async fn declare_changes(connection: &Connection, names: &Names) -> Result<(), TopologyError> {
    let channel = connection.create_channel().await?;
    change_exchange(names).declare(&channel).await?;
    Ok(channel.close(200, "declared".into()).await?)
}

/// Declares the topology, over a channel of its own: a mismatch closes it.
pub async fn declare(connection: &Connection, names: &Names) -> Result<(), TopologyError> {
    let mut channel = connection.create_channel().await?;
    for declaration in declarations(names) {
        let Err(error) = declaration.declare(&channel).await else {
            continue;
        };
        if declaration.earlier.is_none() || !matches!(error, TopologyError::Mismatch { .. }) {
            return Err(error);
        }
        channel = connection.create_channel().await?;
        if !declaration.is_as_earlier(&channel).await {
            return Err(error);
        }
        let queue = declaration.name;
        warn!(
            queue,
            "the queue is as an earlier version declared it, and a policy can empty it; see `clerk-sync check`"
        );
    }
    for name in [&names.dead, &names.unrouted] {
        bind(&channel, name, name, "").await?;
    }
    for key in event_keys() {
        bind(&channel, &names.events, &names.events, &key).await?;
    }
    Ok(channel.close(200, "declared".into()).await?)
}

/// Whether every one of these queues and exchanges exists, by name alone: detects what was deleted,
/// and not what was changed or unbound on purpose.
pub async fn is_complete(
    connection: &Connection,
    declarations: &[Declaration<'_>],
) -> Result<bool, lapin::Error> {
    let channel = connection.create_channel().await?;
    for declaration in declarations {
        match declaration.find(&channel).await {
            Ok(()) => {}
            // It closes the channel.
            Err(error) if is_not_found(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    channel.close(200, "complete".into()).await?;
    Ok(true)
}

/// Whether an error closed one channel and is handled by its user: something is missing, or has
/// other arguments.
pub fn is_answer(error: &lapin::Error) -> bool {
    let mismatch = channel_error(error, AMQPSoftError::PRECONDITIONFAILED);
    is_not_found(error) || mismatch.is_some_and(|text| text.contains("inequivalent"))
}

fn is_not_found(error: &lapin::Error) -> bool {
    channel_error(error, AMQPSoftError::NOTFOUND).is_some()
}

/// Releases what the broker retains to the queue of rescued events. To be called by its consumer.
pub async fn bind_rescued(channel: &Channel, names: &Names) -> Result<(), lapin::Error> {
    for (queue, exchange) in names.releasing() {
        bind(channel, queue, exchange, "").await?;
    }
    Ok(())
}

/// Removes those bindings, unless the queue has more than `own` consumers.
pub async fn unbind_rescued(
    channel: &Channel,
    names: &Names,
    own: u32,
) -> Result<(), lapin::Error> {
    if find_queue(channel, &names.rescued).await?.consumer_count() <= own {
        for (queue, exchange) in names.releasing().into_iter().rev() {
            let (queue, exchange) = (queue.into(), exchange.into());
            let unbind = channel.queue_unbind(queue, exchange, "".into(), FieldTable::default());
            unbind.await?;
        }
    }
    Ok(())
}

/// The number of waiting messages of a queue, and of its consumers.
pub async fn counts(connection: &Connection, name: &str) -> Result<(u64, u32), lapin::Error> {
    let channel = connection.create_channel().await?;
    let queue = find_queue(&channel, name).await?;
    channel.close(200, "counted".into()).await?;
    Ok((u64::from(queue.message_count()), queue.consumer_count()))
}

async fn find_queue(channel: &Channel, name: &str) -> Result<Queue, lapin::Error> {
    let find = channel.queue_declare(name.into(), queue_options(true), FieldTable::default());
    find.await
}

fn queue_options(passive: bool) -> QueueDeclareOptions {
    QueueDeclareOptions {
        passive,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
    }
}

fn dead_lettering(exchange: &str, delivery_limit: i64) -> FieldTable {
    let mut arguments = quorum(delivery_limit);
    arguments.insert("x-dead-letter-exchange".into(), long_text(exchange));
    // The other strategy republishes without confirms, and can lose a message. This one retains
    // what it cannot route.
    arguments.insert("x-dead-letter-strategy".into(), long_text("at-least-once"));
    arguments
}

/// Only a quorum queue confirms after its disk has the message.
fn quorum(delivery_limit: i64) -> FieldTable {
    table([
        ("x-queue-type", long_text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(delivery_limit)),
        // A full queue refuses events; the other ways to overflow drop them.
        ("x-overflow", long_text("reject-publish")),
    ])
}

impl Declaration<'_> {
    pub fn is_queue(&self) -> bool {
        self.exchange.is_none()
    }

    /// The name for people.
    pub fn title(&self) -> String {
        let kind = if self.is_queue() { "queue" } else { "exchange" };
        format!("the {kind} {}", self.name)
    }

    /// What to do if it exists with other arguments.
    fn remedy(&self) -> &'static str {
        if self.is_queue() {
            "delete it once it is empty, or set another AMQP_NAMESPACE"
        } else {
            // An exchange holds no messages, but its bindings go with it.
            "delete it: it is declared again, and applications then bind their queues again"
        }
    }

    /// Creates it if it is missing. Fails if it exists with other arguments.
    pub async fn declare(&self, channel: &Channel) -> Result<(), TopologyError> {
        let declared = self.send(channel, false, self.arguments.clone()).await;
        declared.map_err(|error| {
            // The broker's text names the argument and both of its values.
            match channel_error(&error, AMQPSoftError::PRECONDITIONFAILED) {
                Some(difference) => TopologyError::Mismatch {
                    title: self.title(),
                    difference: difference.to_owned(),
                    remedy: self.remedy(),
                },
                None => TopologyError::Broker(error),
            }
        })
    }

    /// Whether it is as an earlier version declared it. It must exist: otherwise it is created so.
    pub async fn is_as_earlier(&self, channel: &Channel) -> bool {
        match &self.earlier {
            Some(earlier) => self.send(channel, false, earlier.clone()).await.is_ok(),
            None => false,
        }
    }

    /// Fails if it is missing. Creates nothing.
    pub async fn find(&self, channel: &Channel) -> Result<(), lapin::Error> {
        self.send(channel, true, FieldTable::default()).await
    }

    /// Declares it with an argument that no broker accepts: the error shows whether the user may
    /// declare this name. (`rabbit_channel.erl` of RabbitMQ 3.10 to 4.3 checks the permission, then
    /// the type of these arguments.)
    pub async fn declare_impossible(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let argument = if self.is_queue() {
            "x-dead-letter-exchange"
        } else {
            "alternate-exchange"
        };
        let arguments = table([(argument, AMQPValue::LongInt(0))]);
        self.send(channel, false, arguments).await
    }

    async fn send(
        &self,
        channel: &Channel,
        passive: bool,
        arguments: FieldTable,
    ) -> Result<(), lapin::Error> {
        let name = self.name.into();
        let Some(kind) = self.exchange.clone() else {
            let declare = channel.queue_declare(name, queue_options(passive), arguments);
            return declare.await.map(drop);
        };
        let options = ExchangeDeclareOptions {
            passive,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: false,
        };
        let declare = channel.exchange_declare(name, kind, options, arguments);
        declare.await
    }
}

async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), lapin::Error> {
    let (queue, exchange, key) = (queue.into(), exchange.into(), key.into());
    let options = QueueBindOptions { nowait: false };
    let bind = channel.queue_bind(queue, exchange, key, options, FieldTable::default());
    bind.await
}
