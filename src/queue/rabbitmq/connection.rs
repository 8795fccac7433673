//! One connection to the broker, kept open: a supervisor that connects, declares, watches, and begins again.
//!
//! States, and what each means for an event in flight:
//!
//! - *idle*, or at the beginning of its first attempt: nothing is known yet, so events wait, within the publisher's bounds,
//!   for what that attempt comes to.
//! - *connecting*: nothing is accepted; the reason is what readiness tells.
//! - *open*: an epoch, with one connection. Whoever meets a fault on it abandons the epoch, and all of it is dropped:
//!   publishes in flight fail, deliveries that were not acknowledged come again.
//! - *blocked*, within an open epoch: the broker takes no publishes (a memory or disk alarm). Nothing is accepted; what is
//!   in flight fails for its sender and may be stored all the same. The connection is kept, however long it lasts: a new
//!   one would seem to be free until its first publish, and the old one could not even be closed.
//! - *closed*: for good.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::address::Node;
use super::connect_error::{Fault, connect, describe, fault_of};
use super::limits::{self, Limits};
use super::topology::{self, Names, TopologyError};
use crate::backoff::Backoff;
use crate::queue::Unavailable;
use crate::shutdown::Shutdown;
use crate::tasks;

/// Longest time to connect and declare.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker that has not let us in by then is taken to be away, until it does: whoever waits for it at the start is told.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// How often who publishes asks whether all that was declared is still there: a queue that was deleted is noticed by who
/// consumes, and by nobody else. Eleven short questions; what comes in between them is kept as unrouted.
const COMPLETE_EVERY: Duration = Duration::from_secs(5);

/// Longest time to close in good order, which a blocked connection cannot: with the publisher's flush below the 3 s that
/// a stop has for the queue.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Seconds between heartbeats, unless the URL says otherwise: a dead peer is noticed within two of them.
const HEARTBEAT_S: u16 = 20;

/// Bytes a frame, unless the URL says otherwise: lapin keeps 32 of each direction in memory, and an event has 3 KB.
const FRAME_MAX: u32 = 16 * 1024;

/// An epoch that lasted this long was a good one: the next outage begins with short waits again. A broker or proxy that
/// lets in and then ends the connection does so at once.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// Where to connect to, and what must be there.
#[derive(Clone)]
pub struct Broker {
    /// The nodes, at least one: each attempt to connect is with the next.
    pub nodes: Arc<[Node]>,
    pub names: Arc<Names>,
    pub limits: Arc<Limits>,
}

/// A connection that is kept open once somebody wants it. Clones share it.
#[derive(Clone)]
pub struct Link {
    state: watch::Receiver<State>,
    wanted: Shutdown,
    closing: Shutdown,
    limits: Arc<Limits>,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Publish,
    Consume,
}

impl Purpose {
    /// As the broker lists it.
    fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

#[derive(Clone)]
enum State {
    /// Nobody wants it yet, or the first attempt has just begun.
    Idle,
    Connecting(Arc<str>),
    Open(Arc<Epoch>),
    Closed,
}

/// One life of a connection.
pub struct Epoch {
    pub connection: Connection,
    /// Why the broker takes no publishes, while it takes none.
    blocked: watch::Sender<Option<Arc<str>>>,
    over: Shutdown,
}

impl Epoch {
    /// Ends this life: something on it broke.
    pub fn abandon(&self) {
        self.over.request();
    }

    pub fn is_over(&self) -> bool {
        self.over.is_requested()
    }

    /// Returns when this life has ended. Cancel-safe.
    pub async fn over(&self) {
        self.over.requested().await;
    }

    /// Whether the broker takes no publishes now.
    pub fn is_blocked(&self) -> bool {
        self.blocked.borrow().is_some()
    }

    /// Returns when the broker takes no publishes. Cancel-safe.
    pub async fn blocked(&self) {
        let mut blocked = self.blocked.subscribe();
        // The sender is in `self`, so waiting cannot fail.
        drop(blocked.wait_for(Option::is_some).await);
    }

