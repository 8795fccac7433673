//! Prefetch: how many deliveries the broker may send in advance, and the buffer of those that are
//! not taken yet.
//!
//! AMQP counts deliveries, and memory is counted in bytes: so the number follows the size of the
//! last bodies.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use crate::clerk::SignedEvent;
use crate::queue::batch::{BATCH_BYTES_MAX, Batch, ConsumerOptions, Source};

/// Batches prefetched beside those in flight: the next one is here when one is done.
const BATCHES_PREFETCHED: usize = 1;

/// Largest prefetch; more only takes memory (RabbitMQ's guide sees no gain above some hundreds).
const PREFETCH_MAX: usize = 2000;

/// Bytes of bodies that a consumer may have prefetched and in flight. A thousand bodies of 3 KB are
/// a tenth of it.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Prefetch while the size of bodies is not known: with the largest body that a receiver takes, 1
/// MiB unless `MAX_BODY_BYTES` is set, it fills `BYTES_MAX`.
const INITIAL: usize = 32;

/// Prefetch of rescued events from the start: a policy's `message-ttl` expires events that are not
/// delivered yet. Once half as many are prefetched, the broker releases no more
/// (`ConsumerChannel::is_full`).
const RESCUED: usize = 10_000;

/// Prefetch while a poison message may wait: all that a killed process had in flight count as
/// delivered.
const ISOLATED: usize = 1;

/// Bytes in one batch that are enough to lower the prefetch for the size of bodies.
const SIGNIFICANT_BYTES: usize = BYTES_MAX / 8;

/// The prefetch: low at first, as high as the batches ask for once bodies are known to be small,
/// low again when they are large. Deliveries that were sent before large bodies arrived are limited
/// in number, not in bytes.
#[derive(Debug)]
pub struct Prefetch {
    max: usize,
    now: usize,
}

impl Prefetch {
    /// The prefetch of a consumer.
    pub fn new(source: Source, ConsumerOptions { batch_max, batches }: ConsumerOptions) -> Self {
        let max = batch_max
            .get()
            .saturating_mul(batches.get().saturating_add(BATCHES_PREFETCHED))
            .min(PREFETCH_MAX);
        let (max, now) = match source {
            // Redelivered messages wait at the head of the queue.
            Source::Events => (max, ISOLATED),
            Source::DeadLetters | Source::Unrouted => (max, max.min(INITIAL)),
            // Independent of the size of batches: events that are delivered no longer expire.
            Source::Rescued => (max.max(RESCUED), max.max(RESCUED)),
        };
        Self { max, now }
    }

    /// The current prefetch.
    pub fn now(&self) -> u16 {
        u16::try_from(self.now).unwrap_or(u16::MAX)
    }

    /// Adapts to a batch.
    pub fn learn(&mut self, batch: &Batch) {
        let bytes = batch.events.iter().map(|event| event.body().len()).sum();
        match batch.may_be_poison {
            true => self.now = ISOLATED,
            false if self.now == ISOLATED => self.raise(),
            false => self.learn_size(batch.events.len(), bytes),
        }
    }

    /// At least the initial prefetch from now on.
    pub fn raise(&mut self) {
        self.now = self.now.max(self.max.min(INITIAL));
    }

    /// Changes at least by a factor of two, since each change is a request to the broker.
    fn learn_size(&mut self, events: usize, bytes: usize) {
        let Some(mean) = bytes.checked_div(events) else {
            return;
        };
        let wanted = (BYTES_MAX / mean.max(1)).clamp(INITIAL.min(self.max), self.max);
        let is_lower = wanted <= self.now / 2 && bytes >= SIGNIFICANT_BYTES;
        // One small body between large ones is not enough.
        let is_higher = wanted >= self.now * 2 && events >= INITIAL.min(self.now) / 2;
        if is_lower || is_higher {
            self.now = wanted;
        }
    }
}

/// An event that was delivered.
pub struct Delivered {
    pub event: SignedEvent,
    pub tag: u64,
    /// Whether it was delivered so often that it may kill its consumer.
    pub may_be_poison: bool,
}

/// Deliveries that are not taken yet, in the order in which they arrived. The totals are kept,
/// since every delivery asks whether a batch is full.
#[derive(Default)]
pub struct Prefetched {
    deliveries: VecDeque<Delivered>,
    bytes: usize,
    possible_poison: usize,
}

