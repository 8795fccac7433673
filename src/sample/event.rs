//! Sample events: of a person, or of any bytes. Not signed yet.

use bytes::Bytes;

use super::body::body;
use super::person::Person;
use super::random::Seeded;
use super::sample_type::SampleType;
use crate::clerk::{EventId, Timestamp};

/// An event before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleEvent {
    /// As Svix makes it.
    pub id: EventId,
    /// As Clerk writes it.
    pub body: Bytes,
}

impl SampleEvent {
    /// Any bytes, under an ID as Svix makes them.
    pub fn of_body(body: Bytes, at: Timestamp, random: &mut Seeded) -> Self {
        let id = EventId::new(&random.ksuid("msg_", at))
            .expect("the prefix and base 62 are of the characters of an event ID");
        Self { id, body }
    }
}

impl Person {
    /// The `user.created` of this person. `updated_at` is `at`.
    pub fn created(&self, at: Timestamp) -> SampleEvent {
        self.event(SampleType::UserCreated, at, 0)
    }

    /// The `n`th `user.updated`, from 1. `updated_at` is `at`; the time of the last sign-in, the
    /// metadata and, by turns, the last name and the second factor depend on `n`.
    pub fn updated(&self, at: Timestamp, n: u64) -> SampleEvent {
        self.event(SampleType::UserUpdated, at, n)
    }

    /// The `user.deleted` of this person. It holds no version: only the event's own time, `at`.
    pub fn deleted(&self, at: Timestamp) -> SampleEvent {
        self.event(SampleType::UserDeleted, at, 0)
    }

    /// An event of any type. `n` counts updates and has no effect on other types.
    pub fn event(&self, kind: SampleType, at: Timestamp, n: u64) -> SampleEvent {
        // Seen from 1970 on, a time is positive.
        let mut random = Seeded::of(&[self.seed, kind as u64, at.ms().unsigned_abs(), n]);
        let event = SampleEvent::of_body(Bytes::new(), at, &mut random);
        SampleEvent {
            body: body(self, kind, at, n, &mut random),
            ..event
        }
    }
}
