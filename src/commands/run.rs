//! Runs a subcommand: its configuration, its log, its exit status.

use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use super::cli::{Cli, Command};
use super::exit::{WRONG_USAGE, WrongUsage};
use super::{
    audit, backfill, changes, check, completions, control, dev, events, healthcheck, hints,
    loopback, migrate, open, output, reconcile, send, serve, server, settings, startup, status,
    tables, usage, users,
};
use crate::config::{self, Config, ConfigError, Environment, Flags};
use crate::http;
use crate::store::Store;
use crate::telemetry;

/// Runs the subcommand of the arguments. Returns the exit status.
pub async fn run(cli: Cli) -> ExitCode {
    telemetry::watch_panics();
    let Cli { command, mut flags } = cli;
    let given = flags.clone();
    // None needs a valid configuration: `check` reports what is wrong with it.
    match &command {
        Command::Check(args) => return finish(check::run(args, &flags).await),
        Command::Completions(args) => return finish(completions::run(args, Cli::command())),
        Command::Settings(_) => return finish(settings::run(&mut usage::command())),
        _ => {}
    }
    // A server logs what it does; a command prints its result, and `dev` its own lines.
    let filter = match command {
        Command::Serve | Command::Receiver | Command::Worker => "info",
        Command::Migrate(_) | Command::Backfill(_) | Command::Reconcile(_) => startup::FILTER,
        _ => "warn",
    };
    if matches!(
        command,
        Command::Dev(_) | Command::Send(_) | Command::Healthcheck
    ) {
        flags = flags.with_embedded();
    }
    let config = match configure(&flags, filter, uses_queue(&command)) {
        Ok(config) => config,
        Err(error) => {
            print_error(&error);
            return WRONG_USAGE.into();
        }
    };
    if matches!(
        command,
        Command::Users(_)
            | Command::Table(_)
            | Command::Events(_)
            | Command::Changes(_)
            | Command::Backfill(_)
            | Command::Reconcile(_)
            | Command::Migrate(_)
            | Command::Status(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::RateLimit(_)
    ) {
        note_other_database(&config);
    }
    let done = match command {
        Command::Dev(args) => dev::run(args, flags, config).await,
        Command::Serve => serve::run(flags, config, server::Role::Both).await,
        Command::Receiver => serve::run(flags, config, server::Role::Receiver).await,
        Command::Worker => serve::run(flags, config, server::Role::Worker).await,
        Command::Migrate(args) => migrate::run(&args, &config).await,
        Command::Send(args) => send_events(args, &given, &config).await,
        Command::Users(command) => users::run(command, &config).await,
        Command::Table(command) => tables::run(command, &config).await,
        Command::Events(command) => events::run(command, &config).await,
        Command::Changes(args) => changes::run(args, &config).await,
        Command::Audit(args) => audit::run(args, &config).await,
        Command::Backfill(args) => backfill::run(&args, &config).await,
        Command::Reconcile(args) => reconcile::run(&args, &config).await,
        Command::Status(args) => status::run(args, &config).await,
        Command::Pause(args) => control::pause(args, &config).await,
        Command::Resume(args) => control::resume(args, &config).await,
        Command::RateLimit(args) => control::rate_limit(args, &config).await,
        Command::Open(args) => open::run(&args, &config).await,
        Command::Healthcheck => healthcheck::run(&config).await,
        // Done above.
        Command::Check(_) | Command::Completions(_) | Command::Settings(_) => Ok(ExitCode::SUCCESS),
    };
    finish(done)
}

/// The exit status. Prints the error, if there is one.
fn finish(done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(status) => status,
        Err(error) if error.is::<ConfigError>() || error.is::<WrongUsage>() => {
            print_error(&error);
            WRONG_USAGE.into()
        }
        Err(error) => {
            print_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether the command fails if `AMQP_URL` cannot be read. One that only reads the database does
/// not.
fn uses_queue(command: &Command) -> bool {
    match command {
        Command::Users(_)
        | Command::Table(_)
        | Command::Audit(_)
        | Command::Changes(_)
        | Command::Open(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::RateLimit(_) => false,
        Command::Events(command) => command.uses_queue(),
        _ => true,
    }
}

fn configure(flags: &Flags, filter: &str, uses_queue: bool) -> Result<Config, String> {
    let mut environment = Environment::read(flags).map_err(|error| error.to_string())?;
    if !uses_queue {
        environment.ignore("AMQP_URL");
    }
    let unsubstituted = config::unsubstituted(&environment);
    let config = Config::resolve(&environment).map_err(|error| {
        let unsubstituted = unsubstituted
            .iter()
            .map(|(what, _)| format!(". {what}"))
            .collect::<String>();
        format!("{error}{unsubstituted}")
    })?;
    telemetry::start(&config.telemetry, filter)?;
    for (what, remedy) in unsubstituted {
        tracing::warn!("{what}; {remedy}");
    }
    for ignored in config.ignored_settings() {
        tracing::warn!("{ignored}");
    }
    Ok(config)
}

/// Says that a server of this directory uses another database than the file that is asked.
fn note_other_database(config: &Config) {
    if let Some(other) = startup::other_database(config) {
        output::note(&format!("{other}: set DATABASE_URL to ask that one"));
    }
}

async fn send_events(
    args: send::SendArgs,
    given: &Flags,
    config: &Config,
) -> anyhow::Result<ExitCode> {
    // The first secret is the newest one in a rotation.
    let configured = config.signing_secrets.first();
    let hints = hints::Hints::of(config, &Environment::read(&Flags::default())?);
    let open_store = |is_dev| {
        let of_settings = || Config::resolve(&Environment::read(given)?);
        if is_dev {
            return Ok(Store::open(&config.store)?);
        }
        let config = of_settings()?;
        note_other_database(&config);
        Ok(Store::open(&config.store)?)
    };
    let dev = dev::kept_here(&config.data_dir);
    let local = loopback::base_urls(&config.http)[0].clone() + http::WEBHOOK_PATH;
    let local = local.parse().context("HOST is not part of a URL")?;
    send::run(&args, configured, &dev, local, hints, open_store).await
}

/// Prints one line for a person.
fn print_error(error: &impl std::fmt::Display) {
    output::note(&format!("clerk-sync: {error}"));
}
