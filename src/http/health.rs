//! `/healthz` and `/readyz`: whether the process is alive, and whether its role can do its work.

use actix_web::web::{Data, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use super::service_status::{CURRENT, PartStatus, ServiceStatus};

/// The health of the process.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `alive` or `ready`.
    status: &'static str,
    /// True while applying is paused: events are received and wait in the queue. Absent otherwise.
    #[serde(skip_serializing_if = "is_false")]
    paused: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_false(paused: &bool) -> bool {
    !paused
}

/// Whether the process runs.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = 200, description = "It does", body = Health))
)]
pub async fn alive() -> Json<Health> {
    Json(Health {
        status: "alive",
        paused: false,
    })
}

/// Whether the role of this process can do its work: a receiver needs the queue, a worker the queue
/// and the database, and must have started to apply events, or be paused. The database is asked once
/// per second at most.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "It can", body = Health),
        (status = 503, description = "`not_ready`"),
    )
)]
pub async fn ready(status: Data<ServiceStatus>) -> Result<Json<Health>, Problem> {
    let (missing, reasons) = missing(
        status.is_stopping(),
        status.queue(),
        status.database().await.unwrap_or(Ok(())),
        status.worker().unwrap_or(Ok(())),
    );
    if missing.is_empty() {
        let control = status.control(CURRENT).await;
        return Ok(Json(Health {
            status: "ready",
            paused: control.is_some_and(|control| control.paused.is_some()),
        }));
    }
    Err(Problem::not_ready(missing, reasons.join("; ")))
}

/// Returns the missing parts, and why. A worker that applies nothing is missing by itself only if
/// its database is there.
fn missing(
    is_stopping: bool,
    queue: PartStatus,
    database: PartStatus,
    worker: PartStatus,
) -> (Vec<&'static str>, Vec<String>) {
    let stopping = if is_stopping {
        Err("it is stopping".into())
    } else {
        Ok(())
    };
    let has_database = database.is_ok();
    let worker_repeats = worker.is_err() && worker == database;
    let (mut missing, mut reasons) = (Vec::new(), Vec::new());
    for (part, status) in [
        ("process", stopping),
        ("queue", queue),
        ("database", database),
    ] {
        if let Err(reason) = status {
            missing.push(part);
            reasons.push(reason.to_string());
        }
    }
    if let Err(reason) = worker {
        missing.extend(has_database.then_some("worker"));
        if !worker_repeats {
            reasons.push(format!("the worker applies nothing: {reason}"));
        }
    }
    (missing, reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_is_named_and_its_consequence_only_explained() {
        let no = |reason: &str| Err(reason.into());
        assert_eq!(missing(false, Ok(()), Ok(()), Ok(())), (vec![], vec![]));
        let (what, why) = missing(false, Ok(()), Ok(()), no("it waits for a lock"));
        assert_eq!(what, ["worker"]);
        assert_eq!(why, ["the worker applies nothing: it waits for a lock"]);
        let (what, why) = missing(false, Ok(()), no("no schema"), no("it migrates"));
        assert_eq!(what, ["database"]);
        assert_eq!(
            why,
            ["no schema", "the worker applies nothing: it migrates"]
        );
        let (what, why) = missing(true, no("away"), no("gone"), no("gone"));
        assert_eq!(what, ["process", "queue", "database"]);
        assert_eq!(why.len(), 3, "no reason is repeated");
    }
}
