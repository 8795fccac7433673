//! `/api/stats`: whether the service works, in numbers.

use actix_web::HttpRequest;
use actix_web::web::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Reader;
use super::invalid::wrong;
use super::query_string;
use crate::clock::now;
use crate::http::admin::Admin;
use crate::http::cache::{Answer, Reason};
use crate::http::change_feed_status::ChangeFeedStatus;
use crate::http::deliveries::Refused;
use crate::http::problem::{Code, Problem};
use crate::http::service_status::{CURRENT, Waiting};
use crate::http::webhook::receive::Webhooks;
use crate::store::{Failed, Range, Recent, Time, Totals};

/// The state of the service in numbers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Stats {
    pub as_of: Time,
    pub queue: Waiting,
    /// When the last event was received, of those that are recorded.
    pub last_received_at: Option<Time>,
    /// The failed events: what waits for an operator.
    pub failed: Failed,
    /// Everything, counted a while ago. Null while it is counted for the first time.
    pub totals: Option<AsOf<Totals>>,
    /// What was received in the range, counted a while ago. Null while it is counted for the first
    /// time.
    pub recent: Option<AsOf<Recent>>,
    /// How far the change feed is; null if `CHANGE_FEED` is `off`, here and in the worker that
    /// started last.
    pub change_feed: Option<ChangeFeedStatus>,
    /// The deliveries that this process refused; null if it takes none.
    pub refused: Option<Refused>,
}

/// A count, and when it was true.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AsOf<T> {
    pub as_of: Time,
    #[serde(flatten)]
    pub counts: T,
}

impl<T> From<Answer<T>> for AsOf<T> {
    fn from(answer: Answer<T>) -> Self {
        Self {
            as_of: Time(answer.as_of),
            counts: answer.value,
        }
    }
}

/// The query of `GET /api/stats`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatsQuery {
    /// How far back `recent` goes: in buckets of a minute, 30 minutes, 3 hours or 12 hours
    range: Option<String>,
}

/// The range of a query.
///
/// # Errors
///
/// If it is none of the four.
pub fn range(name: Option<&str>) -> Result<Range, Problem> {
    let range = name.map_or(Some(Range::default()), Range::named);
    range.ok_or_else(|| wrong("range", "give 1h, 24h, 7d or 30d"))
}

/// The numbers of `GET /api/stats`.
///
/// # Errors
///
/// If the database does not answer.
pub async fn read(admin: &Admin, range: Range, receives: bool) -> Result<Stats, Problem> {
    let (queue, last_received_at, counts, recent, change_feed) = tokio::join!(
        admin.status.waiting(CURRENT),
        admin.store.last_received_at(),
        admin.status.counts(&admin.store),
        admin.status.recent(&admin.store, range),
        admin.status.change_feed(&admin.store, CURRENT),
    );
    let unavailable = |reason: Reason| Problem::new(Code::DatabaseUnavailable, reason.to_string());
    let (failed, totals) = counts.map_err(unavailable)?;
    let recent = recent.map_err(unavailable)?;
    Ok(Stats {
        as_of: Time(now()),
        queue,
        last_received_at: last_received_at?,
        failed: failed
            .ok_or_else(|| unavailable("the database is slow; ask again".into()))?
            .value,
        recent: recent.map(AsOf::from),
        totals: totals.map(AsOf::from),
        change_feed: change_feed.map_err(unavailable)?,
        refused: receives.then(|| admin.status.deliveries().refused()),
    })
}

/// The state of the service in numbers: what waits, what failed, what was received lately, and how
/// much there is of everything.
///
/// Counts are kept for a while, `as_of` says since when, so that this may be asked every second
/// whatever the size of the tables.
#[utoipa::path(
    get, path = "/api/stats", tag = "stats", params(StatsQuery),
    responses((status = 200, description = "The numbers", body = Stats))
)]
pub async fn stats(reader: Reader, request: HttpRequest) -> Result<Json<Stats>, Problem> {
    let asked = |query: StatsQuery| range(query.range.as_deref());
    let range = query_string::read(request.query_string(), asked)?;
    let receives = takes_webhooks(&request);
    Ok(Json(read(&reader.admin, range, receives).await?))
}

/// Whether this process takes webhooks.
pub fn takes_webhooks(request: &HttpRequest) -> bool {
    request
        .app_data::<actix_web::web::Data<Webhooks>>()
        .is_some()
}
