//! Prefetch: how many deliveries the broker may send in advance, and the buffer of those that are
//! not taken yet.
//!
//! AMQP counts messages. Batches are counted in events, of which a message can hold several, and
//! memory in bytes: so the number follows the last messages.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use crate::clerk::SignedEvent;
use crate::queue::batch::{BATCH_BYTES_MAX, Batch, ConsumerOptions, Source};

/// Batches prefetched beside those in flight: the next one is here when one is done.
const BATCHES_PREFETCHED: usize = 1;

/// Most events that are prefetched; more only take memory (RabbitMQ's guide sees no gain above some
/// hundreds).
const PREFETCH_MAX: usize = 2000;

/// Most messages that are prefetched, if they may be bundles: where single events are followed by full
/// bundles these take 50 MiB at most, until the prefetch follows.
const MESSAGES_MAX: usize = 200;

/// So many times the events that batches ask for may be prefetched in bundles: how many a message
/// holds changes all the time, and each change of the prefetch is a request to the broker.
const BUNDLED: usize = 8;

/// Messages from which on their size is known.
const KNOWN_FROM: usize = 16;

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

/// Bytes of rescued events from which on the broker is to release no more. What it has sent comes in
/// addition.
pub const RESCUED_BYTES_MAX: usize = BYTES_MAX / 2;

/// Prefetch while a poison message may wait: all that a killed process had in flight count as
/// delivered.
const ISOLATED: usize = 1;

/// Bytes in one batch that are enough to lower the prefetch for the size of bodies.
const SIGNIFICANT_BYTES: usize = BYTES_MAX / 8;

/// The prefetch: low at first, as high as the batches ask for once messages are known to be small,
/// low again when they are large. Deliveries that were sent before large messages arrived are limited
/// in number, not in bytes.
#[derive(Debug)]
pub struct Prefetch {
    /// In events.
    max: usize,
    /// In messages, as all that follow.
    messages_max: usize,
    now: usize,
    is_isolated: bool,
    batches: usize,
    /// What has arrived since it was last adapted.
    arrived: Arrived,
}

/// Messages that arrived, to learn from.
#[derive(Debug, Default, Clone, Copy)]
pub struct Arrived {
    pub messages: usize,
    pub events: usize,
    pub bytes: usize,
}

impl Prefetch {
    /// The prefetch of a consumer. `bundles` says whether messages may hold several events.
    pub fn new(
        source: Source,
        ConsumerOptions { batch_max, batches }: ConsumerOptions,
        bundles: bool,
    ) -> Self {
        let max = batch_max
            .get()
            .saturating_mul(batches.get().saturating_add(BATCHES_PREFETCHED))
            .min(PREFETCH_MAX);
        let messages_max = if bundles { max.min(MESSAGES_MAX) } else { max };
        let (max, messages_max, now) = match source {
            Source::Events | Source::DeadLetters | Source::Unrouted => {
                (max, messages_max, max.min(INITIAL))
            }
            // Independent of the size of batches: events that are delivered no longer expire.
            Source::Rescued => (RESCUED, RESCUED, RESCUED),
        };
        Self {
            max,
            messages_max,
            now,
            // Redelivered messages wait at the head of the queue.
            is_isolated: source == Source::Events,
            batches: batches.get(),
            arrived: Arrived::default(),
        }
    }

    /// The current prefetch.
    pub fn now(&self) -> u16 {
        let now = if self.is_isolated { ISOLATED } else { self.now };
        u16::try_from(now).unwrap_or(u16::MAX)
    }

    /// Most messages in a batch: one of many single events leaves some for those in flight beside
    /// it, since the broker sends no more before one of them is done.
    pub fn share(&self) -> usize {
        usize::from(self.now()).div_ceil(self.batches)
    }

    /// Adapts to a batch, and to all that arrived before it was taken.
    pub fn learn(&mut self, batch: &Batch, arrived: Arrived) {
        self.is_isolated = batch.may_be_poison;
        if !self.is_isolated {
            self.learn_size(arrived);
        }
    }

