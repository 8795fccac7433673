//! What `dev` sets, and `--embedded`: how other commands find the embedded files that it uses,
//! whatever servers are set.

use super::environment::{Environment, SERVERS};
use super::resolve::Config;
use crate::store::{Options, Payloads};

impl Config {
    /// The same with the payloads of all events, unless a setting says which are kept: who tries it
    /// wants to see what came.
    #[must_use]
    pub fn with_all_payloads(mut self, environment: &Environment) -> Self {
        if let (Options::Sqlite(file), None) = (&mut self.store, environment.get("EVENT_PAYLOADS"))
        {
            file.keep.payloads = Payloads::All;
        }
        self
    }
}

/// The settings of `.env` whose values hold what other programs substitute, each with its remedy.
/// Names the variable, never its value.
pub fn unsubstituted(environment: &Environment) -> Vec<(String, &'static str)> {
    let what = |name| {
        format!("{name} in .env has ${{…}} or $NAME in it, and nothing is substituted there")
    };
    let remedy = "write the value itself, or ignore this if it is intended";
    environment
        .unsubstituted()
        .into_iter()
        .map(|name| (what(name), remedy))
        .collect()
}

/// The flags with which a command that another shell runs in this folder finds the embedded files
/// of `config`.
pub fn flags_of_other_commands(config: &Config, environment: &Environment) -> Vec<String> {
    let mut flags = Vec::new();
    let found = Config::resolve(&environment.of_folder());
    if !found.is_ok_and(|found| found.data_dir == config.data_dir) {
        flags.extend(["--data-dir".into(), config.data_dir.display().to_string()]);
    }
    if SERVERS[..2].iter().any(|name| environment.names(name)) {
        flags.push("--embedded".into());
    }
    flags
}
