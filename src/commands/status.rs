//! `status`: whether everything works, as the overview of the dashboard says it.
//!
//! It asks the database, the queue and the server on this machine, and changes nothing.

mod numbers;

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::time::timeout;

use super::arguments::JsonArg;
use super::exit::success_if;
use super::{dev, feed_workers, loopback, output, startup, terminal};
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::config::Config;
use crate::format;
use crate::http::{self, ChangeFeedStatus, Headline, Refused, Snapshot};
use crate::queue::{self, QueueInspection};
use crate::store::{
    self, Control, Failed, Lag, Pause, Range, Recent, Store, StoreError, Time, Totals,
};
use numbers::{of_change_feed, of_failed, of_lag, of_refused, of_tables};

/// Longest wait for one answer of the database, and for the queue.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the server on this machine.
const SERVER_TIMEOUT: Duration = Duration::from_secs(3);

/// What is known, and what does not work.
#[derive(Debug, Serialize)]
struct Report {
    as_of: Time,
    /// Whether nothing is in `problems`.
    ok: bool,
    /// What the overview of the dashboard says first.
    headline: String,
    /// Sentences that explain it, if it is no more than a warning.
    notes: Vec<String>,
    /// What does not work, a sentence each.
    problems: Vec<String>,
    /// The server on this machine; null if none listens there.
    server: Option<Server>,
    database: Place,
    queue: Waiting,
    /// The pause of applying; null while events are applied, or if the database does not say.
    paused: Option<Pause>,
    /// Most events per second that all workers together apply; null without a limit.
    rate_limit: Option<NonZeroU32>,
    /// This and the following are null if the database does not say.
    last_received_at: Option<Time>,
    /// From receipt to commit, in the last hour.
    lag: Option<Lag>,
    failed: Option<Failed>,
    totals: Option<Totals>,
    /// How far the change feed is; null if it is off.
    change_feed: Option<ChangeFeedStatus>,
    /// The deliveries that the server on this machine refused; null if it does not say.
    refused: Option<Refused>,
}

#[derive(Debug, Serialize)]
struct Server {
    url: String,
    ready: bool,
}

#[derive(Debug, Serialize)]
struct Place {
    place: String,
}

#[derive(Debug, Serialize)]
struct Waiting {
    place: String,
    /// Events that wait; null if the queue does not say, or if there is none yet.
    depth: Option<u64>,
    #[serde(skip)]
    is_away: bool,
}

/// Exit status 1 if something does not work. Failed events alone are no such thing.
pub async fn run(args: JsonArg, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    let report = Box::pin(ask(config, &store)).await;
    store.close().await;
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&of_report(&report))?;
    }
    Ok(success_if(report.ok))
}

async fn ask(config: &Config, store: &Store) -> Report {
    let now = now();
    let (server, queue, numbers) = tokio::join!(
        server(config),
        in_time("the queue", async {
            let found = queue::inspect(&config.queue, false).await;
            waiting(&found.map_err(|error| error.to_string())?)
        }),
        in_time("the database", async {
            if not_set_up(config).is_some() {
                return Err(String::new());
            }
            let version = store.schema_version().await;
            version.and_then(|version| version.check()).map_err(text)?;
            let (last, failed, recent, control, change_feed) = tokio::join!(
                store.last_received_at(),
                store.failed(),
                store.recent(Range::Hour, now),
                store.control(),
                change_feed(config, store, now),
            );
            Ok(Numbers {
                last_received_at: last.map_err(text)?,
                failed: failed.map_err(text)?,
                hour: recent.map_err(text)?,
                // A role that may not read the settings still reads the rest.
                control: control.unwrap_or_default(),
                change_feed: change_feed.map_err(text)?,
            })
        }),
    );
    // It reads whole tables.
    let totals = match &numbers {
        Ok(_) => timeout(TIMEOUT, store.totals()).await.ok(),
        Err(_) => None,
    };
    let refused = match &server {
        Some((server, None)) => refused(config, &server.url).await,
        _ => None,
    };
    let depth = queue.as_ref().ok().copied().flatten();
    let (database, numbers) = match numbers {
        Ok(numbers) => (Ok(()), Some(numbers)),
        Err(why) => (Err(why), None),
    };
    let waiting = http::Waiting {
        depth,
        ..http::Waiting::default()
    };
    let known = numbers.as_ref();
    let change_feed = known.and_then(|numbers| numbers.change_feed);
    let headline = Snapshot {
        queue: queue
            .as_ref()
            .map(|_| ())
            .map_err(|why| why.as_str().into()),
        database: database.clone().map_err(Into::into),
        worker: Ok(()),
        waiting: &waiting,
        paused: known.and_then(|numbers| numbers.control.paused.as_ref()),
        failed: known.map(|numbers| &numbers.failed),
        last_received_at: known.and_then(|numbers| numbers.last_received_at),
        hour: known.map(|numbers| &numbers.hour),
        change_feed,
        refused: refused.as_ref(),
        now,
    }
    .headline();
    let Headline { heading, lines, .. } = match not_set_up(config) {
        Some(why) => Headline {
            class: "bad",
            heading: "Nothing is set up here".into(),
            lines: vec![why],
        },
        None => headline,
    };
    let is_off_here = change_feed.is_some() && !store.has_change_feed();
    let lines = match is_off_here {
        true => [lines, vec![feed_workers::OFF_HERE.into()]].concat(),
        false => lines,
    };
    let others = elsewhere(config, server.as_ref(), depth);
    let is_broken = queue.is_err() || database.is_err();
    let (headline, notes, problems) = match (is_broken, others.is_empty()) {
        (true, _) => (heading, Vec::new(), [lines, others].concat()),
        (false, false) => ("Something does not work".into(), Vec::new(), others),
        (false, true) => (heading, lines, others),
    };
    let last_received_at = known.and_then(|numbers| numbers.last_received_at);
    let (failed, lag, control) = match numbers {
        Some(numbers) => (
            Some(numbers.failed),
            Some(numbers.hour.lag),
            numbers.control,
        ),
        None => (None, None, Control::default()),
    };
    Report {
        as_of: Time(now),
        ok: problems.is_empty(),
        headline,
        notes,
        problems,
        server: server.map(|(server, _)| server),
        database: Place {
            place: startup::database(store),
        },
        queue: Waiting {
            place: startup::queue(&config.queue),
            depth,
            is_away: queue.is_err(),
        },
        paused: control.paused,
        rate_limit: control.rate_limit,
        last_received_at,
        lag,
        failed,
        totals: totals.and_then(Result::ok),
        change_feed,
        refused,
    }
}

