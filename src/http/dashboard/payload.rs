//! Payloads made readable: JSON as a tree, anything else as text, and hidden characters by number.

use askama::Template;
use askama::filters::HtmlSafe;
use serde_json::value::RawValue;

use super::json_view::{self, Line, Shape};
use crate::clerk::Timestamp;
use crate::escape::visible_lines;
use crate::format;

/// Most bytes of a payload that a page shows: ten times the largest user object seen. The whole can
/// be saved.
const SHOWN_MAX: usize = 64 * 1024;

/// Whether names are shown in alphabetical order, and the address of the other way.
#[derive(Clone)]
pub struct Order {
    pub is_sorted: bool,
    pub other: String,
}

/// A payload as a page shows it. Each piece is isolated, so that text from right to left does not
/// reorder what is beside it.
#[derive(Template)]
#[template(path = "payload.html")]
pub struct Payload {
    pub head: Head,
    /// The lines of JSON, unless it is too long or too deep for a tree.
    lines: Vec<Line>,
    /// The text, if there are no lines.
    text: String,
    is_cut: bool,
}

/// What stands above a payload: what it is, and what to do with it.
#[derive(Template)]
#[template(path = "payload_head.html")]
pub struct Head {
    /// What is shown, for people who do not see it.
    label: String,
    /// What it is: `JSON`, `text`, or `bytes` that are no text.
    kind: &'static str,
    size: String,
    /// The address that it is saved from.
    file: String,
    /// `None` if there is no choice.
    pub order: Option<Order>,
}

// Their own templates have escaped them.
impl HtmlSafe for Payload {}
impl HtmlSafe for Head {}

/// A body as it came, which can be saved from `file`.
pub fn show(
    label: impl Into<String>,
    body: &(impl AsRef<[u8]> + ?Sized),
    file: String,
    order: &Order,
    now: Timestamp,
) -> Payload {
    let body = body.as_ref();
    let text = std::str::from_utf8(body);
    let json = text
        .ok()
        .filter(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    let lines = json
        .filter(|json| json.len() <= SHOWN_MAX)
        .and_then(|json| json_view::lines(json, order.is_sorted, now));
    let head = Head {
        label: label.into(),
        kind: match (json, text) {
            (Some(_), _) => "JSON",
            (_, Ok(_)) => "text",
            (_, Err(_)) => "bytes",
        },
        size: format::bytes(body.len()),
        file,
        order: lines.as_ref().map(|_| order.clone()),
    };
    let (text, is_cut) = match &lines {
        Some(_) => (String::new(), false),
        None => plain(body),
    };
    Payload {
        head,
        lines: lines.unwrap_or_default(),
        text,
        is_cut,
    }
}

/// The beginning as text, with bytes that are no text by number; and whether there is more.
fn plain(bytes: &[u8]) -> (String, bool) {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        shown += &visible_lines(chunk.valid());
        for byte in chunk.invalid() {
            shown += &format!("\\x{byte:02x}");
        }
        if shown.len() > SHOWN_MAX {
            shown.truncate(shown.floor_char_boundary(SHOWN_MAX));
            return (shown, true);
        }
    }
    (shown, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &[u8]) -> Payload {
        let order = Order {
            is_sorted: false,
            other: "/other".into(),
        };
        show("Payload", body, "/file".into(), &order, Timestamp::MIN)
    }

    #[test]
    fn what_is_no_json_is_shown_as_what_it_is() {
        for (body, text, kind) in [
            (&b"not json"[..], "not json", "text"),
            (b"a\xff\x00b", "a\\xff\\u0000b", "bytes"),
            (b"\xef\xbb\xbf{}", "\\ufeff{}", "text"),
            (b"", "", "text"),
        ] {
            let shown = shown(body);
            assert_eq!((&*shown.text, shown.head.kind), (text, kind));
            assert!(shown.lines.is_empty() && shown.head.order.is_none());
        }
        let json = shown(b"{\"a\":1}");
        assert_eq!((json.head.kind, json.lines.len()), ("JSON", 3));
    }

    #[test]
    fn what_is_huge_or_deep_is_plain_text() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        for body in [
            deep,
            format!("\"{}\"", "é".repeat(SHOWN_MAX)),
            "x".repeat(SHOWN_MAX + 1),
        ] {
            let shown = shown(body.as_bytes());
            assert!(shown.text.len() > SHOWN_MAX - 4 && shown.text.len() <= SHOWN_MAX);
            assert!(shown.is_cut && shown.head.size == format::bytes(body.len()));
            assert!(shown.render().unwrap().contains("Only the beginning"));
        }
        let nested = shown(format!("{}{}", "[".repeat(100), "]".repeat(100)).as_bytes());
        assert!(nested.lines.is_empty() && !nested.is_cut && nested.text.len() == 200);
    }

    #[test]
    fn text_from_right_to_left_reorders_nothing_beside_it() {
        let html = shown("{\"עמר\":5}".as_bytes()).render().unwrap();
        for piece in [
            r#"<bdi class="name">&#34;עמר&#34;</bdi>"#,
            r#"<bdi class="number">5</bdi>"#,
        ] {
            assert!(html.contains(piece), "{piece}: {html}");
        }
    }

    #[test]
    fn a_payload_is_escaped_and_its_folds_are_closed() {
        let html = shown(br#"{"a":["<script>alert(1)</script>",{"</details>":[1]}]}"#)
            .render()
            .unwrap();
        assert!(
            !html.contains("<script>") && html.contains("&#60;script&#62;"),
            "{html}"
        );
        let count = |tag: &str| html.matches(tag).count();
        assert_eq!((count("<details"), count("</details>")), (4, 4), "{html}");
        assert_eq!(count("<div"), count("</div>"), "{html}");
    }

    #[test]
    fn a_hidden_character_is_shown_once_by_its_number() {
        let html = shown("{\"a\":\"\u{202e}\"}".as_bytes()).render().unwrap();
        assert!(html.contains(r"&#34;\u202e&#34;"), "{html}");
    }
}
