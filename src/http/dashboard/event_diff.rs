//! What an event changed of its row, as its page and the history of the row show it.

use std::borrow::Cow;

use askama::Template;
use askama::filters::HtmlSafe;

use super::json_view;
use super::names::table_of;
use super::view_models::When;
use crate::clerk::{Difference, Excerpt, Timestamp, api_object, tables};
use crate::format;
use crate::store::{EventRow, RowChange, Status, Store, StoreError};

/// Longest value that is shown at once, in bytes; the rest can be opened.
const SHOWN_MAX: usize = 240;

/// Most columns that a page shows.
const COLUMNS_MAX: usize = 200;

/// A column, with its values before and after.
pub struct ColumnChange {
    /// A column of the table, or a field of its column `data`.
    pub column: String,
    pub before: Option<Cell>,
    pub after: Option<Cell>,
}

/// A value.
#[derive(Template)]
#[template(path = "cell.html")]
pub struct Cell {
    text: String,
    /// The whole, if the text is only its beginning.
    whole: Option<String>,
    /// How long it is, if not even the page has all of it.
    size: Option<String>,
    /// The time that it is.
    time: Option<When>,
}

// Its own template has escaped it.
impl HtmlSafe for Cell {}

/// What an event changed.
#[derive(Template)]
#[template(path = "event_diff.html")]
pub struct EventDiff {
    /// What is said in place of the columns, or above them.
    text: Cow<'static, str>,
    /// The event that the text ends with.
    other: Option<String>,
    columns: Vec<ColumnChange>,
    /// Columns that are left out.
    more: usize,
}

// Its own template has escaped it.
impl HtmlSafe for EventDiff {}

impl EventDiff {
    /// What an event changed. Returns `None` for one that is not applied and not stale.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn of(
        store: &Store,
        event: &EventRow,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        Ok(Some(match event.status {
            Status::Applied => Self::of_applied(store.row_change(event).await?, now),
            Status::Stale => Self::of_stale(event),
            Status::Failed | Status::Discarded => return Ok(None),
        }))
    }

    fn says(text: impl Into<Cow<'static, str>>, other: Option<String>) -> Self {
        Self {
            text: text.into(),
            other,
            columns: Vec::new(),
            more: 0,
        }
    }

    fn of_applied(change: RowChange, now: Timestamp) -> Self {
        let (before, differences) = match change {
            RowChange::Known {
                before,
                differences,
            } => (before, differences),
            RowChange::NoPayload => {
                return Self::says(
                    "Not known: the payload of this event is not kept. With `EVENT_PAYLOADS=all` workers keep the payloads of applied events too, and the change is shown here.",
                    None,
                );
            }
            RowChange::NotComparable => {
                return Self::says(
                    "Not known: the payload of the version before is not kept. With `EVENT_PAYLOADS=all` workers keep the payloads of applied events, until `EVENT_RETENTION_DAYS`.",
                    None,
                );
            }
        };
        let mut columns = columns(&differences, now);
        let more = columns.len().saturating_sub(COLUMNS_MAX);
        columns.truncate(COLUMNS_MAX);
        let text = match (&before, columns.is_empty()) {
            (_, true) => {
                "No column but `updated_at`: everything else is as in the version before, that of"
            }
            (Some(_), false) => "Compared with the version before, that of",
            (None, false) => "This is the first version.",
        };
        Self {
            text: text.into(),
            other: before,
            columns,
            more,
        }
    }

    fn of_stale(event: &EventRow) -> Self {
        let newer = event.superseded_by.clone();
        let is_own = newer.as_deref() == Some(&*event.event_id);
        let is_delete = tables::is_delete(&event.event_type);
        let singular = table_of(&event.event_type).singular;
        match newer.filter(|by| !is_own && !api_object::is_reading(by)) {
            _ if is_own => Self::says(
                "It changed nothing: the row had this version already.",
                None,
            ),
            Some(by) if is_delete => Self::says(
                format!("It changed nothing: the {singular} was deleted already, by"),
                Some(by),
            ),
            Some(by) => Self::says(
                "It changed nothing: the row had a newer version, that of",
                Some(by),
            ),
            None if is_delete => Self::says(
                format!("It changed nothing: the {singular} was deleted already."),
                None,
            ),
            None => Self::says("It changed nothing: the row had a newer version.", None),
        }
    }

    /// The parts of the text, of which every other one is code.
    fn parts(&self) -> std::str::Split<'_, char> {
        self.text.split('`')
    }
}

