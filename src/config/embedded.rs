//! `--embedded`, with which `dev` works: the embedded files of DATA_DIR, whatever servers are set; and how other commands find the
//! same files.

use std::path::Path;

use super::{Config, Environment, Settings};

/// The servers that may be those of the application whose folder it is.
const SERVERS: [&str; 2] = ["DATABASE_URL", "AMQP_URL"];

impl Settings {
    /// As if `--embedded` were given.
    pub fn use_embedded(&mut self) {
        self.embedded = true;
    }
}

/// The same without the servers.
pub fn without_servers(settings: &Settings, environment: &Environment) -> (Settings, Environment) {
    let (mut settings, mut environment) = (settings.clone(), environment.clone());
    for name in SERVERS.into_iter().chain(["DATABASE_SCHEMA"]) {
        settings.forget(name);
        environment.forget(name);
    }
    settings.embedded = false;
    (settings, environment)
}

/// What is said of each setting of `.env` that holds what other programs substitute. Names the variable, never its value.
pub fn unsubstituted(
    settings: &Settings,
    environment: &Environment,
) -> Vec<(String, &'static str)> {
    let is_used =
        |name: &&str| !settings.embedded || !SERVERS.contains(&name.trim_end_matches("_FILE"));
    let names = environment.unsubstituted().into_iter().filter(is_used);
    let what = |name| {
        format!("{name} in .env has ${{…}} or $NAME in it, and nothing is substituted there")
    };
    names
        .map(|name| {
            (
                what(name),
                "write the value itself, or ignore this if it is meant so",
            )
        })
        .collect()
}

/// The file that stands where this directory, or one above it, is to be.
pub fn file_in_the_way(directory: &Path) -> Option<&Path> {
    let there = directory.ancestors().find(|path| path.exists())?;
    (!there.is_dir()).then_some(there)
}

/// The flags with which a command that another shell runs in this folder finds the embedded files of `config`.
pub fn flags(config: &Config, environment: &Environment) -> Vec<String> {
    let mut flags = Vec::new();
    let embedded = Settings {
        embedded: true,
        ..Settings::default()
    };
    let found = Config::resolve(&embedded, &environment.of_folder());
    if !found.is_ok_and(|found| found.data_dir == config.data_dir) {
        flags.extend(["--data-dir".into(), config.data_dir.display().to_string()]);
    }
    if SERVERS.iter().any(|name| environment.names(name)) {
        flags.push("--embedded".into());
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{queue, store};

    #[test]
    fn servers_that_are_set_are_left_alone_however_they_are_set() {
        let urls = [
            ("DATABASE_URL", "mysql://h/d"),
            ("AMQP_URL", ""),
            ("DATA_DIR", "/somewhere"),
        ];
        let mut settings = Settings {
            database_url: Some("file:./dev.db".into()),
            ..Settings::default()
        };
        assert!(Config::resolve(&settings, &Environment::of(&urls)).is_err());
        settings.use_embedded();
        let config = Config::resolve(&settings, &Environment::of(&urls)).unwrap();
        let store::Options::Sqlite(store) = config.store else {
            panic!("not SQLite")
        };
        assert_eq!(store.path, Path::new("/somewhere/users.db"));
        assert!(matches!(config.queue, queue::Options::Embedded(_)));
    }

    #[test]
    fn other_commands_get_the_flags_that_they_need() {
        let flags = |typed: &Settings, folder: &[(&str, &str)]| {
            let folder = Environment::of_dotenv(folder);
            let config = Config::resolve(
                &Settings {
                    embedded: true,
                    ..typed.clone()
                },
                &folder,
            )
            .unwrap();
            flags(&config, &folder).join(" ")
        };
        let none = Settings::default();
        assert_eq!(flags(&none, &[]), "");
        assert_eq!(flags(&none, &[("DATA_DIR", "there")]), "");
        let here = Settings {
            data_dir: Some("here".into()),
            ..Settings::default()
        };
        assert_eq!(flags(&here, &[("DATA_DIR", "there")]), "--data-dir here");
        assert_eq!(
            flags(&here, &[("AMQP_URL", "")]),
            "--data-dir here --embedded"
        );
        for url in [
            "postgres://u@h/d",
            "mysql://u@h/d",
            "file:./dev.db",
            "sqlite://other.db",
            "",
        ] {
            for name in [
                "DATABASE_URL",
                "DATABASE_URL_FILE",
                "AMQP_URL",
                "AMQP_URL_FILE",
            ] {
                assert_eq!(flags(&none, &[(name, url)]), "--embedded", "{name}={url}");
            }
        }
    }
}
