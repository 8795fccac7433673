//! Every setting that is wrong, not the first alone: for `check`, which goes on with what is left.

use super::{Config, ConfigError, Environment, Settings};

/// What is wrong, and the names of the variables that were left out for it.
#[derive(Debug, Default)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// Whether this variable, or the one that names its file, is wrong.
    pub fn concern(&self, name: &str) -> bool {
        self.0.iter().any(|fault| variable(&fault.name) == name)
    }
}

/// Resolves what can be resolved: a setting that is wrong is taken for one that is not there. Nothing where that does not
/// help.
pub fn validate(settings: &Settings, environment: &Environment) -> (Option<Config>, ConfigErrors) {
    let (mut settings, mut environment, mut faults) = (
        settings.clone(),
        environment.clone(),
        ConfigErrors::default(),
    );
    loop {
        let error = match Config::resolve(&settings, &environment) {
            Ok(config) => return (Some(config), faults),
            Err(error) => error,
        };
        let name = variable(&error.name).to_owned();
        // Without it the fault would be met again, for ever.
        let is_new = !faults.concern(&name);
        faults.0.push(error);
        if !is_new {
            return (None, faults);
        }
        settings.forget(&name);
        environment.forget(&name);
    }
}

fn variable(name: &str) -> &str {
    let name = name.trim_end_matches(':');
    name.strip_suffix("_FILE").unwrap_or(name)
}

impl Settings {
    /// Takes a flag back, by the name of its variable.
    pub(super) fn forget(&mut self, name: &str) {
        // Where the setting is a file, its own name ends so.
        let flag = match variable(name) {
            "CLERK_WEBHOOK_SIGNING_SECRET" => return self.clerk_webhook_signing_secret = None,
            "CLERK_SECRET_KEY" => return self.clerk_secret_key = None,
            "CLERK_API_URL" => &mut self.clerk_api_url,
            "CLERK_API_CA" => &mut self.clerk_api_ca_file,
            "DATABASE_URL" => return self.database_url = None,
            "DATABASE_SCHEMA" => &mut self.database_schema,
            "DATABASE_CA" => &mut self.database_ca_file,
            "AMQP_URL" => return self.amqp_url = None,
            "AMQP_MANAGEMENT_URL" => return self.amqp_management_url = None,
            "AMQP_CA" => &mut self.amqp_ca_file,
            "AMQP_CLIENT_CERT" => &mut self.amqp_client_cert_file,
            "AMQP_CLIENT_KEY" => &mut self.amqp_client_key_file,
            "AMQP_NAMESPACE" => &mut self.amqp_namespace,
            "DATA_DIR" => &mut self.data_dir,
            "HOST" => &mut self.host,
            "PORT" => &mut self.port,
            "ADMIN_TOKEN" => return self.admin_token = None,
            "MAX_BODY_BYTES" => &mut self.max_body_bytes,
            "WORKER_BATCH" => &mut self.worker_batch,
            "WORKER_CONCURRENCY" => &mut self.worker_concurrency,
            "EVENT_RETENTION_DAYS" => &mut self.event_retention_days,
            "EVENT_PAYLOADS" => &mut self.event_payloads,
            "ON_DELETE" => &mut self.on_delete,
            "OMIT_FIELDS" => &mut self.omit_fields,
            "LOG_FORMAT" => &mut self.log_format,
            _ => return,
        };
        *flag = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_and_the_rest_is_resolved() {
        let environment = Environment::of(&[
            ("CLERK_WEBHOOK_SECRET", "whsec_!"),
            ("DATABASE_URL", "mysql://u:hunter2@h/d"),
            ("CLERK_SECRET_KEY_FILE", "/nowhere/at/all"),
            ("AMQP_NAMESPACE", "staging"),
            ("PORT", "3001"),
        ]);
        let settings = Settings {
            worker_batch: Some("many".into()),
            ..Settings::default()
        };
        let (config, faults) = validate(&settings, &environment);
        let config = config.unwrap();
        assert_eq!(config.http.port, 3001);
        assert!(config.signing_secrets.is_empty() && config.clerk_api.secret_key.is_none());
        let names = [
            "CLERK_WEBHOOK_SIGNING_SECRET",
            "DATABASE_URL",
            "CLERK_SECRET_KEY",
            "WORKER_BATCH",
        ];
        assert!(names.iter().all(|name| faults.concern(name)), "{faults:?}");
        assert_eq!(faults.iter().count(), names.len(), "{faults:?}");
        assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }

    /// Whatever can be wrong can be left out: otherwise nothing behind it would be asked.
    #[test]
    fn every_setting_can_be_taken_back() {
        use clap::{Args, FromArgMatches};
        let command = Settings::augment_args(clap::Command::new("x"));
        let flags = command
            .get_arguments()
            .filter(|argument| argument.get_action().takes_values());
        let flags: Vec<_> = flags.filter_map(|argument| argument.get_long()).collect();
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        for flag in flags {
            let given = command
                .clone()
                .get_matches_from(["x", &format!("--{flag}"), "value"]);
            let mut settings = Settings::from_arg_matches(&given).unwrap();
            assert_ne!(
                format!("{settings:?}"),
                format!("{:?}", Settings::default()),
                "--{flag}"
            );
            settings.forget(&flag.to_uppercase().replace('-', "_"));
            assert_eq!(
                format!("{settings:?}"),
                format!("{:?}", Settings::default()),
                "--{flag}"
            );
        }
    }
}
