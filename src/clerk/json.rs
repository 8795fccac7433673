//! Lenient reading of JSON: fields by name, values as they came, and what no database can hold.
//!
//! Clerk's events differ from its published types, so a field of another shape is no error here: it
//! counts as missing. If a name occurs twice the last one counts, as in JavaScript and in
//! PostgreSQL's jsonb.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, read in one pass.
pub struct Object<'a>(Vec<Member<'a>>);

/// A name and its value.
pub struct Member<'a> {
    /// The name without its escapes. A name that is not valid text is kept as it was received, so
    /// it equals no other.
    pub name: Cow<'a, str>,
    /// As it came: half of a surrogate pair in one name must not make the others unreadable.
    raw_name: &'a RawValue,
    pub value: &'a RawValue,
}

impl<'a> Object<'a> {
    /// Reads the members.
    ///
    /// # Errors
    /// Fails if `json` is not an object, or if more text follows the object.
    pub fn read(json: &'a str) -> Result<Self, serde_json::Error> {
        Self::with_capacity(json, (json.len() / BYTES_PER_MEMBER).min(MEMBERS_MAX))
    }

    /// Reads the members of Clerk's outer object, which are few.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_outer(json: &'a str) -> Result<Self, serde_json::Error> {
        Self::with_capacity(json, OUTER_MEMBERS)
    }

    fn with_capacity(json: &'a str, capacity: usize) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let object = reader.deserialize_map(Members { capacity })?;
        reader.end()?;
        Ok(object)
    }

    /// The value of a field. Returns `None` if there is none of this name.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let mut members = self.0.iter().rev();
        Some(members.find(|member| member.name == name)?.value)
    }

    /// The members, in their order.
    pub fn members(&self) -> &[Member<'a>] {
        &self.0
    }

    /// Removes the members of which `keep` is false; whether there was any.
    pub fn retain(&mut self, keep: impl Fn(&Member<'a>) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(keep);
        self.0.len() < before
    }

    /// The object as text, with other values in the place of those that `replaced` returns one for.
    /// Everything else stays as it came.
    pub fn write<'b>(&self, replaced: impl Fn(usize) -> Option<&'b str>) -> String {
        let mut text = String::from("{");
        for (place, member) in self.0.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            text += member.raw_name.get();
            text.push(':');
            text += replaced(place).unwrap_or(member.value.get());
        }
        text.push('}');
        text
    }
}

/// Calls `each` with every element of the array `json`. A value that is no array has no elements.
pub fn for_each_element<'a>(json: &'a RawValue, each: impl FnMut(&'a RawValue)) {
    let _not_an_array =
        serde_json::Deserializer::from_str(json.get()).deserialize_seq(Elements(each));
}

/// The value. Returns `None` if it is of another type, has a fraction or does not fit.
pub fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// The value's own text. Returns `None` if it is no object.
pub fn object(value: &RawValue) -> Option<&str> {
    Some(value.get()).filter(|text| text.starts_with('{'))
}

/// The value's own text. Returns `None` if it is no array of texts.
pub fn texts(value: &RawValue) -> Option<&str> {
    read::<Vec<Cow<'_, str>>>(value).map(|_| value.get())
}

/// Most levels of arrays and objects in a stored document: half of what PostgreSQL 15 reads as
/// jsonb with its default `max_stack_depth` of 2 MB (13,000 go in, 14,000 are error 54001). Both
/// databases get the same limit.
const DEPTH_MAX: usize = 6_000;

/// Checks whether both databases can store the valid JSON text `json`.
///
/// # Errors
/// Says why none can. PostgreSQL's text and jsonb have no NUL character and no half of a surrogate
/// pair; JSON can write both.
pub fn check_storable(json: &str) -> Result<(), &'static str> {
    const HALF: &str = "it holds half of a surrogate pair";
    if json.len() > DEPTH_MAX && depth(json) > DEPTH_MAX {
        return Err("it is nested more than 6,000 levels deep");
    }
    let mut rest = json;
    while let Some(start) = rest.find('\\') {
        let escape = &rest[start..];
        let length = match code_unit(escape) {
            // In valid JSON every backslash has a partner: skip both.
            None => 2,
            Some(0) => return Err("it holds the character NUL (\\u0000)"),
            Some(0xD800..=0xDBFF) => match escape.get(6..).and_then(code_unit) {
                Some(0xDC00..=0xDFFF) => 12,
                _ => return Err(HALF),
            },
            Some(0xDC00..=0xDFFF) => return Err(HALF),
            Some(_) => 6,
        };
        rest = &escape[length..];
    }
    Ok(())
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

/// What a name stands for.
fn text_of(name: &RawValue) -> Cow<'_, str> {
    let raw = name.get();
    match raw
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        _ => serde_json::from_str(raw).map_or(Cow::Borrowed(raw), Cow::Owned),
    }
}

/// A name as it came: serde_json reads a name as text unless it is asked for through a type of its
/// own.
#[derive(Deserialize)]
struct RawName<'a>(#[serde(borrow)] &'a RawValue);

/// Room is made at once for as many members as Clerk's objects have.
struct Members {
    capacity: usize,
}

const BYTES_PER_MEMBER: usize = 32;
const MEMBERS_MAX: usize = 64;
const OUTER_MEMBERS: usize = 8;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(self.capacity);
        while let Some((RawName(raw_name), value)) = map.next_entry()? {
            members.push(Member {
                name: text_of(raw_name),
                raw_name,
                value,
            });
        }
        Ok(Object(members))
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
        let object = Object::read(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(object.get("a").and_then(read), Some(3));
    }

    #[test]
    fn a_name_that_is_no_text_hides_no_other() {
        let object = Object::read(r#"{"a\ud800":1,"p\u0061id":2,"\"":3,"":4}"#).unwrap();
        let names: Vec<_> = object
            .members()
            .iter()
            .map(|member| &*member.name)
            .collect();
        assert_eq!(names, [r#""a\ud800""#, "paid", "\"", ""]);
    }

    #[test]
    fn text_after_the_object_is_an_error() {
        assert!(Object::read("{} {}").is_err());
        assert!(Object::read("null").is_err());
    }

    #[test]
    fn check_storable_finds_nul_and_half_pairs_and_leaves_their_look_alikes() {
        for fine in [
            r#"{"a":"\u0001"}"#,
            r#"{"a":"\\u0000"}"#,
            r#"{"a":"\ud83d\ude00"}"#,
            r#"{"a":"\\ud83d"}"#,
            r#"{"a":"é\n\"\\"}"#,
        ] {
            assert_eq!(check_storable(fine), Ok(()), "{fine}");
        }
        for bad in [
            r#"{"a":"\u0000"}"#,
            r#"{"\u0000":1}"#,
            r#"{"a":"\\\u0000"}"#,
            r#"{"a":"\ud83d"}"#,
            r#"{"a":"\ud83d\ud83d\ude00"}"#,
            r#"{"a":"\ude00\ud83d"}"#,
        ] {
            assert!(check_storable(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn check_storable_counts_levels_but_not_brackets_in_text() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(check_storable(&nested(DEPTH_MAX)), Ok(()));
        assert!(check_storable(&nested(DEPTH_MAX + 1)).is_err());
        let in_text = format!("\"{}\\\"{}\"", "[".repeat(DEPTH_MAX), "{".repeat(DEPTH_MAX));
        assert_eq!(check_storable(&in_text), Ok(()));
    }
}
