//! Random query strings of `/api/events` and `/api/users`: each is read, or refused in words that
//! hold nothing of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write;

use clerk_sync::http::api::{read_events_query, read_users_query};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::history::at;

/// Stands in what is asked; no pair of letters of it may stand in an answer.
const MARKER: &str = "zqzqzqzq";

/// Longest text of a refusal, in bytes.
const REFUSAL_MAX: usize = 200;

const NAMES: [&str; 16] = [
    "status",
    "event_type",
    "clerk_id",
    "since",
    "until",
    "limit",
    "cursor",
    "email",
    "phone",
    "username",
    "external_id",
    "deleted",
    "ids",
    "fields",
    // Older names.
    "type",
    "user",
];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => select(&NAMES[..]).prop_map(str::to_owned),
        1 => select(vec!["", "Status", "limit ", "limit[]", "statu\u{17f}"]).prop_map(|name| format!("{name}{MARKER}")),
        1 => ".{0,10}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    let right = vec![
        "failed",
        "applied",
        "true",
        "any",
        "7",
        "500",
        "2026-11-23",
        "15m",
        "e.5.msg_1",
        "u.user_1",
        "clerk_id,event_id",
    ];
    let wrong = vec![
        "501",
        "-1",
        "0",
        "4294967296",
        "1e3",
        "e.",
        "u.",
        "e.0.x",
        "e.9223372036854775808.m",
        "é",
        "ｄ",
        "-",
        "d",
        "99999999999d",
        "4294967295d",
        "0000-00-00",
        "262142-12-31",
        "-262143-01-01",
        "2026-11-23T23:59:60Z",
        "9999-12-31T23:59:59+24:00",
        "\0",
    ];
    let date = (-99_999..99_999_i64, 0..99_u8, 0..99_u8)
        .prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}"));
    prop_oneof![
        3 => select(right).prop_map(str::to_owned),
        3 => select(wrong).prop_map(str::to_owned),
        1 => select(wrong_with_marker()),
        1 => date,
        1 => (any::<i64>(), ".{0,3}").prop_map(|(number, rest)| format!("{number}{rest}")),
        1 => ".{0,40}".prop_map(|text| format!("{MARKER}{text}")),
        1 => (1..3000_usize).prop_map(|times| MARKER.repeat(times)),
    ]
}

fn wrong_with_marker() -> Vec<String> {
    [
        "",
        "failed,",
        "u.",
        "e.5.",
        "e.",
        "2026-11-23T",
        "\0",
        "a@b.c\0",
    ]
    .map(|start| format!("{start}{MARKER}"))
    .to_vec()
}

/// Every byte that needs it is escaped, and where `all` says so every other one too.
/// With `+` for the one of space and plus that it stands for there.
fn escape(text: &str, all: bool, plus: u8) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' if !all => escaped.push(char::from(byte)),
            _ if byte == plus && !all => escaped.push('+'),
            _ => write!(escaped, "%{byte:02X}").unwrap(),
        }
    }
    escaped
}

fn pairs(
    name: impl Strategy<Value = String>,
) -> impl Strategy<Value = Vec<(String, String, bool)>> {
    prop::collection::vec((name, value(), any::<bool>()), 0..5)
}

fn written(pairs: &[(String, String, bool)]) -> String {
    let pair = |(name, value, all): &(String, String, bool)| {
        let has_plus = matches!(name.as_str(), "email" | "phone" | "q");
        let value = escape(value, *all, if has_plus { b'+' } else { b' ' });
        // An escaped name of ours means the same, but no client escapes it.
        format!("{}={value}", escape(name, *all && !has_plus, b' '))
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// Pairs as they should be, pairs that are not escaped, with pieces of escapes between, or nothing
/// of the kind.
fn query() -> impl Strategy<Value = String> {
    let unescaped = |pairs: Vec<(String, String, bool)>| {
        pairs
            .into_iter()
            .map(|(name, value, _)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&")
    };
    let piece = select(vec![
        "%",
        "%0",
        "%zz",
        "%ff",
        "%00",
        "%C3%28",
        "%ED%A0%80",
        "&",
        "&&",
        "=",
        ";",
        "+",
        "#",
        "?",
        "\0",
    ]);
    let broken = (pairs(name()), pairs(name()), piece).prop_map(move |(one, other, piece)| {
        format!("{}{piece}{}", written(&one), unescaped(other))
    });
    prop_oneof![
        4 => pairs(name()).prop_map(|pairs| written(&pairs)),
        2 => pairs(name()).prop_map(unescaped),
        2 => broken,
        1 => ".{0,60}",
    ]
}

#[test]
fn random_query_strings_are_read_or_refused_in_words_that_hold_nothing_of_them() {
    let (refusals, read) = (RefCell::new(BTreeSet::new()), RefCell::new(0));
    let holds = |query: String| {
        let (events, users) = (read_events_query(&query, at(0)), read_users_query(&query));
        let pages = [
            events.as_ref().map(|(_, page)| page).ok(),
            users.as_ref().map(|(_, page)| page).ok(),
        ];
        for page in pages.into_iter().flatten() {
            prop_assert!(page.limit.get() <= 500);
            *read.borrow_mut() += 1;
        }
        for problem in [events.err(), users.err()].into_iter().flatten() {
            prop_assert_eq!(problem.code().name(), "invalid_request");
            let text = problem.to_string();
            prop_assert!(
                text.len() <= REFUSAL_MAX && !text.contains(&MARKER[..2]),
                "{}",
                text
            );
            refusals.borrow_mut().insert(text);
        }
        Ok(())
    };
    super::runner(20_000).run(&query(), holds).unwrap();
    let (refusals, read) = (refusals.into_inner(), read.into_inner());
    // Two for an unknown name, one for a string that cannot be read, and at most two for each name
    // that is known.
    assert!(
        (10..=3 + 2 * NAMES.len()).contains(&refusals.len()),
        "a refusal depends on what was asked: {refusals:#?}"
    );
    assert!(
        read > 1000,
        "nearly everything was refused: {read} were read"
    );
}

/// Values are read as they were sent, in any escaping; of a repeated name, the last one counts.
/// Only NUL is refused.
#[test]
fn random_texts_come_out_of_a_query_string_as_they_went_in() {
    let texts = ["email", "phone", "username", "external_id"];
    let holds = |pairs: Vec<(String, String, bool)>| {
        let query = written(&pairs);
        let answer = read_users_query(&query);
        let holds_nul = pairs.iter().any(|(_, value, _)| value.contains('\0'));
        prop_assert_eq!(answer.is_err(), holds_nul, "{}", query);
        let Ok((filter, _)) = answer else {
            return Ok(());
        };
        let read = [
            filter.email,
            filter.phone,
            filter.username,
            filter.external_id,
        ];
        for (name, read) in texts.iter().zip(read) {
            let last = pairs
                .iter()
                .rev()
                .find(|pair| pair.0 == *name)
                .map(|pair| pair.1.clone());
            prop_assert_eq!(read, last, "{}", name);
        }
        Ok(())
    };
    let names = select(texts.to_vec()).prop_map(str::to_owned);
    super::runner(5000).run(&pairs(names), holds).unwrap();
}
