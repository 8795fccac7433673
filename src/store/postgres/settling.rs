//! `Settling`: up to which ID the change feed is settled, and what that waits for.

use std::time::Instant;

/// What is known of the end of the feed.
#[derive(Debug, Default)]
pub struct Settling {
    /// Every change up to this ID is committed, or never will be.
    pub settled: i64,
    /// The newest ID at a time, and the transactions that wrote then and have not ended.
    pub pending: Option<(i64, Vec<String>)>,
    pub last_look: Option<Look>,
}

/// A look for the transactions that write.
#[derive(Debug)]
pub struct Look {
    pub began_at: Instant,
    pub ended_at: Instant,
    /// Whether all that was committed before it is settled.
    pub is_all: bool,
}
