//! The configuration: every setting, read and checked.

use std::path::PathBuf;

use secrecy::SecretString;

use super::environment::Environment;
use super::error::{ConfigError, wrong};
use super::values::{choice, number, omitted, retention, synced};
use super::{addresses, paths, secrets};
use crate::clerk::SyncedTables;
use crate::store::{OnDelete, Payloads};
use crate::telemetry::{self, LogFormat, traces};
use crate::{http, queue, store, tls, worker};

/// What the program works with. Plain data.
pub struct Config {
    /// Empty if none is set: only a receiver needs them.
    pub signing_secrets: Vec<SecretString>,
    /// Clerk's Backend API.
    pub clerk_api: ClerkApi,
    /// The tables that are synced.
    pub synced: SyncedTables,
    /// `None` if none is set: then the API and the dashboard are off.
    pub admin_token: Option<SecretString>,
    /// `None` if none is set.
    pub read_token: Option<SecretString>,
    /// Whether the read token sees private metadata, whole objects and payloads.
    pub read_private: bool,
    /// The queue to publish to and to consume.
    pub queue: queue::Options,
    /// Only `check` connects there. `None`: at the host of `AMQP_URL`.
    pub amqp_management_url: Option<SecretString>,
    /// The database.
    pub store: store::Options,
    /// Whether it is the SQLite file of `DATA_DIR` because `DATABASE_URL` is not set.
    pub is_default_store: bool,
    /// Whether `DATABASE_SCHEMA` is set.
    has_schema: bool,
    /// The directory of the embedded files.
    pub data_dir: PathBuf,
    /// Where HTTP listens.
    pub http: http::Options,
    /// How events are applied.
    pub worker: worker::Options,
    /// Logs and traces.
    pub telemetry: telemetry::Options,
}

/// Clerk's Backend API and the key to it. Plain data.
#[derive(Debug, Clone)]
pub struct ClerkApi {
    /// Without a slash at its end.
    pub url: String,
    /// CAs that are trusted beside the system's roots.
    pub files: tls::Files,
    /// `None` if none is set: only what reads Clerk's lists needs it.
    pub secret_key: Option<SecretString>,
}

impl ClerkApi {
    /// The secret key.
    ///
    /// # Errors
    ///
    /// If it is not set.
    pub fn key(&self) -> Result<&SecretString, ConfigError> {
        let remedy = "copy the Secret key (sk_live_… or sk_test_…) from Clerk's dashboard, Configure > API keys";
        self.secret_key
            .as_ref()
            .ok_or_else(|| wrong("CLERK_SECRET_KEY", secrets::absent(), remedy))
    }
}

