//! The subcommands, and the only place where the parts meet.

mod actor;
mod arguments;
mod audit;
mod backfill;
mod changes;
mod check;
mod clerk_lists;
mod cli;
mod completions;
mod confirm;
mod control;
mod dev;
mod error_cause;
mod events;
mod exit;
mod feed_workers;
mod healthcheck;
mod heartbeat;
mod hints;
mod live_note;
mod loopback;
mod migrate;
mod open;
mod outcomes;
mod output;
mod progress;
mod reconcile;
mod row_output;
mod run;
mod secrets;
mod send;
mod serve;
mod server;
mod settings;
mod startup;
mod status;
mod table;
mod tables;
mod terminal;
mod usage;
mod users;

pub use cli::Cli;
pub use run::run;
pub use usage::parse;

#[cfg(test)]
mod tests;
