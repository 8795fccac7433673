//! `clerk-sync send`: signs made-up events, or a file, as Svix would, and posts them to a receiver.

mod load;
mod plan;
mod sender;
mod summary;
mod target;

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::confirm::{self, Consent};
use super::hints::{Hints, quoted};
use super::{output, progress};
use crate::clerk::{ClerkId, EventId, SigningSecret};
use crate::clock::now;
use crate::sample::SampleType;
use crate::shutdown::Shutdown;
use load::Load;
use plan::{Plan, Source};
pub use sender::{Answer, PostError, Sender};
use summary::{Run, Summary};
pub use target::Dev;

/// Where `clerk-sync dev` and `serve` listen unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:3000/api/webhooks/clerk";

/// Made-up users that events are spread over, unless told otherwise.
const USERS_DEFAULT: u32 = 1000;

/// Most events of one run: a shuffled plan of them takes 80 MB.
const COUNT_MAX: i64 = 10_000_000;

/// Most connections: what a process may open by default on most systems.
const CONNECTIONS_MAX: u64 = 1024;

/// Highest rate, in deliveries a second: above what this program can sign and send.
const RATE_MAX: f64 = 1_000_000.0;

/// Most times that an event is sent again: as often as Svix does, with room.
const RETRIES_MAX: i64 = 100;

/// Sign sample events as Clerk does and post them to a receiver
#[derive(clap::Args, Debug, Clone)]
pub struct SendArgs {
    /// Type of the events; with --file it may be left out, since the file says it
    #[arg(value_name = "EVENT_TYPE", required_unless_present = "file", value_parser = event_types())]
    pub event_type: Option<SampleType>,

    /// Where to post; default: where `clerk-sync dev` of this DATA_DIR listens, else http://127.0.0.1:3000/api/webhooks/clerk
    #[arg(long, value_name = "URL", value_parser = read_url)]
    pub url: Option<Url>,

    /// Signing secret whsec_…; default: that of `clerk-sync dev` where it listens there, else the configured one. Others on this machine can
    /// see a command line: better set CLERK_WEBHOOK_SIGNING_SECRET
    #[arg(long, value_name = "SECRET")]
    pub secret: Option<SecretString>,

    /// Clerk ID of the one user that all events are about; the same ID is the same made-up person every time
    #[arg(long, value_name = "ID", value_parser = read_clerk_id, conflicts_with_all = ["users", "file"])]
    pub user: Option<ClerkId>,

    /// How many made-up users the events are spread over; default: one an event, at most 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=COUNT_MAX), conflicts_with = "file")]
    pub users: Option<u32>,

    /// How many different events to send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=COUNT_MAX))]
    pub count: u32,

    /// Deliveries a second, whatever the answers take; latency counts from when each was due. Default: as fast as they
    /// are answered
    #[arg(long, value_name = "N", value_parser = read_rate)]
    pub rate: Option<f64>,

    /// How many connections, each with one delivery under way
    #[arg(long, value_name = "N", default_value = "8", value_parser = read_connections)]
    pub connections: NonZeroUsize,

    /// Send in random order
    #[arg(long)]
    pub shuffle: bool,

    /// Send every event twice; with --shuffle the second time at any later point
    #[arg(long)]
    pub duplicate: bool,

    /// Send an event again after a 429, a 5xx or no answer, up to N times: after Retry-After, but 5 seconds at most
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=RETRIES_MAX))]
    pub retry: u32,

    /// Send exactly these bytes, signed; - reads them from standard input
    #[arg(long, value_name = "BODY.json")]
    pub file: Option<PathBuf>,

    /// Decides the users and the order, so that a run can be repeated; default: a random one, which is told
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Do not ask first where the target is not `clerk-sync dev`
    #[arg(long)]
    pub yes: bool,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

fn event_types() -> impl TypedValueParser<Value = SampleType> {
    PossibleValuesParser::new(SampleType::ALL.map(SampleType::as_str))
        .try_map(|name| SampleType::named(&name).ok_or("no such type"))
}

fn read_url(text: &str) -> Result<Url, String> {
    let example = format!("give one such as {DEFAULT_URL}");
    let after_host = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once(['/', '?', '#']))
        .map(|(_, rest)| rest);
    // A password with one of these in it ends the host too early; the rest would be printed, and go to another host.
    if after_host.is_some_and(|rest| rest.contains('@') || rest.contains("%40")) {
        return Err(format!(
            "it holds an @ behind the first /, ? or #: in a password write / as %2F, ? as %3F, # as %23; {example}"
        ));
    }
    let url: Url = text
        .parse()
        .map_err(|error| format!("{error}: {example}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("it is neither http:// nor https://: {example}"));
    }
    Ok(url)
}

