//! The subcommands, and the only place where the parts meet.

mod backfill;
mod check;
mod completions;
mod confirm;
mod dev;
mod events;
mod healthcheck;
mod hints;
mod migrate;
mod output;
mod progress;
mod reconcile;
mod secrets;
pub mod send;
mod serve;
mod server;
mod startup;
mod usage;
mod users;

use std::process::ExitCode;

use clap::Parser;
pub use usage::parse;

use crate::config::{self, Config, ConfigError, Environment, Flags};
use crate::telemetry;

/// Keeps a table of users in step with Clerk.
///
/// Clerk's webhooks come in over HTTP, wait on a durable queue, and become rows of a users table. Begin with
/// `clerk-sync dev --demo`.
#[derive(Debug, Parser)]
#[command(
    name = "clerk-sync",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Try it out: everything embedded, with a made-up signing secret
    Dev(dev::DevArgs),
    /// Receive and apply events in one process; migrates first
    Serve,
    /// Only receive events; needs AMQP_URL
    Receiver,
    /// Only apply events; needs AMQP_URL
    Worker,
    /// Bring the database schema up to date
    Migrate(migrate::MigrateArgs),
    /// Say whether everything is there: settings, database, broker, Clerk's API, clock
    Check(check::CheckArgs),
    /// Sign sample events and post them
    Send(send::SendArgs),
    /// Query the users table
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// Query the events, and replay failed ones
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Fill the table from Clerk's list of users; needs CLERK_SECRET_KEY
    ///
    /// Every user of the list is applied under the rule that events follow, so events may come in meanwhile, and a newer row is left
    /// alone. After a stop, run it again: it goes on where it was. Obeys Clerk's rate limit.
    Backfill(backfill::BackfillArgs),
    /// Say where the table has drifted from Clerk's list of users, and mend it; needs CLERK_SECRET_KEY
    ///
    /// Reports who is missing here, stale here, or deleted at Clerk; exit status 1 where anything is. With --fix it mends them. It marks
    /// nobody as deleted after a walk that was not complete, and nobody whom Clerk, asked once more, still knows.
    Reconcile(reconcile::ReconcileArgs),
    /// Print what makes a shell complete these commands
    Completions(completions::CompletionsArgs),
    /// Ask the server on this machine whether it is alive (for containers)
    #[command(hide = true)]
    Healthcheck,
}

/// Exit status of wrong usage, which a wrong setting is too.
const WRONG_USAGE: u8 = 2;

/// Runs what the arguments ask for.
pub async fn run(cli: Cli) -> ExitCode {
    telemetry::watch_panics();
    let Cli { command, mut flags } = cli;
    // Neither needs a configuration that can be read: the one says what is wrong with it.
    match &command {
        Command::Check(args) => return finish(check::run(args, &flags).await),
        Command::Completions(args) => return finish(completions::run(args)),
        _ => {}
    }
    // A server says what it does; a command prints what was asked for, and `dev` its own lines.
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
            tell(&error);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let done = match command {
        Command::Dev(args) => dev::run(args, flags, config).await,
        Command::Serve => serve::run(flags, config, server::Role::Both).await,
        Command::Receiver => serve::run(flags, config, server::Role::Receiver).await,
        Command::Worker => serve::run(flags, config, server::Role::Worker).await,
        Command::Migrate(args) => migrate::run(&args, &config).await,
        Command::Send(args) => send_events(&args, &config).await,
        Command::Users(command) => users::run(command, &config).await,
        Command::Events(command) => events::run(command, &config).await,
        Command::Backfill(args) => backfill::run(&args, &config).await,
        Command::Reconcile(args) => reconcile::run(&args, &config).await,
        Command::Healthcheck => healthcheck::run(&config).await,
        // Done above.
        Command::Check(_) | Command::Completions(_) => Ok(ExitCode::SUCCESS),
    };
    finish(done)
}

/// The exit status, with a line for what went wrong.
fn finish(done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(status) => status,
        Err(error) if error.is::<ConfigError>() => {
            tell(&error);
            ExitCode::from(WRONG_USAGE)
        }
        Err(error) => {
            tell(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether it fails if `AMQP_URL` cannot be read. One that only asks the database does not.
fn uses_queue(command: &Command) -> bool {
    match command {
        Command::Users(_) => false,
        Command::Events(command) => command.uses_queue(),
        _ => true,
    }
}

fn configure(flags: &Flags, filter: &str, uses_queue: bool) -> Result<Config, String> {
    let mut environment = Environment::read(flags).map_err(|error| error.to_string())?;
    if !uses_queue {
        environment.ignore("AMQP_URL");
    }
    let doubts = config::unsubstituted(&environment);
    let config = Config::resolve(&environment).map_err(|error| {
        let doubts = doubts
            .iter()
            .map(|(what, _)| format!(". {what}"))
            .collect::<String>();
        format!("{error}{doubts}")
    })?;
    telemetry::start(&config.telemetry, filter)?;
    for (what, remedy) in doubts {
        tracing::warn!("{what}; {remedy}");
    }
    for ignored in config.ignored_settings() {
        tracing::warn!("{ignored}");
    }
    Ok(config)
}

async fn send_events(args: &send::SendArgs, config: &Config) -> anyhow::Result<ExitCode> {
    // The first secret is the newest one in a rotation.
    let configured = config.signing_secrets.first().cloned();
    let hints = hints::Hints::of(config, &Environment::read(&Flags::default())?);
    send::run_with_consent(args, configured, &dev::kept_here(&config.data_dir), hints).await
}

/// One line for a person.
fn tell(error: &impl std::fmt::Display) {
    output::note(&format!("clerk-sync: {error}"));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_hold_together() {
        super::Cli::command().debug_assert();
    }
}
