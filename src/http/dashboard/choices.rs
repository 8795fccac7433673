//! The options of a form's list: those that are known, and the chosen one whatever it is. Pure.

use crate::clerk::{Column, ErrorCode, EventType, tables};
use crate::format;
use crate::store::{Failed, Status};

/// One option.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    pub value: String,
    pub text: String,
    pub is_chosen: bool,
}

/// Options with their texts. A chosen value that is none of them becomes the first one: the form
/// shows what the page is filtered by.
fn choices(known: impl IntoIterator<Item = (String, String)>, chosen: &str) -> Vec<Choice> {
    let known = known.into_iter().map(|(value, text)| Choice {
        is_chosen: value == chosen,
        value,
        text,
    });
    let mut all: Vec<_> = known.collect();
    if !chosen.is_empty() && !all.iter().any(|choice| choice.is_chosen) {
        let other = Choice {
            value: chosen.to_owned(),
            text: chosen.to_owned(),
            is_chosen: true,
        };
        all.insert(0, other);
    }
    all
}

fn by_value<'a>(values: impl IntoIterator<Item = &'a str>, chosen: &str) -> Vec<Choice> {
    let pairs = values
        .into_iter()
        .map(|value| (value.to_owned(), value.to_owned()));
    choices(pairs, chosen)
}

/// The outcomes.
pub fn statuses(chosen: &str) -> Vec<Choice> {
    by_value(Status::ALL.map(Status::as_str), chosen)
}

/// The types of events that are synced, and that of an unreadable one.
pub fn event_types() -> impl Iterator<Item = &'static str> {
    let synced = tables::ALL.iter().flat_map(|table| table.events);
    synced
        .map(|kind| kind.name)
        .chain(EventType::Unreadable.known_name())
}

/// The types of events.
pub fn types(chosen: &str) -> Vec<Choice> {
    by_value(event_types(), chosen)
}

/// Every error code, first those of failed events: each with their number, if there are any.
pub fn error_codes(failed: Option<&Failed>) -> Vec<(String, u64)> {
    let present = failed.into_iter().flat_map(|failed| &failed.by_code);
    let present = present.filter(|(code, _)| !code.is_empty());
    let mut codes: Vec<_> = present
        .map(|(code, count)| (code.clone(), *count))
        .collect();
    // A name that ends so is followed by a code of the database.
    let others = ErrorCode::ALL.iter().map(|code| code.name());
    for name in others.filter(|name| !name.ends_with('_')) {
        if !codes.iter().any(|(code, _)| code == name) {
            codes.push((name.to_owned(), 0));
        }
    }
    codes
}

/// The error codes.
pub fn codes(failed: Option<&Failed>, chosen: &str) -> Vec<Choice> {
    let known = error_codes(failed).into_iter().map(|(code, count)| {
        let text = match count {
            0 => code.clone(),
            _ => format!("{code} ({})", format::number(count)),
        };
        (code, text)
    });
    choices(known, chosen)
}

/// Which users to show, by whether they are deleted.
pub fn deleted(chosen: &str) -> Vec<Choice> {
    which(chosen, "deleted")
}

/// Which rows to show, by whether they are so.
pub fn which(chosen: &str, so: &str) -> Vec<Choice> {
    let known = [
        ("any", "all".to_owned()),
        ("false", format!("not {so}")),
        ("true", so.to_owned()),
    ];
    let known = known.map(|(value, text)| (value.to_owned(), text));
    choices(known, chosen)
}

/// The known values of a column, with the choice of any. Returns none if they are not known.
pub fn known_values(column: &Column, chosen: &str) -> Vec<Choice> {
    if column.known_values.is_empty() {
        return Vec::new();
    }
    let known = column.known_values.iter().map(|value| (*value, *value));
    let known = [("", "any")].into_iter().chain(known);
    let known = known.map(|(value, text)| (value.to_owned(), text.to_owned()));
    choices(known, chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_value_is_there_whatever_it_is() {
        let chosen = |choices: Vec<Choice>| {
            let chosen = choices.into_iter().filter(|choice| choice.is_chosen);
            chosen.map(|choice| choice.value).collect::<Vec<_>>()
        };
        assert_eq!(chosen(statuses("stale")), ["stale"]);
        assert_eq!(chosen(statuses("")), [""; 0]);
        assert_eq!(chosen(types("session.created")), ["session.created"]);
        assert_eq!(types("session.created").len(), types("").len() + 1);
        assert_eq!(chosen(codes(None, "sqlstate_23514")), ["sqlstate_23514"]);
        assert_eq!(chosen(deleted("maybe")), ["maybe"]);
        assert!(
            types("")
                .iter()
                .any(|choice| choice.value == "user.unreadable")
        );
    }

    #[test]
    fn codes_of_failed_events_come_first_and_once() {
        let mut failed = Failed::default();
        failed.by_code.insert("sqlstate_23514".into(), 1200);
        failed.by_code.insert("unstorable".into(), 2);
        let codes = codes(Some(&failed), "unstorable");
        assert_eq!(codes[0].text, "sqlstate_23514 (1,200)");
        assert_eq!(
            (&*codes[1].text, codes[1].is_chosen),
            ("unstorable (2)", true)
        );
        let count = |value| codes.iter().filter(|choice| choice.value == value).count();
        assert_eq!(
            [count("unstorable"), count("not_json"), count("sqlstate_")],
            [1, 1, 0]
        );
    }
}
