//! Sample users: names, addresses and the way they signed up, from a seed.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::random::Seeded;
use crate::clerk::{ClerkId, Timestamp};

/// The Clerk application that all of them belong to.
pub const INSTANCE_ID: &str = "ins_348x3W4jgOKgbtRnVycj4GtFPmE";

/// What people are made of. The order of the lists decides what a seed means.
pub static PEOPLE: LazyLock<Vocabulary> = LazyLock::new(|| {
    serde_json::from_str(include_str!("people.json")).expect("the vocabulary is JSON")
});

/// The lists of `people.json`.
#[derive(Deserialize)]
pub struct Vocabulary {
    /// Given names, and how they are written in an address.
    given_names: Vec<(String, String)>,
    family_names: Vec<(String, String)>,
    hosts: Vec<String>,
    locales: Vec<Option<String>>,
    adjectives: Vec<String>,
    animals: Vec<String>,
    browsers: Vec<String>,
    /// Each with the roles of its users.
    pub plans: Vec<(String, Vec<String>)>,
    /// About as often as in an application for everybody.
    pub sign_ups: Vec<SignUp>,
    /// Names of organizations, and how they are written in a slug.
    pub organizations: Vec<(String, String)>,
    pub teams: Vec<String>,
    /// The values of an admin, and those of a member.
    pub member_roles: [Map<String, Value>; 2],
}

/// How a person signed up: decides what is known of them.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignUp {
    /// Of 100 people, those below this one sign up this way or one before it.
    below_percent: usize,
    /// A person with a name has an email address.
    has_name: bool,
    pub has_password: bool,
    pub has_passkey: bool,
    /// By the Backend API, with an ID of the application's own.
    pub is_import: bool,
    /// A user who signed up with an OAuth provider has one address and no phone number.
    second_email_percent: usize,
    phone_percent: usize,
    username_percent: usize,
    /// How the email address was verified.
    verification: String,
    strategy: String,
    /// `None` if it needed no code.
    pub attempts: Option<u32>,
    /// Clerk's name of the provider that the person signs in with, if it is one.
    pub provider: Option<String>,
    scopes: String,
}

/// A sample user: what stays the same over all of their events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Person {
    /// As Clerk makes it, or one's own.
    #[serde(skip)]
    pub id: ClerkId,
    #[serde(skip)]
    pub(super) signed_up_at: Timestamp,
    #[serde(flatten)]
    pub(super) sign_up: &'static SignUp,
    pub(super) first_name: Option<&'static str>,
    /// Some updates show another one, see `last_name_in`.
    pub(super) last_name: Option<&'static str>,
    other_last_name: &'static str,
    /// The primary address: always verified.
    pub(super) email: Option<String>,
    /// A second address, never verified and not primary.
    pub(super) second_email: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) username: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) locale: Option<&'static str>,
    pub(super) legal_accepted: bool,
    pub(super) image_url: String,
    /// An address of the range 203.0.113.0/24, which is reserved for documentation.
    pub(super) ip: String,
    user_agent: &'static str,
    pub(super) seed: u64,
    /// Decides the metadata.
    pub(super) variant: usize,
    pub(super) email_id: String,
    second_email_id: String,
    pub(super) phone_id: String,
    /// Of the external account or the passkey.
    pub(super) login_id: String,
    pub(super) customer_id: String,
}

impl Person {
    /// The person of a seed. `signed_up_at` shows in the times of their events and in nothing else.
    pub fn generate(seed: u64, signed_up_at: Timestamp) -> Self {
        generate(seed, None, signed_up_at)
    }

    /// The person of an ID: the same ID is the same person in every run.
    pub fn with_id(id: ClerkId, signed_up_at: Timestamp) -> Self {
        let seed = Seeded::of_text(id.as_str()).number();
        generate(seed, Some(id), signed_up_at)
    }

    /// Whether the person has a name, and with it an email address.
    pub fn has_name(&self) -> bool {
        self.sign_up.has_name
    }

    /// A new account of the same person, with the same addresses and another ID.
    #[must_use]
    pub fn with_new_account(&self, seed: u64, signed_up_at: Timestamp) -> Self {
        Self {
            seed,
            signed_up_at,
            id: generate(seed, None, signed_up_at).id,
            ..self.clone()
        }
    }

    /// The name, or what the person signs in with if there is none.
    pub fn name(&self) -> String {
        if let (Some(first), Some(last)) = (self.first_name, self.last_name) {
            return format!("{first} {last}");
        }
        let sign_in = [&self.username, &self.email, &self.phone];
        let sign_in = sign_in.into_iter().flatten().next();
        sign_in.cloned().unwrap_or_else(|| self.id.to_string())
    }

