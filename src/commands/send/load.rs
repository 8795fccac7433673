//! Many deliveries: which events, in which order, how fast, and what came of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::sender::{Answer, Sender};
use crate::clerk::sample::{Person, SampleEvent};
use crate::clerk::{ClerkId, EventId, Timestamp};
use crate::clock::now;

/// What the bodies are made of.
pub enum Source {
    /// Events of this type about made-up users, or about the one with this ID.
    People { event_type: String, user: Option<String>, users: u64 },
    /// This body, whatever it is.
    Body(Bytes),
}

pub struct Load {
    pub source: Source,
    pub count: u64,
    pub seed: u64,
    pub shuffle: bool,
    pub duplicate: bool,
    /// Deliveries a second.
    pub rate: Option<u32>,
    pub connections: u16,
    pub retries: u32,
}

/// Before a delivery is tried again.
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// What came of deliveries.
pub struct Tally {
    pub accepted: u64,
    pub ignored: u64,
    pub refused: u64,
    pub retries: u64,
    pub reasons: BTreeMap<String, u64>,
    pub latency_us: Histogram<u64>,
    pub elapsed: Duration,
    /// Status and ID of the last one that was accepted.
    pub last: Option<(String, String)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            accepted: 0,
            ignored: 0,
            refused: 0,
            retries: 0,
            reasons: BTreeMap::new(),
            latency_us: Histogram::new(3).expect("three digits are within the histogram's limits"),
            elapsed: Duration::ZERO,
            last: None,
        }
    }
}

impl Tally {
    pub fn sent(&self) -> u64 {
        self.accepted + self.refused
    }

    fn add(&mut self, id: &EventId, answer: Answer, took: Duration) {
        // The histogram grows as it must; a value that it refused would be centuries.
        let _never_refused = self.latency_us.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        match answer {
            Answer::Accepted(status) => {
                self.accepted += 1;
                self.ignored += u64::from(status == "ignored");
                self.last = Some((status, id.to_string()));
            }
            Answer::Refused { reason, .. } => {
                self.refused += 1;
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
    }

    fn merge(mut self, other: Self) -> Self {
        self.accepted += other.accepted;
        self.ignored += other.ignored;
        self.refused += other.refused;
        self.retries += other.retries;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        // Both have the same bounds.
        let _same_bounds = self.latency_us.add(&other.latency_us);
        self.last = self.last.or(other.last);
        self
    }
}

impl Load {
    pub async fn run(&self, sender: &Sender, shows_progress: bool) -> Tally {
        let events = Events::new(&self.source, self.count, self.seed, now());
        let order = order(self.count, self.shuffle, self.duplicate, self.seed);
        let progress = if shows_progress { bar(order.len() as u64) } else { ProgressBar::hidden() };
        let next = AtomicUsize::new(0);
        let start = Instant::now();
        let connections =
            (0..self.connections).map(|_| self.connection(sender, &events, &order, &next, start, &progress));
        let mut tally = join_all(connections).await.into_iter().fold(Tally::default(), Tally::merge);
        tally.elapsed = start.elapsed();
        progress.finish_and_clear();
        tally
    }

    /// Takes deliveries one after the other until none is left.
    async fn connection(
        &self,
        sender: &Sender,
        events: &Events,
        order: &[u64],
        next: &AtomicUsize,
        start: Instant,
        progress: &ProgressBar,
    ) -> Tally {
        let mut tally = Tally::default();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(nth) = order.get(place) else { return tally };
            let due = match self.rate {
                Some(rate) => start + Duration::from_secs(place as u64) / rate,
                None => Instant::now(),
            };
            let event = events.nth(*nth);
            tokio::time::sleep_until(due).await;
            let answer = self.deliver(sender, &event, &mut tally.retries).await;
            tally.add(&event.id, answer, due.elapsed());
            progress.inc(1);
        }
    }

    async fn deliver(&self, sender: &Sender, event: &SampleEvent, retries: &mut u64) -> Answer {
        let mut left = self.retries;
        loop {
            let answer = sender.deliver(&event.id, event.body.clone()).await;
            if !matches!(answer, Answer::Refused { retry: true, .. }) || left == 0 {
                return answer;
            }
            left -= 1;
            *retries += 1;
            tokio::time::sleep(RETRY_WAIT).await;
        }
    }
}

fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The events to deliver, by number, in the order of delivery.
fn order(count: u64, shuffle: bool, duplicate: bool, seed: u64) -> Vec<u64> {
    let times = if duplicate { 2 } else { 1 };
    let mut order: Vec<u64> = (0..count).flat_map(|nth| std::iter::repeat_n(nth, times)).collect();
    if shuffle {
        order.shuffle(&mut StdRng::seed_from_u64(seed));
    }
    order
}

/// Makes the events when they are needed: ten million would not fit in memory.
enum Events {
    People { event_type: String, people: Vec<Person>, count: u64, end: Timestamp },
    Body { body: Bytes, seed: u64 },
}

impl Events {
    fn new(source: &Source, count: u64, seed: u64, now: Timestamp) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        match source {
            Source::Body(body) => Self::Body { body: body.clone(), seed },
            Source::People { event_type, user, users } => {
                let one = user.as_deref().and_then(ClerkId::new);
                let people = match one {
                    Some(id) => vec![Person::with_id(id, &mut rng)],
                    None => (0..*users).map(|_| Person::generate(&mut rng)).collect(),
                };
                Self::People { event_type: event_type.clone(), people, count, end: now }
            }
        }
    }

