//! Between receiver and worker: where an acknowledged event waits, on disk.
//!
//! One of the two seams of the house. Both queues keep the same promises; `tests/it/contract/queue.rs` holds them to it.
//!
//! - An event whose `publish` returned `Ok` is delivered to a consumer at least once, whatever is killed in between.
//! - An event is delivered again until a batch that holds it is acknowledged.
//! - Order is not promised.

pub mod embedded;
mod identity;
pub mod rabbitmq;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::clerk::{SignedEvent, Timestamp};
use crate::{metrics, trace};

pub use identity::{Identity, identity};

/// Where events wait.
#[derive(Clone)]
pub enum Queue {
    /// For any number of receivers and workers.
    RabbitMq(rabbitmq::Queue),
    /// A SQLite file, for one process.
    Embedded(embedded::Queue),
}

/// Which queue to open. Plain data.
#[derive(Debug, Clone)]
pub enum Options {
    RabbitMq(rabbitmq::Options),
    Embedded(embedded::Options),
}

/// What a queue is like: for a person who sets it up.
#[derive(Debug, Clone)]
pub enum Inspection {
    RabbitMq(rabbitmq::Inspection),
    Embedded(embedded::Inspection),
}

/// Asks what the queue is like, without making or changing anything. It need not be open.
pub async fn inspect(options: &Options) -> Result<Inspection, OpenError> {
    match options {
        Options::RabbitMq(options) => Ok(Inspection::RabbitMq(rabbitmq::inspect(options).await?)),
        Options::Embedded(options) => Ok(Inspection::Embedded(embedded::inspect(options).await?)),
    }
}

/// What a consumer takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The events to apply.
    Events,
    /// What was delivered too often without an acknowledgement.
    DeadLetters,
    /// What no binding took.
    Unrouted,
    /// What a policy of the broker took out of the queues of the two above, such as by a `message-ttl`.
    Rescued,
}

/// How long a publish may take before the sender is told to try again. Svix gives up after 15 s.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

