//! One connection to the broker, kept open: a supervisor connects, declares the topology, watches,
//! and starts over.
//!
//! States, and what each means for an event in flight:
//!
//! - *idle*, or at the start of the first attempt: nothing is known yet, so events wait, within the
//!   publisher's limits, for the result of that attempt.
//! - *connecting*: no events are accepted; readiness reports the reason.
//! - *open*: a session, with one AMQP connection. Any part that meets an error on it ends the
//!   session, and all of it is dropped: publishes in flight fail, unacknowledged deliveries are
//!   delivered again.
//! - *blocked*, within an open session: the broker takes no publishes (a memory or disk alarm). No
//!   events are accepted; those in flight fail for their sender and may be stored nevertheless. The
//!   connection is kept, however long the alarm lasts: a new one would seem free until its first
//!   publish, and the old one could not even be closed.
//! - *closed*: for good.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::{ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::address::NodeAddress;
use super::amqp_error::describe;
use super::connect::{ConnectError, connect};
use super::limits::{self, Limits};
use super::purpose::Purpose;
use super::topology::{self, Names, TopologyError};
use crate::backoff::Backoff;
use crate::logged_state::LoggedState;
use crate::queue::error::Unavailable;
use crate::shutdown::Shutdown;
use crate::tasks;

/// Longest time to connect and declare, and to answer about the topology.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker that has not answered by then counts as away until it does: callers that wait for the
/// first attempt get an answer.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// How often a publishing connection checks that the topology is complete: a deleted queue is only
/// visible to its consumer. Eleven short requests; events that arrive between them are kept as
/// unrouted.
const COMPLETE_EVERY: Duration = Duration::from_secs(5);

/// Longest time to close in order, which a blocked connection cannot: with the publisher's flush
/// below the 3 s that a stop has for the queue.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Seconds between heartbeats, unless the URL sets them: a dead peer is detected within two of
/// them.
const HEARTBEAT_S: u16 = 20;

/// Bytes per frame, unless the URL sets them: lapin keeps 32 of each direction in memory, and an
/// event has 3 KB.
const FRAME_MAX: u32 = 16 * 1024;

/// A session that lasted this long was good: the next outage starts with short waits again. A
/// broker or proxy that accepts and then ends connections does so at once.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// Where to connect to, and what to declare.
#[derive(Clone)]
pub struct Broker {
    /// At least one; each attempt goes to the next.
    pub nodes: Arc<[NodeAddress]>,
    pub names: Arc<Names>,
    pub limits: Arc<Limits>,
}

/// A connection that is kept open from the time when it is wanted. Clones share it.
#[derive(Clone)]
pub struct Connection {
    state: watch::Receiver<ConnectionState>,
    wanted: Shutdown,
    closing: Shutdown,
    limits: Arc<Limits>,
}

#[derive(Clone)]
enum ConnectionState {
    /// Not wanted yet, or the first attempt has just started.
    Idle,
    Connecting(Arc<str>),
    Open(Arc<Session>),
    Closed,
}

/// One AMQP connection, from its start to its end.
pub struct Session {
    pub connection: lapin::Connection,
    /// Why the broker takes no publishes; `None` while it does.
    blocked: watch::Sender<Option<Arc<str>>>,
    ended: Shutdown,
}

impl Session {
    /// Ends the session, after an error on it.
    pub fn end(&self) {
        self.ended.request();
    }

    pub fn is_ended(&self) -> bool {
        self.ended.is_requested()
    }

    /// Returns when the session has ended. Cancel-safe.
    pub async fn ended(&self) {
        self.ended.requested().await;
    }

    /// Whether the broker takes no publishes now.
    pub fn is_blocked(&self) -> bool {
        self.blocked.borrow().is_some()
    }

    /// Returns when the broker takes no publishes. Cancel-safe.
    pub async fn blocked(&self) {
        // The sender is in `self`, so waiting cannot fail.
        drop(self.blocked.subscribe().wait_for(Option::is_some).await);
    }

    /// Returns when the broker takes publishes. Cancel-safe.
    pub async fn unblocked(&self) {
        drop(self.blocked.subscribe().wait_for(Option::is_none).await);
    }
}

impl Connection {
    /// A connection that is not wanted yet.
    pub fn new(broker: Broker, purpose: Purpose) -> Self {
        let (sender, state) = watch::channel(ConnectionState::Idle);
        let connection = Self {
            state,
            wanted: Shutdown::default(),
            closing: Shutdown::default(),
            limits: Arc::clone(&broker.limits),
        };
        let supervisor = Supervisor {
            broker,
            purpose,
            state: sender,
            wanted: connection.wanted.clone(),
            closing: connection.closing.clone(),
        };
        supervisor.start();
        connection
    }

    /// Connects from now on.
    pub fn want(&self) {
        self.wanted.request();
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.is_requested()
    }

