//! `check`: verifies settings and servers, and prints one line per finding. It changes nothing but
//! its own limit of open files, which it raises as a server does.
//!
//! The parts are checked at the same time, each with its own time limit, so that one that is
//! unavailable hides no other. Each part inspects first; pure functions turn the inspection into
//! findings.

mod change_feed;
mod clerk_api;
mod clock;
mod database;
mod finding;
mod machine;
mod policies;
mod queue;
mod role;
mod settings;
mod time_limit;
mod worker_queue;

use std::io::IsTerminal;
use std::process::ExitCode;

use serde::Serialize;

use super::exit::success_if;
use super::{output, startup, terminal};
use crate::config::{self, Config, ConfigErrors, Environment, Flags};
use crate::store::{Control, DatabaseReport, Store, StoreError};
use crate::telemetry;
use clock::Reading;
use finding::{Finding, fail, note};
use role::Role;
use time_limit::in_time;

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Role to check for: a receiver needs no database, a worker no signing secret
    #[arg(long, value_enum, default_value = "serve")]
    role: Role,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    /// Whether nothing fails.
    ok: bool,
    version: &'static str,
    findings: Vec<Finding>,
}

/// Exit status 1 if anything fails. A setting that is wrong is a finding, too.
pub async fn run(args: &CheckArgs, flags: &Flags) -> anyhow::Result<ExitCode> {
    let (findings, color) = match Environment::read(flags) {
        Ok(environment) => {
            let color = std::io::stdout().is_terminal() && !environment.refuses_color();
            let (config, errors) = config::validate(&environment);
            let mut findings = Box::pin(found(config, &errors, args.role)).await;
            let unsubstituted = config::unsubstituted(&environment).into_iter();
            findings
                .extend(unsubstituted.map(|(what, remedy)| note("configuration", what, remedy)));
            (findings, color)
        }
        Err(error) => (vec![settings::error(&error)], false),
    };
    let failed = findings.iter().filter(|finding| finding.failed()).count();
    if args.json {
        output::print_json(&Report {
            ok: failed == 0,
            version: env!("CARGO_PKG_VERSION"),
            findings,
        })?;
    } else {
        output::print(&finding::lines(&findings, color, terminal::width()))?;
    }
    Ok(success_if(failed == 0))
}

async fn found(config: Option<Config>, errors: &ConfigErrors, role: Role) -> Vec<Finding> {
    let Some(config) = config else {
        return errors.iter().map(settings::error).collect();
    };
    let mut findings = settings::of(&config, errors, role);
    if let Err(error) = telemetry::start(&config.telemetry, "off") {
        findings.push(fail("configuration", error, "correct or unset RUST_LOG"));
    }
    let (database, broker, clerk) = tokio::join!(
        async {
            match role {
                Role::Receiver => OfDatabase::default(),
                Role::Serve | Role::Worker => database(&config, errors, role).await,
            }
        },
        async {
            let names = [
                "AMQP_URL",
                "AMQP_NAMESPACE",
                "AMQP_CA",
                "AMQP_CLIENT_CERT",
                "AMQP_CLIENT_KEY",
            ];
            let is_known = !errors.concern(&names);
            let url = config.amqp_management_url.as_ref();
            let max_body_bytes = (role != Role::Worker).then_some(config.http.max_body_bytes);
            let publishes_changes = role != Role::Receiver && config.store.change_feed();
            if is_known {
                queue::check(&config.queue, url, max_body_bytes, publishes_changes).await
            } else {
                Vec::new()
            }
        },
        async {
            let names = ["CLERK_SECRET_KEY", "CLERK_API_URL", "CLERK_API_CA"];
            let is_known = !errors.concern(&names);
            if is_known {
                clerk_api::check(&config.clerk_api).await
            } else {
                (Vec::new(), None)
            }
        },
    );
    findings.extend(database.findings);
    if role != Role::Receiver && !errors.concern(&["CHANGE_FEED"]) {
        findings.push(change_feed::judge(&config, database.records_changes));
    }
    findings.extend(broker);
    if !errors.concern(&["DATA_DIR", "DATABASE_URL", "AMQP_URL"]) {
        findings.extend(machine::directories(&config, role));
    }
    if role != Role::Worker {
        findings.push(machine::open_files());
    }
    findings.extend(clerk.0);
    findings.extend(clock::judge(clerk.1, database.clock));
    findings
}

/// What the database says.
#[derive(Default)]
struct OfDatabase {
    findings: Vec<Finding>,
    clock: Option<Reading>,
    /// Whether its workers record changes of rows, if that is known.
    records_changes: Option<bool>,
}

async fn database(config: &Config, errors: &ConfigErrors, role: Role) -> OfDatabase {
    if errors.concern(&["DATABASE_URL", "DATABASE_CA"]) {
        return OfDatabase::default();
    }
    let store = match Store::open(&config.store) {
        Ok(store) => store,
        Err(
            StoreError::Unavailable(text)
            | StoreError::Incompatible(text)
            | StoreError::Rejected { text, .. },
        ) => {
            return OfDatabase {
                findings: vec![fail("database", text, "correct DATABASE_URL")],
                ..OfDatabase::default()
            };
        }
    };
    let (mut findings, inspection) = database::check(&store, config, role).await;
    let is_known = !errors.concern(&["AMQP_URL", "AMQP_NAMESPACE", "DATA_DIR"]);
    if inspection.is_some() && is_known {
        findings.extend(in_time(worker_queue::check(&store, config)).await.flatten());
    }
    if inspection.is_some()
        && let Some(Ok(control)) = in_time(store.control()).await
        && let Control {
            paused: Some(pause),
            ..
        } = control
    {
        let reason = pause
            .reason
            .map_or(String::new(), |reason| format!(": {reason}"));
        let what = format!("applying is paused since {}{reason}", pause.paused_at);
        findings.push(note(
            "paused",
            what,
            "run `clerk-sync resume` when events may be applied",
        ));
    }
    let records_changes = match inspection {
        Some(_) => in_time(change_feed::of_workers(&store)).await.flatten(),
        None => None,
    };
    if let Some(other) = startup::other_database(config) {
        findings.push(note(
            "database",
            other,
            "set DATABASE_URL to check that one",
        ));
    }
    let reading = match inspection {
        Some(DatabaseReport::Postgres(found)) => found.clock,
        _ => None,
    };
    OfDatabase {
        findings,
        clock: reading.map(|(theirs, ours)| Reading {
            theirs_ms: theirs.ms(),
            ours_ms: ours.ms(),
        }),
        records_changes,
    }
}
