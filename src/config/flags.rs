//! The settings as flags of the command line. Each one with a value is also a variable of the
//! environment.

use std::collections::HashMap;
use std::sync::LazyLock;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use secrecy::SecretString;

/// The flags as clap defines them. Their values are read by name into `Flags`.
#[derive(clap::Args)]
#[command(next_help_heading = "Settings")]
struct Definitions {
    /// Signing secret whsec_… of the endpoint in Clerk's dashboard; for rotation several, separated
    /// by commas, the new one first [env: CLERK_WEBHOOK_SIGNING_SECRET]
    #[arg(long, value_name = "SECRET")]
    clerk_webhook_signing_secret: Option<String>,
    /// Secret key sk_… of Clerk's Backend API, for backfill and reconcile [env: CLERK_SECRET_KEY]
    #[arg(long, value_name = "KEY")]
    clerk_secret_key: Option<String>,
    /// Base URL of Clerk's Backend API [env: CLERK_API_URL] [default: https://api.clerk.com/v1]
    #[arg(long, value_name = "URL")]
    clerk_api_url: Option<String>,
    /// PEM file with a CA for Clerk's API (of a proxy between), trusted beside the system's roots
    /// [env: CLERK_API_CA_FILE]
    #[arg(long, value_name = "PATH")]
    clerk_api_ca_file: Option<String>,
    /// postgres://… or sqlite://PATH [env: DATABASE_URL] [default: users.db in DATA_DIR]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Schema of the tables in PostgreSQL [env: DATABASE_SCHEMA] [default: clerk]
    #[arg(long, value_name = "NAME")]
    database_schema: Option<String>,
    /// PEM file with a CA for PostgreSQL, trusted beside the system's roots [env: DATABASE_CA_FILE]
    #[arg(long, value_name = "PATH")]
    database_ca_file: Option<String>,
    /// amqp://… or amqps://…; for a cluster one a node, separated by commas [env: AMQP_URL]
    /// [default: an embedded queue in DATA_DIR]
    #[arg(long, value_name = "URL")]
    amqp_url: Option<String>,
    /// http(s)://… of RabbitMQ's management API, for check [env: AMQP_MANAGEMENT_URL] [default: the
    /// host of AMQP_URL at its usual port]
    #[arg(long, value_name = "URL")]
    amqp_management_url: Option<String>,
    /// PEM file with a CA for RabbitMQ, trusted beside the system's roots [env: AMQP_CA_FILE]
    #[arg(long, value_name = "PATH")]
    amqp_ca_file: Option<String>,
    /// PEM file with the client's certificate for RabbitMQ [env: AMQP_CLIENT_CERT_FILE]
    #[arg(long, value_name = "PATH")]
    amqp_client_cert_file: Option<String>,
    /// PEM file with its private key [env: AMQP_CLIENT_KEY_FILE]
    #[arg(long, value_name = "PATH")]
    amqp_client_key_file: Option<String>,
    /// Prefix of every exchange and queue name [env: AMQP_NAMESPACE] [default: clerk-sync]
    #[arg(long, value_name = "NAME")]
    amqp_namespace: Option<String>,
    /// Directory of the embedded files [env: DATA_DIR] [default: ./data]
    #[arg(long, value_name = "PATH")]
    data_dir: Option<String>,
    /// Use the embedded files of DATA_DIR, as `dev` does, and ignore DATABASE_URL and AMQP_URL
    #[arg(long)]
    embedded: bool,
    /// Address that HTTP listens on [env: HOST] [default: 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// Port that HTTP listens on; 0 takes a free one [env: PORT] [default: 3000]
    #[arg(long)]
    port: Option<String>,
    /// Bearer token of /api/* other than the webhook; without one those answer 403 [env:
    /// ADMIN_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// Largest webhook, in bytes [env: MAX_BODY_BYTES] [default: 1048576]
    #[arg(long, value_name = "BYTES")]
    max_body_bytes: Option<String>,
    /// Most events in one transaction [env: WORKER_BATCH] [default: 500]
    #[arg(long, value_name = "EVENTS")]
    worker_batch: Option<String>,
    /// Batches in flight at once [env: WORKER_CONCURRENCY] [default: 2]
    #[arg(long, value_name = "BATCHES")]
    worker_concurrency: Option<String>,
    /// Days that rows of the events table are kept, except failed ones; 0 keeps all [env:
    /// EVENT_RETENTION_DAYS] [default: 30]
    #[arg(long, value_name = "DAYS")]
    event_retention_days: Option<String>,
    /// Which payloads the events table keeps: failed or all; `dev` keeps all [env: EVENT_PAYLOADS]
    /// [default: failed]
    #[arg(long, value_name = "WHICH")]
    event_payloads: Option<String>,
    /// What stays of a deleted user: keep (the profile) or scrub (the ID and the time of the
    /// delete) [env: ON_DELETE] [default: keep]
    #[arg(long, value_name = "WHAT")]
    on_delete: Option<String>,
    /// Fields of Clerk's user object that are never stored, separated by commas [env: OMIT_FIELDS]
    #[arg(long, value_name = "FIELDS")]
    omit_fields: Option<String>,
    /// Form of the log: pretty or json [env: LOG_FORMAT] [default: pretty on a terminal, else json]
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
}

