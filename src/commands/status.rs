//! `status`: whether everything works, as the overview of the dashboard says it.
//!
//! It asks the database, the queue and the server on this machine, and changes nothing.

use std::cmp::Reverse;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use super::arguments::JsonArg;
use super::exit::success_if;
use super::{dev, loopback, output, startup, terminal};
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::config::Config;
use crate::format;
use crate::http;
use crate::queue::{self, QueueInspection};
use crate::store::{self, Control, Failed, Lag, Pause, Store, StoreError, Time, Totals};

/// Longest wait for one answer of the database, and for the queue.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the server on this machine.
const SERVER_TIMEOUT: Duration = Duration::from_secs(3);

/// A lag that is a warning, in milliseconds.
const LAG_WARN_MS: u64 = 60_000;

/// What is known, and what does not work.
#[derive(Debug, Serialize)]
struct Report {
    as_of: Time,
    /// Whether nothing is in `problems`.
    ok: bool,
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
            let found = queue::inspect(&config.queue).await;
            waiting(&found.map_err(|error| error.to_string())?)
        }),
        in_time("the database", async {
            if let Some(why) = not_set_up(config) {
                return Err(why);
            }
            let version = store.schema_version().await;
            version.and_then(|version| version.check()).map_err(text)?;
            let (last, failed, recent, control) = tokio::join!(
                store.last_received_at(),
                store.failed(),
                store.recent(now),
                store.control(),
            );
            Ok((
                last.map_err(text)?,
                failed.map_err(text)?,
                recent.map_err(text)?.lag,
                // A role that may not read the settings still reads the rest.
                control.unwrap_or_default(),
            ))
        }),
    );
    // It reads whole tables.
    let totals = match &numbers {
        Ok(_) => timeout(TIMEOUT, store.totals()).await.ok(),
        Err(_) => None,
    };
    let mut problems = Vec::new();
    if let Err(why) = &numbers {
        let why = why.trim_end_matches('.');
        let (first, rest) = why.split_at(usize::from(why.starts_with(['t', 'n'])));
        problems.push(format!("{}{rest}.", first.to_uppercase()));
    }
    if let Err(why) = &queue {
        problems.push(format!(
            "The queue does not work: {}.",
            why.trim_end_matches('.')
        ));
    }
    if let Some((server, Some(why))) = &server {
        problems.push(format!("The server at {} is not ready: {why}.", server.url));
    }
    let depth = queue.as_ref().ok().copied().flatten();
    let is_one_process = matches!(config.queue, queue::Options::Embedded(_));
    if let (None, true, Some(1..)) = (&server, is_one_process, depth) {
        problems.push("No server takes the events that wait: start `clerk-sync serve`.".into());
    }
    let (last_received_at, failed, lag, control) = match numbers {
        Ok((last, failed, lag, control)) => (last, Some(failed), Some(lag), control),
        Err(_) => (None, None, None, Control::default()),
    };
    Report {
        as_of: Time(now),
        ok: problems.is_empty(),
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
    }
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

/// The server that `dev` runs here, or one with these settings: its base URL, and why it is not
/// ready. Returns `None` if nothing answers.
/// Why there is no database to ask, in a directory where clerk-sync was never started.
fn not_set_up(config: &Config) -> Option<String> {
    let store::Options::Sqlite(file) = &config.store else {
        return None;
    };
    let is_missing = config.is_default_store && !file.path.exists();
    is_missing.then(|| {
        format!(
            "nothing is set up here: DATABASE_URL is not set, and {} is missing; run this in the directory where clerk-sync was started, or set DATABASE_URL",
            file.path.display()
        )
    })
}

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
    if let Some(totals) = &report.totals {
        let count = |word| totals.by_status.get(word).copied().unwrap_or(0);
        let parts = ["applied", "stale", "failed", "discarded"]
            .map(|word| format!("{} {word}", format::number(count(word))));
        let events = format::number(totals.events);
        fields.push((
            "users",
            format!(
                "{}, of these {} deleted",
                format::number(totals.users),
                format::number(totals.deleted_users)
            ),
        ));
        fields.push(("events kept", format!("{events}: {}", parts.join(", "))));
    }
    let lines: String = headline(report)
        .iter()
        .map(|line| format!("{}\n", terminal::wrapped(line, 0, terminal::width())))
        .collect();
    format!(
        "{}\n{}",
        crate::escape::visible_lines(&lines),
        output::of_fields(&fields)
    )
}

