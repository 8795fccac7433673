//! Random changes to every sample of an event: reading what comes of it never panics, ends in an
//! event or in one of the known errors, and an error holds nothing of the body.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clerk_sync::clerk::{Event, EventType, Rejection, SignedEvent, Timestamp};
use clerk_sync::sample::{Member, Person, SampleType};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use serde_json::value::RawValue;

use super::tree::{Edit, MARKER, MARKER_NUMBER, Tree};
use crate::support::history::{at, event};

/// How far ahead of its delivery the time of an event may lie, in milliseconds.
const AHEAD_MAX_MS: i64 = 24 * 60 * 60 * 1000;

/// Most levels of arrays and objects in what is stored.
const LEVELS_MAX: usize = 6000;

/// A body to be changed: in parts where it has parts.
struct Sample {
    bytes: Vec<u8>,
    tree: Option<Tree>,
}

impl Sample {
    fn new(bytes: Vec<u8>) -> Self {
        let tree = serde_json::from_slice(&bytes)
            .ok()
            .map(|value: Value| Tree::marked("", &value));
        Self { bytes, tree }
    }

    /// Every sample in the repository, the hostile ones too, and the events that `send` makes up.
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
        let files = |folder: &Path| {
            let entries = std::fs::read_dir(folder).unwrap();
            let mut files: Vec<_> = entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file())
                .collect();
            // A folder has no order, and a seed must mean the same on every machine.
            files.sort();
            files.into_iter().map(|path| std::fs::read(path).unwrap())
        };
        let founder = Member::founder(Person::generate(7, at(-1000)));
        let made_up = SampleType::all().map(|kind| founder.event(kind, at(0), 1).body.to_vec());
        let bodies = files(&folder)
            .chain(files(&folder.join("hostile")))
            .chain(made_up);
        bodies.map(Self::new).collect()
    }

    fn changed(&self, edits: &[Edit], faults: &[Fault]) -> Vec<u8> {
        let mut body = match &self.tree {
            Some(tree) if !edits.is_empty() => {
                let mut tree = tree.clone();
                edits.iter().for_each(|edit| edit.apply(&mut tree));
                tree.text().into_bytes()
            }
            _ => self.bytes.clone(),
        };
        faults.iter().for_each(|fault| fault.apply(&mut body));
        body
    }
}

/// One change to bytes that does not ask what they mean.
#[derive(Debug, Clone)]
enum Fault {
    Flip(Index, u8),
    Truncate(Index),
    Insert(Index, &'static [u8]),
    /// Removes a range, or writes it twice.
    Range(Index, Index, bool),
}

impl Fault {
    fn any() -> impl Strategy<Value = Self> {
        let inserted: Vec<&[u8]> = vec![
            MARKER.as_bytes(),
            b"\xff",
            b"\xc3\x28",
            b"\xed\xa0\x80",
            b"\xef\xbb\xbf",
            b"\0",
            b"\"",
            b"\\",
            b"\\u",
            b"\\u0000",
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"\n",
            b"0",
            b"e9",
            b"null",
        ];
        prop_oneof![
            2 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, bit)),
            1 => any::<Index>().prop_map(Self::Truncate),
            4 => (any::<Index>(), select(inserted)).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            1 => (any::<Index>(), any::<Index>(), any::<bool>()).prop_map(|(at, to, twice)| Self::Range(at, to, twice)),
        ]
    }

    fn apply(&self, body: &mut Vec<u8>) {
        let ends = body.len() + 1;
        match self {
            Self::Flip(..) if body.is_empty() => {}
            Self::Flip(at, bit) => *at.get_mut(body) ^= 1 << bit,
            Self::Truncate(at) => body.truncate(at.index(ends)),
            Self::Insert(at, bytes) => {
                let at = at.index(ends);
                body.splice(at..at, bytes.iter().copied());
            }
            Self::Range(one, other, twice) => {
                let (one, other) = (one.index(ends), other.index(ends));
                let range = one.min(other)..one.max(other);
                let copy = if *twice {
                    body[range.clone()].repeat(2)
                } else {
                    Vec::new()
                };
                body.splice(range, copy);
            }
        }
    }
}

