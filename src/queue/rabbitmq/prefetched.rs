//! Deliveries that are here and not handed out yet, and what they come to: whether they fill a batch is asked at each one.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use super::pending_publishes::Outgoing;
use crate::clerk::SignedEvent;
use crate::queue::BATCH_BYTES_MAX;

/// An event that was delivered.
pub struct Delivered {
    pub event: SignedEvent,
    pub tag: u64,
    /// So many deliveries of it came to nothing that it may be what kills whoever takes it.
    pub is_suspect: bool,
}

impl Delivered {
    pub fn to_publish_again(&self) -> Outgoing {
        Outgoing {
            event: self.event.clone(),
            is_suspect: self.is_suspect,
        }
    }

    fn bytes(&self) -> usize {
        self.event.body().len()
    }
}

/// In the order in which they came.
#[derive(Default)]
pub struct Ahead {
    deliveries: VecDeque<Delivered>,
    bytes: usize,
    suspects: usize,
}

impl Ahead {
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    pub fn count(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether so many are here, or what ends a batch before: bytes, or a suspect, which is alone in its own.
    pub fn fills(&self, count: usize) -> bool {
        self.deliveries.len() >= count || self.bytes >= BATCH_BYTES_MAX || self.suspects > 0
    }

    pub fn push(&mut self, delivered: Delivered) {
        self.add(&delivered);
        self.deliveries.push_back(delivered);
    }

    /// Puts these before all others.
    pub fn put_back(&mut self, delivered: Vec<Delivered>) {
        for delivered in delivered.into_iter().rev() {
            self.add(&delivered);
            self.deliveries.push_front(delivered);
        }
    }

    pub fn take_all(&mut self) -> Vec<Delivered> {
        std::mem::take(self).deliveries.into()
    }

    /// The first ones, as many as make a batch; a suspect alone.
    pub fn batch(&mut self, batch_max: NonZeroUsize) -> Vec<Delivered> {
        let (mut bytes, mut taken) = (0, Vec::new());
        while taken.len() < batch_max.get()
            && bytes < BATCH_BYTES_MAX
            && let Some(next) = self
                .deliveries
                .pop_front_if(|next| taken.is_empty() || !next.is_suspect)
        {
            self.bytes -= next.bytes();
            self.suspects -= usize::from(next.is_suspect);
            bytes += next.bytes();
            let is_alone = next.is_suspect;
            taken.push(next);
            if is_alone {
                break;
            }
        }
        taken
    }

    fn add(&mut self, delivered: &Delivered) {
        self.bytes += delivered.bytes();
        self.suspects += usize::from(delivered.is_suspect);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clerk::{EventId, EventType, Timestamp};

    fn delivered(tag: u64, bytes: usize, is_suspect: bool) -> Delivered {
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
            is_suspect,
        }
    }

    fn tags(ahead: &mut Ahead, batch_max: usize) -> Vec<u64> {
        ahead
            .batch(NonZeroUsize::new(batch_max).unwrap())
            .into_iter()
            .map(|delivered| delivered.tag)
            .collect()
    }

    #[test]
    fn a_batch_is_what_is_here_up_to_its_number() {
        let mut ahead = Ahead::default();
        assert!(!ahead.fills(1) && tags(&mut ahead, 5).is_empty());
        (1..=7).for_each(|tag| ahead.push(delivered(tag, 10, false)));
        assert!(ahead.fills(7) && !ahead.fills(8));
        assert_eq!(tags(&mut ahead, 5), [1, 2, 3, 4, 5]);
        ahead.put_back(vec![delivered(4, 10, false), delivered(5, 10, false)]);
        assert_eq!(tags(&mut ahead, 5), [4, 5, 6, 7]);
        assert!(ahead.is_empty());
        assert_eq!((ahead.bytes, ahead.suspects), (0, 0));
    }

    #[test]
    fn a_suspect_is_alone_and_nothing_waits_for_more_beside_it() {
        let mut ahead = Ahead::default();
        for (tag, is_suspect) in [(1, false), (2, true), (3, true), (4, false)] {
            ahead.push(delivered(tag, 10, is_suspect));
        }
        assert!(ahead.fills(100));
        assert_eq!(tags(&mut ahead, 5), [1]);
        assert_eq!(tags(&mut ahead, 5), [2]);
        assert_eq!(tags(&mut ahead, 5), [3]);
        assert!(!ahead.fills(100));
        ahead.put_back(vec![delivered(3, 10, true)]);
        assert!(ahead.fills(100));
        assert_eq!(ahead.take_all().len(), 2);
        assert!(!ahead.fills(1));
    }

    #[test]
    fn a_batch_is_bounded_in_bytes_too_but_for_one_large_body() {
        let mut ahead = Ahead::default();
        (1..=3).for_each(|tag| ahead.push(delivered(tag, BATCH_BYTES_MAX / 2, false)));
        assert!(ahead.fills(100));
        assert_eq!(tags(&mut ahead, 100), [1, 2]);
        ahead.push(delivered(4, 2 * BATCH_BYTES_MAX, false));
        assert_eq!(tags(&mut ahead, 100), [3, 4]);
        assert!(!ahead.fills(1));
    }
}
