//! `events`: the record of every event by command, and failed ones back onto the queue.

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{Context, bail};
use comfy_table::Cell;

use super::{progress, table};
use crate::clerk::{EventId, Timestamp};
use crate::clock::now;
use crate::config::Config;
use crate::queue::Queue;
use crate::replay::{self, Done, Which};
use crate::store::{self, Cursor, EventFilter, EventRow, Page, Status, Store};

#[derive(Debug, clap::Subcommand)]
pub enum EventsCommand {
    /// List events, the newest first
    List(ListArgs),
    /// Show one event, with its payload where it is kept
    Show {
        /// The event's ID, msg_…
        id: String,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Put failed events back onto the queue, under the same IDs
    Replay(ReplayArgs),
    /// Discard failed events: nobody waits for them any more, and they go with the other old lines
    Discard(DiscardArgs),
}

#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Type, such as user.updated
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Clerk ID of the user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Failed with this code, such as unrouted
    #[arg(long, value_name = "CODE")]
    error_code: Option<String>,
    /// Received at this time or later: 2026-11-23, 2026-11-23T16:00:00Z, or an age such as 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    since: Option<Timestamp>,
    /// Received before this time
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    until: Option<Timestamp>,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[arg(long, value_parser = ["applied", "stale", "failed", "discarded"])]
    status: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Most rows, up to 500
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Go on where a list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<Cursor>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Only these events; without an ID, every failed event that the filters let through
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Only failed events are replayed: it may be said or left out
    #[arg(long, value_parser = ["failed"])]
    status: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Most events
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
    /// Most events a second
    #[arg(long, value_name = "EVENTS", default_value_t = replay::RATE, value_parser = read_rate)]
    rate: NonZeroU32,
    /// Only say what would be replayed, and what would come of it
    #[arg(long)]
    dry_run: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DiscardArgs {
    /// Only these events
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Only failed events are discarded: it may be said or left out
    #[arg(long, value_parser = ["failed"])]
    status: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Every failed event, when neither an ID nor a filter is given
    #[arg(long)]
    all: bool,
    /// Most events
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
    /// Only say how many would be discarded
    #[arg(long)]
    dry_run: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl FilterArgs {
    fn is_empty(&self) -> bool {
        let Self { event_type, user, error_code, since, until } = self;
        event_type.is_none() && user.is_none() && error_code.is_none() && since.is_none() && until.is_none()
    }

    /// Failed events: those with these IDs, or else those that the filter lets through.
    fn which(self, ids: &[String], limit: Option<u64>) -> anyhow::Result<Which> {
        if ids.is_empty() {
            let limit = limit.unwrap_or(u64::MAX);
            return Ok(Which::Matching { filter: self.with_status(None), limit, after: None });
        }
        Ok(Which::Ids(ids.iter().map(|id| event_id(id)).collect::<Result<_, _>>()?))
    }

    fn with_status(self, status: Option<Status>) -> EventFilter {
        // Whoever asks for a code means what waits, and that has an index.
        let status = status.or(self.error_code.as_ref().map(|_| Status::Failed));
        let Self { event_type, user: clerk_id, error_code, since, until } = self;
        EventFilter { status, event_type, clerk_id, error_code, since, until }
    }
}

pub async fn run(command: EventsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    let status = match command {
        EventsCommand::List(args) => list(args, &store).await.map(|()| ExitCode::SUCCESS),
        EventsCommand::Show { id, json } => show(&id, json, &store).await.map(|()| ExitCode::SUCCESS),
        EventsCommand::Replay(args) => replay_events(args, config, &store).await,
        EventsCommand::Discard(args) => discard(args, &store).await,
    };
    store.close().await;
    status
}

async fn list(args: ListArgs, store: &Store) -> anyhow::Result<()> {
    let page = Page { limit: NonZeroU32::new(args.limit).context("--limit is 0")?, after: args.cursor };
    let filter = args.filter.with_status(args.status.as_deref().and_then(Status::named));
    let listing = store.events(&filter, &page).await?;
    if args.json {
        return table::print_json_lines(&listing.rows);
    }
    if listing.rows.is_empty() {
        eprintln!("No events match.");
        return Ok(());
    }
    table::print(&of_events(&listing.rows, now()))?;
    if let Some(next) = listing.next {
        eprintln!("There are more: --cursor {next}");
    }
    Ok(())
}

fn of_events(events: &[EventRow], now: Timestamp) -> String {
    let rows = events.iter().map(|event| {
        let status = event.status.as_str();
        let status = event.error_code.as_ref().map_or(status.into(), |code| format!("{status}: {code}"));
        vec![
            Cell::new(table::local(event.received_at)),
            Cell::new(table::age(event.received_at, now)),
            Cell::new(&event.event_id),
            Cell::new(&event.event_type),
            Cell::new(table::or_dash(event.clerk_id.as_ref())),
            Cell::new(event.deliveries),
            table::status(event.status, status),
        ]
    });
    table::of_rows(&["RECEIVED", "AGE", "EVENT ID", "TYPE", "USER", "SEEN", "STATUS"], rows)
}

async fn show(id: &str, json: bool, store: &Store) -> anyhow::Result<()> {
    let event = find(id, store).await?;
    if json {
        return table::print_json(&event);
    }
    Ok(table::print(&of_event(&event, now()))?)
}

fn event_id(id: &str) -> anyhow::Result<EventId> {
    EventId::new(id).context("an event's ID is 1 to 255 of A-Z, a-z, 0-9, _ and -")
}

async fn find(id: &str, store: &Store) -> anyhow::Result<EventRow> {
    let found = store.event(&event_id(id)?).await?;
    found.with_context(|| format!("no event has the ID {id}; see `clerk-sync events list`"))
}

/// An event that was named by a person must be there, and be failed.
async fn must_be_failed(ids: &[String], store: &Store, what: &str) -> anyhow::Result<()> {
    for id in ids {
        let status = find(id, store).await?.status;
        if status != Status::Failed {
            bail!("{id} is {}, only failed events are {what}", status.as_str());
        }
    }
    Ok(())
}

fn of_event(event: &EventRow, now: Timestamp) -> String {
    let time = |time| table::local_and_age(time, now);
    let payload = match &event.payload {
        None => "not kept (EVENT_PAYLOADS=all keeps it)".into(),
        Some(bytes) => {
            let pretty = serde_json::from_slice::<serde_json::Value>(bytes)
                .and_then(|value| serde_json::to_string_pretty(&value));
            format!("\n{}", pretty.unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned()))
        }
    };
    let mut fields = vec![
        ("event_id", event.event_id.clone()),
        ("event_type", event.event_type.clone()),
        ("clerk_id", table::or_dash(event.clerk_id.as_ref())),
        ("status", event.status.as_str().into()),
        ("occurred_at", table::or_dash(event.occurred_at.map(time))),
        ("sent_at", time(event.sent_at)),
        ("received_at", time(event.received_at)),
        ("processed_at", time(event.processed_at)),
        ("deliveries", event.deliveries.to_string()),
        ("attempts", event.attempts.to_string()),
    ];
    if event.status == Status::Failed || event.error.is_some() {
        fields.push(("error_code", table::or_dash(event.error_code.as_ref())));
        fields.push(("error", table::or_dash(event.error.as_ref())));
    }
    if event.status == Status::Stale {
        fields.push(("superseded_by", table::or_dash(event.superseded_by.as_ref())));
    }
    fields.push(("payload", payload));
    table::of_fields(&fields)
}

async fn replay_events(args: ReplayArgs, config: &Config, store: &Store) -> anyhow::Result<ExitCode> {
    must_be_failed(&args.ids, store, "replayed").await?;
    let which = args.filter.which(&args.ids, args.limit)?;
    if args.dry_run {
        let done = replay::preview(store, &which).await?;
        if args.json {
            table::print_json(&done)?
        } else {
            table::print(&of_preview(&done))?
        }
        return Ok(ExitCode::SUCCESS);
    }
    let queue = Queue::open(&config.queue).await?;
    let (mut done, bar) = (Done::default(), progress::bar(how_many(&which, store).await?));
    let ended = tokio::select! {
        ended = replay::replay_telling(store, &queue, &which, args.rate, &mut done, |count| bar.set_position(count)) => Some(ended),
        _ = tokio::signal::ctrl_c() => None,
    };
    bar.finish_and_clear();
    queue.close().await;
    if args.json {
        table::print_json(&done)?;
    }
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => bail!("{} events are back on the queue; {error}", done.replayed),
        None => bail!("stopped: {} events are back on the queue; run it again for the others", done.replayed),
    }
    if !args.json {
        table::print(&match done.replayed {
            0 => "There are no failed events to replay.\n".into(),
            count => {
                format!(
                    "{count} events are back on the queue; see what becomes of them with `clerk-sync events list`.\n"
                )
            }
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn of_preview(done: &Done) -> String {
    let would = done.would.clone().unwrap_or_default();
    let mut text = format!("{} failed events would be put back onto the queue.\n", done.replayed);
    let mut say = |count: u64, what: &str| {
        if count > 0 {
            text += &format!("  {count:>6}  {what}\n");
        }
    };
    say(would.apply, "would be applied now");
    say(would.be_stale, "would be stale: a newer version is there");
    for (code, count) in &would.fail {
        say(*count, &format!("would fail again: {code}"));
    }
    text
}

/// What would be lost by pressing Enter too early must be asked for.
const NEITHER_ID_NOR_FILTER: &str =
    "give the IDs of the events, or a filter such as --type or --since, or --all for every failed event";

async fn discard(args: DiscardArgs, store: &Store) -> anyhow::Result<ExitCode> {
    if args.ids.is_empty() && args.filter.is_empty() && !args.all {
        eprintln!("clerk-sync: {NEITHER_ID_NOR_FILTER}");
        return Ok(ExitCode::from(super::WRONG_USAGE));
    }
    must_be_failed(&args.ids, store, "discarded").await?;
    let which = args.filter.which(&args.ids, args.limit)?;
    let bar = progress::bar(how_many(&which, store).await?);
    let done = replay::discard_telling(store, &which, args.dry_run, |count| bar.set_position(count)).await;
    bar.finish_and_clear();
    let done = done?;
    if args.json {
        table::print_json(&done)?;
    } else {
        table::print(&match (done.dry_run, done.discarded) {
            (true, count) => format!("{count} failed events would be discarded.\n"),
            (false, 0) => "There are no failed events to discard.\n".into(),
            (false, count) => format!("{count} events were discarded.\n"),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How many events it is about, where that is known without looking for them.
async fn how_many(which: &Which, store: &Store) -> anyhow::Result<Option<u64>> {
    let (filter, limit) = match which {
        Which::Ids(ids) => return Ok(u64::try_from(ids.len()).ok()),
        Which::Matching { filter, limit, .. } => (filter, *limit),
    };
    let EventFilter { status: _, event_type: None, clerk_id: None, error_code: None, since: None, until: None } =
        filter
    else {
        return Ok((limit < u64::MAX).then_some(limit));
    };
    let failed = store.failed().await?;
    Ok(if failed.capped { None } else { Some(failed.count.min(limit)) })
}

/// Faster ones would stand before the events that come in meanwhile.
fn read_rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = text.parse().ok().filter(|rate: &NonZeroU32| rate.get() <= 1000);
    rate.ok_or_else(|| "give a number from 1 to 1000".into())
}

/// A date, a time, or an age.
fn read_time(text: &str) -> Result<Timestamp, &'static str> {
    store::read_time(text, now())
}
