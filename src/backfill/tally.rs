//! Counts the objects that a backfill has read, changed and left unchanged.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Objects by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Read from Clerk.
    pub seen: u64,
    /// Their row was created or updated.
    pub changed: u64,
    /// Their row was as new, newer or erased.
    pub unchanged: u64,
    /// They could not be read or written.
    pub failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.seen += other.seen;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.failed += other.failed;
    }
}
