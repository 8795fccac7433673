//! Why a batch returns to the queue.

/// Why a batch returns to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnReason {
    /// The outage of the database is too long.
    HeldTooLong,
    /// The worker stops during an outage of the database, or while it waits for its rate.
    Stopping,
    /// A person has paused the applying of events.
    Paused,
    /// The rate limit has changed, and batches have another size now.
    OtherRate,
}
