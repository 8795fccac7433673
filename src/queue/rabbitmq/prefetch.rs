//! How many deliveries the broker may send ahead. AMQP counts them, and memory is counted in bytes: so the number follows
//! the size of what came last.

use std::num::NonZeroUsize;

/// Deliveries that the broker sends ahead, as a multiple of the batch: the next one is there when one is done.
const BATCHES: usize = 2;

/// Most deliveries sent ahead; more only take memory (RabbitMQ's guide sees no gain above some hundreds).
const MOST: usize = 2000;

/// Bytes of bodies that a consumer may have ahead and in hand. A thousand bodies of 3 KB are a tenth of it.
const BYTES: usize = 32 * 1024 * 1024;

/// Deliveries sent ahead while nothing is known of their size: with the largest body that a receiver takes, 1 MiB unless
/// `MAX_BODY_BYTES` says otherwise, they fill `BYTES`.
const FIRST: usize = 32;

/// Bytes in one batch that say enough about the size of bodies to send fewer ahead.
const TELLING_BYTES: usize = BYTES / 8;

/// Deliveries ahead: few at first, as many as the batch asks for once bodies are seen to be small, few again when they are
/// large. What was sent ahead before large ones were met is not bounded in bytes, only in number.
#[derive(Debug)]
pub struct Prefetch {
    full: usize,
    now: usize,
}

impl Prefetch {
    pub fn of(batch_max: NonZeroUsize) -> Self {
        let full = batch_max.get().saturating_mul(BATCHES).min(MOST);
        Self { full, now: full.min(FIRST) }
    }

    pub fn now(&self) -> u16 {
        u16::try_from(self.now).expect("MOST is below 65536")
    }

    /// Learns from a batch. Changes by half or by the double at least, since each change asks the broker.
    pub fn learn(&mut self, events: usize, bytes: usize) {
        let Some(mean) = bytes.checked_div(events) else { return };
        let wanted = (BYTES / mean.max(1)).clamp(FIRST.min(self.full), self.full);
        let is_fewer = wanted <= self.now / 2 && bytes >= TELLING_BYTES;
        // A single small one, in the quiet between large ones, says nothing.
        let is_more = wanted >= self.now * 2 && events >= FIRST.min(self.now) / 2;
        if is_fewer || is_more {
            self.now = wanted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn prefetch(batch_max: usize) -> Prefetch {
        Prefetch::of(NonZeroUsize::new(batch_max).unwrap())
    }

    #[test]
    fn the_largest_bodies_never_fill_more_than_is_allowed() {
        let mut prefetch = prefetch(500);
        for _ in 0..10 {
            assert!(usize::from(prefetch.now()) * KIB * KIB <= BYTES);
            prefetch.learn(16, 16 * KIB * KIB);
        }
    }

    #[test]
    fn usual_bodies_are_sent_ahead_in_full_after_the_first_batch() {
        let mut prefetch = prefetch(500);
        prefetch.learn(32, 32 * 3 * KIB);
        assert_eq!(prefetch.now(), 1000);
        // One large one among many changes nothing.
        prefetch.learn(500, 499 * 3 * KIB + KIB * KIB);
        assert_eq!(prefetch.now(), 1000);
    }

    #[test]
    fn large_bodies_bring_it_down_and_small_ones_up_again() {
        let mut prefetch = prefetch(500);
        prefetch.learn(32, 32 * KIB);
        prefetch.learn(16, 16 * KIB * KIB);
        assert_eq!(prefetch.now(), 32);
        prefetch.learn(1, 3 * KIB);
        assert_eq!(prefetch.now(), 32, "one small one says nothing");
        prefetch.learn(32, 32 * 300 * KIB);
        assert_eq!(prefetch.now(), 109, "what fits");
        prefetch.learn(109, 109 * 3 * KIB);
        assert_eq!(prefetch.now(), 1000);
    }

    #[test]
    fn small_batches_and_empty_ones_are_met() {
        let mut prefetch = prefetch(1);
        assert_eq!(prefetch.now(), 2);
        prefetch.learn(0, 0);
        prefetch.learn(1, 0);
        prefetch.learn(1, 100 * KIB * KIB);
        assert_eq!(prefetch.now(), 2);
        assert_eq!(Prefetch::of(NonZeroUsize::MAX).full, MOST);
    }
}
