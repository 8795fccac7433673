//! `backfill`: fills the table from Clerk's list of users.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::read_wait;
use super::{control, output, progress, startup};
use crate::backfill::{
    self, ClerkApi, Filled, Notice, Resume, RunKey, Stopped, Tally, UserFailure,
};
use crate::clock::now;
use crate::config::Config;
use crate::escape::visible;
use crate::format;
use crate::shutdown::Shutdown;
use crate::store::{self, Store};
use crate::tasks;

#[derive(Debug, clap::Args)]
pub struct BackfillArgs {
    /// Start again from the beginning, even if a backfill was stopped before
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    patience: Patience,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct Patience {
    /// Longest wait for Clerk or for the database without progress, such as 90s, 15m or 2h
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = read_wait)]
    patience: Duration,
}

/// Between two lines about the progress, if no terminal shows a bar.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

pub async fn run(args: &BackfillArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let api = open(config, &args.patience)?;
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
    let mut progress = Progress::start(&api).await;
    let notify = |notice: Notice<'_>| match notice {
        Notice::Progress(tally) => progress.at(tally.seen, || {
            format!(
                "{} read, {} changed, {} unchanged",
                format::count(tally.seen, "user"),
                format::number(tally.changed),
                format::number(tally.unchanged)
            )
        }),
        Notice::Note(note) => output::note(&format!("clerk-sync: {note}")),
    };
    let filled = Box::pin(backfill::fill(
        Arc::clone(&api),
        &store,
        resume,
        args.restart,
        &stop,
        notify,
    ))
    .await;
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
    let Tally { seen, failed, .. } = filled.progress.tally;
    let users = format::count(seen, "user");
    let are = if seen == 1 { "is" } else { "are" };
    match &filled.end {
        Ok(()) if failed > 0 => bail!(
            "{} could not be read or written, the others were; see above, clean their metadata at Clerk, and run it again",
            format::count(failed, "user")
        ),
        Ok(()) if seen == 0 => Ok("Done: Clerk's list is empty.".into()),
        Ok(()) => Ok(format!("Done: {users} of Clerk's list {are} in the table.")),
        Err(Stopped::Requested) => {
            bail!("stopped: {users} {are} done; run it again to continue")
        }
        Err(stopped) => bail!("{stopped}. {users} {are} done; run it again to continue"),
    }
}

/// The API of the instance that is configured.
pub fn open(config: &Config, patience: &Patience) -> anyhow::Result<Arc<ClerkApi>> {
    let options = backfill::Options {
        url: config.clerk_api.url.clone(),
        files: config.clerk_api.files.clone(),
        key: config.clerk_api.key()?.clone(),
        omitted: config.worker.omitted.clone(),
        patience: patience.patience,
        now,
    };
    Ok(Arc::new(ClerkApi::open(options)?))
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

/// The progress on standard error: a bar on a terminal, elsewhere a line every five seconds.
pub struct Progress {
    bar: indicatif::ProgressBar,
    is_terminal: bool,
    printed_at: Instant,
}

impl Progress {
    pub async fn start(api: &ClerkApi) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        // Only a bar has an end to show.
        let total = if is_terminal { api.count().await } else { None };
        Self {
            bar: progress::bar(total),
            is_terminal,
            printed_at: Instant::now(),
        }
    }

    pub fn at(&mut self, seen: u64, line: impl FnOnce() -> String) {
        self.bar.set_position(seen);
        if !self.is_terminal && self.printed_at.elapsed() >= LINE_INTERVAL {
            self.printed_at = Instant::now();
            output::note(&line());
        }
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[derive(Serialize)]
struct Report<'a> {
    /// Whether the list was read to its end.
    complete: bool,
    resumed: bool,
    #[serde(flatten)]
    tally: &'a Tally,
    /// The first 100.
    failures: &'a [UserFailure],
    elapsed_ms: u64,
}

fn report(filled: &Filled, elapsed: Duration, json: bool) -> anyhow::Result<()> {
    let Filled {
        progress,
        resumed,
        end,
    } = filled;
    let (tally, failures) = (&progress.tally, &progress.failures);
    if json {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).context("it took too long")?;
        return output::print_json(&Report {
            complete: end.is_ok(),
            resumed: *resumed,
            tally,
            failures,
            elapsed_ms,
        });
    }
    let mut text = output::of_fields(&[
        ("users read", format::number(tally.seen)),
        ("changed", format::number(tally.changed)),
        ("unchanged", format::number(tally.unchanged)),
        ("failed", format::number(tally.failed)),
        ("elapsed", format::duration(elapsed)),
    ]);
    if *resumed {
        text += "It continued where it was stopped; the numbers are of the whole list.\n";
    }
    output::print(&(text + &of_failures(failures)))
}

/// One line per user: the ID and the error, never a value.
pub fn of_failures(failures: &[UserFailure]) -> String {
    let line = |failure: &UserFailure| {
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
