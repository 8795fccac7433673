//! `events`: the record of every event by command, and failed ones back onto the queue.

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate};
use serde::Serialize;

use super::table;
use crate::backoff::Backoff;
use crate::clerk::{EventId, EventType, SignedEvent, Timestamp};
use crate::clock::now;
use crate::config::Config;
use crate::queue::{PUBLISH_TIMEOUT, PublishError, Queue};
use crate::store::{Cursor, EventFilter, EventRow, Page, Status, Store};

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
}

#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Type, such as user.updated
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Clerk ID of the user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
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
    #[command(flatten)]
    filter: FilterArgs,
    /// Most events
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
    /// Only say what would be replayed
    #[arg(long)]
    dry_run: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl FilterArgs {
    fn with_status(self, status: Option<Status>) -> EventFilter {
        EventFilter { status, event_type: self.event_type, clerk_id: self.user, since: self.since, until: self.until }
    }
}

pub async fn run(command: EventsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    match command {
        EventsCommand::List(args) => list(args, &store).await?,
        EventsCommand::Show { id, json } => show(&id, json, &store).await?,
        EventsCommand::Replay(args) => replay(args, config, &store).await?,
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
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
    let rows = listing.rows.iter().map(|event| {
        vec![
            event.event_id.clone(),
            event.event_type.clone(),
            table::or_dash(event.clerk_id.as_ref()),
            event
                .error_code
                .clone()
                .map_or(event.status.as_str().into(), |code| format!("{}: {code}", event.status.as_str())),
            table::local(event.received_at),
            event.deliveries.to_string(),
        ]
    });
    table::print(&table::of_rows(&["EVENT ID", "TYPE", "USER", "STATUS", "RECEIVED", "SEEN"], rows))?;
    if let Some(next) = listing.next {
        eprintln!("There are more: --cursor {next}");
    }
    Ok(())
}

async fn show(id: &str, json: bool, store: &Store) -> anyhow::Result<()> {
    let event = find(id, store).await?;
    if json {
        return table::print_json(&event);
    }
    Ok(table::print(&of_event(&event))?)
}

async fn find(id: &str, store: &Store) -> anyhow::Result<EventRow> {
    let event_id = EventId::new(id).context("an event's ID is 1 to 255 of A-Z, a-z, 0-9, _ and -")?;
    let found = store.event(&event_id).await?;
    found.with_context(|| format!("no event has the ID {id}; see `clerk-sync events list`"))
}

fn of_event(event: &EventRow) -> String {
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
        ("occurred_at", table::or_dash(event.occurred_at.map(table::local))),
        ("sent_at", table::local(event.sent_at)),
        ("received_at", table::local(event.received_at)),
        ("processed_at", table::local(event.processed_at)),
        ("deliveries", event.deliveries.to_string()),
        ("attempts", event.attempts.to_string()),
    ];
    if event.status == Status::Failed || event.error.is_some() {
        fields.push(("error_code", table::or_dash(event.error_code.as_ref())));
        fields.push(("error", table::or_dash(event.error.as_ref())));
    }
    fields.push(("payload", payload));
    table::of_fields(&fields)
}

#[derive(Default, Serialize)]
struct Replayed {
    dry_run: bool,
    /// Events that were put back onto the queue, or would be.
    replayed: u64,
    /// Events without a payload: they were applied or discarded meanwhile.
    skipped: u64,
}

