//! A million requests with forged signatures, each close to a genuine one: none is accepted.

use std::thread;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD, URL_SAFE};
use clerk_sync::clerk::SignatureError;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::genuine::{Genuine, Request, now_s, receive, verifier};

/// How many are refused by their signature alone; those that their headers give away come on top.
const FORGERIES: u32 = 1_000_000;
const THREADS: u32 = 2;

/// The results of one thread.
#[derive(Default)]
struct Seen {
    /// Refused before any signature was looked at.
    by_headers: u32,
    by_signature: u32,
    /// Changed, but the same in meaning, and accepted.
    genuine: u32,
}

#[test]
fn one_million_forged_signatures_are_all_refused() {
    let seed = super::seed();
    let seen: Vec<Seen> = thread::scope(|scope| {
        let attack = |thread| scope.spawn(move || attack(seed.wrapping_add(thread)));
        let threads: Vec<_> = (0..u64::from(THREADS)).map(attack).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a forgery was accepted"))
            .collect()
    });
    let total = |count: fn(&Seen) -> u32| seen.iter().map(count).sum::<u32>();
    let (by_headers, by_signature, genuine) = (
        total(|seen| seen.by_headers),
        total(|seen| seen.by_signature),
        total(|seen| seen.genuine),
    );
    println!(
        "{by_headers} refused by their headers, {by_signature} by their signature; {genuine} were genuine"
    );
    assert_eq!(by_signature, FORGERIES);
    assert!(
        genuine > FORGERIES / 1000,
        "a verifier that refuses everything would pass"
    );
}

fn attack(seed: u64) -> Seen {
    let mut rng = StdRng::seed_from_u64(seed);
    let (all, verifier) = (Genuine::all(), verifier());
    let mut seen = Seen::default();
    while seen.by_signature < FORGERIES / THREADS {
        let mut request = all.choose(&mut rng).unwrap().request.clone();
        for _ in 0..rng.random_range(1..4) {
            forge(&mut rng, &mut request, &all);
        }
        let is_genuine = all.iter().any(|genuine| genuine.is_said_by(&request));
        let headers = [
            ("svix-id", &*request.id),
            ("svix-timestamp", &*request.timestamp),
            ("svix-signature", &*request.signature),
        ];
        match (
            receive(&verifier, headers.into_iter(), &request.body),
            is_genuine,
        ) {
            (Ok(_), true) => seen.genuine += 1,
            (Err(SignatureError::InvalidSignature), false) => seen.by_signature += 1,
            (Err(_), false) => seen.by_headers += 1,
            (answer, _) => panic!("genuine: {is_genuine}, answer: {answer:?}, {request:?}"),
        }
    }
    seen
}

/// One change to the request.
fn forge(rng: &mut StdRng, request: &mut Request, all: &[Genuine]) {
    match rng.random_range(0..12) {
        0 => spoil(rng, &mut request.id),
        1 => spoil(rng, &mut request.timestamp),
        2 | 3 => spoil(rng, &mut request.body),
        4 => spoil(rng, &mut request.signature),
        5 => write_another_id(rng, &mut request.id),
        6 => write_another_time(rng, &mut request.timestamp),
        7..=9 => write_another_signature(rng, request, all),
        10 => take_from_another(rng, request, all),
        _ => move_the_boundaries(rng, request),
    }
}

/// A flipped bit, a byte more or less, an end cut off, two bytes exchanged.
fn spoil(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let place = rng.random_range(0..=bytes.len());
    let is_inside = place < bytes.len();
    match rng.random_range(0..6) {
        0 if is_inside => bytes[place] ^= 1 << rng.random_range(0..8),
        1 if is_inside => _ = bytes.remove(place),
        2 if is_inside => bytes.swap(place, 0),
        3 => bytes.truncate(place),
        4 => bytes.insert(place, rng.random()),
        _ => bytes.insert(place, *b" .,=0v\t\n\0".choose(rng).unwrap()),
    }
}

/// Another ID of the characters that are allowed, so that only the signature shows it.
fn write_another_id(rng: &mut StdRng, id: &mut Vec<u8>) {
    let letter = *b"abcXYZ019_-".choose(rng).unwrap();
    if id.is_empty() || rng.random() {
        id.push(letter);
    } else {
        let place = rng.random_range(0..id.len());
        id[place] = letter;
    }
}

