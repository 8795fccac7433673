//! The command line: every subcommand with its help.

use clap::Parser;

use super::arguments::JsonArg;
use super::{
    audit, backfill, changes, check, completions, control, dev, events, migrate, open, reconcile,
    send, tables, users,
};
use crate::config::{Flags, ListedFlags};

/// Keeps tables of users and organizations in step with Clerk.
///
/// Clerk's webhooks come in over HTTP, wait on a durable queue, and become rows of a database.
/// Start with `clerk-sync dev --demo`.
#[derive(Debug, Parser)]
#[command(
    name = "clerk-sync",
    version,
    max_term_width = 100,
    after_long_help = "Examples:
  clerk-sync dev --demo                   # try it
  clerk-sync status                       # does it work?
  clerk-sync events list --status failed  # what waits for you"
)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) flags: Flags,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Try it out: everything embedded, with a generated signing secret
    ///
    /// Keeps the secret and an admin token in DATA_DIR, and prints the webhook's URL, the dashboard's
    /// and the next commands to try. Ignores DATABASE_URL and AMQP_URL. If the port is taken, it
    /// takes the next one.
    #[command(after_long_help = "Examples:
  clerk-sync dev --demo")]
    Dev(dev::DevArgs),
    /// Receive and apply events in one process; migrates first
    ///
    /// Without DATABASE_URL and AMQP_URL it works with files in DATA_DIR. SIGTERM stops it within
    /// 25 s, after what is in flight. SIGHUP reads the secrets again.
    #[command(after_long_help = "Examples:
  DATABASE_URL=postgres://app@127.0.0.1/app clerk-sync serve")]
    Serve,
    /// Only receive events; needs AMQP_URL
    ///
    /// It needs no database. Start as many as you like, behind a load balancer with TLS.
    #[command(after_long_help = "Examples:
  HOST=0.0.0.0 clerk-sync receiver")]
    Receiver,
    /// Only apply events; needs AMQP_URL
    ///
    /// It needs no signing secret. Start as many as you like. It serves health, metrics, the API and
    /// the dashboard on its own PORT.
    #[command(after_long_help = "Examples:
  PORT=3001 clerk-sync worker")]
    Worker,
    /// Bring the database schema up to date
    #[command(after_long_help = "Examples:
  clerk-sync migrate --check

Exit status: with --check, 1 if the schema is not up to date.")]
    Migrate(migrate::MigrateArgs),
    /// Check settings, database, broker, Clerk's API and clock; print one line per finding
    ///
    /// Each line has what to do. It creates and changes nothing.
    #[command(after_long_help = "Examples:
  clerk-sync check
  clerk-sync check --role worker --json

Exit status: 1 if a check fails.")]
    Check(check::CheckArgs),
    /// Say whether everything works, as the overview of the dashboard does
    ///
    /// It asks the database, the queue and the server on this machine: what waits, the lag, the last
    /// event, the failed events. It changes nothing.
    #[command(after_long_help = "Examples:
  clerk-sync status
  clerk-sync status --json

Exit status: 1 if the database, the queue or the server on this machine does not work, or if no \
     server takes events that wait in the embedded queue. Failed events alone do not count.")]
    Status(JsonArg),
    /// Have all workers stop applying events, within a second; receivers go on
    ///
    /// Events are received, and wait in the queue until `resume`. The switch is in the database: all
    /// workers of it obey, and it survives restarts. A pause that is there already stays as it is.
    #[command(after_long_help = "Examples:
  clerk-sync pause --reason 'migration of orders'")]
    Pause(control::PauseArgs),
    /// Have all workers apply events again
    #[command(after_long_help = "Examples:
  clerk-sync resume")]
    Resume(JsonArg),
    /// Limit how many events per second all workers together apply
    ///
    /// Each worker takes an equal share. Without an argument it prints the limit.
    #[command(after_long_help = "Examples:
  clerk-sync rate-limit 200
  clerk-sync rate-limit off")]
    RateLimit(control::RateLimitArgs),
    /// Open the dashboard in the browser, logged in by a link that works once
    ///
    /// The link is good for 10 minutes and for one login. It is made with ADMIN_TOKEN, or with the
    /// token of `clerk-sync dev`. Where no browser can be started, the link is printed.
    #[command(after_long_help = "Examples:
  clerk-sync open
  clerk-sync open --print --url https://sync.example.com

