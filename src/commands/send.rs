//! `clerk-sync send`: signs sample events, or a file, as Svix would, and posts them to a receiver.

mod load;
mod plan;
mod sender;
mod source;
mod summary;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::value_parser;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::arguments::{read_clerk_id, read_wait};
use super::confirm::{self, Consent};
use super::exit::{WrongUsage, success_if};
use super::hints::{Hints, quoted};
use super::{outcomes, output, progress};
use crate::clerk::{ClerkId, SigningSecret};
use crate::clock::now;
use crate::config::read_http_url;
use crate::format;
use crate::http::WEBHOOK_PATH;
use crate::replay::{Outcome, Published};
use crate::sample::{Fault, SampleType};
use crate::shutdown::Shutdown;
use crate::store::Store;
use load::Load;
use plan::Plan;
pub use sender::Sender;
use source::{Ids, Source};
use summary::{Run, SingleEvent, Summary};
pub use target::Dev;

/// An example of a URL to post to.
const EXAMPLE_URL: &str = "http://127.0.0.1:3000/api/webhooks/clerk";

/// What events are about that fill no table, or that a file has.
const USERS: &str = "users";

/// Most events of one run: a shuffled plan of them takes 80 MB.
const COUNT_MAX: i64 = 10_000_000;

/// Most events that are waited for: each is asked for by its ID.
const WAIT_COUNT_MAX: u32 = 100_000;

/// Most connections: what a process may open by default on most systems.
const CONNECTIONS_MAX: i64 = 1024;

/// Highest rate, in deliveries per second: above what this program can sign and send.
const RATE_MAX: f64 = 1_000_000.0;

/// Most times that an event is sent again: as often as Svix does, with a margin.
const RETRIES_MAX: i64 = 100;

/// Sign sample events as Clerk does and post them to a receiver
#[derive(clap::Args, Debug, Clone)]
pub struct SendArgs {
    /// Type of the events; optional with --file, since the file has it
    #[arg(value_name = "EVENT_TYPE", required_unless_present = "file", value_parser = event_types())]
    event_type: Option<SampleType>,

    /// Where to post [default: where `clerk-sync dev` of this DATA_DIR listens, else
    /// /api/webhooks/clerk at HOST and PORT]
    #[arg(long, value_name = "URL", value_parser = read_url)]
    url: Option<Url>,

    /// Signing secret whsec_…; better set CLERK_WEBHOOK_SIGNING_SECRET, since others on this machine
    /// can see a command line [default: that of `clerk-sync dev` where it listens there, else the
    /// configured one]
    #[arg(long, value_name = "SECRET")]
    secret: Option<SecretString>,

    /// Clerk ID of the one user that all events are about: the user, the founder, the member or who
    /// is invited; the same ID is the same sample user every time
    #[arg(long, value_name = "ID", value_parser = read_clerk_id, conflicts_with_all = ["users", "file"])]
    user: Option<ClerkId>,

    /// Clerk ID of the one organization that all events are about
    #[arg(long, value_name = "ID", value_parser = read_clerk_id, conflicts_with = "file")]
    organization: Option<ClerkId>,

    /// Clerk ID of the object itself if it is no user and no organization, such as a membership:
    /// someone who joins again gets a new one [default: one that is always the same for the user
    /// and the organization]
    #[arg(long, value_name = "ID", value_parser = read_clerk_id, conflicts_with_all = ["users", "file"])]
    id: Option<ClerkId>,

    /// How many sample users the events are spread over, or organizations, memberships…; ten users
    /// are in each organization [default: one per event, at most 1000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=COUNT_MAX), conflicts_with = "file")]
    users: Option<u32>,

    /// How many different events to send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=COUNT_MAX))]
    count: u32,

    /// Deliveries per second, however long the answers take; latency counts from when each was due
    /// [default: as fast as they are answered]
    #[arg(long, value_name = "N", value_parser = read_rate)]
    rate: Option<f64>,

    /// How many connections, each with one delivery in flight
    #[arg(long, value_name = "N", default_value = "8", value_parser = value_parser!(u16).range(1..=CONNECTIONS_MAX).map(usize::from))]
    connections: usize,

    /// Send in random order
    #[arg(long)]
    shuffle: bool,

    /// Send every event twice; with --shuffle the second time at any later point
    #[arg(long)]
    duplicate: bool,