/// What the database knows.
struct Numbers {
    last_received_at: Option<Time>,
    failed: Failed,
    hour: Recent,
    control: Control,
    change_feed: Option<ChangeFeedStatus>,
}

/// How far the change feed is. Returns `None` if it is off: the worker that started last has it
/// off, and this environment too, or none has started.
async fn change_feed(
    config: &Config,
    store: &Store,
    now: Timestamp,
) -> Result<Option<ChangeFeedStatus>, StoreError> {
    let is_on_here = store.has_change_feed();
    let state = match store.change_feed_state().await {
        Ok(state) => state,
        // Without the feed the role may have no right to read it.
        Err(_) if !is_on_here => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_published = !matches!(config.queue, queue::Options::Embedded(_));
    let is_on =
        state.is_on || (is_on_here && feed_workers::record_changes(store, &state).await.is_some());
    Ok(is_on.then(|| ChangeFeedStatus::of(&state, is_published, now)))
}

/// What does not work beside the queue and the database.
fn elsewhere(
    config: &Config,
    server: Option<&(Server, Option<String>)>,
    depth: Option<u64>,
) -> Vec<String> {
    let is_one_process = matches!(config.queue, queue::Options::Embedded(_));
    match (server, depth) {
        (Some((server, Some(why))), _) => {
            vec![format!("The server at {} is not ready: {why}.", server.url)]
        }
        (None, Some(1..)) if is_one_process => {
            vec!["No server takes the events that wait: start `clerk-sync serve`.".into()]
        }
        _ => Vec::new(),
    }
}

/// The deliveries that the server at this URL refused, if a token is known here and it answers.
async fn refused(config: &Config, base: &str) -> Option<Refused> {
    let token = config.admin_token.clone();
    let token = token.or_else(|| dev::token_kept_here(&config.data_dir))?;
    let client = loopback::client(SERVER_TIMEOUT).ok()?;
    let request = client.get(format!("{base}/api/stats"));
    let answer = request.bearer_auth(token.expose_secret()).send().await;
    let mut body: serde_json::Value = answer.ok()?.json().await.ok()?;
    serde_json::from_value(body["refused"].take()).ok()
}

fn text(error: StoreError) -> String {
    error.to_string()
}

async fn in_time<T>(
    whose: &str,
    answer: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let answer = timeout(TIMEOUT, answer).await;
    let limit = format::duration(TIMEOUT);
    answer.unwrap_or_else(|_| Err(format!("{whose} does not answer within {limit}")))
}

/// The number of events that wait; `None` if there is no queue yet.
fn waiting(found: &QueueInspection) -> Result<Option<u64>, String> {
    let broker = match found {
        QueueInspection::Embedded(file) => return Ok(file.events),
        QueueInspection::RabbitMq(broker) => broker,
    };
    let Some(shared) = &broker.topology else {
        let faults = broker.nodes.iter().filter_map(|node| node.fault.clone());
        return Err(faults.collect::<Vec<_>>().join("; "));
    };
    match &shared.alarm {
        Some(alarm) => Err(alarm.clone()),
        None => Ok(shared.waiting),
    }
}

/// Why there is no database to ask, in a directory where clerk-sync was never started.
fn not_set_up(config: &Config) -> Option<String> {
    let store::Options::Sqlite(file) = &config.store else {
        return None;
    };
    let is_missing = config.is_default_store && !file.path.exists();
    is_missing.then(|| {
        format!(
            "DATABASE_URL is not set, and {} is missing: run this in the directory where clerk-sync was started, or set DATABASE_URL",
            file.path.display()
        )
    })
}

/// The server that `dev` runs here, or one with these settings: its base URL, and why it is not
/// ready. Returns `None` if nothing answers.
async fn server(config: &Config) -> Option<(Server, Option<String>)> {
    let of_dev = dev::kept_here(&config.data_dir).url;
    let of_dev = of_dev.map(|url| url.as_str().trim_end_matches(http::WEBHOOK_PATH).to_owned());
    let client = loopback::client(SERVER_TIMEOUT).ok()?;
    for base in of_dev.into_iter().chain(loopback::base_urls(&config.http)) {
        let Ok(answer) = client.get(format!("{base}/readyz")).send().await else {
            continue;
        };
        let ready = answer.status().is_success();
        let body: serde_json::Value = answer.json().await.unwrap_or_default();
        // Another program can have the port.
        let is_ours = body["status"] == "ready" || body["code"] == "not_ready";
        if !is_ours {
            continue;
        }
        let why = body["detail"].as_str().unwrap_or("it does not say why");
        let why = (!ready).then(|| why.trim_end_matches('.').to_owned());
        return Some((Server { url: base, ready }, why));
    }
    None
}

fn of_report(report: &Report) -> String {
    let now = report.as_of.0;
    let unknown = || "not known now".to_owned();
    let server = match &report.server {
        Some(Server { url, ready }) => {
            let state = if *ready { "ready" } else { "not ready" };
            format!("{state}, at {url}")
        }
        None => "none answers at HOST and PORT; others are not seen from here".into(),
    };
    let depth = report.queue.depth;
    let waiting = match depth {
        Some(depth) => format!("{} waiting", format::count(depth, "event")),
        None if report.queue.is_away => unknown(),
        None => "none yet".into(),
    };
    let last = match (report.last_received_at, &report.failed) {
        (Some(time), _) => output::local_and_age(time, now),
        (None, Some(_)) => "none yet".into(),
        (None, None) => unknown(),
    };
    let mut fields = vec![
        ("server", server),
        ("queue", format!("{waiting} ({})", report.queue.place)),
        ("database", report.database.place.clone()),
        ("last event", last),
        ("lag", report.lag.as_ref().map_or_else(unknown, of_lag)),
        (
            "failed",
            report
                .failed
                .as_ref()
                .map_or_else(unknown, |failed| of_failed(failed, now)),
        ),
    ];
    if let Some(feed) = &report.change_feed {
        fields.push(("change feed", of_change_feed(feed, now)));
    }
    if let Some(limit) = report.rate_limit {
        let limit = format::count(limit.get().into(), "event");
        fields.push((
            "rate limit",
            format!("{limit} per second, of all workers together"),
        ));
    }
    if let Some(totals) = &report.totals {
        let count = |word| totals.by_status.get(word).copied().unwrap_or(0);
        let parts = ["applied", "stale", "failed", "discarded"]
            .map(|word| format!("{} {word}", format::number(count(word))));
        let events = format::number(totals.events);
        fields.extend(of_tables(totals));
        fields.push(("events kept", format!("{events}: {}", parts.join(", "))));
    }
    if let Some(refused) = &report.refused
        && !refused.by_reason.is_empty()
    {
        fields.push(("refused", of_refused(refused, now)));
    }
    let lines: String = said(report)
        .iter()
        .map(|line| format!("{}\n", terminal::wrapped(line, 0, terminal::width())))
        .collect();
    format!(
        "{}\n{}",
        crate::escape::visible_lines(&lines),
        output::of_fields(&fields)
    )
}

/// The headline of the overview, and what explains it.
fn said(report: &Report) -> Vec<String> {
    let mut lines = vec![format!("{}.", report.headline)];
    lines.extend_from_slice(&report.problems);
    lines.extend_from_slice(&report.notes);
    let failed = report.failed.as_ref().map_or(0, |failed| failed.count);
    if report.ok && failed > 0 {
        lines.push("`clerk-sync events list --status failed` lists the failed events.".into());
    }
    lines
}
