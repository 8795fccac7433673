//! `/metrics`: the page that Prometheus reads. States that are not counted, such as the depth of
//! the queue, are queried here, at most every 5 s.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Data;

use super::limits::Capacity;
use super::service_status::{METRICS_AGE, ServiceStatus};
use crate::metrics::{self, Readings};

/// The metrics, as Prometheus reads them.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Prometheus' text format, version 0.0.4", body = String, content_type = "text/plain"))
)]
pub async fn metrics(status: Data<ServiceStatus>, capacity: Data<Capacity>) -> HttpResponse {
    let of_database = async {
        let database = status.database().await;
        // Nothing more is asked of a database that does not answer.
        let answers = match database {
            Some(Ok(())) => tokio::join!(
                status.failed_count(),
                status.control(METRICS_AGE),
                status.change_feed_lag()
            ),
            _ => (None, None, None),
        };
        (database, answers)
    };
    let (waiting, (database, (failed_events, control, change_feed_lag))) =
        tokio::join!(status.waiting(METRICS_AGE), of_database);
    let queue = status.queue();
    let parts = [
        ("queue", Some(queue.clone())),
        ("database", database),
        ("worker", status.worker()),
    ];
    let readings = Readings {
        ready: parts
            .into_iter()
            .filter_map(|(part, status)| Some((part, status?.is_ok())))
            .collect(),
        // A cached answer of a queue that is away is not reported.
        queue_depth: waiting.depth.filter(|_| queue.is_ok()),
        failed_events,
        change_feed_lag,
        paused: control.as_ref().map(|control| control.paused.is_some()),
        rate_limit: control.and_then(|control| control.rate_limit),
        connections: capacity.connections(),
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, metrics::CONTENT_TYPE))
        .body(metrics::page(&readings))
}
