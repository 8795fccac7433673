//! What to send, and in which order. Pure, so that a seed decides it.
//!
//! Each object's versions rise by a millisecond from event to event, whatever order they are sent in:
//! which one is the newest is certain. All lie in the past of the run, so none is refused for a
//! time too far ahead.

use super::source::{Source, person, person_of};
use crate::clerk::{ClerkId, Timestamp};
use crate::sample::{Fault, Object, SampleEvent, Seeded};

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
            Source::People { kind, users, ids } => {
                let users = u64::from(*users).max(1);
                let (number, round) = (index % users, index / users);
                let (at, n) = self.version(round, users);
                // Of a user alone, which is quicker than with an organization.
                let (event, clerk_id) = if kind.object() == Object::User {
                    let user = ids.user.as_ref().map(person_of);
                    let user = user.unwrap_or_else(|| person(self.seed, number));
                    (user.event(*kind, at, n), user.id)
                } else {
                    let member = ids.member(*kind, self.seed, number);
                    (member.event(*kind, at, n), member.object_id(*kind))
                };
                Planned {
                    event: match self.fault {
                        Some(fault) => fault.in_event(event, self.now),
                        None => event,
                    },
                    clerk_id: Some(clerk_id),
                }
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

    /// The version of an object's event in a round, if the events are spread over so many objects,
    /// and the number of its update.
    fn version(&self, round: u64, objects: u64) -> (Timestamp, u64) {
        let rounds = u64::from(self.events).div_ceil(objects);
        let behind = (rounds - 1 - round).cast_signed();
        let at = Timestamp::from_ms(self.now.ms() - behind).unwrap_or(self.now);
        // From the time, so that the update of the next run shows something new as well.
        let n = 1 + self.now.ms().unsigned_abs() / 1000 % 1000 + round;
        (at, n)
    }
}

/// An event, and the ID of what it is about if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub event: SampleEvent,
    pub clerk_id: Option<ClerkId>,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use bytes::Bytes;

    use super::super::source::Ids;
    use super::*;
    use crate::sample::SampleType;

    const NOW_MS: i64 = 1_795_000_000_000;

    fn people(kind: &str, users: u32, ids: Ids) -> Source {
        Source::People {
            kind: SampleType::named(kind).unwrap(),
            users,
            ids,
        }
    }

    fn plan(events: u32, users: u32) -> Plan {
        Plan {
            source: people("user.updated", users, Ids::default()),
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
        let created = people("user.created", 20, Ids::default());
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
            let user = Some(id.clone());
            let ids = Ids {
                user,
                ..Ids::default()
            };
            all(Plan {
                source: people("user.updated", 1, ids),
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

    /// With one seed, the members are the users of that seed, ten in each of its organizations, and
    /// a later event of a membership is about the same one.
    #[test]
    fn a_seed_names_the_same_users_organizations_and_memberships_in_events_of_all_types() {
        let of = |kind, users, ids| {
            all(Plan {
                source: people(kind, users, ids),
                ..plan(users, users)
            })
        };
        let about = |planned: &Planned| planned.clerk_id.as_ref().unwrap().to_string();
        let every = |kind, users| of(kind, users, Ids::default());
        let users: Vec<_> = every("user.created", 40).iter().map(about).collect();
        let organizations: Vec<_> = every("organization.created", 4).iter().map(about).collect();
        let joined = every("organizationMembership.created", 40);
        let left = every("organizationMembership.deleted", 40);
        let data = |planned: &Planned| {
            let json: serde_json::Value = serde_json::from_slice(&planned.event.body).unwrap();
            json["data"].clone()
        };
        for (place, (joined, left)) in joined.iter().zip(&left).enumerate() {
            assert_eq!(joined.clerk_id, left.clerk_id);
            let data = data(joined);
            assert_eq!(data["id"], about(joined));
            assert_eq!(data["public_user_data"]["user_id"], users[place]);
            assert_eq!(data["organization"]["id"], organizations[place / 10]);
        }
        let ids: HashSet<_> = joined.iter().map(about).collect();
        assert_eq!(ids.len(), 40);

        let named = |text| ClerkId::new(text).ok_or(());
        let organization = named("org_1").ok();
        let ids = Ids {
            organization,
            ..Ids::default()
        };
        assert!(!ids.name_one(SampleType::named("organizationMembership.created").unwrap()));
        assert!(ids.name_one(SampleType::named("organization.updated").unwrap()));
        let members = of("organizationMembership.created", 40, ids.clone());
        assert!(
            members
                .iter()
                .all(|planned| data(planned)["organization"]["id"] == "org_1")
        );
        let ids = Ids {
            user: named("user_1").ok(),
            object: named("orgmem_1").ok(),
            ..ids
        };
        let one = data(&of("organizationMembership.created", 1, ids)[0]);
        assert_eq!(
            (&one["id"], &one["organization"]["id"]),
            (&"orgmem_1".into(), &"org_1".into())
        );
        assert_eq!(one["public_user_data"]["user_id"], "user_1");
    }
}
