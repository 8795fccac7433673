//! The command line: every subcommand with its help.

use clap::Parser;

use super::{backfill, check, completions, dev, events, migrate, reconcile, send, users};
use crate::config::Flags;

/// Keeps a table of users in step with Clerk.
///
/// Clerk's webhooks come in over HTTP, wait on a durable queue, and become rows of a users table.
/// Start with `clerk-sync dev --demo`.
#[derive(Debug, Parser)]
#[command(
    name = "clerk-sync",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
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
    Dev(dev::DevArgs),
    /// Receive and apply events in one process; migrates first
    Serve,
    /// Only receive events; needs AMQP_URL
    Receiver,
    /// Only apply events; needs AMQP_URL
    Worker,
    /// Bring the database schema up to date
    Migrate(migrate::MigrateArgs),
    /// Check settings, database, broker, Clerk's API and clock; print one line per finding
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
    /// Every user of the list is applied under the rule that events follow, so events may come in
    /// meanwhile, and a newer row is not changed. After a stop, run it again: it continues where it
    /// was. Obeys Clerk's rate limit.
    Backfill(backfill::BackfillArgs),
    /// Report where the table has drifted from Clerk's list of users, and repair it; needs
    /// CLERK_SECRET_KEY
    ///
    /// Reports users that are missing here, stale here, or deleted at Clerk; exit status 1 if there
    /// are any. With --fix it repairs them. It marks a user as deleted only after a complete
    /// reading of the list, and only if a second request to Clerk does not find the user.
    Reconcile(reconcile::ReconcileArgs),
    /// Print the completions of these commands for a shell
    Completions(completions::CompletionsArgs),
    /// Check that the server on this machine is alive (for containers)
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
