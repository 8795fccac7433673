//! `/api/control`: pausing and resuming the applying of events, its rate limit, and the processes
//! that do it.

use std::num::NonZeroU32;

use actix_web::HttpRequest;
use actix_web::web::Json;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::ToSchema;

use super::auth::{Operator, Reader};
use super::events::{Body, read_body};
use super::filters;
use super::invalid::{invalid, wrong};
use crate::http::admin::{Admin, paused_by};
use crate::http::problem::Problem;
use crate::store::{Control, Pause, Process, read_rate};

/// The control as it is after a change.
#[derive(Serialize, ToSchema)]
pub struct Controlled {
    /// Whether this request changed it: false if it was so already.
    pub changed: bool,
    #[serde(flatten)]
    pub control: Control,
}

/// Every process that is recorded.
#[derive(Serialize, ToSchema)]
pub struct Processes {
    pub data: Vec<Process>,
    /// Always null: there is one page.
    #[schema(value_type = Option<String>)]
    pub next: Option<&'static str>,
}

/// The body of a pause.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PauseRequest {
    /// Why, on one line: everybody who finds it paused sees this.
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    reason: Option<String>,
}

/// The body of a rate limit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimitRequest {
    /// Most events per second that all workers together apply; null removes the limit.
    // Not `default`: a body without the field must not remove the limit.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(value_type = Option<u32>, required = true, minimum = 1, maximum = 1_000_000)]
    events_per_second: Option<Number>,
}

/// Whether applying is paused, and its rate limit.
#[utoipa::path(
    get, path = "/api/control", tag = "control",
    responses((status = 200, description = "The control", body = Control))
)]
pub async fn show_control(reader: Reader, request: HttpRequest) -> Result<Json<Control>, Problem> {
    filters::none(request.query_string())?;
    Ok(Json(reader.admin.store.control().await?))
}

/// The processes that work with the database, with their last sign of life.
///
/// Receivers have no database: workers record those that they have had events from.
#[utoipa::path(
    get, path = "/api/processes", tag = "control",
    responses((status = 200, description = "The processes", body = Processes))
)]
pub async fn list_processes(
    reader: Reader,
    request: HttpRequest,
) -> Result<Json<Processes>, Problem> {
    filters::none(request.query_string())?;
    Ok(Json(Processes {
        data: reader.admin.store.processes().await?,
        next: None,
    }))
}

/// Has all workers stop applying events, within a second. Receivers go on, and events wait in the
/// queue. The body may be empty. If it is paused already, that pause stays as it is.
#[utoipa::path(
    post, path = "/api/pause", tag = "control", request_body(content = PauseRequest),
    responses((status = 200, description = "The control", body = Controlled))
)]
pub async fn pause(
    operator: Operator,
    request: HttpRequest,
    body: Body,
) -> Result<Json<Controlled>, Problem> {
    let body = read_body(&request, body)?;
    let body = if body.trim_ascii().is_empty() {
        Bytes::from_static(b"{}")
    } else {
        body
    };
    let PauseRequest { reason } = read(&body, "reason (a text)")?;
    let reason = Pause::read_reason(reason.as_deref().unwrap_or_default())
        .map_err(|remedy| wrong("reason", remedy))?;
    let admin = &operator.admin;
    let changed = admin
        .pause(reason, paused_by("the API", &request), &operator.actor)
        .await?;
    controlled(admin, changed).await
}

/// Has all workers apply events again.
#[utoipa::path(
    post, path = "/api/resume", tag = "control",
    responses((status = 200, description = "The control", body = Controlled))
)]
pub async fn resume(operator: Operator, request: HttpRequest) -> Result<Json<Controlled>, Problem> {
    filters::none(request.query_string())?;
    let admin = &operator.admin;
    let changed = admin.resume(&operator.actor).await?;
    controlled(admin, changed).await
}

/// Limits how many events per second all workers together apply, or removes the limit.
#[utoipa::path(
    post, path = "/api/rate-limit", tag = "control", request_body(content = RateLimitRequest),
    responses((status = 200, description = "The control", body = Controlled))
)]
pub async fn set_rate_limit(
    operator: Operator,
    request: HttpRequest,
    body: Body,
) -> Result<Json<Controlled>, Problem> {
    let body = read_body(&request, body)?;
    let RateLimitRequest { events_per_second } =
        read(&body, "events_per_second (a number or null)")?;
    let limit: Option<NonZeroU32> = events_per_second
        .map(|number| {
            let whole = filters::whole(&number).map(|number| number.to_string());
            read_rate(&whole.unwrap_or_default())
                .map_err(|remedy| wrong("events_per_second", remedy))
        })
        .transpose()?;
    let admin = &operator.admin;
    let changed = admin.set_rate_limit(limit, &operator.actor).await?;
    controlled(admin, changed).await
}

async fn controlled(admin: &Admin, changed: bool) -> Result<Json<Controlled>, Problem> {
    Ok(Json(Controlled {
        changed,
        control: admin.store.control().await?,
    }))
}

/// Reads a body. serde would take an array for the fields in their order; its error's own text can
/// quote the body.
fn read<'b, T: Deserialize<'b>>(body: &'b [u8], known: &str) -> Result<T, Problem> {
    let read = body
        .trim_ascii_start()
        .starts_with(b"{")
        .then(|| serde_json::from_slice(body).ok())
        .flatten();
    read.ok_or_else(|| {
        invalid(format!(
            "the body cannot be read: it is a JSON object of {known}"
        ))
    })
}
