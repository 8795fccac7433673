//! Inspects a broker, without creating, binding or publishing anything.
//!
//! AMQP has no request for permissions or arguments, so each is probed by a request whose refusal
//! is the answer:
//!
//! - Arguments: what exists is declared as we would, which changes nothing, or is refused with the
//!   difference. What is missing is not declared.
//! - The permission to declare: `Declaration::declare_impossible`.
//! - The permissions to write and to read: a binding that does not exist is removed.
//! - The permission to publish changes: a binding of exchanges that does not exist is removed.
//! - A leader: a queue that is empty and has no consumer is asked for a message, since one without
//!   a leader looks the same. A message that arrives just then is returned.
//! - An alarm: a message to an exchange that does not exist. The broker notifies a publisher that
//!   it accepts nothing now.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use lapin::options::{BasicGetOptions, BasicNackOptions, ExchangeUnbindOptions};
use lapin::protocol::AMQPSoftError;
use lapin::tcp::AMQPUriTcpExt;
use lapin::types::parsing::parse_field_table;
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPScheme;
use lapin::{BasicProperties, Connection, ConnectionProperties, Event};
use tokio::time::{sleep, timeout};

use super::address::NodeAddress;
use super::amqp_error::{channel_error, describe};
use super::connect::connect;
use super::limits::{ask_body_max, publish_refused};
use super::topology::{self, Declaration, Names, TopologyError};

/// Longest wait for a node to accept the connection and to send its version.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// A greeting has about 500 bytes. One that is much longer is not AMQP.
const GREETING_MAX: usize = 64 * 1024;

/// Longest wait for an alarm, or for the answer that shows that there is none.
const ALARM_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for an answer about one declaration: a queue without a leader may never answer.
const DECLARATION_TIMEOUT: Duration = Duration::from_secs(2);

/// A routing key that no binding has.
const UNUSED_KEY: &str = "clerk-sync.check";

/// What was found at the broker. One node of a cluster is asked for what all share.
#[derive(Debug, Clone)]
pub struct BrokerInspection {
    /// Every node, in the order of `AMQP_URL`.
    pub nodes: Vec<NodeInspection>,
    /// `None` if no node accepts the connection.
    pub topology: Option<TopologyInspection>,
}

/// What was found at a node.
#[derive(Debug, Clone)]
pub struct NodeInspection {
    /// Host, port and virtual host.
    pub place: String,
    /// Whether the connection cannot be read by others: it is encrypted, or within this machine.
    pub is_private: bool,
    /// Product and version, such as `RabbitMQ` and `3.10.8`; `None` if the node does not send them.
    pub version: Option<(String, String)>,
    /// Why the node does not accept the connection; `None` if it does.
    pub fault: Option<String>,
}

/// What all nodes of a cluster share.
#[derive(Debug, Clone, Default)]
pub struct TopologyInspection {
    /// The title of each exchange and queue, and its state.
    pub declarations: Vec<(String, DeclaredState)>,
    /// The permissions that the user lacks: RabbitMQ's name of the permission, and the name of the
    /// exchange or queue.
    pub refused: Vec<(&'static str, String)>,
    /// Why the broker takes no events now; `None` if it does.
    pub alarm: Option<String>,
    /// Events that wait; `None` if the queue is missing.
    pub waiting: Option<u64>,
}

/// The state of an exchange or queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredState {
    /// It has the right arguments.
    AsWanted,
    /// It does not exist.
    Missing,
    /// As an earlier version declared it, which works; a policy can empty it.
    Earlier,
    /// It has other arguments; with the broker's text.
    Different(String),
    /// The broker does not answer about it; with the reason.
    Broken(Cow<'static, str>),
}

impl DeclaredState {
    /// Also the state of a queue without a leader.
    const SILENT: Self = Self::Broken(Cow::Borrowed(
        "RabbitMQ does not answer about it, as of a queue without a leader",
    ));

