//! The configuration itself: what is wrong with it, and what is not set.

use super::finding::{Finding, fail, note, ok};
use super::role::Role;
use crate::clerk::SyncedTables;
use crate::commands::dev;
use crate::config::{Config, ConfigError, ConfigErrors};
use crate::{queue, store};

const MAKE_A_TOKEN: &str = "set ADMIN_TOKEN, for example to what `openssl rand -hex 24` prints";

const SET_A_SECRET: &str = "set CLERK_WEBHOOK_SIGNING_SECRET to the Signing Secret (whsec_…) of your endpoint in Clerk's dashboard, Configure > Webhooks";

/// An error of the configuration: it prevents the start.
pub fn error(error: &ConfigError) -> Finding {
    fail("configuration", error.what(), error.remedy())
}

pub fn of(config: &Config, errors: &ConfigErrors, role: Role) -> Vec<Finding> {
    let of_dev = dev::kept_here(&config.data_dir).secret.is_some();
    let token_of_dev = dev::token_kept_here(&config.data_dir).is_some();
    let mut findings: Vec<_> = errors.iter().map(error).collect();
    if findings.is_empty() {
        findings.push(ok("configuration", summary(config, role)));
    }
    let ignored = config.ignored_settings().into_iter();
    findings.extend(
        ignored.map(|what| note("configuration", what, "take it out, or correct its name")),
    );
    if role != Role::Worker && !errors.concern(&["SYNC"]) {
        findings.push(synced(&config.synced));
    }
    if role != Role::Worker && !errors.concern(&["CLERK_WEBHOOK_SIGNING_SECRET"]) {
        findings.push(signing_secrets(config.signing_secrets.len(), of_dev));
    }
    if role != Role::Receiver && !errors.concern(&["ADMIN_TOKEN"]) {
        findings.push(match config.admin_token {
            Some(_) => ok("admin_token", "set"),
            None if token_of_dev => note(
                "admin_token",
                "`clerk-sync dev` has its own in DATA_DIR; with `serve` and `worker` the dashboard and the API answer 403",
                MAKE_A_TOKEN,
            ),
            None => note(
                "admin_token",
                "not set: the dashboard and the API answer 403",
                MAKE_A_TOKEN,
            ),
        });
    }
    if config.read_token.is_some() && role != Role::Receiver && !errors.concern(&["READ_TOKEN"]) {
        let sees = if config.read_private {
            "set; it sees everything (READ_PRIVATE)"
        } else {
            "set; it does not see private_metadata, data and payloads"
        };
        findings.push(ok("read_token", sees));
    }
    if role != Role::Serve
        && !errors.concern(&["AMQP_URL"])
        && matches!(config.queue, queue::Options::Embedded(_))
    {
        findings.push(fail(
            "configuration",
            "AMQP_URL is not set, and the embedded queue serves one process alone",
            "set AMQP_URL, or run `clerk-sync serve`, which receives and works in one process",
        ));
    }
    findings
}

fn synced(synced: &SyncedTables) -> Finding {
    let plurals: Vec<_> = synced.iter().map(|table| table.plural).collect();
    let plurals = plurals.join(", ");
    ok(
        "sync",
        match synced.has_all() {
            true => plurals,
            false => format!("{plurals}; events of all others are answered `ignored`"),
        },
    )
}

fn summary(config: &Config, role: Role) -> String {
    let queue = match &config.queue {
        queue::Options::RabbitMq(options) => format!("RabbitMQ, namespace {}", options.namespace),
        queue::Options::Embedded(_) => "an embedded queue".into(),
    };
    let store = match &config.store {
        _ if role == Role::Receiver => "no database",
        store::Options::Postgres(_) => "PostgreSQL",
        store::Options::Sqlite(_) => "SQLite",
    };
    format!(
        "every setting can be read: {queue}; {store}; HTTP on {}:{}",
        config.http.host, config.http.port
    )
}

/// They are well formed: one that is not is an error of the configuration.
fn signing_secrets(count: usize, of_dev: bool) -> Finding {
    match count {
        0 if of_dev => note(
            "signing_secrets",
            "`clerk-sync dev` has its own in DATA_DIR; `serve` and `receiver` refuse to start without one",
            SET_A_SECRET,
        ),
        0 => fail(
            "signing_secrets",
            "none is set: `serve` and `receiver` refuse to start",
            SET_A_SECRET,
        ),
        1 => ok("signing_secrets", "1, well formed"),
        _ => note(
            "signing_secrets",
            format!("{count}, well formed: deliveries signed with any of them are accepted"),
            "keep the new one first, and take the old one out once every delivery matches the new one (clerk_sync_secret_matches_total)",
        ),
    }
}
