//! Random headers: reading them never panics, and takes only what says the same as a delivery that
//! was signed.

use std::cell::RefCell;
use std::collections::BTreeMap;

use clerk_sync::clerk::SignatureError;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::genuine::{Genuine, Request, now_s, receive, verifier};

type Header = (String, Vec<u8>);

const FAMILIES: [&str; 2] = ["svix", "webhook"];

/// One change to a list of headers.
#[derive(Debug, Clone)]
enum Edit {
    Remove(Index),
    Repeat(Index),
    Exchange(Index, Index),
    Rename(Index, String),
    Write(Index, Vec<u8>),
    /// One byte of a value becomes another.
    Spoil(Index, Index, u8),
    /// More of the same after the value: letters of an ID, or signatures.
    Lengthen(Index, &'static str, usize),
    /// The headers of another genuine delivery, under the names of a family.
    AddGenuine(Index, &'static str),
    Add(String, Vec<u8>),
}

fn name() -> impl Strategy<Value = String> {
    let family = || select(vec!["svix", "webhook", "SVIX", "svix ", "x-svix", ""]);
    let part = select(vec![
        "id",
        "timestamp",
        "signature",
        "ID",
        "id ",
        "signature-2",
        "",
    ]);
    prop_oneof![
        6 => (family(), part).prop_map(|(family, part)| format!("{family}-{part}")),
        1 => ".{0,20}",
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let time = (-400..400_i64).prop_map(|seconds| (now_s() + seconds).to_string().into_bytes());
    let odd = select(vec![
        "",
        " ",
        "0",
        "-1",
        "9223372036854775807",
        "99999999999999999999",
        "v1,",
        "v1",
        ", ,",
        "é",
        "msg.1",
    ]);
    prop_oneof![
        2 => time,
        2 => odd.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => "[ -~]{0,60}".prop_map(String::into_bytes),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        2 => at().prop_map(Edit::Remove),
        1 => at().prop_map(Edit::Repeat),
        2 => (at(), at()).prop_map(|(one, other)| Edit::Exchange(one, other)),
        2 => (at(), name()).prop_map(|(at, name)| Edit::Rename(at, name)),
        2 => (at(), value()).prop_map(|(at, value)| Edit::Write(at, value)),
        2 => (at(), at(), any::<u8>()).prop_map(|(at, place, byte)| Edit::Spoil(at, place, byte)),
        1 => (at(), select(vec!["a", "1", " v1,AAAA"]), 1..1000_usize)
            .prop_map(|(at, more, times)| Edit::Lengthen(at, more, times)),
        2 => (at(), select(&FAMILIES[..])).prop_map(|(which, family)| Edit::AddGenuine(which, family)),
        2 => (name(), value()).prop_map(|(name, value)| Edit::Add(name, value)),
    ]
}

impl Edit {
    fn apply(&self, headers: &mut Vec<Header>, all: &[Genuine]) {
        match self {
            Self::AddGenuine(which, family) => {
                return headers.extend(named(family, &which.get(all).request));
            }
            Self::Add(name, value) => return headers.push((name.clone(), value.clone())),
            _ if headers.is_empty() => return,
            _ => {}
        }
        let count = headers.len();
        match self {
            Self::Remove(at) => _ = headers.remove(at.index(count)),
            Self::Repeat(at) => headers.push(at.get(headers).clone()),
            Self::Exchange(one, other) => headers.swap(one.index(count), other.index(count)),
            Self::Rename(at, name) => headers[at.index(count)].0.clone_from(name),
            Self::Write(at, value) => headers[at.index(count)].1.clone_from(value),
            Self::Spoil(at, place, byte) => {
                let value = &mut headers[at.index(count)].1;
                if !value.is_empty() {
                    *place.get_mut(value) = *byte;
                }
            }
            Self::Lengthen(at, more, times) => headers[at.index(count)]
                .1
                .extend(more.repeat(*times).as_bytes()),
            Self::AddGenuine(..) | Self::Add(..) => unreachable!("they were added above"),
        }
    }
}

fn named(family: &str, request: &Request) -> [Header; 3] {
    [
        ("id", &request.id),
        ("timestamp", &request.timestamp),
        ("signature", &request.signature),
    ]
    .map(|(part, value)| (format!("{family}-{part}"), value.clone()))
}

/// The request that the headers make: Svix's own family, or the other where nothing of that is
/// there, each header once.
fn request(headers: &[Header], body: &[u8]) -> Option<Request> {
    let values = |family: &str, part: &str| -> Vec<&Vec<u8>> {
        let name = format!("{family}-{part}");
        headers
            .iter()
            .filter(|header| header.0 == name)
            .map(|header| &header.1)
            .collect()
    };
    let is_there = |family: &&str| {
        ["id", "timestamp", "signature"]
            .iter()
            .any(|part| !values(family, part).is_empty())
    };
    let family = FAMILIES.into_iter().find(is_there)?;
    let only = |part| match *values(family, part) {
        [value] => Some(value.clone()),
        _ => None,
    };
    Some(Request {
        id: only("id")?,
        timestamp: only("timestamp")?,
        signature: only("signature")?,
        body: body.into(),
    })
}

#[test]
fn random_headers_are_accepted_only_if_they_mean_the_same_as_genuine_ones() {
    let (all, verifier) = (Genuine::all(), verifier());
    let ends = RefCell::new(BTreeMap::<_, u32>::new());
    let cases = (
        any::<Index>(),
        select(&FAMILIES[..]),
        prop::collection::vec(edit(), 0..6),
    );
    let holds = |(which, family, edits): (Index, &str, Vec<Edit>)| {
        let genuine = which.get(&all);
        let mut headers = named(family, &genuine.request).to_vec();
        edits.iter().for_each(|edit| edit.apply(&mut headers, &all));
        let body = &genuine.request.body;

        let pairs = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        let answer = receive(&verifier, pairs, body);
        let expected = request(&headers, body)
            .filter(|read| all.iter().any(|genuine| genuine.is_said_by(read)));
        prop_assert_eq!(
            answer.is_ok(),
            expected.is_some(),
            "{:?} for {:?}",
            answer,
            headers
        );
        if let (Ok(event), Some(expected)) = (&answer, &expected) {
            let seconds = (event.sent_at().ms() / 1000).to_string().into_bytes();
            prop_assert_eq!(event.id().as_str().as_bytes(), &expected.id);
            prop_assert_eq!(
                (&seconds, &event.body()[..]),
                (&expected.timestamp, &expected.body[..])
            );
        }
        *ends.borrow_mut().entry(end(answer.err())).or_default() += 1;
        Ok(())
    };
    super::runner(20_000).run(&cases, holds).unwrap();
    let ends = ends.into_inner();
    assert!(
        ends.len() == 5 && ends.values().all(|count| *count >= 20),
        "not every end was reached: {ends:?}"
    );
}

fn end(error: Option<SignatureError>) -> &'static str {
    match error {
        None => "taken",
        Some(SignatureError::MissingHeader(_)) => "missing header",
        Some(SignatureError::InvalidHeader(..)) => "invalid header",
        Some(SignatureError::TimestampOutOfTolerance(_)) => "out of tolerance",
        Some(SignatureError::InvalidSignature) => "invalid signature",
    }
}
