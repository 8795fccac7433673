//! Lenient reading of JSON: fields by name, values as they came, and what no database can hold.
//!
//! Clerk's events differ from its published types, so nothing here fails for a field of another shape: it is just not
//! there. Where a name occurs twice the last one counts, as in JavaScript and in PostgreSQL's jsonb.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Calls `each` with every name and value of the object `json`. Fails when `json` is no object.
pub fn for_each_field<'a>(
    json: &'a str,
    mut each: impl FnMut(&str, &'a RawValue),
) -> Result<(), serde_json::Error> {
    for_each_member(json, |name, value| each(&name.text(), value))
}

/// The same with the names as they came.
pub fn for_each_member<'a>(
    json: &'a str,
    each: impl FnMut(Name<'a>, &'a RawValue),
) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_map(Fields(each))?;
    reader.end()
}

/// Calls `each` with every element of the array `json`, as long as it is an array.
pub fn for_each_element<'a>(json: &'a RawValue, each: impl FnMut(&'a RawValue)) {
    // A value that is no array has no elements: that is the lenient reading, so the error says nothing more.
    let _not_an_array =
        serde_json::Deserializer::from_str(json.get()).deserialize_seq(Elements(each));
}

/// The value as text, or nothing where it is of another type.
pub fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The value as a truth value, or nothing where it is of another type.
pub fn truth(value: &RawValue) -> Option<bool> {
    serde_json::from_str(value.get()).ok()
}

/// The value as an integer, or nothing where it is of another type, has a fraction or does not fit in 64 bits.
pub fn integer(value: &RawValue) -> Option<i64> {
    serde_json::from_str(value.get()).ok()
}

/// The value's own text where it is an object.
pub fn object(value: &RawValue) -> Option<&str> {
    Some(value.get()).filter(|text| text.starts_with('{'))
}

pub fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Most levels of arrays and objects in a stored document: half of what PostgreSQL 15 reads as jsonb with its default
/// `max_stack_depth` of 2 MB (13,000 go in, 14,000 are error 54001). Both databases get the same limit.
const DEPTH_MAX: usize = 6_000;

/// Why no database could hold the valid JSON text `json`, or nothing where both could.
///
/// PostgreSQL's text and jsonb have no NUL character and no half of a surrogate pair; JSON can write both.
pub fn unstorable(json: &str) -> Option<&'static str> {
    if json.len() > DEPTH_MAX && depth(json) > DEPTH_MAX {
        return Some("it is nested more than 6,000 levels deep");
    }
    let mut rest = json;
    while let Some(start) = rest.find('\\') {
        let escape = &rest[start..];
        let (found, length) = match code_unit(escape) {
            // In valid JSON every backslash has a partner: skip both.
            None => (None, 2),
            Some(0) => (Some("it holds the character NUL (\\u0000)"), 6),
            Some(0xD800..=0xDBFF) => match escape.get(6..).and_then(code_unit) {
                Some(0xDC00..=0xDFFF) => (None, 12),
                _ => (Some("it holds half of a surrogate pair"), 6),
            },
            Some(0xDC00..=0xDFFF) => (Some("it holds half of a surrogate pair"), 6),
            Some(_) => (None, 6),
        };
        if found.is_some() {
            return found;
        }
        rest = &escape[length..];
    }
    None
}

/// The UTF-16 code unit that a `\uXXXX` at the start of `text` stands for.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

/// Levels of arrays and objects in valid JSON.
fn depth(json: &str) -> usize {
    let (mut level, mut deepest) = (0_usize, 0);
    let mut in_text = false;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' if !in_text => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A name in an object. Read as it came: half of a surrogate pair in one name must not make the others unreadable.
#[derive(Clone, Copy, Deserialize)]
pub struct Name<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> Name<'a> {
    /// As it came, quotes and escapes and all.
    pub fn raw(self) -> &'a str {
        self.0.get()
    }

    /// What it stands for. One that stands for no text is given as it came, and so is like no other.
    pub fn text(self) -> Cow<'a, str> {
        let raw = self.raw();
        match raw
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
        {
            Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
            _ => serde_json::from_str(raw).map_or(Cow::Borrowed(raw), Cow::Owned),
        }
    }
}

struct Fields<F>(F);

impl<'de, F: FnMut(Name<'de>, &'de RawValue)> Visitor<'de> for Fields<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry()? {
            (self.0)(name, value);
        }
        Ok(())
    }
}

struct Elements<F>(F);

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element()? {
            (self.0)(element);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_occurs_twice_counts_with_its_last_value() {
        let mut seen = None;
        for_each_field(r#"{"a":1,"b":2,"a":3}"#, |name, value| {
            if name == "a" {
                seen = integer(value);
            }
        })
        .unwrap();
        assert_eq!(seen, Some(3));
    }

    #[test]
    fn a_name_that_is_no_text_hides_no_other() {
        let mut names = Vec::new();
        for_each_field(r#"{"a\ud800":1,"p\u0061id":2,"\"":3,"":4}"#, |name, _| {
            names.push(name.to_string())
        })
        .unwrap();
        assert_eq!(names, [r#""a\ud800""#, "paid", "\"", ""]);
    }

    #[test]
    fn text_after_the_object_is_an_error() {
        assert!(for_each_field("{} {}", |_, _| {}).is_err());
        assert!(for_each_field("null", |_, _| {}).is_err());
    }

    #[test]
    fn unstorable_finds_nul_and_half_pairs_and_leaves_their_look_alikes() {
        for fine in [
            r#"{"a":"\u0001"}"#,
            r#"{"a":"\\u0000"}"#,
            r#"{"a":"\ud83d\ude00"}"#,
            r#"{"a":"\\ud83d"}"#,
            r#"{"a":"é\n\"\\"}"#,
        ] {
            assert_eq!(unstorable(fine), None, "{fine}");
        }
        for bad in [
            r#"{"a":"\u0000"}"#,
            r#"{"\u0000":1}"#,
            r#"{"a":"\\\u0000"}"#,
            r#"{"a":"\ud83d"}"#,
            r#"{"a":"\ud83d\ud83d\ude00"}"#,
            r#"{"a":"\ude00\ud83d"}"#,
        ] {
            assert!(unstorable(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn unstorable_counts_levels_but_not_brackets_in_text() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(unstorable(&nested(DEPTH_MAX)), None);
        assert!(unstorable(&nested(DEPTH_MAX + 1)).is_some());
        let in_text = format!("\"{}\\\"{}\"", "[".repeat(DEPTH_MAX), "{".repeat(DEPTH_MAX));
        assert_eq!(unstorable(&in_text), None);
    }
}