    /// Returns when the broker takes publishes. Cancel-safe.
    pub async fn unblocked(&self) {
        let mut blocked = self.blocked.subscribe();
        drop(blocked.wait_for(Option::is_none).await);
    }
}

impl Link {
    pub fn new(broker: Broker, purpose: Purpose) -> Self {
        let (tell, state) = watch::channel(State::Idle);
        let limits = Arc::clone(&broker.limits);
        let link = Self {
            state,
            wanted: Shutdown::default(),
            closing: Shutdown::default(),
            limits,
        };
        let supervisor = Supervisor {
            broker,
            purpose,
            tell,
            wanted: link.wanted.clone(),
            closing: link.closing.clone(),
        };
        supervisor.start();
        link
    }

    /// Connects from now on.
    pub fn want(&self) {
        self.wanted.request();
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.is_requested()
    }

    /// What is known of what the broker takes.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether nothing is known of the broker yet: no attempt to connect has ended or taken long.
    pub fn is_starting(&self) -> bool {
        matches!(&*self.state.borrow(), State::Idle)
    }

    /// Returns when the first attempt to connect has ended, well or not, or has taken long. Cancel-safe.
    pub async fn started(&self) {
        let mut state = self.state.clone();
        // Fails when the supervisor is gone, and then there is nothing to wait for.
        drop(state.wait_for(|state| !matches!(state, State::Idle)).await);
    }

    /// Whether the connection is open and not blocked, or not wanted at all.
    pub fn ready(&self) -> Result<(), Unavailable> {
        match &*self.state.borrow() {
            State::Idle if !self.wanted.is_requested() => Ok(()),
            State::Idle => Err(Unavailable::new("connecting to RabbitMQ")),
            State::Connecting(reason) => Err(Unavailable::new(reason.to_string())),
            State::Closed => Err(Unavailable::new("the connection to RabbitMQ is closed")),
            State::Open(epoch) => match &*epoch.blocked.borrow() {
                None => Ok(()),
                Some(reason) => Err(Unavailable::new(format!(
                    "RabbitMQ takes no events now: {reason}"
                ))),
            },
        }
    }

    /// The epoch that is open now.
    pub fn current(&self) -> Option<Arc<Epoch>> {
        match &*self.state.borrow() {
            State::Open(epoch) if !epoch.is_over() => Some(Arc::clone(epoch)),
            _ => None,
        }
    }

    /// Waits for an open epoch; nothing once the link is closed. Cancel-safe.
    pub async fn opened(&self) -> Option<Arc<Epoch>> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Open(epoch) if !epoch.is_over() => return Some(Arc::clone(epoch)),
                State::Closed => return None,
                _ => {}
            }
            state.changed().await.ok()?;
        }
    }

    /// Closes the connection in good order.
    pub async fn close(&self) {
        self.closing.request();
        let mut state = self.state.clone();
        // Fails when the supervisor is gone, and then it is closed.
        drop(state.wait_for(|state| matches!(state, State::Closed)).await);
    }
}

struct Supervisor {
    broker: Broker,
    purpose: Purpose,
    tell: watch::Sender<State>,
    wanted: Shutdown,
    closing: Shutdown,
}

/// What lapin says of a connection. Exactly one listener a connection, and always read: several would share the events.
type Events = BoxStream<'static, Event>;

impl Supervisor {
    /// Runs until the link is closed, or nobody has it any more. A panic ends the epoch that is open; the next one is new.
    fn start(self) {
        let supervisor = Arc::new(self);
        let work = {
            let supervisor = Arc::clone(&supervisor);
            move || Arc::clone(&supervisor).run()
        };
        let died = {
            let supervisor = Arc::clone(&supervisor);
            move || {
                supervisor.fail("the task of the connection met a bug of clerk-sync, and starts again: report it")
            }
        };
        let is_asked_to_end =
            move || supervisor.closing.is_requested() || supervisor.tell.is_closed();
        tasks::brief(tasks::restarted(
            "connection to RabbitMQ",
            is_asked_to_end,
            died,
            work,
        ));
    }

