//! Whether the process is alive, and whether its role can do its work.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Document, Problem};
use crate::queue::Queue;
use crate::shutdown::Shutdown;
use crate::store::Store;

/// What the role of this process needs.
#[derive(Clone)]
pub struct Readiness {
    pub queue: Queue,
    /// Nothing for a receiver: it works while the database is away.
    pub store: Option<Store>,
    pub shutdown: Shutdown,
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

/// Whether the role of this process can do its work: a receiver needs the queue, a worker the queue and the database.
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
    if let Some(store) = &readiness.store
        && let Err(reason) = store.ping().await
    {
        missing.push("database");
        reasons.push(reason.to_string());
    }
    if missing.is_empty() {
        return Ok(HttpResponse::Ok().json(Health { status: "ready" }));
    }
    Err(Problem::not_ready(missing, reasons.join("; ")))
}