    /// What the person signs in with: the email address before the user name before the phone.
    pub(super) fn identifier(&self) -> Option<&str> {
        let sign_in = [&self.email, &self.username, &self.phone];
        sign_in.into_iter().flatten().next().map(String::as_str)
    }

    /// The last name as update `n` shows it: half of the time the other one.
    pub(super) fn last_name_in(&self, n: u64) -> Option<&'static str> {
        let other = self.last_name.and(Some(self.other_last_name));
        if n % 8 < 4 { self.last_name } else { other }
    }
}

/// The person of `seed`. Nothing but `signed_up_at` itself depends on it, so that a seed means the
/// same user always.
fn generate(seed: u64, id: Option<ClerkId>, signed_up_at: Timestamp) -> Person {
    let random = &mut Seeded::of(&[seed]);
    // Any time will do for the time in an ID.
    let at = Timestamp::from_seconds(1_735_689_600 + random.below(30_000_000) as i64)
        .unwrap_or(signed_up_at);
    let drawn = random.below(100);
    let mut sign_ups = PEOPLE.sign_ups.iter();
    let sign_up = sign_ups
        .find(|sign_up| drawn < sign_up.below_percent)
        .expect("the last one has the rest");
    let (given, given_ascii) = random.pick(&PEOPLE.given_names);
    let (family, family_ascii) = random.pick(&PEOPLE.family_names);
    let (other, _) = random.pick(&PEOPLE.family_names);
    let mut email = |percent| {
        random.percent(percent).then(|| {
            let number = random.below(1_000_000);
            let host = random.pick(&PEOPLE.hosts);
            format!("{given_ascii}.{family_ascii}{number}@{host}")
        })
    };
    let first_email = email(if sign_up.has_name { 100 } else { 0 });
    let second_email = email(sign_up.second_email_percent);
    let id = id.unwrap_or_else(|| {
        ClerkId::new(&random.ksuid("user_", at))
            .expect("a prefix and 27 characters are within a Clerk ID's limits")
    });
    let initials: String = [given_ascii, family_ascii]
        .iter()
        .filter(|_| sign_up.has_name)
        .filter_map(|name| name.chars().next())
        .map(|first| first.to_ascii_uppercase())
        .collect();
    Person {
        signed_up_at,
        sign_up,
        first_name: sign_up.has_name.then_some(given.as_str()),
        last_name: sign_up.has_name.then_some(family.as_str()),
        other_last_name: if other == family { "Lindqvist" } else { other },
        email: first_email,
        second_email,
        // +1 202 555 01xx is kept for fiction.
        phone: is_drawn(random, sign_up.phone_percent)
            .then(|| format!("+120255501{:02}", random.below(100))),
        username: is_drawn(random, sign_up.username_percent).then(|| {
            let adjective = random.pick(&PEOPLE.adjectives);
            let animal = random.pick(&PEOPLE.animals);
            format!("{adjective}_{animal}_{}", random.below(1_000_000))
        }),
        external_id: sign_up
            .is_import
            .then(|| format!("legacy-{}", 10_000 + random.below(90_000))),
        locale: random.pick(&PEOPLE.locales).as_deref(),
        legal_accepted: random.percent(30),
        image_url: image_url(&id, &initials),
        ip: format!("203.0.113.{}", 1 + random.below(254)),
        user_agent: &PEOPLE.browsers[random.below(1_000_000) % PEOPLE.browsers.len()],
        seed,
        variant: random.below(1_000_000),
        email_id: random.ksuid("idn_", at),
        second_email_id: random.ksuid("idn_", at),
        phone_id: random.ksuid("idn_", at),
        login_id: random.ksuid("idn_", at),
        customer_id: random.ksuid("cus_", at),
        id,
    }
}

/// Returns `true` in this many of 100 cases. Draws no number for what is certain.
fn is_drawn(random: &mut Seeded, percent: usize) -> bool {
    match percent {
        0 => false,
        100 => true,
        _ => random.percent(percent),
    }
}

/// Clerk's picture of a user without one.
fn image_url(id: &ClerkId, initials: &str) -> String {
    let options = format!(
        r#"{{"type":"default","iid":"{INSTANCE_ID}","rid":"{id}","initials":"{initials}"}}"#
    );
    let mut url = String::from("https://img.clerk.com/");
    BASE64_URL.encode_string(options, &mut url);
    url
}
