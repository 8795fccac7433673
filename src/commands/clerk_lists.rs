//! What `backfill` and `reconcile` have in common: the arguments, the client of Clerk's API, the
//! stop, and the progress on standard error.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::read_wait;
use super::{output, progress};
use crate::backfill::{self, ClerkApi, Notice, ObjectFailure};
use crate::clerk::{OmittedFields, SyncedTables, Table, tables};
use crate::clock::now;
use crate::config::{self, Config};
use crate::escape::visible;
use crate::format;
use crate::shutdown::Shutdown;
use crate::tasks;

/// What both commands are given.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Tables [default: all that SYNC names]
    #[arg(value_name = "TABLE", value_parser = table_parser())]
    tables: Vec<&'static Table>,
    /// Longest wait for Clerk or for the database without progress, such as 90s, 15m or 2h
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = read_wait)]
    patience: Duration,
}

/// Reads the plural name of a table.
fn table_parser() -> impl TypedValueParser<Value = &'static Table> {
    let names = tables::ALL.iter().map(|table| table.plural);
    // It takes only the names of the list.
    PossibleValuesParser::new(names).try_map(|name| SyncedTables::table(&name).ok_or("no table"))
}

impl ListArgs {
    /// Returns the tables that are meant, in the order of all tables.
    ///
    /// # Errors
    /// If a table is named that is not synced: without events its rows would be out of date at once.
    pub fn tables(&self, synced: &SyncedTables) -> anyhow::Result<Vec<&'static Table>> {
        if let Some(table) = self.tables.iter().find(|table| !synced.has(table)) {
            let plural = table.plural;
            anyhow::bail!("SYNC does not name {plural}: add {plural} to it, or leave the name out");
        }
        let is_meant = |table: &&Table| self.tables.is_empty() || self.tables.contains(table);
        Ok(synced.iter().filter(is_meant).collect())
    }

    /// Returns the API of the instance that is configured.
    ///
    /// # Errors
    /// If the key is not set, or if the settings cannot be used.
    pub fn open(&self, config: &Config) -> anyhow::Result<Arc<ClerkApi>> {
        let key = config.clerk_api.key()?.clone();
        let options = backfill::Options {
            patience: self.patience,
            ..of_instance(&config.clerk_api, &config.worker.omitted, key)
        };
        Ok(Arc::new(ClerkApi::open(options)?))
    }
}

/// The instance that is configured, for one request at a time.
pub fn of_instance(
    clerk_api: &config::ClerkApi,
    omitted: &OmittedFields,
    key: SecretString,
) -> backfill::Options {
    backfill::Options {
        url: clerk_api.url.clone(),
        files: clerk_api.files.clone(),
        key,
        omitted: omitted.clone(),
        patience: Duration::ZERO,
        now,
    }
}

/// A stop that SIGINT or SIGTERM requests; a second one ends the process at once.
pub fn stop_on_signal() -> anyhow::Result<Shutdown> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let stop = Shutdown::default();
    let stopping = stop.clone();
    tasks::brief(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stopping.is_requested() {
                std::process::exit(1);
            }
            stopping.request();
        }
    });
    Ok(stop)
}

/// Between two lines about the progress, if no terminal shows a bar.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The progress on standard error: a bar for each table on a terminal, elsewhere a line every five
/// seconds.
pub struct Progress {
    bar: indicatif::ProgressBar,
    printed_at: Instant,
}

/// Whether a bar is shown, which has an end to show.
pub fn shows_bar() -> bool {
    std::io::stderr().is_terminal()
}

impl Progress {
    /// Returns a progress without a bar.
    pub fn start() -> Self {
        Self {
            bar: indicatif::ProgressBar::hidden(),
            printed_at: Instant::now(),
        }
    }

    /// Shows what a run reports; `line` is a sentence about the table so far.
    pub fn show(
        &mut self,
        notice: Notice<'_>,
        line: impl FnOnce(&Table, &backfill::Tally) -> String,
    ) {
        match notice {
            Notice::Table(table, total) => {
                self.end();
                self.bar = progress::bar(total);
                self.bar.set_message(format!(" {}", table.plural));
            }
            Notice::Progress(table, tally) => {
                self.bar.set_position(tally.seen);
                if !shows_bar() && self.printed_at.elapsed() >= LINE_INTERVAL {
                    self.printed_at = Instant::now();
                    output::note(&line(table, &tally));
                }
            }
            Notice::Note(note) => self
                .bar
                .suspend(|| output::note(&format!("clerk-sync: {note}"))),
        }
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The counts that are not 0 with their nouns, as in `2 users and 1 organization`.
pub fn of_counts<'a>(counts: impl Iterator<Item = (u64, &'a str)>) -> String {
    let counts = counts.filter(|(count, _)| *count > 0);
    let texts: Vec<_> = counts
        .map(|(count, noun)| format::count(count, noun))
        .collect();
    match &*texts {
        [] => String::new(),
        [one] => one.clone(),
        [more @ .., last] => format!("{} and {last}", more.join(", ")),
    }
}

/// One line per object: the ID and the error, never a value.
pub fn of_failures(failures: &[ObjectFailure]) -> String {
    let line = |failure: &ObjectFailure| {
        let id = failure.clerk_id.as_deref().unwrap_or("(no ID)");
        format!(
            "{}\n",
            visible(&format!(
                "failed: {id}  {}: {}",
                failure.error_code, failure.error
            ))
        )
    };
    failures.iter().map(line).collect()
}

/// What is printed of a table that is skipped.
pub const SKIPPED: &str = "skipped: organizations are not turned on for this instance at Clerk";

#[cfg(test)]
mod tests {
    use super::of_counts;

    #[test]
    fn counts_are_listed_as_a_person_would() {
        let nouns = ["user", "organization", "membership"];
        for (counts, text) in [
            ([0, 0, 0], ""),
            ([0, 1, 0], "1 organization"),
            ([2, 0, 1], "2 users and 1 membership"),
            (
                [1, 2, 3000],
                "1 user, 2 organizations and 3,000 memberships",
            ),
        ] {
            assert_eq!(of_counts(counts.into_iter().zip(nouns)), text);
        }
    }
}