impl Prefetched {
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    pub fn count(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether these are `count` deliveries, or enough to end a batch: in bytes, or by a possible
    /// poison message, which is alone in its batch.
    pub fn fills(&self, count: usize) -> bool {
        self.count() >= count || self.bytes >= BATCH_BYTES_MAX || self.possible_poison > 0
    }

    pub fn push(&mut self, delivered: Delivered) {
        self.add(&delivered);
        self.deliveries.push_back(delivered);
    }

    /// Puts these before all others.
    pub fn push_front(&mut self, delivered: Vec<Delivered>) {
        for delivered in delivered.into_iter().rev() {
            self.add(&delivered);
            self.deliveries.push_front(delivered);
        }
    }

    pub fn take_all(&mut self) -> Vec<Delivered> {
        std::mem::take(self).deliveries.into()
    }

    /// The first deliveries, as many as make a batch; a possible poison message alone.
    pub fn take_batch(&mut self, batch_max: NonZeroUsize) -> Vec<Delivered> {
        let (mut bytes, mut taken) = (0, Vec::new());
        while taken.len() < batch_max.get()
            && bytes < BATCH_BYTES_MAX
            && let Some(next) = self
                .deliveries
                .pop_front_if(|next| taken.is_empty() || !next.may_be_poison)
        {
            let size = next.event.body().len();
            self.bytes -= size;
            self.possible_poison -= usize::from(next.may_be_poison);
            bytes += size;
            let is_alone = next.may_be_poison;
            taken.push(next);
            if is_alone {
                break;
            }
        }
        taken
    }

    fn add(&mut self, delivered: &Delivered) {
        self.bytes += delivered.event.body().len();
        self.possible_poison += usize::from(delivered.may_be_poison);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clerk::{EventId, EventType, Timestamp};

    const KIB: usize = 1024;

    fn prefetch(batch_max: usize) -> Prefetch {
        let options = ConsumerOptions {
            batch_max: NonZeroUsize::new(batch_max).unwrap(),
            batches: NonZeroUsize::MIN,
        };
        Prefetch::new(Source::DeadLetters, options)
    }

    #[test]
    fn the_largest_bodies_never_exceed_the_limit() {
        let mut prefetch = prefetch(500);
        for _ in 0..10 {
            assert!(usize::from(prefetch.now()) * KIB * KIB <= BYTES_MAX);
            prefetch.learn_size(16, 16 * KIB * KIB);
        }
    }

    #[test]
    fn usual_bodies_are_prefetched_in_full_after_the_first_batch() {
        let mut prefetch = prefetch(500);
        prefetch.learn_size(32, 32 * 3 * KIB);
        assert_eq!(prefetch.now(), 1000);
        // One large body among many changes nothing.
        prefetch.learn_size(500, 499 * 3 * KIB + KIB * KIB);
        assert_eq!(prefetch.now(), 1000);
    }

    #[test]
    fn large_bodies_lower_the_prefetch_and_small_ones_raise_it() {
        let mut prefetch = prefetch(500);
        prefetch.learn_size(32, 32 * KIB);
        prefetch.learn_size(16, 16 * KIB * KIB);
        assert_eq!(prefetch.now(), 32);
        prefetch.learn_size(1, 3 * KIB);
        assert_eq!(prefetch.now(), 32, "one small body is not enough");
        prefetch.learn_size(32, 32 * 300 * KIB);
        assert_eq!(prefetch.now(), 109, "what fits");
        prefetch.learn_size(109, 109 * 3 * KIB);
        assert_eq!(prefetch.now(), 1000);
    }

    #[test]
    fn small_and_empty_batches_are_handled() {
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
        assert_eq!(Prefetch::new(Source::Events, most).max, PREFETCH_MAX);
    }

    fn delivered(tag: u64, bytes: usize, may_be_poison: bool) -> Delivered {
        let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
        let id = EventId::new(&format!("msg_{tag}")).unwrap();
        let event = SignedEvent::restored(
            id,
            EventType::named("user.updated"),
            at,
            at,
            Bytes::from(vec![b' '; bytes]),
        );
        Delivered {
            event,
            tag,
            may_be_poison,
        }
    }

    fn tags(prefetched: &mut Prefetched, batch_max: usize) -> Vec<u64> {
        prefetched
            .take_batch(NonZeroUsize::new(batch_max).unwrap())
            .into_iter()
            .map(|delivered| delivered.tag)
            .collect()
    }

    #[test]
    fn a_batch_has_all_deliveries_up_to_its_maximum() {
        let mut prefetched = Prefetched::default();
        assert!(!prefetched.fills(1) && tags(&mut prefetched, 5).is_empty());
        (1..=7).for_each(|tag| prefetched.push(delivered(tag, 10, false)));
        assert!(prefetched.fills(7) && !prefetched.fills(8));
        assert_eq!(tags(&mut prefetched, 5), [1, 2, 3, 4, 5]);
        prefetched.push_front(vec![delivered(4, 10, false), delivered(5, 10, false)]);
        assert_eq!(tags(&mut prefetched, 5), [4, 5, 6, 7]);
        assert!(prefetched.is_empty());
        assert_eq!((prefetched.bytes, prefetched.possible_poison), (0, 0));
    }

    #[test]
    fn a_possible_poison_message_is_alone_in_its_batch() {
        let mut prefetched = Prefetched::default();
        for (tag, may_be_poison) in [(1, false), (2, true), (3, true), (4, false)] {
            prefetched.push(delivered(tag, 10, may_be_poison));
        }
        assert!(prefetched.fills(100));
        assert_eq!(tags(&mut prefetched, 5), [1]);
        assert_eq!(tags(&mut prefetched, 5), [2]);
        assert_eq!(tags(&mut prefetched, 5), [3]);
        assert!(!prefetched.fills(100));
        prefetched.push_front(vec![delivered(3, 10, true)]);
        assert!(prefetched.fills(100));
        assert_eq!(prefetched.take_all().len(), 2);
        assert!(!prefetched.fills(1));
    }

    #[test]
    fn a_batch_is_limited_in_bytes_except_for_one_large_body() {
        let mut prefetched = Prefetched::default();
        (1..=3).for_each(|tag| prefetched.push(delivered(tag, BATCH_BYTES_MAX / 2, false)));
        assert!(prefetched.fills(100));
        assert_eq!(tags(&mut prefetched, 100), [1, 2]);
        prefetched.push(delivered(4, 2 * BATCH_BYTES_MAX, false));
        assert_eq!(tags(&mut prefetched, 100), [3, 4]);
        assert!(!prefetched.fills(1));
    }
}
