//! Parses the command line. Its errors never repeat a value that may be a secret, such as a URL
//! after a misspelled flag, and show hidden characters of a value by number.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};

use super::cli::Cli;
use crate::escape::{may_be_repeated, visible};

const NOT_SHOWN: &str = "(not shown)";

/// Where the help of every command says that the settings are.
const SETTINGS: &str =
    "Settings of all commands: `clerk-sync help settings`, docs/configuration.md";

/// Reads the arguments. Exits if they cannot be read, and for `--help`.
pub fn parse() -> Cli {
    read(std::env::args_os()).unwrap_or_else(|error| printable(error).exit())
}

fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The commands, with the line about settings at the end of each help.
pub fn command() -> Command {
    with_settings(Cli::command())
}

fn with_settings(command: Command) -> Command {
    let command = command.mut_subcommands(with_settings);
    if command.get_name() == "settings" {
        return command;
    }
    let long = command.get_after_long_help().map(ToString::to_string);
    let long = long.map_or(String::new(), |text| format!("{text}\n\n"));
    command
        .after_help(SETTINGS)
        .after_long_help(format!("{long}{SETTINGS}"))
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
        let error = read([&["clerk-sync"], arguments].concat()).unwrap_err();
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
            let error = read([&["clerk-sync"], arguments].concat()).unwrap_err();
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

    /// What comes after the usage of each command: its own options, its examples, and one line
    /// about the settings of all.
    #[test]
    fn the_help_of_every_command_has_its_own_options_examples_and_one_line_about_settings() {
        fn each(command: &Command, path: &[&str]) {
            let below: Vec<_> = command
                .get_subcommands()
                .filter(|command| command.get_name() != "help")
                .collect();
            for command in &below {
                each(command, &[path, &[command.get_name()]].concat());
            }
            let help = said(&[path, &["--help"]].concat());
            let short = said(&[path, &["-h"]].concat());
            if path == ["settings"] {
                assert!(help.contains("--omit-fields <FIELDS>") && help.contains("RUST_LOG"));
                return;
            }
            for help in [&help, &short] {
                assert_eq!(help.matches(SETTINGS).count(), 1, "{path:?}: {help}");
                assert!(!help.contains("--omit-fields"), "{path:?}: {help}");
            }
            if below.is_empty() && !command.is_hide_set() {
                let example = format!("  clerk-sync {}", path.join(" "));
                let examples = help.split_once("Examples:\n").unwrap_or_default().1;
                assert!(
                    examples.contains(example.trim_start()),
                    "{path:?} has no example: {help}"
                );
            }
        }
        each(&Cli::command(), &[]);
    }

    #[test]
    fn a_command_has_the_names_that_others_give_it() {
        for words in [
            &["users", "ls"][..],
            &["users", "get", "user_1"],
            &["events", "ls", "-f"],
            &["events", "get", "msg_1"],
        ] {
            assert!(read([&["clerk-sync"], words].concat()).is_ok(), "{words:?}");
        }
        let help = said(&["help", "events", "list"]);
        assert!(help.contains("--follow"), "{help}");
        assert!(said(&["help", "settings"]).contains("--database-url"));
    }
}
