//! Where the value of a setting is: in a flag, in a variable of the process, or in `./.env`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::error::{ConfigError, wrong};
use super::flags::Flags;
use super::settings::{OLDER_SIGNING_SECRET, SIGNING_SECRET, default_of, is_ours};
use super::{dotenv, paths};

type Variables = HashMap<String, String>;

/// Flags, then the variables of the process, then those of `.env`: the first that has a name
/// counts.
#[derive(Clone, Default)]
pub struct Environment {
    flags: Variables,
    process: Variables,
    dotenv: Variables,
    /// Whether `--embedded` is given.
    is_embedded: bool,
}

/// The servers that may be those of the application whose folder it is. `--embedded` ignores them.
pub(super) const SERVERS: [&str; 3] = ["DATABASE_URL", "AMQP_URL", "DATABASE_SCHEMA"];

/// Only the file of the working directory is read: one in a directory above may belong to another
/// application.
const DOTENV: &str = ".env";

/// Largest `.env`, in bytes: more is something else.
const DOTENV_MAX: u64 = 1 << 20;

impl Environment {
    /// Reads the variables now. A line of `.env` about a setting of ours that cannot be read is an
    /// error: the secret it was meant to set would be missed much later.
    ///
    /// # Errors
    ///
    /// If `.env` cannot be read.
    pub fn read(flags: &Flags) -> Result<Self, ConfigError> {
        let text = read_dotenv(Path::new(DOTENV))?;
        let dotenv = dotenv::parse(&text, is_ours).map_err(|error| {
            let place = error
                .line
                .map_or("the file .env".into(), |line| format!(".env line {line}:"));
            wrong(&place, error.what, error.remedy)
        })?;
        // Variables that are no text are none of ours.
        let process = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Ok(Self::of(flags, process.collect(), dotenv))
    }

    fn of(flags: &Flags, process: Variables, dotenv: Variables) -> Self {
        let values = flags.values.iter();
        let values = values.map(|(name, value)| (name.clone(), value.expose_secret().into()));
        let mut environment = Self {
            flags: values.collect(),
            process,
            dotenv,
            is_embedded: flags.embedded,
        };
        if flags.embedded {
            environment.forget_servers();
        }
        environment
    }

    /// For tests of what follows from variables.
    #[cfg(test)]
    pub fn with(variables: &[(&str, &str)]) -> Self {
        Self::with_flags(&Flags::default(), variables)
    }

    /// Returns an environment with these variables and flags.
    #[cfg(test)]
    pub fn with_flags(flags: &Flags, variables: &[(&str, &str)]) -> Self {
        let process = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        Self::of(flags, process.collect(), HashMap::new())
    }

    /// Returns an environment with these variables in `.env`.
    #[cfg(test)]
    pub fn with_dotenv(flags: &Flags, variables: &[(&str, &str)]) -> Self {
        Self::of(flags, HashMap::new(), Self::with(variables).process)
    }

    /// What `--embedded` finds in this folder from another shell: `.env` alone.
    pub(super) fn of_folder(&self) -> Self {
        let mut folder = Self {
            dotenv: self.dotenv.clone(),
            ..Self::default()
        };
        folder.forget_servers();
        folder
    }

    fn forget_servers(&mut self) {
        for name in SERVERS {
            self.forget(name);
        }
    }

    /// Whether the process, and not `.env`, has the variable.
    pub fn is_exported(&self, name: &str) -> bool {
        self.process
            .get(name)
            .is_some_and(|value| !clean(value).is_empty())
    }

    /// Whether the database is SQLite because nothing was said of it.
    pub(super) fn lacks_database(&self) -> bool {
        !self.is_embedded && !self.names("DATABASE_URL")
    }

    /// Whether there is the variable, or the one that names its file, with a value or without.
    pub(super) fn names(&self, name: &str) -> bool {
        let layers = [&self.flags, &self.process, &self.dotenv];
        let has = |name: &str| layers.iter().any(|layer| layer.contains_key(name));
        has(name) || has(&file_of(name))
    }

