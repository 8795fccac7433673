//! How many deliveries the broker may send ahead. AMQP counts them, and memory is counted in bytes: so the number follows
//! the size of what came last.

use crate::queue::{Batch, ConsumerOptions};

/// Batches ahead of those in flight: the next one is there when one is done.
const BATCHES_AHEAD: usize = 1;

/// Most deliveries sent ahead; more only take memory (RabbitMQ's guide sees no gain above some hundreds).
const MOST: usize = 2000;

/// Bytes of bodies that a consumer may have ahead and in hand. A thousand bodies of 3 KB are a tenth of it.
const BYTES: usize = 32 * 1024 * 1024;

/// Deliveries sent ahead while nothing is known of their size: with the largest body that a receiver takes, 1 MiB unless
/// `MAX_BODY_BYTES` says otherwise, they fill `BYTES`.
const FIRST: usize = 32;

/// Deliveries of rescued events sent ahead from the start: a policy's `message-ttl` takes what is not delivered yet.
/// With half of them here no more is let go (`Subscription::is_full`).
const RESCUED: usize = 10_000;

/// Deliveries sent ahead while what waits may kill whoever takes it: none, as all that a dead process had count as tried.
const NONE: usize = 1;

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
    pub fn of(ConsumerOptions { batch_max, batches }: ConsumerOptions) -> Self {
        let full = batch_max
            .get()
            .saturating_mul(batches.get().saturating_add(BATCHES_AHEAD))
            .min(MOST);
        Self {
            full,
            now: full.min(FIRST),
        }
    }

    /// None ahead until the first one is known to be no suspect: what came to nothing before waits at the head of the queue.
    pub fn suspicious(taking: ConsumerOptions) -> Self {
        Self {
            now: NONE,
            ..Self::of(taking)
        }
    }

    /// As many as there are, whatever the batch: what is delivered does not expire.
    pub fn rescued(taking: ConsumerOptions) -> Self {
        let full = Self::of(taking).full.max(RESCUED);
        Self { full, now: full }
    }

    pub fn now(&self) -> u16 {
        u16::try_from(self.now).expect("MOST is below 65536")
    }

    /// Learns from a batch.
    pub fn learn(&mut self, batch: &Batch) {
        let bytes = batch.events.iter().map(|event| event.body().len()).sum();
        match batch.suspect {
            true => self.now = NONE,
            false if self.now == NONE => self.begin(),
            false => self.learn_size(batch.events.len(), bytes),
        }
    }

    /// Some ahead from now on, where none were: more is asked for beside what is in hand.
    pub fn begin(&mut self) {
        self.now = self.now.max(self.full.min(FIRST));
    }

    /// Changes by half or by the double at least, since each change asks the broker.
    fn learn_size(&mut self, events: usize, bytes: usize) {
        let Some(mean) = bytes.checked_div(events) else {
            return;
        };
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
    use std::num::NonZeroUsize;

    use super::*;

    const KIB: usize = 1024;

    fn prefetch(batch_max: usize) -> Prefetch {
        Prefetch::of(ConsumerOptions {
            batch_max: NonZeroUsize::new(batch_max).unwrap(),
            batches: NonZeroUsize::MIN,
        })
    }

    #[test]
    fn the_largest_bodies_never_fill_more_than_is_allowed() {
        let mut prefetch = prefetch(500);
        for _ in 0..10 {
            assert!(usize::from(prefetch.now()) * KIB * KIB <= BYTES);
            prefetch.learn_size(16, 16 * KIB * KIB);
        }
    }

    #[test]
    fn usual_bodies_are_sent_ahead_in_full_after_the_first_batch() {
        let mut prefetch = prefetch(500);
        prefetch.learn_size(32, 32 * 3 * KIB);
        assert_eq!(prefetch.now(), 1000);
        // One large one among many changes nothing.
        prefetch.learn_size(500, 499 * 3 * KIB + KIB * KIB);
        assert_eq!(prefetch.now(), 1000);
    }

    #[test]
    fn large_bodies_bring_it_down_and_small_ones_up_again() {
        let mut prefetch = prefetch(500);
        prefetch.learn_size(32, 32 * KIB);
        prefetch.learn_size(16, 16 * KIB * KIB);
        assert_eq!(prefetch.now(), 32);
        prefetch.learn_size(1, 3 * KIB);
        assert_eq!(prefetch.now(), 32, "one small one says nothing");
        prefetch.learn_size(32, 32 * 300 * KIB);
        assert_eq!(prefetch.now(), 109, "what fits");
        prefetch.learn_size(109, 109 * 3 * KIB);
        assert_eq!(prefetch.now(), 1000);
    }

    #[test]
    fn small_batches_and_empty_ones_are_met() {
        let mut prefetch = prefetch(1);
        assert_eq!(prefetch.now(), 2);
        prefetch.learn_size(0, 0);
        prefetch.learn_size(1, 0);
        prefetch.learn_size(1, 100 * KIB * KIB);
        assert_eq!(prefetch.now(), 2);
        let most = ConsumerOptions {
            batch_max: NonZeroUsize::MAX,
            batches: NonZeroUsize::MAX,
        };
        assert_eq!(Prefetch::of(most).full, MOST);
    }
}
