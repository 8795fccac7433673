//! What must be there at the broker: declared at every connection, in full, relying on no default that changed between
//! RabbitMQ 3.10 and 4.
//!
//! ```text
//! NAMESPACE.events (topic) ──user.*──▶ NAMESPACE.users ──20 deliveries──▶ NAMESPACE.dead (fanout, queue)
//!        └────────what no binding takes────────▶ NAMESPACE.unrouted (fanout, queue)
//!
//! NAMESPACE.dead, .unrouted (queues) ──what a policy takes out──▶ NAMESPACE.rescued (fanout) ──▶ NAMESPACE.rescued
//! NAMESPACE.rescued (queue) ──what a policy takes out──▶ NAMESPACE.expired (fanout) ──▶ NAMESPACE.dead, .unrouted
//! ```
//!
//! A policy can give the queues where events are parked a `message-ttl`, which no argument overrides. What expires there is
//! held by the broker's at-least-once dead lettering until it can be routed: the last arrows, bindings, are only there while a
//! worker records what comes. So nothing can expire into nothing while none does.
//!
//! The broker never routes what expired back into a queue that it expired in before: what expires in `NAMESPACE.rescued` goes
//! to that of the two others where it has not been.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};
use tracing::warn;

use crate::queue::Source;

/// Every name at the broker.
#[derive(Debug)]
pub struct Names {
    pub namespace: String,
    pub events: String,
    pub users: String,
    pub dead: String,
    pub unrouted: String,
    pub rescued: String,
    /// An exchange alone.
    pub expired: String,
}

/// Deliveries of an event before it is a dead letter: enough for many outages, few enough that a poisonous one ends.
pub const DELIVERY_LIMIT: i64 = 20;

/// Where events are parked nothing may be lost by looking at them: -1 means no limit to RabbitMQ 4 and none at all to 3.10,
/// which drops at the first return.
const NO_DELIVERY_LIMIT: i64 = 1_000_000;

/// The routing keys of user events.
const USER_EVENTS: &str = "user.*";

impl Names {
    pub fn new(namespace: &str) -> Self {
        let name = |part: &str| format!("{namespace}.{part}");
        Self {
            namespace: namespace.into(),
            events: name("events"),
            users: name("users"),
            dead: name("dead"),
            unrouted: name("unrouted"),
            rescued: name("rescued"),
            expired: name("expired"),
        }
    }

    /// The queue that a consumer takes from.
    pub fn of_source(&self, source: Source) -> &str {
        match source {
            Source::Events => &self.users,
            Source::DeadLetters => &self.dead,
            Source::Unrouted => &self.unrouted,
            Source::Rescued => &self.rescued,
        }
    }
}

/// Why the topology is not there.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// Something exists with other arguments. It is left as it is.
    #[error(
        "{thing} exists with other arguments and is left as it is ({difference}); delete it once it is empty, or set another AMQP_NAMESPACE"
    )]
    Mismatch { thing: String, difference: String },
    #[error(transparent)]
    Broker(#[from] lapin::Error),
}

/// One exchange or queue, as it must be.
pub struct Thing<'n> {
    pub kind: Kind,
    pub name: &'n str,
    arguments: FieldTable,
    /// What an earlier version declared, which is taken as it is.
    earlier: Option<FieldTable>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Topic,
    Fanout,
    Queue,
}

/// Everything that is declared, in the order in which one needs the other.
pub fn things(names: &Names) -> [Thing<'_>; 9] {
    let thing = |kind, name, arguments| Thing {
        kind,
        name,
        arguments,
        earlier: None,
    };
    let parked = |name| Thing {
        earlier: Some(parked_arguments()),
        ..thing(Kind::Queue, name, letters_to(&names.rescued))
    };
    let mut events = FieldTable::default();
    events.insert("alternate-exchange".into(), long_text(&names.unrouted));
    [
        thing(Kind::Fanout, &names.expired, FieldTable::default()),
        thing(Kind::Fanout, &names.rescued, FieldTable::default()),
        thing(Kind::Queue, &names.rescued, letters_to(&names.expired)),
        thing(Kind::Fanout, &names.dead, FieldTable::default()),
        parked(&names.dead),
        thing(Kind::Fanout, &names.unrouted, FieldTable::default()),
        parked(&names.unrouted),
        thing(Kind::Topic, &names.events, events),
        thing(Kind::Queue, &names.users, users_arguments(names)),
    ]
}