    /// Make every event fail: to see what a failed event looks like, and what reports it
    #[arg(long = "break", value_name = "HOW", conflicts_with = "file")]
    fault: Option<Fault>,

    /// Wait until a worker has recorded every event in the database (that of `dev` where it listens
    /// there, else DATABASE_URL), and print the outcomes; exit status 1 if any is missing or
    /// failed, other than by --break
    #[arg(long)]
    wait: bool,

    /// Longest wait after the last event was sent, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "wait", value_parser = read_wait)]
    timeout: Duration,

    /// Send an event again after a 429, a 5xx or no answer, up to N times: after Retry-After, but 5
    /// seconds at most
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(0..=RETRIES_MAX))]
    retry: u32,

    /// Send exactly these bytes, signed; - reads them from standard input
    #[arg(long, value_name = "BODY.json")]
    file: Option<PathBuf>,

    /// Decides the users and the order, so that a run can be repeated [default: a random one, which
    /// is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Do not ask first if the target is not `clerk-sync dev`
    #[arg(long)]
    yes: bool,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn event_types() -> impl TypedValueParser<Value = SampleType> {
    PossibleValuesParser::new(SampleType::all().map(SampleType::as_str))
        .try_map(|name| SampleType::named(&name).ok_or("no such type"))
}

fn read_url(text: &str) -> Result<Url, String> {
    read_http_url(text).map_err(|fault| format!("{fault}; give one such as {EXAMPLE_URL}"))
}

fn read_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate: &f64| *rate > 0.0 && *rate <= RATE_MAX)
        .ok_or_else(|| {
            format!("give a number of deliveries per second above 0 and up to {RATE_MAX}")
        })
}

/// Sends the events of `args` and prints the result. Deliveries and outcomes that failed make the
/// exit status 1. `local` is where a server of the
/// settings listens on this machine. `open_store` opens the database of `dev`, or that of the settings. If the target is
/// not `dev`, a person agrees first: the events end in a table.
///
/// # Errors
///
/// If nothing was sent: no secret, no consent, or a file that cannot be read.
pub async fn run(
    args: &SendArgs,
    configured: Option<&SecretString>,
    dev: &Dev,
    local: Url,
    mut hints: Hints,
    open_store: impl FnOnce(bool) -> anyhow::Result<Store>,
) -> anyhow::Result<ExitCode> {
    let url = args.url.clone().or_else(|| dev.url.clone());
    let url = url.unwrap_or(local);
    let chosen = target::choose(&url, args.secret.as_ref(), configured, dev);
    let (secret, is_dev) = chosen.unzip();
    let secret = signing_secret(secret.as_ref())?;
    if is_dev != Some(true) {
        let about = overwritten(args).map(ClerkId::as_str);
        let plural = args.event_type.map_or(USERS, plural);
        let warning = target::warning(&sender::address(&url), plural, about);
        match confirm::ask(&warning, "Send?", args.yes) {
            Consent::Given => {}
            Consent::Refused => bail!("nothing was sent"),
            Consent::Absent => {
                bail!(WrongUsage("nothing was sent: add --yes to agree"))
            }
        }
        // The tables of `dev` are found by flags, those of another program by its settings.
        hints = Hints::without_flags();
    }
    let load = prepare(args, url, secret)?;
    let store = args.wait.then(|| open_store(is_dev == Some(true)));
    let store = store.transpose()?;
    // Before anything is sent. `dev` migrates at its start.
    if let (Some(store), Some(false)) = (&store, is_dev) {
        store.schema_version().await?.check()?;
    }
    let shutdown = load.shutdown.clone();
    let mut sending = std::pin::pin!(load.run());
    let summary = tokio::select! {
        summary = &mut sending => summary,
        Ok(()) = tokio::signal::ctrl_c() => {
            // What was sent until now is still reported.
            shutdown.request();
            sending.await
        }
    };
    let single = summary.run.single.as_ref();
    let single = single.filter(|_| summary.is_whole());
    if !args.json {
        output::print(&match single {
            Some(event) => in_words(&summary, event),
            None if summary.run.single.is_some() => String::new(),
            None => summary.table(),
        })?;
        print_reasons(&summary);
    }
    let (outcomes, waited) = match store {
        Some(store) => {
            let (outcomes, waited) = outcomes_of(&summary, &store, args.timeout).await;
            (Some(outcomes), waited)
        }
        None => (None, Ok(())),
    };
    // With --wait, an event that clerk-sync never had is missing.
    let foreign = if args.wait { summary.foreign() } else { 0 };
    let is_done =
        summary.is_whole() && foreign == 0 && are_as_expected(outcomes.as_deref(), args.fault);
    let waiting = outcomes::waiting(outcomes.as_deref().unwrap_or_default());
    if args.json {
        output::print_json_lines(&[Report {
            summary: &summary,
            outcomes,
        }])?;
    } else if let Some(outcomes) = outcomes.filter(|outcomes| !outcomes.is_empty()) {
        let only = outcomes.iter().filter(|_| outcomes.len() == 1);
        let only: String = only
            .map(|outcome| outcomes::of_outcome(outcome, ""))
            .collect();
        output::print(&(only + &outcomes::of_counts("Sent", &outcomes)))?;
    }
    if foreign > 0 {
        output::note(&of_foreign(foreign, &summary));
    }
    waited?;
    if waiting > 0 {
        output::note(&of_waiting(waiting, &hints));
    }
    if let Some(event) = single.filter(|_| !args.json && summary.queued > 0 && waiting == 0) {
        output::print(&where_to_look(event, args.fault.is_some(), &hints))?;
    }
    Ok(success_if(is_done))
}

