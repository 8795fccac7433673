//! The queue on RabbitMQ, for any number of receivers and workers.
//!
//! Two connections: one publishes, one consumes, since a memory alarm stops every connection that publishes. Each is an
//! epoch (`link.rs`): when anything on it breaks, all of it is dropped and built anew, so that no half-alive channel, no
//! acknowledgement of an older connection and no old topology is ever met.
//!
//! lapin's own recovery is off: it is young, and a fresh connection is simpler to reason about.

mod address;
mod channel;
mod connect_error;
mod connection;
mod consumer;
mod dead_letter;
mod limits;
mod management;
mod message;
mod pending_publishes;
mod prefetch;
mod prefetched;
mod probe;
mod publisher;
mod topology;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};

use super::{
    Batch, ConsumerOptions, OpenError, PUBLISH_TIMEOUT, PublishError, Source, Unavailable,
};
use crate::clerk::SignedEvent;
use crate::tasks;
use crate::url::bracketed;
use connection::{Broker, Link, Purpose};
use pending_publishes::Outgoing;
use prefetched::Delivered;
use publisher::Publisher;
use topology::Names;

pub use address::{Address, Node as NodeAddress};
pub use channel::Tags;
pub use consumer::Consumer;
pub use management::{Management, QueuePolicy, Unseen};
pub use probe::{Inspection, Node, Shared, State};

/// Which broker, and the prefix of all names there. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    /// The nodes: each attempt to connect is with the next.
    pub address: Address,
    pub namespace: String,
}

