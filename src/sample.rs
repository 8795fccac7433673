//! Made-up people and the events that Clerk would send of them: for `send`, `dev`, tests and benches.
//!
//! Bodies have the fields, the order of keys and the size of received ones. Addresses, numbers and hosts are of the
//! ranges that are kept for documentation, so nobody can be reached by them. The same seed and times give the same
//! bytes, on every machine and in every release: so the generator of numbers is our own.

mod body;
mod facts;
mod random;

use bytes::Bytes;

use crate::clerk::{ClerkId, EventId, Timestamp};
pub use random::Seeded;

/// The types of event that can be made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleType {
    UserCreated,
    UserUpdated,
    UserDeleted,
    SessionCreated,
    EmailCreated,
    OrganizationCreated,
    OrganizationMembershipCreated,
}

impl SampleType {
    pub const ALL: [Self; 7] = [
        Self::UserCreated,
        Self::UserUpdated,
        Self::UserDeleted,
        Self::SessionCreated,
        Self::EmailCreated,
        Self::OrganizationCreated,
        Self::OrganizationMembershipCreated,
    ];

    /// Clerk's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserCreated => "user.created",
            Self::UserUpdated => "user.updated",
            Self::UserDeleted => "user.deleted",
            Self::SessionCreated => "session.created",
            Self::EmailCreated => "email.created",
            Self::OrganizationCreated => "organization.created",
            Self::OrganizationMembershipCreated => "organizationMembership.created",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An event that nobody has signed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleEvent {
    pub id: EventId,
    pub body: Bytes,
}

impl SampleEvent {
    /// Any bytes, under an ID as Svix makes them.
    pub fn of_body(body: Bytes, at: Timestamp, random: &mut Seeded) -> Self {
        Self {
            id: event_id(at, random),
            body,
        }
    }
}

fn event_id(at: Timestamp, random: &mut Seeded) -> EventId {
    EventId::new(&random.ksuid("msg_", at))
        .expect("the prefix and base 62 are of the characters of an event ID")
}

/// How somebody came to have an account: decides what is known of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUp {
    Password,
    Google,
    GitHub,
    Passkey,
    PhoneOnly,
    UsernameOnly,
    /// By the Backend API, with an ID of the application's own.
    Import,
}

/// A made-up user: what stays the same over all of their events.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    pub id: ClerkId,
    pub signed_up_at: Timestamp,
    pub sign_up: SignUp,
    pub first_name: Option<&'static str>,
    /// Some updates show another one, see `last_name_in`.
    pub last_name: Option<&'static str>,
    /// The primary address: always verified.
    pub email: Option<String>,
    /// A second address, never verified and not primary.
    pub second_email: Option<String>,
    pub phone: Option<String>,
    pub username: Option<String>,
    pub external_id: Option<String>,
    pub locale: Option<&'static str>,
    pub legal_accepted: bool,
    pub image_url: String,
    /// Of documentation's range 203.0.113.0/24.
    pub ip: String,
    seed: u64,
    other_last_name: &'static str,
    user_agent: usize,
    plan: usize,
    email_id: String,
    second_email_id: String,
    phone_id: String,
    /// Of the external account or the passkey.
    login_id: String,
    customer_id: String,
}

impl Person {
    /// The person that a seed stands for. `signed_up_at` shows in the times of their events and in nothing else.
    pub fn generate(seed: u64, signed_up_at: Timestamp) -> Self {
        facts::person(seed, None, signed_up_at)
    }

    /// The person that an ID stands for: the same ID is the same person in every run.
    pub fn with_id(id: ClerkId, signed_up_at: Timestamp) -> Self {
        let seed = Seeded::of_text(id.as_str()).number();
        facts::person(seed, Some(id), signed_up_at)
    }

    /// What to call them: their name, or else what they sign in with.
    pub fn name(&self) -> String {
        let names: Vec<_> = [self.first_name, self.last_name]
            .into_iter()
            .flatten()
            .collect();
        let signs_in_with = || {
            [&self.username, &self.email, &self.phone]
                .into_iter()
                .flatten()
                .next()
        };
        match names.as_slice() {
            [] => signs_in_with().map_or_else(|| self.id.to_string(), String::clone),
            names => names.join(" "),
        }
    }

    /// `updated_at` is `at`.
    pub fn created(&self, at: Timestamp) -> SampleEvent {
        self.event(SampleType::UserCreated, at, 0)
    }

    /// The `n`th update, from 1. `updated_at` is `at`; the time of the last sign-in, the metadata and, by turns, the
    /// last name and the second factor are of this update.
    pub fn updated(&self, at: Timestamp, n: u64) -> SampleEvent {
        self.event(SampleType::UserUpdated, at, n)
    }

    /// Holds no version: only the event's own time, `at`.
    pub fn deleted(&self, at: Timestamp) -> SampleEvent {
        self.event(SampleType::UserDeleted, at, 0)
    }