/// What to check if another program accepted events that are waited for.
fn of_foreign(foreign: u64, summary: &Summary) -> String {
    let (foreign, sent) = (format::number(foreign), format::number(summary.sent));
    let url = &summary.run.url;
    format!(
        "Not recorded: {foreign} of {sent} deliveries. What accepted them at {url} is not clerk-sync. Check --url: the path of clerk-sync is {WEBHOOK_PATH}."
    )
}

/// What to check if no worker has recorded events in the database of this command.
fn of_waiting(waiting: u64, hints: &Hints) -> String {
    format!(
        "No worker recorded {} in time in the database of this command. The server may use another one: `{}` shows which one this is, and how many events wait for a worker.",
        format::count(waiting, "event"),
        hints.command("check")
    )
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// With `--wait`: one for each event.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<Vec<Outcome>>,
}

/// Waits for the outcomes of the events that were queued. Returns those known when the wait ended,
/// and why it ended early.
async fn outcomes_of(
    summary: &Summary,
    store: &Store,
    timeout: Duration,
) -> (Vec<Outcome>, anyhow::Result<()>) {
    let published = summary.queued_ids.iter().cloned().map(Published::first);
    let published: Vec<_> = published.collect();
    let (outcomes, ended) = outcomes::wait(store, &published, timeout).await;
    store.close().await;
    let ended = match ended {
        Some(ended) => ended.map_err(Into::into),
        None => Err(anyhow!(
            "stopped: the events are sent; see the outcomes with `clerk-sync events list`"
        )),
    };
    (outcomes, ended)
}

/// Whether every event has the outcome that it was sent for.
fn are_as_expected(outcomes: Option<&[Outcome]>, fault: Option<Fault>) -> bool {
    let mut outcomes = outcomes.into_iter().flatten();
    outcomes.all(|outcome| match fault {
        Some(fault) => outcome.error_code.as_deref() == Some(fault.code()),
        None => !outcome.status.is_bad(),
    })
}

/// Everything that can be wrong before the first delivery.
fn prepare(args: &SendArgs, url: Url, secret: SigningSecret) -> anyhow::Result<Load> {
    let source = source(args)?;
    if args.fault.is_some() && !args.event_type.is_some_and(SampleType::has_profile) {
        bail!(WrongUsage(
            "--break is for events that carry a whole object, such as user.updated"
        ));
    }
    if args.wait && args.count > WAIT_COUNT_MAX {
        bail!(WrongUsage(
            "--wait is for at most 100000 events: see the others with `clerk-sync events list`"
        ));
    }
    let (event_type, users) = match &source {
        Source::Body(_) => (None, None),
        Source::People { kind, users, .. } => (Some(kind.as_str()), Some(*users)),
    };
    let seed = args
        .seed
        .unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut plan = Plan {
        source,
        events: args.count,
        duplicate: args.duplicate,
        fault: args.fault,
        seed,
        now: now(),
        order: None,
    };
    if args.shuffle {
        plan = plan.shuffled();
    }
    let only = plan.event(0).filter(|_| plan.deliveries() == 1);
    let run = Run {
        single: only.map(|planned| SingleEvent {
            event_id: planned.event.id.to_string(),
            clerk_id: planned.clerk_id.as_ref().map(ClerkId::to_string),
            plural: args.event_type.map_or(USERS, plural),
        }),
        event_type,
        url: sender::address(&url),
        seed,
        users,
    };
    let sender = Sender::new(url, secret, args.connections);
    Ok(Load {
        run,
        sender: sender.context("cannot set up the HTTP client")?,
        connections: args.connections,
        rate: args.rate,
        retries: args.retry,
        keeps_ids: args.wait,
        progress: progress::bar(Some(plan.deliveries() as u64)),
        plan,
        shutdown: Shutdown::default(),
    })
}

