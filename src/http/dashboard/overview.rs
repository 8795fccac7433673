//! `/`: is it working, what failed, and what came lately, at a glance.

use std::num::NonZeroU32;

use actix_web::{HttpResponse, web};
use askama::Template;

use super::Dashboard;
use super::chart::{self, Chart};
use super::error_help::{self, Remedy};
use super::format::{self, When, count, when};
use super::login::encoded;
use super::page::{Frame, Refusal, answer};
use super::session::Session;
use super::status::{State, Tile, Verdict};
use super::view_models::EventLine;
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::http::api::Stats;
use crate::http::{Api, Readiness};
use crate::store::{EventFilter, EventRow, Minute, Page, Recent, Store, Time, Totals};

/// Events that are shown as the latest.
const LATEST: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    verdict: Verdict,
    tiles: Vec<Tile>,
    /// Nothing while the database is away.
    numbers: Option<Numbers>,
}

/// What the tables come to.
struct Numbers {
    is_new: bool,
    hour: Option<Hour>,
    failed: Vec<FailedGroup>,
    failed_number: u64,
    failed_count: String,
    oldest_failed: Option<When>,
    latest: Vec<EventLine>,
    totals: Vec<Fact>,
    totals_counted: Option<String>,
}

/// The last hour.
struct Hour {
    lag_chart: Chart,
    lag_said: Option<String>,
    rate_chart: Chart,
    rate_said: String,
}

/// Failed events of one code.
struct FailedGroup {
    code: String,
    /// The code as a value in an address.
    query: String,
    count: String,
    remedy: Remedy,
}

/// A number with its name.
struct Fact {
    id: &'static str,
    name: &'static str,
    number: u64,
    shown: String,
}

/// What is asked of the store: the numbers of `/api/stats`, and the newest lines.
struct Seen {
    stats: Stats,
    latest: Vec<EventRow>,
}

impl Seen {
    /// Nothing where it is not counted yet: the first count of a large table takes a while.
    fn recent(&self) -> Option<&Recent> {
        self.stats.recent.as_ref().map(|recent| &recent.counts)
    }
}

/// `GET /`
pub async fn show(
    session: Session,
    api: web::Data<Api>,
    readiness: web::Data<Readiness>,
    dashboard: web::Data<Dashboard>,
) -> Result<HttpResponse, Refusal> {
    let now = now();
    let seen = match api.store.ping().await {
        Ok(()) => see(&api).await,
        Err(error) => Err(error.to_string()),
    };
    // The queue can be asked while the database is away.
    let waiting = match &seen {
        Ok(seen) => seen.stats.queue.depth,
        Err(_) => api.queue.depth().await.ok(),
    };
    let database = seen.as_ref().map(|_| ()).map_err(Clone::clone);
    let seen = seen.ok();
    let state = State {
        receives: dashboard.receives,
        is_stopping: readiness.shutdown.is_requested(),
        queue: api.queue.ready().map_err(|reason| reason.to_string()),
        waiting,
        oldest_waiting: seen
            .as_ref()
            .and_then(|seen| seen.stats.queue.oldest_received_at),
        database,
        worker: readiness
            .worker()
            .unwrap_or(Ok(()))
            .map_err(|reason| reason.to_string()),
        is_postgres: matches!(api.store, Store::Postgres(_)),
        failed: seen.as_ref().map(|seen| &seen.stats.failed),
        last: seen.as_ref().and_then(|seen| seen.latest.first()),
        recent: seen.as_ref().and_then(Seen::recent),
        now,
    };
    answer(&OverviewPage {
        frame: Frame::of(&session, "overview", "Overview").live(),
        verdict: state.verdict(),
        tiles: state.tiles(),
        numbers: seen.as_ref().map(|seen| numbers(seen, now)),
    })
}

/// The numbers and the newest lines, or why not.
async fn see(api: &Api) -> Result<Seen, String> {
    let page = Page {
        limit: LATEST,
        after: None,
    };
    let all = EventFilter::default();
    let (stats, latest) = tokio::join!(api.stats(), api.store.events(&all, &page));
    let stats = stats.map_err(|problem| problem.detail().to_owned())?;
    Ok(Seen {
        stats,
        latest: latest.map_err(|error| error.to_string())?.rows,
    })
}

