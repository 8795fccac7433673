//! What a broker is like, asked without making, binding or publishing anything.
//!
//! AMQP has no question about rights or arguments, so each is asked by a request whose refusal is the answer:
//!
//! - Arguments: what is there is declared as we would, which changes nothing, or is refused with the difference. What is not
//!   there is not declared.
//! - The right to declare: a thing that no broker makes (`Thing::declare_impossible`).
//! - The rights to write and to read: a binding that nobody made is taken away.
//! - A leader: a queue that is empty and that nobody consumes is asked for a message, since one without a leader looks the
//!   same. What comes at just that moment goes back.
//! - An alarm: a message to an exchange that does not exist. The broker tells who publishes that it takes nothing now.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use lapin::options::{BasicGetOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::tcp::AMQPUriTcpExt;
use lapin::types::parsing::parse_field_table;
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPScheme;
use lapin::{BasicProperties, Connection, ConnectionProperties, ErrorKind, Event};

use super::address::Node as Address;
use super::connect_error::{self, Fault, describe};
use super::limits;
use super::topology::{self, Kind, Names, Thing, TopologyError};

/// Longest wait for a node to let us in, and to say what it is.
const MEET_TIMEOUT: Duration = Duration::from_secs(4);

/// A greeting has about 500 bytes. What is far from it is no AMQP.
const GREETING_MAX: usize = 64 * 1024;

/// Longest wait for the word that nothing is taken now, or for the answer that shows the contrary.
const ALARM_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one thing may be asked about: a queue without a leader can leave the question open.
const THING_TIMEOUT: Duration = Duration::from_secs(2);

/// A routing key that nothing is bound with.
const UNUSED_KEY: &str = "clerk-sync.check";

/// What is there. One node of a cluster is asked for what all of them share.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Every node, in the order of `AMQP_URL`.
    pub nodes: Vec<Node>,
    /// Nothing where no node lets us in.
    pub shared: Option<Shared>,
}

