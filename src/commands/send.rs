//! `send`: signs sample events and posts them, as Svix would.

mod load;
mod sender;

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use secrecy::SecretString;
use serde::Serialize;

use super::table;
use crate::clerk::sample::EVENT_TYPES;
use load::{Load, Source, Tally};
pub use sender::Sender;

#[derive(Debug, clap::Args)]
pub struct SendArgs {
    /// Type of the events
    #[arg(required_unless_present = "file", value_parser = PossibleValuesParser::new(EVENT_TYPES))]
    event_type: Option<String>,
    /// Where to
    #[arg(long, default_value = "http://127.0.0.1:3000/api/webhooks/clerk")]
    url: String,
    /// Signing secret whsec_… [default: CLERK_WEBHOOK_SIGNING_SECRET, else the one that `dev` made in DATA_DIR]
    #[arg(long)]
    secret: Option<String>,
    /// Clerk ID of the one user that all events are about
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Made-up users that the events are about [default: the count, but 1000 at most for user.updated]
    #[arg(long, value_name = "N", conflicts_with = "user", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    users: Option<u64>,
    /// How many events
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// Deliveries a second; latency then counts from the time a delivery was due, so that waiting shows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Deliveries in flight at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// In random order
    #[arg(long)]
    shuffle: bool,
    /// Every event twice
    #[arg(long)]
    duplicate: bool,
    /// Send the bytes of this file as the body; - reads standard input
    #[arg(long, value_name = "BODY.json", conflicts_with_all = ["user", "users"])]
    file: Option<String>,
    /// Times to try again after a 503 or a failed connection
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u32).range(..=100))]
    retry: u32,
    /// Makes the same people, events and order again
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// Sends what the arguments ask for. `secret` is the one to sign with unless the arguments name another.
pub async fn run(args: &SendArgs, secret: Option<SecretString>) -> anyhow::Result<ExitCode> {
    let secret = args.secret.as_deref().map(|secret| SecretString::from(secret.trim())).or(secret);
    let secret = secret.context(
        "no signing secret: give --secret whsec_…, set CLERK_WEBHOOK_SIGNING_SECRET, or run `clerk-sync dev` in this directory first",
    )?;
    let sender = Sender::new(&args.url, &secret, args.connections.into())?;
    let seed = args.seed.unwrap_or_else(rand::random);
    let load = Load {
        source: source(args)?,
        count: args.count,
        seed,
        shuffle: args.shuffle,
        duplicate: args.duplicate,
        rate: args.rate,
        connections: args.connections,
        retries: args.retry,
    };
    let shows_progress = args.count > 1 && !args.json && std::io::stderr().is_terminal();
    let tally = load.run(&sender, shows_progress).await;
    let summary = Summary::of(&tally, seed);
    if args.json {
        table::print_json(&summary)?;
    } else if tally.sent() == 1 && tally.accepted == 1 {
        table::print(&one_accepted(&tally))?;
    } else {
        table::print(&summary.to_table(&tally))?;
    }
    if tally.accepted < tally.sent() {
        bail!("{} of {} deliveries were not accepted", tally.sent() - tally.accepted, tally.sent());
    }
    Ok(ExitCode::SUCCESS)
}

fn source(args: &SendArgs) -> anyhow::Result<Source> {
    if let Some(path) = &args.file {
        let mut body = Vec::new();
        let read = match path.as_str() {
            "-" => std::io::stdin().read_to_end(&mut body).map(drop),
            path => std::fs::read(path).map(|bytes| body = bytes),
        };
        read.with_context(|| format!("{path} cannot be read"))?;
        return Ok(Source::Body(body.into()));
    }
    let event_type = args.event_type.clone().context("give an event type")?;
    let default = if event_type == "user.updated" { args.count.min(1000) } else { args.count };
    Ok(Source::People { event_type, user: args.user.clone(), users: args.users.unwrap_or(default) })
}

fn one_accepted(tally: &Tally) -> String {
    let (status, id) = tally.last.as_ref().map_or(("accepted", ""), |(status, id)| (status.as_str(), id.as_str()));
    let look =
        if status == "queued" { format!("\nSee what it did: clerk-sync events show {id}") } else { String::new() };
    format!("{id} {status} in {:.1} ms{look}\n", milliseconds(tally.latency_us.max()))
}

#[derive(Serialize)]
struct Summary<'a> {
    /// Deliveries, those of duplicates too.
    sent: u64,
    /// Answered 2xx.
    accepted: u64,
    /// Of these, of types that are not synced.
    ignored: u64,
    /// Answered otherwise, or not at all, with the first reasons.
    refused: u64,
    reasons: &'a std::collections::BTreeMap<String, u64>,
    /// Tries after a 503 or a failed connection.
    retries: u64,
    seconds: f64,
    rate_per_s: f64,
    latency_ms: Latency,
    seed: u64,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl<'a> Summary<'a> {
    fn of(tally: &'a Tally, seed: u64) -> Self {
        let seconds = tally.elapsed.as_secs_f64();
        let quantile = |q| milliseconds(tally.latency_us.value_at_quantile(q));
        // A count of events is far below where a float loses whole numbers.
        #[expect(clippy::cast_precision_loss)]
        let rate_per_s = (tally.accepted as f64 / seconds * 10.0).round() / 10.0;
        Self {
            sent: tally.sent(),
            accepted: tally.accepted,
            ignored: tally.ignored,
            refused: tally.refused,
            reasons: &tally.reasons,
            retries: tally.retries,
            seconds: (seconds * 1000.0).round() / 1000.0,
            rate_per_s,
            latency_ms: Latency {
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                max: milliseconds(tally.latency_us.max()),
            },
            seed,
        }
    }

    fn to_table(&self, tally: &Tally) -> String {
        let Latency { p50, p90, p99, max } = &self.latency_ms;
        let mut fields = vec![
            ("sent", self.sent.to_string()),
            ("accepted", self.accepted.to_string()),
            ("ignored", self.ignored.to_string()),
            ("refused", self.refused.to_string()),
        ];
        fields.extend(tally.reasons.iter().map(|(reason, count)| ("", format!("{count} × {reason}"))));
        fields.extend([
            ("rate", format!("{:.0} a second over {:.1} s", self.rate_per_s, self.seconds)),
            ("latency", format!("p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")),
            ("seed", self.seed.to_string()),
        ]);
        table::of_fields(&fields)
    }
}

/// From microseconds, to the hundredth.
fn milliseconds(us: u64) -> f64 {
    // Latencies are below a minute: a float holds them exactly.
    #[expect(clippy::cast_precision_loss)]
    let ms = us as f64 / 1000.0;
    (ms * 100.0).round() / 100.0
}
