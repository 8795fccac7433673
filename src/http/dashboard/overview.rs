//! `/`: whether the service works, which events failed and which deliveries were refused, and the
//! latest events.

use std::cmp::Reverse;
use std::num::NonZeroU32;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::chart::{self, Chart};
use super::encode::encode;
use super::names::Names;
use super::page::{DashboardError, Frame, page};
use super::page_query::PageQuery;
use super::refused::RefusedCard;
use super::session::Session;
use super::tiles::{Process, Tile, tiles, waiting};
use super::view_models::{EventLine, Help, When};
use crate::clerk::{Timestamp, tables};
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;
use crate::http::api::stats::{self, AsOf, Stats};
use crate::http::cache::Reason;
use crate::http::service_status::{CURRENT, ServiceStatus};
use crate::http::snapshot::{Headline, Snapshot};
use crate::store::{
    self, EventFilter, EventRow, RECEIVER, Range, Recent, Store, StoreError, Totals,
};

/// Events that are shown as the latest.
const LATEST: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    headline: Headline,
    tiles: Vec<Tile>,
    /// `None` if no delivery was refused here.
    refused: Option<RefusedCard>,
    /// `None` while the database is away.
    numbers: Option<Numbers>,
}

/// The content of the tables, counted.
struct Numbers {
    /// Path and words of each range, and whether it is shown.
    ranges: Vec<(String, &'static str, bool)>,
    charts: Option<Charts>,
    failed: Vec<FailedGroup>,
    failed_number: u64,
    failed_count: String,
    oldest_failed: Option<When>,
    latest: Vec<EventLine>,
    totals: Vec<Fact>,
    totals_counted: Option<String>,
}

/// What was received lately.
struct Charts {
    /// `last hour`, and `minute`.
    range: &'static str,
    bucket: &'static str,
    lag: Chart,
    rate: Chart,
    rate_summary: String,
    lag_summary: String,
    /// How long ago it was counted, if not just now.
    counted: Option<String>,
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
    name: String,
    number: u64,
    text: String,
}

impl OverviewPage {
    /// What the names of the events begin with that Clerk is to send.
    fn families(&self) -> impl Iterator<Item = &'static str> {
        let first = tables::ALL.iter().filter_map(|table| table.events.first());
        first.filter_map(|kind| kind.name.split('.').next())
    }
}

/// `GET /`
pub async fn show(
    session: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let now = now();
    let status = &admin.status;
    let receives = stats::takes_webhooks(&request);
    let query = PageQuery::read(request.query_string())?;
    let name = Some(query.get("range")).filter(|name| !name.is_empty());
    let range = stats::range(name)?;
    let answers = match status.database().await {
        Some(Err(reason)) => Err(reason),
        _ => ask_database(&admin, range, receives).await,
    };
    // The queue can be asked while the database is away.
    let waiting = match &answers {
        Ok(answers) => answers.stats.queue.clone(),
        Err(_) => status.waiting(CURRENT).await,
    };
    let seen = answers.as_ref().ok();
    let refused = receives.then(|| status.deliveries().refused());
    let last = seen.and_then(|answers| answers.latest.first());
    let snapshot = Snapshot {
        queue: status.queue(),
        database: answers.as_ref().map(|_| ()).map_err(Reason::clone),
        worker: status.worker().unwrap_or(Ok(())),
        paused: session.paused.as_ref(),
        waiting: &waiting,
        failed: seen.map(|answers| &answers.stats.failed),
        last_received_at: last.map(|event| event.received_at),
        hour: seen.and_then(|answers| answers.hour.as_ref()),
        change_feed: seen.and_then(|answers| answers.stats.change_feed),
        refused: refused.as_ref(),
        now,
    };
    let receivers = match seen {
        Some(_) if !receives => heard_of(&admin.store).await?,
        _ => Vec::new(),
    };
    let process = Process {
        receives,
        receivers: &receivers,
        is_stopping: status.is_stopping(),
        database_name: match admin.store {
            Store::Postgres(_) => "PostgreSQL",
            Store::Sqlite(_) => "SQLite",
        },
        last_type: last.map(|event| &*event.event_type),
    };
    Ok(page(&OverviewPage {
        frame: Frame::of(&session, "overview", "Overview", true),
        headline: snapshot.headline(),
        tiles: tiles(&snapshot, &process),
        refused: refused.as_ref().and_then(|of| RefusedCard::of(of, now)),
        numbers: seen.map(|answers| Numbers::of(answers, range, now)),
    }))
}

/// The receivers that workers have heard of in the last minutes.
async fn heard_of(store: &Store) -> Result<Vec<store::Process>, StoreError> {
    let mut processes = store.processes().await?;
    processes.retain(|process| process.role == RECEIVER && !process.gone);
    Ok(processes)
}

#[derive(Template)]
#[template(path = "no_database.html")]
struct NoDatabasePage {
    frame: Frame,
    headline: Headline,
    waiting: String,
    refused: Option<RefusedCard>,
}

/// `GET /` of a process that has no database: its queue, and the deliveries that it refused. They
/// are in its metrics too, which need no token either.
pub async fn show_without_database(status: Data<ServiceStatus>) -> HttpResponse {
    let now = now();
    let in_queue = status.waiting(CURRENT).await;
    let refused = status.deliveries().refused();
    let snapshot = Snapshot {
        queue: status.queue(),
        database: Ok(()),
        worker: Ok(()),
        paused: None,
        waiting: &in_queue,
        failed: None,
        last_received_at: refused.last_accepted_at,
        hour: None,
        change_feed: None,
        refused: Some(&refused),
        now,
    };
    page(&NoDatabasePage {
        frame: Frame::outside("", "A receiver"),
        headline: snapshot.headline(),
        waiting: waiting(&snapshot),
        refused: RefusedCard::of(&refused, now),
    })
}

