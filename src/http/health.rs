//! Whether the process is alive, and whether its role can do its work.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::problem::Problem;
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

/// `GET /healthz`
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

/// `GET /readyz`
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
        return Ok(HttpResponse::Ok().json(json!({"status": "ready"})));
    }
    Err(Problem::not_ready(missing, reasons.join("; ")))
}