impl Config {
    /// Reads every setting.
    ///
    /// # Errors
    ///
    /// For the first setting that is wrong.
    pub fn resolve(environment: &Environment) -> Result<Self, ConfigError> {
        let data_dir = environment.get_or_default("DATA_DIR");
        let data_dir = paths::typed(data_dir, environment.home().as_deref())
            .map_err(|(fault, remedy)| wrong("DATA_DIR", fault, remedy))?;
        let worker = worker::Options {
            batch_max: number(environment, "WORKER_BATCH", 1..=10_000)?,
            concurrency: number(environment, "WORKER_CONCURRENCY", 1..=64)?,
            hold_max: worker::HOLD_MAX,
            omitted: omitted(environment)?,
            retention: retention(environment, "EVENT_RETENTION_DAYS")?,
            change_retention: retention(environment, "CHANGE_RETENTION_DAYS")?,
        };
        let payloads = [("failed", Payloads::Failed), ("all", Payloads::All)];
        let on_delete = [("keep", OnDelete::Keep), ("scrub", OnDelete::Scrub)];
        let keep = store::Keep {
            payloads: choice(environment, "EVENT_PAYLOADS", payloads)?,
            on_delete: choice(environment, "ON_DELETE", on_delete)?,
        };
        let change_feed = choice(environment, "CHANGE_FEED", [("on", true), ("off", false)])?;
        let format = [("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
        let format = choice(environment, "LOG_FORMAT", format)?;
        let config = Self {
            signing_secrets: secrets::signing_secrets(environment)?,
            clerk_api: ClerkApi {
                url: addresses::clerk_api_url(environment)?,
                files: addresses::clerk_api_files(environment)?,
                secret_key: secrets::clerk_secret_key(environment)?,
            },
            synced: synced(environment)?,
            admin_token: secrets::admin_token(environment)?,
            read_token: secrets::read_token(environment)?,
            read_private: choice(
                environment,
                "READ_PRIVATE",
                [("true", true), ("false", false)],
            )?,
            amqp_management_url: addresses::management_url(environment)?,
            queue: addresses::queue_options(environment, &data_dir)?,
            is_default_store: environment.lacks_database(),
            has_schema: environment.get("DATABASE_SCHEMA").is_some(),
            store: addresses::store_options(
                environment,
                &data_dir,
                worker.concurrency,
                keep,
                change_feed,
            )?,
            http: http::Options {
                host: addresses::listening_host(environment)?,
                port: number(environment, "PORT", 0..=65_535)?,
                max_body_bytes: number(environment, "MAX_BODY_BYTES", 1024..=64 << 20)?,
            },
            worker,
            telemetry: telemetry::Options {
                format: environment.get("LOG_FORMAT").map(|_| format),
                color: !environment.refuses_color(),
                filter: environment.get("RUST_LOG").map(String::from),
                traces: traces(environment)?,
            },
            data_dir,
        };
        config.check_data_dir()?;
        Ok(config)
    }

    /// Refuses a file where the directory of the embedded files is, or one above it.
    fn check_data_dir(&self) -> Result<(), ConfigError> {
        let has_files = match (&self.queue, &self.store) {
            (queue::Options::Embedded(_), _) => true,
            (_, store::Options::Sqlite(store)) => store.path.starts_with(&self.data_dir),
            _ => false,
        };
        let existing = self.data_dir.ancestors().find(|path| path.exists());
        match existing.filter(|path| has_files && !path.is_dir()) {
            None => Ok(()),
            Some(file) => {
                let fault = format!("{} is a file, not a directory", file.display());
                Err(wrong("DATA_DIR:", fault, "give another DATA_DIR"))
            }
        }
    }

    /// A sentence for each URL with parameters that have no effect, and for a schema that SQLite
    /// does not have.
    pub fn ignored_settings(&self) -> Vec<String> {
        let (of_database, schema) = match &self.store {
            store::Options::Postgres(options) => (options.address.ignored().to_vec(), None),
            store::Options::Sqlite(_) => (Vec::new(), self.has_schema.then_some(())),
        };
        let of_broker = match &self.queue {
            queue::Options::RabbitMq(options) => options.address.ignored(),
            queue::Options::Embedded(_) => Vec::new(),
        };
        let urls = [("DATABASE_URL", of_database), ("AMQP_URL", of_broker)].into_iter();
        urls.filter(|(_, names)| !names.is_empty())
            .map(|(url, names)| {
                format!(
                    "{url} has parameters that have no effect here: {}",
                    names.join(", ")
                )
            })
            .chain(
                schema.map(|()| "DATABASE_SCHEMA has no effect here: SQLite has no schemas".into()),
            )
            .collect()
    }
}

/// OpenTelemetry's own variables, which have no flags.
fn traces(environment: &Environment) -> Result<Option<traces::Options>, ConfigError> {
    let headers = match environment.secret("OTEL_EXPORTER_OTLP_TRACES_HEADERS")? {
        None => environment.secret("OTEL_EXPORTER_OTLP_HEADERS")?,
        headers => headers,
    };
    traces::Options::read(|name| environment.get(name), headers)
        .map_err(|(name, fault, remedy)| wrong(name, fault, remedy))
}
