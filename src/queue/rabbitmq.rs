//! The queue on RabbitMQ, for any number of receivers and workers.
//!
//! Two connections: one publishes, one consumes, since a memory alarm stops every connection that
//! publishes. A third one publishes changes of rows, if there is a change feed. Each is kept open in sessions (`connection.rs`): after any error on a session all of
//! it is dropped and built again, so that no half-alive channel, no acknowledgement of an older
//! connection and no old topology is ever used.
//!
//! lapin's own recovery is off: it is young, and a fresh connection is simpler to reason about.

mod address;
mod amqp_error;
mod change_publisher;
mod confirmed;
mod connect;
mod connection;
mod consumer;
mod consumer_channel;
mod dead_letter;
mod header;
mod limits;
mod management;
mod marks;
mod message;
mod prefetch;
mod probe;
mod publisher;
mod purpose;
mod taken;
mod topology;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::batch::{ConsumerOptions, Source};
use super::error::{OpenError, Unavailable};
use crate::tasks;
use crate::url::bracketed;
use connection::{Broker, Connection};
use limits::{TooLarge, ask_body_max};
use marks::Marks;
use publisher::Publisher;
use purpose::Purpose;
use taken::TakenCount;
use topology::Names;

pub use address::{Address, NodeAddress};
pub use change_publisher::ChangePublisher;
pub use consumer::Consumer;
pub use management::{ManagementError, PolicyInspection, QueuePolicy};
pub use probe::{BrokerInspection, DeclaredState, NodeInspection, TopologyInspection};

/// Which broker, and the prefix of all names there.
#[derive(Debug, Clone)]
pub struct Options {
    /// The nodes: each attempt to connect goes to the next.
    pub address: Address,
    /// The prefix.
    pub namespace: String,
}

impl Options {
    /// Host, port and virtual host of each node: the URLs without user and password.
    pub fn place(&self) -> String {
        let places: Vec<_> = self
            .address
            .nodes()
            .iter()
            .map(NodeAddress::place)
            .collect();
        places.join(", ")
    }

    /// The exchange of changes of rows.
    pub fn change_exchange(&self) -> String {
        Names::new(&self.namespace).changes
    }

    /// The host of every node, with its port if that is not a usual one, and the virtual host.
    pub fn hosts_and_vhost(&self) -> (Vec<String>, String) {
        let nodes = self.address.nodes();
        let host = |node: &NodeAddress| {
            let authority = &node.uri.authority;
            let host = bracketed(&authority.host.to_lowercase());
            match authority.port {
                // Both ports lead to the same queue, one with TLS and one without.
                5671 | 5672 => host,
                port => format!("{host}:{port}"),
            }
        };
        let vhost = nodes.first().map(|node| node.uri.vhost.clone());
        (nodes.iter().map(host).collect(), vhost.unwrap_or_default())
    }
}

/// A handle on the broker. Clones share its connections.
#[derive(Clone)]
pub struct Queue {
    broker: Broker,
    names: Arc<Names>,
    marks: Arc<Marks>,
    publishing: Connection,
    consuming: Connection,
    pub(super) publisher: Publisher,
    pub(super) taken: TakenCount,
}

/// Longest wait for an answer about the queue.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest prefix, in bytes: AMQP's names have 255, and the longest suffix has nine.
const NAMESPACE_MAX: usize = 240;

/// A process that consumes nothing by then is a publisher, and connects at once: its operator
/// learns of a wrong password at the start, not at the first event.
const PUBLISHES_AFTER: Duration = Duration::from_secs(1);

