//! The queue: where an acknowledged event waits, on disk, between receiver and worker.
//!
//! Both queues keep the same contract; `tests/it/contract/queue.rs` tests it on real servers:
//!
//! - An event whose `publish` returned `Ok` is delivered to a consumer at least once, whatever is
//!   killed in between.
//! - An event is delivered again until a batch that holds it is acknowledged.
//! - Order is not guaranteed.

mod batch;
mod change_message;
pub mod embedded;
mod error;
mod identity;
mod options;
pub mod rabbitmq;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::clerk::{SignedEvent, Timestamp};
use crate::{metrics, trace};
use batch::Lease;

pub use batch::{Batch, ConsumerOptions, Source};
pub use change_message::ChangeMessage;
pub use error::{OpenError, PUBLISH_TIMEOUT, PublishError, Unavailable};
pub use identity::{Identity, identity};
pub use options::{Options, QueueInspection, inspect};

/// A handle on the open queue. Clones share it.
#[derive(Clone)]
pub enum Queue {
    /// For any number of receivers and workers.
    RabbitMq(rabbitmq::Queue),
    /// A SQLite file, for one process.
    Embedded(embedded::Queue),
}

impl Queue {
    /// Opens the queue. The connection to RabbitMQ is made in the background, and again after every
    /// outage.
    ///
    /// # Errors
    /// Fails if an operator must fix the configuration or the file first.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        match options {
            Options::RabbitMq(options) => Ok(Self::RabbitMq(rabbitmq::Queue::open(options)?)),
            Options::Embedded(options) => Ok(Self::Embedded(embedded::Queue::open(options).await?)),
        }
    }

    /// Returns a handle for publishing from this thread, one of `threads` that have one each. Must
    /// be called on a runtime that has no other thread: an event then wakes no other thread. The
    /// handle lives as long as that runtime; events in flight when it ends are not confirmed.
    pub fn on_this_thread(&self, threads: NonZeroUsize) -> Self {
        match self {
            Self::RabbitMq(queue) => Self::RabbitMq(queue.on_this_thread(threads)),
            // Its writer is a thread anyway.
            Self::Embedded(queue) => Self::Embedded(queue.clone()),
        }
    }

    /// Returns once the event is on disk and routed. May be cancelled at any time; the event may be
    /// stored nevertheless.
    ///
    /// # Errors
    /// After any error the event is not confirmed: the sender is to try again.
    pub async fn publish(&self, event: SignedEvent) -> Result<(), PublishError> {
        let (event, span) = trace::PublishSpan::start(event, self.system());
        let stored = async {
            match self {
                Self::RabbitMq(queue) => queue.publisher.publish(event, false).await,
                Self::Embedded(queue) => queue.publish(event).await,
            }
        };
        let (_in_flight, since) = (metrics::publish_starts(), Instant::now());
        let published = tokio::time::timeout(PUBLISH_TIMEOUT, stored)
            .await
            .unwrap_or(Err(PublishError::TimedOut));
        // A refusal is immediate, and does not show how fast the queue is.
        if matches!(published, Ok(()) | Err(PublishError::TimedOut)) {
            metrics::published(since.elapsed());
        }
        span.end(published.err().map(PublishError::kind));
        published
    }

    /// Declares the exchange of changes of rows, in the background, and returns what publishes to
    /// it. Returns `None` for the embedded queue: no application could bind a queue to it.
    pub fn change_publisher(&self) -> Option<rabbitmq::ChangePublisher> {
        match self {
            Self::RabbitMq(queue) => Some(queue.change_publisher()),
            Self::Embedded(_) => None,
        }
    }

    /// Logs a warning, once it is known, if bodies of this many bytes cannot be queued.
    pub fn expect_bodies(&self, bytes: usize) {
        match self {
            Self::RabbitMq(queue) => queue.expect_bodies(bytes),
            // A row of SQLite takes more than any receiver.
            Self::Embedded(_) => {}
        }
    }

    /// Marks the messages that this process publishes, so that workers know of it. The embedded queue
    /// serves one process, which knows itself.
    pub fn mark_messages(&self, mark: &str) {
        if let Self::RabbitMq(queue) = self {
            queue.mark_messages(mark);
        }
    }

    /// The marks of messages that consumers have had since the last call, each with how long ago.
    /// They are text from outside.
    pub fn take_heard(&self) -> Vec<(String, Duration)> {
        match self {
            Self::RabbitMq(queue) => queue.take_heard(),
            Self::Embedded(_) => Vec::new(),
        }
    }

    /// How long an event may stay unacknowledged: `wanted`, or less if the queue is known to take
    /// it back earlier.
    pub fn hold_max(&self, wanted: Duration) -> Duration {
        match self {
            Self::RabbitMq(queue) => queue.hold_max(wanted),
            Self::Embedded(_) => wanted,
        }
    }

    /// Returns a new consumer. It connects by itself, and again after every outage.
    pub fn consume(&self, source: Source, options: ConsumerOptions) -> Consumer {
        match self {
            Self::RabbitMq(queue) => Consumer::RabbitMq(Box::new(queue.consume(source, options))),
            Self::Embedded(queue) => Consumer::Embedded(queue.consume(source, options.batch_max)),
        }
    }

    /// The name of the system in traces.
    pub fn system(&self) -> &'static str {
        match self {
            Self::RabbitMq(_) => "rabbitmq",
            Self::Embedded(_) => "sqlite",
        }
    }

    /// How many events wait to be taken.
    ///
    /// # Errors
    /// Fails during an outage.
    pub async fn depth(&self) -> Result<u64, Unavailable> {
        match self {
            Self::RabbitMq(queue) => queue.depth().await,
            Self::Embedded(queue) => queue.depth().await,
        }
    }

    /// How many events the consumers of this process have taken or prefetched and not acknowledged.
    /// `None` for the embedded queue, whose `depth` counts them.
    pub fn taken(&self) -> Option<u64> {
        match self {
            Self::RabbitMq(queue) => Some(queue.taken.get()),
            Self::Embedded(_) => None,
        }
    }

    /// When the oldest waiting event was received; `None` if no event waits.
    ///
    /// # Errors
    /// Fails during an outage, and for RabbitMQ: over AMQP an event is only visible to its
    /// consumer, which counts as a delivery.
    pub async fn oldest_received_at(&self) -> Result<Option<Timestamp>, Unavailable> {
        match self {
            Self::RabbitMq(_) => Err(Unavailable::new(
                "RabbitMQ does not say over AMQP when its oldest message came",
            )),
            Self::Embedded(queue) => queue.oldest_received_at().await,
        }
    }

    /// Whether a publish could succeed now.
    ///
    /// # Errors
    /// Returns the reason if it could not.
    pub fn ready(&self) -> Result<(), Unavailable> {
        match self {
            Self::RabbitMq(queue) => queue.ready(),
            Self::Embedded(queue) => queue.ready(),
        }
    }

    /// The sources besides `Events` that a worker must drain: where unacknowledged events end.
    pub fn secondary_sources(&self) -> &'static [Source] {
        match self {
            Self::RabbitMq(_) => &[Source::DeadLetters, Source::Unrouted, Source::Rescued],
            Self::Embedded(_) => &[Source::DeadLetters],
        }
    }

    /// Whether a consumer of this source ends once it has taken all events that were there at the
    /// start: no more can arrive.
    pub fn has_end(&self, source: Source) -> bool {
        matches!(self, Self::Embedded(_)) && source != Source::Events
    }

    /// Shuts the queue down in order. Later publishes fail.
    pub async fn close(&self) {
        match self {
            Self::RabbitMq(queue) => queue.close().await,
            Self::Embedded(queue) => queue.close().await,
        }
    }
}

