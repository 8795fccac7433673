//! JSON as a page shows it: one line for each value, and objects and arrays that can be folded.
//!
//! Numbers, escapes, repeated names and their order stay as they came, unless the names are to be
//! sorted. Text from outside keeps its value: a character that hides is shown as JSON escapes it.

use super::view_models::When;
use crate::clerk::Timestamp;
use crate::escape::visible_lines;
use crate::format;
use crate::store::Time;

/// Deepest level, and most values, that are shown as a tree.
const LEVELS_MAX: usize = 32;
const VALUES_MAX: usize = 4000;

/// The times that are shown beside their numbers, from 2010 to 2100, in milliseconds.
const TIMES_MS: std::ops::Range<i64> = 1_262_304_000_000..4_102_444_800_000;

/// A line, or the beginning or end of lines that can be folded.
pub struct Line {
    pub shape: Shape,
    /// The name of the member, in quotes.
    pub name: Option<String>,
    /// A class of the style sheet: `string`, `number`, `word`, or `plain`.
    pub class: &'static str,
    pub text: String,
    /// What stands after it.
    pub comma: &'static str,
    /// The time that the number means.
    pub time: Option<When>,
    /// How many values are in it.
    pub count: String,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A value on a line of its own.
    Leaf,
    /// The bracket that opens an object or an array.
    Open,
    /// The bracket that closes it.
    Close,
}

/// The lines of a valid JSON text. Returns `None` if it is too deep or too long for a tree.
pub fn lines(json: &str, is_sorted: bool, now: Timestamp) -> Option<Vec<Line>> {
    let mut reader = Reader {
        rest: json,
        values: 0,
    };
    let node = reader.value(0)?;
    let mut lines = Lines {
        list: Vec::new(),
        is_sorted,
        now,
    };
    lines.add(None, &node, "");
    Some(lines.list)
}

/// The time that a number means as the value of a member with this name: one of Clerk's, in
/// milliseconds. Its catalogue gives `timestamp` in seconds.
pub fn time_of(name: &str, number: &str, now: Timestamp) -> Option<When> {
    let name = name.trim_matches('"');
    let is_envelope = name == "timestamp";
    if !name.ends_with("_at") && !is_envelope {
        return None;
    }
    let number: i64 = number.parse().ok()?;
    let in_seconds = number.checked_mul(1000).filter(|_| is_envelope);
    let ms = [Some(number), in_seconds].into_iter().flatten();
    let ms = ms.into_iter().find(|ms| TIMES_MS.contains(ms))?;
    Some(When::at(Time(Timestamp::from_ms(ms)?), now))
}

/// A value, in its own text.
enum Node<'a> {
    Scalar(&'a str),
    Array(Vec<Node<'a>>),
    Object(Vec<(&'a str, Node<'a>)>),
}

/// Reads JSON that is known to be valid.
struct Reader<'a> {
    rest: &'a str,
    values: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, level: usize) -> Option<Node<'a>> {
        self.values += 1;
        if level > LEVELS_MAX || self.values > VALUES_MAX {
            return None;
        }
        Some(match self.next()? {
            b'{' => {
                self.take(1);
                let mut members = Vec::new();
                while self.goes_on(b'}')? {
                    let name = self.token();
                    self.goes_on(b':')?;
                    members.push((name, self.value(level + 1)?));
                }
                Node::Object(members)
            }
            b'[' => {
                self.take(1);
                let mut elements = Vec::new();
                while self.goes_on(b']')? {
                    elements.push(self.value(level + 1)?);
                }
                Node::Array(elements)
            }
            _ => Node::Scalar(self.token()),
        })
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.bytes().next()
    }

    /// Skips a comma. Returns false, and skips it too, if `end` comes.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        if self.next()? == b',' {
            self.take(1);
        }
        let is_end = self.next()? == end;
        if is_end {
            self.take(1);
        }
        Some(!is_end)
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        token
    }

    /// A text with its quotes, a number, or a word.
    fn token(&mut self) -> &'a str {
        let length = if self.rest.starts_with('"') {
            length_of_string(self.rest)
        } else {
            let end = |letter: char| matches!(letter, ',' | '}' | ']') || letter.is_whitespace();
            self.rest.find(end).unwrap_or(self.rest.len())
        };
        self.take(length)
    }
}