/// What the database knows.
struct Answers {
    stats: Stats,
    hour: Option<Recent>,
    latest: Vec<EventRow>,
    /// The names of their rows.
    names: Names,
}

/// The numbers of `/api/stats` and the newest rows, or why there are none.
async fn ask_database(admin: &Admin, range: Range, receives: bool) -> Result<Answers, Reason> {
    let all = EventFilter::default();
    let hour = async {
        let hour = admin.status.recent(&admin.store, Range::Hour).await;
        Ok(hour.ok().flatten().map(|hour| hour.value))
    };
    let answers = tokio::try_join!(
        stats::read(admin, range, receives),
        hour,
        admin.newest(&all, LATEST)
    );
    let (stats, hour, latest) = answers.map_err(|problem| Reason::from(problem.detail()))?;
    let names = Names::of_events(&admin.store, &latest).await;
    Ok(Answers {
        stats,
        hour,
        latest,
        names: names.map_err(|error| Reason::from(error.to_string()))?,
    })
}

impl Numbers {
    fn of(answers: &Answers, range: Range, now: Timestamp) -> Self {
        let Stats {
            failed,
            totals,
            recent,
            ..
        } = &answers.stats;
        let ranges = Range::ALL.map(|of| {
            let path = match of {
                Range::Hour => "/".into(),
                _ => format!("/?range={}", of.name()),
            };
            (path, of.name(), of == range)
        });
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
            ranges: ranges.into(),
            charts: recent.as_ref().map(|recent| Charts::of(recent, now)),
            failed: groups.collect(),
            failed_number: failed.count,
            failed_count: format::number(failed.count) + and_more,
            oldest_failed: failed.oldest_received_at.map(|time| When::at(time, now)),
            latest: EventLine::all_named(&answers.latest, &answers.names, now),
            totals: totals.map_or(Vec::new(), |totals| facts(&totals.counts)),
            totals_counted: totals.map(|totals| When::at(totals.as_of, now).age),
        }
    }
}

fn facts(totals: &Totals) -> Vec<Fact> {
    let status = |word| totals.by_status.get(word).copied().unwrap_or(0);
    let of_users = [
        ("users", "Users".to_owned(), totals.users),
        (
            "deleted_users",
            "Deleted of these".into(),
            totals.deleted_users,
        ),
    ];
    let others = tables::others().map(|table| {
        let of_table = totals.tables.get(table.name).copied().unwrap_or_default();
        let name = format::capitalized(table.plural);
        (table.plural, name, of_table.rows)
    });
    let of_events = [
        ("events", "Events kept".to_owned(), totals.events),
        ("applied", "Applied".into(), status("applied")),
        ("stale", "Stale".into(), status("stale")),
        ("failed", "Failed".into(), status("failed")),
        ("discarded", "Discarded".into(), status("discarded")),
    ];
    let all = of_users.into_iter().chain(others).chain(of_events);
    all.map(|(id, name, number)| Fact {
        id,
        name,
        number,
        text: format::number(number),
    })
    .collect()
}

/// Counts are said to be old from this age on, in milliseconds: less cannot be seen.
const OLD_MS: i64 = 20_000;

impl Charts {
    fn of(counted: &AsOf<Recent>, now: Timestamp) -> Self {
        let recent = &counted.counts;
        let (range, bucket) = match recent.range {
            Range::Hour => ("last hour", "minute"),
            Range::Day => ("last 24 hours", "30 minutes"),
            Range::Week => ("last 7 days", "3 hours"),
            Range::Month => ("last 30 days", "12 hours"),
        };
        let lag = lag_summary(recent);
        let lag_description = lag.as_deref().unwrap_or("Nothing was applied");
        let lag_description = format!("Lag, {range}. {lag_description}");
        let rate_summary = rate_summary(recent);
        let rate_description = format!("Events per {bucket} by outcome, {range}. {rate_summary}");
        let age_ms = now.ms() - counted.as_of.0.ms();
        Self {
            range,
            bucket,
            lag: chart::lines(recent, lag_description),
            rate: chart::stacks(recent, rate_description),
            rate_summary,
            lag_summary: lag.unwrap_or_else(|| "From receipt to commit".into()),
            counted: (age_ms >= OLD_MS).then(|| format::age(age_ms)),
        }
    }
}

fn lag_summary(recent: &Recent) -> Option<String> {
    let lag = &recent.lag;
    Some(format!(
        "Median {}, p95 {}, p99 {}, from receipt to commit",
        format::ms(lag.p50_ms?),
        format::ms(lag.p95_ms?),
        format::ms(lag.p99_ms?)
    ))
}

fn rate_summary(recent: &Recent) -> String {
    let mut sums = [0; 4];
    for bucket in &recent.buckets {
        for (sum, (_, number)) in sums.iter_mut().zip(chart::outcomes(bucket)) {
            *sum += number;
        }
    }
    let all = sums.iter().sum();
    let [applied, stale, discarded, failed] = sums;
    let kinds = [
        ("applied", applied),
        ("stale", stale),
        ("failed", failed),
        ("discarded", discarded),
    ];
    let since = if recent.capped {
        "Of the newest part alone, since there are so many: "
    } else {
        ""
    };
    let colon = if all == 0 { "" } else { ": " };
    let events = format::count(all, "event");
    format!("{since}{events}{colon}{}", chart::summary(&kinds))
}
