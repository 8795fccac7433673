//! The pieces of an event's way that need no server, each on the same made-up events.

use std::fmt;
use std::hint::black_box;

use clerk_sync::clerk::{
    Delivery, EventId, EventType, SignedEvent, SigningSecret, Timestamp, Verifier,
};
use clerk_sync::sample::Person;
use clerk_sync::worker::plan::plan;
use secrecy::SecretString;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// When everything is sent and received.
const NOW_MS: i64 = 1_795_172_400_000;

/// Events in a batch, of as many users as a batch out of 5,000 users has about.
const BATCH: u64 = 500;
const USERS: u64 = 475;

pub struct Work {
    verifier: Verifier,
    deliveries: Vec<(EventId, String, String)>,
    events: Vec<SignedEvent>,
    now: Timestamp,
}

/// A piece: its name, the events it takes at once, and the piece itself for one round over them.
pub struct Piece {
    pub name: &'static str,
    pub events: u64,
    pub run: fn(&Work, usize),
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

pub const PIECES: [Piece; 4] = [
    Piece {
        name: "verify",
        events: 1,
        run: Work::verify,
    },
    Piece {
        name: "type",
        events: 1,
        run: Work::read_type,
    },
    Piece {
        name: "parse",
        events: 1,
        run: Work::parse,
    },
    Piece {
        name: "plan",
        events: BATCH,
        run: Work::plan,
    },
];

impl Work {
    pub fn new() -> Self {
        let now = Timestamp::from_ms(NOW_MS).expect("a time of ours");
        let secret = || {
            SigningSecret::parse(&SecretString::from(SECRET)).expect("the secret is well formed")
        };
        let seconds = (now.ms() / 1000).to_string();
        let (mut deliveries, mut events) = (Vec::new(), Vec::new());
        for number in 0..BATCH {
            let event = Person::generate(number % USERS, now).updated(now, number);
            let signature = secret().sign(&event.id, now, &event.body);
            deliveries.push((event.id.clone(), seconds.clone(), signature));
            events.push(SignedEvent::restored(
                event.id,
                EventType::named("user.updated"),
                now,
                now,
                event.body,
            ));
        }
        Self {
            verifier: Verifier::new(vec![secret()]),
            deliveries,
            events,
            now,
        }
    }

    /// Headers and signature, and the type: what the receiver does to a delivery.
    fn verify(&self, number: usize) {
        let place = number % self.events.len();
        let (id, seconds, signature) = &self.deliveries[place];
        let headers = [
            ("content-type", "application/json"),
            ("svix-id", id.as_str()),
            ("svix-timestamp", seconds),
            ("svix-signature", signature),
        ];
        let headers = headers
            .into_iter()
            .map(|(name, value)| (name, value.as_bytes()));
        let delivery = Delivery::read(headers, self.now).expect("the headers are good");
        let verified = self
            .verifier
            .verify(delivery, self.events[place].body().clone(), self.now);
        black_box(verified.expect("the signature is good"));
    }

    fn read_type(&self, number: usize) {
        black_box(EventType::read(
            self.events[number % self.events.len()].body(),
        ));
    }

    fn parse(&self, number: usize) {
        black_box(
            self.events[number % self.events.len()]
                .parse()
                .expect("a made-up event can be read"),
        );
    }

    fn plan(&self, _number: usize) {
        black_box(plan(&self.events));
    }
}
