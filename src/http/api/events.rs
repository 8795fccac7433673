//! `/api/events`: the record of every event, and the replay and discard of failed ones.

use actix_web::web::{Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::auth::{Operator, Reader};
use super::bulk_request::{self, BulkRequest};
use super::entity_tag;
use super::fields::Rows;
use super::filters::{self, EventQuery, OneQuery};
use crate::clock::now;
use crate::http::admin::Admin;
use crate::http::problem::{Code, Problem};
use crate::replay::{self, DiscardReport, ReplayReport};
use crate::store::{EventRow, Status, WholeEvent};

/// Longest body, in bytes: a filter is a few hundred.
pub const BODY_MAX: usize = 64 * 1024;

/// A body that may be too long.
pub type Body = Result<Bytes, actix_web::Error>;

/// A page of events.
#[derive(Serialize, ToSchema)]
pub struct Events {
    /// Without their payloads.
    #[schema(value_type = Vec<EventRow>)]
    data: Vec<Box<RawValue>>,
    /// The `cursor` of the next page; null on the last one.
    next: Option<String>,
}

/// Events by time of receipt, without their payloads.
///
/// The newest first, or in the order of `sort`. Every filter that is given must hold. Pages neither skip nor repeat an event while others come.
#[utoipa::path(
    get, path = "/api/events", tag = "events", params(EventQuery),
    responses((status = 200, description = "A page of events", body = Events, links(
        ("event" = (operation_id = "show_event", parameters(("id" = "$response.body#/data/0/event_id")))),
        ("replay" = (operation_id = "replay_event", parameters(("id" = "$response.body#/data/0/event_id")))),
        ("discard" = (operation_id = "discard_event", parameters(("id" = "$response.body#/data/0/event_id")))),
        ("next_page" = (operation_id = "list_events", parameters(("cursor" = "$response.body#/next")))),
    )))
)]
pub async fn list_events(reader: Reader, request: HttpRequest) -> Result<Json<Events>, Problem> {
    let (filter, page, sort, fields) = filters::list_of_events(request.query_string(), now())?;
    let fields = fields.for_token(reader.sees_private)?;
    let listing = reader.admin.store.events_in(sort, &filter, &page).await?;
    Ok(Json(Events {
        data: fields.pick_all(&listing.rows),
        next: listing.next.map(|cursor| cursor.to_string()),
    }))
}

/// One event, with its attempts, who acted on it, and its payload as text and as JSON if it is kept.
#[utoipa::path(
    get, path = "/api/events/{id}", tag = "events",
    params(("id" = String, Path, description = "The event's ID, msg_…"), OneQuery),
    responses((status = 200, description = "The event", body = WholeEvent))
)]
pub async fn show_event(
    reader: Reader,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let fields = filters::one(Rows::Event, request.query_string())?;
    let fields = fields.for_token(reader.sees_private)?;
    let row = fields.pick(&reader.admin.whole_event(&id).await?);
    Ok(entity_tag::answer(&request, &row))
}

/// Publishes failed events again, under their own IDs, the newest first. The body says
/// which: by a filter, by `ids`, or `"all": true`.
///
/// It answers when they are there, which takes 20 s for 10,000 at the usual rate. What a `dry_run`
/// would do is in `would`.
#[utoipa::path(
    post, path = "/api/events/replay", tag = "events", request_body(content = bulk_request::Set),
    responses(
        (status = 200, description = "What was done, or would be done", body = ReplayReport),
        (status = 503, description = "`queue_unavailable`"),
    )
)]
pub async fn replay_events(
    operator: Operator,
    request: HttpRequest,
    body: Body,
) -> Result<Json<ReplayReport>, Problem> {
    replay(&for_set(&request, body)?, &operator).await
}

/// Publishes one failed event again. The body may be empty.
#[utoipa::path(
    post, path = "/api/events/{id}/replay", tag = "events", request_body(content = bulk_request::One),
    params(("id" = String, Path, description = "The event's ID, msg_…")),
    responses(
        (status = 200, description = "What was done, or would be done", body = ReplayReport),
        (status = 409, description = "`not_failed`"),
        (status = 503, description = "`queue_unavailable`"),
    )
)]
pub async fn replay_event(
    operator: Operator,
    request: HttpRequest,
    id: Path<String>,
    body: Body,
) -> Result<Json<ReplayReport>, Problem> {
    let asked = for_event(&request, &id, body, &operator.admin).await?;
    replay(&asked, &operator).await
}

/// Discards failed events, the newest first: they no longer wait for a person. The body
/// says which: by a filter, by `ids`, or `"all": true`.
#[utoipa::path(
    post, path = "/api/events/discard", tag = "events", request_body(content = bulk_request::Set),
    responses((status = 200, description = "What was done, or would be done", body = DiscardReport))
)]
pub async fn discard_events(
    operator: Operator,
    request: HttpRequest,
    body: Body,
) -> Result<Json<DiscardReport>, Problem> {
    discard(&for_set(&request, body)?, &operator).await
}

/// Discards one failed event. The body may be empty.
#[utoipa::path(
    post, path = "/api/events/{id}/discard", tag = "events", request_body(content = bulk_request::One),
    params(("id" = String, Path, description = "The event's ID, msg_…")),
    responses(
        (status = 200, description = "What was done, or would be done", body = DiscardReport),
        (status = 409, description = "`not_failed`"),
    )
)]
pub async fn discard_event(
    operator: Operator,
    request: HttpRequest,
    id: Path<String>,
    body: Body,
) -> Result<Json<DiscardReport>, Problem> {
    let asked = for_event(&request, &id, body, &operator.admin).await?;
    discard(&asked, &operator).await
}

fn for_set(request: &HttpRequest, body: Body) -> Result<BulkRequest, Problem> {
    bulk_request::for_set(&read_body(request, body)?, now())
}

/// The request for one event, which must be there and be failed.
async fn for_event(
    request: &HttpRequest,
    id: &str,
    body: Body,
    admin: &Admin,
) -> Result<BulkRequest, Problem> {
    let body = read_body(request, body)?;
    let (id, event) = admin.event(id).await?;
    let request = bulk_request::for_event(id, &body)?;
    if event.status == Status::Failed {
        return Ok(request);
    }
    let status = event.status.as_str();
    let detail = format!("the event is {status}; only failed ones are replayed or discarded");
    Err(Problem::new(Code::NotFailed, detail))
}

/// Reads a body whole.
///
/// # Errors
///
/// If it is too long, or there are query parameters.
pub fn read_body(request: &HttpRequest, body: Body) -> Result<Bytes, Problem> {
    filters::none(request.query_string())?;
    body.map_err(|_| {
        Problem::new(
            Code::BodyTooLarge,
            format!("a body may have {BODY_MAX} bytes here, and must be whole"),
        )
    })
}

async fn replay(request: &BulkRequest, operator: &Operator) -> Result<Json<ReplayReport>, Problem> {
    let (admin, selection) = (&operator.admin, &request.selection);
    Ok(Json(if request.dry_run {
        replay::preview(&admin.store, selection).await?
    } else {
        let replay = admin.replay(selection, request.rate, &operator.actor);
        replay.await?
    }))
}

async fn discard(
    request: &BulkRequest,
    operator: &Operator,
) -> Result<Json<DiscardReport>, Problem> {
    let (store, selection) = (&operator.admin.store, &request.selection);
    Ok(Json(if request.dry_run {
        replay::preview_discard(store, selection).await?
    } else {
        replay::discard(store, selection, &operator.actor, |_| ()).await?
    }))
}