/// Another time that is near enough, or the same time written otherwise.
fn write_another_time(rng: &mut StdRng, timestamp: &mut Vec<u8>) {
    let near = (now_s() + rng.random_range(-310..310))
        .to_string()
        .into_bytes();
    let same = timestamp.clone();
    *timestamp = match rng.random_range(0..10) {
        0 => [b"0", &*same].concat(),
        1 => [b"+", &*same].concat(),
        2 => [&*same, b".0"].concat(),
        3 => [&*same, b"000"].concat(),
        _ => near,
    };
}

/// Signatures that are nearly right, or right but written otherwise.
fn write_another_signature(rng: &mut StdRng, request: &mut Request, all: &[Genuine]) {
    // That of the request's own body where there is one: the others would not be close.
    let own = all
        .iter()
        .find(|genuine| genuine.request.body == request.body);
    let genuine = own.unwrap_or_else(|| all.choose(rng).unwrap());
    let (tag, encoded) = (&genuine.tag, BASE64.encode(&genuine.tag));
    request.signature = match rng.random_range(0..14) {
        0 => format!("v1,{}", URL_SAFE.encode(tag)),
        1 => format!("v1,{}", STANDARD_NO_PAD.encode(tag)),
        2 => format!("v1,{encoded}="),
        3 => format!("v1,{}", with_trailing_bits(rng, &encoded)),
        4 => format!("v1,{}", BASE64.encode(spoilt(rng, tag))),
        5 => format!("v1,{}", BASE64.encode(rng.random::<[u8; 32]>())),
        6 => format!(
            "v1,{}",
            tag.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        ),
        7 => format!("v1,{}", encoded.to_ascii_lowercase()),
        8 => format!(
            "{},{encoded}",
            ["v2", "v1a", "V1", "v0", "v11", "v1,v1", "v1\t", "1", ""]
                .choose(rng)
                .unwrap()
        ),
        9 => format!(
            "v1{}{encoded}",
            [".", ":", "=", ", ", " ,", ",,", ""].choose(rng).unwrap()
        ),
        10 => genuine.of_another_secret.clone(),
        11 => format!(
            "{} v1,{encoded}",
            all.choose(rng).unwrap().of_another_secret
        ),
        12 => format!("v1,{}", BASE64.encode(&all.choose(rng).unwrap().tag)),
        _ => {
            let between = [" ", "  ", ",", ";", "\t", "\n", ""].choose(rng).unwrap();
            let more = ["v1,AAAA", "v2,x", "v1a,abcd", "v1,"].choose(rng).unwrap();
            let pair = [
                format!("v1,{encoded}{between}{more}"),
                format!("{more}{between}v1,{encoded}"),
            ];
            pair.choose(rng).unwrap().clone()
        }
    }
    .into();
}

/// The last letter before the padding stands for 4 bits of the signature; here its 2 others are set
/// too.
fn with_trailing_bits(rng: &mut StdRng, encoded: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (front, last) = encoded.trim_end_matches('=').split_at(42);
    let value = LETTERS
        .iter()
        .position(|letter| last.as_bytes() == [*letter])
        .unwrap();
    format!(
        "{front}{}=",
        char::from(LETTERS[value + rng.random_range(1..4)])
    )
}

fn spoilt(rng: &mut StdRng, tag: &[u8]) -> Vec<u8> {
    let mut tag = tag.to_vec();
    spoil(rng, &mut tag);
    tag
}

fn take_from_another(rng: &mut StdRng, request: &mut Request, all: &[Genuine]) {
    let other = &all.choose(rng).unwrap().request;
    match rng.random_range(0..6) {
        0 => request.id.clone_from(&other.id),
        1 => request.timestamp.clone_from(&other.timestamp),
        2 => request.body.clone_from(&other.body),
        3 => request.signature.clone_from(&other.signature),
        4 => std::mem::swap(&mut request.id, &mut request.timestamp),
        _ => std::mem::swap(&mut request.id, &mut request.body),
    }
}

/// Keeps the signed bytes, and moves the boundaries between ID, timestamp and body.
fn move_the_boundaries(rng: &mut StdRng, request: &mut Request) {
    let signed = [&*request.id, &*request.timestamp, &*request.body].join(&b'.');
    let dots: Vec<usize> = (0..signed.len())
        .filter(|place| signed[*place] == b'.')
        .collect();
    let first = rng.random_range(0..dots.len() - 1);
    let second = if rng.random() {
        first + 1
    } else {
        rng.random_range(first + 1..dots.len())
    };
    let (first, second) = (dots[first], dots[second]);
    request.id = signed[..first].into();
    request.timestamp = signed[first + 1..second].into();
    request.body = signed[second + 1..].into();
}