    /// Ends what is open, so that nobody waits for it.
    fn fail(&self, reason: &'static str) {
        if let State::Open(epoch) = &*self.tell.borrow() {
            epoch.abandon();
        }
        self.tell.send_replace(State::Connecting(reason.into()));
    }

    async fn run(self: Arc<Self>) {
        tokio::select! {
            () = self.keep_open() => {}
            () = self.tell.closed() => {}
        }
        self.tell.send_replace(State::Closed);
    }

    async fn keep_open(&self) {
        if self.closing.or(self.wanted.requested()).await.is_some() {
            let (mut outage, mut repair) = (Backoff::for_outage(), Backoff::for_repair());
            let mut told = String::new();
            // From any of them on, so that the programs around a cluster spread over its nodes.
            let first = rand::random_range(0..self.broker.nodes.len());
            for node in self.broker.nodes.iter().cycle().skip(first) {
                // A stop does not wait for a broker that doesn't answer.
                let Some(connected) = self.closing.or(self.connect(node)).await else {
                    break;
                };
                let fault = match connected {
                    Ok(life) => {
                        told.clear();
                        let began = Instant::now();
                        let fault = self.live(node, life).await;
                        if began.elapsed() > STABLE_AFTER {
                            outage.reset();
                        }
                        repair.reset();
                        fault
                    }
                    Err(fault) => fault,
                };
                let wait = self.say(node, fault, &mut told, &mut outage, &mut repair);
                if self.closing.or(tokio::time::sleep(wait)).await.is_none() {
                    break;
                }
            }
        }
    }

    /// Makes the reason known, in the log once, and says how long to wait.
    fn say(
        &self,
        node: &Node,
        fault: Fault,
        told: &mut String,
        outage: &mut Backoff,
        repair: &mut Backoff,
    ) -> Duration {
        let (reason, wait, needs_repair) = match fault {
            Fault::Away(reason) => (reason, outage.next_interval(), false),
            Fault::Repair(reason) => (reason, repair.next_interval(), true),
        };
        if *told != reason && !self.closing.is_requested() {
            let broker = node.place();
            if needs_repair {
                error!(
                    broker,
                    reason, "RabbitMQ cannot be used until this is fixed"
                );
            } else {
                warn!(broker, reason, "RabbitMQ is away; trying again");
            }
            told.clone_from(&reason);
        }
        self.tell.send_replace(State::Connecting(reason.into()));
        wait
    }

    async fn connect(&self, node: &Node) -> Result<(Arc<Epoch>, Events), Fault> {
        let mut uri = node.uri.clone();
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        let name = format!(
            "clerk-sync {} {}",
            self.broker.names.namespace,
            self.purpose.name()
        );
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connect = async {
            let connection = connect(node, uri, properties).await?;
            // From the first moment on: lapin keeps no event for a listener that is not there yet.
            let events = connection.events_listener().boxed();
            topology::declare(&connection, &self.broker.names)
                .await
                .map_err(|error| match error {
                    TopologyError::Broker(error) => fault_of(&node.uri.scheme, error),
                    mismatch @ TopologyError::Mismatch { .. } => {
                        Fault::Repair(mismatch.to_string())
                    }
                })?;
            let epoch = Epoch {
                connection,
                blocked: watch::Sender::new(None),
                over: Shutdown::default(),
            };
            Ok((Arc::new(epoch), events))
        };
        let mut connecting = pin!(tokio::time::timeout(CONNECT_TIMEOUT, connect));
        let connected = match tokio::time::timeout(SILENT_AFTER, &mut connecting).await {
            Ok(connected) => connected,
            Err(_) => {
                self.tell.send_if_modified(|state| {
                    let is_first = matches!(state, State::Idle);
                    if is_first {
                        *state = State::Connecting("RabbitMQ has not answered yet".into());
                    }
                    is_first
                });
                connecting.await
            }
        };
        connected.unwrap_or_else(|_| Err(Fault::Away("RabbitMQ does not answer".into())))
    }

