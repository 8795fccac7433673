//! `events`: lists, shows, replays and discards events.

mod discard;
mod filter;
mod follow;
mod preview;
mod queue;
mod replay;
mod selection;

use std::process::ExitCode;

use anyhow::Context;

use super::arguments::{PageArgs, read_event_id, read_order_of_events};
use super::output::{self, Cell, Column, Table, or_dash};
use super::startup;
use crate::clerk::Timestamp;
use crate::clerk::error_code::{self, ERRORS_PAGE};
use crate::clock::now;
use crate::config::Config;
use crate::escape::{visible, visible_json_lines};
use crate::store::{EventRow, Sort, Status, Store, WholeEvent};
use filter::FilterArgs;

#[derive(Debug, clap::Subcommand)]
pub enum EventsCommand {
    /// List events, the newest first
    #[command(visible_alias = "ls")]
    #[command(after_long_help = "Examples:
  clerk-sync events list --status failed   # what failed, each with its error code
  clerk-sync events list --user user_2abc --since 2h
  clerk-sync events list --follow          # each event as its outcome is recorded")]
    List(ListArgs),
    /// Show one event, with its attempts, who acted on it, and its payload if it is kept
    ///
    /// Of a failed event it also prints what its error code means and what to do.
    #[command(visible_alias = "get")]
    #[command(after_long_help = "Examples:
  clerk-sync events show msg_2abc")]
    Show {
        /// The event's ID, msg_…
        id: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Publish failed events again, under the same IDs
    ///
    /// An event that works now becomes applied, or stale if a newer version is there. Otherwise it
    /// stays failed, with one more of its attempts. A second replay does no harm. The events go to
    /// the queue that the workers recorded in the database; another one is refused.
    #[command(after_long_help = "Examples:
  clerk-sync events replay --all --dry-run         # what would be replayed, with which outcome
  clerk-sync events replay msg_2abc --wait         # one event, and its outcome
  clerk-sync events replay --since 2h              # all that failed in the last two hours
  clerk-sync events replay --error-code unrouted   # all that failed with this code

Exit status: with --wait, 1 if an event failed again or was not tried in time.")]
    Replay(replay::ReplayArgs),
    /// Discard failed events you do not want to replay; they are deleted with other old rows
    #[command(after_long_help = "Examples:
  clerk-sync events discard msg_2abc
  clerk-sync events discard --type user.updated --until 2026-01-01 --dry-run")]
    Discard(discard::DiscardArgs),
}

impl EventsCommand {
    pub fn uses_queue(&self) -> bool {
        matches!(self, Self::Replay(_))
    }
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Outcome of the event
    #[arg(long, value_parser = ["applied", "stale", "failed", "discarded"])]
    status: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Order by time of receipt: received_at for the oldest first, -received_at for the newest
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true, value_parser = read_order_of_events)]
    sort: Option<Sort>,
    #[command(flatten)]
    page: PageArgs,
    /// Print the newest events, the oldest of them first, and then each one that is recorded, until
    /// Ctrl-C
    #[arg(short, long, conflicts_with_all = ["sort", "cursor", "until", "wide"])]
    follow: bool,
}

pub async fn run(command: EventsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    let source = startup::source(config);
    let done = match command {
        EventsCommand::List(args) => list(args, &store, &source).await,
        EventsCommand::Show { id, json } => show(&id, json, &store, &source).await,
        EventsCommand::Replay(args) => replay::run(args, config, &store).await,
        EventsCommand::Discard(args) => discard::run(args, &store, &source).await,
    };
    store.close().await;
    done
}

async fn list(mut args: ListArgs, store: &Store, source: &str) -> anyhow::Result<ExitCode> {
    let status = args.status.as_deref().and_then(Status::named);
    let filter = std::mem::take(&mut args.filter).with_status(status);
    if args.follow {
        return follow::run(&args.page, &filter, store).await;
    }
    let (page, sort) = args.page.page_in(args.sort, Sort::NEWEST_EVENTS)?;
    let listing = store.events_in(sort, &filter, &page).await?;
    let is_failed = |event: &EventRow| event.status == Status::Failed;
    let failed = listing.rows.iter().find(|event| is_failed(event));
    let status = output::print_listing(
        &listing,
        args.page.json,
        &format!("No events match{source}."),
        |rows| of_events(rows, now(), args.page.wide),
    );
    if let (Some(event), false) = (failed, args.page.json) {
        let id = &event.event_id;
        output::note(&format!(
            "What to do: `clerk-sync events show {id}`; {ERRORS_PAGE} has every code"
        ));
    }
    status
}

