//! Parses the command line. Its errors never repeat a value that may be a secret, such as a URL
//! after a misspelled flag, and show hidden characters of a value by number.

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::cli::Cli;
use crate::escape::{may_be_repeated, visible};

const NOT_SHOWN: &str = "(not shown)";

/// Reads the arguments. Exits if they cannot be read, and for `--help`.
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| printable(error).exit())
}

fn without_secrets(mut error: clap::Error) -> clap::Error {
    let hidden: Vec<ContextKind> = error
        .context()
        .filter(|(kind, value)| match kind {
            // In other kinds of errors this is the name of one of our own flags.
            ContextKind::InvalidArg => {
                error.kind() == ErrorKind::UnknownArgument && !is_harmless(value)
            }
            ContextKind::InvalidValue | ContextKind::InvalidSubcommand => !is_harmless(value),
            _ => false,
        })
        .map(|(kind, _)| kind)
        .collect();
    for kind in &hidden {
        error.insert(*kind, ContextValue::String(NOT_SHOWN.into()));
    }
    if !hidden.is_empty() {
        // A suggestion repeats the argument.
        error.remove(ContextKind::Suggested);
    }
    error
}

/// The error as a terminal may show it: an argument can be a copied ID with characters that control
/// a terminal.
fn printable(error: clap::Error) -> clap::Error {
    let mut error = without_secrets(error);
    let context = error.context();
    let shown: Vec<_> = context
        .filter_map(|(kind, value)| Some((kind, shown(value)?)))
        .collect();
    for (kind, value) in shown {
        error.insert(kind, value);
    }
    error
}

/// The value with hidden characters by number; `None` for one that is no text from outside.
fn shown(value: &ContextValue) -> Option<ContextValue> {
    match value {
        ContextValue::String(text) => Some(ContextValue::String(visible(text).into_owned())),
        ContextValue::Strings(texts) => {
            let texts = texts.iter().map(|text| visible(text).into_owned());
            Some(ContextValue::Strings(texts.collect()))
        }
        _ => None,
    }
}

fn is_harmless(value: &ContextValue) -> bool {
    match value {
        ContextValue::String(text) => may_be_repeated(text),
        ContextValue::Strings(texts) => texts.iter().all(|text| may_be_repeated(text)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from([&["clerk-sync"], arguments].concat()).unwrap_err();
        printable(error).to_string()
    }

    #[test]
    fn no_error_repeats_what_may_be_a_secret() {
        let url = "postgres://app:hunter2@h/db";
        let flag = format!("--database-urls={url}");
        for arguments in [
            &["migrate", url][..],
            &[url],
            &[&flag, "migrate"],
            &["migrate", &flag],
            &["migrate", "--", url],
            &["events", url],
            &["events", "replay", url],
            &["send", "whsec_hunter2"],
            &["send", "user.created", "sk_live_hunter2"],
            &[
                "send",
                "user.created",
                "--url",
                "http://u:24/hunter2@127.0.0.1:1/x",
            ],
            &[
                "send",
                "user.created",
                "--url",
                "http://u:24/hunter2%40127.0.0.1:1/x",
            ],
            &["send", "user.created", "--url", "ftp://u:hunter2@h"],
            &["send", "user.created", "--url", "u:hunter2@h"],
            &["send", "user.created", "--count", url],
            &["send", "user.created", "--rate", url],
            &["send", "user.created", "--connections", url],
            &["check", "--role", url],
            &["check", "--json=sk_live_hunter2"],
            &["completions", url],
        ] {
            let said = said(arguments);
            assert!(!said.contains("hunter2"), "{arguments:?}: {said}");
            assert!(said.contains("error: "), "{arguments:?}: {said}");
        }
    }

    #[test]
    fn hidden_characters_are_shown_by_number() {
        let hostile = "a\u{1b}[2J\u{202e}b\nc";
        for arguments in [
            &[hostile][..],
            &["users", hostile],
            &["users", "list", "--deleted", hostile],
            &["events", "list", "--since", hostile],
            &["events", "show", "msg_1", hostile],
            &["events", "replay", hostile],
            &[&format!("--{hostile}"), "migrate"],
            &["send", hostile],
        ] {
            let error = Cli::try_parse_from([&["clerk-sync"], arguments].concat()).unwrap_err();
            let text = printable(error).render().ansi().to_string();
            assert!(
                text.contains(r"a\u001b[2J\u202eb\u000ac") && !text.contains('\u{202e}'),
                "{arguments:?}: {text}"
            );
            assert!(!text.contains("\u{1b}[2J"), "{arguments:?}: {text}");
        }
    }

    #[test]
    fn what_was_mistyped_is_repeated() {
        assert!(said(&["migrat"]).contains("'migrat'"));
        assert!(said(&["send", "user.create"]).contains("'user.create'"));
        assert!(said(&["migrate", "--dry"]).contains("'--dry'"));
        assert!(said(&["send", "user.created", "--count", "many"]).contains("--count"));
    }
}
