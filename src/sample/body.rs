//! The JSON of a made-up event, byte for byte as Clerk writes it: compact, keys in alphabetical order.
//!
//! serde writes fields in the order of the struct, so the structs here keep theirs alphabetical. Sources: received
//! bodies and Clerk's webhook schema of 2025-04-15.

use bytes::Bytes;
use serde::Serialize;

use super::facts::INSTANCE_ID;
use super::random::Seeded;
use super::{Person, SampleType};
use crate::clerk::Timestamp;

mod other;
mod user;

/// Room for nearly every body, in bytes, so that writing one does not move it.
const BODY_CAPACITY: usize = 3584;

/// What Clerk names the client of an event that came from its Backend API.
const BACKEND_AGENT: &str = "clerk/clerk-sdk-go@v2.0.0";

const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
];

/// A field that is always null.
type Null = Option<()>;

#[derive(Serialize)]
struct Outer<'a, D> {
    data: D,
    event_attributes: EventAttributes<'a>,
    instance_id: &'a str,
    object: &'a str,
    timestamp: i64,
    #[serde(rename = "type")]
    event_type: &'a str,
}

#[derive(Serialize)]
struct EventAttributes<'a> {
    http_request: HttpRequest<'a>,
}

#[derive(Serialize)]
struct HttpRequest<'a> {
    client_ip: &'a str,
    user_agent: &'a str,
}

/// The whole body of the event of type `kind` at `at`.
pub(super) fn write(
    person: &Person,
    kind: SampleType,
    at: Timestamp,
    n: u64,
    random: &mut Seeded,
) -> Bytes {
    // Received events were made 4 to 58 ms after `updated_at`.
    let lag = 4 + random.below(55) as i64;
    let write = Writer {
        person,
        kind,
        at,
        lag,
    };
    match kind {
        SampleType::UserCreated => write.outer(user::User::of(person, at, None)),
        SampleType::UserUpdated => write.outer(user::User::of(person, at, Some(n))),
        SampleType::UserDeleted => write.outer(user::DeletedUser::of(person)),
        SampleType::SessionCreated => write.outer(other::Session::of(person, at, random)),
        SampleType::EmailCreated => write.outer(other::Email::of(person, at, random)),
        SampleType::OrganizationCreated => write.outer(other::CreatedOrganization::of(person, at)),
        SampleType::OrganizationMembershipCreated => {
            write.outer(other::Membership::of(person, at, random))
        }
    }
}

struct Writer<'a> {
    person: &'a Person,
    kind: SampleType,
    at: Timestamp,
    lag: i64,
}

impl Writer<'_> {
    fn outer(&self, data: impl Serialize) -> Bytes {
        // A delete has no version, so its own time is the one that was asked for.
        let lag = if self.kind == SampleType::UserDeleted {
            0
        } else {
            self.lag
        };
        let by_backend =
            self.kind == SampleType::UserDeleted || user::is_import(self.person, self.kind);
        let http_request = if by_backend {
            HttpRequest {
                client_ip: "",
                user_agent: BACKEND_AGENT,
            }
        } else {
            HttpRequest {
                client_ip: &self.person.ip,
                user_agent: BROWSERS[self.person.user_agent % BROWSERS.len()],
            }
        };
        let outer = Outer {
            data,
            event_attributes: EventAttributes { http_request },
            instance_id: INSTANCE_ID,
            object: "event",
            timestamp: self.at.ms() + lag,
            event_type: self.kind.as_str(),
        };
        let mut body = Vec::with_capacity(BODY_CAPACITY);
        serde_json::to_writer(&mut body, &outer)
            .expect("texts, numbers and truth values have a JSON form");
        body.into()
    }
}
