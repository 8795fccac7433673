//! `events replay` and `events discard`: what a person does with failed events, said for which.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{FilterArgs, event_id};
use crate::clerk::EventId;
use crate::commands::{WRONG_USAGE, output, progress};
use crate::config::Config;
use crate::escape::visible;
use crate::format;
use crate::queue::{self, Queue, QueueInspection, rabbitmq};
use crate::replay::{self, Outcome, OutcomeStatus, ReplayReport, Selection, worker_queues};
use crate::store::{EventFilter, Status, Store};

/// Longest wait without a word: a worker takes what is replayed in less.
const SILENT_MAX: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
struct WhichArgs {
    /// Only these events
    #[arg(value_name = "ID", value_parser = read_event_id)]
    ids: Vec<EventId>,
    /// Only failed events are replayed or discarded: it may be said or left out
    #[arg(long, value_parser = ["failed"])]
    status: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Every failed event, in place of IDs or a filter
    #[arg(long)]
    all: bool,
    /// Most events, the newest first
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Most events per second
    #[arg(long, value_name = "EVENTS", default_value_t = replay::RATE, value_parser = read_rate)]
    rate: NonZeroU32,
    /// Wait until a worker has tried each event, and print what it came to; exit status 1 if any failed again
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Longest wait after the last event is on the queue
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "wait", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Use the configured queue, though workers recorded another one: for one broker with two names
    #[arg(long)]
    this_queue: bool,
    /// Only say what would be replayed, and what would come of it
    #[arg(long)]
    dry_run: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DiscardArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Only say how many would be discarded
    #[arg(long)]
    dry_run: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl WhichArgs {
    /// The failed events that are meant, or what is wrong: nothing is done by pressing Enter too early.
    fn which(self) -> Result<Selection, &'static str> {
        let by_filter = !self.filter.is_empty();
        match (self.ids.is_empty(), by_filter, self.all) {
            (true, false, false) => Err(
                "give the IDs of the events, or a filter such as --type or --since, or --all for every failed event",
            ),
            (false, false, false) if self.limit.is_some() => {
                Err("--limit goes with a filter or with --all, not with IDs")
            }
            (false, false, false) => Ok(Selection::Ids(self.ids)),
            (true, ..) if by_filter != self.all => {
                let limit = self.limit.unwrap_or(u64::MAX);
                Ok(Selection::Matching {
                    filter: self.filter.with_status(None),
                    limit,
                    after: None,
                })
            }
            _ => Err("give IDs, or a filter, or --all: only one of the three"),
        }
    }
}

fn read_event_id(text: &str) -> Result<EventId, String> {
    event_id(text).map_err(|error| error.to_string())
}

/// Faster ones would stand before the events that come in meanwhile.
fn read_rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate: &NonZeroU32| rate.get() <= 1000);
    rate.ok_or_else(|| "give a number from 1 to 1000".into())
}

fn wrong_usage(text: &str) -> ExitCode {
    output::note(&format!("clerk-sync: {text}"));
    ExitCode::from(WRONG_USAGE)
}

/// Events that a person named must be there, and be failed.
async fn must_be_failed(which: &Selection, store: &Store, what: &str) -> anyhow::Result<()> {
    let Selection::Ids(ids) = which else {
        return Ok(());
    };
    let rows = store.events_by_id(ids, 0).await?;
    for id in ids {
        let Some(row) = rows.iter().find(|row| row.event_id == id.as_str()) else {
            bail!("no event has the ID {id}; see `clerk-sync events list`");
        };
        if row.status != Status::Failed {
            bail!(
                "{id} is {}, only failed events are {what}",
                row.status.as_str()
            );
        }
    }
    Ok(())
}

/// What a replay came to. The document of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    done: &'a ReplayReport,
    /// With `--wait`: one for each event.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<&'a [Outcome]>,
}

