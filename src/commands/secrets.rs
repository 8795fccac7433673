//! The secrets that are in force, and how they are read again while the program runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::watch;
use tracing::{error, info};

use crate::clerk::Verifier;
use crate::config::{self, Config, ConfigError, Environment, Flags};
use crate::http::AdminToken;
use crate::metrics;

/// Whoever follows a secret sees it change.
pub struct Secrets {
    pub verifier: watch::Sender<Arc<Verifier>>,
    pub admin_token: watch::Sender<Option<Arc<AdminToken>>>,
    receives: bool,
    /// What `dev` made up: a signing secret beside those of the variables, and the token where no variable has one.
    made_up_secret: Option<SecretString>,
    made_up: Option<SecretString>,
}

impl Secrets {
    /// Fails where a receiver has no signing secret.
    pub fn of(config: &Config, receives: bool) -> Result<Self, ConfigError> {
        let verifier = watch::Sender::new(Arc::new(verifier(&config.signing_secrets, receives)?));
        count(config.signing_secrets.len(), receives);
        let admin_token = watch::Sender::new(digest(config.admin_token.as_ref()));
        Ok(Self {
            verifier,
            admin_token,
            receives,
            made_up_secret: None,
            made_up: None,
        })
    }

    /// With what `dev` made up.
    pub fn with_made_up(self, secret: SecretString, token: Option<SecretString>) -> Self {
        Self {
            made_up_secret: Some(secret),
            made_up: token,
            ..self
        }
    }

    /// Reads them again. One that cannot be read leaves those before in force, and so does a bug: no signal ends the process.
    pub fn read_again(&self, flags: &Flags) {
        if catch_unwind(AssertUnwindSafe(|| self.replace(flags))).is_err() {
            error!("clerk-sync met a bug of its own; the secrets before stay in force");
        }
    }

    fn replace(&self, flags: &Flags) {
        let read = Environment::read(flags).and_then(|environment| {
            let mut signing = config::signing_secrets(&environment)?;
            signing.extend(self.made_up_secret.clone());
            Ok((
                verifier(&signing, self.receives)?,
                signing.len(),
                config::admin_token(&environment)?,
            ))
        });
        match read {
            Ok((verifier, secrets, token)) => {
                self.verifier.send_replace(Arc::new(verifier));
                self.admin_token
                    .send_replace(digest(token.as_ref().or(self.made_up.as_ref())));
                count(secrets, self.receives);
                info!(secrets, "the secrets were read again");
            }
            Err(error) => {
                error!(%error, "the secrets could not be read again; those before stay in force")
            }
        }
    }
}

/// A worker needs no signing secret.
fn verifier(secrets: &[SecretString], receives: bool) -> Result<Verifier, ConfigError> {
    if receives {
        config::verifier(secrets)
    } else {
        Ok(Verifier::new(Vec::new()))
    }
}

/// Each secret is seen in the metrics from the beginning: one that nobody uses any more shows as one that stands still.
fn count(secrets: usize, receives: bool) {
    metrics::secrets_in_force(if receives { secrets } else { 0 });
}

fn digest(token: Option<&SecretString>) -> Option<Arc<AdminToken>> {
    token.map(|token| Arc::new(AdminToken::new(token)))
}
