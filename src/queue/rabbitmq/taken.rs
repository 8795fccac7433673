//! `TakenCount`: how many events the consumers of this process have, which the broker counts as
//! unacknowledged and does not report to a client of AMQP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sum over all consumers of a queue. Clones share it.
#[derive(Clone, Default)]
pub struct TakenCount(Arc<AtomicU64>);

impl TakenCount {
    /// How many there are now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The share of one channel: what it has is no longer counted once it is dropped, since the
    /// broker takes it back.
    pub fn share(&self) -> TakenShare {
        TakenShare {
            sum: self.clone(),
            own: 0,
        }
    }
}

/// What one channel has.
pub struct TakenShare {
    sum: TakenCount,
    own: u64,
}

impl TakenShare {
    /// Sets how many events the channel has.
    pub fn set(&mut self, count: usize) {
        let count = count as u64;
        // The difference may be negative: both wrap around.
        let more = count.wrapping_sub(self.own);
        self.sum.0.fetch_add(more, Ordering::Relaxed);
        self.own = count;
    }
}

impl Drop for TakenShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_open_channels() {
        let taken = TakenCount::default();
        let (mut first, mut second) = (taken.share(), taken.share());
        first.set(20);
        second.set(3);
        first.set(5);
        assert_eq!(taken.get(), 8);
        drop(first);
        assert_eq!(taken.get(), 3);
        second.set(0);
        assert_eq!(taken.get(), 0);
    }
}