/// Takes events in batches.
pub enum Consumer {
    /// The consumer of RabbitMQ.
    RabbitMq(Box<rabbitmq::Consumer>),
    /// The consumer of the embedded queue.
    Embedded(embedded::Consumer),
}

impl Consumer {
    /// Waits for one event, through any outage, then takes all that are ready, at most the
    /// consumer's `batch_max`. Returns `None` once `stop` was called and all prefetched events are
    /// taken. Cancel-safe.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        match self {
            Self::RabbitMq(consumer) => consumer.next_batch().await,
            Self::Embedded(consumer) => consumer.next_batch().await,
        }
    }

    /// Like `next_batch`, but waits until the batch is full. To be called while other batches are
    /// in flight. After `stop`, the rest is a full batch.
    pub async fn next_full_batch(&mut self) -> Option<Batch> {
        match self {
            Self::RabbitMq(consumer) => consumer.next_full_batch().await,
            Self::Embedded(consumer) => consumer.next_full_batch().await,
        }
    }

    /// Acknowledges a batch. The acknowledgement may be sent some milliseconds later, during
    /// `next_batch`; at the latest when the consumer is stopped or dropped.
    ///
    /// # Errors
    /// Fails if the connection that delivered the batch is gone: its events are delivered again.
    pub async fn ack(&mut self, batch: Batch) -> Result<(), Unavailable> {
        match (self, batch.lease) {
            (Self::RabbitMq(consumer), Lease::RabbitMq(tags)) => consumer.ack(tags).await,
            (Self::Embedded(consumer), Lease::Embedded(lease)) => consumer.ack(lease).await,
            _ => Err(Unavailable::new("the batch belongs to another queue")),
        }
    }

    /// Counts what has arrived since the last batch was asked for: see `Queue::taken`.
    pub fn count_arrived(&mut self) {
        if let Self::RabbitMq(consumer) = self {
            consumer.count_arrived();
        }
    }

    /// Has the queue send nothing more until the next batch is asked for. Prefetched events are
    /// taken first then.
    pub async fn pause(&mut self) {
        if let Self::RabbitMq(consumer) = self {
            // If the connection is gone, nothing arrives either.
            consumer.pause().await;
        }
    }

    /// Returns these batches and the prefetched events to the queue without spending a delivery of
    /// each event. Takes little more than `PUBLISH_TIMEOUT`.
    ///
    /// A queue that takes no events now (it is full, or its broker has raised an alarm) cannot do
    /// that: then the rest is returned as a batch, to be held and tried again. With `force` it goes
    /// back in any case, and each event spends a delivery.
    pub async fn return_all(&mut self, batches: Vec<Batch>, force: bool) -> Option<Batch> {
        match self {
            Self::RabbitMq(consumer) => consumer.return_all(batches, force).await,
            // A lease that is dropped returns its rows.
            Self::Embedded(_) => None,
        }
    }

    /// Returns the prefetched events to the queue, so that they spend no delivery if the process
    /// dies. The queue sends nothing more until the next batch is asked for.
    pub async fn return_prefetched(&mut self) {
        if let Self::RabbitMq(consumer) = self {
            consumer.return_prefetched().await;
        }
    }

    /// Asks for no more events. Events that are taken or prefetched can still be finished.
    pub async fn stop(&mut self) {
        match self {
            Self::RabbitMq(consumer) => consumer.stop().await,
            Self::Embedded(consumer) => consumer.stop().await,
        }
    }
}