fn read_clerk_id(text: &str) -> Result<ClerkId, &'static str> {
    ClerkId::new(text).ok_or("a Clerk ID is 1 to 255 characters")
}

fn read_rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate: &f64| *rate > 0.0 && *rate <= RATE_MAX);
    rate.ok_or_else(|| format!("give a number of deliveries a second above 0 and up to {RATE_MAX}"))
}

fn read_connections(text: &str) -> Result<NonZeroUsize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number: &NonZeroUsize| number.get() as u64 <= CONNECTIONS_MAX);
    number.ok_or_else(|| format!("give a number from 1 to {CONNECTIONS_MAX}"))
}

/// Does what `args` ask for. Where the target is not `dev`, a person agrees first: what is sent ends in somebody's table.
pub async fn run_with_consent(
    args: &SendArgs,
    configured: Option<SecretString>,
    dev: &Dev,
    hints: Hints,
) -> anyhow::Result<ExitCode> {
    let url = match (&args.url, &dev.url) {
        (Some(url), _) | (None, Some(url)) => url.clone(),
        (None, None) => DEFAULT_URL
            .parse()
            .context("the default URL cannot be read")?,
    };
    let chosen = target::choose(&url, args.secret.as_ref(), configured.as_ref(), dev);
    signing_secret(chosen.as_ref().map(|(secret, _)| secret))?;
    let is_dev = chosen.as_ref().is_some_and(|(_, is_dev)| *is_dev);
    if !is_dev {
        let warning = target::warning(
            &sender::address(&url),
            args.user.as_ref().map(ClerkId::as_str),
        );
        match confirm::ask(&warning, "Send all the same?", args.yes) {
            Consent::Given => {}
            Consent::Refused => bail!("nothing was sent"),
            Consent::Absent => {
                output::note("clerk-sync: nothing was sent: add --yes to send all the same");
                return Ok(ExitCode::from(super::WRONG_USAGE));
            }
        }
    }
    let secret = chosen.map(|(secret, _)| secret);
    // The tables of `dev` are found by flags, those of another program by what is set.
    let hints = if is_dev {
        hints
    } else {
        Hints::without_flags()
    };
    run(
        &SendArgs {
            url: Some(url),
            secret: secret.clone(),
            ..args.clone()
        },
        secret,
        &hints,
    )
    .await
}

/// Sends what `args` ask for and prints what came of it. `configured` is the signing secret for where `args` have none:
/// the configured one, else that of `dev`. Of a list only the first is used. `hints` are how the tables are found.
///
/// Fails where nothing could be sent at all; deliveries that failed make the exit status 1.
pub async fn run(
    args: &SendArgs,
    configured: Option<SecretString>,
    hints: &Hints,
) -> anyhow::Result<ExitCode> {
    let (plan, sender, run) = prepare(args, configured)?;
    if plan.deliveries() == 1 {
        send_one(args, plan, sender, run, hints).await
    } else {
        send_many(args, plan, sender, run).await
    }
}

/// Everything that can be wrong before the first delivery.
fn prepare(
    args: &SendArgs,
    configured: Option<SecretString>,
) -> anyhow::Result<(Plan, Sender, Run)> {
    let secret = signing_secret(args.secret.as_ref().or(configured.as_ref()))?;
    let now = now();
    let seed = args
        .seed
        .unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let (source, users) = source(args)?;
    let options = plan::Options {
        source,
        events: args.count,
        shuffle: args.shuffle,
        duplicate: args.duplicate,
        seed,
        now,
    };
    let plan = Plan::new(options);
    let url = args
        .url
        .clone()
        .map_or_else(|| DEFAULT_URL.parse(), Ok)
        .context("the default URL cannot be read")?;
    let sender =
        Sender::new(url, secret, args.connections).context("cannot set up the HTTP client")?;
    let event_type = args
        .event_type
        .map(SampleType::as_str)
        .filter(|_| args.file.is_none());
    let run = Run {
        event_type,
        url: sender.address(),
        seed,
        users,
    };
    Ok((plan, sender, run))
}

/// One delivery, told in words and with the next commands to try.
async fn send_one(
    args: &SendArgs,
    plan: Plan,
    sender: Sender,
    run: Run,
    hints: &Hints,
) -> anyhow::Result<ExitCode> {
    let planned = plan.event(0).context("a plan of one has a first event")?;
    let summary = load(args, plan, sender, run).await;
    let (event_id, clerk_id) = (planned.event.id, planned.clerk_id);
    if args.json {
        #[derive(serde::Serialize)]
        struct One<'a> {
            event_id: &'a str,
            clerk_id: Option<&'a str>,
            #[serde(flatten)]
            summary: &'a Summary,
        }
        let clerk_id = clerk_id.as_ref().map(ClerkId::as_str);
        output::print_json_lines(&[One {
            event_id: event_id.as_str(),
            clerk_id,
            summary: &summary,
        }])?;
    } else if summary.is_whole() {
        print(&in_words(&summary, &event_id, clerk_id.as_ref(), hints))?;
    } else {
        print_reasons(&summary);
    }
    Ok(exit_code(&summary))
}