/// The flags that `-h` lists; `--help` lists all of them.
const IN_SHORT_HELP: [&str; 6] = [
    "database_url",
    "amqp_url",
    "data_dir",
    "embedded",
    "host",
    "port",
];

static DEFINITIONS: LazyLock<Command> =
    LazyLock::new(|| Definitions::augment_args(Command::new("settings")));

/// The names of the flags that have a value.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let flags = DEFINITIONS.get_arguments();
    flags
        .filter(|flag| flag.get_action().takes_values())
        .map(|flag| flag.get_id().as_str())
}

/// The settings that the command line gives.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// By the name of the variable.
    pub(super) values: HashMap<String, SecretString>,
    pub(super) embedded: bool,
}

impl Flags {
    /// The same as if `--embedded` were given.
    #[must_use]
    pub fn with_embedded(self) -> Self {
        Self {
            embedded: true,
            ..self
        }
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let flag = |flag: &Arg| {
            let is_short = IN_SHORT_HELP.contains(&flag.get_id().as_str());
            flag.clone().global(true).hide_short_help(!is_short)
        };
        command.args(DEFINITIONS.get_arguments().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |name| {
            Some((
                variable(name),
                matches.get_one::<String>(name)?.as_str().into(),
            ))
        };
        Ok(Self {
            values: names().filter_map(value).collect(),
            embedded: matches.get_flag("embedded"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The variable of a flag.
pub(super) fn variable(flag: &str) -> String {
    flag.to_uppercase()
}

/// The signing secrets of webhooks.
pub(super) const SIGNING_SECRET: &str = "CLERK_WEBHOOK_SIGNING_SECRET";

/// An older name of the same.
pub(super) const OLDER_SIGNING_SECRET: &str = "CLERK_WEBHOOK_SECRET";

/// Variables that have no flag. OpenTelemetry's begin with `OTEL_`.
const WITHOUT_FLAG: [&str; 4] = [OLDER_SIGNING_SECRET, "RUST_LOG", "NO_COLOR", "TERM"];

/// Whether clerk-sync reads a variable of this name, or a file that it names.
pub(super) fn is_ours(name: &str) -> bool {
    let of_file = name.strip_suffix("_FILE").unwrap_or(name);
    let is_known =
        |name| WITHOUT_FLAG.contains(&name) || names().any(|flag| variable(flag) == name);
    is_known(name) || is_known(of_file) || name.starts_with("OTEL_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_files_and_the_rest_are_ours_and_nothing_else() {
        for name in [
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "PORT",
            "CLERK_WEBHOOK_SECRET",
            "OTEL_SERVICE_NAME",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "",
            "_FILE",
            "NEXT_PUBLIC_NAME",
            "CLERK_PUBLISHABLE_KEY",
            "database_url",
            "PGPASSWORD",
            "HOME",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