fn of_events(events: &[EventRow], now: Timestamp, wide: bool) -> Table {
    const COLUMNS: [Column; 7] = [
        Column::new("RECEIVED").first_out(2),
        Column::new("AGE").last_out(1),
        Column::new("EVENT ID"),
        Column::new("TYPE").at_least(12).keeping_end(),
        Column::new("CLERK ID").first_out(3),
        Column::new("SEEN").first_out(1),
        Column::new("STATUS").at_least(14),
    ];
    let rows = events.iter().map(|event| {
        let status = event.status.as_str();
        let status = event
            .error_code
            .as_ref()
            .map_or(status.into(), |code| format!("{status}: {code}"));
        vec![
            Cell::new(output::local(event.received_at)),
            Cell::new(output::age(event.received_at, now)),
            Cell::new(&event.event_id),
            Cell::new(&event.event_type),
            Cell::new(or_dash(event.clerk_id.as_ref())),
            Cell::new(event.deliveries),
            Cell::of_status(event.status, status),
        ]
    });
    output::of_columns(&COLUMNS, rows, wide)
}

async fn show(id: &str, json: bool, store: &Store, source: &str) -> anyhow::Result<ExitCode> {
    let found = store
        .whole_event(&read_event_id(id).map_err(anyhow::Error::msg)?)
        .await?;
    let event = found.with_context(|| {
        format!("no event has the ID {id}{source}; see `clerk-sync events list`")
    })?;
    output::print_one(&event, json, || of_event(&event, now()))
}

fn of_event(whole: &WholeEvent, now: Timestamp) -> String {
    let event = &whole.event;
    let time = |time| output::local_and_age(time, now);
    let mut fields = vec![
        ("event_id", event.event_id.clone()),
        ("event_type", event.event_type.clone()),
        ("clerk_id", or_dash(event.clerk_id.as_ref())),
        ("status", event.status.as_str().into()),
        ("occurred_at", or_dash(event.occurred_at.map(time))),
        ("sent_at", time(event.sent_at)),
        ("received_at", time(event.received_at)),
        ("processed_at", time(event.processed_at)),
        ("deliveries", event.deliveries.to_string()),
        ("attempts", event.attempts.to_string()),
    ];
    if event.status == Status::Failed || event.error.is_some() {
        fields.push(("error_code", or_dash(event.error_code.as_ref())));
        fields.push(("error", or_dash(event.error.as_ref())));
    }
    if event.status == Status::Stale {
        fields.push(("superseded_by", or_dash(event.superseded_by.as_ref())));
    }
    let payload = match &event.payload {
        None => {
            fields.push(("payload", "not kept (EVENT_PAYLOADS=all keeps it)".into()));
            String::new()
        }
        Some(body) => format!("payload\n{}\n", of_payload(body)),
    };
    output::of_fields(&fields) + &of_attempts(whole, now) + &payload + &advice(event)
}

/// The attempts if there were several, and who acted on the event if someone did.
fn of_attempts(whole: &WholeEvent, now: Timestamp) -> String {
    let log = &whole.attempts_log;
    let attempts = whole.event.attempts.unsigned_abs();
    let earlier = attempts.saturating_sub(log.len() as u64);
    let mut lines: Vec<_> = (earlier + 1..)
        .zip(log)
        .filter(|_| attempts > 1)
        .map(|(number, attempt)| {
            let reason = [&attempt.error_code, &attempt.error];
            let reason = reason.into_iter().flatten();
            let reason: String = reason.map(|text| format!(": {text}")).collect();
            let at = output::local_and_age(attempt.at, now);
            let outcome = attempt.outcome.as_str();
            (
                format!("attempt {number}"),
                format!("{at} {outcome}{reason}"),
            )
        })
        .collect();
    lines.extend(whole.audit.iter().map(|act| {
        let at = output::local_and_age(act.at, now);
        let by = format!("{at} by {}, {}", act.actor.words(), act.place());
        (act.action.as_str().into(), by)
    }));
    let lines = lines.iter().map(|(name, text)| (&**name, text.clone()));
    let lines: Vec<_> = lines.collect();
    output::of_fields(&lines)
}

/// What the error of a failed event means. It comes last: a payload can be longer than a screen.
fn advice(event: &EventRow) -> String {
    let failed = event.error_code.as_ref();
    let Some(code) = failed.filter(|_| event.status == Status::Failed) else {
        return String::new();
    };
    let help = error_code::help_for(code);
    output::of_fields(&[
        ("meaning", help.meaning.into()),
        (
            "what to do",
            format!("{} A replay {}", help.what_to_do, help.replay),
        ),
        ("more", error_code::page_of(code)),
    ])
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
