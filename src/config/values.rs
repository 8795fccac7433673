//! Parses the text of a setting to its value: a number, one word of a choice, a list of names.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::environment::Environment;
use super::error::{ConfigError, wrong};
use super::settings::default_of;
use crate::clerk::{OmitError, OmittedFields, SyncedTables, UnknownTable, tables};
use crate::escape::may_be_repeated;
use crate::store::postgres::SchemaName;

/// The description of a value that is not allowed. It may have been intended for another setting,
/// such as one with a password in it.
pub fn is(value: &str) -> String {
    if may_be_repeated(value) {
        format!("is {value:?}")
    } else {
        "has a value that it cannot have (not shown)".into()
    }
}

/// A number of this range.
pub fn number<T: TryFrom<usize>>(
    environment: &Environment,
    name: &str,
    range: RangeInclusive<usize>,
) -> Result<T, ConfigError> {
    let text = environment.get_or_default(name);
    let number = text
        .parse()
        .ok()
        .filter(|number: &usize| range.contains(number));
    number
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| {
            let (min, max) = range.into_inner();
            let default = default_of(name).unwrap_or_default();
            wrong(
                name,
                is(text),
                format!("give a number from {min} to {max}, such as {default}"),
            )
        })
}

/// A value by its word; the first one if the setting is absent and has no default.
pub fn choice<T: Copy>(
    environment: &Environment,
    name: &str,
    choices: [(&str, T); 2],
) -> Result<T, ConfigError> {
    let [first, second] = choices;
    match environment.get(name).or(default_of(name)) {
        None => Ok(first.1),
        Some(word) if word == first.0 => Ok(first.1),
        Some(word) if word == second.0 => Ok(second.1),
        Some(word) => Err(wrong(
            name,
            is(word),
            format!("give {} or {}", first.0, second.0),
        )),
    }
}

/// How long rows are kept. Returns `None` if they are never deleted.
pub fn retention(environment: &Environment, name: &str) -> Result<Option<Duration>, ConfigError> {
    /// A hundred years: more is a mistake.
    const DAYS_MAX: usize = 36_525;
    let days: u64 = number(environment, name, 0..=DAYS_MAX).map_err(|_| {
        let text = environment.get(name).unwrap_or_default();
        let default = default_of(name).unwrap_or_default();
        wrong(
            name,
            is(text),
            format!("give a number of days, such as {default}, or 0 to keep all"),
        )
    })?;
    Ok((days > 0).then(|| Duration::from_secs(days * 24 * 60 * 60)))
}

/// The schema of the tables in PostgreSQL.
pub fn schema(environment: &Environment) -> Result<SchemaName, ConfigError> {
    let name = "DATABASE_SCHEMA";
    let text = environment.get_or_default(name);
    SchemaName::new(text).ok_or_else(|| wrong(name, is(text), SchemaName::REMEDY))
}

/// What is written between names in other lists.
const SEPARATORS: [char; 5] = [';', '|', ':', '/', '+'];

/// The fields that are never stored.
pub fn omitted(environment: &Environment) -> Result<OmittedFields, ConfigError> {
    let example = "private_metadata,unsafe_metadata";
    let text = environment.get("OMIT_FIELDS").unwrap_or_default();
    OmittedFields::parse(text).map_err(|error| {
        let (fault, remedy) = match error {
            OmitError::Needed(needed) => (
                format!("names {needed}, without which no event could be applied"),
                format!("leave it out; name fields such as {example}"),
            ),
            OmitError::Unknown { name, .. } if name.contains(SEPARATORS) => {
                let separator: String =
                    name.chars().filter(|c| SEPARATORS.contains(c)).take(1).collect();
                let remedy = format!("write names separated by commas, such as {example}");
                (format!("has {separator:?} between names"), remedy)
            }
            OmitError::Unknown { name, nearest } => {
                let shown = if may_be_repeated(&name) {
                    format!("{name:?}, a field")
                } else {
                    "a field (not shown)".into()
                };
                let remedy = match nearest {
                    None => format!(
                        "leave it out; name whole fields, such as {example}, as Clerk's Backend API writes them"
                    ),
                    Some(nearest) => format!(
                        "did you mean {nearest}? Name whole fields, separated by commas"
                    ),
                };
                (format!("names {shown} that Clerk's objects do not have"), remedy)
            }
        };
        wrong("OMIT_FIELDS", fault, remedy)
    })
}

/// The tables that are synced.
pub fn synced(environment: &Environment) -> Result<SyncedTables, ConfigError> {
    let text = environment.get("SYNC").unwrap_or_default();
    SyncedTables::parse(text).map_err(|UnknownTable { name, nearest }| {
        let shown = match may_be_repeated(&name) {
            true => format!("{name:?}"),
            false => "something (not shown)".into(),
        };
        let all: Vec<_> = tables::ALL.iter().map(|table| table.plural).collect();
        let all = all.join(", ");
        let remedy = match nearest {
            Some(nearest) => format!("did you mean {nearest}? Name any of {all}"),
            None => format!("name any of {all}, separated by commas"),
        };
        wrong(
            "SYNC",
            format!("names {shown}, which is not synced"),
            remedy,
        )
    })
}