    /// The known limits of the broker.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether nothing is known of the broker yet: no attempt to connect has ended or taken long.
    pub fn is_starting(&self) -> bool {
        matches!(&*self.state.borrow(), ConnectionState::Idle)
    }

    /// Returns when the first attempt to connect has succeeded, failed or taken long. Cancel-safe.
    pub async fn started(&self) {
        self.wait_for(|state| !matches!(state, ConnectionState::Idle))
            .await;
    }

    /// Whether the connection is open and not blocked, or not wanted at all.
    pub fn ready(&self) -> Result<(), Unavailable> {
        let reason = match &*self.state.borrow() {
            ConnectionState::Idle if !self.wanted.is_requested() => return Ok(()),
            ConnectionState::Idle => "connecting to RabbitMQ".into(),
            ConnectionState::Connecting(reason) => reason.to_string(),
            ConnectionState::Closed => "the connection to RabbitMQ is closed".into(),
            ConnectionState::Open(session) => match &*session.blocked.borrow() {
                None => return Ok(()),
                Some(reason) => format!("RabbitMQ takes no events now: {reason}"),
            },
        };
        Err(Unavailable::new(reason))
    }

    /// The open session; `None` during an outage.
    pub fn current(&self) -> Option<Arc<Session>> {
        match &*self.state.borrow() {
            ConnectionState::Open(session) if !session.is_ended() => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// Waits for an open session; `None` once the connection is closed. Cancel-safe.
    pub async fn opened(&self) -> Option<Arc<Session>> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                ConnectionState::Open(session) if !session.is_ended() => {
                    return Some(Arc::clone(session));
                }
                ConnectionState::Closed => return None,
                _ => {}
            }
            state.changed().await.ok()?;
        }
    }

    /// Closes the connection in order.
    pub async fn close(&self) {
        self.closing.request();
        self.wait_for(|state| matches!(state, ConnectionState::Closed))
            .await;
    }

    async fn wait_for(&self, is_reached: impl FnMut(&ConnectionState) -> bool) {
        // Fails when the supervisor is gone: then there is nothing to wait for.
        drop(self.state.clone().wait_for(is_reached).await);
    }
}

struct Supervisor {
    broker: Broker,
    purpose: Purpose,
    state: watch::Sender<ConnectionState>,
    wanted: Shutdown,
    closing: Shutdown,
}

/// The events of one connection. Each has exactly one listener, which always reads: several would
/// share the events.
type Events = BoxStream<'static, Event>;

impl Supervisor {
    /// Runs until the connection is closed, or no handle is left. A panic ends the open session;
    /// the next one is new.
    fn start(self) {
        let supervisor = Arc::new(self);
        let (working, dying) = (Arc::clone(&supervisor), Arc::clone(&supervisor));
        let work = move || Arc::clone(&working).run();
        let died = move || {
            // Otherwise its users wait for it.
            if let ConnectionState::Open(session) = &*dying.state.borrow() {
                session.end();
            }
            dying.set_connecting(
                "the task of the connection met a bug of clerk-sync, and starts again: report it",
            );
        };
        let is_asked_to_end =
            move || supervisor.closing.is_requested() || supervisor.state.is_closed();
        tasks::brief(tasks::restarted(
            "connection to RabbitMQ",
            is_asked_to_end,
            died,
            work,
        ));
    }

    fn set_connecting(&self, reason: &str) {
        self.state
            .send_replace(ConnectionState::Connecting(reason.into()));
    }

    async fn run(self: Arc<Self>) {
        tokio::select! {
            _ = self.keep_open() => {}
            () = self.state.closed() => {}
        }
        self.state.send_replace(ConnectionState::Closed);
    }

    /// Returns `None` when the connection is to be closed.
    async fn keep_open(&self) -> Option<()> {
        self.closing.or(self.wanted.requested()).await?;
        let (mut outage, mut repair) = (Backoff::for_outage(), Backoff::for_repair());
        let logged = LoggedState::default();
        // A random start, so that the processes around a cluster spread over its nodes.
        let first = rand::random_range(0..self.broker.nodes.len());
        for node in self.broker.nodes.iter().cycle().skip(first) {
            // A stop does not wait for a broker that does not answer.
            let error = match self.closing.or(self.connect(node)).await? {
                Ok((session, events)) => {
                    logged.changes_to(None);
                    let start = Instant::now();
                    let reason = self.serve(node, &session, events).await;
                    if start.elapsed() > STABLE_AFTER {
                        outage.reset();
                    }
                    repair.reset();
                    ConnectError::Transient(reason)
                }
                Err(error) => error,
            };
            let (broker, reason) = (node.place(), error.reason());
            let is_new = !self.closing.is_requested() && logged.changes_to(Some(reason.to_owned()));
            let wait = match &error {
                ConnectError::Transient(_) => {
                    if is_new {
                        warn!(broker, reason, "RabbitMQ is away; trying again");
                    }
                    outage.next_interval()
                }
                ConnectError::Permanent(_) => {
                    if is_new {
                        error!(
                            broker,
                            reason, "RabbitMQ cannot be used until this is fixed"
                        );
                    }
                    repair.next_interval()
                }
            };
            self.set_connecting(reason);
            self.closing.or(sleep(wait)).await?;
        }
        None
    }