#[test]
fn random_bodies_are_read_or_refused_in_words_that_hold_nothing_of_them() {
    let samples = Sample::all();
    assert!(
        samples.len() >= 60,
        "only {} samples were found",
        samples.len()
    );
    let (ends, texts) = (
        RefCell::new(BTreeMap::<_, u32>::new()),
        RefCell::new(BTreeSet::new()),
    );
    let faults = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(Fault::any(), 1..4)];
    let cases = (
        any::<Index>(),
        prop::collection::vec(Edit::any(), 0..5),
        faults,
    );
    let holds = |(which, edits, faults): (Index, Vec<Edit>, Vec<Fault>)| {
        let body = which.get(&samples).changed(&edits, &faults);
        let event = event("msg_fuzz", body);
        let read = event.parse();
        check_agreement(&event, &read)?;
        let end = match &read {
            Ok(read) => {
                check_event(&event, read)?;
                if read.change.profile.is_some() {
                    "profile"
                } else {
                    "delete"
                }
            }
            Err(rejection) => {
                let text = rejection.to_string();
                check_refusal(rejection, &text)?;
                texts
                    .borrow_mut()
                    .insert(text.replace(|letter: char| letter.is_ascii_digit(), ""));
                rejection.code()
            }
        };
        *ends.borrow_mut().entry(end).or_default() += 1;
        Ok(())
    };
    super::runner(20_000).run(&cases, holds).unwrap();
    let (ends, texts) = (ends.into_inner(), texts.into_inner());
    assert!(
        ends.len() == 8 && ends.values().all(|count| *count >= 20),
        "not every end was reached: {ends:?}"
    );
    // Faults of JSON, IDs, times and texts, as many as there are in `clerk`: more would hold
    // something of the body.
    assert!(
        texts.len() <= 22,
        "an error depends on the body: {texts:#?}"
    );
}

/// The type that decides the way of an event, and the user that a failed one is filed under, are
/// those of the whole reading.
fn check_agreement(
    event: &SignedEvent,
    read: &Result<Event, Rejection>,
) -> Result<(), TestCaseError> {
    let is_unreadable = matches!(read, Err(Rejection::NotJson(_) | Rejection::MissingType));
    prop_assert_eq!(
        *event.event_type() == EventType::Unreadable,
        is_unreadable,
        "{:?}",
        read
    );
    let is_of_another_type = matches!(read, Err(Rejection::UnsupportedType));
    prop_assert_eq!(
        matches!(event.event_type(), EventType::Other(_)),
        is_of_another_type,
        "{:?}",
        read
    );
    let id = event.clerk_id();
    if let Some(id) = &id {
        prop_assert!(
            !id.as_str().contains('\0') && (1..=255).contains(&id.as_str().chars().count())
        );
    }
    match read {
        Ok(read) => prop_assert_eq!(id, Some(read.change.clerk_id.clone())),
        Err(Rejection::InvalidId(_) | Rejection::NotJson(_)) => prop_assert_eq!(id, None),
        Err(_) => {}
    }
    Ok(())
}

fn check_refusal(rejection: &Rejection, text: &str) -> Result<(), TestCaseError> {
    let codes = [
        "not_json",
        "missing_type",
        "unsupported_type",
        "invalid_id",
        "implausible_time",
        "unstorable",
    ];
    prop_assert!(codes.contains(&rejection.code()), "{}", rejection.code());
    let holds_marker = text.contains(&MARKER[..2]) || text.contains(MARKER_NUMBER);
    prop_assert!(!holds_marker && text.len() <= 150, "{}", text);
    Ok(())
}

/// A parsed body can be stored, and another JSON parser reads the same values.
fn check_event(event: &SignedEvent, read: &Event) -> Result<(), TestCaseError> {
    let is_plausible = |time: Timestamp| time.ms() <= event.sent_at().ms() + AHEAD_MAX_MS;
    prop_assert!(is_plausible(read.occurred_at));
    // It refuses more than ours: deep levels, 1e400, and half a surrogate pair beside the user.
    let other: Option<Value> = serde_json::from_slice(event.body()).ok();
    if let Some(other) = &other {
        prop_assert_eq!(
            Some(read.change.clerk_id.as_str()),
            other["data"]["id"].as_str()
        );
    }
    let Some((version, profile)) = &read.change.profile else {
        return Ok(());
    };
    prop_assert!(is_plausible(version.updated_at));
    prop_assert!(
        serde_json::from_str::<&RawValue>(&profile.data).is_ok(),
        "data is no JSON"
    );
    // The object itself is a level too.
    let is_too_deep = ["[", "{\"a\":"]
        .iter()
        .any(|open| profile.data.contains(&open.repeat(LEVELS_MAX)));
    prop_assert!(!is_too_deep, "no database takes that many levels");
    prop_assert!(
        profile
            .values
            .iter()
            .filter_map(|value| value.as_text())
            .all(|text| !text.contains('\0')),
        "{:?}",
        profile
    );
    if let Some(other) = &other {
        let object = &other["data"];
        let value = |column| read.change.value(column);
        for column in ["first_name", "last_name", "role_name"] {
            if let Some(value) = value(column) {
                prop_assert_eq!(value.as_text(), object[column].as_str());
            }
        }
        if let Some(value) = value("banned") {
            prop_assert_eq!(value.as_bool(), object["banned"].as_bool());
        }
        let metadata = "public_metadata";
        prop_assert_eq!(
            value(metadata).is_some_and(|value| value.as_json().is_some()),
            object[metadata].is_object()
        );
    }
    Ok(())
}
