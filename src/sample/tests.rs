//! Sample events go the whole way: signed as Svix does, verified and parsed as the receiver and the
//! worker do.

use std::collections::HashSet;

use secrecy::SecretString;

use super::person::PEOPLE;
use super::*;
use crate::clerk::{
    ClerkId, Delivery, Event, EventType, SignedEvent, SigningSecret, Timestamp, Value, Verifier,
    tables,
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(1_795_000_000_000 + ms).unwrap()
}

fn person(seed: u64) -> Person {
    Person::generate(seed, at(-86_400_000))
}

fn founder(seed: u64) -> Member {
    Member::founder(person(seed))
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

fn value(event: &Event, column: &str) -> Value {
    event.change.value(column).unwrap().clone()
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

        let verified = |contact: &Option<String>| {
            contact
                .as_ref()
                .map_or(Value::Null, |_| Value::Boolean(true))
        };
        let text = |text: Option<&str>| text.map_or(Value::Null, |text| Value::Text(text.into()));
        let signed_up_at = Value::Time(person.signed_up_at);
        let accepted_at = if person.legal_accepted {
            signed_up_at.clone()
        } else {
            Value::Null
        };
        for (column, expected) in [
            ("email", text(person.email.as_deref())),
            ("email_verified", verified(&person.email)),
            ("phone", text(person.phone.as_deref())),
            ("phone_verified", verified(&person.phone)),
            ("username", text(person.username.as_deref())),
            ("first_name", text(person.first_name)),
            ("last_name", text(person.last_name)),
            ("image_url", text(Some(&person.image_url))),
            ("external_id", text(person.external_id.as_deref())),
            ("locale", text(person.locale)),
            ("banned", Value::Boolean(false)),
            ("locked", Value::Boolean(false)),
            ("legal_accepted_at", accepted_at),
            ("created_at", signed_up_at),
            ("last_sign_in_at", Value::Null),
        ] {
            assert_eq!(value(&read, column), expected, "seed {seed}: {column}");
        }
        for metadata in ["public_metadata", "private_metadata", "unsafe_metadata"] {
            let metadata = value(&read, metadata);
            assert!(metadata.as_json().unwrap().len() > 2, "seed {seed}");
        }
    }
}

