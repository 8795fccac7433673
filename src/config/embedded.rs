//! What `dev` works with: the embedded files, whatever servers are set; and how other commands find the same files.

use super::{Config, ConfigError, Environment, Settings, paths};
use crate::store;

/// As `Config::resolve`, without the servers that are set: those of the application whose folder it is, perhaps.
pub fn embedded(settings: &Settings, environment: &Environment) -> Result<Config, ConfigError> {
    let (mut settings, mut environment) = (settings.clone(), environment.clone());
    for name in ["DATABASE_URL", "AMQP_URL"] {
        settings.forget(name);
        environment.forget(name);
    }
    Config::resolve(&settings, &environment)
}

/// The flags with which a command that another shell runs in this folder finds the files of `config`.
pub fn flags(config: &Config, environment: &Environment) -> Vec<String> {
    let folder = environment.of_folder();
    let path = sqlite_path(config);
    let finds = |settings: &Settings| {
        let found = Config::resolve(settings, &folder);
        found.is_ok_and(|found| found.data_dir == config.data_dir && sqlite_path(&found) == path)
    };
    let directory = config.data_dir.display().to_string();
    if finds(&Settings::default()) {
        return Vec::new();
    }
    let mut flags = vec!["--data-dir".into(), directory.clone()];
    if !finds(&Settings { data_dir: Some(directory), ..Settings::default() }) {
        flags.extend(path.map(|path| ["--database-url".into(), paths::sqlite_url(path)]).into_iter().flatten());
    }
    flags
}

fn sqlite_path(config: &Config) -> Option<&std::path::Path> {
    match &config.store {
        store::Options::Sqlite(options) => Some(&options.path),
        store::Options::Postgres(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_are_set_are_left_alone_however_they_are_set() {
        let urls = [("DATABASE_URL", "mysql://h/d"), ("AMQP_URL", ""), ("DATA_DIR", "/somewhere")];
        let settings = Settings { database_url: Some("file:./dev.db".into()), ..Settings::default() };
        let config = embedded(&settings, &Environment::of(&urls)).unwrap();
        assert_eq!(sqlite_path(&config), Some("/somewhere/users.db".as_ref()));
    }

    #[test]
    fn other_commands_get_the_flags_that_they_need() {
        let flags = |typed: &Settings, folder: &[(&str, &str)]| {
            let folder = Environment::of_dotenv(folder);
            flags(&embedded(typed, &folder).unwrap(), &folder).join(" ")
        };
        let none = Settings::default();
        assert_eq!(flags(&none, &[]), "");
        assert_eq!(flags(&none, &[("DATA_DIR", "there")]), "");
        let here = Settings { data_dir: Some("here".into()), ..Settings::default() };
        assert_eq!(flags(&here, &[("DATA_DIR", "there")]), "--data-dir here");
        for url in ["postgres://u@h/d", "mysql://u@h/d", "file:./dev.db", "sqlite://other.db"] {
            let expected = "--data-dir ./data --database-url sqlite://./data/users.db";
            assert_eq!(flags(&none, &[("DATABASE_URL", url)]), expected, "{url}");
        }
    }
}
