//! Sample users: names, addresses and the way they signed up, from a seed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;

use super::random::Seeded;
use crate::clerk::{ClerkId, Timestamp};

/// The Clerk application that all of them belong to.
pub const INSTANCE_ID: &str = "ins_348x3W4jgOKgbtRnVycj4GtFPmE";

/// Given names, and how they are written in an address.
const GIVEN_NAMES: [(&str, &str); 32] = [
    ("Ada", "ada"),
    ("Milo", "milo"),
    ("Noa", "noa"),
    ("Greta", "greta"),
    ("Tom", "tom"),
    ("Lena", "lena"),
    ("Ines", "ines"),
    ("Oscar", "oscar"),
    ("Zoë", "zoe"),
    ("José", "jose"),
    ("Søren", "soren"),
    ("Łucja", "lucja"),
    ("Žofie", "zofie"),
    ("Åsa", "asa"),
    ("Gül", "gul"),
    ("Ngọc Ánh", "ngoc.anh"),
    ("Siobhán", "siobhan"),
    ("Þóra", "thora"),
    ("Юлия", "yuliya"),
    ("Олексій", "oleksii"),
    ("Ελένη", "eleni"),
    ("أمل", "amal"),
    ("נועם", "noam"),
    ("प्रिया", "priya"),
    ("கவிதா", "kavitha"),
    ("美咲", "misaki"),
    ("伟", "wei"),
    ("지우", "jiwoo"),
    ("ณัฐ", "nat"),
    ("Chinwe", "chinwe"),
    ("Tāne", "tane"),
    ("Sunny ☀️", "sunny"),
];

/// Family names, and how they are written in an address.
const FAMILY_NAMES: [(&str, &str); 32] = [
    ("Marsh", "marsh"),
    ("Hart", "hart"),
    ("Levin", "levin"),
    ("Lund", "lund"),
    ("Birch", "birch"),
    ("Voss", "voss"),
    ("Okafor", "okafor"),
    ("Silva", "silva"),
    ("Müller", "mueller"),
    ("Núñez", "nunez"),
    ("Sørensen", "sorensen"),
    ("Wiśniewska", "wisniewska"),
    ("Dvořák", "dvorak"),
    ("Öberg", "oberg"),
    ("Yıldız", "yildiz"),
    ("Nguyễn", "nguyen"),
    ("O’Brien", "obrien"),
    ("Jónsdóttir", "jonsdottir"),
    ("Смирнова", "smirnova"),
    ("Шевченко", "shevchenko"),
    ("Παππά", "pappa"),
    ("خليل", "khalil"),
    ("כהן", "cohen"),
    ("शर्मा", "sharma"),
    ("முருகன்", "murugan"),
    ("佐藤", "sato"),
    ("李", "li"),
    ("김", "kim"),
    ("ใจดี", "jaidee"),
    ("d'Avila", "davila"),
    ("Smith-Jones", "smith-jones"),
    ("van der Berg", "vanderberg"),
];

const HOSTS: [&str; 3] = ["example.com", "example.org", "example.net"];

const LOCALES: [Option<&str>; 8] = [
    None,
    None,
    None,
    Some("en-US"),
    Some("pt-BR"),
    Some("de-DE"),
    Some("ja-JP"),
    Some("ar-EG"),
];

const ADJECTIVES: [&str; 8] = [
    "quiet", "brave", "late", "bright", "mild", "swift", "odd", "lucky",
];
const ANIMALS: [&str; 8] = [
    "heron", "otter", "lynx", "finch", "bison", "gecko", "marten", "wren",
];

/// How a person signed up: decides what is known of them.
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

/// A sample user: what stays the same over all of their events.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// As Clerk makes it, or one's own.
    pub id: ClerkId,
    pub(super) signed_up_at: Timestamp,
    pub(super) sign_up: SignUp,
    pub(super) first_name: Option<&'static str>,
    /// Some updates show another one, see `last_name_in`.
    pub(super) last_name: Option<&'static str>,
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
    pub(super) seed: u64,
    other_last_name: &'static str,
    pub(super) user_agent: usize,
    pub(super) plan: usize,
    pub(super) email_id: String,
    pub(super) second_email_id: String,
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

    /// The name, or what the person signs in with if there is none.
    pub fn name(&self) -> String {
        let names: Vec<_> = [self.first_name, self.last_name]
            .into_iter()
            .flatten()
            .collect();
        let sign_in = [&self.username, &self.email, &self.phone]
            .into_iter()
            .flatten()
            .next();
        match (names.as_slice(), sign_in) {
            ([], None) => self.id.to_string(),
            ([], Some(name)) => name.clone(),
            (names, _) => names.join(" "),
        }
    }

    /// The last name as update `n` shows it: half of the time the other one.
    pub(super) fn last_name_in(&self, n: u64) -> Option<&'static str> {
        let other = self.last_name.and(Some(self.other_last_name));
        if n % 8 < 4 { self.last_name } else { other }
    }

    /// Clerk's name of the provider that the person signs in with, if it is one.
    pub(super) fn oauth(&self) -> Option<&'static str> {
        match self.sign_up {
            SignUp::Google => Some("oauth_google"),
            SignUp::GitHub => Some("oauth_github"),
            _ => None,
        }
    }
}