/// The worst first.
fn headline(report: &Report) -> Vec<String> {
    let now = report.as_of.0;
    let paused = report.paused.as_ref().map(|pause| {
        let since = output::local_and_age(pause.paused_at, now);
        let reason = pause.reason.as_deref();
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        format!("Paused since {since}{reason}. Events wait in the queue until `clerk-sync resume`.")
    });
    if !report.ok || paused.is_some() {
        return paused.into_iter().chain(report.problems.clone()).collect();
    }
    let failed = report.failed.as_ref().map_or(0, |failed| failed.count);
    let p95_ms = report.lag.as_ref().and_then(|lag| lag.p95_ms);
    if failed > 0 {
        let wait = if failed == 1 { "waits" } else { "wait" };
        return vec![format!(
            "It works, and {} {wait} for you: `clerk-sync events list --status failed`.",
            format::count(failed, "failed event")
        )];
    }
    if p95_ms.is_some_and(|p95_ms| p95_ms > LAG_WARN_MS) {
        return vec!["It works, but events wait long until they are applied.".into()];
    }
    if report.last_received_at.is_none() {
        return vec!["Ready for the first event.".into()];
    }
    vec!["Everything works.".into()]
}

fn of_lag(lag: &Lag) -> String {
    let of = |ms| format::duration(Duration::from_millis(ms));
    match (lag.p50_ms, lag.p95_ms) {
        (Some(p50_ms), Some(p95_ms)) => format!(
            "p95 {}, median {} ({} in the last hour)",
            of(p95_ms),
            of(p50_ms),
            format::count(lag.count, "event")
        ),
        _ => "no event in the last hour".into(),
    }
}

fn of_failed(failed: &Failed, now: Timestamp) -> String {
    let mut codes: Vec<_> = failed.by_code.iter().collect();
    codes.sort_by_key(|(_, count)| Reverse(**count));
    let codes: Vec<_> = codes
        .iter()
        .map(|(code, count)| format!("{} {code}", format::number(**count)))
        .collect();
    let Some(oldest) = failed.oldest_received_at else {
        return "none".into();
    };
    let more = if failed.capped { " and more" } else { "" };
    format!(
        "{}{more}: {}; the oldest from {}",
        format::number(failed.count),
        codes.join(", "),
        output::local_and_age(oldest, now)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(failed: u64) -> Report {
        let now = Timestamp::from_ms(1_795_400_000_000).unwrap();
        Report {
            as_of: Time(now),
            ok: true,
            problems: Vec::new(),
            server: None,
            database: Place {
                place: "SQLite".into(),
            },
            queue: Waiting {
                place: "embedded".into(),
                depth: Some(1),
                is_away: false,
            },
            paused: None,
            rate_limit: None,
            last_received_at: Some(Time(now)),
            lag: Some(Lag::default()),
            failed: Some(Failed {
                count: failed,
                ..Failed::default()
            }),
            totals: None,
        }
    }

    #[test]
    fn the_worst_comes_first() {
        assert_eq!(headline(&report(0)), ["Everything works."]);
        assert!(headline(&report(1))[0].starts_with("It works, and 1 failed event waits for you"));
        assert!(headline(&report(2))[0].starts_with("It works, and 2 failed events wait for you"));
        let slow = Report {
            lag: Some(Lag {
                count: 1,
                p50_ms: Some(1),
                p95_ms: Some(60_001),
                p99_ms: None,
            }),
            ..report(0)
        };
        assert!(headline(&slow)[0].contains("wait long"));
        let away = Report {
            ok: false,
            problems: vec!["The queue does not work: gone.".into()],
            ..report(2)
        };
        assert_eq!(headline(&away), away.problems);
        let first = Report {
            last_received_at: None,
            ..report(0)
        };
        assert_eq!(headline(&first), ["Ready for the first event."]);
    }
}
