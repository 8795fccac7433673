//! Rows as pages show them: text, addresses and marks, ready for the templates. Pure.

use askama::Template;
use askama::filters::HtmlSafe;

use super::format::{self, When, when};
use super::login::encoded;
use super::payload::Shown;
use crate::clerk::Timestamp;
use crate::store::{EventRow, TableRow};

/// A result, by word, shape and color.
#[derive(Template, Clone, Copy)]
#[template(
    source = r#"<span class="badge {{ class }}"><span class="mark {{ class }}" aria-hidden="true"></span>{{ word }}</span>"#,
    ext = "html"
)]
pub struct Badge {
    pub class: &'static str,
    pub word: &'static str,
}

#[derive(Template)]
#[template(
    source = r#"<pre class="payload" tabindex="0" aria-label="Payload"><code>{% for piece in shown.pieces %}<span class="{{ piece.class }}">{{ piece.text }}</span>{% endfor %}</code></pre>{% if shown.is_cut %}<p class="note">Only the beginning is shown.</p>{% endif %}"#,
    ext = "html"
)]
pub struct Block {
    shown: Shown,
    pub kind: &'static str,
    pub size: String,
}

// Each is made by a template of its own, which has escaped what is in it.
impl HtmlSafe for Badge {}
impl HtmlSafe for Block {}
impl HtmlSafe for When {}

impl From<Shown> for Block {
    fn from(shown: Shown) -> Self {
        Self {
            kind: shown.kind,
            size: format::bytes(shown.bytes),
            shown,
        }
    }
}

/// Another page's address.
pub struct UserLink {
    pub id: String,
    /// The ID as a part of a path.
    pub path: String,
}

impl UserLink {
    pub fn to(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            path: encoded(id),
        }
    }
}

/// A line of `events`.
pub struct EventLine {
    /// Letters, digits, `_` and `-` alone.
    pub id: String,
    pub event_type: String,
    pub badge: Badge,
    pub error_code: Option<String>,
    pub user: Option<UserLink>,
    pub received: When,
    pub lag: String,
}

impl EventLine {
    pub fn of(event: &EventRow, now: Timestamp) -> Self {
        let status = event.status.as_str();
        let lag_ms = event.processed_at.0.ms() - event.received_at.0.ms();
        Self {
            id: event.event_id.clone(),
            event_type: event.event_type.clone(),
            badge: Badge {
                class: status,
                word: status,
            },
            error_code: event.error_code.clone(),
            user: event.clerk_id.as_deref().map(UserLink::to),
            received: when(event.received_at, now),
            lag: super::chart::of_ms(lag_ms.max(0).unsigned_abs()),
        }
    }
}

/// A row of `users`, as far as it tells who somebody is.
pub struct Person {
    pub id: String,
    pub path: String,
    pub name: String,
    pub initials: String,
    pub email: String,
    pub phone: String,
    pub flags: Vec<Badge>,
    pub updated: Option<When>,
}

impl Person {
    pub fn of(user: &TableRow, now: Timestamp) -> Self {
        let name = [user.text("first_name"), user.text("last_name")]
            .into_iter()
            .flatten();
        let name = name
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        let known = [
            Some(name),
            user.text("username").map(str::to_owned),
            user.text("email").map(str::to_owned),
            user.text("phone").map(str::to_owned),
        ];
        let name = known
            .into_iter()
            .flatten()
            .find(|name| !name.trim().is_empty());
        let or_dash = |column| user.text(column).unwrap_or("—").to_owned();
        let flag = |holds: Option<bool>, class, word| {
            (holds == Some(true)).then_some(Badge { class, word })
        };
        let flags = [
            flag(Some(user.deleted_at.is_some()), "discarded", "deleted"),
            flag(user.boolean("banned"), "failed", "banned"),
            flag(user.boolean("locked"), "stale", "locked"),
        ];
        Self {
            initials: name.as_deref().map_or_else(|| "?".into(), initials),
            name: name.unwrap_or_else(|| "no name".into()),
            email: or_dash("email"),
            phone: or_dash("phone"),
            flags: flags.into_iter().flatten().collect(),
            updated: user.updated_at.map(|time| when(time, now)),
            id: user.clerk_id.clone(),
            path: encoded(&user.clerk_id),
        }
    }
}

/// The first letters of the first and the last word.
fn initials(name: &str) -> String {
    let words: Vec<_> = name.split_whitespace().collect();
    let first = |word: &&str| word.chars().find(|letter| letter.is_alphanumeric());
    let ends = [words.first(), words.last().filter(|_| words.len() > 1)];
    let letters: String = ends.into_iter().flatten().filter_map(first).collect();
    if letters.is_empty() {
        "?".into()
    } else {
        letters.to_uppercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_initials_whatever_it_is() {
        let pairs = [
            ("Ada Lovelace", "AL"),
            ("ada", "A"),
            ("  ", "?"),
            ("李 小龙", "李小"),
            ("<b> x", "BX"),
            ("🎉", "?"),
        ];
        for (name, expected) in pairs {
            assert_eq!(initials(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_in_a_piece_is_escaped() {
        let block = Block::from(super::super::payload::show(
            br#"{"a":"<script>alert(1)</script>"}"#,
        ));
        let html = block.render().unwrap();
        assert!(
            !html.contains("<script>") && html.contains("&#60;script&#62;"),
            "{html}"
        );
    }
}
