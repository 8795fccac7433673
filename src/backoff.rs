//! The intervals between retries, as named policies; the only file that uses the `backoff` crate.
//!
//! `backoff` is no longer maintained (RUSTSEC-2025-0012). It computes intervals here and does
//! nothing else; to replace it, rewrite this file.

mod retry_after;

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

pub use retry_after::retry_after;

/// Growing intervals with jitter, without an end: an outage is not a failure.
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Returns the policy for a server that is unavailable: from 50 ms to 30 s.
    pub fn for_outage() -> Self {
        Self::between(Duration::from_millis(50), Duration::from_secs(30))
    }

    /// Returns the policy for errors that need an operator (a missing schema, a wrong password):
    /// from 1 s to 30 s.
    pub fn for_repair() -> Self {
        Self::between(Duration::from_secs(1), Duration::from_secs(30))
    }

    /// Returns the policy for regular writes: every 8 to 16 s, so that processes that started
    /// together drift apart.
    pub fn for_upkeep() -> Self {
        Self::between(Duration::from_secs(12), Duration::from_secs(12))
    }

    fn between(first: Duration, longest: Duration) -> Self {
        let policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(first)
            .with_multiplier(2.0)
            .with_randomization_factor(0.3)
            .with_max_interval(longest)
            // The crate's default gives up after 15 minutes.
            .with_max_elapsed_time(None)
            .build();
        Self(policy)
    }

    /// Returns the next interval.
    pub fn next_interval(&mut self) -> Duration {
        let longest = self.0.max_interval;
        self.0.next_backoff().unwrap_or(longest)
    }

    /// Waits for the next interval. Cancel-safe.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_interval()).await;
    }

    /// Starts with a short interval again, after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow_to_the_longest_and_never_end() {
        let mut backoff = Backoff::for_outage();
        let intervals: Vec<_> = (0..1000).map(|_| backoff.next_interval()).collect();
        assert!(
            intervals[0] <= Duration::from_millis(65),
            "{:?}",
            intervals[0]
        );
        let longest = intervals.iter().max().unwrap();
        assert!(
            *longest > Duration::from_secs(20) && *longest <= Duration::from_secs(39),
            "{longest:?}"
        );
        backoff.reset();
        assert!(backoff.next_interval() <= Duration::from_millis(65));
    }
}