async fn replay(args: ReplayArgs, config: &Config, store: &Store) -> anyhow::Result<()> {
    let mut done = Replayed { dry_run: args.dry_run, ..Replayed::default() };
    let queue = if args.dry_run { None } else { Some(Queue::open(&config.queue).await?) };
    if args.ids.is_empty() {
        let limit = args.limit.unwrap_or(u64::MAX);
        let filter = args.filter.with_status(Some(Status::Failed));
        replay_all(&filter, limit, store, queue.as_ref(), &mut done).await?;
    } else {
        for id in &args.ids {
            let event = find(id, store).await?;
            if event.status != Status::Failed {
                bail!("{id} is {}, only failed events are replayed", event.status.as_str());
            }
            replay_one(event, queue.as_ref(), &mut done).await?;
        }
    }
    if let Some(queue) = queue {
        queue.close().await;
    }
    if args.json {
        return table::print_json(&done);
    }
    let text = match (done.dry_run, done.replayed) {
        (true, count) => format!("{count} failed events would be put back onto the queue."),
        (false, 0) => "There are no failed events to replay.".into(),
        (false, count) => {
            format!("{count} events are back on the queue; see what becomes of them with `clerk-sync events list`.")
        }
    };
    Ok(table::print(&format!("{text}\n"))?)
}

/// Events a page when many are replayed.
const PAGE: NonZeroU32 = NonZeroU32::new(200).expect("200 is not 0");

async fn replay_all(
    filter: &EventFilter,
    limit: u64,
    store: &Store,
    queue: Option<&Queue>,
    done: &mut Replayed,
) -> anyhow::Result<()> {
    let mut page = Page { limit: PAGE, after: None };
    loop {
        let listing = store.events(filter, &page).await?;
        for row in listing.rows {
            if done.replayed + done.skipped >= limit {
                return Ok(());
            }
            let event = find(&row.event_id, store).await?;
            replay_one(event, queue, done).await?;
        }
        page.after = listing.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}

async fn replay_one(row: EventRow, queue: Option<&Queue>, done: &mut Replayed) -> anyhow::Result<()> {
    let (Status::Failed, Some(payload)) = (row.status, row.payload) else {
        done.skipped += 1;
        return Ok(());
    };
    let id = EventId::new(&row.event_id).context("the events table holds an ID that is none")?;
    let body = Bytes::from(payload);
    // The type is read anew: a newer version may know what an older one could not read.
    let event_type = EventType::read(&body);
    let event = SignedEvent::restored(id, event_type, row.sent_at.0, row.received_at.0, body);
    if let Some(queue) = queue {
        publish(queue, event)
            .await
            .with_context(|| format!("{} was not replayed; run the command again", row.event_id))?;
    }
    done.replayed += 1;
    Ok(())
}

/// Publishes with patience: the connection to the queue is made in the background.
async fn publish(queue: &Queue, event: SignedEvent) -> Result<(), PublishError> {
    let mut backoff = Backoff::for_outage();
    let deadline = tokio::time::Instant::now() + PUBLISH_TIMEOUT;
    loop {
        match queue.publish(event.clone()).await {
            Err(PublishError::Unavailable | PublishError::Busy) if tokio::time::Instant::now() < deadline => {
                backoff.wait().await
            }
            done => return done,
        }
    }
}

/// A date, a time, or an age.
fn read_time(text: &str) -> Result<Timestamp, String> {
    let age = || {
        let unit = text.chars().last()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => return None,
        };
        let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
        Timestamp::from_ms(now().ms() - count.checked_mul(seconds * 1000)?)
    };
    let time = || Timestamp::from_ms(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis());
    let date =
        || Timestamp::from_ms(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis());
    age().or_else(time).or_else(date).ok_or_else(|| {
        "give a date (2026-11-23, in UTC), a time (2026-11-23T16:00:00Z) or an age (90s, 15m, 2h, 7d)".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_a_date_a_time_or_an_age() {
        assert_eq!(read_time("2026-11-23").unwrap().ms(), 1_795_392_000_000);
        assert_eq!(read_time("2026-11-23T01:00:00+01:00").unwrap().ms(), 1_795_392_000_000);
        let hour_ago = now().ms() - read_time("1h").unwrap().ms();
        assert!((3_600_000..3_700_000).contains(&hour_ago), "{hour_ago}");
        for bad in ["", "soon", "1w", "-", "2026-13-01", "99999999999999999d"] {
            assert!(read_time(bad).is_err(), "{bad}");
        }
    }
}
