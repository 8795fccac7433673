//! What to send, and in which order. Pure, so that a seed decides it.
//!
//! Each user's versions rise by a millisecond from event to event, whatever order they are sent in:
//! which one is the newest is certain. All lie in the past of the run, so none is refused for a
//! time too far ahead.

use bytes::Bytes;

use crate::clerk::{ClerkId, Timestamp};
use crate::sample::{Person, SampleEvent, SampleType, Seeded};

/// 2025-01-01. The sample users signed up in the year after it, each at a time of their own that
/// stays the same from run to run: a `user.updated` must not change when its user was created.
const SIGN_UPS_FROM_MS: i64 = 1_735_689_600_000;
const YEAR_MS: usize = 365 * 86_400_000;

/// Where the events come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Events of `kind`, spread evenly over `users` sample users.
    People { kind: SampleType, users: u32 },
    /// Events of `kind` about one user.
    User { kind: SampleType, id: ClerkId },
    /// These bytes, under a new ID for each event.
    Body(Bytes),
}

#[derive(Debug, Clone)]
pub struct Options {
    pub source: Source,
    /// Different events.
    pub events: u32,
    pub shuffle: bool,
    /// Each event is sent twice.
    pub duplicate: bool,
    pub seed: u64,
    /// When the run started: the newest versions are of this time.
    pub now: Timestamp,
}

/// The deliveries of one run. The events are generated one by one, so that a long run takes no
/// memory.
pub struct Plan {
    options: Options,
    /// The event at each place, if they are shuffled.
    order: Option<Vec<u32>>,
    /// Most events that one user has.
    rounds: u32,
}

impl Plan {
    pub fn new(options: Options) -> Self {
        let users = match options.source {
            Source::People { users, .. } => users,
            Source::User { .. } | Source::Body(_) => 1,
        };
        let order = options.shuffle.then(|| {
            let mut order: Vec<u32> = (0..options.events).collect();
            if options.duplicate {
                order.extend(0..options.events);
            }
            Seeded::of(&[options.seed, u64::from(options.events)]).shuffle(&mut order);
            order
        });
        Self {
            rounds: options.events.div_ceil(users.max(1)),
            order,
            options,
        }
    }

    /// How many deliveries there are.
    pub fn deliveries(&self) -> usize {
        self.options.events as usize * self.copies()
    }

    fn copies(&self) -> usize {
        if self.options.duplicate { 2 } else { 1 }
    }

    /// The delivery at `place`, from 0. Returns `None` beyond the last. The second copy of an event
    /// is the same to the byte.
    pub fn event(&self, place: usize) -> Option<Planned> {
        if place >= self.deliveries() {
            return None;
        }
        let index = match &self.order {
            Some(order) => u64::from(*order.get(place)?),
            None => (place / self.copies()) as u64,
        };
        Some(match &self.options.source {
            Source::People { kind, users } => {
                let users = u64::from(*users).max(1);
                let mut random = Seeded::of(&[self.options.seed, index % users]);
                let person = Person::generate(random.number(), sign_up_time(&mut random));
                self.about(&person, *kind, index / users)
            }
            Source::User { kind, id } => {
                let signed_up_at = sign_up_time(&mut Seeded::of_text(id.as_str()));
                self.about(&Person::with_id(id.clone(), signed_up_at), *kind, index)
            }
            Source::Body(body) => {
                let now = self.options.now;
                let mut random = Seeded::of(&[self.options.seed, now.ms().unsigned_abs(), index]);
                Planned {
                    event: SampleEvent::of_body(body.clone(), now, &mut random),
                    clerk_id: None,
                }
            }
        })
    }

    fn about(&self, person: &Person, kind: SampleType, round: u64) -> Planned {
        let behind = i64::from(self.rounds) - 1 - round.cast_signed();
        let at = Timestamp::from_ms(self.options.now.ms() - behind).unwrap_or(self.options.now);
        // From the time, so that the update of the next run shows something new as well.
        let n = 1 + self.options.now.ms().unsigned_abs() / 1000 % 1000 + round;
        Planned {
            event: person.event(kind, at, n),
            clerk_id: Some(person.id.clone()),
        }
    }
}

fn sign_up_time(random: &mut Seeded) -> Timestamp {
    Timestamp::from_ms(SIGN_UPS_FROM_MS + random.below(YEAR_MS) as i64)
        .expect("the year 2025 is a valid time")
}

