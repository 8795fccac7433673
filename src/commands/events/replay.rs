//! `events replay`: publishes failed events again, and waits for their outcomes.

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use super::preview::of_preview;
use super::queue::open_queue;
use super::selection::{self, SelectionArgs};
use crate::commands::actor::actor;
use crate::commands::arguments::read_wait;
use crate::commands::exit::success_if;
use crate::commands::{outcomes, output, progress, startup};
use crate::config::Config;
use crate::format;
use crate::replay::{self, Outcome, ReplayReport};
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Most events per second
    #[arg(long, value_name = "EVENTS", default_value_t = replay::RATE, value_parser = read_rate)]
    rate: NonZeroU32,
    /// Wait until a worker has tried each event, and print the outcomes; exit status 1 if any
    /// failed again
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Longest wait after the last event is on the queue, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "wait", value_parser = read_wait)]
    timeout: Duration,
    /// Use the configured queue even if workers recorded another one: for one broker with two names
    #[arg(long)]
    this_queue: bool,
    /// Only print what would be replayed, and with which outcome
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A higher rate would delay the events that come in meanwhile.
fn read_rate(text: &str) -> Result<NonZeroU32, &'static str> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate: &NonZeroU32| rate.get() <= 1000);
    rate.ok_or("give a number from 1 to 1000")
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    done: &'a ReplayReport,
    /// With `--wait`: one for each event.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<&'a [Outcome]>,
}

pub async fn run(args: ReplayArgs, config: &Config, store: &Store) -> anyhow::Result<ExitCode> {
    let source = startup::source(config);
    let selection = args.selection.of(store, &source, "replayed").await?;
    if args.dry_run {
        let preview = replay::preview(store, &selection).await?;
        return output::print_one(&preview, args.json, || of_preview(&preview));
    }
    let queue = open_queue(config, store, args.this_queue).await?;
    let actor = actor();
    let (mut done, mut replayed) = (ReplayReport::default(), Vec::new());
    let bar = progress::bar(selection::count(&selection, store).await?);
    let progress = |count, event| {
        bar.set_position(count);
        if args.wait {
            replayed.push(event);
        }
    };
    let ended = tokio::select! {
        ended = replay::replay(store, &queue, &selection, args.rate, &actor, &mut done, progress) => Some(ended),
        _ = tokio::signal::ctrl_c() => None,
    };
    bar.finish_and_clear();
    queue.close().await;
    let published = published(done.replayed);
    let (outcomes, waited) = if args.wait && matches!(ended, Some(Ok(()))) {
        let (outcomes, waited) = outcomes::wait(store, &replayed, args.timeout).await;
        (Some(outcomes), waited)
    } else {
        (None, Some(Ok(())))
    };
    let outcomes = outcomes.as_deref();
    if args.json {
        output::print_json(&Report {
            done: &done,
            outcomes,
        })?;
    }
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => bail!("{published}; {error}"),
        None => bail!("stopped: {published}; run it again for the others"),
    }
    if !args.json {
        output::print(&match outcomes {
            _ if done.replayed == 0 => format!("There are no failed events to replay{source}.\n"),
            Some(outcomes) => {
                let lines = outcomes.iter();
                let lines = lines.map(|outcome| outcomes::of_outcome(outcome, " again"));
                let counts = outcomes::of_counts("Replayed", outcomes);
                let advice = match waited {
                    Some(Ok(())) => of_waiting(outcomes::waiting(outcomes)),
                    _ => String::new(),
                };
                lines.collect::<String>() + &counts + &advice
            }
            None => format!(
                "{published}; see the outcomes with `clerk-sync events list`, or replay with --wait.\n"
            ),
        })?;
    }
    match waited {
        Some(waited) => waited?,
        None => bail!("stopped: {published}; see the outcomes with `clerk-sync events list`"),
    }
    Ok(success_if(
        !outcomes
            .iter()
            .copied()
            .flatten()
            .any(|outcome| outcome.status.is_bad()),
    ))
}

/// What becomes of the events that no worker has tried.
fn of_waiting(waiting: u64) -> String {
    let (it, outcome) = match waiting {
        0 => return String::new(),
        1 => ("it", "its outcome"),
        _ => ("them", "their outcomes"),
    };
    format!(
        "No worker took {} in time: see whether one runs; `clerk-sync check` shows how many events wait. The queue keeps {it}; `clerk-sync events list` shows {outcome}.\n",
        format::count(waiting, "event")
    )
}

/// How many events are on the queue again.
fn published(events: u64) -> String {
    let verb = if events == 1 { "is" } else { "are" };
    format!(
        "{} {verb} back on the queue",
        format::count(events, "event")
    )
}