    /// Each a millisecond after the one before, up to now: so one of every two is newer, whoever they are about.
    fn nth(&self, nth: u64) -> SampleEvent {
        match self {
            Self::People { event_type, people, count, end } => {
                let before_end = i64::try_from(count - nth).unwrap_or(0);
                let at = Timestamp::from_ms(end.ms() - before_end).unwrap_or(*end);
                let person = &people[usize::try_from(nth).unwrap_or(0) % people.len()];
                person.event_of_type(event_type, at, nth + 1)
            }
            Self::Body { body, seed } => {
                let number: u64 = StdRng::seed_from_u64(seed.wrapping_add(nth)).random();
                let id = EventId::new(&format!("msg_{number:020}")).expect("letters, digits and _ make an ID");
                SampleEvent { id, body: body.clone() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_shuffled_by_its_seed_and_doubles_what_it_should() {
        assert_eq!(order(3, false, true, 1), [0, 0, 1, 1, 2, 2]);
        let (one, again, other) = (order(1000, true, true, 1), order(1000, true, true, 1), order(1000, true, true, 2));
        assert_eq!(one, again);
        assert_ne!(one, other);
        let mut sorted = one;
        sorted.sort_unstable();
        assert_eq!(sorted, order(1000, false, true, 1));
    }

    #[test]
    fn a_tally_counts_answers_and_keeps_their_latency() {
        let mut tally = Tally::default();
        let id = EventId::new("msg_1").unwrap();
        tally.add(&id, Answer::Accepted("queued".into()), Duration::from_millis(3));
        tally.add(&id, Answer::Accepted("ignored".into()), Duration::from_millis(40));
        tally.add(
            &id,
            Answer::Refused { reason: "503 queue_unavailable".into(), retry: true },
            Duration::from_millis(5),
        );
        let tally = tally.merge(Tally::default());
        assert_eq!((tally.accepted, tally.ignored, tally.refused, tally.sent()), (2, 1, 1, 3));
        assert_eq!(tally.reasons["503 queue_unavailable"], 1);
        assert!((39_900..=40_100).contains(&tally.latency_us.max()), "{}", tally.latency_us.max());
        assert!((4_950..=5_050).contains(&tally.latency_us.value_at_quantile(0.5)));
    }

    #[test]
    fn events_are_spread_over_the_users_and_get_newer() {
        let source = Source::People { event_type: "user.updated".into(), user: None, users: 10 };
        let now = Timestamp::from_ms(1_795_172_400_000).unwrap();
        let events = Events::new(&source, 30, 5, now);
        let ids: std::collections::BTreeSet<_> = (0..30).map(|nth| events.nth(nth).id).collect();
        assert_eq!(ids.len(), 30);
        let updated = |nth| {
            let body: serde_json::Value = serde_json::from_slice(&events.nth(nth).body).unwrap();
            (body["data"]["id"].to_string(), body["data"]["updated_at"].as_i64().unwrap())
        };
        let ((first, before), (second, after)) = (updated(3), updated(13));
        assert_eq!(first, second, "of one user");
        assert!(before < after && after < now.ms());
    }

    #[test]
    fn all_are_about_the_user_that_was_asked_for() {
        let source = Source::People { event_type: "user.updated".into(), user: Some("user_7".into()), users: 10 };
        let events = Events::new(&source, 3, 5, Timestamp::from_ms(1_795_172_400_000).unwrap());
        for nth in 0..3 {
            assert!(String::from_utf8_lossy(&events.nth(nth).body).contains(r#""id":"user_7""#));
        }
    }
}
