//! Every setting that is wrong, not the first alone: for `check`, which continues with the others.

use super::environment::Environment;
use super::error::ConfigError;
use super::resolve::Config;

/// The errors of all settings that are wrong.
#[derive(Debug, Default)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// Whether one of these variables, or the one that names its file, is wrong.
    pub fn concern(&self, names: &[&str]) -> bool {
        self.0
            .iter()
            .any(|error| names.contains(&variable(&error.name)))
    }
}

/// Resolves what can be resolved: a setting that is wrong is ignored. Returns no configuration if
/// that does not help.
pub fn validate(environment: &Environment) -> (Option<Config>, ConfigErrors) {
    let (mut environment, mut errors) = (environment.clone(), ConfigErrors::default());
    loop {
        let error = match Config::resolve(&environment) {
            Ok(config) => return (Some(config), errors),
            Err(error) => error,
        };
        let name = variable(&error.name).to_owned();
        let is_new = !errors.concern(&[&name]);
        errors.0.push(error);
        // Without this the same error would be found for ever.
        if !is_new {
            return (None, errors);
        }
        environment.forget(&name);
    }
}

fn variable(name: &str) -> &str {
    let name = name.trim_end_matches(':');
    name.strip_suffix("_FILE").unwrap_or(name)
}
