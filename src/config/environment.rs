//! The variables that settings are read from: those of the process, then those of `.env`.

use std::collections::HashMap;

use secrecy::SecretString;

use super::{ConfigError, wrong};

/// The environment and `.env`, in this order.
#[derive(Clone, Default)]
pub struct Environment {
    process: HashMap<String, String>,
    dotenv: HashMap<String, String>,
}

impl Environment {
    /// Reads both now. A line of `.env` that cannot be read is an error: the secret it was meant to set would be missed
    /// much later.
    pub fn read() -> Result<Self, ConfigError> {
        let mut dotenv = HashMap::new();
        match dotenvy::from_filename_iter(".env") {
            Ok(lines) => {
                for (number, line) in lines.enumerate() {
                    // The error of the crate quotes the line.
                    let (name, value) = line.map_err(|_| {
                        let fault = format!("cannot be read from entry {} on", number + 1);
                        wrong("the file .env", fault, "write one NAME=value a line")
                    })?;
                    dotenv.entry(name).or_insert(value);
                }
            }
            Err(error) if error.not_found() => {}
            Err(error) => return Err(wrong("the file .env", format!("cannot be read: {error}"), "mend or remove it")),
        }
        // Variables that are no text are none of ours.
        let process =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Self { process: process.collect(), dotenv })
    }

    /// For tests of what follows from variables.
    #[cfg(test)]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let process = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self { process: process.collect(), dotenv: HashMap::new() }
    }

    /// An empty value is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = [&self.process, &self.dotenv].into_iter().filter_map(|variables| variables.get(name));
        found.map(|value| value.trim()).find(|value| !value.is_empty())
    }

    /// Whether what is printed shall have no colour (no-color.org).
    pub fn refuses_colour(&self) -> bool {
        self.get("NO_COLOR").is_some() || self.get("TERM") == Some("dumb")
    }

    /// The value of a secret, from the variable or the file that `NAME_FILE` names.
    pub(super) fn secret(&self, name: &str) -> Result<Option<SecretString>, ConfigError> {
        let file_name = format!("{name}_FILE");
        match (self.get(name), self.get(&file_name)) {
            (Some(_), Some(_)) => Err(wrong(name, format!("is set, and {file_name} too"), "set one of them")),
            (Some(value), None) => Ok(Some(value.into())),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    wrong(
                        &file_name,
                        format!("names a file that cannot be read: {error}"),
                        "give the path of a file that holds the value",
                    )
                })?;
                match text.trim() {
                    "" => Err(wrong(&file_name, "names an empty file", "write the value into it")),
                    text => Ok(Some(text.into())),
                }
            }
            (None, None) => Ok(None),
        }
    }

    /// Takes a variable back, and the one that names its file.
    pub(super) fn forget(&mut self, name: &str) {
        // The signing secret has two names, and an error of either is said of the newer one.
        let older = if name == super::SIGNING_SECRET { super::OLDER_SIGNING_SECRET } else { name };
        for name in [name, older] {
            for variables in [&mut self.process, &mut self.dotenv] {
                variables.remove(name);
                variables.remove(&format!("{name}_FILE"));
            }
        }
    }
}
