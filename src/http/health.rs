//! Whether the process is alive, and whether its role can do its work.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::cache::Kept;
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
        let works = works.map(|(store, status)| Works {
            store,
            answer: Kept::every(ASKED_EVERY),
            status,
        });
        Self {
            queue,
            works,
            shutdown,
        }
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
    let queue = readiness.queue.ready().map_err(|reason| reason.to_string());
    let database = readiness.database().await.unwrap_or(Ok(()));
    let worker = readiness.worker().unwrap_or(Ok(()));
    let (missing, reasons) = missing(readiness.shutdown.is_requested(), queue, database, worker);
    if missing.is_empty() {
        return Ok(HttpResponse::Ok().json(Health { status: "ready" }));
    }
    Err(Problem::not_ready(missing, reasons.join("; ")))
}

/// What is missing, and why. A worker that applies nothing is missing by itself only if its database is there.
fn missing(
    is_stopping: bool,
    queue: Result<(), String>,
    database: Result<(), Arc<str>>,
    worker: Result<(), Arc<str>>,
) -> (Vec<&'static str>, Vec<String>) {
    let (mut missing, mut reasons) = (Vec::new(), Vec::new());
    if is_stopping {
        missing.push("process");
        reasons.push("it is stopping".into());
    }
    if let Err(reason) = queue {
        missing.push("queue");
        reasons.push(reason);
    }
    if let Err(reason) = &database {
        missing.push("database");
        reasons.push(reason.to_string());
    }
    if let Err(reason) = worker {
        if database.is_ok() {
            missing.push("worker");
        }
        if database != Err(Arc::clone(&reason)) {
            reasons.push(format!("the worker applies nothing: {reason}"));
        }
    }
    (missing, reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_its_consequence_only_explained() {
        let no = |reason: &str| Err(Arc::<str>::from(reason));
        assert_eq!(missing(false, Ok(()), Ok(()), Ok(())), (vec![], vec![]));
        let (what, why) = missing(false, Ok(()), Ok(()), no("it waits for a lock"));
        assert_eq!(
            (what, why),
            (
                vec!["worker"],
                vec!["the worker applies nothing: it waits for a lock".into()]
            )
        );
        let (what, why) = missing(false, Ok(()), no("no schema"), no("it migrates"));
        assert_eq!(what, ["database"]);
        assert_eq!(
            why,
            ["no schema", "the worker applies nothing: it migrates"]
        );
        let (what, why) = missing(true, Err("away".into()), no("gone"), no("gone"));
        assert_eq!(
            (what, why.len()),
            (vec!["process", "queue", "database"], 3),
            "nothing is said twice"
        );
    }
}