/// Declares everything, over a channel of its own: a mismatch closes it.
pub async fn declare(connection: &Connection, names: &Names) -> Result<(), TopologyError> {
    let mut channel = connection.create_channel().await?;
    for thing in things(names) {
        let Err(error) = thing.declare(&channel).await else {
            continue;
        };
        if thing.earlier.is_none() || !matches!(error, TopologyError::Mismatch { .. }) {
            return Err(error);
        }
        channel = connection.create_channel().await?;
        if !thing.is_as_earlier(&channel).await {
            return Err(error);
        }
        let queue = thing.name;
        warn!(
            queue,
            "the queue is as an earlier version declared it, and a policy can empty it; see `clerk-sync check`"
        );
    }
    for (queue, exchange, key) in [
        (&names.dead, &names.dead, ""),
        (&names.unrouted, &names.unrouted, ""),
        (&names.users, &names.events, USER_EVENTS),
    ] {
        bind(&channel, queue, exchange, key).await?;
    }
    Ok(channel.close(200, "declared".into()).await?)
}

/// Whether every queue and exchange is there. Asks for them by name alone, so it finds what was deleted, and not what was
/// altered or unbound on purpose.
pub async fn is_complete(connection: &Connection, names: &Names) -> Result<bool, lapin::Error> {
    let channel = connection.create_channel().await?;
    let asked = async {
        for name in [&names.users, &names.dead, &names.unrouted, &names.rescued] {
            let options = QueueDeclareOptions {
                passive: true,
                durable: true,
                exclusive: false,
                auto_delete: false,
                nowait: false,
            };
            channel
                .queue_declare(name.as_str().into(), options, FieldTable::default())
                .await?;
        }
        let fanout = [&names.dead, &names.unrouted, &names.rescued, &names.expired]
            .map(|name| (name, ExchangeKind::Fanout));
        for (name, kind) in fanout
            .into_iter()
            .chain([(&names.events, ExchangeKind::Topic)])
        {
            let options = ExchangeDeclareOptions {
                passive: true,
                durable: true,
                auto_delete: false,
                internal: false,
                nowait: false,
            };
            channel
                .exchange_declare(name.as_str().into(), kind, options, FieldTable::default())
                .await?;
        }
        channel.close(200, "complete".into()).await
    };
    match asked.await {
        Ok(()) => Ok(true),
        // It closes the channel.
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an error is an answer that one channel was closed with and that whoever asked deals with: something is not there, or
/// not as it was to be declared.
pub fn is_answer(error: &lapin::Error) -> bool {
    is_not_found(error)
        || is_soft(error, &AMQPSoftError::PRECONDITIONFAILED)
            && error.to_string().contains("inequivalent")
}

/// Queue and exchange of each binding that lets go of what the broker holds.
fn rescuing(names: &Names) -> [(&str, &str); 3] {
    [
        (&names.rescued, &names.rescued),
        (&names.dead, &names.expired),
        (&names.unrouted, &names.expired),
    ]
}

/// Has what the broker holds back sent to the queue of it. To be done by who consumes that.
pub async fn bind_rescued(channel: &Channel, names: &Names) -> Result<(), lapin::Error> {
    // The way out first.
    for (queue, exchange) in rescuing(names).into_iter().rev() {
        let options = QueueBindOptions { nowait: false };
        channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await?;
    }
    Ok(())
}

/// Ends that, unless more than our own consumers take from the queue.
pub async fn unbind_rescued(
    channel: &Channel,
    names: &Names,
    own: u32,
) -> Result<(), lapin::Error> {
    let options = QueueDeclareOptions {
        passive: true,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
    };
    let rescued = channel
        .queue_declare(
            names.rescued.as_str().into(),
            options,
            FieldTable::default(),
        )
        .await?;
    if rescued.consumer_count() <= own {
        for (queue, exchange) in rescuing(names) {
            channel
                .queue_unbind(
                    queue.into(),
                    exchange.into(),
                    "".into(),
                    FieldTable::default(),
                )
                .await?;
        }
    }
    Ok(())
}

/// Whether a queue or an exchange that was named is not there.
pub fn is_not_found(error: &lapin::Error) -> bool {
    is_soft(error, &AMQPSoftError::NOTFOUND)
}

fn is_soft(error: &lapin::Error, kind: &AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(amqp) if matches!(amqp.kind(), AMQPErrorKind::Soft(soft) if soft == kind))
}

/// Messages that wait in a queue.
pub async fn count(connection: &Connection, name: &str) -> Result<u64, lapin::Error> {
    Ok(counts(connection, name).await?.0)
}

/// Messages that wait in a queue, and who consumes them.
pub async fn counts(connection: &Connection, name: &str) -> Result<(u64, u32), lapin::Error> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions {
        passive: true,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
    };
    let queue = channel
        .queue_declare(name.into(), options, FieldTable::default())
        .await?;
    let counts = (u64::from(queue.message_count()), queue.consumer_count());
    channel.close(200, "counted".into()).await?;
    Ok(counts)
}

