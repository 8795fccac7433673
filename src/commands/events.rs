//! `events`: the record of every event by command.

mod bulk_actions;

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;

use super::output;
use crate::clerk::{EventId, Timestamp};
use crate::clock::now;
use crate::config::Config;
use crate::escape::{visible, visible_json_lines};
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
    Replay(bulk_actions::ReplayArgs),
    /// Discard failed events: nobody waits for them any more, and they go with the other old lines
    Discard(bulk_actions::DiscardArgs),
}

impl EventsCommand {
    pub fn uses_queue(&self) -> bool {
        matches!(self, Self::Replay(_))
    }
}

#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Type, such as user.updated
    #[arg(long = "type", value_name = "TYPE", value_parser = NonEmptyStringValueParser::new())]
    event_type: Option<String>,
    /// Clerk ID of the user
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Failed with this code, such as unrouted
    #[arg(long, value_name = "CODE", value_parser = NonEmptyStringValueParser::new())]
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

impl FilterArgs {
    fn is_empty(&self) -> bool {
        let Self {
            event_type,
            user,
            error_code,
            since,
            until,
        } = self;
        event_type.is_none()
            && user.is_none()
            && error_code.is_none()
            && since.is_none()
            && until.is_none()
    }

    fn with_status(self, status: Option<Status>) -> EventFilter {
        // Whoever asks for a code means what waits, and that has an index.
        let status = status.or(self.error_code.as_ref().map(|_| Status::Failed));
        let Self {
            event_type,
            user: clerk_id,
            error_code,
            since,
            until,
        } = self;
        EventFilter {
            status,
            event_type,
            clerk_id,
            error_code,
            since,
            until,
        }
    }
}

pub async fn run(command: EventsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    let status = match command {
        EventsCommand::List(args) => list(args, &store).await.map(|()| ExitCode::SUCCESS),
        EventsCommand::Show { id, json } => {
            show(&id, json, &store).await.map(|()| ExitCode::SUCCESS)
        }
        EventsCommand::Replay(args) => bulk_actions::replay(args, config, &store).await,
        EventsCommand::Discard(args) => bulk_actions::discard(args, &store).await,
    };
    store.close().await;
    status
}

async fn list(args: ListArgs, store: &Store) -> anyhow::Result<()> {
    let page = Page {
        limit: NonZeroU32::new(args.limit).context("--limit is 0")?,
        after: args.cursor,
    };
    let filter = args
        .filter
        .with_status(args.status.as_deref().and_then(Status::named));
    let listing = store.events(&filter, &page).await?;
    if args.json {
        return output::print_json_lines(&listing.rows);
    }
    if listing.rows.is_empty() {
        output::note("No events match.");
        return Ok(());
    }
    output::print(&of_events(&listing.rows, now()))?;
    if let Some(next) = listing.next {
        output::note(&format!("There are more: --cursor {next}"));
    }
    Ok(())
}

fn of_events(events: &[EventRow], now: Timestamp) -> String {
    let rows = events.iter().map(|event| {
        let status = event.status.as_str();
        let status = event
            .error_code
            .as_ref()
            .map_or(status.into(), |code| format!("{status}: {code}"));
        vec![
            output::Cell::new(output::local(event.received_at)),
            output::Cell::new(output::age(event.received_at, now)),
            output::Cell::new(&event.event_id),
            output::Cell::new(&event.event_type),
            output::Cell::new(output::or_dash(event.clerk_id.as_ref())),
            output::Cell::new(event.deliveries),
            output::status(event.status, status),
        ]
    });
    output::of_rows(
        &[
            "RECEIVED", "AGE", "EVENT ID", "TYPE", "USER", "SEEN", "STATUS",
        ],
        rows,
    )
}

async fn show(id: &str, json: bool, store: &Store) -> anyhow::Result<()> {
    let event = find(id, store).await?;
    if json {
        return output::print_json(&event);
    }
    output::print(&of_event(&event, now()))
}

fn event_id(id: &str) -> anyhow::Result<EventId> {
    EventId::new(id).context("an event's ID is 1 to 255 of A-Z, a-z, 0-9, _ and -")
}

async fn find(id: &str, store: &Store) -> anyhow::Result<EventRow> {
    let found = store.event(&event_id(id)?).await?;
    found.with_context(|| format!("no event has the ID {id}; see `clerk-sync events list`"))
}

fn of_event(event: &EventRow, now: Timestamp) -> String {
    let time = |time| output::local_and_age(time, now);
    let mut fields = vec![
        ("event_id", event.event_id.clone()),
        ("event_type", event.event_type.clone()),
        ("clerk_id", output::or_dash(event.clerk_id.as_ref())),
        ("status", event.status.as_str().into()),
        ("occurred_at", output::or_dash(event.occurred_at.map(time))),
        ("sent_at", time(event.sent_at)),
        ("received_at", time(event.received_at)),
        ("processed_at", time(event.processed_at)),
        ("deliveries", event.deliveries.to_string()),
        ("attempts", event.attempts.to_string()),
    ];
    if event.status == Status::Failed || event.error.is_some() {
        fields.push(("error_code", output::or_dash(event.error_code.as_ref())));
        fields.push(("error", output::or_dash(event.error.as_ref())));
    }
    if event.status == Status::Stale {
        fields.push((
            "superseded_by",
            output::or_dash(event.superseded_by.as_ref()),
        ));
    }
    match &event.payload {
        None => fields.push(("payload", "not kept (EVENT_PAYLOADS=all keeps it)".into())),
        Some(body) => {
            return format!(
                "{}payload\n{}\n",
                output::of_fields(&fields),
                of_payload(body)
            );
        }
    }
    output::of_fields(&fields)
}

/// JSON with line breaks of ours; anything else on one line, so that it looks like nothing else.
fn of_payload(body: &[u8]) -> String {
    let pretty = serde_json::from_slice::<serde_json::Value>(body)
        .and_then(|value| serde_json::to_string_pretty(&value));
    match pretty {
        Ok(json) => visible_json_lines(&json).into_owned(),
        Err(_) => visible(&String::from_utf8_lossy(body)).into_owned(),
    }
}

/// A date, a time, or an age.
fn read_time(text: &str) -> Result<Timestamp, &'static str> {
    store::read_time(text, now())
}
