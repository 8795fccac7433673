//! Arguments, environment and `.env` to one configuration, once, before a port is opened.
//!
//! Flags win over the environment, which wins over `.env`. For a secret, `NAME_FILE` names a file that holds the value.
//! Each error names the variable, what is wrong with it and what would be right, and never a secret.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use crate::clerk::{SigningSecret, Verifier};
use crate::telemetry;
use crate::{http, queue, store, tls, worker};
use addresses::{AmqpFiles, queue_options, server, store_options};

mod addresses;
mod dotenv;
mod embedded;
mod environment;
mod management_url;
mod names;
mod paths;
mod validate;
mod values;

pub use embedded::{flags, unsubstituted};
pub use environment::Environment;
pub use validate::{ConfigErrors, validate};

use environment::clean;
use values::{log_format, number, omitted, on_delete, payloads, port, retention, schema};

/// The settings as they were typed; every one with a value is also a variable of the environment.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// Signing secret whsec_… of the endpoint in Clerk's dashboard; for rotation several, separated by commas, the new one first
    /// [env: CLERK_WEBHOOK_SIGNING_SECRET]
    #[arg(long, global = true, value_name = "SECRET", hide_short_help = true)]
    clerk_webhook_signing_secret: Option<SecretString>,
    /// Secret key sk_… of Clerk's Backend API, for backfill and reconcile [env: CLERK_SECRET_KEY]
    #[arg(long, global = true, value_name = "KEY", hide_short_help = true)]
    clerk_secret_key: Option<SecretString>,
    /// Base URL of Clerk's Backend API [env: CLERK_API_URL] [default: https://api.clerk.com/v1]
    #[arg(long, global = true, value_name = "URL", hide_short_help = true)]
    clerk_api_url: Option<String>,
    /// PEM file with a CA for Clerk's API (of a proxy between), trusted beside the system's roots [env: CLERK_API_CA_FILE]
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    clerk_api_ca_file: Option<String>,
    /// postgres://… or sqlite://PATH [env: DATABASE_URL] [default: users.db in DATA_DIR]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<SecretString>,
    /// Schema of the tables in PostgreSQL [env: DATABASE_SCHEMA] [default: clerk]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    database_schema: Option<String>,
    /// PEM file with a CA for PostgreSQL, trusted beside the system's roots [env: DATABASE_CA_FILE]
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    database_ca_file: Option<String>,
    /// amqp://… or amqps://…; for a cluster one a node, separated by commas [env: AMQP_URL] [default: an embedded queue in DATA_DIR]
    #[arg(long, global = true, value_name = "URL")]
    amqp_url: Option<SecretString>,
    /// http(s)://… of RabbitMQ's management API, for check [env: AMQP_MANAGEMENT_URL] [default: the host of AMQP_URL at its usual port]
    #[arg(long, global = true, value_name = "URL", hide_short_help = true)]
    amqp_management_url: Option<SecretString>,
    /// PEM file with a CA for RabbitMQ, trusted beside the system's roots [env: AMQP_CA_FILE]
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    amqp_ca_file: Option<String>,
    /// PEM file with the client's certificate for RabbitMQ [env: AMQP_CLIENT_CERT_FILE]
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    amqp_client_cert_file: Option<String>,
    /// PEM file with its private key [env: AMQP_CLIENT_KEY_FILE]
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    amqp_client_key_file: Option<String>,
    /// Prefix of every exchange and queue name [env: AMQP_NAMESPACE] [default: clerk-sync]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    amqp_namespace: Option<String>,
    /// Where the embedded files live [env: DATA_DIR] [default: ./data]
    #[arg(long, global = true, value_name = "PATH")]
    data_dir: Option<String>,
    /// Use the embedded files of DATA_DIR, as `dev` does, whatever DATABASE_URL and AMQP_URL are
    #[arg(long, global = true)]
    embedded: bool,
    /// Address that HTTP listens on [env: HOST] [default: 127.0.0.1]
    #[arg(long, global = true)]
    host: Option<String>,
    /// Port that HTTP listens on; 0 takes a free one [env: PORT] [default: 3000]
    #[arg(long, global = true)]
    port: Option<String>,
    /// Bearer token of /api/* other than the webhook; without one those answer 403 [env: ADMIN_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN", hide_short_help = true)]
    admin_token: Option<SecretString>,
    /// Largest webhook, in bytes [env: MAX_BODY_BYTES] [default: 1048576]
    #[arg(long, global = true, value_name = "BYTES", hide_short_help = true)]
    max_body_bytes: Option<String>,
    /// Most events in one transaction [env: WORKER_BATCH] [default: 500]
    #[arg(long, global = true, value_name = "EVENTS", hide_short_help = true)]
    worker_batch: Option<String>,
    /// Batches in flight at once [env: WORKER_CONCURRENCY] [default: 2]
    #[arg(long, global = true, value_name = "BATCHES", hide_short_help = true)]
    worker_concurrency: Option<String>,
    /// Days that lines of the events table are kept, failed ones aside; 0 keeps all [env: EVENT_RETENTION_DAYS] [default: 30]
    #[arg(long, global = true, value_name = "DAYS", hide_short_help = true)]
    event_retention_days: Option<String>,
    /// Which payloads the events table keeps: failed or all [env: EVENT_PAYLOADS] [default: failed]
    #[arg(long, global = true, value_name = "WHICH", hide_short_help = true)]
    event_payloads: Option<String>,
    /// What stays of a deleted user: keep (the profile) or scrub (the ID and the time of the delete) [env: ON_DELETE] [default: keep]
    #[arg(long, global = true, value_name = "WHAT", hide_short_help = true)]
    on_delete: Option<String>,
    /// Fields of Clerk's user object that are never stored, separated by commas [env: OMIT_FIELDS]
    #[arg(long, global = true, value_name = "FIELDS", hide_short_help = true)]
    omit_fields: Option<String>,
    /// Form of the log: pretty or json [env: LOG_FORMAT] [default: pretty on a terminal, else json]
    #[arg(long, global = true, value_name = "FORM", hide_short_help = true)]
    log_format: Option<String>,
}

