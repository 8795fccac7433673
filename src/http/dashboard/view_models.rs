//! Rows and times as pages show them: texts, addresses and badges for the templates. Pure.

use askama::Template;
use askama::filters::HtmlSafe;

use super::encode::encode;
use super::names::{Names, name_of, table_of};
use super::page_query::PageQuery;
use crate::clerk::{Table, Timestamp, error_code};
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
            utc: format!("{}\u{a0}UTC", format::to_second(&iso)),
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

/// A link to a row of any table.
pub struct RowLink {
    pub id: String,
    /// What people call it, if that is known.
    pub name: Option<String>,
    /// Where its page is.
    pub path: String,
}

impl RowLink {
    /// A link to a row, with its name if that is known.
    pub fn of(table: &Table, id: &str, name: Option<String>) -> Self {
        Self {
            path: format!("/{}/{}", table.plural, encode(id)),
            id: id.to_owned(),
            name,
        }
    }

    /// All that is known: the name and the ID.
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} {}", self.id),
            None => self.id.clone(),
        }
    }
}

/// A row of `events`.
pub struct EventLine {
    /// Only letters, digits, `_` and `-`.
    pub id: String,
    pub event_type: String,
    pub badge: Badge,
    pub error_code: Option<String>,
    pub row: Option<RowLink>,
    pub received: When,
    pub lag: String,
}

impl EventLine {
    /// Events as they look at `now`.
    pub fn all(events: &[EventRow], now: Timestamp) -> Vec<Self> {
        events.iter().map(|event| Self::of(event, now)).collect()
    }

    /// The same, with the names of their rows.
    pub fn all_named(events: &[EventRow], names: &Names, now: Timestamp) -> Vec<Self> {
        let line = |event: &EventRow| {
            let mut line = Self::of(event, now);
            if let Some(row) = &mut line.row {
                row.name = names.of(table_of(&event.event_type), &row.id);
            }
            line
        };
        events.iter().map(line).collect()
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
            row: event
                .clerk_id
                .as_deref()
                .map(|id| RowLink::of(table_of(&event.event_type), id, None)),
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
