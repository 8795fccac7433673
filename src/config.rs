//! Flags, environment and `.env` to one configuration, once, before a port is opened.
//!
//! Flags win over the environment, which wins over `.env`. For a secret, `NAME_FILE` names a file
//! that holds the value. Each error names the variable, what is wrong with it and what would be
//! right, and never a secret.

mod addresses;
mod dotenv;
mod embedded;
mod environment;
mod error;
mod flags;
mod http_url;
mod paths;
mod resolve;
mod secrets;
mod settings;
mod validate;
mod values;

pub use embedded::{flags_of_other_commands, unsubstituted};
pub use environment::Environment;
pub use error::ConfigError;
pub use flags::{Flags, ListedFlags};
pub use http_url::{UrlFault, read_http_url};
pub use resolve::{ClerkApi, Config};
pub use secrets::{admin_token, clerk_secret_key, read_token, signing_secrets, verifier};
pub use settings::{Fallback, SETTINGS, Setting};
pub use validate::{ConfigErrors, validate};

#[cfg(test)]
mod tests;
