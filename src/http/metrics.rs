//! What Prometheus reads. What is not counted where it happens is asked for here: seldom, and never for long.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use tokio::time::timeout;

use super::cache::Kept;
use super::health::Readiness;
use super::limits::Capacity;
use crate::metrics::{self, Readings};
use crate::queue::Queue;
use crate::store::{Store, Time};

/// How long an answer of the queue and the database is good for. Prometheus asks every 15 s or so; whoever asks more often
/// costs them nothing.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// Longest wait for one answer, well below the 10 s after which Prometheus gives up. What does not come is left out.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Most failed events that are counted: a hundredth of a second's work.
const FAILED_MAX: u32 = 100_000;

/// The last answers, for all threads. They are asked for in the background: whoever goes away in the middle does not have them
/// asked for anew.
#[derive(Clone)]
pub struct Gauges {
    asked: Arc<Kept<Asked, Infallible>>,
    /// The newest event is asked for once: from then on this process sees them itself.
    knows_newest: Arc<AtomicBool>,
}

impl Default for Gauges {
    fn default() -> Self {
        Self {
            asked: Kept::every(GOOD_FOR),
            knows_newest: Arc::default(),
        }
    }
}

#[derive(Clone, Default)]
struct Asked {
    ready: Vec<(&'static str, bool)>,
    queue_depth: Option<u64>,
    failed_events: Option<u64>,
}

/// The metrics, as Prometheus reads them.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Prometheus' text format, version 0.0.4", body = String, content_type = "text/plain"))
)]
pub async fn metrics(
    gauges: web::Data<Gauges>,
    readiness: web::Data<Readiness>,
    capacity: web::Data<Capacity>,
) -> HttpResponse {
    let (readiness, knows_newest) = (
        readiness.get_ref().clone(),
        Arc::clone(&gauges.knows_newest),
    );
    let ask = || async move { Ok(Asked::now(&readiness, &knows_newest).await) };
    let asked = match gauges.asked.get(ask).await {
        Ok(found) => found.map(|found| found.answer).unwrap_or_default(),
        Err(never) => match never {},
    };
    let Asked {
        ready,
        queue_depth,
        failed_events,
    } = asked;
    let readings = Readings {
        ready,
        queue_depth,
        failed_events,
        connections: capacity.connections(),
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, metrics::CONTENT_TYPE))
        .body(metrics::page(&readings))
}

impl Asked {
    async fn now(readiness: &Readiness, knows_newest: &AtomicBool) -> Self {
        let queue = &readiness.queue;
        let of_store = async {
            let database = readiness.database().await;
            match readiness.store() {
                // Nothing more is asked of a database that does not answer.
                Some(store) if database == Some(Ok(())) => {
                    (database, of_store(store, knows_newest).await)
                }
                _ => (database, None),
            }
        };
        let (queue_depth, (database, failed_events)) = tokio::join!(depth(queue), of_store);
        let mut ready = Vec::from([("queue", queue.ready().is_ok())]);
        ready.extend(database.map(|answer| ("database", answer.is_ok())));
        ready.extend(
            readiness
                .worker()
                .map(|applies| ("worker", applies.is_ok())),
        );
        Self {
            ready,
            queue_depth,
            failed_events,
        }
    }
}

async fn depth(queue: &Queue) -> Option<u64> {
    timeout(WAIT_MAX, queue.depth()).await.ok()?.ok()
}

/// How many events are failed. Makes the newest event known to the metrics, once.
async fn of_store(store: &Store, knows_newest: &AtomicBool) -> Option<u64> {
    let newest = async {
        if knows_newest.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(Ok(newest)) = timeout(WAIT_MAX, store.last_received_at()).await {
            if let Some(Time(received_at)) = newest {
                metrics::event_received(received_at.ms());
            }
            knows_newest.store(true, Ordering::Relaxed);
        }
    };
    let failed = async {
        timeout(WAIT_MAX, store.failed_count(FAILED_MAX))
            .await
            .ok()?
            .ok()
    };
    let ((), failed_events) = tokio::join!(newest, failed);
    failed_events
}
