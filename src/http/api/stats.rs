//! `/api/stats`: is it working, and how much is there of everything.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::auth::Operator;
use crate::clock::now;
use crate::http::cache::{Found, Kept};
use crate::http::problem::{Code, Problem};
use crate::queue::Queue;
use crate::store::{Failed, Recent, Store, StoreError, Time, Totals};

/// The state of the service in numbers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Stats {
    pub as_of: Time,
    pub queue: Waiting,
    /// When the last event was received, of those that are recorded.
    pub last_received_at: Option<Time>,
    /// The failed events: what waits for a person.
    pub failed: Failed,
    /// Everything that is there, counted a while ago. Null while it is counted for the first time.
    pub totals: Option<AsOf<Totals>>,
    /// The last hour minute by minute, counted a while ago. Null while it is counted for the first time.
    pub recent: Option<AsOf<Recent>>,
}

/// Events that wait in the queue.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Waiting {
    /// How many; null where the queue does not say.
    pub depth: Option<u64>,
    /// When the oldest of them was received; null where none waits or the queue does not say.
    pub oldest_received_at: Option<Time>,
    /// Why one of these is not known.
    pub unknown: Option<String>,
}

/// A count, and when it was true.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AsOf<T> {
    pub as_of: Time,
    #[serde(flatten)]
    pub counts: T,
}

/// Shortest time between two counts: pages and programs ask every few seconds, any number of them.
const WAITING_EVERY: Duration = Duration::from_millis(500);
const FAILED_EVERY: Duration = Duration::from_millis(500);
const RECENT_EVERY: Duration = Duration::from_secs(2);
const TOTALS_EVERY: Duration = Duration::from_secs(10);

/// Counts that are kept, so that no number of requests costs the database much.
pub struct Counts {
    waiting: Arc<Kept<Waiting, Told>>,
    failed: Arc<Kept<Failed, Told>>,
    recent: Arc<Kept<Recent, Told>>,
    totals: Arc<Kept<Totals, Told>>,
}

/// A store's error, told to everybody who waited.
type Told = Arc<StoreError>;

impl Default for Counts {
    fn default() -> Self {
        Self {
            waiting: Kept::for_at_least(WAITING_EVERY),
            failed: Kept::for_at_least(FAILED_EVERY),
            recent: Kept::for_at_least(RECENT_EVERY),
            totals: Kept::for_at_least(TOTALS_EVERY),
        }
    }
}

impl Api {
    /// The numbers of `GET /api/stats`.
    pub async fn stats(&self) -> Result<Stats, Problem> {
        let Counts {
            waiting,
            failed,
            recent,
            totals,
        } = &*self.counts;
        let [for_failed, for_recent, for_totals] = [&self.store; 3].map(Store::clone);
        let (queue, last_received_at, failed, recent, totals) = tokio::join!(
            waiting.get(|| in_queue(self.queue.clone())),
            self.store.last_received_at(),
            failed.get(|| async move { for_failed.failed().await.map_err(Arc::new) }),
            recent.get(|| async move { for_recent.recent(now()).await.map_err(Arc::new) }),
            totals.get(|| async move { for_totals.totals().await.map_err(Arc::new) }),
        );
        let late = || Problem::new(Code::DatabaseUnavailable, "the database is slow; ask again");
        Ok(Stats {
            as_of: Time(now()),
            queue: queue
                .map_err(refused)?
                .map(|found| found.answer)
                .unwrap_or_default(),
            last_received_at: last_received_at?,
            failed: failed.map_err(refused)?.ok_or_else(late)?.answer,
            recent: recent.map_err(refused)?.map(AsOf::of),
            totals: totals.map_err(refused)?.map(AsOf::of),
        })
    }
}

fn refused(error: Told) -> Problem {
    Problem::new(Code::DatabaseUnavailable, error.to_string())
}

impl<T> AsOf<T> {
    fn of(found: Found<T>) -> Self {
        Self {
            as_of: Time(found.as_of),
            counts: found.answer,
        }
    }
}

/// What the queue does not say is no error: the database may have its answers all the same.
async fn in_queue(queue: Queue) -> Result<Waiting, Told> {
    let depth = queue.depth().await;
    let oldest = if matches!(depth, Ok(0)) {
        Ok(None)
    } else {
        queue.oldest_received_at().await
    };
    Ok(Waiting {
        unknown: depth
            .as_ref()
            .err()
            .or(oldest.as_ref().err())
            .map(ToString::to_string),
        depth: depth.ok(),
        oldest_received_at: oldest.ok().flatten().map(Time),
    })
}

/// The state of the service in numbers: what waits, what failed, the last hour, and how much there is of everything.
///
/// Counts are kept for a while, `as_of` says since when, so that this may be asked every second whatever the size of the tables.
#[utoipa::path(
    get, path = "/api/stats", tag = "stats", operation_id = "stats",
    security(("admin_token" = [])),
    responses((status = 200, description = "The numbers", body = Stats))
)]
pub async fn show(_: Operator, api: web::Data<Api>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(api.stats().await?))
}