    /// An event of any type. `n` counts updates and does nothing elsewhere.
    pub fn event(&self, kind: SampleType, at: Timestamp, n: u64) -> SampleEvent {
        // Seen from 1970 on, a time is positive.
        let mut random = Seeded::of(&[self.seed, kind as u64, at.ms().unsigned_abs(), n]);
        let id = event_id(at, &mut random);
        SampleEvent {
            id,
            body: body::write(self, kind, at, n, &mut random),
        }
    }

    /// The last name as update `n` shows it: half of the time the one they were not born with.
    pub fn last_name_in(&self, n: u64) -> Option<&'static str> {
        if n % 8 < 4 {
            self.last_name
        } else {
            self.last_name.and(Some(self.other_last_name))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::SecretString;

    use super::*;
    use crate::clerk::{
        Delivery, Event, EventType, SignedEvent, SigningSecret, UserProfile, Verifier,
    };

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_795_000_000_000 + ms).unwrap()
    }

    fn person(seed: u64) -> Person {
        Person::generate(seed, at(-86_400_000))
    }

    /// Goes the whole way: signed as Svix does, read and verified as the receiver does.
    fn receive(event: &SampleEvent, now: Timestamp) -> SignedEvent {
        let secret = || SigningSecret::parse(&SecretString::from(SECRET)).unwrap();
        let signature = secret().sign(&event.id, now, &event.body);
        let time = (now.ms() / 1000).to_string();
        let headers = [
            ("svix-id", event.id.as_str()),
            ("svix-timestamp", &time),
            ("svix-signature", &signature),
        ];
        let delivery = Delivery::read(
            headers
                .iter()
                .map(|(name, value)| (*name, value.as_bytes())),
            now,
        )
        .unwrap();
        Verifier::new(vec![secret()])
            .verify(delivery, event.body.clone(), now)
            .unwrap()
            .event
    }

    fn parse(event: &SampleEvent, now: Timestamp) -> Event {
        receive(event, now).parse().unwrap()
    }

    fn profile(event: Event) -> UserProfile {
        event.change.profile.unwrap().1
    }

    #[test]
    fn a_created_user_comes_out_with_the_columns_of_the_person() {
        for seed in 0..2000 {
            let person = person(seed);
            let event = person.created(at(0));
            let read = parse(&event, at(0));
            assert_eq!(read.change.clerk_id, person.id);
            let version = &read.change.profile.as_ref().unwrap().0;
            assert_eq!((version.updated_at, &version.event_id), (at(0), &event.id));
            assert!(
                (at(1)..at(100)).contains(&read.occurred_at),
                "seed {seed}: {:?}",
                read.occurred_at
            );
            assert_eq!(read.change.deleted_at, None);

            let columns = profile(read);
            assert_eq!(columns.email, person.email);
            assert_eq!(columns.email_verified, person.email.as_ref().map(|_| true));
            assert_eq!(columns.phone, person.phone);
            assert_eq!(columns.phone_verified, person.phone.as_ref().map(|_| true));
            assert_eq!(columns.username, person.username);
            assert_eq!(columns.first_name.as_deref(), person.first_name);
            assert_eq!(columns.last_name.as_deref(), person.last_name);
            assert_eq!(columns.image_url.as_deref(), Some(&*person.image_url));
            assert_eq!(columns.external_id, person.external_id);
            assert_eq!(columns.locale.as_deref(), person.locale);
            assert_eq!((columns.banned, columns.locked), (Some(false), Some(false)));
            assert_eq!(
                columns.legal_accepted_at,
                person.legal_accepted.then_some(person.signed_up_at)
            );
            assert_eq!(columns.created_at, Some(person.signed_up_at));
            assert_eq!(columns.last_sign_in_at, None);
            for metadata in [
                columns.public_metadata,
                columns.private_metadata,
                columns.unsafe_metadata,
            ] {
                assert!(metadata.unwrap().len() > 2, "seed {seed}");
            }
        }
    }

    #[test]
    fn every_update_differs_visibly_from_the_one_before() {
        let person = Person::generate(7, at(-86_400_000));
        let mut before = profile(parse(&person.created(at(0)), at(0)));
        for n in 1..40 {
            let time = at(n * 10);
            let n = n.unsigned_abs();
            let now = profile(parse(&person.updated(time, n), time));
            assert_eq!(now.last_name.as_deref(), person.last_name_in(n));
            assert!(now.last_sign_in_at > before.last_sign_in_at, "update {n}");
            assert_ne!(now.public_metadata, before.public_metadata, "update {n}");
            assert_eq!(
                (&now.email, now.created_at),
                (&before.email, before.created_at),
                "update {n}"
            );
            before = now;
        }
    }

    #[test]
    fn a_delete_says_when_and_nothing_else() {
        let person = person(3);
        let read = parse(&person.deleted(at(5)), at(5));
        assert_eq!(
            (read.change.clerk_id, read.change.profile),
            (person.id, None)
        );
        assert_eq!(read.change.deleted_at, Some(at(5)));
    }

    fn alphabetical(json: &serde_json::Value) -> String {
        match json {
            serde_json::Value::Object(fields) => {
                let fields: std::collections::BTreeMap<_, _> = fields.iter().collect();
                let fields = fields
                    .iter()
                    .map(|(name, value)| format!("{name:?}:{}", alphabetical(value)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }
            serde_json::Value::Array(elements) => {
                format!(
                    "[{}]",
                    elements
                        .iter()
                        .map(alphabetical)
                        .collect::<Vec<_>>()
                        .join(",")
                )
            }
            plain => plain.to_string(),
        }
    }

    #[test]
    fn every_type_carries_its_name_and_reads_as_json() {
        for kind in SampleType::ALL {
            let event = person(11).event(kind, at(0), 1);
            assert_eq!(
                receive(&event, at(0)).event_type(),
                &EventType::named(kind.as_str())
            );
            let json: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
            assert_eq!(
                (json["type"].as_str(), json["object"].as_str()),
                (Some(kind.as_str()), Some("event"))
            );
            assert_eq!(SampleType::named(kind.as_str()), Some(kind));
            assert_eq!(
                alphabetical(&json).as_bytes(),
                event.body,
                "{}",
                kind.as_str()
            );
        }
        assert_eq!(SampleType::named("user.renamed"), None);
    }

    #[test]
    fn bodies_of_users_have_the_size_of_received_ones() {
        let (mut total, mut count) = (0, 0);
        for seed in 0..1000 {
            let person = person(seed);
            for event in [person.created(at(0)), person.updated(at(1), seed)] {
                assert!(
                    (2000..=3500).contains(&event.body.len()),
                    "seed {seed}: {} bytes",
                    event.body.len()
                );
                total += event.body.len();
                count += 1;
            }
        }
        let mean = total / count;
        assert!((2300..=2800).contains(&mean), "{mean} bytes on average");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
        for seed in [0, 1, u64::MAX] {
            assert_eq!(person(seed), person(seed));
            assert_eq!(
                person(seed).updated(at(1), 5),
                person(seed).updated(at(1), 5)
            );
        }
        assert_ne!(person(1).created(at(0)).id, person(2).created(at(0)).id);
        assert_ne!(person(1).created(at(0)).id, person(1).created(at(1)).id);
        assert_ne!(person(1).created(at(0)).id, person(1).updated(at(0), 0).id);
        // Fixed for ever: a seed in a bug report must mean the same user in the next release.
        assert_eq!(person(1).id.as_str(), "user_36WE7K7ZbiT22weEF6TCEFN8ZQu");
    }

    #[test]
    fn ids_are_as_clerk_and_svix_make_them_and_each_is_there_once() {
        let mut seen = HashSet::new();
        for seed in 0..5000 {
            let person = person(seed);
            let event = person.created(at(0));
            for (id, prefix) in [
                (person.id.as_str(), "user_"),
                (event.id.as_str(), "msg_"),
                (&*person.email_id, "idn_"),
                (&*person.phone_id, "idn_"),
            ] {
                let tail = id.strip_prefix(prefix).unwrap();
                assert!(
                    tail.len() == 27 && tail.bytes().all(|b| b.is_ascii_alphanumeric()),
                    "{id}"
                );
                assert!(seen.insert(id.to_owned()), "{id} twice");
            }
        }
    }

    #[test]
    fn an_id_of_ones_own_is_taken_as_it_is_and_stands_for_one_person() {
        for id in ["user_1", "a \"quoted\" \\ one", "ünïcödé\n\u{1}", "x"] {
            let id = ClerkId::new(id).unwrap();
            let person = Person::with_id(id.clone(), at(0));
            assert_eq!(parse(&person.created(at(0)), at(0)).change.clerk_id, id);
            assert_eq!(parse(&person.deleted(at(0)), at(0)).change.clerk_id, id);
            assert_eq!(person, Person::with_id(id, at(0)));
        }
    }

    #[test]
    fn people_are_of_many_kinds_and_cannot_be_reached() {
        let people: Vec<_> = (0..500).map(person).collect();
        for sign_up in [
            SignUp::Password,
            SignUp::Google,
            SignUp::GitHub,
            SignUp::Passkey,
            SignUp::PhoneOnly,
            SignUp::UsernameOnly,
            SignUp::Import,
        ] {
            assert!(
                people.iter().any(|person| person.sign_up == sign_up),
                "{sign_up:?}"
            );
        }
        assert!(
            people
                .iter()
                .any(|person| person.first_name.is_some_and(|name| !name.is_ascii()))
        );
        for person in &people {
            for email in person.email.iter().chain(&person.second_email) {
                let (local, host) = email.split_once('@').unwrap();
                assert!(!local.is_empty() && email.is_ascii(), "{email}");
                assert!(
                    ["example.com", "example.org", "example.net"].contains(&host),
                    "{email}"
                );
            }
            if let Some(phone) = &person.phone {
                assert!(
                    phone.starts_with("+120255501") && phone.len() == 12,
                    "{phone}"
                );
            }
            assert!(person.ip.starts_with("203.0.113."), "{}", person.ip);
        }
    }
}
