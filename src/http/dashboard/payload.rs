//! Payloads made readable: JSON with line breaks and otherwise byte for byte, anything else as
//! text, and hidden characters by number.

use askama::Template;
use askama::filters::HtmlSafe;
use serde_json::value::RawValue;

use crate::escape::visible_lines;
use crate::format;

/// Most bytes of a payload that a page shows: ten times the largest user object seen. The whole can
/// be saved.
const SHOWN_MAX: usize = 64 * 1024;

/// Deepest level that is still indented further.
const INDENT_MAX: usize = 32;

/// A payload as a page shows it. Each piece is isolated, so that text from right to left does not
/// reorder what is beside it.
#[derive(Template)]
#[template(
    source = r#"<pre class="payload" tabindex="0" aria-label="Payload"><code>{% for piece in pieces %}<bdi class="{{ piece.class }}">{{ piece.text }}</bdi>{% endfor %}</code></pre>{% if is_cut %}<p class="note">Only the beginning is shown.</p>{% endif %}"#,
    ext = "html"
)]
pub struct Payload {
    pieces: Vec<Piece>,
    /// What it is: `JSON`, `text`, or `bytes` that are no text.
    pub kind: &'static str,
    pub size: String,
    is_cut: bool,
}

// Its own template has escaped it.
impl HtmlSafe for Payload {}

/// A stretch of one kind.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    /// A class of the style sheet: `name`, `string`, `number`, `word`, or `plain`.
    class: &'static str,
    text: String,
}

/// A body as it came.
pub fn show(body: &(impl AsRef<[u8]> + ?Sized)) -> Payload {
    let body = body.as_ref();
    let (pieces, kind) = match std::str::from_utf8(body) {
        Ok(text) if serde_json::from_str::<&RawValue>(text).is_ok() => (of_json(text), "JSON"),
        Ok(_) => (of_bytes(body), "text"),
        Err(_) => (of_bytes(body), "bytes"),
    };
    Payload {
        pieces: pieces.list,
        kind,
        size: format::bytes(body.len()),
        is_cut: pieces.is_cut,
    }
}

fn of_bytes(bytes: &[u8]) -> Pieces {
    let mut pieces = Pieces::default();
    for chunk in bytes.utf8_chunks() {
        pieces.push("plain", chunk.valid());
        for byte in chunk.invalid() {
            pieces.push("plain", &format!("\\x{byte:02x}"));
        }
        if pieces.is_cut {
            break;
        }
    }
    pieces
}