pub async fn replay(args: ReplayArgs, config: &Config, store: &Store) -> anyhow::Result<ExitCode> {
    let ReplayArgs {
        which,
        rate,
        wait,
        timeout,
        this_queue,
        dry_run,
        json,
    } = args;
    let which = match which.which() {
        Ok(which) => which,
        Err(text) => return Ok(wrong_usage(text)),
    };
    must_be_failed(&which, store, "replayed").await?;
    if dry_run {
        let done = replay::preview(store, &which).await?;
        if json {
            output::print_json(&done)?;
        } else {
            output::print(&of_preview(&done))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let queue = open_queue(config, store, this_queue).await?;
    let (mut done, mut replayed) = (ReplayReport::default(), Vec::new());
    let bar = progress::bar(how_many(&which, store).await?);
    let tell = |count, event| {
        bar.set_position(count);
        if wait {
            replayed.push(event);
        }
    };
    let ended = tokio::select! {
        ended = replay::replay(store, &queue, &which, rate, &mut done, tell) => Some(ended),
        _ = tokio::signal::ctrl_c() => None,
    };
    bar.finish_and_clear();
    queue.close().await;
    let is_whole = matches!(ended, Some(Ok(())));
    let outcomes = if wait && is_whole {
        let bar = progress::bar(Some(done.replayed));
        let known = |count| bar.set_position(count);
        let outcomes = tokio::select! {
            outcomes = replay::outcomes(store, &replayed, Duration::from_secs(timeout), known) => outcomes?,
            never = note_waiting(&bar, done.replayed, timeout) => match never {},
            _ = tokio::signal::ctrl_c() => bail!("stopped: {}; see what they came to with `clerk-sync events list`", back(done.replayed)),
        };
        bar.finish_and_clear();
        Some(outcomes)
    } else {
        None
    };
    if json {
        output::print_json(&Report {
            done: &done,
            outcomes: outcomes.as_deref(),
        })?;
    }
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => bail!("{}; {error}", back(done.replayed)),
        None => bail!(
            "stopped: {}; run it again for the others",
            back(done.replayed)
        ),
    }
    if !json {
        output::print(&of_replay(done.replayed, outcomes.as_deref()))?;
    }
    let is_bad = outcomes
        .iter()
        .flatten()
        .any(|outcome| outcome.status.is_bad());
    Ok(if is_bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Says once, after a few seconds, what a command waits for.
async fn note_waiting(bar: &ProgressBar, replayed: u64, timeout: u64) -> Infallible {
    tokio::time::sleep(SILENT_MAX).await;
    let waiting = format::count(replayed.saturating_sub(bar.position()), "event");
    bar.suspend(|| {
        output::note(&format!(
            "Waiting for a worker to take {waiting}, for up to {timeout} s."
        ))
    });
    std::future::pending().await
}

/// The queue of the settings, if workers of this database take from it. Neither a file nor anything at a broker is made for one that they do not.
async fn open_queue(config: &Config, store: &Store, this_queue: bool) -> anyhow::Result<Queue> {
    let recorded = if this_queue {
        Vec::new()
    } else {
        worker_queues::recorded(store).await?
    };
    let Some(queue) = queue::identity(&config.queue).await? else {
        let queue::Options::Embedded(options) = &config.queue else {
            bail!("the queue is not known")
        };
        let place = format!(
            "AMQP_URL is not set, and there is no embedded queue {}",
            options.path.display()
        );
        match recorded.first() {
            Some(last) => bail!(
                "{place}: the workers of this database take events from {}; {}.",
                worker_queues::listed(&recorded),
                last.remedy(&queue::Identity::Embedded {
                    id: String::new(),
                    path: String::new()
                })
            ),
            None => bail!(
                "{place}: set AMQP_URL to the queue of the workers, or DATA_DIR to the directory of `clerk-sync serve`"
            ),
        }
    };
    match recorded.first() {
        Some(last) if !recorded.iter().any(|recorded| recorded.is(&queue)) => bail!(
            "the workers of this database take events from {}; the queue here is {queue}, where events would wait unseen: {}. If both are one queue under two names, add --this-queue",
            worker_queues::listed(&recorded),
            last.remedy(&queue)
        ),
        Some(_) => {}
        // Only older programs have used the database: there must at least be such a queue.
        None if !this_queue => must_exist(config, &queue).await?,
        None => {}
    }
    Ok(Queue::open(&config.queue).await?)
}

async fn must_exist(config: &Config, queue: &queue::Identity) -> anyhow::Result<()> {
    let QueueInspection::RabbitMq(found) = queue::inspect(&config.queue).await? else {
        return Ok(());
    };
    let is_empty = |shared: &rabbitmq::TopologyInspection| {
        !shared.declarations.is_empty()
            && shared
                .declarations
                .iter()
                .all(|(_, state)| *state == rabbitmq::DeclaredState::Missing)
    };
    if found.topology.as_ref().is_some_and(is_empty) {
        bail!(
            "there is no queue at {queue}: set AMQP_URL and AMQP_NAMESPACE to the queue of the workers"
        );
    }
    Ok(())
}

/// How many events are on the queue again.
fn back(events: u64) -> String {
    let verb = if events == 1 { "is" } else { "are" };
    format!(
        "{} {verb} back on the queue",
        format::count(events, "event")
    )
}

fn of_replay(replayed: u64, outcomes: Option<&[Outcome]>) -> String {
    match (replayed, outcomes) {
        (0, _) => "There are no failed events to replay.\n".into(),
        (count, None) => {
            format!(
                "{}; see what they came to with `clerk-sync events list`, or replay with --wait.\n",
                back(count)
            )
        }
        (_, Some(outcomes)) => of_outcomes(outcomes),
    }
}

/// One line for each event, and a last one that counts them.
fn of_outcomes(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for Outcome {
        event_id,
        status,
        error_code,
        error,
    } in outcomes
    {
        let why = [error_code, error]
            .into_iter()
            .flatten()
            .map(|part| format!(": {part}"))
            .collect::<String>();
        let again = if *status == OutcomeStatus::Failed {
            " again"
        } else {
            ""
        };
        text += &format!(
            "{}\n",
            visible(&format!("{event_id}  {}{again}{why}", status.as_str()))
        );
    }
    let all = [
        OutcomeStatus::Applied,
        OutcomeStatus::Stale,
        OutcomeStatus::Failed,
        OutcomeStatus::Discarded,
        OutcomeStatus::Gone,
        OutcomeStatus::Waiting,
    ];
    let count = |status| {
        outcomes
            .iter()
            .filter(|outcome| outcome.status == status)
            .count() as u64
    };
    let counts: Vec<_> = all
        .into_iter()
        .filter(|status| count(*status) > 0)
        .map(|status| format!("{} {}", count(status), status.as_str()))
        .collect();
    text += &format!(
        "Replayed {}: {}.\n",
        format::count(outcomes.len() as u64, "event"),
        counts.join(", ")
    );
    let waiting = count(OutcomeStatus::Waiting);
    if waiting > 0 {
        text += &format!(
            "No worker took {} in that time: see whether one runs (`clerk-sync check`). The queue keeps what waits; `clerk-sync events list` shows what it came to.\n",
            format::count(waiting, "event")
        );
    }
    text
}

fn of_preview(done: &ReplayReport) -> String {
    let would = done.would.clone().unwrap_or_default();
    let mut text = format!(
        "{} would be put back onto the queue.\n",
        format::count(done.replayed, "failed event")
    );
    let mut say = |count: u64, what: &str| {
        if count > 0 {
            text += &format!("  {count:>6}  {what}\n");
        }
    };
    say(would.apply, "would be applied now");
    say(would.be_stale, "would be stale: a newer version is there");
    for (code, count) in &would.fail {
        say(*count, &format!("would fail again: {}", visible(code)));
    }
    text
}

pub async fn discard(args: DiscardArgs, store: &Store) -> anyhow::Result<ExitCode> {
    let DiscardArgs {
        which,
        dry_run,
        json,
    } = args;
    let which = match which.which() {
        Ok(which) => which,
        Err(text) => return Ok(wrong_usage(text)),
    };
    must_be_failed(&which, store, "discarded").await?;
    let bar = progress::bar(how_many(&which, store).await?);
    let done = replay::discard(store, &which, dry_run, |count| bar.set_position(count)).await;
    bar.finish_and_clear();
    let done = done?;
    if json {
        output::print_json(&done)?;
    } else {
        output::print(&match (done.dry_run, done.discarded) {
            (true, count) => format!(
                "{} would be discarded.\n",
                format::count(count, "failed event")
            ),
            (false, 0) => "There are no failed events to discard.\n".into(),
            (false, count) => format!("Discarded {}.\n", format::count(count, "event")),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How many events it is about, where that is known without looking for them.
async fn how_many(which: &Selection, store: &Store) -> anyhow::Result<Option<u64>> {
    let (filter, limit) = match which {
        Selection::Ids(ids) => return Ok(u64::try_from(ids.len()).ok()),
        Selection::Matching { filter, limit, .. } => (filter, *limit),
    };
    let EventFilter {
        status: _,
        event_type: None,
        clerk_id: None,
        error_code: None,
        since: None,
        until: None,
    } = filter
    else {
        return Ok((limit < u64::MAX).then_some(limit));
    };
    let failed = store.failed().await?;
    Ok(if failed.capped {
        None
    } else {
        Some(failed.count.min(limit))
    })
}
