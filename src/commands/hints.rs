//! Builds the example commands that `dev` and others print, to be copied into another terminal in
//! the same folder.

use crate::config::{self, Config, Environment};

/// What each of these commands starts and ends with.
pub struct Hints {
    /// The name that it was called with: it need not be installed.
    program: String,
    flags: String,
}

impl Hints {
    /// Hints whose commands find the files of `config`.
    pub fn of(config: &Config, environment: &Environment) -> Self {
        let flags = config::flags_of_other_commands(config, environment)
            .iter()
            .map(|flag| format!(" {}", quoted(flag)))
            .collect();
        Self {
            flags,
            ..Self::without_flags()
        }
    }

    pub fn without_flags() -> Self {
        let program = std::env::args()
            .next()
            .unwrap_or_else(|| "clerk-sync".into());
        Self {
            program: quoted(&program),
            flags: String::new(),
        }
    }

    pub fn command(&self, words: &str) -> String {
        format!("{} {words}{}", self.program, self.flags)
    }
}

/// The text as a shell reads it.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/.-_:%@+=,".contains(c);
    if text.chars().all(is_plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