/// The person of `seed`. Nothing but `signed_up_at` itself depends on it, so that a seed means the
/// same user always.
fn generate(seed: u64, id: Option<ClerkId>, signed_up_at: Timestamp) -> Person {
    let random = &mut Seeded::of(&[seed]);
    // Any time will do for the time in an ID.
    let at = Timestamp::from_seconds(1_735_689_600 + random.below(30_000_000) as i64)
        .unwrap_or(signed_up_at);
    let sign_up = sign_up(random);
    let (given, family, other) = (
        random.pick(&GIVEN_NAMES),
        random.pick(&FAMILY_NAMES),
        random.pick(&FAMILY_NAMES),
    );
    let anonymous = matches!(sign_up, SignUp::PhoneOnly | SignUp::UsernameOnly);
    let oauth = matches!(sign_up, SignUp::Google | SignUp::GitHub);
    let mut email = |chance| {
        random
            .percent(chance)
            .then(|| address(given.1, family.1, random))
    };
    // A user who signed up with an OAuth provider has one address and no phone number.
    let (first, second) = (
        email(if anonymous { 0 } else { 100 }),
        email(if anonymous || oauth { 0 } else { 10 }),
    );
    let id = id.unwrap_or_else(|| {
        ClerkId::new(&random.ksuid("user_", at))
            .expect("a prefix and 27 characters are within a Clerk ID's limits")
    });
    let initials = if anonymous {
        String::new()
    } else {
        initials(given.1, family.1)
    };
    Person {
        signed_up_at,
        sign_up,
        first_name: (!anonymous).then_some(given.0),
        last_name: (!anonymous).then_some(family.0),
        email: first,
        second_email: second,
        phone: (sign_up == SignUp::PhoneOnly || (!anonymous && !oauth && random.percent(12)))
            .then(|| phone(random)),
        username: (sign_up == SignUp::UsernameOnly || random.percent(15)).then(|| username(random)),
        external_id: (sign_up == SignUp::Import)
            .then(|| format!("legacy-{}", 10_000 + random.below(90_000))),
        locale: random.pick(&LOCALES),
        legal_accepted: random.percent(30),
        image_url: image_url(&id, &initials),
        ip: format!("203.0.113.{}", 1 + random.below(254)),
        seed,
        other_last_name: if other.0 == family.0 {
            "Lindqvist"
        } else {
            other.0
        },
        user_agent: random.below(1_000_000),
        plan: random.below(1_000_000),
        email_id: random.ksuid("idn_", at),
        second_email_id: random.ksuid("idn_", at),
        phone_id: random.ksuid("idn_", at),
        login_id: random.ksuid("idn_", at),
        customer_id: random.ksuid("cus_", at),
        id,
    }
}

/// About as often as in an application for everybody.
fn sign_up(random: &mut Seeded) -> SignUp {
    match random.below(100) {
        0..50 => SignUp::Password,
        50..68 => SignUp::Google,
        68..75 => SignUp::GitHub,
        75..82 => SignUp::Passkey,
        82..90 => SignUp::PhoneOnly,
        90..95 => SignUp::UsernameOnly,
        _ => SignUp::Import,
    }
}

fn address(given: &str, family: &str, random: &mut Seeded) -> String {
    format!(
        "{given}.{family}{}@{}",
        random.below(1_000_000),
        random.pick(&HOSTS)
    )
}

/// +1 202 555 01xx is kept for fiction.
fn phone(random: &mut Seeded) -> String {
    format!("+120255501{:02}", random.below(100))
}

fn username(random: &mut Seeded) -> String {
    format!(
        "{}_{}_{}",
        random.pick(&ADJECTIVES),
        random.pick(&ANIMALS),
        random.below(1_000_000)
    )
}

fn initials(given: &str, family: &str) -> String {
    [given, family]
        .iter()
        .filter_map(|name| name.chars().next())
        .map(|first| first.to_ascii_uppercase())
        .collect()
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
