//! `/api/stats`: whether the service works, in numbers.

use actix_web::web::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Reader;
use crate::clock::now;
use crate::http::admin::Admin;
use crate::http::cache::{Answer, Reason};
use crate::http::problem::{Code, Problem};
use crate::http::service_status::{CURRENT, Waiting};
use crate::store::{Failed, Recent, Time, Totals};

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
    /// The last hour minute by minute, counted a while ago. Null while it is counted for the first
    /// time.
    pub recent: Option<AsOf<Recent>>,
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

/// The numbers of `GET /api/stats`.
///
/// # Errors
///
/// If the database does not answer.
pub async fn read(admin: &Admin) -> Result<Stats, Problem> {
    let (queue, last_received_at, counts) = tokio::join!(
        admin.status.waiting(CURRENT),
        admin.store.last_received_at(),
        admin.status.counts(&admin.store),
    );
    let unavailable = |reason: Reason| Problem::new(Code::DatabaseUnavailable, reason.to_string());
    let (failed, recent, totals) = counts.map_err(unavailable)?;
    Ok(Stats {
        as_of: Time(now()),
        queue,
        last_received_at: last_received_at?,
        failed: failed
            .ok_or_else(|| unavailable("the database is slow; ask again".into()))?
            .value,
        recent: recent.map(AsOf::from),
        totals: totals.map(AsOf::from),
    })
}

/// The state of the service in numbers: what waits, what failed, the last hour, and how much there
/// is of everything.
///
/// Counts are kept for a while, `as_of` says since when, so that this may be asked every second
/// whatever the size of the tables.
#[utoipa::path(
    get, path = "/api/stats", tag = "stats",
    responses((status = 200, description = "The numbers", body = Stats))
)]
pub async fn stats(reader: Reader) -> Result<Json<Stats>, Problem> {
    Ok(Json(read(&reader.admin).await?))
}