    /// The names of settings in `.env` that hold `${NAME}`, or nothing but `$NAME`: other programs
    /// substitute there.
    pub(super) fn unsubstituted(&self) -> Vec<&str> {
        let counts = |name: &str| self.of_process(name).is_none() && !self.flags.contains_key(name);
        let names = self.dotenv.iter();
        let names = names.filter(|(name, value)| counts(name) && names_variable(clean(value)));
        let mut names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The home directory of the user.
    pub(super) fn home(&self) -> Option<PathBuf> {
        self.process
            .get("HOME")
            .map(PathBuf::from)
            .filter(|home| home.is_absolute())
    }

    /// The value of the setting. Returns `None` if no variable has one; a flag may be empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(
            is_ours(name),
            "{name} is not in config/settings.rs, so that no .env can set it"
        );
        let flag = self.flags.get(name).map(|flag| clean(flag));
        let dotenv = || self.dotenv.get(name).map(|value| clean(value));
        flag.or_else(|| self.of_process(name))
            .or_else(|| dotenv().filter(|value| !value.is_empty()))
    }

    /// The same, or the value that holds without the setting.
    pub(super) fn get_or_default(&self, name: &str) -> &str {
        self.get(name).or(default_of(name)).unwrap_or_default()
    }

    /// The value that the process has, of a variable of another program's such as libpq's: in
    /// `.env` it would be the application's.
    pub(super) fn of_process(&self, name: &str) -> Option<&str> {
        self.process
            .get(name)
            .map(|value| clean(value))
            .filter(|value| !value.is_empty())
    }

    /// Whether what is printed shall have no color (no-color.org).
    pub fn refuses_color(&self) -> bool {
        self.get("NO_COLOR").is_some() || self.get("TERM") == Some("dumb")
    }

    /// The value of a secret, from the variable or the file that `NAME_FILE` names.
    pub(super) fn secret(&self, name: &str) -> Result<Option<SecretString>, ConfigError> {
        if self.flags.contains_key(name) {
            return Ok(self.get(name).map(SecretString::from));
        }
        let file_name = file_of(name);
        match (self.get(name), self.get(&file_name)) {
            (Some(_), Some(_)) => Err(wrong(
                name,
                format!("is set, and {file_name} too"),
                "set one of them",
            )),
            (Some(value), None) => Ok(Some(value.into())),
            (None, Some(path)) => {
                let path = paths::typed(path, self.home().as_deref())
                    .map_err(|(fault, remedy)| wrong(&file_name, fault, remedy))?;
                let text = std::fs::read_to_string(path).map_err(|error| {
                    wrong(
                        &file_name,
                        format!("names a file that cannot be read: {error}"),
                        "give the path of a file that holds the value",
                    )
                })?;
                match clean(&text) {
                    "" => Err(wrong(
                        &file_name,
                        "names an empty file",
                        "write the value into it",
                    )),
                    text => Ok(Some(text.into())),
                }
            }
            (None, None) => Ok(None),
        }
    }

    /// Whether a secret was meant to be set and is empty: the variable is there, or the one that
    /// names its file, and neither has a value. A flag hides both, and a variable of the process
    /// hides that of `.env`.
    pub(super) fn is_empty(&self, name: &str) -> bool {
        if let Some(flag) = self.flags.get(name) {
            return clean(flag).is_empty();
        }
        let value = |name: &str| {
            let value = self.process.get(name).or_else(|| self.dotenv.get(name));
            value.map(|value| clean(value))
        };
        let values = [value(name), value(&file_of(name))];
        values.iter().any(Option::is_some) && values.iter().flatten().all(|value| value.is_empty())
    }

    /// Ignores a variable that the command does not need; a flag for it still counts.
    pub fn ignore(&mut self, name: &str) {
        if !self.flags.contains_key(name) {
            self.forget(name);
        }
    }

    /// Removes a setting, and the variable that names its file.
    pub(super) fn forget(&mut self, name: &str) {
        // The signing secret has two names, and an error of either is reported for the newer one.
        let is_signing_secret = name == SIGNING_SECRET;
        let older = is_signing_secret.then_some(OLDER_SIGNING_SECRET);
        for name in std::iter::once(name).chain(older) {
            for layer in [&mut self.flags, &mut self.process, &mut self.dotenv] {
                layer.remove(name);
                layer.remove(&file_of(name));
            }
        }
    }
}

fn file_of(name: &str) -> String {
    format!("{name}_FILE")
}