fn users_arguments(names: &Names) -> FieldTable {
    let mut arguments = parked_arguments();
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(DELIVERY_LIMIT),
    );
    dead_letters_to(&names.dead, arguments)
}

fn letters_to(exchange: &str) -> FieldTable {
    dead_letters_to(exchange, parked_arguments())
}

fn dead_letters_to(exchange: &str, mut arguments: FieldTable) -> FieldTable {
    arguments.insert("x-dead-letter-exchange".into(), long_text(exchange));
    // The other strategy republishes without confirms, and can lose a letter. This one holds what it cannot route.
    arguments.insert("x-dead-letter-strategy".into(), long_text("at-least-once"));
    arguments
}

/// Only a quorum queue confirms after its disk has the message.
fn parked_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), long_text("quorum"));
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(NO_DELIVERY_LIMIT),
    );
    // A full queue says so; the other ways to overflow drop events.
    arguments.insert("x-overflow".into(), long_text("reject-publish"));
    arguments
}

fn long_text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

impl Thing<'_> {
    /// As a person calls it.
    pub fn title(&self) -> String {
        format!(
            "the {} {}",
            if self.kind == Kind::Queue {
                "queue"
            } else {
                "exchange"
            },
            self.name
        )
    }

    /// Makes it where it is missing; fails where it exists with other arguments.
    pub async fn declare(&self, channel: &Channel) -> Result<(), TopologyError> {
        self.say(channel, false, self.arguments.clone())
            .await
            .map_err(|error| self.explain(error))
    }

    /// Whether it is there as an earlier version declared it. To be asked where it exists: else it is made so.
    pub async fn is_as_earlier(&self, channel: &Channel) -> bool {
        match &self.earlier {
            Some(earlier) => self.say(channel, false, earlier.clone()).await.is_ok(),
            None => false,
        }
    }

    /// Fails where it is missing, and makes nothing.
    pub async fn find(&self, channel: &Channel) -> Result<(), lapin::Error> {
        self.say(channel, true, FieldTable::default()).await
    }

    /// Asks to declare something that no broker makes: it says what is wrong with it, but first whether the user may declare
    /// this name. (`rabbit_channel.erl` of RabbitMQ 3.10 to 4.3 checks the right, then the type of these arguments.)
    pub async fn declare_impossible(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let argument = if self.kind == Kind::Queue {
            "x-dead-letter-exchange"
        } else {
            "alternate-exchange"
        };
        let mut arguments = FieldTable::default();
        arguments.insert(argument.into(), AMQPValue::LongInt(0));
        self.say(channel, false, arguments).await
    }

    async fn say(
        &self,
        channel: &Channel,
        passive: bool,
        arguments: FieldTable,
    ) -> Result<(), lapin::Error> {
        let exchange = |kind| {
            let options = ExchangeDeclareOptions {
                passive,
                durable: true,
                auto_delete: false,
                internal: false,
                nowait: false,
            };
            channel.exchange_declare(self.name.into(), kind, options, arguments.clone())
        };
        match self.kind {
            Kind::Topic => exchange(ExchangeKind::Topic).await,
            Kind::Fanout => exchange(ExchangeKind::Fanout).await,
            Kind::Queue => {
                let options = QueueDeclareOptions {
                    passive,
                    durable: true,
                    exclusive: false,
                    auto_delete: false,
                    nowait: false,
                };
                channel
                    .queue_declare(self.name.into(), options, arguments)
                    .await
                    .map(drop)
            }
        }
    }

    /// The broker's own text names the argument and both of its values.
    fn explain(&self, error: lapin::Error) -> TopologyError {
        match error.kind() {
            ErrorKind::ProtocolError(amqp)
                if is_soft(&error, &AMQPSoftError::PRECONDITIONFAILED) =>
            {
                TopologyError::Mismatch {
                    thing: self.title(),
                    difference: amqp.get_message().to_string(),
                }
            }
            _ => TopologyError::Broker(error),
        }
    }
}

async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), TopologyError> {
    let options = QueueBindOptions { nowait: false };
    Ok(channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            options,
            FieldTable::default(),
        )
        .await?)
}
