//! Made-up people and the events that Clerk would send of them: for `send`, `dev --demo`, tests and benchmarks.
//!
//! The bodies have the form of received ones: compact, keys in alphabetical order, 2 to 3 KB. Addresses, numbers and networks
//! are those set aside for examples. The same seed and the same times make the same bytes; nothing here asks for the time.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::event::{ClerkId, EventId, Timestamp};

/// An event as it would be delivered, not yet signed.
#[derive(Debug, Clone)]
pub struct SampleEvent {
    pub id: EventId,
    pub body: Bytes,
}

/// The types that samples can be made of. The last four show that events of other types are ignored.
pub const EVENT_TYPES: [&str; 7] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "session.created",
    "email.created",
    "organization.created",
    "organizationMembership.created",
];

const GIVEN: [&str; 20] = [
    "Ada", "Amara", "Bruno", "Chidi", "Dilek", "Élodie", "Farid", "Grace", "Hana", "Ivan", "Jun", "Kofi", "Leïla",
    "Mateo", "Ngozi", "Oskar", "Priya", "Søren", "Thảo", "小明",
];

const FAMILY: [&str; 20] = [
    "Okafor", "García", "Nguyễn", "Müller", "Haddad", "Kowalski", "Sato", "Svensson", "Rossi", "Mbeki", "O'Neill",
    "Petrov", "Da Silva", "Yılmaz", "Cohen", "Kaur", "Dubois", "Ibrahim", "Larsen", "王",
];

const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];

/// How somebody signed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignUp {
    Password,
    Google,
    Phone,
    Username,
}

/// A made-up user: what stays the same over their events.
#[derive(Debug, Clone)]
pub struct Person {
    clerk_id: ClerkId,
    given: &'static str,
    family: &'static str,
    number: u32,
    domain: &'static str,
    sign_up: SignUp,
    seed: u64,
}

impl Person {
    pub fn generate(rng: &mut impl Rng) -> Self {
        let id = format!("user_{}", base62(rng));
        let clerk_id = ClerkId::new(&id).expect("32 characters make an ID");
        Self::with_id(clerk_id, rng)
    }

    /// Somebody with this ID.
    pub fn with_id(clerk_id: ClerkId, rng: &mut impl Rng) -> Self {
        let sign_up = match rng.random_range(0..10) {
            0..5 => SignUp::Password,
            5..8 => SignUp::Google,
            8 => SignUp::Phone,
            _ => SignUp::Username,
        };
        Self {
            clerk_id,
            given: GIVEN[rng.random_range(0..GIVEN.len())],
            family: FAMILY[rng.random_range(0..FAMILY.len())],
            number: rng.random_range(0..100_000),
            domain: DOMAINS[rng.random_range(0..DOMAINS.len())],
            sign_up,
            seed: rng.random(),
        }
    }

    pub fn clerk_id(&self) -> &ClerkId {
        &self.clerk_id
    }

