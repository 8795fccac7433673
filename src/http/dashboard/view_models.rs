//! Rows and times as pages show them: texts, addresses and badges for the templates. Pure.

use std::collections::HashMap;

use askama::Template;
use askama::filters::HtmlSafe;

use super::encode::encode;
use super::page_query::PageQuery;
use crate::clerk::{Timestamp, error_code};
use crate::format;
use crate::store::{Cursor, EventRow, Page, Status, TableRow, Time};

/// A time in UTC, with how long ago it was.
#[derive(Template)]
#[template(
    source = r#"<span class="when"><time datetime="{{ iso }}">{{ utc }}</time> <span class="age">{{ age }}</span></span>"#,
    ext = "html"
)]
pub struct When {
    /// RFC 3339, for the browser.
    pub iso: String,
    /// To the second, with `UTC`.
    pub utc: String,
    pub age: String,
}

// Its own template has escaped it.
impl HtmlSafe for When {}

impl When {
    /// The time as it looks at `now`.
    pub fn at(time: Time, now: Timestamp) -> Self {
        let iso = time.to_string();
        Self {
            // A `Timestamp` lies between 1970 and 9999, so the parts of its RFC 3339 form have
            // fixed places.
            utc: format!("{} {}\u{a0}UTC", &iso[..10], &iso[11..19]),
            age: format::age(now.ms() - time.0.ms()),
            iso,
        }
    }
}

/// An outcome, by word, shape and color.
#[derive(Template, Clone, Copy)]
#[template(
    source = r#"<span class="badge {{ class }}"><span class="mark {{ class }}" aria-hidden="true"></span>{{ word }}</span>"#,
    ext = "html"
)]
pub struct Badge {
    pub class: &'static str,
    pub word: &'static str,
}

// Its own template has escaped it.
impl HtmlSafe for Badge {}

impl Badge {
    /// An outcome, or a status.
    pub fn of(status: Status) -> Self {
        let class = status.as_str();
        Self { class, word: class }
    }
}

/// A text of ours, with what stands between backticks as code.
#[derive(Template, Clone, Copy)]
#[template(
    source = r#"{% for part in text.split('`') %}{% if loop.index0 % 2 == 1 %}<code>{{ part }}</code>{% else %}{{ part }}{% endif %}{% endfor %}"#,
    ext = "html"
)]
pub struct WithCode {
    text: &'static str,
}

// Its own template has escaped it.
impl HtmlSafe for WithCode {}

impl WithCode {
    /// The text as a part of a page.
    pub fn of(text: &'static str) -> Self {
        Self { text }
    }
}

/// What an error code means, and what to do.
pub struct Help {
    pub meaning: WithCode,
    pub what_to_do: WithCode,
    pub replay: WithCode,
    /// Where there is more.
    pub page: String,
}

impl Help {
    /// The help for a recorded code.
    pub fn of(error_code: &str) -> Self {
        let help = error_code::help_for(error_code);
        let [meaning, what_to_do, replay] =
            [help.meaning, help.what_to_do, help.replay].map(WithCode::of);
        Self {
            meaning,
            what_to_do,
            replay,
            page: error_code::page_of(error_code),
        }
    }
}

/// The links below a page of a listing.
#[derive(Default)]
pub struct Pages {
    /// Whether there are newer pages.
    pub is_later: bool,
    pub first: String,
    pub next: Option<String>,
}

impl Pages {
    /// The links on `path` with this query.
    pub fn of(page: &Page, next: Option<Cursor>, query: &PageQuery, path: &str) -> Self {
        Self {
            is_later: page.after.is_some(),
            first: query.without(&["cursor"]).on(path),
            next: next.map(|cursor| query.with("cursor", &cursor.to_string()).on(path)),
        }
    }
}

/// The user of an event.
pub struct UserLink {
    pub id: String,
    /// What people call the user, if that is known.
    pub name: Option<String>,
    /// The ID as a part of a path.
    pub path: String,
}

/// A row of `events`.
pub struct EventLine {
    /// Only letters, digits, `_` and `-`.
    pub id: String,
    pub event_type: String,
    pub badge: Badge,
    pub error_code: Option<String>,
    pub user: Option<UserLink>,
    pub received: When,
    pub lag: String,
}

impl EventLine {
    /// Events as they look at `now`.
    pub fn all(events: &[EventRow], now: Timestamp) -> Vec<Self> {
        events.iter().map(|event| Self::of(event, now)).collect()
    }

    /// The same, with the names of their users by ID.
    pub fn all_named(
        events: &[EventRow],
        names: &HashMap<String, String>,
        now: Timestamp,
    ) -> Vec<Self> {
        let mut lines = Self::all(events, now);
        for user in lines.iter_mut().filter_map(|line| line.user.as_mut()) {
            user.name = names.get(&user.id).cloned();
        }
        lines
    }

    /// Returns whether it can be replayed or discarded.
    pub fn is_failed(&self) -> bool {
        self.badge.class == Status::Failed.as_str()
    }

    /// An event as it looks at `now`.
    pub fn of(event: &EventRow, now: Timestamp) -> Self {
        let lag_ms = event.processed_at.0.ms() - event.received_at.0.ms();
        Self {
            id: event.event_id.clone(),
            event_type: event.event_type.clone(),
            badge: Badge::of(event.status),
            error_code: event.error_code.clone(),
            user: event.clerk_id.as_ref().map(|id| UserLink {
                id: id.clone(),
                name: None,
                path: encode(id),
            }),
            received: When::at(event.received_at, now),
            lag: format::ms(lag_ms.max(0).unsigned_abs()),
        }
    }
}

/// A row of `users`, as far as it identifies a person.
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
    /// A user as they look at `now`.
    pub fn of(user: &TableRow, now: Timestamp) -> Self {
        let name = name_of(user);
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
            initials: name.as_deref().map_or("?".into(), initials),
            name: name.unwrap_or_else(|| "no name".into()),
            email: or_dash("email"),
            phone: or_dash("phone"),
            flags: flags.into_iter().flatten().collect(),
            updated: user.updated_at.map(|time| When::at(time, now)),
            id: user.clerk_id.clone(),
            path: encode(&user.clerk_id),
        }
    }
}

/// What people call a user: the name, or what else is known; `None` if nothing is.
pub fn name_of(user: &TableRow) -> Option<String> {
    let names = [user.text("first_name"), user.text("last_name")];
    let names = names.into_iter().flatten().map(str::trim);
    let name = names.filter(|name| !name.is_empty());
    let name = name.collect::<Vec<_>>().join(" ");
    let others = ["username", "email", "phone"].map(|column| user.text(column));
    let all = [Some(&*name)].into_iter().chain(others).flatten();
    let mut known = all.filter(|name| !name.trim().is_empty());
    known.next().map(str::to_owned)
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
    fn what_stands_between_backticks_is_code() {
        let text = WithCode {
            text: "Run `a <b>`, then `c`.",
        };
        assert_eq!(
            text.render().unwrap(),
            "Run <code>a &#60;b&#62;</code>, then <code>c</code>."
        );
    }

    #[test]
    fn a_time_has_its_utc_form_and_its_age() {
        let now = Timestamp::from_ms(1_795_400_000_000).unwrap();
        let time = Timestamp::from_ms(now.ms() - 90_000).unwrap();
        let when = When::at(Time(time), now);
        assert_eq!(when.iso, "2026-11-23T02:11:50.000Z");
        assert_eq!(when.utc, "2026-11-23 02:11:50\u{a0}UTC");
    }

    #[test]
    fn every_name_has_initials() {
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
}