    /// More than one message from now on.
    pub fn end_isolation(&mut self) {
        self.is_isolated = false;
    }

    /// Changes at least by a factor of two, since each change is a request to the broker.
    fn learn_size(&mut self, arrived: Arrived) {
        self.arrived.messages += arrived.messages;
        self.arrived.events += arrived.events;
        self.arrived.bytes += arrived.bytes;
        let Arrived {
            messages,
            events,
            bytes,
        } = self.arrived;
        // One small body between large ones is not enough.
        let is_known = messages >= KNOWN_FROM.min(self.now / 2).max(1);
        if !is_known && bytes < SIGNIFICANT_BYTES {
            return;
        }
        self.arrived = Arrived::default();
        let Some(mean) = bytes.checked_div(messages) else {
            return;
        };
        let by_bytes = (BYTES_MAX / mean.max(1)).max(INITIAL);
        let events_max = if events > messages {
            self.max.saturating_mul(BUNDLED)
        } else {
            self.max
        };
        let by_events = events_max.saturating_mul(messages) / events.max(1);
        let wanted = by_bytes.min(by_events).clamp(1, self.messages_max);
        let is_lower = wanted <= self.now / 2 && (is_known || bytes >= SIGNIFICANT_BYTES);
        let is_higher = wanted >= self.now * 2 && is_known;
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

    pub fn first(&self) -> Option<&Delivered> {
        self.deliveries.front()
    }

    pub fn take_all(&mut self) -> Vec<Delivered> {
        std::mem::take(self).deliveries.into()
    }

    /// Bytes of the bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first events, as many as make a batch, of so many messages at most; a possible poison
    /// message alone.
    pub fn take_batch(&mut self, batch_max: NonZeroUsize, messages_max: usize) -> Vec<Delivered> {
        let (mut bytes, mut messages, mut last) = (0, 0, None);
        let mut taken: Vec<Delivered> = Vec::new();
        while taken.len() < batch_max.get()
            && bytes < BATCH_BYTES_MAX
            && let Some(next) = self.deliveries.pop_front_if(|next| {
                let has_room = messages < messages_max || last == Some(next.tag);
                taken.is_empty() || has_room && !next.may_be_poison
            })
        {
            messages += usize::from(last != Some(next.tag));
            last = Some(next.tag);
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
        Prefetch::new(Source::DeadLetters, options, true)
    }

    fn arrived(messages: usize, events: usize, bytes: usize) -> Arrived {
        Arrived {
            messages,
            events,
            bytes,
        }
    }

    #[test]
    fn the_largest_bodies_never_exceed_the_limit() {
        let mut prefetch = prefetch(500);
        for _ in 0..10 {
            assert!(usize::from(prefetch.now()) * KIB * KIB <= BYTES_MAX);
            prefetch.learn_size(arrived(16, 16, 16 * KIB * KIB));
        }
    }

    #[test]
    fn usual_bodies_are_prefetched_in_full_after_the_first_batch() {
        let mut prefetch = prefetch(500);
        prefetch.learn_size(arrived(32, 32, 32 * 3 * KIB));
        assert_eq!(usize::from(prefetch.now()), MESSAGES_MAX);
        // One large body among many changes nothing.
        prefetch.learn_size(arrived(500, 500, 499 * 3 * KIB + KIB * KIB));
        assert_eq!(usize::from(prefetch.now()), MESSAGES_MAX);
    }

    #[test]
    fn the_events_of_bundles_count_if_batches_are_small() {
        let mut prefetch = prefetch(500);
        prefetch.learn_size(arrived(32, 32, 32 * 3 * KIB));
        prefetch.learn_size(arrived(20, 20 * 64, 20 * 64 * 3 * KIB));
        assert_eq!(usize::from(prefetch.now()), MESSAGES_MAX, "no change");
        let mut prefetch = self::prefetch(50);
        prefetch.learn_size(arrived(32, 32, 32 * 3 * KIB));
        assert_eq!(prefetch.now(), 100);
        prefetch.learn_size(arrived(20, 20 * 64, 20 * 64 * 3 * KIB));
        assert_eq!(prefetch.now(), 12);
        prefetch.learn_size(arrived(20, 20 * 4, 20 * 4 * 3 * KIB));
        assert_eq!(prefetch.now(), 100);
        // A bundle that is larger than all that is wanted.
        let mut prefetch = self::prefetch(1);
        prefetch.learn_size(arrived(1, 64, 64 * 3 * KIB));
        assert_eq!(prefetch.now(), 1);
    }

    #[test]
    fn a_few_messages_at_a_time_are_enough_to_learn_from() {
        let mut prefetch = prefetch(500);
        (0..15).for_each(|_| prefetch.learn_size(arrived(1, 2, 2 * 3 * KIB)));
        assert_eq!(usize::from(prefetch.now()), INITIAL);
        prefetch.learn_size(arrived(1, 2, 2 * 3 * KIB));
        assert_eq!(usize::from(prefetch.now()), MESSAGES_MAX);
    }

    #[test]
    fn without_bundles_all_events_that_batches_ask_for_are_prefetched() {
        let options = ConsumerOptions {
            batch_max: NonZeroUsize::new(500).unwrap(),
            batches: NonZeroUsize::new(2).unwrap(),
        };
        let mut prefetch = Prefetch::new(Source::Events, options, false);
        assert_eq!(usize::from(prefetch.now()), ISOLATED);
        prefetch.end_isolation();
        prefetch.learn_size(arrived(32, 32, 32 * 3 * KIB));
        assert_eq!((prefetch.now(), prefetch.share()), (1500, 750));
    }

    #[test]
    fn large_bodies_lower_the_prefetch_and_small_ones_raise_it() {
        let mut prefetch = prefetch(500);
        prefetch.learn_size(arrived(32, 32, 32 * KIB));
        prefetch.learn_size(arrived(16, 16, 16 * KIB * KIB));
        assert_eq!(prefetch.now(), 32);
        prefetch.learn_size(arrived(1, 1, 3 * KIB));
        assert_eq!(prefetch.now(), 32, "one small body is not enough");
        prefetch.learn_size(arrived(32, 32, 32 * 500 * KIB));
        assert_eq!(prefetch.now(), 67, "what fits, with the small one");
        prefetch.learn_size(arrived(67, 67, 67 * 3 * KIB));
        assert_eq!(usize::from(prefetch.now()), MESSAGES_MAX);
    }

    #[test]
    fn small_and_empty_batches_are_handled() {
        let mut prefetch = prefetch(1);
        assert_eq!(prefetch.now(), 2);
        prefetch.learn_size(arrived(0, 0, 0));
        prefetch.learn_size(arrived(1, 1, 0));
        prefetch.learn_size(arrived(1, 1, 100 * KIB * KIB));
        assert_eq!(prefetch.now(), 2);
        let most = ConsumerOptions {
            batch_max: NonZeroUsize::MAX,
            batches: NonZeroUsize::MAX,
        };
        assert_eq!(Prefetch::new(Source::Events, most, true).max, PREFETCH_MAX);
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
            .take_batch(NonZeroUsize::new(batch_max).unwrap(), usize::MAX)
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
    fn a_batch_has_so_many_messages_and_all_events_of_each() {
        let mut prefetched = Prefetched::default();
        for tag in [1, 2, 2, 2, 3, 4] {
            prefetched.push(delivered(tag, 10, false));
        }
        let mut tags = |batch_max: usize| {
            let batch_max = NonZeroUsize::new(batch_max).unwrap();
            let taken = prefetched.take_batch(batch_max, 2);
            taken.into_iter().map(|one| one.tag).collect::<Vec<_>>()
        };
        assert_eq!(tags(3), [1, 2, 2], "events are counted first");
        assert_eq!(tags(9), [2, 3]);
        assert_eq!(tags(9), [4]);
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
