//! Every setting: its name, meaning and default. The flags with their help, the defaults, what
//! `.env` may hold, and docs/configuration.md all come from this list.

/// The signing secrets of webhooks.
pub(super) const SIGNING_SECRET: &str = "CLERK_WEBHOOK_SIGNING_SECRET";

/// An older name of the same.
pub(super) const OLDER_SIGNING_SECRET: &str = "CLERK_WEBHOOK_SECRET";

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The variable. Its flag is the same in lower case, with hyphens.
    pub name: &'static str,
    /// What may give it.
    pub kind: Kind,
    /// What the help calls its value.
    pub value_name: &'static str,
    /// What holds without it.
    pub default: Fallback,
    /// The commands that read it, in Markdown.
    pub used_by: &'static str,
    /// What it sets, in Markdown.
    pub meaning: &'static str,
}

/// What may give a setting beside its variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A flag.
    Flag,
    /// A flag, and a file that `NAME_FILE` names.
    Secret,
    /// Nothing.
    Variable,
    /// A file that `NAME_FILE` names.
    SecretVariable,
}

/// What holds without a setting.
#[derive(Debug, Clone, Copy)]
pub enum Fallback {
    /// Nothing.
    Absent,
    /// This value.
    Value(&'static str),
    /// What these words describe.
    Words(&'static str),
}

use Fallback::{Absent, Value, Words};

macro_rules! settings {
    ($($group:literal: $($kind:ident $name:ident $value_name:literal, $default:expr, $used_by:literal, $meaning:literal;)*)*) => {
        /// The settings in groups, each with its heading.
        pub const SETTINGS: &[(&str, &[Setting])] = &[$(($group, &[$(Setting {
            name: stringify!($name),
            kind: Kind::$kind,
            value_name: $value_name,
            default: $default,
            used_by: $used_by,
            meaning: $meaning,
        }),*])),*];
    };
}

settings! {
    "Clerk":
    Secret CLERK_WEBHOOK_SIGNING_SECRET "SECRET", Absent, "`serve` and `receiver`, which do not start without it; `send`",
        "Signing secret `whsec_…` of the endpoint in Clerk's dashboard; for rotation several, separated by commas or spaces, the new one first";
    SecretVariable CLERK_WEBHOOK_SECRET "SECRET", Absent, "the same",
        "Older name of the signing secret, read where the newer one is absent";
    Secret CLERK_SECRET_KEY "KEY", Absent, "`backfill`, `reconcile`; `serve`, `worker` and `users refresh` for refreshes; `check` tries it",
        "Secret key `sk_…` of Clerk's Backend API";
    Flag CLERK_API_URL "URL", Value("https://api.clerk.com/v1"), "the same",
        "Base URL of Clerk's Backend API; without a path, `/v1` is added";
    Flag CLERK_API_CA_FILE "PATH", Absent, "the same",
        "PEM file with a CA for Clerk's API (of a proxy between), trusted beside the system's roots";

    Flag SYNC "TABLES", Words("all"), "`serve`, `receiver`, `worker`, `backfill`, `reconcile`, `users refresh`; `check` shows it",
        "Which objects are synced: names that `backfill` takes, separated by commas, such as `users,organizations,memberships`. Events of the others are answered `ignored`";

    "Database":
    Secret DATABASE_URL "URL", Words("`users.db` in `DATA_DIR`"), "all but `receiver`",
        "Database: `postgres://…` or `sqlite://PATH` (`sqlite:///PATH` from the root, `sqlite://~/PATH` from your home directory; `%20` for a space)";
    Flag DATABASE_SCHEMA "NAME", Value("clerk"), "all but `receiver`",
        "Schema of the tables in PostgreSQL: up to 63 lower case letters, digits and `_`, no digit first. Each schema has its own tables, migrations and queue record";
    Flag DATABASE_CA_FILE "PATH", Absent, "all but `receiver`",
        "PEM file with a CA for PostgreSQL, trusted beside the system's roots";

    "Queue":
    Secret AMQP_URL "URL", Words("an embedded queue, `queue.db` in `DATA_DIR`"), "`serve`, `receiver`, `worker`, `events replay`, `check`",
        "Queue: `amqp://…` or `amqps://…` of RabbitMQ; for a cluster one URL for each node, separated by commas; needed by `receiver` and `worker`";
    Secret AMQP_MANAGEMENT_URL "URL", Words("host and user of `AMQP_URL`, port 15672, or 15671 with `amqps://`"), "`check`",
        "`http(s)://USER:PASSWORD@HOST:PORT` of RabbitMQ's management API, where `check` sees policies";
    Flag AMQP_CA_FILE "PATH", Absent, "as `AMQP_URL`",
        "PEM file with a CA for RabbitMQ, trusted beside the system's roots";
    Flag AMQP_CLIENT_CERT_FILE "PATH", Absent, "as `AMQP_URL`",
        "PEM file with the client's certificate for RabbitMQ";
    Flag AMQP_CLIENT_KEY_FILE "PATH", Absent, "as `AMQP_URL`",
        "PEM file with its private key";
    Flag AMQP_NAMESPACE "NAME", Value("clerk-sync"), "as `AMQP_URL`",
        "Prefix of every exchange and queue name";
    Flag DATA_DIR "PATH", Value("./data"), "all",
        "Directory of the embedded files, and of how far a backfill is";

    "HTTP":
    Flag HOST "HOST", Value("127.0.0.1"), "`serve`, `receiver`, `worker`",
        "Address or name that HTTP listens on, of IPv6 with or without brackets; `0.0.0.0` is every address of IPv4";
    Flag PORT "PORT", Value("3000"), "`serve`, `receiver`, `worker`",
        "Port that HTTP listens on; 0 takes a free one";
    Secret ADMIN_TOKEN "TOKEN", Words("none: the API and the dashboard answer 403"), "`serve`, `worker`",
        "Bearer token of `/api/*` other than the webhook, and of the dashboard; 16 characters at least";
    Secret READ_TOKEN "TOKEN", Absent, "`serve`, `worker`",
        "Bearer token that only reads `/api/*`, for applications: without `private_metadata`, `data` and payloads, and not in the dashboard; 16 characters at least";
    Flag READ_PRIVATE "BOOLEAN", Value("false"), "`serve`, `worker`",
        "`true` shows `private_metadata`, `data` and payloads to `READ_TOKEN` too";
    Flag MAX_BODY_BYTES "BYTES", Value("1048576"), "`serve`, `receiver`",
        "Largest webhook, in bytes; a larger one is answered 413";

    "Work and retention":
    Flag WORKER_BATCH "EVENTS", Value("500"), "`serve`, `worker`",
        "Most events in one transaction";
    Flag WORKER_CONCURRENCY "BATCHES", Value("2"), "`serve`, `worker`",
        "Batches in flight at once";
    Flag EVENT_RETENTION_DAYS "DAYS", Value("30"), "`serve`, `worker`",
        "Age in days at which rows of the `events` table are deleted, except failed ones; 0 keeps all";
    Flag CHANGE_FEED "SWITCH", Value("off"), "`serve`, `worker`, `backfill`, `reconcile`, `users refresh`, `users erase`; `check` shows it",
        "`on` records every change of a synced row in the `changes` table, for applications. Give all of them the same value";
    Flag CHANGE_RETENTION_DAYS "DAYS", Value("7"), "`serve`, `worker`",
        "Age in days at which rows of the `changes` table are deleted, except those that wait for RabbitMQ; 0 keeps all";
    Flag EVENT_PAYLOADS "WHICH", Value("failed"), "`serve`, `worker`",
        "Which payloads the `events` table keeps: `failed` or `all`; `dev` keeps all";
    Flag ON_DELETE "WHAT", Value("keep"), "`serve`, `worker`, `backfill`, `reconcile`, `users refresh`",
        "What stays of a deleted user: `keep` (the profile) or `scrub` (the ID and the time of the delete)";
    Flag OMIT_FIELDS "FIELDS", Absent, "`serve`, `worker`, `backfill`, `reconcile`, `users refresh`",
        "Fields of Clerk's objects that are never stored, separated by commas: not in a column, in `data` or in a payload";

    "Logs":
    Flag LOG_FORMAT "FORM", Words("`pretty` on a terminal, else `json`"), "all",
        "Form of the log: `pretty` or `json`";
    Variable RUST_LOG "FILTER", Words("`info` for the roles, `warn` for other commands"), "all",
        "Filter of the log, such as `info,clerk_sync=debug`; libraries never log above `info`";
    Variable NO_COLOR "1", Absent, "all",
        "With any value, what is printed has no color";
    Variable COLUMNS "NUMBER", Words("the width of the terminal"), "all that print tables or text",
        "Columns to which tables and lines are fitted; without it and without a terminal they are as wide as they are";
    Variable TERM "NAME", Absent, "all",
        "With the value `dumb`, what is printed has no color";

    "Traces":
    Variable OTEL_EXPORTER_OTLP_ENDPOINT "URL", Words("none: no traces"), "`serve`, `receiver`, `worker`",
        "Where traces go, such as `http://collector:4318`; `/v1/traces` is added";
    Variable OTEL_EXPORTER_OTLP_TRACES_ENDPOINT "URL", Absent, "the same",
        "The same for traces alone; nothing is added";
    SecretVariable OTEL_EXPORTER_OTLP_HEADERS "PAIRS", Absent, "the same",
        "Headers for the collector: `name=value`, separated by commas";
    SecretVariable OTEL_EXPORTER_OTLP_TRACES_HEADERS "PAIRS", Absent, "the same",
        "The same for traces alone";
    Variable OTEL_EXPORTER_OTLP_TIMEOUT "MS", Words("`10000`"), "the same",
        "Longest time to send spans, in milliseconds";
    Variable OTEL_EXPORTER_OTLP_TRACES_TIMEOUT "MS", Absent, "the same",
        "The same for traces alone";
    Variable OTEL_EXPORTER_OTLP_PROTOCOL "NAME", Words("`http/protobuf`"), "the same",
        "Only `http/protobuf` is supported";
    Variable OTEL_EXPORTER_OTLP_TRACES_PROTOCOL "NAME", Absent, "the same",
        "The same for traces alone";
    Variable OTEL_TRACES_EXPORTER "NAME", Words("`otlp`"), "the same",
        "`otlp` or `none`";
    Variable OTEL_TRACES_SAMPLER "NAME", Words("`parentbased_always_on`"), "the same",
        "`always_on`, `always_off`, `traceidratio`, or one of these after `parentbased_`";
    Variable OTEL_TRACES_SAMPLER_ARG "RATIO", Words("`1`"), "the same",
        "Fraction of the traces that `traceidratio` records, from 0 to 1";
    Variable OTEL_SERVICE_NAME "NAME", Words("`clerk-sync`"), "the same",
        "Name of the service in traces";
    Variable OTEL_RESOURCE_ATTRIBUTES "PAIRS", Absent, "the same",
        "Attributes of all spans: `name=value`, separated by commas";
    Variable OTEL_SDK_DISABLED "BOOLEAN", Words("`false`"), "the same",
        "`true` turns traces off";
}

impl Setting {
    /// Every setting.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        SETTINGS.iter().flat_map(|(_, settings)| settings.iter())
    }

    /// The setting that a variable gives: itself, or the file that holds it.
    pub fn named(variable: &str) -> Option<&'static Self> {
        let of_file = variable.strip_suffix("_FILE");
        let is_it = |setting: &&Self| {
            setting.name == variable || setting.has_file() && of_file == Some(setting.name)
        };
        Self::all().find(is_it)
    }

    /// Whether a flag gives it, too.
    pub fn has_flag(&self) -> bool {
        matches!(self.kind, Kind::Flag | Kind::Secret)
    }

    /// Whether `NAME_FILE` names a file that holds it.
    pub fn has_file(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::SecretVariable)
    }

    /// Its flag, without the two hyphens.
    pub fn flag(&self) -> String {
        self.name.to_lowercase().replace('_', "-")
    }
}

/// The value that holds without the setting. Returns `None` if there is no such value.
pub(super) fn default_of(name: &str) -> Option<&'static str> {
    match Setting::all().find(|setting| setting.name == name)?.default {
        Value(value) => Some(value),
        Absent | Words(_) => None,
    }
}

/// Whether clerk-sync reads a variable of this name, or a file that it names.
pub(super) fn is_ours(name: &str) -> bool {
    Setting::named(name).is_some()
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
            "PORT_FILE",
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