/// What the program works with. Plain data.
pub struct Config {
    /// Empty where none is set: only a receiver needs them.
    pub signing_secrets: Vec<SecretString>,
    pub clerk_api: ClerkApi,
    pub admin_token: Option<SecretString>,
    pub queue: queue::Options,
    /// Only `check` asks there.
    pub amqp_management_url: Option<SecretString>,
    pub store: store::Options,
    /// Whether there is a `DATABASE_SCHEMA`.
    has_schema: bool,
    pub data_dir: PathBuf,
    pub http: http::Options,
    pub worker: worker::Options,
    pub telemetry: telemetry::Options,
}

/// Clerk's Backend API and the key to it. Plain data.
#[derive(Debug, Clone)]
pub struct ClerkApi {
    /// Without a slash at its end.
    pub url: String,
    /// CAs that are trusted beside the system's roots.
    pub files: tls::Files,
    /// Nothing where none is set: only what walks Clerk's users needs it.
    pub secret_key: Option<SecretString>,
}

impl ClerkApi {
    /// The key, or what to do where there is none.
    pub fn key(&self) -> Result<&SecretString, ConfigError> {
        let remedy = "copy the Secret key (sk_live_… or sk_test_…) from Clerk's dashboard, Configure > API keys";
        self.secret_key
            .as_ref()
            .ok_or_else(|| wrong("CLERK_SECRET_KEY", "is not set", remedy))
    }
}

/// A setting that is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {fault}; {remedy}")]
pub struct ConfigError {
    name: String,
    fault: String,
    remedy: String,
}