/// What happened to the one event that was accepted.
fn in_words(summary: &Summary, event: &SingleEvent) -> String {
    let (event_id, clerk_id) = (&event.event_id, &event.clerk_id);
    let latency = summary.latency_ms.as_ref();
    let took = latency.map(|latency| format!(", in {:.1} ms", latency.max));
    let took = took.unwrap_or_default();
    if summary.ignored > 0 {
        return format!(
            "ignored {event_id}{took}\n\nThe signature is good, but the server does not keep \
             events of this type.\n"
        );
    }
    let about = clerk_id.as_ref().map(|id| format!(", about {id}"));
    let about = about.unwrap_or_default();
    if summary.queued == 0 {
        return format!("accepted {event_id}{about}{took}, but not by clerk-sync: see --url\n");
    }
    format!("queued {event_id}{about}{took}\n")
}

/// Commands that show the one event that was queued.
fn where_to_look(event: &SingleEvent, is_broken: bool, hints: &Hints) -> String {
    let SingleEvent {
        event_id,
        clerk_id,
        plural,
    } = event;
    let next = match clerk_id {
        Some(id) if !is_broken => ["show", "history"]
            .map(|what| format!("{plural} {what} {}", quoted(id)))
            .to_vec(),
        _ => vec![format!("events show {event_id}")],
    };
    let next = next
        .iter()
        .map(|next| format!("  {}\n", hints.command(next)));
    format!("\nLook at it:\n{}", next.collect::<String>())
}

fn source(args: &SendArgs) -> anyhow::Result<Source> {
    if let Some(path) = &args.file {
        return Source::of_file(path);
    }
    let kind = args
        .event_type
        .context("add an EVENT_TYPE to send, or --file")?;
    let ids = Ids {
        user: args.user.clone(),
        organization: args.organization.clone(),
        object: args.id.clone(),
    };
    Ok(Source::of(kind, ids, args.users, args.count)?)
}

/// The ID of the row that the events are about, if it is given. Returns `None` if each is of another
/// row, and if the IDs are those of what the rows name.
fn overwritten(args: &SendArgs) -> Option<&ClerkId> {
    let table = args.event_type.and_then(SampleType::table);
    let of_table = match table.map(|table| table.id_prefix) {
        Some("user") | None => args.user.as_ref(),
        Some("org") => args.organization.as_ref(),
        Some(_) => None,
    };
    args.id.as_ref().or(of_table)
}

/// What the objects that events of this type are about are called in texts and commands. Those that
/// fill no table are about users.
fn plural(kind: SampleType) -> &'static str {
    kind.table().map_or(USERS, |table| table.plural)
}

/// The first of a list of secrets.
fn signing_secret(secrets: Option<&SecretString>) -> anyhow::Result<SigningSecret> {
    let secrets = secrets.context(
        "no signing secret: give --secret whsec_…, set CLERK_WEBHOOK_SIGNING_SECRET, or start `clerk-sync dev`, which generates one",
    )?;
    let mut list = secrets.expose_secret().split([',', ' ', '\n']);
    let first = list
        .find(|secret| !secret.trim().is_empty())
        .unwrap_or_default();
    SigningSecret::parse(&first.trim().into())
        .map_err(|fault| anyhow::anyhow!("the signing secret {fault}: give one such as whsec_…"))
}

fn print_reasons(summary: &Summary) {
    for reason in &summary.reasons {
        output::note(&format!("not accepted: {reason}"));
    }
    if summary.failed > 0 && summary.failed == summary.sent {
        output::note(&format!(
            "Nothing accepts events at {}: start `clerk-sync serve`, or `clerk-sync dev` to try it without your database, or give the address of a server with --url.",
            summary.run.url
        ));
    }
}

#[cfg(test)]
mod tests;