impl Options {
    /// Host, port and virtual host of each node: the URLs without their names and passwords.
    pub fn place(&self) -> String {
        self.address
            .nodes()
            .iter()
            .map(NodeAddress::place)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A handle on the broker. Clones share its connections.
#[derive(Clone)]
pub struct Queue {
    names: Arc<Names>,
    publishing: Link,
    consuming: Link,
    publisher: Publisher,
}

/// Events on their way back to the queue at once: as many as the channels take, and far below what may wait for them.
const PUBLISHED_AT_ONCE: usize = 256;

/// Longest wait for an answer about the queue.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest prefix, in bytes: AMQP's names have 255, and the longest of ours adds nine.
const NAMESPACE_MAX: usize = 240;

/// A process that consumes nothing by then is there to publish, and connects without being asked: its operator learns of
/// a wrong password at the start, not at the first event.
const PUBLISHES_AFTER: Duration = Duration::from_secs(1);

impl Queue {
    /// Makes a handle; what is needed of the two connections is made in the background, once it is needed.
    ///
    /// Must be called on the program's own multi-thread runtime, which outlives every request: lapin's tasks live on the
    /// runtime that connects, and one that ends takes the connection with it.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let nodes = Arc::clone(options.address.nodes());
        if options.namespace.len() > NAMESPACE_MAX {
            return Err(OpenError(format!(
                "AMQP_NAMESPACE is longer than {NAMESPACE_MAX} bytes; give a shorter one"
            )));
        }
        let names = Arc::new(Names::new(&options.namespace));
        let broker = Broker {
            nodes,
            names: Arc::clone(&names),
            limits: Arc::default(),
        };
        let (publishing, consuming) = (
            Link::new(broker.clone(), Purpose::Publish),
            Link::new(broker, Purpose::Consume),
        );
        let publisher = Publisher::start(&publishing, &names);
        let queue = Self {
            names,
            publishing,
            consuming,
            publisher,
        };
        tasks::brief(queue.clone().publish_unless_consuming());
        Ok(queue)
    }

    /// See `queue::Queue::on_this_thread`.
    pub fn on_this_thread(&self, threads: NonZeroUsize) -> Self {
        Self {
            publisher: self.publisher.on_this_thread(threads),
            ..self.clone()
        }
    }

    /// See `queue::Queue::expect_bodies`.
    pub fn expect_bodies(&self, bytes: usize) {
        tasks::brief(limits::compare_with(
            self.publishing.clone(),
            self.names.events.clone(),
            bytes,
        ));
    }

    /// See `queue::Queue::hold_max`.
    pub fn hold_max(&self, wanted: Duration) -> Duration {
        self.consuming
            .limits()
            .consumer_timeout()
            .map_or(wanted, |timeout| wanted.min(timeout / 2))
    }

    async fn publish_unless_consuming(self) {
        tokio::time::sleep(PUBLISHES_AFTER).await;
        self.used();
    }

    /// One of the connections is wanted: that for publishing where nothing is consumed.
    fn used(&self) {
        if !self.consuming.is_wanted() {
            self.publishing.want();
        }
    }

    pub async fn publish(&self, event: SignedEvent) -> Result<(), PublishError> {
        self.publisher
            .publish(Outgoing {
                event,
                is_suspect: false,
            })
            .await
    }

    pub fn consume(&self, source: Source, taking: ConsumerOptions) -> Consumer {
        self.consuming.want();
        Consumer::new(
            self.consuming.clone(),
            Arc::clone(&self.names),
            source,
            taking,
        )
    }

    /// See `queue::Queue::give_back`.
    pub async fn give_back(
        &self,
        consumer: &mut Consumer,
        batches: Vec<Batch>,
        force: bool,
    ) -> Option<Batch> {
        if !consumer.pause().await {
            // The connection that delivered them is gone, so they are delivered again.
            return None;
        }
        // So are those that came over an older one.
        batches
            .into_iter()
            .rev()
            .for_each(|batch| consumer.take_back(batch));
        let rest = self.republish_prefetched(consumer).await;
        if rest == 0 {
            return None;
        }
        if force || !consumer.counts_deliveries() {
            consumer.return_all().await;
            return None;
        }
        consumer.batch_of_ahead()
    }

    /// Gives back what the broker sent the consumer ahead, and keeps what is in hand. What the queue does not take now is
    /// handed out later: to give it back the broker's own way would spend a delivery of each event for certain, and to keep
    /// it only if the process dies.
    pub async fn set_aside(&self, consumer: &mut Consumer) {
        if consumer.pause().await {
            self.republish_prefetched(consumer).await;
        }
    }

    /// Publishes again what was sent ahead, and acknowledges what the queue has taken; how many it has not. To be called
    /// while the consumer is paused.
    ///
    /// A quorum queue counts every delivery that ends without an acknowledgement, whether the process died of it or gave
    /// it back (RabbitMQ's guide to quorum queues, "Poison Message Handling"; before 4.3 there is no other return). An outage
    /// of many rounds would spend the limit of good events. A message that is published again begins at nothing, but that
    /// it is a suspect is written on it.
    async fn republish_prefetched(&self, consumer: &mut Consumer) -> usize {
        let ahead = consumer.take_ahead();
        let (deadline, refused) = (
            Instant::now() + PUBLISH_TIMEOUT,
            AtomicBool::new(!consumer.counts_deliveries()),
        );
        let events: Vec<_> = ahead.iter().map(Delivered::to_publish_again).collect();
        let again = events
            .into_iter()
            .map(|event| self.publish_unless(&refused, event, deadline));
        let taken: Vec<bool> = futures_util::stream::iter(again)
            .buffered(PUBLISHED_AT_ONCE)
            .collect()
            .await;
        let (mut again, mut rest) = (Vec::new(), Vec::new());
        for (delivered, is_taken) in ahead.into_iter().zip(taken) {
            if is_taken { &mut again } else { &mut rest }.push(delivered);
        }
        if consumer.ack_delivered(&again).await.is_err() {
            // All are delivered again, those that were published too: they change nothing twice.
            return 0;
        }
        let left = rest.len();
        consumer.put_ahead(rest);
        left
    }

    /// Whether the queue has taken the event. One that has refused another is not asked.
    async fn publish_unless(
        &self,
        refused: &AtomicBool,
        event: Outgoing,
        deadline: Instant,
    ) -> bool {
        if refused.load(Ordering::Relaxed) {
            return false;
        }
        let is_taken = matches!(
            timeout_at(deadline, self.publisher.publish(event)).await,
            Ok(Ok(()))
        );
        refused.fetch_or(!is_taken, Ordering::Relaxed);
        is_taken
    }

    /// Messages that wait in the queue, without those in the hands of consumers.
    pub async fn depth(&self) -> Result<u64, Unavailable> {
        self.used();
        // The broker's alarms don't touch the one that consumes.
        let link = if self.consuming.is_wanted() {
            &self.consuming
        } else {
            &self.publishing
        };
        let count = async {
            link.started().await;
            link.ready()?;
            let epoch = link
                .current()
                .ok_or_else(|| Unavailable::new("the connection to RabbitMQ is not open"))?;
            let count = topology::count(&epoch.connection, &self.names.users).await;
            count.map_err(|_| Unavailable::new("RabbitMQ does not say how many events wait"))
        };
        let count = tokio::time::timeout(QUESTION_TIMEOUT, count).await;
        count.unwrap_or_else(|_| Err(Unavailable::new("RabbitMQ does not answer")))
    }

    /// Concerns publishing where this process publishes, and consuming where it consumes.
    pub fn ready(&self) -> Result<(), Unavailable> {
        self.used();
        self.publishing.ready()?;
        self.consuming.ready()
    }

    /// Waits, not for long, for what is in flight; consumers get nothing more. Takes 3 s at most.
    pub async fn close(&self) {
        self.publisher.close().await;
        tokio::join!(self.publishing.close(), self.consuming.close());
    }
}

/// The host of every node, with its port where that is not the usual one, and the virtual host.
pub fn whereabouts(options: &Options) -> (Vec<String>, String) {
    let nodes = options.address.nodes();
    let host = |node: &NodeAddress| match (
        node.uri.authority.host.to_lowercase(),
        node.uri.authority.port,
    ) {
        // Both ports lead to the same queue, one with TLS and one without.
        (host, 5671 | 5672) => bracketed(&host),
        (host, port) => format!("{}:{port}", bracketed(&host)),
    };
    let vhost = nodes
        .first()
        .map(|node| node.uri.vhost.clone())
        .unwrap_or_default();
    (nodes.iter().map(host).collect(), vhost)
}

/// What the broker is like, asked without a change.
pub async fn inspect(options: &Options) -> Result<Inspection, OpenError> {
    Ok(probe::inspect(options.address.nodes(), &Names::new(&options.namespace)).await)
}

/// The largest body that the broker takes, where that is less than `bytes`; `None` where it takes them, or nobody can say.
pub async fn inspect_body_max(options: &Options, bytes: usize) -> Option<u64> {
    Box::pin(probe::body_max(
        options.address.nodes(),
        &Names::new(&options.namespace),
        bytes,
    ))
    .await
}

/// Which policies are in force on our queues, as the management API says: at this URL, or else where it usually is.
pub async fn inspect_policies(options: &Options, url: Option<&SecretString>) -> Management {
    management::ask(
        options.address.nodes(),
        url,
        &Names::new(&options.namespace),
    )
    .await
}
