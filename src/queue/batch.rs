//! `Batch`, `Source` and `ConsumerOptions`: the types that both queues deliver events with.

use std::num::NonZeroUsize;

use super::embedded::in_flight::Lease as RowLease;
use crate::clerk::SignedEvent;

/// Most bytes of bodies in one batch; one body may be larger. A write holds them about ten times
/// over, as columns, as arguments and on the wire; 500 bodies of the usual 3 KB are a fifth of it.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where a consumer takes events from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The events to apply.
    Events,
    /// Events that were delivered too often without an acknowledgement.
    DeadLetters,
    /// Events that matched no binding.
    Unrouted,
    /// Events that a policy of the broker took out of the queues of the two above, such as by a
    /// `message-ttl`.
    Rescued,
}

/// How a consumer takes events.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerOptions {
    /// Most events in a batch.
    pub batch_max: NonZeroUsize,
    /// Batches in flight at once: the next one is taken while so many are not acknowledged.
    pub batches: NonZeroUsize,
}

/// Events taken together.
#[must_use = "a batch that is not acknowledged is delivered again"]
pub struct Batch {
    /// The events, at least one.
    pub events: Vec<SignedEvent>,
    /// Whether it is one event that was delivered so often without an acknowledgement that it may
    /// kill its consumer.
    pub may_be_poison: bool,
    pub(super) lease: Lease,
}

/// What an acknowledgement names.
pub(super) enum Lease {
    RabbitMq(DeliveryTags),
    Embedded(RowLease),
}

/// The delivery tags of a batch of RabbitMQ.
pub struct DeliveryTags {
    /// The number of the channel that delivered them: a tag means nothing on another channel.
    pub channel: u64,
    /// Ascending.
    pub tags: Vec<u64>,
}