/// Valid JSON with line breaks. Numbers, escapes, repeated names and their order stay as they came.
fn of_json(json: &str) -> Pieces {
    let mut pieces = Pieces::default();
    let (mut rest, mut level) = (json, 0_usize);
    while let Some(first) = rest.bytes().next() {
        if pieces.is_cut {
            break;
        }
        let length = match first {
            b'"' => length_of_string(rest),
            b'{' | b'[' | b'}' | b']' | b',' | b':' => 1,
            first if first.is_ascii_whitespace() => 1,
            _ => rest
                .find([',', '}', ']', ' ', '\n', '\r', '\t'])
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match first {
            b'{' | b'[' => {
                let next = rest.trim_ascii_start();
                pieces.push("plain", token);
                if next.starts_with(['}', ']']) {
                    pieces.push("plain", &next[..1]);
                    rest = &next[1..];
                } else {
                    level += 1;
                    pieces.line(level);
                }
            }
            b'}' | b']' => {
                level = level.saturating_sub(1);
                pieces.line(level);
                pieces.push("plain", token);
            }
            b',' => {
                pieces.push("plain", token);
                pieces.line(level);
            }
            b':' => pieces.push("plain", ": "),
            b'"' if rest.trim_ascii_start().starts_with(':') => pieces.push("name", token),
            b'"' => pieces.push("string", token),
            b't' | b'f' | b'n' => pieces.push("word", token),
            first if first.is_ascii_whitespace() => {}
            _ => pieces.push("number", token),
        }
    }
    pieces
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

#[derive(Default)]
struct Pieces {
    list: Vec<Piece>,
    bytes: usize,
    is_cut: bool,
}

impl Pieces {
    fn push(&mut self, class: &'static str, text: &str) {
        let room = SHOWN_MAX.saturating_sub(self.bytes);
        self.is_cut |= text.len() > room;
        let text = visible_lines(&text[..text.floor_char_boundary(room)]).into_owned();
        self.bytes += text.len();
        match self.list.last_mut() {
            Some(last) if last.class == class => last.text += &text,
            _ => self.list.push(Piece { class, text }),
        }
    }

    fn line(&mut self, level: usize) {
        self.push(
            "plain",
            &format!("\n{:width$}", "", width = level.min(INDENT_MAX) * 2),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shown: &Payload) -> String {
        shown
            .pieces
            .iter()
            .map(|piece| piece.text.as_str())
            .collect()
    }

    #[test]
    fn json_gets_line_breaks_and_loses_nothing() {
        let body = br#"{"a":1.00e400,"a" : [ ],"b":{"c":["x,}\"y",null,true]},"d":{}}"#;
        let shown = show(body);
        let lines = "{\n  \"a\": 1.00e400,\n  \"a\": [],\n  \"b\": {\n    \"c\": [\n      \"x,}\\\"y\",\n      null,\n      \
                     true\n    ]\n  },\n  \"d\": {}\n}";
        assert_eq!(
            (text(&shown).as_str(), shown.kind, shown.is_cut),
            (lines, "JSON", false)
        );
        let classes: Vec<_> = shown.pieces.iter().map(|piece| piece.class).collect();
        assert!(
            ["name", "string", "number", "word"]
                .iter()
                .all(|class| classes.contains(class)),
            "{classes:?}"
        );
    }

    #[test]
    fn what_is_no_json_is_shown_as_what_it_is() {
        assert_eq!(
            (text(&show(b"not json")).as_str(), show(b"not json").kind),
            ("not json", "text")
        );
        assert_eq!(
            (text(&show(b"a\xff\x00b")).as_str(), show(b"a\xff").kind),
            ("a\\xff\\u0000b", "bytes")
        );
        assert_eq!(text(&show("\u{feff}{}".as_bytes())), "\\ufeff{}");
        assert_eq!(text(&show(b"")), "");
    }

    #[test]
    fn no_character_hides_another() {
        assert_eq!(
            text(&show("{\"a\":\"\u{202e}\"}".as_bytes())),
            "{\n  \"a\": \"\\u202e\"\n}"
        );
    }

    #[test]
    fn what_is_huge_or_deep_is_cut() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        for body in [
            deep,
            format!("\"{}\"", "é".repeat(SHOWN_MAX)),
            "x".repeat(SHOWN_MAX + 1),
        ] {
            let shown = show(body.as_bytes());
            assert!(
                text(&shown).len() <= SHOWN_MAX + 100,
                "{}",
                text(&shown).len()
            );
            assert!(!text(&shown).is_empty());
            assert!(shown.is_cut && shown.size == format::bytes(body.len()));
        }
    }

    #[test]
    fn text_from_right_to_left_reorders_nothing_beside_it() {
        let html = show("{\"עמר\":5}").render().unwrap();
        for piece in [
            r#"<bdi class="name">&#34;עמר&#34;</bdi>"#,
            r#"<bdi class="number">5</bdi>"#,
        ] {
            assert!(html.contains(piece), "{piece}: {html}");
        }
    }

    #[test]
    fn a_payload_is_escaped() {
        let html = show(r#"{"a":"<script>alert(1)</script>"}"#)
            .render()
            .unwrap();
        assert!(
            !html.contains("<script>") && html.contains("&#60;script&#62;"),
            "{html}"
        );
    }
}
