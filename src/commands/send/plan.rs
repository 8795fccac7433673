//! What to send, and in which order. Pure, so that a seed decides it.
//!
//! Each user's versions rise by a millisecond from event to event, whatever order they are sent in:
//! which one is the newest is certain. All lie in the past of the run, so none is refused for a
//! time too far ahead.

use bytes::Bytes;

use crate::clerk::{ClerkId, Timestamp};
use crate::sample::{Fault, Person, SampleEvent, SampleType, Seeded};

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

/// The deliveries of one run. The events are generated one by one, so that a long run takes no
/// memory.
pub struct Plan {
    pub source: Source,
    /// Different events.
    pub events: u32,
    /// Each event is sent twice.
    pub duplicate: bool,
    /// What is wrong with every event.
    pub fault: Option<Fault>,
    pub seed: u64,
    /// When the run started: the newest versions are of this time.
    pub now: Timestamp,
    /// The event at each place, if they are shuffled.
    pub order: Option<Vec<u32>>,
}

impl Plan {
    /// The same events in an order that the seed decides.
    pub fn shuffled(self) -> Self {
        let mut order: Vec<u32> = (0..self.events).collect();
        if self.duplicate {
            order.extend(0..self.events);
        }
        Seeded::of(&[self.seed, u64::from(self.events)]).shuffle(&mut order);
        Self {
            order: Some(order),
            ..self
        }
    }

    /// How many deliveries there are.
    pub fn deliveries(&self) -> usize {
        self.events as usize * self.copies()
    }

    fn copies(&self) -> usize {
        if self.duplicate { 2 } else { 1 }
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
        Some(match &self.source {
            Source::People { kind, users } => {
                let users = u64::from(*users).max(1);
                let mut random = Seeded::of(&[self.seed, index % users]);
                let person = Person::generate(random.number(), sign_up_time(&mut random));
                self.about(&person, *kind, index, users)
            }
            Source::User { kind, id } => {
                let signed_up_at = sign_up_time(&mut Seeded::of_text(id.as_str()));
                self.about(&Person::with_id(id.clone(), signed_up_at), *kind, index, 1)
            }
            Source::Body(body) => {
                let now = self.now;
                let mut random = Seeded::of(&[self.seed, now.ms().unsigned_abs(), index]);
                Planned {
                    event: SampleEvent::of_body(body.clone(), now, &mut random),
                    clerk_id: None,
                }
            }
        })
    }

    /// The event at `index`, if the events are spread over so many users.
    fn about(&self, person: &Person, kind: SampleType, index: u64, users: u64) -> Planned {
        let round = index / users;
        let rounds = u64::from(self.events).div_ceil(users);
        let behind = (rounds - 1 - round).cast_signed();
        let at = Timestamp::from_ms(self.now.ms() - behind).unwrap_or(self.now);
        // From the time, so that the update of the next run shows something new as well.
        let n = 1 + self.now.ms().unsigned_abs() / 1000 % 1000 + round;
        let event = person.event(kind, at, n);
        Planned {
            event: match self.fault {
                Some(fault) => fault.in_event(event, self.now),
                None => event,
            },
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

    fn plan(events: u32, users: u32) -> Plan {
        Plan {
            source: Source::People {
                kind: SampleType::UserUpdated,
                users,
            },
            events,
            duplicate: false,
            fault: None,
            seed: 42,
            now: Timestamp::from_ms(NOW_MS).unwrap(),
            order: None,
        }
    }

    fn all(plan: Plan) -> Vec<Planned> {
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
        for plan in [plan(100, 8), plan(100, 8).shuffled()] {
            let mut versions: BTreeMap<_, Vec<i64>> = BTreeMap::new();
            for planned in all(plan) {
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
        assert_eq!(field(&all(plan(1, 1))[0], "updated_at"), NOW_MS);
    }

    #[test]
    fn a_shuffle_sends_the_same_events_in_another_order() {
        let (plain, shuffled) = (all(plan(200, 5)), all(plan(200, 5).shuffled()));
        assert_ne!(ids(&plain), ids(&shuffled));
        let sorted = |list: &[Planned]| {
            let mut list: Vec<_> = ids(list).into_iter().map(str::to_owned).collect();
            list.sort_unstable();
            list
        };
        assert_eq!(sorted(&plain), sorted(&shuffled));
        assert_eq!(ids(&shuffled), ids(&all(plan(200, 5).shuffled())));
    }

    #[test]
    fn a_duplicate_is_the_same_event_again_next_to_it_or_anywhere_when_shuffled() {
        let plain = all(Plan {
            duplicate: true,
            ..plan(50, 5)
        });
        assert_eq!(plain.len(), 100);
        assert!(plain.chunks(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(ids(&plain).into_iter().collect::<HashSet<_>>().len(), 50);

        let shuffled = Plan {
            duplicate: true,
            ..plan(50, 5)
        };
        let shuffled = all(shuffled.shuffled());
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
        let first = all(plan(20, 20));
        let later = Timestamp::from_ms(NOW_MS + 5_000).unwrap();
        let created = Source::People {
            kind: SampleType::UserCreated,
            users: 20,
        };
        let second = all(Plan {
            now: later,
            source: created,
            ..plan(20, 20)
        });
        for (a, b) in first.iter().zip(&second) {
            assert_eq!(a.clerk_id, b.clerk_id);
            assert_eq!(field(a, "created_at"), field(b, "created_at"));
            assert_ne!(a.event.id, b.event.id);
        }
        let other = all(Plan {
            seed: 43,
            ..plan(20, 20)
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
            all(Plan {
                source,
                seed,
                ..plan(10, 1)
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
        let planned = all(Plan {
            source: Source::Body(body.clone()),
            ..plan(5, 1)
        });
        assert!(
            planned
                .iter()
                .all(|planned| planned.event.body == body && planned.clerk_id.is_none())
        );
        assert_eq!(ids(&planned).into_iter().collect::<HashSet<_>>().len(), 5);
    }
}
