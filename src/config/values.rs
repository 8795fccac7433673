//! One setting each, from its text to its value: numbers, words of a choice, names of fields.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::{ConfigError, wrong};
use crate::clerk::{OmitError, OmittedFields};
use crate::escape::may_be_repeated;
use crate::store;
use crate::store::postgres::SchemaName;
use crate::telemetry::LogFormat;

/// The fault of a value that is none of those that can be used. It may have been meant for another setting, such as one with
/// a password in it.
pub fn is(value: &str) -> String {
    if may_be_repeated(value) {
        format!("is {value:?}")
    } else {
        "has a value that it cannot have (not shown)".into()
    }
}

pub fn number(
    name: &str,
    value: Option<String>,
    default: usize,
    min: usize,
    max: usize,
) -> Result<NonZeroUsize, ConfigError> {
    let Some(text) = value else {
        return Ok(NonZeroUsize::new(default).unwrap_or(NonZeroUsize::MIN));
    };
    let number = text
        .parse()
        .ok()
        .filter(|number| (min..=max).contains(number));
    number.and_then(NonZeroUsize::new).ok_or_else(|| {
        wrong(
            name,
            is(&text),
            format!("give a number from {min} to {max}, such as {default}"),
        )
    })
}

pub fn retention(value: Option<String>) -> Result<Option<Duration>, ConfigError> {
    /// A hundred years: more is a mistake.
    const DAYS_MAX: u64 = 36_525;
    let text = value.unwrap_or_else(|| "30".into());
    let days: u64 = text
        .parse()
        .ok()
        .filter(|days| *days <= DAYS_MAX)
        .ok_or_else(|| {
            wrong(
                "EVENT_RETENTION_DAYS",
                is(&text),
                "give a number of days, such as 30, or 0 to keep all",
            )
        })?;
    Ok((days > 0).then(|| Duration::from_secs(days * 24 * 60 * 60)))
}

pub fn port(value: Option<String>) -> Result<u16, ConfigError> {
    let Some(text) = value else { return Ok(3000) };
    text.parse().map_err(|_| {
        wrong(
            "PORT",
            is(&text),
            "give a number from 0 to 65535, such as 3000",
        )
    })
}

pub fn log_format(value: Option<String>) -> Result<Option<LogFormat>, ConfigError> {
    match value.as_deref() {
        None => Ok(None),
        Some("pretty") => Ok(Some(LogFormat::Pretty)),
        Some("json") => Ok(Some(LogFormat::Json)),
        Some(other) => Err(wrong("LOG_FORMAT", is(other), "give pretty or json")),
    }
}

pub fn payloads(value: Option<String>) -> Result<store::Payloads, ConfigError> {
    match value.as_deref() {
        None | Some("failed") => Ok(store::Payloads::Failed),
        Some("all") => Ok(store::Payloads::All),
        Some(other) => Err(wrong("EVENT_PAYLOADS", is(other), "give failed or all")),
    }
}

/// The schema of the tables in PostgreSQL.
pub fn schema(value: Option<String>) -> Result<SchemaName, ConfigError> {
    value.map_or_else(
        || Ok(SchemaName::default()),
        |name| {
            SchemaName::new(&name)
                .ok_or_else(|| wrong("DATABASE_SCHEMA", is(&name), SchemaName::REMEDY))
        },
    )
}

/// What is written between names in other lists.
const SEPARATORS: [char; 5] = [';', '|', ':', '/', '+'];

pub fn omitted(value: Option<String>) -> Result<OmittedFields, ConfigError> {
    OmittedFields::parse(&value.unwrap_or_default()).map_err(|error| match error {
        OmitError::Needed(needed) => {
            let fault = format!("names {needed}, without which no event could be applied");
            wrong("OMIT_FIELDS", fault, "leave it out; name fields such as private_metadata,unsafe_metadata")
        }
        OmitError::Unknown { name, .. } if name.contains(SEPARATORS) => {
            let separator: String = name.chars().filter(|c| SEPARATORS.contains(c)).take(1).collect();
            let remedy = "write names separated by commas, such as private_metadata,unsafe_metadata";
            wrong("OMIT_FIELDS", format!("has {separator:?} between names"), remedy)
        }
        OmitError::Unknown { name, nearest } => {
            let shown = if may_be_repeated(&name) { format!("{name:?}, a field") } else { "a field (not shown)".into() };
            let fault = format!("names {shown} that Clerk's user object does not have");
            let remedy = nearest.map_or_else(
                || "leave it out; name whole fields, such as private_metadata,unsafe_metadata, as Clerk's Backend API writes them".into(),
                |nearest| format!("did you mean {nearest}? Name whole fields, separated by commas"),
            );
            wrong("OMIT_FIELDS", fault, remedy)
        }
    })
}

pub fn on_delete(value: Option<String>) -> Result<store::OnDelete, ConfigError> {
    match value.as_deref() {
        None | Some("keep") => Ok(store::OnDelete::Keep),
        Some("scrub") => Ok(store::OnDelete::Scrub),
        Some(other) => Err(wrong("ON_DELETE", is(other), "give keep or scrub")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_repeats_what_was_meant_for_another_setting() {
        let url = || Some("postgres://app:hunter2@h/db".to_owned());
        for (error, name) in [
            (
                number("WORKER_BATCH", url(), 500, 1, 1000).unwrap_err(),
                "WORKER_BATCH",
            ),
            (port(url()).unwrap_err(), "PORT"),
            (retention(url()).unwrap_err(), "EVENT_RETENTION_DAYS"),
            (log_format(url()).unwrap_err(), "LOG_FORMAT"),
            (payloads(url()).map(drop).unwrap_err(), "EVENT_PAYLOADS"),
            (omitted(url()).map(drop).unwrap_err(), "OMIT_FIELDS"),
            (on_delete(url()).map(drop).unwrap_err(), "ON_DELETE"),
            (schema(url()).map(drop).unwrap_err(), "DATABASE_SCHEMA"),
        ] {
            let said = error.to_string();
            assert!(
                said.starts_with(name) && !said.contains("hunter2"),
                "{said}"
            );
        }
        assert!(
            port(Some("8O80".into()))
                .unwrap_err()
                .to_string()
                .starts_with("PORT is \"8O80\"; ")
        );
    }
}
