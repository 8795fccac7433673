//! Counters, levels and histograms: atomic numbers in fixed places. No lock, no look-up by text, no
//! allocation.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Numbers that only grow, one for each pair of label values.
pub struct Counters<const ROWS: usize, const COLUMNS: usize>([[AtomicU64; COLUMNS]; ROWS]);

impl<const ROWS: usize, const COLUMNS: usize> Counters<ROWS, COLUMNS> {
    /// Returns counters at 0.
    pub const fn new() -> Self {
        Self([const { [const { AtomicU64::new(0) }; COLUMNS] }; ROWS])
    }

    /// Adds to one number.
    pub fn add(&self, row: usize, column: usize, count: u64) {
        self.0[row][column].fetch_add(count, Ordering::Relaxed);
    }

    /// Returns one number.
    pub fn get(&self, row: usize, column: usize) -> u64 {
        self.0[row][column].load(Ordering::Relaxed)
    }
}

/// How many of something there are now.
pub struct Level(AtomicI64);

impl Level {
    /// Returns a level of 0.
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Adds one until the result is dropped.
    pub fn enter(&'static self) -> InFlight {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// Returns how many there are.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One that is counted in a `Level` until it is dropped.
#[must_use = "it is counted until it is dropped"]
pub struct InFlight(&'static Level);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How values are distributed over buckets. Values and bounds are whole numbers of a small unit:
/// the sum is exact.
pub struct Histogram<const BOUNDS: usize> {
    /// The greatest value of each bucket, rising. Greater values are only in the bucket of
    /// infinity.
    bounds: [u64; BOUNDS],
    within: [AtomicU64; BOUNDS],
    above: AtomicU64,
    sum: AtomicU64,
}

/// A histogram as it was at one moment.
pub struct Distribution {
    /// For each bound, how many values are at most as great.
    pub up_to: Vec<(u64, u64)>,
    pub count: u64,
    pub sum: u64,
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    /// Returns an empty histogram with these bounds.
    pub const fn new(bounds: [u64; BOUNDS]) -> Self {
        let within = [const { AtomicU64::new(0) }; BOUNDS];
        Self {
            bounds,
            within,
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        bucket
            .map_or(&self.above, |place| &self.within[place])
            .fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Returns the values so far. The count is that of the buckets, so that both always agree.
    pub fn distribution(&self) -> Distribution {
        let mut count = 0;
        let up_to = self.bounds.iter().zip(&self.within).map(|(bound, within)| {
            count += within.load(Ordering::Relaxed);
            (*bound, count)
        });
        let up_to = up_to.collect();
        Distribution {
            up_to,
            count: count + self.above.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_every_bucket_that_is_as_great_as_it() {
        let histogram = Histogram::new([10, 20, 50]);
        for value in [0, 10, 11, 20, 50, 51, 1000] {
            histogram.observe(value);
        }
        let Distribution { up_to, count, sum } = histogram.distribution();
        assert_eq!(up_to, [(10, 2), (20, 4), (50, 5)]);
        assert_eq!((count, sum), (7, 1142));
    }

    #[test]
    fn one_that_is_counted_is_counted_until_it_is_dropped() {
        static LEVEL: Level = Level::new();
        let first = LEVEL.enter();
        let second = LEVEL.enter();
        assert_eq!(LEVEL.get(), 2);
        drop(first);
        assert_eq!(LEVEL.get(), 1);
        drop(second);
        assert_eq!(LEVEL.get(), 0);
    }
}