impl Queue {
    /// Returns a handle. The two connections are made in the background, once they are needed.
    ///
    /// Must be called on the program's own multi-thread runtime, which outlives every request:
    /// lapin's tasks live on the runtime that connects, and the connection ends with it.
    ///
    /// # Errors
    /// Fails if the namespace is too long.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        if options.namespace.len() > NAMESPACE_MAX {
            return Err(OpenError(format!(
                "AMQP_NAMESPACE is longer than {NAMESPACE_MAX} bytes; give a shorter one"
            )));
        }
        let names = Arc::new(Names::new(&options.namespace));
        let broker = Broker {
            nodes: Arc::clone(options.address.nodes()),
            names: Arc::clone(&names),
            limits: Arc::default(),
        };
        let publishing = Connection::new(broker.clone(), Purpose::Publish);
        let marks = Arc::<Marks>::default();
        let queue = Self {
            publisher: Publisher::start(&publishing, &names, &marks),
            consuming: Connection::new(broker.clone(), Purpose::Consume),
            broker,
            names,
            marks,
            publishing,
            taken: TakenCount::default(),
        };
        let publisher = queue.clone();
        tasks::brief(async move {
            sleep(PUBLISHES_AFTER).await;
            publisher.connect_if_unused();
        });
        Ok(queue)
    }

    /// See `queue::Queue::on_this_thread`.
    pub fn on_this_thread(&self, threads: NonZeroUsize) -> Self {
        Self {
            publisher: self.publisher.on_this_thread(threads.get()),
            ..self.clone()
        }
    }

    /// See `queue::Queue::change_publisher`.
    pub fn change_publisher(&self) -> ChangePublisher {
        ChangePublisher::connect(self.broker.clone())
    }

    /// See `queue::Queue::expect_bodies`. Asks at each connection.
    pub fn expect_bodies(&self, bytes: usize) {
        let (connection, exchange) = (self.publishing.clone(), self.names.events.clone());
        tasks::brief(async move {
            while let Some(session) = connection.opened().await {
                if let Some(max) = ask_body_max(&session.connection, &exchange, bytes).await {
                    let refusal = TooLarge { size: max + 1, max };
                    connection
                        .limits()
                        .learn_body_max(refusal, std::iter::empty());
                    warn!(
                        max_message_size = max,
                        max_body_bytes = bytes,
                        "RabbitMQ takes no message as large as MAX_BODY_BYTES: larger webhooks get 413. Raise max_message_size in rabbitmq.conf, or lower MAX_BODY_BYTES"
                    );
                }
                session.ended().await;
            }
        });
    }

    /// See `queue::Queue::mark_messages`.
    pub fn mark_messages(&self, mark: &str) {
        self.marks.set_own(mark);
    }

    /// See `queue::Queue::take_heard`.
    pub fn take_heard(&self) -> Vec<(String, Duration)> {
        self.marks.take_heard()
    }

    /// See `queue::Queue::hold_max`.
    pub fn hold_max(&self, wanted: Duration) -> Duration {
        let timeout = self.consuming.limits().consumer_timeout();
        timeout.map_or(wanted, |timeout| wanted.min(timeout / 2))
    }

    /// Connects for publishing, if nothing is consumed.
    fn connect_if_unused(&self) {
        if !self.consuming.is_wanted() {
            self.publishing.want();
        }
    }

    /// See `queue::Queue::consume`.
    pub fn consume(&self, source: Source, options: ConsumerOptions) -> Consumer {
        self.consuming.want();
        let of_queue = (Arc::clone(&self.names), Arc::clone(&self.marks));
        // `depth` is that of the queue of events, and so is this.
        let taken = match source {
            Source::Events => self.taken.clone(),
            _ => TakenCount::default(),
        };
        Consumer::new(
            self.consuming.clone(),
            self.publisher.clone(),
            of_queue,
            (source, options),
            taken,
        )
    }

    /// The number of waiting messages in the queue, without those in flight.
    ///
    /// # Errors
    /// Fails during an outage.
    pub async fn depth(&self) -> Result<u64, Unavailable> {
        self.connect_if_unused();
        // Alarms do not affect the connection that consumes.
        let connection = if self.consuming.is_wanted() {
            &self.consuming
        } else {
            &self.publishing
        };
        let counts = async {
            connection.started().await;
            connection.ready()?;
            let session = connection
                .current()
                .ok_or_else(|| Unavailable::new("the connection to RabbitMQ is not open"))?;
            let counts = topology::counts(&session.connection, &self.names.events).await;
            counts.map_err(|_| Unavailable::new("RabbitMQ does not say how many events wait"))
        };
        match timeout(QUESTION_TIMEOUT, counts).await {
            Ok(counts) => Ok(counts?.0),
            Err(_) => Err(Unavailable::new("RabbitMQ does not answer")),
        }
    }

    /// See `queue::Queue::ready`: whether the connections that this process uses are open.
    ///
    /// # Errors
    /// Returns the reason if one is not.
    pub fn ready(&self) -> Result<(), Unavailable> {
        self.connect_if_unused();
        self.publishing.ready()?;
        self.consuming.ready()
    }

    /// Waits a short time for events in flight; consumers get no more events. Takes 3 s at most.
    pub async fn close(&self) {
        self.publisher.close().await;
        tokio::join!(self.publishing.close(), self.consuming.close());
    }
}

/// Inspects the broker without changing it; with `publishes_changes` the exchange of changes of
/// rows, too.
pub async fn inspect(options: &Options, publishes_changes: bool) -> BrokerInspection {
    let names = Names::new(&options.namespace);
    probe::inspect(options.address.nodes(), &names, publishes_changes).await
}

/// The largest body that the broker takes, if that is less than `bytes`; `None` if it takes them or
/// does not answer.
pub async fn inspect_body_max(options: &Options, bytes: usize) -> Option<u64> {
    let names = Names::new(&options.namespace);
    Box::pin(probe::body_max(options.address.nodes(), &names, bytes)).await
}

/// The policies of our queues, from the management API: at this URL, or at its usual address.
pub async fn inspect_policies(options: &Options, url: Option<&SecretString>) -> PolicyInspection {
    let names = Names::new(&options.namespace);
    management::inspect(options.address.nodes(), url, &names).await
}