#[test]
fn every_update_differs_visibly_from_the_one_before() {
    let person = Person::generate(7, at(-86_400_000));
    let mut before = parse(&person.created(at(0)), at(0));
    for n in 1..40 {
        let time = at(n * 10);
        let n = n.unsigned_abs();
        let now = parse(&person.updated(time, n), time);
        assert_eq!(value(&now, "last_name").as_text(), person.last_name_in(n));
        let signed_in_at = |event| value(event, "last_sign_in_at").as_time();
        assert!(signed_in_at(&now) > signed_in_at(&before), "update {n}");
        let metadata = |event| value(event, "public_metadata");
        assert_ne!(metadata(&now), metadata(&before), "update {n}");
        for column in ["email", "created_at"] {
            assert_eq!(value(&now, column), value(&before, column), "update {n}");
        }
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
    for kind in SampleType::all() {
        let event = founder(11).event(kind, at(0), 1);
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
    for sign_up in &PEOPLE.sign_ups {
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

#[test]
fn a_fault_fails_the_event_with_its_code() {
    let founder = founder(7);
    let mut seen = 0;
    for kind in SampleType::all().filter(|kind| kind.has_profile()) {
        for fault in [Fault::Nul, Fault::Time, Fault::Json] {
            let event = founder.event(kind, at(0), 3);
            let broken = fault.in_event(event.clone(), at(0));
            assert_eq!(broken.id, event.id);
            let error = receive(&broken, at(0)).parse().unwrap_err();
            assert_eq!(error.code(), fault.code(), "{}", kind.as_str());
            seen += 1;
        }
    }
    assert!(seen >= 3 * 2);
}

/// One for each type of each table, a table that is added later too.
#[test]
fn the_sample_of_every_type_of_every_table_is_a_change_of_that_table() {
    for table in tables::ALL {
        for event_kind in table.events {
            let kind = SampleType::named(event_kind.name).unwrap();
            assert!(template::is_known(event_kind.name), "{}", event_kind.name);
            for seed in 0..300 {
                let member = founder(seed);
                let event = member.event(kind, at(0), seed);
                let read = parse(&event, at(0));
                let name = format!("{} of seed {seed}", event_kind.name);
                assert_eq!(read.change.table, *table, "{name}");
                assert_eq!(read.change.clerk_id, member.object_id(kind), "{name}");
                assert!(
                    read.change.clerk_id.as_str().starts_with(table.id_prefix),
                    "{name}"
                );
                let deleted_at = event_kind.deletes.then_some(at(0));
                assert_eq!(read.change.deleted_at, deleted_at, "{name}");
                let profile = read.change.profile.as_ref();
                assert_eq!(profile.is_some(), event_kind.has_profile, "{name}");
            }
        }
    }
}

/// A column that no sample fills shows a template that lacks its field.
#[test]
fn the_samples_of_a_table_fill_every_column() {
    for table in tables::ALL {
        let mut empty: HashSet<_> = table.columns.iter().map(|column| column.name).collect();
        for event_kind in table.events.iter().filter(|kind| kind.has_profile) {
            let kind = SampleType::named(event_kind.name).unwrap();
            for seed in 0..50 {
                let read = parse(&founder(seed).event(kind, at(0), seed), at(0));
                empty.retain(|column| value(&read, column) == Value::Null);
            }
        }
        assert!(empty.is_empty(), "{}: {empty:?}", table.name);
    }
}

#[test]
fn what_is_never_stored_is_in_the_samples_and_not_in_what_is_stored() {
    let mut seen = 0;
    for table in tables::ALL {
        for never in table.never_stored {
            let kind = SampleType::named(table.events[0].name).unwrap();
            let event = founder(5).event(kind, at(0), 0);
            let body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
            assert!(!body["data"][never.field].is_null(), "{}", never.field);
            let read = parse(&event, at(0));
            let data = &read.change.profile.as_ref().unwrap().1.data;
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            let kept = &data[never.field];
            match never.except {
                None => assert!(kept.is_null(), "{}", never.field),
                Some(member) => assert_eq!(
                    *kept,
                    serde_json::json!({member: body["data"][never.field][member]})
                ),
            }
            seen += 1;
        }
    }
    assert!(seen >= 5);
}

#[test]
fn who_joins_again_has_another_membership_of_the_same_organization() {
    let founder = founder(7);
    let member = Member::new(person(8), founder.organization.clone());
    let created = SampleType::named("organizationMembership.created").unwrap();
    let deleted = SampleType::named("organizationMembership.deleted").unwrap();
    let again = member.again(9, at(9));
    let [first, left, second] = [
        parse(&member.event(created, at(0), 0), at(0)),
        parse(&member.event(deleted, at(5), 0), at(5)),
        parse(&again.event(created, at(9), 0), at(9)),
    ];
    assert_eq!(first.change.clerk_id, left.change.clerk_id);
    assert_ne!(first.change.clerk_id, second.change.clerk_id);
    for column in ["organization_id", "user_id"] {
        assert_eq!(value(&first, column), value(&second, column), "{column}");
    }
    // As Clerk's, it carries the version of the last update.
    let updated_at = |event: &Event| event.change.profile.as_ref().unwrap().0.updated_at;
    assert_eq!(updated_at(&left), updated_at(&first));
    assert_eq!(value(&second, "created_at"), Value::Time(at(9)));
}

#[test]
fn a_new_account_has_the_same_addresses_under_another_id() {
    let person = person(7);
    let again = person.with_new_account(8, at(0));
    assert_eq!((again.name(), &again.email), (person.name(), &person.email));
    assert!(again.id != person.id && again.created(at(0)).id != person.created(at(0)).id);
}

/// Fixed for ever, as seeds are: the number was written down when only users were synced.
#[test]
fn the_bodies_of_users_are_those_of_every_release_to_the_byte() {
    let mut bodies = String::new();
    for seed in 0..50 {
        let person = person(seed);
        let events = ["user.created", "user.updated", "user.deleted"]
            .into_iter()
            .chain(["session.created", "email.created"]);
        for kind in events {
            let event = person.event(SampleType::named(kind).unwrap(), at(7), seed);
            bodies += event.id.as_str();
            bodies += std::str::from_utf8(&event.body).unwrap();
        }
    }
    let number = Seeded::of_text(&bodies).number();
    assert_eq!((bodies.len(), number), (516_230, 2_513_402_019_189_490_265));
}