impl ConfigError {
    /// What is wrong with which variable.
    pub fn what(&self) -> String {
        format!("{} {}", self.name, self.fault)
    }

    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

fn wrong(name: &str, fault: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
    ConfigError {
        name: name.into(),
        fault: fault.into(),
        remedy: remedy.into(),
    }
}

impl Config {
    /// What the settings and the environment come to.
    pub fn resolve(settings: &Settings, environment: &Environment) -> Result<Self, ConfigError> {
        if settings.embedded {
            let (settings, environment) = embedded::without_servers(settings, environment);
            return Self::resolve(&settings, &environment);
        }
        let setting = |flag: &Option<String>, name: &str| {
            flag.as_deref()
                .map(clean)
                .or_else(|| environment.get(name))
                .map(String::from)
        };
        let secret = |flag: &Option<SecretString>, name: &str| match flag {
            Some(value) => Ok(Some(SecretString::from(clean(value.expose_secret())))),
            None => environment.secret(name),
        };
        let home = environment.home();
        let database_schema = setting(&settings.database_schema, "DATABASE_SCHEMA");
        let data_dir = setting(&settings.data_dir, "DATA_DIR").unwrap_or_else(|| "./data".into());
        let data_dir = paths::typed(&data_dir, home.as_deref())
            .map_err(|(fault, remedy)| wrong("DATA_DIR", fault, remedy))?;
        let namespace = setting(&settings.amqp_namespace, "AMQP_NAMESPACE")
            .unwrap_or_else(|| "clerk-sync".into());
        let worker = worker::Options {
            batch_max: number(
                "WORKER_BATCH",
                setting(&settings.worker_batch, "WORKER_BATCH"),
                500,
                1,
                10_000,
            )?,
            concurrency: number(
                "WORKER_CONCURRENCY",
                setting(&settings.worker_concurrency, "WORKER_CONCURRENCY"),
                2,
                1,
                64,
            )?,
            hold_max: worker::HOLD_MAX,
            omitted: omitted(setting(&settings.omit_fields, "OMIT_FIELDS"))?,
            retention: retention(setting(
                &settings.event_retention_days,
                "EVENT_RETENTION_DAYS",
            ))?,
        };
        let max_body = number(
            "MAX_BODY_BYTES",
            setting(&settings.max_body_bytes, "MAX_BODY_BYTES"),
            1_048_576,
            1024,
            64 << 20,
        )?;
        let config = Self {
            signing_secrets: signing_secrets(settings, environment)?,
            clerk_api: ClerkApi {
                url: addresses::clerk_api_url(setting(&settings.clerk_api_url, "CLERK_API_URL"))?,
                files: addresses::clerk_api_files(setting(
                    &settings.clerk_api_ca_file,
                    "CLERK_API_CA_FILE",
                ))?,
                secret_key: clerk_secret_key(secret(
                    &settings.clerk_secret_key,
                    "CLERK_SECRET_KEY",
                )?)?,
            },
            admin_token: admin_token(settings, environment)?,
            amqp_management_url: management_url::read(secret(
                &settings.amqp_management_url,
                "AMQP_MANAGEMENT_URL",
            )?)?,
            queue: queue_options(
                server(&settings.amqp_url, "AMQP_URL", environment)?,
                &AmqpFiles {
                    ca: setting(&settings.amqp_ca_file, "AMQP_CA_FILE"),
                    certificate: setting(&settings.amqp_client_cert_file, "AMQP_CLIENT_CERT_FILE"),
                    key: setting(&settings.amqp_client_key_file, "AMQP_CLIENT_KEY_FILE"),
                },
                namespace,
                &data_dir,
            )?,
            has_schema: database_schema.is_some(),
            store: store_options(
                server(&settings.database_url, "DATABASE_URL", environment)?,
                &|url| {
                    let ca_file = setting(&settings.database_ca_file, "DATABASE_CA_FILE");
                    addresses::postgres(
                        url,
                        &|name| environment.of_process(name).map(String::from),
                        ca_file,
                    )
                },
                schema(database_schema)?,
                home.as_deref(),
                &data_dir,
                worker.concurrency,
                store::Keep {
                    payloads: payloads(setting(&settings.event_payloads, "EVENT_PAYLOADS"))?,
                    on_delete: on_delete(setting(&settings.on_delete, "ON_DELETE"))?,
                },
            )?,
            http: http::Options {
                host: addresses::listening_host(setting(&settings.host, "HOST"))?,
                port: port(setting(&settings.port, "PORT"))?,
                max_body_bytes: max_body.get(),
            },
            worker,
            telemetry: telemetry::Options {
                format: log_format(setting(&settings.log_format, "LOG_FORMAT"))?,
                color: !environment.refuses_color(),
                filter: environment.get("RUST_LOG").map(String::from),
                traces: traces(environment)?,
            },
            data_dir,
        };
        match embedded::file_in_the_way(&config.data_dir).filter(|_| config.has_files_in_data_dir())
        {
            None => Ok(config),
            Some(file) => {
                let fault = format!("{} is a file, not a directory", file.display());
                Err(wrong("DATA_DIR:", fault, "give another DATA_DIR"))
            }
        }
    }