/// The columns first, then the fields of `data` that have no column.
pub fn columns(differences: &[Difference], now: Timestamp) -> Vec<ColumnChange> {
    let is_column = |difference: &Difference| {
        let name = difference.name.split('.').next().unwrap_or_default();
        difference.is_derived
            || name == "deleted_at"
            || tables::ALL.iter().any(|table| table.place(name).is_some())
    };
    let of = |difference: &Difference, prefix: &str| {
        let name = &difference.name;
        let cell = |excerpt: &Option<Excerpt>| Some(Cell::of(name, excerpt.as_ref()?, now));
        ColumnChange {
            column: format!("{prefix}{name}"),
            before: cell(&difference.before),
            after: cell(&difference.after),
        }
    };
    let (own, in_data): (Vec<_>, Vec<_>) = differences.iter().partition(|one| is_column(one));
    let own = own.into_iter().map(|one| of(one, ""));
    own.chain(in_data.into_iter().map(|one| of(one, "data.")))
        .collect()
}

impl Cell {
    fn of(name: &str, excerpt: &Excerpt, now: Timestamp) -> Self {
        let text = &excerpt.text[..excerpt.text.floor_char_boundary(SHOWN_MAX)];
        let is_short = text.len() == excerpt.bytes;
        Self {
            text: text.to_owned(),
            whole: (text.len() < excerpt.text.len()).then(|| excerpt.text.clone()),
            size: excerpt.is_cut().then(|| format::bytes(excerpt.bytes)),
            time: json_view::time_of(name, text, now).filter(|_| is_short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(name: &str, before: Option<&str>, after: Option<&str>) -> Difference {
        let excerpt = |text: &str| Excerpt::of(text, 1000);
        Difference {
            name: name.into(),
            is_derived: name == "email",
            before: before.map(excerpt),
            after: after.map(excerpt),
        }
    }

    #[test]
    fn columns_come_before_the_fields_of_data() {
        let names = [
            "email",
            "email_addresses",
            "first_name",
            "public_metadata.plan",
            "totp_enabled",
        ];
        let differences = names.map(|name| difference(name, None, Some("1")));
        let columns = columns(&differences, Timestamp::MIN);
        let names: Vec<_> = columns.iter().map(|one| &*one.column).collect();
        assert_eq!(
            names,
            [
                "email",
                "first_name",
                "public_metadata.plan",
                "data.email_addresses",
                "data.totp_enabled"
            ]
        );
    }

    #[test]
    fn a_value_has_a_sign_and_a_time_is_readable() {
        let differences = [
            difference("first_name", Some("\"Ada\""), Some("\"<b>\"")),
            difference("last_sign_in_at", None, Some("1795172400018")),
        ];
        let change = EventDiff {
            text: "Compared with `this`, that of".into(),
            other: Some("msg_1".into()),
            columns: columns(&differences, Timestamp::MIN),
            more: 0,
        };
        let html = change.render().unwrap();
        for part in [
            r#"<del>&#34;Ada&#34;</del>"#,
            r#"<ins>&#34;&#60;b&#62;&#34;</ins>"#,
            "2026-11-20 11:00:00",
            "Compared with <code>this</code>, that of",
            r#"href="/events/msg_1""#,
            "null",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("1795172400018<"), "{html}");
    }

    #[test]
    fn a_long_value_can_be_opened() {
        let long = format!("\"{}\"", "é".repeat(300));
        let columns = columns(&[difference("username", None, Some(&long))], Timestamp::MIN);
        let cell = columns[0].after.as_ref().unwrap();
        assert!(cell.text.len() <= SHOWN_MAX && cell.whole.as_deref() == Some(&*long));
        assert!(cell.size.is_none());
        let cut = Cell::of("x", &Excerpt::of(&long, 300), Timestamp::MIN);
        assert_eq!(cut.size.as_deref(), Some("602 bytes"));
    }
}