/// An event, and the user it is about if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub event: SampleEvent,
    pub clerk_id: Option<ClerkId>,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    const NOW_MS: i64 = 1_795_000_000_000;

    fn options(events: u32, users: u32) -> Options {
        Options {
            source: Source::People {
                kind: SampleType::UserUpdated,
                users,
            },
            events,
            shuffle: false,
            duplicate: false,
            seed: 42,
            now: Timestamp::from_ms(NOW_MS).unwrap(),
        }
    }

    fn all(options: Options) -> Vec<Planned> {
        let plan = Plan::new(options);
        assert_eq!(plan.event(plan.deliveries()), None);
        (0..plan.deliveries())
            .map(|place| plan.event(place).unwrap())
            .collect()
    }

    fn field(planned: &Planned, name: &str) -> i64 {
        let json: serde_json::Value = serde_json::from_slice(&planned.event.body).unwrap();
        json["data"][name].as_i64().unwrap()
    }

    fn ids(planned: &[Planned]) -> Vec<&str> {
        planned
            .iter()
            .map(|planned| planned.event.id.as_str())
            .collect()
    }

    #[test]
    fn events_are_spread_evenly_and_each_users_versions_rise_by_one_up_to_now() {
        for shuffle in [false, true] {
            let mut versions: BTreeMap<_, Vec<i64>> = BTreeMap::new();
            for planned in all(Options {
                shuffle,
                ..options(100, 8)
            }) {
                let version = field(&planned, "updated_at");
                versions.entry(planned.clerk_id).or_default().push(version);
            }
            assert_eq!(versions.len(), 8);
            for list in versions.values_mut() {
                assert!((12..=13).contains(&list.len()));
                list.sort_unstable();
                assert!(
                    list.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                    "{list:?}"
                );
                assert!(*list.last().unwrap() <= NOW_MS && *list.first().unwrap() > NOW_MS - 13);
            }
        }
        // One event alone is of now.
        assert_eq!(field(&all(options(1, 1))[0], "updated_at"), NOW_MS);
    }

    #[test]
    fn a_shuffle_sends_the_same_events_in_another_order() {
        let (plain, shuffled) = (
            all(options(200, 5)),
            all(Options {
                shuffle: true,
                ..options(200, 5)
            }),
        );
        assert_ne!(ids(&plain), ids(&shuffled));
        let sorted = |list: &[Planned]| {
            let mut list: Vec<_> = ids(list).into_iter().map(str::to_owned).collect();
            list.sort_unstable();
            list
        };
        assert_eq!(sorted(&plain), sorted(&shuffled));
        assert_eq!(
            ids(&shuffled),
            ids(&all(Options {
                shuffle: true,
                ..options(200, 5)
            }))
        );
    }

    #[test]
    fn a_duplicate_is_the_same_event_again_next_to_it_or_anywhere_when_shuffled() {
        let plain = all(Options {
            duplicate: true,
            ..options(50, 5)
        });
        assert_eq!(plain.len(), 100);
        assert!(plain.chunks(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(ids(&plain).into_iter().collect::<HashSet<_>>().len(), 50);

        let shuffled = all(Options {
            duplicate: true,
            shuffle: true,
            ..options(50, 5)
        });
        let mut counts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, id) in ids(&shuffled).into_iter().enumerate() {
            counts.entry(id).or_default().push(place);
        }
        assert!(counts.len() == 50 && counts.values().all(|places| places.len() == 2));
        assert!(
            counts
                .values()
                .filter(|places| places[1] - places[0] > 1)
                .count()
                > 40
        );
    }

    #[test]
    fn a_seed_names_the_same_users_in_every_run_and_they_keep_their_time_of_sign_up() {
        let first = all(options(20, 20));
        let later = Timestamp::from_ms(NOW_MS + 5_000).unwrap();
        let created = Source::People {
            kind: SampleType::UserCreated,
            users: 20,
        };
        let second = all(Options {
            now: later,
            source: created,
            ..options(20, 20)
        });
        for (a, b) in first.iter().zip(&second) {
            assert_eq!(a.clerk_id, b.clerk_id);
            assert_eq!(field(a, "created_at"), field(b, "created_at"));
            assert_ne!(a.event.id, b.event.id);
        }
        let other = all(Options {
            seed: 43,
            ..options(20, 20)
        });
        assert!(
            first
                .iter()
                .all(|a| other.iter().all(|b| a.clerk_id != b.clerk_id))
        );
    }

    #[test]
    fn one_user_gets_every_event_and_is_the_same_person_under_every_seed() {
        let id = ClerkId::new("user_1").unwrap();
        let of = |seed| {
            let source = Source::User {
                kind: SampleType::UserUpdated,
                id: id.clone(),
            };
            all(Options {
                source,
                seed,
                ..options(10, 1)
            })
        };
        assert!(
            of(1)
                .iter()
                .all(|planned| planned.clerk_id.as_ref() == Some(&id))
        );
        assert_eq!(ids(&of(1)).into_iter().collect::<HashSet<_>>().len(), 10);
        assert_eq!(
            field(&of(1)[0], "created_at"),
            field(&of(2)[0], "created_at")
        );
    }

    #[test]
    fn a_body_is_sent_as_it_is_under_an_id_of_its_own_each_time() {
        let body = Bytes::from_static(b"\xffnot json");
        let planned = all(Options {
            source: Source::Body(body.clone()),
            ..options(5, 1)
        });
        assert!(
            planned
                .iter()
                .all(|planned| planned.event.body == body && planned.clerk_id.is_none())
        );
        assert_eq!(ids(&planned).into_iter().collect::<HashSet<_>>().len(), 5);
    }
}