    async fn connect(&self, node: &NodeAddress) -> Result<(Arc<Session>, Events), ConnectError> {
        let mut uri = node.uri.clone();
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        let (namespace, purpose) = (&self.broker.names.namespace, self.purpose.name());
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("clerk-sync {namespace} {purpose}").into());
        let connect = async {
            let connection = connect(node, uri, properties).await?;
            // From the start on: lapin keeps no event for a later listener.
            let events = connection.events_listener().boxed();
            self.purpose
                .declare(&connection, &self.broker.names)
                .await
                .map_err(|error| match error {
                    TopologyError::Broker(error) => ConnectError::of(&node.uri.scheme, error),
                    mismatch @ TopologyError::Mismatch { .. } => {
                        ConnectError::Permanent(mismatch.to_string())
                    }
                })?;
            let session = Session {
                connection,
                blocked: watch::Sender::new(None),
                ended: Shutdown::default(),
            };
            Ok((Arc::new(session), events))
        };
        let mut connecting = pin!(timeout(CONNECT_TIMEOUT, connect));
        let connected = match timeout(SILENT_AFTER, &mut connecting).await {
            Ok(connected) => connected,
            Err(_) => {
                if matches!(&*self.state.borrow(), ConnectionState::Idle) {
                    self.set_connecting("RabbitMQ has not answered yet");
                }
                connecting.await
            }
        };
        connected
            .unwrap_or_else(|_| Err(ConnectError::Transient("RabbitMQ does not answer".into())))
    }

    /// Watches a session until it ends, and closes it. Returns the reason.
    async fn serve(&self, node: &NodeAddress, session: &Arc<Session>, events: Events) -> String {
        let (broker, purpose) = (node.place(), self.purpose.name());
        info!(broker, purpose, "connected to RabbitMQ");
        if self.purpose == Purpose::Publish {
            self.broker.limits.forget_body_max();
        }
        self.state
            .send_replace(ConnectionState::Open(Arc::clone(session)));
        let reason = tokio::select! {
            () = self.closing.requested() => "the program stops".to_string(),
            () = session.ended() => "a channel failed; it connects again".to_string(),
            reason = self.watch(&broker, session, events) => reason,
            reason = self.keep_complete(session), if self.purpose != Purpose::Consume => reason,
        };
        session.end();
        self.set_connecting(&reason);
        // Fails if the connection is gone already.
        drop(
            timeout(
                CLOSE_TIMEOUT,
                session.connection.close(200, "closing".into()),
            )
            .await,
        );
        reason
    }

    /// Declares again what was deleted. Returns the reason if that fails on this connection.
    async fn keep_complete(&self, session: &Session) -> String {
        let (connection, names) = (&session.connection, &self.broker.names);
        loop {
            sleep(COMPLETE_EVERY).await;
            if session.is_blocked() {
                // lapin would keep the requests until the alarm is over.
                continue;
            }
            let complete = timeout(CONNECT_TIMEOUT, self.purpose.is_complete(connection, names));
            // A lost connection is detected elsewhere.
            if !matches!(complete.await, Ok(Ok(false))) {
                continue;
            }
            let namespace = &names.namespace;
            warn!(
                namespace,
                "a queue or an exchange was deleted; all that is missing is declared again"
            );
            match timeout(CONNECT_TIMEOUT, self.purpose.declare(connection, names)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "RabbitMQ does not answer".into(),
            }
        }
    }

    /// Follows the events of the connection until it is lost. Returns the reason.
    async fn watch(&self, broker: &str, session: &Session, mut events: Events) -> String {
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    warn!(broker, reason, "RabbitMQ takes no events now");
                    session.blocked.send_replace(Some(reason.into()));
                }
                Event::ConnectionUnblocked => {
                    info!(broker, "RabbitMQ takes events again");
                    session.blocked.send_replace(None);
                }
                // An error that closed one channel only: the user of the channel handles it.
                // `keep_complete` causes such errors.
                Event::Error(error) if topology::is_answer(&error) || limits::is_answer(&error) => {
                }
                Event::Error(error) => {
                    self.broker.limits.learn_consumer_timeout(&error);
                    return describe(&error);
                }
                _ => {}
            }
        }
        "the connection ended".into()
    }
}

#[cfg(test)]
mod tests;