impl Queue {
    /// Opens the queue. RabbitMQ need not be there yet: the connection is made, and made again, in the background.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        match options {
            Options::RabbitMq(options) => Ok(Self::RabbitMq(rabbitmq::Queue::open(options)?)),
            Options::Embedded(options) => Ok(Self::Embedded(embedded::Queue::open(options).await?)),
        }
    }

    /// A handle for publishing from this thread, one of `threads` that have one each. To be called on a runtime that has no other
    /// thread: each that an event does not have to wake is time and work saved. The handle is of use as long as that runtime;
    /// events in flight when it ends are not promised.
    pub fn on_this_thread(&self, threads: NonZeroUsize) -> Self {
        match self {
            Self::RabbitMq(queue) => Self::RabbitMq(queue.on_this_thread(threads)),
            // Its writer is a thread anyway.
            Self::Embedded(queue) => Self::Embedded(queue.clone()),
        }
    }

    /// Returns once the event is on disk and routed. Any error means: not promised, let the sender try again.
    ///
    /// May be cancelled at any time; the event may be stored all the same.
    pub async fn publish(&self, event: SignedEvent) -> Result<(), PublishError> {
        let (event, span) = trace::Publish::begin(event, self.system());
        let stored = async {
            match self {
                Self::RabbitMq(queue) => queue.publish(event).await,
                Self::Embedded(queue) => queue.publish(event).await,
            }
        };
        let (_in_flight, since) = (metrics::publish_starts(), Instant::now());
        let published = tokio::time::timeout(PUBLISH_TIMEOUT, stored)
            .await
            .unwrap_or(Err(PublishError::TimedOut));
        // A refusal comes at once, and says nothing of how fast the queue is.
        if matches!(published, Ok(()) | Err(PublishError::TimedOut)) {
            metrics::published(since.elapsed());
        }
        span.ended(published.err().map(PublishError::kind));
        published
    }

    /// Says in the log where bodies of so many bytes cannot be queued, once that is known.
    pub fn expect_bodies(&self, bytes: usize) {
        match self {
            Self::RabbitMq(queue) => queue.expect_bodies(bytes),
            // A row of SQLite takes more than any receiver.
            Self::Embedded(_) => {}
        }
    }

    /// How long an event may be held without an acknowledgement: as long as is wanted, or less where the queue is known to take
    /// it back before.
    pub fn hold_max(&self, wanted: Duration) -> Duration {
        match self {
            Self::RabbitMq(queue) => queue.hold_max(wanted),
            Self::Embedded(_) => wanted,
        }
    }

    /// A new consumer. It connects by itself, and again after every outage.
    pub fn consume(&self, source: Source, taking: ConsumerOptions) -> Consumer {
        match self {
            Self::RabbitMq(queue) => Consumer::RabbitMq(Box::new(queue.consume(source, taking))),
            Self::Embedded(queue) => Consumer::Embedded(queue.consume(source, taking.batch_max)),
        }
    }

    /// Gives everything that a consumer has in hand back to the queue, so that it does not count as a delivery that came to
    /// nothing. Takes little more than `PUBLISH_TIMEOUT`.
    ///
    /// A queue that takes nothing now (it is full, or its broker has raised an alarm) cannot do that: then what is left comes
    /// back as a batch, to be held on to and tried again. If it `force`, it goes all the same, and counts.
    pub async fn give_back(
        &self,
        consumer: &mut Consumer,
        batches: Vec<Batch>,
        force: bool,
    ) -> Option<Batch> {
        match (self, consumer) {
            (Self::RabbitMq(queue), Consumer::RabbitMq(consumer)) => {
                queue.give_back(consumer, batches, force).await
            }
            // A receipt that is dropped gives its rows back.
            _ => None,
        }
    }

    /// Gives back what the queue has sent the consumer ahead, so that it is not lost with a process that dies; nothing more is
    /// sent until the next batch is asked for.
    pub async fn set_aside(&self, consumer: &mut Consumer) {
        if let (Self::RabbitMq(queue), Consumer::RabbitMq(consumer)) = (self, consumer) {
            queue.set_aside(consumer).await;
        }
    }

    /// What a trace calls it.
    pub fn system(&self) -> &'static str {
        match self {
            Self::RabbitMq(_) => "rabbitmq",
            Self::Embedded(_) => "sqlite",
        }
    }

    /// How many events wait to be taken.
    pub async fn depth(&self) -> Result<u64, Unavailable> {
        match self {
            Self::RabbitMq(queue) => queue.depth().await,
            Self::Embedded(queue) => queue.depth().await,
        }
    }

    /// When the oldest event that waits was received, where the queue can tell.
    pub async fn oldest_received_at(&self) -> Result<Option<Timestamp>, Unavailable> {
        match self {
            // Over AMQP an event can only be seen by taking it, which would count as a delivery.
            Self::RabbitMq(_) => Err(Unavailable::new(
                "RabbitMQ does not say over AMQP when its oldest message came",
            )),
            Self::Embedded(queue) => queue.oldest_received_at().await,
        }
    }

    /// Whether a publish could succeed now, or what is in its way.
    pub fn ready(&self) -> Result<(), Unavailable> {
        match self {
            Self::RabbitMq(queue) => queue.ready(),
            Self::Embedded(queue) => queue.ready(),
        }
    }

    /// The sources besides `Events` that somebody must drain: where an event can end that no consumer acknowledged.
    pub fn secondary_sources(&self) -> &'static [Source] {
        match self {
            Self::RabbitMq(_) => &[Source::DeadLetters, Source::Unrouted, Source::Rescued],
            Self::Embedded(_) => &[Source::DeadLetters],
        }
    }

    /// Whether a consumer of this source ends once it has taken what was there at first: no more can come.
    pub fn has_end(&self, source: Source) -> bool {
        matches!(self, Self::Embedded(_)) && source != Source::Events
    }

    /// Closes the queue in good order. Publishes after it fail.
    pub async fn close(&self) {
        match self {
            Self::RabbitMq(queue) => queue.close().await,
            Self::Embedded(queue) => queue.close().await,
        }
    }
}