    /// Whether the queue or the database is a file in `DATA_DIR`.
    fn has_files_in_data_dir(&self) -> bool {
        let has_queue = matches!(self.queue, queue::Options::Embedded(_));
        has_queue
            || matches!(&self.store, store::Options::Sqlite(store) if store.path.starts_with(&self.data_dir))
    }
}

impl Config {
    /// A sentence for each URL with parameters that have no effect, and for a schema that SQLite does not have.
    pub fn ignored_settings(&self) -> Vec<String> {
        let of_database = match &self.store {
            store::Options::Postgres(options) => options.address.ignored().to_vec(),
            store::Options::Sqlite(_) => Vec::new(),
        };
        let of_broker = match &self.queue {
            queue::Options::RabbitMq(options) => options.address.ignored(),
            queue::Options::Embedded(_) => Vec::new(),
        };
        let urls = [("DATABASE_URL", of_database), ("AMQP_URL", of_broker)];
        let with_any = urls.into_iter().filter(|(_, names)| !names.is_empty());
        let parameters = with_any.map(|(url, names)| {
            format!(
                "{url} has parameters that have no effect here: {}",
                names.join(", ")
            )
        });
        let is_sqlite = matches!(self.store, store::Options::Sqlite(_));
        let schema = (self.has_schema && is_sqlite)
            .then(|| "DATABASE_SCHEMA has no effect here: SQLite has no schemas".into());
        parameters.chain(schema).collect()
    }
}

/// The verifier of these secrets, or what to do where there is none.
pub fn verifier(secrets: &[SecretString]) -> Result<Verifier, ConfigError> {
    if secrets.is_empty() {
        return Err(wrong(
            SIGNING_SECRET,
            "is not set",
            "copy the Signing Secret (whsec_…) of your endpoint from Clerk's dashboard, Configure > Webhooks; to try it out without Clerk run `clerk-sync dev`",
        ));
    }
    let secrets = secrets
        .iter()
        .map(signing_secret)
        .collect::<Result<_, _>>()?;
    Ok(Verifier::new(secrets))
}

const SIGNING_SECRET: &str = "CLERK_WEBHOOK_SIGNING_SECRET";
const OLDER_SIGNING_SECRET: &str = "CLERK_WEBHOOK_SECRET";

/// The signing secrets alone, so that they can be read again while the program runs.
pub fn signing_secrets(
    settings: &Settings,
    environment: &Environment,
) -> Result<Vec<SecretString>, ConfigError> {
    let found = match &settings.clerk_webhook_signing_secret {
        Some(flag) => Some(SecretString::from(clean(flag.expose_secret()))),
        // The older name is read where the newer one is absent.
        None => environment.secret(SIGNING_SECRET)?.map_or_else(
            || environment.secret(OLDER_SIGNING_SECRET),
            |found| Ok(Some(found)),
        )?,
    };
    let Some(list) = found else {
        return Ok(Vec::new());
    };
    let secrets: Vec<SecretString> = list
        .expose_secret()
        .split([',', ' ', '\n', '\r', '\t'])
        .map(clean)
        .filter(|part| !part.is_empty())
        .map(SecretString::from)
        .collect();
    secrets
        .iter()
        .try_for_each(|secret| signing_secret(secret).map(drop))?;
    Ok(secrets)
}

fn clerk_secret_key(key: Option<SecretString>) -> Result<Option<SecretString>, ConfigError> {
    if key
        .as_ref()
        .is_some_and(|key| !key.expose_secret().starts_with("sk_"))
    {
        let remedy = "copy the Secret key (sk_live_… or sk_test_…) from Clerk's dashboard, Configure > API keys; the Publishable key (pk_…) and the Signing Secret (whsec_…) are others";
        return Err(wrong("CLERK_SECRET_KEY", "does not begin with sk_", remedy));
    }
    Ok(key)
}

/// Shorter ones can be guessed.
const ADMIN_TOKEN_CHARACTERS_MIN: usize = 16;

/// The admin token alone, so that it can be read again while the program runs.
pub fn admin_token(
    settings: &Settings,
    environment: &Environment,
) -> Result<Option<SecretString>, ConfigError> {
    let token = match &settings.admin_token {
        Some(flag) => Some(SecretString::from(clean(flag.expose_secret()))),
        None => environment.secret("ADMIN_TOKEN")?,
    };
    if token
        .as_ref()
        .is_some_and(|token| token.expose_secret().chars().count() < ADMIN_TOKEN_CHARACTERS_MIN)
    {
        return Err(wrong(
            "ADMIN_TOKEN",
            "has fewer than 16 characters",
            "make a long one, with `openssl rand -hex 24`",
        ));
    }
    Ok(token)
}

fn signing_secret(secret: &SecretString) -> Result<SigningSecret, ConfigError> {
    SigningSecret::parse(secret).map_err(|fault| {
        wrong(
            SIGNING_SECRET,
            fault,
            "copy it whole from Clerk's dashboard; it looks like whsec_ and 32 letters, digits, + and /",
        )
    })
}

/// OpenTelemetry's own variables, which have no flags.
fn traces(environment: &Environment) -> Result<Option<telemetry::traces::Options>, ConfigError> {
    let headers = environment.secret("OTEL_EXPORTER_OTLP_TRACES_HEADERS")?;
    let headers = headers.map_or_else(
        || environment.secret("OTEL_EXPORTER_OTLP_HEADERS"),
        |found| Ok(Some(found)),
    )?;
    telemetry::traces::Options::read(|name| environment.get(name), headers)
        .map_err(|(name, fault, remedy)| wrong(name, fault, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn secrets(variables: &[(&str, &str)]) -> Result<usize, ConfigError> {
        signing_secrets(&Settings::default(), &Environment::of(variables))
            .map(|secrets| secrets.len())
    }

    #[test]
    fn several_secrets_are_separated_by_commas_or_spaces() {
        assert_eq!(secrets(&[]), Ok(0));
        assert_eq!(secrets(&[(SIGNING_SECRET, SECRET)]), Ok(1));
        assert_eq!(
            secrets(&[(SIGNING_SECRET, &format!(" {SECRET}, {SECRET}\n{SECRET} "))]),
            Ok(3)
        );
        assert!(secrets(&[(SIGNING_SECRET, &format!("{SECRET},whsec_!"))]).is_err());
    }

    #[test]
    fn the_older_name_counts_where_the_newer_is_absent() {
        assert_eq!(secrets(&[("CLERK_WEBHOOK_SECRET", SECRET)]), Ok(1));
        assert!(secrets(&[("CLERK_WEBHOOK_SECRET", SECRET), (SIGNING_SECRET, "wrong")]).is_err());
    }

    #[test]
    fn what_stays_and_what_is_never_stored_is_set_by_name() {
        let resolve =
            |name, value| Config::resolve(&Settings::default(), &Environment::of(&[(name, value)]));
        for (name, wrong) in [
            ("ON_DELETE", "forget"),
            ("OMIT_FIELDS", "phone_numbers id"),
            ("EVENT_PAYLOADS", "some"),
        ] {
            assert!(
                resolve(name, wrong)
                    .err()
                    .unwrap()
                    .to_string()
                    .starts_with(name)
            );
        }
        let store::Options::Sqlite(store) = resolve("ON_DELETE", "scrub").unwrap().store else {
            panic!("not SQLite")
        };
        assert_eq!(store.keep.on_delete, store::OnDelete::Scrub);
        assert!(resolve("OMIT_FIELDS", "private_metadata, unsafe_metadata").is_ok());
    }

    #[test]
    fn without_servers_everything_is_embedded_in_one_place() {
        let config = Config::resolve(
            &Settings::default(),
            &Environment::of(&[("DATA_DIR", "/somewhere")]),
        )
        .unwrap();
        let queue::Options::Embedded(queue) = config.queue else {
            panic!("not embedded")
        };
        let store::Options::Sqlite(store) = config.store else {
            panic!("not SQLite")
        };
        assert_eq!(
            (queue.path, store.path),
            ("/somewhere/queue.db".into(), "/somewhere/users.db".into())
        );
    }

    #[test]
    fn no_password_is_shown_by_debugging() {
        let urls = [
            ("AMQP_URL", "amqp://u:hunter2@h"),
            ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ];
        let config = Config::resolve(&Settings::default(), &Environment::of(&urls)).unwrap();
        let shown = format!("{:?} {:?}", config.queue, config.store);
        assert!(!shown.contains("hunter2"), "{shown}");
        let secret = || Some(SecretString::from("hunter2"));
        let settings = Settings {
            clerk_webhook_signing_secret: secret(),
            clerk_secret_key: secret(),
            database_url: secret(),
            amqp_url: secret(),
            admin_token: secret(),
            ..Settings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    }
}