    fn broken(error: &lapin::Error) -> Self {
        Self::Broken(describe(error).into())
    }
}

/// Inspects a broker.
pub async fn inspect(
    nodes: &[NodeAddress],
    names: &Names,
    publishes_changes: bool,
) -> BrokerInspection {
    let mut inspection = BrokerInspection {
        nodes: Vec::new(),
        topology: None,
    };
    for (mut node, connected) in futures_util::future::join_all(nodes.iter().map(meet)).await {
        match connected {
            Ok((connection, events)) => {
                if inspection.topology.is_none() {
                    let found = inspect_topology(&connection, events, names, publishes_changes);
                    inspection.topology = Some(found.await);
                }
                close(&connection).await;
            }
            Err(fault) => node.fault = Some(fault),
        }
        inspection.nodes.push(node);
    }
    inspection
}

/// Asks the first node that accepts the connection whether a body of so many bytes can be queued.
/// Returns the limit if it cannot.
pub async fn body_max(nodes: &[NodeAddress], names: &Names, bytes: usize) -> Option<u64> {
    for node in nodes {
        if let (_, Ok((connection, _events))) = meet(node).await {
            let max = ask_body_max(&connection, &missing_exchange(names), bytes).await;
            close(&connection).await;
            return max;
        }
    }
    None
}

fn missing_exchange(names: &Names) -> String {
    format!("{}.nowhere", names.namespace)
}

/// During an alarm the broker does not answer, and lapin sends nothing: the end of the process
/// closes the connection then.
async fn close(connection: &Connection) {
    let close = connection.close(200, "checked".into());
    drop(timeout(Duration::from_millis(300), close).await);
}

type Events = BoxStream<'static, Event>;

async fn meet(address: &NodeAddress) -> (NodeInspection, Result<(Connection, Events), String>) {
    let uri = &address.uri;
    let properties =
        ConnectionProperties::default().with_connection_name("clerk-sync check".into());
    let (version, connected) = tokio::join!(
        timeout(CONNECT_TIMEOUT, greeting(address)),
        timeout(CONNECT_TIMEOUT, connect(address, uri.clone(), properties)),
    );
    let connected = match connected {
        Ok(Ok(connection)) => {
            let events = connection.events_listener().boxed();
            Ok((connection, events))
        }
        Ok(Err(error)) => Err(error.reason().to_owned()),
        Err(_) => Err("RabbitMQ does not answer".into()),
    };
    let node = NodeInspection {
        place: address.place(),
        is_private: uri.scheme == AMQPScheme::AMQPS || is_this_machine(&uri.authority.host),
        version: version.ok().flatten(),
        fault: None,
    };
    (node, connected)
}

fn is_this_machine(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The product and version of a node. It sends them to every client, before any password; lapin
/// does not expose them.
async fn greeting(address: &NodeAddress) -> Option<(String, String)> {
    let runtime = lapin::runtime::default_runtime().ok()?;
    let tls = address.tls().ok()?;
    let connect = address
        .uri
        .connect_with_config_async(tls.as_ref(), &runtime);
    let mut socket = connect.await.ok()?;
    socket.write_all(b"AMQP\0\0\x09\x01").await.ok()?;
    socket.flush().await.ok()?;
    // A frame: one byte of type, two of channel, four of size; then the method Start.
    let mut head = [0; 7];
    socket.read_exact(&mut head).await.ok()?;
    let size = usize::try_from(u32::from_be_bytes([head[3], head[4], head[5], head[6]])).ok()?;
    let mut start = vec![0; (..=GREETING_MAX).contains(&size).then_some(size)?];
    socket.read_exact(&mut start).await.ok()?;
    // Class and method, two bytes each, then the version of the protocol, one byte each: 10, 10, 0,
    // 9.
    let table = start.strip_prefix(&[0, 10, 0, 10, 0, 9])?;
    let (_, properties) = parse_field_table(table).ok()?;
    let text = |name: &str| match properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    Some((text("product")?, text("version")?))
}

async fn inspect_topology(
    connection: &Connection,
    events: Events,
    names: &Names,
    publishes_changes: bool,
) -> TopologyInspection {
    let mut found = TopologyInspection::default();
    // Some refusals end the connection, and a silent broker answers nothing: the rest is not
    // reported then.
    let mut is_over = false;
    let changes = publishes_changes.then(|| topology::change_exchange(names));
    for declaration in topology::declarations(names).into_iter().chain(changes) {
        let state = inspect_declaration(connection, &declaration, names, &mut found).await;
        is_over = state == DeclaredState::SILENT || !connection.status().connected();
        found.declarations.push((declaration.title(), state));
        if is_over {
            break;
        }
    }
    if !is_over {
        let named_alike = [&names.events, &names.dead, &names.unrouted, &names.rescued];
        let bindings = named_alike.map(|name| (name, name));
        for (queue, exchange) in bindings.into_iter().chain([(&names.dead, &names.expired)]) {
            found
                .refused
                .extend(refused_binding(connection, queue, exchange).await);
        }
        if publishes_changes {
            found
                .refused
                .extend(refused_publish(connection, names).await);
        }
    }
    found.refused.sort();
    found.refused.dedup();
    found.alarm = alarm(connection, events, names).await;
    found
}

/// The state of an exchange or queue. Notes missing permissions and waiting events.
async fn inspect_declaration(
    connection: &Connection,
    declaration: &Declaration<'_>,
    names: &Names,
    found: &mut TopologyInspection,
) -> DeclaredState {
    let refused = &mut found.refused;
    let state = declared_state(connection, declaration, refused);
    let state = match timeout(DECLARATION_TIMEOUT, state).await {
        Ok(Ok(state)) => state,
        Ok(Err(error)) => DeclaredState::broken(&error),
        Err(_) => DeclaredState::SILENT,
    };
    let is_there = matches!(state, DeclaredState::AsWanted | DeclaredState::Earlier);
    if !declaration.is_queue() || !is_there {
        return state;
    }
    let waiting = waiting_events(connection, declaration.name);
    match timeout(DECLARATION_TIMEOUT, waiting).await {
        Ok(Ok(events)) => {
            if declaration.name == names.events {
                found.waiting = Some(events);
            }
            state
        }
        Ok(Err(error)) if is_refused(&error) => {
            refused.push(("read", declaration.name.to_owned()));
            state
        }
        Ok(Err(error)) => DeclaredState::broken(&error),
        Err(_) => DeclaredState::SILENT,
    }
}

fn is_refused(error: &lapin::Error) -> bool {
    channel_error(error, AMQPSoftError::ACCESSREFUSED).is_some()
}

async fn declared_state(
    connection: &Connection,
    declaration: &Declaration<'_>,
    refused: &mut Vec<(&'static str, String)>,
) -> Result<DeclaredState, lapin::Error> {
    let mut note = |error: lapin::Error, state| {
        if !is_refused(&error) {
            return Err(error);
        }
        refused.push(("configure", declaration.name.to_owned()));
        Ok(state)
    };
    let mut channel = connection.create_channel().await?;
    let state = match declaration.find(&channel).await {
        Ok(()) => match declaration.declare(&channel).await {
            Ok(()) => DeclaredState::AsWanted,
            Err(TopologyError::Mismatch { difference, .. }) => {
                channel = connection.create_channel().await?;
                if declaration.is_as_earlier(&channel).await {
                    DeclaredState::Earlier
                } else {
                    DeclaredState::Different(difference)
                }
            }
            Err(TopologyError::Broker(error)) => note(error, DeclaredState::AsWanted)?,
        },
        Err(error)
            if channel_error(&error, AMQPSoftError::NOTFOUND)
                .is_some_and(|text| text.contains(" no ")) =>
        {
            channel = connection.create_channel().await?;
            if let Err(error) = declaration.declare_impossible(&channel).await {
                // Any other error only shows that it may be declared.
                _ = note(error, DeclaredState::Missing);
            }
            DeclaredState::Missing
        }
        // From RabbitMQ 4.3 on even this request needs the permission.
        Err(error) => note(error, DeclaredState::Missing)?,
    };
    if channel.status().connected() {
        // It ends with the connection anyway.
        drop(channel.close(200, "checked".into()).await);
    }
    Ok(state)
}

/// The number of waiting events of a queue. Fails to answer if the queue has no leader.
async fn waiting_events(connection: &Connection, name: &str) -> Result<u64, lapin::Error> {
    let (events, consumers) = topology::counts(connection, name).await?;
    if events == 0 && consumers == 0 {
        let channel = connection.create_channel().await?;
        let get = channel.basic_get(name.into(), BasicGetOptions { no_ack: false });
        if let Some(message) = get.await? {
            let options = BasicNackOptions {
                multiple: false,
                requeue: true,
            };
            message.nack(options).await?;
        }
        channel.close(200, "checked".into()).await?;
    }
    Ok(events)
}

/// The permission that the user lacks to bind, and so to use, this queue and exchange; `None` if it
/// has both.
async fn refused_binding(
    connection: &Connection,
    queue: &str,
    exchange: &str,
) -> Option<(&'static str, String)> {
    let unbound = async {
        let channel = connection.create_channel().await?;
        let (queue, exchange, key) = (queue.into(), exchange.into(), UNUSED_KEY.into());
        let unbind = channel.queue_unbind(queue, exchange, key, FieldTable::default());
        unbind.await?;
        channel.close(200, "checked".into()).await
    };
    let error = timeout(DECLARATION_TIMEOUT, unbound).await.ok()?.err()?;
    // The queue must be writable, then the exchange readable; the text names the one that was
    // refused.
    let text = channel_error(&error, AMQPSoftError::ACCESSREFUSED)?;
    Some(if text.contains("exchange") {
        ("read", exchange.to_owned())
    } else {
        ("write", queue.to_owned())
    })
}

/// The permission to publish to the exchange of changes, if the user lacks it. It is the one to bind
/// the exchange to another, and a binding that does not exist is removed.
async fn refused_publish(connection: &Connection, names: &Names) -> Option<(&'static str, String)> {
    let unbound = async {
        let channel = connection.create_channel().await?;
        let (to, from) = (names.changes.as_str().into(), names.events.as_str().into());
        let (options, arguments) = (ExchangeUnbindOptions::default(), FieldTable::default());
        channel
            .exchange_unbind(to, from, UNUSED_KEY.into(), options, arguments)
            .await?;
        channel.close(200, "checked".into()).await
    };
    let error = timeout(DECLARATION_TIMEOUT, unbound).await.ok()?.err()?;
    let text = channel_error(&error, AMQPSoftError::ACCESSREFUSED)?;
    let is_its_own = text.contains(&format!("'{}'", names.changes));
    is_its_own.then(|| ("write", names.changes.clone()))
}

/// Why the broker takes no events now; `None` if it does. It sends the alarm to a connection that
/// has published.
async fn alarm(connection: &Connection, mut events: Events, names: &Names) -> Option<String> {
    let blocked = async {
        loop {
            if let Event::ConnectionBlocked(reason) = events.next().await? {
                return Some(reason.to_string());
            }
        }
    };
    // Answered by a broker that still reads.
    let answered = async {
        let exchange = missing_exchange(names);
        drop(publish_refused(connection, &exchange, b"", BasicProperties::default()).await);
        // The alarm is sent before the answer, but takes another way through lapin.
        sleep(Duration::from_millis(100)).await;
    };
    tokio::select! {
        biased;
        reason = blocked => reason,
        () = answered => None,
        () = sleep(ALARM_TIMEOUT) => None,
    }
}
