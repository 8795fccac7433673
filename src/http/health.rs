//! Whether the process is alive, and whether its role can do its work.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::kept::Kept;
use super::problem::{Document, Problem};
use crate::queue::Queue;
use crate::shutdown::Shutdown;
use crate::store::Store;

/// Shortest time between two questions to the database: anybody may ask for readiness, as often as they like and on any number
/// of connections.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// What the role of this process needs. Clones share the last answer of the database.
#[derive(Clone)]
pub struct Readiness {
    pub queue: Queue,
    /// `None` for a receiver: it works while the database is away.
    works: Option<Works>,
    pub shutdown: Shutdown,
}

/// What a worker needs.
#[derive(Clone)]
struct Works {
    store: Store,
    answer: Arc<Kept<(), Arc<str>>>,
    status: Status,
}

/// Why the worker of this process applies nothing; `None` while it applies events.
type Status = watch::Receiver<Option<Arc<str>>>;

impl Readiness {
    /// `works` is what a worker has: its database, and its own word.
    pub fn new(queue: Queue, works: Option<(Store, Status)>, shutdown: Shutdown) -> Self {
        let works = works.map(|(store, status)| Works { store, answer: Kept::every(ASKED_EVERY), status });
        Self { queue, works, shutdown }
    }

    pub fn store(&self) -> Option<&Store> {
        self.works.as_ref().map(|works| &works.store)
    }

    /// Whether the database answered when it was asked last, a second ago at most; `None` for a receiver.
    pub async fn database(&self) -> Option<Result<(), Arc<str>>> {
        let Works { store, answer, .. } = self.works.as_ref()?;
        let store = store.clone();
        let ask = || async move { store.ping().await.map_err(|error| error.to_string().into()) };
        Some(match answer.get(ask).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("the database does not answer".into()),
            Err(reason) => Err(reason),
        })
    }

    /// Whether the worker applies events; `None` for a receiver.
    pub fn worker(&self) -> Option<Result<(), Arc<str>>> {
        let status = self.works.as_ref()?.status.borrow();
        Some(status.clone().map_or(Ok(()), Err))
    }
}

/// How it is.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `alive` or `ready`.
    status: &'static str,
}

/// Whether the process runs.
#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "alive",
    responses((status = 200, description = "It does", body = Health))
)]
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "alive" })
}

/// Whether the role of this process can do its work: a receiver needs the queue, a worker the queue and the database, and must
/// have started to apply events. The database is asked once a second at most.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "ready",
    responses(
        (status = 200, description = "It can", body = Health),
        (status = 503, description = "`not_ready`", body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn ready(readiness: web::Data<Readiness>) -> Result<HttpResponse, Problem> {
    let mut missing = Vec::new();
    let mut reasons = Vec::new();
    if readiness.shutdown.is_requested() {
        missing.push("process");
        reasons.push("it is stopping".to_string());
    }
    if let Err(reason) = readiness.queue.ready() {
        missing.push("queue");
        reasons.push(reason.to_string());
    }
    if let Some(Err(reason)) = readiness.database().await {
        missing.push("database");
        reasons.push(reason.to_string());
    }
    if let Some(Err(reason)) = readiness.worker() {
        missing.push("worker");
        reasons.push(format!("the worker applies nothing: {reason}"));
    }
    if missing.is_empty() {
        return Ok(HttpResponse::Ok().json(Health { status: "ready" }));
    }
    Err(Problem::not_ready(missing, reasons.join("; ")))
}
