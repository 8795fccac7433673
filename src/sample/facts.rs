//! Who a made-up person is: names, addresses and the way they signed up, from a seed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;

use super::random::Seeded;
use super::{Person, SignUp};
use crate::clerk::{ClerkId, Timestamp};

/// The Clerk application that all of them belong to.
pub(super) const INSTANCE_ID: &str = "ins_348x3W4jgOKgbtRnVycj4GtFPmE";

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

/// The person of `seed`. Nothing but `signed_up_at` itself depends on it, so that a seed means the same user always.
pub(super) fn person(seed: u64, id: Option<ClerkId>, signed_up_at: Timestamp) -> Person {
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
    // Who comes by another provider brings one address and no number.
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

/// Clerk's picture of somebody who has none of their own.
fn image_url(id: &ClerkId, initials: &str) -> String {
    let options = format!(
        r#"{{"type":"default","iid":"{INSTANCE_ID}","rid":"{id}","initials":"{initials}"}}"#
    );
    let mut url = String::from("https://img.clerk.com/");
    BASE64_URL.encode_string(options, &mut url);
    url
}
