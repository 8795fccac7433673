//! `/`: whether the service works, which events failed, and the latest ones.

use std::cmp::Reverse;
use std::num::NonZeroU32;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::chart::{self, Chart};
use super::encode::encode;
use super::page::{DashboardError, Frame, page};
use super::session::Session;
use super::status::{Headline, Snapshot, Tile};
use super::view_models::{EventLine, Help, When, of_ms};
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;
use crate::http::api::stats::{self, Stats};
use crate::http::cache::Reason;
use crate::http::service_status::CURRENT;
use crate::http::webhook::receive::Webhooks;
use crate::store::{EventFilter, EventRow, Minute, Recent, Store, Time, Totals};

/// Events that are shown as the latest.
const LATEST: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    headline: Headline,
    tiles: Vec<Tile>,
    /// `None` while the database is away.
    numbers: Option<Numbers>,
}

/// The content of the tables, counted.
struct Numbers {
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
    lag: Chart,
    rate: Chart,
    rate_summary: String,
    lag_summary: String,
}

/// Failed events of one code.
struct FailedGroup {
    code: String,
    /// The code as a value in an address.
    encoded: String,
    count: String,
    help: Help,
}

/// A number with its name.
struct Fact {
    id: &'static str,
    name: &'static str,
    number: u64,
    text: String,
}

/// `GET /`
pub async fn show(
    session: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let now = now();
    let status = &admin.status;
    let answers = match status.database().await {
        Some(Err(reason)) => Err(reason),
        _ => ask_database(&admin).await,
    };
    // The queue can be asked while the database is away.
    let waiting = match &answers {
        Ok((stats, _)) => stats.queue.clone(),
        Err(_) => status.waiting(CURRENT).await,
    };
    let seen = answers.as_ref().ok();
    let snapshot = Snapshot {
        receives: request.app_data::<Data<Webhooks>>().is_some(),
        is_stopping: status.is_stopping(),
        queue: status.queue(),
        database: answers.as_ref().map(|_| ()).map_err(Reason::clone),
        worker: status.worker().unwrap_or(Ok(())),
        paused: session.paused.as_ref(),
        waiting: &waiting,
        database_name: match admin.store {
            Store::Postgres(_) => "PostgreSQL",
            Store::Sqlite(_) => "SQLite",
        },
        failed: seen.map(|(stats, _)| &stats.failed),
        last: seen.and_then(|(_, latest)| latest.first()),
        recent: seen.and_then(|(stats, _)| stats.recent.as_ref().map(|recent| &recent.counts)),
        now,
    };
    Ok(page(&OverviewPage {
        frame: Frame::of(&session, "overview", "Overview", true),
        headline: snapshot.headline(),
        tiles: snapshot.tiles(),
        numbers: seen.map(|(stats, latest)| Numbers::of(stats, latest, now)),
    }))
}

/// The numbers of `/api/stats` and the newest rows, or why there are none.
async fn ask_database(admin: &Admin) -> Result<(Stats, Vec<EventRow>), Reason> {
    let all = EventFilter::default();
    let answers = tokio::try_join!(stats::read(admin), admin.newest(&all, LATEST));
    answers.map_err(|problem| problem.detail().into())
}

impl Numbers {
    fn of(stats: &Stats, latest: &[EventRow], now: Timestamp) -> Self {
        let Stats {
            failed,
            totals,
            recent,
            ..
        } = stats;
        let mut groups: Vec<_> = failed.by_code.iter().collect();
        groups.sort_by_key(|(_, count)| Reverse(**count));
        let groups = groups.into_iter().map(|(code, count)| FailedGroup {
            code: code.clone(),
            encoded: encode(code),
            count: format::number(*count),
            help: Help::of(code),
        });
        let and_more = if failed.capped { " and more" } else { "" };
        let totals = totals.as_ref();
        Self {
            hour: recent.as_ref().map(|recent| Hour::of(&recent.counts)),
            failed: groups.collect(),
            failed_number: failed.count,
            failed_count: format::number(failed.count) + and_more,
            oldest_failed: failed.oldest_received_at.map(|time| When::at(time, now)),
            latest: EventLine::all(latest, now),
            totals: totals.map_or(Vec::new(), |totals| facts(&totals.counts)),
            totals_counted: totals.map(|totals| When::at(totals.as_of, now).age),
        }
    }
}

fn facts(totals: &Totals) -> Vec<Fact> {
    let status = |word| totals.by_status.get(word).copied().unwrap_or(0);
    [
        ("users", "Users", totals.users),
        ("deleted_users", "Deleted of these", totals.deleted_users),
        ("events", "Events kept", totals.events),
        ("applied", "Applied", status("applied")),
        ("stale", "Stale", status("stale")),
        ("failed", "Failed", status("failed")),
        ("discarded", "Discarded", status("discarded")),
    ]
    .map(|(id, name, number)| Fact {
        id,
        name,
        number,
        text: format::number(number),
    })
    .into()
}

impl Hour {
    fn of(recent: &Recent) -> Self {
        let lag = lag_summary(recent);
        let lag_description = lag.as_deref().unwrap_or("nothing was applied");
        let lag_description = format!("Lag over the last hour. {lag_description}");
        let lag_steps = recent.lag_series.iter();
        let lag_steps: Vec<_> = lag_steps
            .map(|step| (clock(step.at), [step.lag.p50_ms, step.lag.p95_ms]))
            .collect();
        let rate_steps = recent.minutes.iter();
        let rate_steps: Vec<_> = rate_steps
            .map(|minute| (clock(minute.at), outcomes(minute)))
            .collect();
        let rate_summary = rate_summary(recent);
        let rate_description = format!("Events per minute by outcome. {rate_summary}");
        Self {
            lag: chart::lines(["p50", "p95"], &lag_steps, lag_description),
            rate: chart::stacks(&rate_steps, rate_description),
            rate_summary,
            lag_summary: lag.unwrap_or_else(|| "From receipt to commit".into()),
        }
    }
}

fn clock(time: Time) -> String {
    format!("{} UTC", &time.to_string()[11..16])
}

fn outcomes(minute: &Minute) -> [(&'static str, u64); 4] {
    [
        ("applied", minute.applied),
        ("stale", minute.stale),
        ("failed", minute.failed),
        ("discarded", minute.discarded),
    ]
}

fn lag_summary(recent: &Recent) -> Option<String> {
    let lag = &recent.lag;
    Some(format!(
        "Median {}, 95 of 100 within {}, 99 within {}, from receipt to commit",
        of_ms(lag.p50_ms?),
        of_ms(lag.p95_ms?),
        of_ms(lag.p99_ms?)
    ))
}

fn rate_summary(recent: &Recent) -> String {
    let mut sums = [
        ("applied", 0),
        ("stale", 0),
        ("failed", 0),
        ("discarded", 0),
    ];
    for minute in &recent.minutes {
        for (sum, (_, number)) in sums.iter_mut().zip(outcomes(minute)) {
            sum.1 += number;
        }
    }
    let all = sums.iter().map(|(_, number)| number).sum();
    let since = if recent.capped {
        "Of the newest minutes alone, since there are so many: "
    } else {
        ""
    };
    let colon = if all == 0 { "" } else { ": " };
    let events = format::count(all, "event");
    format!("{since}{events}{colon}{}", chart::summary(&sums))
}