    /// Given and family name.
    pub fn name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }

    /// The primary address, where there is one.
    pub fn email(&self) -> Option<String> {
        let has_one = matches!(self.sign_up, SignUp::Password | SignUp::Google);
        has_one.then(|| format!("{}.{}@{}", ascii_name(self.given), self.number, self.domain))
    }

    /// The primary number, where there is one: +1 202 555 0100 to 0199 are set aside for fiction.
    pub fn phone(&self) -> Option<String> {
        (self.sign_up == SignUp::Phone).then(|| format!("+1202555{:04}", 100 + self.number % 100))
    }

    pub fn created(&self, at: Timestamp) -> SampleEvent {
        self.user_event("user.created", at, 0)
    }

    /// The `nth` change: another last sign-in and other metadata, and for every third another user name.
    pub fn updated(&self, at: Timestamp, nth: u64) -> SampleEvent {
        self.user_event("user.updated", at, nth)
    }

    pub fn deleted(&self, at: Timestamp) -> SampleEvent {
        let data = format!(r#"{{"deleted":true,"id":{},"object":"user"}}"#, quoted(self.clerk_id.as_str()));
        self.event("user.deleted", &data, at, 0)
    }

    /// An event of any type of `EVENT_TYPES`.
    pub fn event_of_type(&self, event_type: &str, at: Timestamp, nth: u64) -> SampleEvent {
        match event_type {
            "user.created" => self.created(at),
            "user.deleted" => self.deleted(at),
            "user.updated" => self.updated(at, nth),
            other => self.foreign_event(other, at, nth),
        }
    }

    fn user_event(&self, event_type: &str, at: Timestamp, nth: u64) -> SampleEvent {
        self.event(event_type, &self.user_object(at, nth), at, nth)
    }

    /// An event about something else that the person did.
    fn foreign_event(&self, event_type: &str, at: Timestamp, nth: u64) -> SampleEvent {
        let object = event_type.split('.').next().unwrap_or(event_type);
        let mut rng = self.rng(event_type, at, nth);
        let data = format!(
            r#"{{"created_at":{at},"id":"{prefix}_{id}","object":{object},"updated_at":{at},"user_id":{user}}}"#,
            at = at.ms(),
            prefix = &object[..3],
            id = base62(&mut rng),
            object = quoted(object),
            user = quoted(self.clerk_id.as_str()),
        );
        self.event(event_type, &data, at, nth)
    }

    /// Clerk's outer object around `data`. The event comes a few milliseconds after the change it tells of.
    fn event(&self, event_type: &str, data: &str, at: Timestamp, nth: u64) -> SampleEvent {
        let mut rng = self.rng(event_type, at, nth);
        let id = EventId::new(&format!("msg_{}", base62(&mut rng))).expect("letters, digits and _ make an ID");
        let body = format!(
            concat!(
                r#"{{"data":{data},"event_attributes":{{"http_request":{{"client_ip":"203.0.113.{ip}","user_agent":"Mozilla/5.0 "#,
                r#"(Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"}}}},"#,
                r#""instance_id":"ins_348x3W4jgOKgbtRnVycj4GtFPmE","object":"event","timestamp":{timestamp},"type":{event_type}}}"#
            ),
            data = data,
            ip = rng.random_range(1..255),
            timestamp = at.ms() + rng.random_range(4..60),
            event_type = quoted(event_type),
        );
        SampleEvent { id, body: body.into() }
    }

    fn user_object(&self, at: Timestamp, nth: u64) -> String {
        let at_ms = at.ms();
        let signed_up = at_ms - i64::try_from(nth).unwrap_or(0) * 1000 - 60;
        let mut rng = StdRng::seed_from_u64(self.seed);
        let (email_id, phone_id) = (format!("idn_{}", base62(&mut rng)), format!("idn_{}", base62(&mut rng)));
        let verification = |strategy: &str| {
            let expires = signed_up + 600_000;
            format!(
                r#"{{"attempts":1,"expire_at":{expires},"object":"verification_otp","status":"verified","strategy":"{strategy}"}}"#
            )
        };
        let email = self.email().map(|email| {
            format!(
                r#"{{"created_at":{signed_up},"email_address":{email},"id":"{email_id}","linked_to":[],"matches_sso_connection":false,"object":"email_address","reserved":false,"updated_at":{signed_up},"verification":{verification}}}"#,
                email = quoted(&email),
                verification = verification("email_code"),
            )
        });
        let phone = self.phone().map(|phone| {
            format!(
                r#"{{"backup_codes":null,"created_at":{signed_up},"default_second_factor":false,"id":"{phone_id}","linked_to":[],"object":"phone_number","phone_number":"{phone}","reserved":false,"reserved_for_second_factor":false,"updated_at":{signed_up},"verification":{verification}}}"#,
                verification = verification("phone_code"),
            )
        });
        let primary = |there: bool, id: &str| if there { quoted(id) } else { "null".into() };
        let username = match self.sign_up {
            SignUp::Username => quoted(&format!("{}{}", ascii_name(self.given), self.number + to_u32(nth / 3))),
            _ => "null".into(),
        };
        let sign_in = if nth == 0 { "null".into() } else { at_ms.to_string() };
        let plan = ["free", "pro", "team"][usize::try_from(nth % 3).unwrap_or(0)];
        format!(
            include_str!("sample_user.json"),
            created_at = signed_up,
            updated_at = at_ms,
            emails = email.as_deref().unwrap_or(""),
            phones = phone.as_deref().unwrap_or(""),
            primary_email = primary(email.is_some(), &email_id),
            primary_phone = primary(phone.is_some(), &phone_id),
            google =
                if self.sign_up == SignUp::Google { self.google_account(signed_up, &mut rng) } else { String::new() },
            given = quoted(self.given),
            family = quoted(self.family),
            id = quoted(self.clerk_id.as_str()),
            image = base62(&mut rng).repeat(5),
            password = self.sign_up == SignUp::Password,
            sign_in = sign_in,
            username = username,
            plan = plan,
            logins = nth,
        )
    }

    fn google_account(&self, signed_up: i64, rng: &mut impl Rng) -> String {
        format!(
            r#"{{"approved_scopes":"email openid profile","created_at":{signed_up},"email_address":{email},"first_name":{given},"id":"eac_{id}","label":null,"last_name":{family},"object":"external_account","provider":"oauth_google","provider_user_id":"1{number:020}","public_metadata":{{}},"updated_at":{signed_up},"username":null,"verification":{{"attempts":null,"expire_at":null,"status":"verified","strategy":"oauth_google"}}}}"#,
            email = quoted(&self.email().unwrap_or_default()),
            given = quoted(self.given),
            family = quoted(self.family),
            id = base62(rng),
            number = self.number,
        )
    }

    /// Randomness that depends on the person and the event alone.
    fn rng(&self, event_type: &str, at: Timestamp, nth: u64) -> StdRng {
        let parts = [at.ms().unsigned_abs(), nth, event_type.len() as u64, u64::from(event_type.as_bytes()[5])];
        // A multiplication by an odd number loses nothing, so parts that differ stay apart.
        let seed = parts
            .iter()
            .fold(self.seed, |seed, part| (seed ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31));
        StdRng::seed_from_u64(seed)
    }
}

fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX / 2)
}

/// 27 letters and digits, as Clerk's and Svix's IDs have them.
fn base62(rng: &mut impl Rng) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..27).map(|_| char::from(DIGITS[rng.random_range(0..62)])).collect()
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn ascii_name(name: &str) -> String {
    let ascii: String = name.chars().filter(char::is_ascii_alphabetic).collect();
    if ascii.is_empty() { "user".into() } else { ascii.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::{EventType, SignedEvent, UserEvent, UserProfile};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_795_172_400_000 + ms).unwrap()
    }

    fn read(event: &SampleEvent) -> UserEvent {
        let event_type = EventType::read(&event.body);
        SignedEvent::restored(event.id.clone(), event_type, at(0), at(0), event.body.clone()).parse().unwrap()
    }

    fn profile(event: &SampleEvent) -> UserProfile {
        read(event).change.profile.unwrap().1
    }

    fn people(count: usize) -> Vec<Person> {
        let mut rng = StdRng::seed_from_u64(7);
        (0..count).map(|_| Person::generate(&mut rng)).collect()
    }

    #[test]
    fn every_event_reads_as_what_the_person_is() {
        for (nth, person) in (1..).zip(people(200)) {
            for event in [person.created(at(0)), person.updated(at(5), nth)] {
                assert!((1500..3500).contains(&event.body.len()), "{} bytes", event.body.len());
                serde_json::from_slice::<serde_json::Value>(&event.body).unwrap();
                let columns = profile(&event);
                assert_eq!(columns.email, person.email());
                assert_eq!(columns.phone, person.phone());
                assert_eq!(columns.email_verified, person.email().map(|_| true));
                assert_eq!(columns.first_name.as_deref(), Some(person.given));
                assert_eq!(columns.username.is_some(), person.sign_up == SignUp::Username);
            }
            let deleted = read(&person.deleted(at(9)));
            assert_eq!(&deleted.change.clerk_id, person.clerk_id());
            assert!(deleted.change.deleted_at.is_some() && deleted.change.profile.is_none());
        }
    }

    #[test]
    fn updates_differ_and_the_later_one_is_newer() {
        let person = &people(1)[0];
        let version = |event: &SampleEvent| read(event).change.profile.unwrap().0;
        let (first, second) = (person.updated(at(1), 1), person.updated(at(2), 2));
        assert!(version(&second) > version(&first));
        assert_ne!(profile(&first).public_metadata, profile(&second).public_metadata);
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes_and_ids_are_distinct() {
        let (one, two) = (people(50), people(50));
        let events = |people: &[Person]| -> Vec<SampleEvent> {
            let of = |person: &Person| EVENT_TYPES.map(|name| person.event_of_type(name, at(1), 1));
            people.iter().flat_map(of).collect()
        };
        let (one, two) = (events(&one), events(&two));
        assert!(one.iter().zip(&two).all(|(a, b)| a.id == b.id && a.body == b.body));
        let ids: std::collections::BTreeSet<_> = one.iter().map(|event| &event.id).collect();
        assert_eq!(ids.len(), 50 * EVENT_TYPES.len());
    }

    #[test]
    fn events_of_other_types_are_of_other_types() {
        let person = &people(1)[0];
        for name in &EVENT_TYPES[3..] {
            let event = person.event_of_type(name, at(1), 1);
            assert_eq!(EventType::read(&event.body), EventType::Other((*name).into()));
        }
    }
}