    /// Watches one life of the connection to its end.
    async fn live(&self, node: &Node, (epoch, events): (Arc<Epoch>, Events)) -> Fault {
        info!(
            broker = node.place(),
            purpose = self.purpose.name(),
            "connected to RabbitMQ"
        );
        if self.purpose == Purpose::Publish {
            self.broker.limits.forget_body_max();
        }
        self.tell.send_replace(State::Open(Arc::clone(&epoch)));
        let reason = tokio::select! {
            () = self.closing.requested() => "the program stops".to_string(),
            () = epoch.over() => "a channel failed; the connection is made anew".to_string(),
            reason = self.watch(node, &epoch, events) => reason,
            reason = self.keep_complete(&epoch), if self.purpose == Purpose::Publish => reason,
        };
        epoch.abandon();
        self.tell
            .send_replace(State::Connecting(reason.as_str().into()));
        // Fails where the connection is gone already.
        drop(
            tokio::time::timeout(CLOSE_TIMEOUT, epoch.connection.close(200, "closing".into()))
                .await,
        );
        Fault::Away(reason)
    }

    /// Declares again what was deleted. Says why when that cannot be done on this connection.
    async fn keep_complete(&self, epoch: &Epoch) -> String {
        loop {
            tokio::time::sleep(COMPLETE_EVERY).await;
            if epoch.is_blocked() {
                // lapin would keep the questions until the alarm is over.
                continue;
            }
            let names = &self.broker.names;
            let asked = tokio::time::timeout(
                CONNECT_TIMEOUT,
                topology::is_complete(&epoch.connection, names),
            )
            .await;
            // A connection that is broken is noticed without this.
            if !matches!(asked, Ok(Ok(false))) {
                continue;
            }
            warn!(
                namespace = names.namespace,
                "a queue or an exchange was deleted; all that is missing is declared again"
            );
            match tokio::time::timeout(CONNECT_TIMEOUT, topology::declare(&epoch.connection, names))
                .await
            {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "RabbitMQ does not answer".into(),
            }
        }
    }

    /// Follows the connection's own events until it breaks; says why.
    async fn watch(&self, node: &Node, epoch: &Epoch, mut events: Events) -> String {
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    warn!(
                        broker = node.place(),
                        reason, "RabbitMQ takes no events now"
                    );
                    epoch.blocked.send_replace(Some(reason.into()));
                }
                Event::ConnectionUnblocked => {
                    info!(broker = node.place(), "RabbitMQ takes events again");
                    epoch.blocked.send_replace(None);
                }
                // Of one channel: whoever uses it meets the error there, and `keep_complete` asks for it.
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
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_supervisor_that_dies_says_so_starts_again_and_ends_with_its_link() {
        // Without a node there is none to begin with, which is a bug: no such list can be configured.
        let broker = Broker {
            nodes: Arc::new([]),
            names: Arc::new(Names::new("clerk-sync-test")),
            limits: Arc::default(),
        };
        let link = Link::new(broker, Purpose::Consume);
        link.want();
        link.started().await;
        let reason = link.ready().unwrap_err().to_string();
        assert!(reason.contains("bug of clerk-sync"), "{reason}");
        let mut state = link.state.clone();
        state.mark_unchanged();
        let again = tokio::time::timeout(Duration::from_secs(30), state.changed());
        assert!(
            again.await.expect("it starts again").is_ok(),
            "it is still there"
        );
        tokio::time::timeout(Duration::from_secs(30), link.close())
            .await
            .expect("it ends");
    }

    #[tokio::test]
    async fn a_supervisor_whose_link_nobody_has_ends() {
        let names = Arc::new(Names::new("clerk-sync-test"));
        let held_by_it = Arc::downgrade(&names);
        drop(Link::new(
            Broker {
                nodes: Arc::new([]),
                names,
                limits: Arc::default(),
            },
            Purpose::Consume,
        ));
        let gone = async {
            while held_by_it.upgrade().is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone)
            .await
            .expect("it ends");
    }
}
