//! `EventsPerMessage`: how many events the messages of the queue hold on average, as far as this
//! process has seen. The broker counts messages, and operators want events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The mean follows about so many messages.
const REMEMBERED: f64 = 100.0;

/// The mean over the last messages that this process has taken, which lay where the waiting ones
/// lie; over those that it has published, if it takes none. Clones share it.
#[derive(Clone, Default)]
pub struct EventsPerMessage(Arc<Mutex<Means>>);

#[derive(Default)]
struct Means {
    taken: Mean,
    published: Mean,
}

#[derive(Default)]
struct Mean {
    events: f64,
    /// How many messages it is the mean of, at most `REMEMBERED`.
    messages: f64,
}

impl EventsPerMessage {
    /// Counts a message with so many events that was published.
    pub fn published(&self, events: usize) {
        self.means().published.count(events);
    }

    /// Counts a message with so many events that was taken.
    pub fn taken(&self, events: usize) {
        self.means().taken.count(events);
    }

    /// The events in so many messages, about. Each counts as one before the first was seen.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is an estimate, and no queue holds 2^52 messages"
    )]
    pub fn events_in(&self, messages: u64) -> u64 {
        let means = self.means();
        let mean = if means.taken.messages > 0.0 {
            means.taken.events
        } else {
            means.published.events
        };
        (messages as f64 * mean.max(1.0)).round() as u64
    }

    fn means(&self) -> MutexGuard<'_, Means> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mean {
    fn count(&mut self, events: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a message holds few events")]
        let events = events as f64;
        self.messages = (self.messages + 1.0).min(REMEMBERED);
        self.events += (events - self.events) / self.messages;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_count_as_the_last_ones_held_on_average() {
        let mean = EventsPerMessage::default();
        assert_eq!((mean.events_in(0), mean.events_in(7)), (0, 7));
        [1, 24, 5]
            .into_iter()
            .for_each(|events| mean.published(events));
        assert_eq!(mean.events_in(3), 30);
        (0..2000).for_each(|_| mean.taken(64));
        assert_eq!((mean.events_in(0), mean.events_in(10)), (0, 640));
        (0..2000).for_each(|_| mean.published(1));
        assert_eq!(mean.events_in(10), 640, "what it publishes waits behind");
        (0..2000).for_each(|_| mean.taken(1));
        assert_eq!(mean.events_in(10), 10);
    }
}