/// Whether the value is `$NAME`, or has `${NAME}` or `${NAME:-…}` in it.
fn names_variable(value: &str) -> bool {
    let rest_of_name = |text: &'_ str| {
        text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len())
    };
    let is_name = |text: &str| !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit());
    let is_whole = value
        .strip_prefix('$')
        .is_some_and(|name| is_name(name) && rest_of_name(name) == name.len());
    let mut braces = value
        .split("${")
        .skip(1)
        .map(|text| text.split_at(rest_of_name(text)));
    is_whole || braces.any(|(name, rest)| !name.is_empty() && rest.starts_with(['}', ':']))
}

/// The value without white space, a byte order mark, and one pair of quotes around it, which
/// `docker run --env-file` and some panels of hosters keep. No setting begins and ends with a
/// quote.
pub(super) fn clean(value: &str) -> &str {
    let value = value.trim_start_matches('\u{feff}').trim();
    let unquoted = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    // Quotes within are of several values, each in its own.
    let is_one = |inner: &&str| !inner.contains(&value[..1]);
    unquoted.filter(is_one).map_or(value, str::trim)
}

/// The bytes of the file; none if there is no such file.
fn read_dotenv(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let fault = |what: String, remedy: &str| wrong("the file .env", what, remedy);
    let unreadable = |error: std::io::Error| {
        fault(
            format!("cannot be read: {error}"),
            "make it readable, or remove it",
        )
    };
    let file = match File::open(path) {
        Ok(file) => file,
        // A link that leads nowhere is there.
        Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(error)),
    };
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(fault(
            "is a directory".into(),
            "move it away, or start in another directory",
        ));
    }
    let mut text = Vec::new();
    file.take(DOTENV_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > DOTENV_MAX {
        return Err(fault(
            "has more than 1 MiB".into(),
            "keep only lines of NAME=value in it",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_of_quotes_is_not_of_the_value() {
        for (value, cleaned) in [
            ("\"a\"", "a"),
            (" 'a b' \n", "a b"),
            ("\"'a'\"", "'a'"),
            ("\u{feff}a", "a"),
            ("\"", "\""),
            ("\"\"", ""),
            ("\"a'", "\"a'"),
            ("\"a\",\"b\"", "\"a\",\"b\""),
            ("a\"b\"", "a\"b\""),
        ] {
            assert_eq!(clean(value), cleaned, "{value:?}");
        }
    }

    #[test]
    fn a_value_for_a_program_that_substitutes_is_found() {
        for value in [
            "postgres://app:${DB_PASSWORD}@h/db",
            "${A}",
            "$NAME",
            "$_a1",
            "a${B:-c}",
        ] {
            let dotenv = Environment::with_dotenv(
                &Flags::default(),
                &[("DATABASE_URL", value), ("PORT", "1")],
            );
            assert_eq!(dotenv.unsubstituted(), ["DATABASE_URL"], "{value}");
            let hidden = Environment {
                process: Environment::with(&[("DATABASE_URL", "x")]).process,
                ..dotenv
            };
            assert!(
                hidden.unsubstituted().is_empty(),
                "that of the process counts: {value}"
            );
        }
        for value in ["pa$word", "$1a", "$", "${", "${}", "${a b}", "$a-b", "x$$"] {
            assert!(
                Environment::with_dotenv(&Flags::default(), &[("DATABASE_URL", value)])
                    .unsubstituted()
                    .is_empty(),
                "{value}"
            );
        }
    }

    #[test]
    fn a_variable_that_is_there_without_a_value_is_empty() {
        let of = |variables: &[(&str, &str)]| Environment::with(variables).is_empty("DATABASE_URL");
        assert!(
            of(&[("DATABASE_URL", "")])
                && of(&[("DATABASE_URL", " '' ")])
                && of(&[("DATABASE_URL_FILE", "")])
        );
        assert!(!of(&[]) && !of(&[("DATABASE_URL", "x")]));
        assert!(
            !of(&[("DATABASE_URL", ""), ("DATABASE_URL_FILE", "/x")]),
            "one of the two has a value"
        );
        let both = Environment {
            process: Environment::with(&[("DATABASE_URL", "")]).process,
            ..Environment::with_dotenv(&Flags::default(), &[("DATABASE_URL", "x")])
        };
        assert!(both.is_empty("DATABASE_URL"), "that of the process counts");
    }
}