/// What came of the one event that was accepted, and where to look at it.
fn in_words(
    summary: &Summary,
    event_id: &EventId,
    clerk_id: Option<&ClerkId>,
    hints: &Hints,
) -> String {
    let about = clerk_id
        .map(|id| format!(", about {id}"))
        .unwrap_or_default();
    let took = summary
        .latency_ms
        .as_ref()
        .map(|latency| format!(", in {:.1} ms", latency.max))
        .unwrap_or_default();
    if summary.ignored > 0 {
        return format!(
            "ignored {event_id}{took}\n\nThe signature is good, but only user.created, user.updated and user.deleted are kept."
        );
    }
    if summary.queued == 0 {
        return format!("accepted {event_id}{about}{took}, but not by clerk-sync: see --url");
    }
    let next = match clerk_id.map(|id| quoted(id.as_str())) {
        Some(id) => ["show", "history"]
            .map(|what| format!("  {}", hints.command(&format!("users {what} {id}"))))
            .join("\n"),
        None => format!("  {}", hints.command(&format!("events show {event_id}"))),
    };
    format!("queued {event_id}{about}{took}\n\nLook at it:\n{next}")
}

async fn send_many(
    args: &SendArgs,
    plan: Plan,
    sender: Sender,
    run: Run,
) -> anyhow::Result<ExitCode> {
    let summary = load(args, plan, sender, run).await;
    if args.json {
        output::print_json_lines(std::slice::from_ref(&summary))?;
    } else {
        print(&summary.table())?;
        print_reasons(&summary);
    }
    Ok(exit_code(&summary))
}

async fn load(args: &SendArgs, plan: Plan, sender: Sender, run: Run) -> Summary {
    let planned = plan.deliveries();
    let shutdown = Shutdown::default();
    let progress = progress::bar(Some(planned as u64));
    let load = Load {
        plan,
        sender,
        connections: args.connections,
        rate: args.rate,
        retries: args.retry,
        progress: progress.clone(),
        shutdown: shutdown.clone(),
    };
    let sending = load.run();
    tokio::pin!(sending);
    let (tally, took) = tokio::select! {
        finished = &mut sending => finished,
        Ok(()) = tokio::signal::ctrl_c() => {
            // What was sent until now is still worth telling.
            shutdown.request();
            sending.await
        }
    };
    progress.finish_and_clear();
    tally.summary(run, planned, took)
}

/// What the events come from, and how many users they are about.
fn source(args: &SendArgs) -> anyhow::Result<(Source, Option<u32>)> {
    if let Some(path) = &args.file {
        return Ok((Source::Body(read_body(path)?.into()), None));
    }
    let kind = args
        .event_type
        .context("say which EVENT_TYPE to send, or give --file")?;
    Ok(match &args.user {
        Some(id) => (
            Source::User {
                kind,
                id: id.clone(),
            },
            Some(1),
        ),
        None => {
            let users = args.users.unwrap_or(USERS_DEFAULT).min(args.count);
            (Source::People { kind, users }, Some(users))
        }
    })
}

fn read_body(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .read_to_end(&mut body)
            .context("cannot read the body from standard input")?;
        return Ok(body);
    }
    std::fs::read(path).with_context(|| format!("cannot read --file {}", path.display()))
}

fn signing_secret(secret: Option<&SecretString>) -> anyhow::Result<SigningSecret> {
    let secret = secret.context(
        "no signing secret: give --secret whsec_…, set CLERK_WEBHOOK_SIGNING_SECRET, or start `clerk-sync dev`, which makes one",
    )?;
    let mut list = secret
        .expose_secret()
        .split([',', ' ', '\n'])
        .map(str::trim)
        .filter(|one| !one.is_empty());
    let first = SecretString::from(list.next().unwrap_or_default());
    SigningSecret::parse(&first)
        .map_err(|fault| anyhow::anyhow!("the signing secret {fault}: give one such as whsec_…"))
}

fn exit_code(summary: &Summary) -> ExitCode {
    if summary.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    output::print(&format!("{text}\n"))
}

fn print_reasons(summary: &Summary) {
    for reason in &summary.reasons {
        output::note(&format!("not accepted: {reason}"));
    }
    if summary.failed > 0 && summary.failed == summary.sent {
        output::note(&format!(
            "Nothing takes events at {}: start `clerk-sync dev`, or see --url.",
            summary.run.url
        ));
    }
}

#[cfg(test)]
mod tests;