Exit status: 1 if no server answers there, or it does not accept the link.")]
    Open(open::OpenArgs),
    /// Sign sample events and post them
    ///
    /// The events end up in the table of the server. Unless that is `clerk-sync dev` of the same
    /// DATA_DIR, it asks first.
    #[command(after_long_help = "Examples:
  clerk-sync send user.created --wait              # until its row is there
  clerk-sync send user.updated --count 20000 --connections 64 --shuffle --duplicate

Exit status: 1 if an event was not answered with a 2xx; with --wait, also if one failed other than \
     by --break, or was not recorded in time.")]
    Send(send::SendArgs),
    /// Query the users table
    #[command(subcommand)]
    Users(users::UsersCommand),
    #[command(flatten)]
    Table(tables::TableCommand),
    /// Query the events, and replay failed ones
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Print the change feed: what happened to which row, oldest first; recorded with CHANGE_FEED=on
    ///
    /// Each line names the row, the columns that changed, and the event that changed it. A cursor
    /// continues where a page ended. Applications read the same by `GET /api/changes`, or from the
    /// exchange of changes in RabbitMQ.
    #[command(after_long_help = "Examples:
  clerk-sync changes --follow
  clerk-sync changes --table users --json

Exit status: 1 if changes after the cursor are missing.")]
    Changes(changes::ChangesArgs),
    /// Show who replayed, discarded, erased or paused, the newest first
    #[command(after_long_help = "Examples:
  clerk-sync audit --since 7d
  clerk-sync audit --action erased --json")]
    Audit(audit::AuditArgs),
    /// Fill the tables from Clerk's lists; needs CLERK_SECRET_KEY
    ///
    /// Every object of the lists is applied under the rule that events follow. So events may come in
    /// meanwhile, and a newer row is not changed. After a stop, run it again: it continues where it
    /// was. It uses half of Clerk's rate limit. If organizations are not turned on at Clerk, their
    /// tables are skipped.
    #[command(after_long_help = "Examples:
  clerk-sync backfill
  clerk-sync backfill organizations memberships

Exit status: 1 if an object could not be read; the others are written.")]
    Backfill(backfill::BackfillArgs),
    /// Report where the tables have drifted from Clerk's lists, and repair them; needs
    /// CLERK_SECRET_KEY
    ///
    /// Reports objects that are missing here, stale here, or deleted at Clerk. With --fix it repairs
    /// their rows. It marks a row as deleted only after it has read the whole list, and only if Clerk
    /// confirms it for this object. Clerk does not list all invitations: none is marked as deleted.
    #[command(after_long_help = "Examples:
  clerk-sync reconcile         # changes nothing
  clerk-sync reconcile --fix
  clerk-sync reconcile users --fix

Exit status: 1 if drift is left.")]
    Reconcile(reconcile::ReconcileArgs),
    /// List every setting: its flag, its variable, its meaning and its default
    Settings(ListedFlags),
    /// Print the completions of these commands for a shell
    #[command(after_long_help = "Examples:
  clerk-sync completions bash > ~/.local/share/bash-completion/completions/clerk-sync")]
    Completions(completions::CompletionsArgs),
    /// Check that the server on this machine is alive, for the health check of a container
    #[command(after_long_help = "Exit status: 1 if it is not.")]
    #[command(hide = true)]
    Healthcheck,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_hold_together() {
        super::Cli::command().debug_assert();
    }
}
