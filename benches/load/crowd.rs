//! Made-up users and an endless row of signed updates of theirs, cheap enough that the generator is
//! no bottleneck.
//!
//! A body is made once for each user, as Clerk writes it. Each event then gets new times and IDs.
//! What is sent has the size, the fields and the order of keys of received events, and each event
//! is newer than the one before it.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use clerk_sync::clerk::{EventId, EventType, SignedEvent, SigningSecret, Timestamp};
use clerk_sync::clock::now;
use clerk_sync::sample::{Person, SampleEvent, Seeded};

/// The secret of the published test vectors: both sides are given it.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// The time that stands in a body before it is sent; no other field of a body has it.
const PLACEHOLDER_MS: i64 = 1_700_000_123_457;

/// When the users signed up: long before anything that is sent.
const SIGNED_UP_MS: i64 = 1_690_000_000_000;

/// Bodies that are kept ready: 13 MB of them. Those of more users are made when they are needed,
/// which takes longer.
const TEMPLATES_MAX: u32 = 5000;

/// Where the body of a user has what differs from event to event.
struct Template {
    body: Vec<u8>,
    user: String,
    /// Places of the user's own ID.
    ids: Vec<usize>,
    /// Places of `updated_at` and of `timestamp`.
    times: Vec<usize>,
}

/// What to send next.
pub struct Next {
    pub id: EventId,
    /// The user it is about.
    pub user: String,
}

pub struct Crowd {
    users: usize,
    /// Of all users, or of none.
    templates: Vec<Template>,
    secret: SigningSecret,
    run: u64,
    drawn: AtomicU64,
}

impl Crowd {
    /// `users` users, the same in every run; `run` makes the IDs of this run's events unique.
    pub fn of(users: u32, run: u64) -> Self {
        let ready = if users > TEMPLATES_MAX {
            0..0
        } else {
            0..users
        };
        let templates = ready
            .map(|seed| Template::of(&person(seed.into())))
            .collect();
        let secret = SigningSecret::parse(&SECRET.into()).expect("the secret is well formed");
        Self {
            users: users as usize,
            templates,
            secret,
            run,
            drawn: AtomicU64::new(0),
        }
    }

    /// Writes the body of the next update into `body`: of a user by chance, or of a user that
    /// nothing else is about.
    pub fn next(&self, alone: bool, now: Timestamp, body: &mut Vec<u8>) -> Next {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut random = Seeded::of(&[self.run, number]);
        let place = random.below(self.users);
        let made;
        let template = match self.templates.get(place) {
            Some(template) => template,
            None => {
                made = Template::of(&person(place as u64));
                &made
            }
        };
        body.clear();
        body.extend_from_slice(&template.body);
        write_at(body, &template.times, now.ms().to_string().as_bytes());
        // A KSUID after `user_`, like any other.
        let user = alone.then(|| SampleEvent::of_body(Bytes::new(), now, &mut random).id);
        let user = user.map(|id| id.as_str().replacen("msg_", "user_", 1));
        if let Some(user) = &user {
            write_at(body, &template.ids, user.as_bytes());
        }
        let id = SampleEvent::of_body(Bytes::new(), now, &mut random).id;
        Next {
            id,
            user: user.unwrap_or_else(|| template.user.clone()),
        }
    }

    /// Writes the next delivery into `request`: head and body, as Svix posts it.
    pub fn deliver(
        &self,
        alone: bool,
        head: &str,
        body: &mut Vec<u8>,
        request: &mut Vec<u8>,
    ) -> Next {
        use std::io::Write;
        let now = now();
        let next = self.next(alone, now, body);
        let (id, seconds, length) = (&next.id, now.ms() / 1000, body.len());
        let signature = format!("v1,{}", self.secret.signature(id, now, body));
        request.clear();
        write!(
            request,
            "{head}svix-id: {id}\r\nsvix-timestamp: {seconds}\r\nsvix-signature: {signature}\r\ncontent-length: {length}\r\n\r\n"
        )
        .expect("a vector takes everything");
        request.extend_from_slice(body);
        next
    }

    /// The next update as an event that was received now.
    pub fn signed(&self) -> SignedEvent {
        let (now, mut body) = (now(), Vec::new());
        let next = self.next(false, now, &mut body);
        SignedEvent::restored(
            next.id,
            EventType::named("user.updated"),
            now,
            now,
            Bytes::from(body),
        )
    }

    /// The first event of each user, for a table that holds them all.
    pub fn first_of(seed: u64) -> SignedEvent {
        let at = Timestamp::from_ms(SIGNED_UP_MS).expect("a time of ours");
        let event = person(seed).created(at);
        SignedEvent::restored(
            event.id,
            EventType::named("user.created"),
            at,
            at,
            event.body,
        )
    }
}

fn person(seed: u64) -> Person {
    Person::generate(
        seed,
        Timestamp::from_ms(SIGNED_UP_MS).expect("a time of ours"),
    )
}

impl Template {
    fn of(person: &Person) -> Self {
        let at = Timestamp::from_ms(PLACEHOLDER_MS).expect("a time of ours");
        let event = person.updated(at, 1);
        let body = event.body.to_vec();
        let text = std::str::from_utf8(&body).expect("a body is text");
        let own = format!("\"{}\"", person.id);
        let ids = text
            .match_indices(&own)
            .map(|(place, _)| place + 1)
            .collect();
        let updated = format!("\"updated_at\":{PLACEHOLDER_MS}");
        let mut times: Vec<_> = text
            .match_indices(&updated)
            .map(|(place, _)| place + "\"updated_at\":".len())
            .collect();
        times.extend(
            text.rfind("\"timestamp\":")
                .map(|place| place + "\"timestamp\":".len()),
        );
        assert_eq!(
            times.len(),
            2,
            "a body has one updated_at of its own and one timestamp"
        );
        Self {
            user: person.id.to_string(),
            ids,
            times,
            body,
        }
    }
}

fn write_at(body: &mut [u8], places: &[usize], text: &[u8]) {
    for place in places {
        body[*place..place + text.len()].copy_from_slice(text);
    }
}