/// The length in bytes of the string at the start of valid JSON, with its quotes.
fn length_of_string(json: &str) -> usize {
    let mut bytes = json.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

struct Lines {
    list: Vec<Line>,
    is_sorted: bool,
    now: Timestamp,
}

impl Lines {
    fn add(&mut self, name: Option<&str>, node: &Node<'_>, comma: &'static str) {
        match node {
            Node::Scalar(text) => self.leaf(name, text, comma),
            Node::Object(members) if members.is_empty() => self.leaf(name, "{}", comma),
            Node::Array(elements) if elements.is_empty() => self.leaf(name, "[]", comma),
            Node::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if self.is_sorted {
                    // Stable: of a name that occurs twice the last one still counts.
                    members.sort_by_key(|(name, _)| *name);
                }
                let count = format::count(members.len() as u64, "member");
                self.push(Shape::Open, name, "plain", "{", "", count);
                let last = members.len() - 1;
                for (place, (name, node)) in members.into_iter().enumerate() {
                    self.add(Some(name), node, if place < last { "," } else { "" });
                }
                self.push(Shape::Close, None, "plain", "}", comma, String::new());
            }
            Node::Array(elements) => {
                let count = format::count(elements.len() as u64, "element");
                self.push(Shape::Open, name, "plain", "[", "", count);
                let last = elements.len() - 1;
                for (place, node) in elements.iter().enumerate() {
                    self.add(None, node, if place < last { "," } else { "" });
                }
                self.push(Shape::Close, None, "plain", "]", comma, String::new());
            }
        }
    }

    fn leaf(&mut self, name: Option<&str>, text: &str, comma: &'static str) {
        let class = match text.as_bytes().first() {
            Some(b'"') => "string",
            Some(b't' | b'f' | b'n') => "word",
            Some(b'{' | b'[') => "plain",
            _ => "number",
        };
        self.push(Shape::Leaf, name, class, text, comma, String::new());
    }

    fn push(
        &mut self,
        shape: Shape,
        name: Option<&str>,
        class: &'static str,
        text: &str,
        comma: &'static str,
        count: String,
    ) {
        let time = name.filter(|_| class == "number");
        self.list.push(Line {
            shape,
            name: name.map(|name| visible_lines(name).into_owned()),
            class,
            text: visible_lines(text).into_owned(),
            comma,
            time: time.and_then(|name| time_of(name, text, self.now)),
            count,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::MIN;

    /// The text of the lines, as a reader copies it.
    fn text(json: &str, is_sorted: bool) -> String {
        let lines = lines(json, is_sorted, NOW).unwrap();
        let line = |line: &Line| {
            let name = line.name.as_ref().map(|name| format!("{name}: "));
            format!("{}{}{}", name.unwrap_or_default(), line.text, line.comma)
        };
        lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn json_gets_line_breaks_and_loses_nothing() {
        let body = r#"{"b":1.00e400,"b" : [ ],"a":{"c":["x,}\"y",null,true , {}]},"d":-0.10}"#;
        let expected = "{\n\"b\": 1.00e400,\n\"b\": [],\n\"a\": {\n\"c\": [\n\"x,}\\\"y\",\nnull,\ntrue,\n{}\n]\n},\n\"d\": -0.10\n}";
        assert_eq!(text(body, false), expected);
        for scalar in ["1", "\"a\"", " null ", "[]"] {
            assert_eq!(text(scalar, false), scalar.trim());
        }
    }

    #[test]
    fn names_are_sorted_and_their_last_value_stays_the_last() {
        let sorted = text(
            r#"{"b":1,"a":{"z":1,"y":2},"b":2,"\u0061":3,"c":[{"e":1,"d":2}]}"#,
            true,
        );
        let names: Vec<_> = sorted
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            names,
            [
                r#""\u0061""#,
                r#""a""#,
                r#""y""#,
                r#""z""#,
                r#""b""#,
                r#""b""#,
                r#""c""#,
                r#""d""#,
                r#""e""#
            ]
        );
        assert!(sorted.contains("\"b\": 1,\n\"b\": 2"), "{sorted}");
    }

    #[test]
    fn what_is_shown_is_json_with_the_same_value() {
        let body = "{\"a\u{202e}\u{7f}\":\"\\\\\u{200b}\u{e0041}\u{feff}é\",\"n\":\"\\u0000\\ud800\",\"t\":\"\\t\u{85}\"}";
        let shown = text(body, false);
        assert!(
            shown.contains(r#""a\u202e\u007f": "\\\u200b\udb40\udc41\ufeffé""#),
            "{shown}"
        );
        let value = |json: &str| {
            serde_json::from_str::<serde_json::Value>(&json.replace("\\ud800", "")).unwrap()
        };
        assert_eq!(value(&shown), value(body));
    }

    #[test]
    fn a_time_is_shown_beside_its_number() {
        let time = |name: &str, number: &str| time_of(name, number, NOW).is_some();
        for (name, number) in [
            ("created_at", "1795172400018"),
            ("\"timestamp\"", "1795172400033"),
            ("timestamp", "1795172400"),
            ("expire_at", "4102444799999"),
        ] {
            assert!(time(name, number), "{name}: {number}");
        }
        for (name, number) in [
            ("created", "1795172400018"),
            ("created_at", "1795172400"),
            ("created_at", "0"),
            ("created_at", "99999999999999"),
            ("created_at", "1795172400018.5"),
            ("timestamp", "9223372036854775807"),
        ] {
            assert!(!time(name, number), "{name}: {number}");
        }
        let lines = lines(r#"{"a_at":1795172400018,"b":1795172400018}"#, false, NOW).unwrap();
        let times: Vec<_> = lines.iter().map(|line| line.time.is_some()).collect();
        assert_eq!(times, [false, true, false, false]);
    }

    #[test]
    fn what_is_deep_or_has_many_values_is_no_tree() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(lines(&nested(LEVELS_MAX), false, NOW).is_some());
        assert!(lines(&nested(LEVELS_MAX + 2), false, NOW).is_none());
        assert!(lines(&nested(200_000), false, NOW).is_none());
        let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(lines(&many(VALUES_MAX - 1), false, NOW).is_some());
        assert!(lines(&many(VALUES_MAX), false, NOW).is_none());
    }
}
