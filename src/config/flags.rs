//! The settings as flags of the command line. Each one with a value is also a variable of the
//! environment.

use std::collections::HashMap;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use secrecy::SecretString;

<<<<<<< HEAD
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
=======
use super::settings::{Fallback, Setting};

/// The flag that has no variable.
const EMBEDDED: &str = "embedded";
>>>>>>> main

/// The flags that `-h` lists; `--help` lists all of them.
const IN_SHORT_HELP: [&str; 6] = [
    "DATABASE_URL",
    "AMQP_URL",
    "DATA_DIR",
    EMBEDDED,
    "HOST",
    "PORT",
];

/// The settings that have a flag, each with its name.
static FLAGS: LazyLock<Vec<(String, &'static Setting)>> = LazyLock::new(|| {
    let settings = Setting::all().filter(|setting| setting.has_flag());
    settings.map(|setting| (setting.flag(), setting)).collect()
});

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

fn arguments() -> impl Iterator<Item = Arg> {
    let of_setting = |(flag, setting): &'static (String, &Setting)| {
        let default = match setting.default {
            Fallback::Value(default) | Fallback::Words(default) => format!(" [default: {default}]"),
            Fallback::Absent => String::new(),
        };
        let Setting { name, meaning, .. } = setting;
        Arg::new(*name)
            .long(flag.as_str())
            .value_name(setting.value_name)
            // Backticks are for the page.
            .help(format!("{meaning} [env: {name}]{default}").replace('`', ""))
    };
    let embedded = Arg::new(EMBEDDED)
        .long(EMBEDDED)
        .action(ArgAction::SetTrue)
        .help("Use the embedded files of DATA_DIR, as `dev` does, and ignore DATABASE_URL and AMQP_URL");
    FLAGS.iter().map(of_setting).chain([embedded])
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(arguments().map(|flag| {
            let is_short = IN_SHORT_HELP.contains(&flag.get_id().as_str());
            flag.global(true)
                .help_heading("Settings")
                .hide_short_help(!is_short)
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |(_, setting): &(String, &Setting)| {
            let value = matches.get_one::<String>(setting.name)?;
            Some((setting.name.into(), value.as_str().into()))
        };
        Ok(Self {
            values: FLAGS.iter().filter_map(value).collect(),
            embedded: matches.get_flag(EMBEDDED),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
