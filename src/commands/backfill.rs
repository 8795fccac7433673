//! `backfill`: fills the tables from Clerk's lists.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;

use super::clerk_lists::{
    ListArgs, Progress, SKIPPED, of_counts, of_failures, shows_bar, stop_on_signal,
};
use super::{control, output, startup};
use crate::backfill::{
    self, Filled, FilledTable, ObjectFailure, Resume, Run, RunKey, State, Stopped, Tally,
};
use crate::config::Config;
use crate::format;
use crate::store::{self, Store};

#[derive(Debug, clap::Args)]
pub struct BackfillArgs {
    #[command(flatten)]
    lists: ListArgs,
    /// Start again from the beginning, even if a backfill was stopped before
    #[arg(long)]
    restart: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &BackfillArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let tables = args.lists.tables(&config.synced)?;
    let api = args.lists.open(config)?;
    let store = Store::open(&config.store)?;
    startup::of_command("backfill", &store);
    let stop = stop_on_signal()?;
    // An embedded file is created if there is none, as by `serve`; a server's schema is migrated
    // once per release.
    if matches!(config.store, store::Options::Sqlite(_)) {
        store.migrate().await?;
    }
    store.schema_version().await?.check()?;
    control::refuse_if_paused(&store, "backfill").await?;
    let key = RunKey::of(
        &config.clerk_api.url,
        config.clerk_api.key()?,
        store.place(),
    );
    let resume = Resume::at(&config.data_dir, key);
    let mut progress = Progress::start();
    let run = Run {
        api,
        store: &store,
        tables,
        stop: &stop,
        with_totals: shows_bar(),
    };
    let notify = |notice: backfill::Notice<'_>| {
        progress.show(notice, |table, tally| {
            format!(
                "{} read, {} changed, {} unchanged",
                format::count(tally.seen, table.singular),
                format::number(tally.changed),
                format::number(tally.unchanged)
            )
        });
    };
    let filled = Box::pin(backfill::fill(run, resume, args.restart, notify)).await;
    progress.end();
    store.close().await;
    report(&filled, started.elapsed(), args.json)?;
    let verdict = verdict(&filled)?;
    if !args.json {
        output::print(&format!("{verdict}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The last line: what was done, or as an error what was not.
fn verdict(filled: &Filled) -> anyhow::Result<String> {
    let read = counts(filled, |tally| tally.seen);
    let seen: u64 = filled.tables.iter().map(|table| table.tally.seen).sum();
    let are = if seen == 1 { "is" } else { "are" };
    let done = match seen {
        0 => "Nothing is done".into(),
        _ => format!("{read} {are} done"),
    };
    let failed = counts(filled, |tally| tally.failed);
    match &filled.end {
        Ok(()) if !failed.is_empty() => bail!(
            "{failed} could not be read or written, the others were; see above, clean their metadata at Clerk, and run it again"
        ),
        Ok(()) if seen == 0 => Ok("Done: Clerk's lists are empty.".into()),
        Ok(()) => Ok(format!(
            "Done: {read} of Clerk's lists {are} in the tables."
        )),
        Err(Stopped::Requested) => bail!("stopped: {done}; run it again to continue"),
        Err(stopped) => bail!("{stopped}. {done}; run it again to continue"),
    }
}

/// The objects of each table that are counted.
fn counts(filled: &Filled, count: impl Fn(&Tally) -> u64) -> String {
    let of_tables = filled.tables.iter();
    of_counts(of_tables.map(|filled| (count(&filled.tally), filled.table.singular)))
}

#[derive(Serialize)]
struct Report<'a> {
    /// Whether every list was read to its end.
    complete: bool,
    /// Those that the run came to.
    tables: Vec<TableReport<'a>>,
    elapsed_ms: u64,
}

#[derive(Serialize)]
struct TableReport<'a> {
    /// The plural name.
    table: &'static str,
    state: State,
    resumed: bool,
    #[serde(flatten)]
    tally: &'a Tally,
    /// The first 100.
    failures: &'a [ObjectFailure],
}

impl<'a> TableReport<'a> {
    fn of(filled: &'a FilledTable) -> Self {
        Self {
            table: filled.table.plural,
            state: filled.state,
            resumed: filled.resumed,
            tally: &filled.tally,
            failures: &filled.failures,
        }
    }
}

fn report(filled: &Filled, elapsed: Duration, json: bool) -> anyhow::Result<()> {
    if json {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).context("it took too long")?;
        return output::print_json(&Report {
            complete: filled.end.is_ok(),
            tables: filled.tables.iter().map(TableReport::of).collect(),
            elapsed_ms,
        });
    }
    let line = |filled: &FilledTable| (filled.table.plural, sentence(filled.state, &filled.tally));
    let mut fields: Vec<_> = filled.tables.iter().map(line).collect();
    fields.push(("elapsed", format::duration(elapsed)));
    let mut text = output::of_fields(&fields);
    if filled.tables.iter().any(|table| table.resumed) {
        text += "It continued where it was stopped; the numbers are of the whole lists.\n";
    }
    let failures = filled
        .tables
        .iter()
        .map(|table| of_failures(&table.failures));
    text += &failures.collect::<String>();
    output::print(&text)
}

fn sentence(state: State, tally: &Tally) -> String {
    if state == State::Skipped {
        return SKIPPED.into();
    }
    let Tally {
        seen,
        changed,
        unchanged,
        failed,
    } = *tally;
    let counts = [
        (seen, "read"),
        (changed, "changed"),
        (unchanged, "unchanged"),
        (failed, "failed"),
    ];
    let counts = counts.map(|(count, what)| format!("{} {what}", format::number(count)));
    counts.join(", ")
}
