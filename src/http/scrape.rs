//! What Prometheus reads. What is not counted where it happens is asked for here: seldom, and never for long.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::capacity::Capacity;
use super::health::Readiness;
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

/// The last answers.
#[derive(Clone, Default)]
pub struct Gauges(Arc<Mutex<Asked>>);

#[derive(Default)]
struct Asked {
    at: Option<Instant>,
    ready: Vec<(&'static str, bool)>,
    queue_depth: Option<u64>,
    failed_events: Option<u64>,
    /// The newest event is asked for once: from then on this process sees them itself.
    knows_newest: bool,
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
    let mut asked = gauges.0.lock().await;
    if asked.at.is_none_or(|at| at.elapsed() > GOOD_FOR) {
        asked.ask(&readiness).await;
    }
    let readings = Readings {
        ready: asked.ready.clone(),
        queue_depth: asked.queue_depth,
        failed_events: asked.failed_events,
        connections: capacity.connections(),
    };
    drop(asked);
    HttpResponse::Ok().insert_header((CONTENT_TYPE, metrics::CONTENT_TYPE)).body(metrics::page(&readings))
}

impl Asked {
    async fn ask(&mut self, readiness: &Readiness) {
        let Readiness { queue, store, .. } = readiness;
        let of_store = async {
            match store {
                Some(store) => self::of_store(store, !self.knows_newest).await,
                None => OfStore::default(),
            }
        };
        let (queue_depth, of_store) = tokio::join!(depth(queue), of_store);
        self.queue_depth = queue_depth;
        self.failed_events = of_store.failed_events;
        self.knows_newest |= of_store.knows_newest;
        self.ready = Vec::from([("queue", queue.ready().is_ok())]);
        self.ready.extend(store.as_ref().map(|_| ("database", of_store.ready)));
        self.at = Some(Instant::now());
    }
}

async fn depth(queue: &Queue) -> Option<u64> {
    timeout(WAIT_MAX, queue.depth()).await.ok()?.ok()
}

#[derive(Default)]
struct OfStore {
    ready: bool,
    failed_events: Option<u64>,
    knows_newest: bool,
}

/// Asks nothing more of a database that does not answer.
async fn of_store(store: &Store, wants_newest: bool) -> OfStore {
    // Takes 2 s at most by itself.
    if store.ping().await.is_err() {
        return OfStore::default();
    }
    let newest = async {
        let newest =
            if wants_newest { timeout(WAIT_MAX, store.last_received_at()).await.ok()?.ok()? } else { return None };
        if let Some(Time(received_at)) = newest {
            metrics::event_received(received_at.ms());
        }
        Some(())
    };
    let failed = async { timeout(WAIT_MAX, store.failed_count(FAILED_MAX)).await.ok()?.ok() };
    let (newest, failed_events) = tokio::join!(newest, failed);
    OfStore { ready: true, failed_events, knows_newest: newest.is_some() }
}