/// Takes events in batches.
pub enum Consumer {
    RabbitMq(Box<rabbitmq::Consumer>),
    Embedded(embedded::Consumer),
}

impl Consumer {
    /// Waits for one event, through any outage, then takes what is ready too, up to the consumer's `batch_max`.
    ///
    /// Nothing once `stop` was called and all that had been handed over is taken. Cancel-safe.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        match self {
            Self::RabbitMq(consumer) => consumer.next_batch().await,
            Self::Embedded(consumer) => consumer.next_batch().await,
        }
    }

    /// The same, but waits until a batch is full: so many events wait as it may have, or what ends it before. To be asked while
    /// other batches are in flight, when there is no haste. After `stop`, what is left is full.
    pub async fn next_full_batch(&mut self) -> Option<Batch> {
        match self {
            Self::RabbitMq(consumer) => consumer.next_full_batch().await,
            Self::Embedded(consumer) => consumer.next_full_batch().await,
        }
    }

    /// Says that every event of the batch is dealt with for good. The queue may hear of it some milliseconds later, while more is
    /// asked for; at the latest when the consumer is stopped or dropped.
    ///
    /// Fails when the connection that delivered the batch is gone: then its events are delivered again.
    pub async fn ack(&mut self, batch: Batch) -> Result<(), Unavailable> {
        match (self, batch.receipt) {
            (Self::RabbitMq(consumer), Receipt::RabbitMq(receipt)) => consumer.ack(receipt).await,
            (Self::Embedded(consumer), Receipt::Embedded(receipt)) => consumer.ack(receipt).await,
            _ => Err(Unavailable::new("the batch belongs to another queue")),
        }
    }

    /// Has the queue send nothing more until the next batch is asked for. What was sent ahead is handed out then, first.
    pub async fn pause(&mut self) {
        if let Self::RabbitMq(consumer) = self {
            // Where the connection is gone, nothing comes either.
            consumer.pause().await;
        }
    }

    /// Asks for no more events, so that what was handed over already can be finished.
    pub async fn stop(&mut self) {
        match self {
            Self::RabbitMq(consumer) => consumer.stop().await,
            Self::Embedded(consumer) => consumer.stop().await,
        }
    }
}

/// Most bytes of bodies in one batch; one body may be larger. A write holds them about ten times over, as columns, as arguments
/// and on the wire; 500 bodies of the usual 3 KB are a fifth of it.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How a consumer takes events. Plain data.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerOptions {
    /// Most events in a batch.
    pub batch_max: NonZeroUsize,
    /// Batches in flight at once: so many are not acknowledged while the next is asked for.
    pub batches: NonZeroUsize,
}

/// Events taken together.
#[must_use = "a batch that is not acknowledged is delivered again"]
pub struct Batch {
    pub events: Vec<SignedEvent>,
    /// Whether it is one event, which so many deliveries have come to nothing with that it may be what kills processes.
    pub suspect: bool,
    receipt: Receipt,
}

/// What an acknowledgement names.
enum Receipt {
    RabbitMq(rabbitmq::Tags),
    Embedded(embedded::Receipt),
}

/// Why an event is not promised. Each one is a 503, but for one that can never be queued; the kind is a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("the queue is away")]
    Unavailable,
    #[error("too many events wait to be queued")]
    Busy,
    #[error("no queue takes this event")]
    Unroutable,
    #[error("the queue refused the event: it is full")]
    Refused,
    #[error("the queue did not answer in time")]
    TimedOut,
    /// It can never be queued as long as the broker is configured so.
    #[error("RabbitMQ takes at most {max} bytes in one message (max_message_size)")]
    TooLarge { max: u64 },
}

impl PublishError {
    /// A word for it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Unroutable => "unroutable",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// The queue is away for now. The text says what is in the way and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(String);

impl Unavailable {
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The queue cannot be opened at all: a person must mend something first.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);