fn numbers(seen: &Seen, now: Timestamp) -> Numbers {
    let Seen { stats, latest } = seen;
    let Stats { failed, totals, .. } = stats;
    let recent = seen.recent();
    let groups = failed.by_code.iter().map(|(code, number)| FailedGroup {
        code: code.clone(),
        query: encoded(code),
        count: count(*number),
        remedy: error_help::of(code),
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(|group| std::cmp::Reverse(failed.by_code.get(&group.code).copied()));
    Numbers {
        is_new: latest.is_empty(),
        hour: recent.map(|recent| Hour {
            lag_chart: lag_chart(recent),
            lag_said: lag_said(recent),
            rate_chart: rate_chart(recent),
            rate_said: rate_said(recent),
        }),
        failed: groups,
        failed_number: failed.count,
        failed_count: if failed.capped {
            format!("{} and more", count(failed.count))
        } else {
            count(failed.count)
        },
        oldest_failed: failed.oldest_received_at.map(|time| when(time, now)),
        latest: latest
            .iter()
            .map(|event| EventLine::of(event, now))
            .collect(),
        totals: totals
            .as_ref()
            .map(|totals| facts(&totals.counts))
            .unwrap_or_default(),
        totals_counted: totals.as_ref().map(|totals| when(totals.as_of, now).age),
    }
}

fn facts(totals: &Totals) -> Vec<Fact> {
    let fact = |id, name, number| Fact {
        id,
        name,
        number,
        shown: count(number),
    };
    let status = |word| totals.by_status.get(word).copied().unwrap_or(0);
    vec![
        fact("users", "Users", totals.users),
        fact("deleted_users", "Deleted of these", totals.deleted_users),
        fact("events", "Events kept", totals.events),
        fact("applied", "Applied", status("applied")),
        fact("stale", "Stale", status("stale")),
        fact("failed", "Failed", status("failed")),
        fact("discarded", "Discarded", status("discarded")),
    ]
}

fn clock(time: Time) -> String {
    format!("{} UTC", &time.to_string()[11..16])
}

fn lag_chart(recent: &Recent) -> Chart {
    let steps = recent
        .lag_series
        .iter()
        .map(|step| (clock(step.at), [step.lag.p50_ms, step.lag.p95_ms]));
    let steps: Vec<_> = steps.collect();
    let said = lag_said(recent).unwrap_or_else(|| "nothing was applied".into());
    Chart {
        said: format!("Lag over the last hour. {said}"),
        ..chart::lines(["p50", "p95"], &steps)
    }
}

fn lag_said(recent: &Recent) -> Option<String> {
    let of = |ms: Option<u64>| ms.map(chart::of_ms);
    let (p50, p95, p99) = (
        of(recent.lag.p50_ms)?,
        of(recent.lag.p95_ms)?,
        of(recent.lag.p99_ms)?,
    );
    Some(format!(
        "Median {p50}, 95 of 100 within {p95}, 99 within {p99}, from receipt to commit"
    ))
}

fn rate_chart(recent: &Recent) -> Chart {
    let steps = recent.minutes.iter().map(|minute| {
        let kinds = [
            ("applied", minute.applied),
            ("stale", minute.stale),
            ("failed", minute.failed),
            ("discarded", minute.discarded),
        ];
        (clock(minute.at), kinds)
    });
    let steps: Vec<_> = steps.collect();
    Chart {
        said: format!("Events a minute by result. {}", rate_said(recent)),
        ..chart::stacks(&steps)
    }
}

fn rate_said(recent: &Recent) -> String {
    let sum = |of: fn(&Minute) -> u64| recent.minutes.iter().map(of).sum::<u64>();
    let all = sum(|minute| minute.applied + minute.stale + minute.failed + minute.discarded);
    let parts = [
        (sum(|minute| minute.applied), "applied"),
        (sum(|minute| minute.stale), "stale"),
        (sum(|minute| minute.failed), "failed"),
        (sum(|minute| minute.discarded), "discarded"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<_> = parts
        .map(|(number, word)| format!("{} {word}", count(*number)))
        .collect();
    let since = if recent.capped {
        "Of the newest minutes alone, since there are so many: "
    } else {
        ""
    };
    let colon = if parts.is_empty() { "" } else { ": " };
    format!("{since}{}{colon}{}", format::events(all), parts.join(", "))
}