#[derive(Debug, Clone)]
pub struct Node {
    /// Host, port and virtual host.
    pub place: String,
    /// Whether the wire is safe from others: encrypted, or within this machine.
    pub is_private: bool,
    /// What the node calls itself, such as `RabbitMQ` and `3.10.8`.
    pub version: Option<(String, String)>,
    /// Why it does not let us in.
    pub fault: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Shared {
    pub things: Vec<(String, State)>,
    /// What the user may not do: the right, in RabbitMQ's word, and the name.
    pub refused: Vec<(&'static str, String)>,
    /// Why nothing is taken now.
    pub alarm: Option<String>,
    /// Events that wait, where the queue is there.
    pub waiting: Option<u64>,
}

/// What is there under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    AsWanted,
    Missing,
    /// As an earlier version declared it, which works, and a policy can empty it.
    Earlier,
    /// With other arguments; the broker's own words.
    Different(String),
    /// It cannot be asked.
    Broken(Cow<'static, str>),
}

impl State {
    /// What a queue without a leader comes to as well.
    const SILENT: Self = Self::Broken(Cow::Borrowed(
        "RabbitMQ does not answer about it, as of a queue without a leader",
    ));
}

pub async fn inspect(nodes: &[Address], names: &Names) -> Inspection {
    let found = futures_util::future::join_all(nodes.iter().map(meet)).await;
    let mut inspection = Inspection {
        nodes: Vec::new(),
        shared: None,
    };
    for (mut node, connection) in found {
        match (connection, &inspection.shared) {
            (Ok((connection, events)), None) => {
                inspection.shared = Some(ask(&connection, events, names).await);
                close(&connection).await;
            }
            (Ok((connection, _)), Some(_)) => close(&connection).await,
            (Err(fault), _) => node.fault = Some(fault),
        }
        inspection.nodes.push(node);
    }
    inspection
}

/// Asks the first node that lets us in. The exchange need not be there, and the one that is asked for never is.
pub async fn body_max(nodes: &[Address], names: &Names, bytes: usize) -> Option<u64> {
    for node in nodes {
        if let (_, Ok((connection, _events))) = meet(node).await {
            let max = limits::ask_body_max(&connection, &nowhere(names), bytes).await;
            close(&connection).await;
            return max;
        }
    }
    None
}

fn nowhere(names: &Names) -> String {
    format!("{}.nowhere", names.namespace)
}

/// A broker that takes nothing now does not answer, and lapin sends nothing: the end of the process closes it then.
async fn close(connection: &Connection) {
    drop(
        tokio::time::timeout(
            Duration::from_millis(300),
            connection.close(200, "checked".into()),
        )
        .await,
    );
}

type Events = futures_util::stream::BoxStream<'static, Event>;

async fn meet(address: &Address) -> (Node, Result<(Connection, Events), String>) {
    let uri = &address.uri;
    let connect = async {
        let properties =
            ConnectionProperties::default().with_connection_name("clerk-sync check".into());
        let connection = connect_error::connect(address, uri.clone(), properties)
            .await
            .map_err(|fault| {
                let (Fault::Away(reason) | Fault::Repair(reason)) = fault;
                reason
            })?;
        let events = connection.events_listener().boxed();
        Ok((connection, events))
    };
    let (version, connection) = tokio::join!(
        tokio::time::timeout(MEET_TIMEOUT, greeting(address)),
        tokio::time::timeout(MEET_TIMEOUT, connect),
    );
    let connection = connection.unwrap_or_else(|_| Err("RabbitMQ does not answer".into()));
    let node = Node {
        place: address.place(),
        is_private: uri.scheme == AMQPScheme::AMQPS || is_this_machine(&uri.authority.host),
        version: version.ok().flatten(),
        fault: None,
    };
    (node, connection)
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// What the node calls itself. It says so to everybody who connects, before any password; lapin keeps it to itself.
async fn greeting(address: &Address) -> Option<(String, String)> {
    let runtime = lapin::runtime::default_runtime().ok()?;
    let tls = address.tls().ok()?;
    let mut wire = address
        .uri
        .connect_with_config_async(tls.as_ref(), &runtime)
        .await
        .ok()?;
    wire.write_all(b"AMQP\0\0\x09\x01").await.ok()?;
    wire.flush().await.ok()?;
    // A frame: one byte of type, two of channel, four of size; then the method Start.
    let mut head = [0; 7];
    wire.read_exact(&mut head).await.ok()?;
    let size = usize::try_from(u32::from_be_bytes([head[3], head[4], head[5], head[6]])).ok()?;
    let mut start = vec![0; (..=GREETING_MAX).contains(&size).then_some(size)?];
    wire.read_exact(&mut start).await.ok()?;
    // Class and method, two bytes each, then the version of the protocol, one byte each: 10, 10, 0, 9.
    let table = start.strip_prefix(&[0, 10, 0, 10, 0, 9])?;
    let (_, properties) = parse_field_table(table).ok()?;
    let text = |name: &str| match properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    Some((text("product")?, text("version")?))
}

async fn ask(connection: &Connection, events: Events, names: &Names) -> Shared {
    let mut shared = Shared {
        things: Vec::new(),
        refused: Vec::new(),
        alarm: None,
        waiting: None,
    };
    let asked = async {
        for thing in topology::things(names) {
            let mut state = state(connection, &thing, &mut shared.refused).await;
            if thing.kind == Kind::Queue && matches!(state, State::AsWanted | State::Earlier) {
                let asked = queue_state(connection, thing.name, names, &mut shared).await;
                state = if asked == State::AsWanted {
                    state
                } else {
                    asked
                };
            }
            let is_over = state == State::SILENT || !connection.status().connected();
            shared.things.push((thing.title(), state));
            if is_over {
                // Some refusals end the connection, and silence is for all. What was not asked is not told.
                return;
            }
        }
        let alike = [
            &names.events,
            &names.users,
            &names.dead,
            &names.unrouted,
            &names.rescued,
        ];
        for (queue, exchange) in alike
            .map(|name| (name, name))
            .into_iter()
            .chain([(&names.dead, &names.expired)])
        {
            if let Some(right) = refused_binding(connection, queue, exchange).await {
                shared.refused.push((
                    right,
                    if right == "read" {
                        exchange.clone()
                    } else {
                        queue.clone()
                    },
                ));
            }
        }
    };
    asked.await;
    shared.refused.sort();
    shared.refused.dedup();
    shared.alarm = alarm(connection, events, names).await;
    shared
}

/// What is under the name, and whether the user may declare it.
async fn state(
    connection: &Connection,
    thing: &Thing<'_>,
    refused: &mut Vec<(&'static str, String)>,
) -> State {
    let state =
        tokio::time::timeout(THING_TIMEOUT, state_in_time(connection, thing, refused)).await;
    state.unwrap_or(State::SILENT)
}

async fn state_in_time(
    connection: &Connection,
    thing: &Thing<'_>,
    refused: &mut Vec<(&'static str, String)>,
) -> State {
    let broken = |error: &lapin::Error| State::Broken(describe(error).into());
    let channel = match connection.create_channel().await {
        Ok(channel) => channel,
        Err(error) => return broken(&error),
    };
    let found = thing.find(&channel).await;
    let (state, declared) = match found {
        Ok(()) => match thing.declare(&channel).await {
            Ok(()) => (State::AsWanted, Ok(())),
            Err(TopologyError::Mismatch { difference, .. }) => {
                match connection.create_channel().await {
                    Ok(again) if thing.is_as_earlier(&again).await => (State::Earlier, Ok(())),
                    _ => (State::Different(difference), Ok(())),
                }
            }
            Err(TopologyError::Broker(error)) if is_soft(&error, AMQPSoftError::ACCESSREFUSED) => {
                (State::AsWanted, Err(error))
            }
            Err(TopologyError::Broker(error)) => (broken(&error), Ok(())),
        },
        Err(error)
            if is_soft(&error, AMQPSoftError::NOTFOUND) && describe(&error).contains(" no ") =>
        {
            let Ok(channel) = connection.create_channel().await else {
                return broken(&error);
            };
            (State::Missing, thing.declare_impossible(&channel).await)
        }
        // From RabbitMQ 4.3 on even this question needs the right.
        Err(error) if is_soft(&error, AMQPSoftError::ACCESSREFUSED) => (State::Missing, Err(error)),
        Err(error) => (broken(&error), Ok(())),
    };
    if declared.is_err_and(|error| is_soft(&error, AMQPSoftError::ACCESSREFUSED)) {
        refused.push(("configure", thing.name.to_owned()));
    }
    if channel.status().connected() {
        // It ends with the connection anyway.
        drop(channel.close(200, "checked".into()).await);
    }
    state
}

/// How many events a queue holds, and whether it has a leader to say so.
async fn queue_state(
    connection: &Connection,
    name: &str,
    names: &Names,
    shared: &mut Shared,
) -> State {
    let asked = async {
        let (events, consumers) = topology::counts(connection, name).await?;
        if events == 0 && consumers == 0 {
            let channel = connection.create_channel().await?;
            let taken = channel
                .basic_get(name.into(), BasicGetOptions { no_ack: false })
                .await?;
            if let Some(message) = taken {
                message
                    .nack(BasicNackOptions {
                        multiple: false,
                        requeue: true,
                    })
                    .await?;
            }
            channel.close(200, "checked".into()).await?;
        }
        Ok(events)
    };
    match tokio::time::timeout(THING_TIMEOUT, asked).await {
        Ok(Ok(events)) => {
            if name == names.users {
                shared.waiting = Some(events);
            }
            State::AsWanted
        }
        Ok(Err(error)) if is_soft(&error, AMQPSoftError::ACCESSREFUSED) => {
            shared.refused.push(("read", name.to_owned()));
            State::AsWanted
        }
        Ok(Err(error)) => State::Broken(describe(&error).into()),
        Err(_) => State::SILENT,
    }
}

/// The right that the user lacks to bind, and so to use, what has these names.
async fn refused_binding(
    connection: &Connection,
    queue: &str,
    exchange: &str,
) -> Option<&'static str> {
    let asked = async {
        let channel = connection.create_channel().await?;
        channel
            .queue_unbind(
                queue.into(),
                exchange.into(),
                UNUSED_KEY.into(),
                FieldTable::default(),
            )
            .await?;
        channel.close(200, "checked".into()).await
    };
    match tokio::time::timeout(THING_TIMEOUT, asked).await.ok()? {
        // The queue must be writable, then the exchange readable; the text names the one that was refused.
        Err(error) if is_soft(&error, AMQPSoftError::ACCESSREFUSED) => {
            Some(if describe(&error).contains("exchange") {
                "read"
            } else {
                "write"
            })
        }
        _ => None,
    }
}

/// Why the broker takes nothing now. It says so to a connection once it has sent a message.
async fn alarm(connection: &Connection, mut events: Events, names: &Names) -> Option<String> {
    let blocked = async {
        loop {
            match events.next().await {
                Some(Event::ConnectionBlocked(reason)) => return Some(reason.to_string()),
                Some(_) => {}
                None => return None,
            }
        }
    };
    // Answered by a broker that still reads.
    let answered = async {
        drop(publish_nowhere(connection, names).await);
        // The word comes first, by another way through lapin.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::select! {
        biased;
        reason = blocked => reason,
        () = answered => None,
        () = tokio::time::sleep(ALARM_TIMEOUT) => None,
    }
}

/// Returns once the broker has refused it.
async fn publish_nowhere(connection: &Connection, names: &Names) -> Result<(), lapin::Error> {
    let channel = connection.create_channel().await?;
    let nowhere = nowhere(names);
    let options = BasicPublishOptions {
        mandatory: false,
        immediate: false,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing is published: there is no such exchange"
    )]
    let published = channel.basic_publish(
        nowhere.as_str().into(),
        UNUSED_KEY.into(),
        options,
        b"",
        BasicProperties::default(),
    );
    drop(published.await?);
    channel
        .basic_qos(1, BasicQosOptions { global: false })
        .await
}

fn is_soft(error: &lapin::Error, kind: AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(amqp) if matches!(amqp.kind(), AMQPErrorKind::Soft(soft) if *soft == kind))
}
