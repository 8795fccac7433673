//! `/api/events`: the record of every event, and what is done with failed ones.

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Operator;
use super::bulk_request::{self, Order};
use super::parameters::EventParameters;
use super::query;
use super::{Api, BODY_MAX, not_found};
use crate::clerk::EventId;
use crate::clock::now;
use crate::http::problem::{Code, Document, Problem};
use crate::replay::{self, DiscardReport, ReplayError, ReplayReport, Selection};
use crate::store::{EventRow, Status};

/// A body that may be too long.
type Body = Result<Bytes, actix_web::Error>;

fn read(body: Body) -> Result<Bytes, Problem> {
    body.map_err(|_| {
        Problem::new(
            Code::BodyTooLarge,
            format!("a body may have {BODY_MAX} bytes here, and must be whole"),
        )
    })
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub struct Events {
    /// Without their payloads.
    pub events: Vec<EventRow>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// Events, the newest first by time of receipt, without their payloads.
///
/// Every filter that is given must hold. Pages neither skip nor repeat an event while others come.
#[utoipa::path(
    get, path = "/api/events", tag = "events", operation_id = "list_events", params(EventParameters),
    security(("admin_token" = [])),
    responses((status = 200, description = "A page of events", body = Events, links(
        ("event" = (operation_id = "show_event", parameters(("id" = "$response.body#/events/0/event_id")))),
        ("replay" = (operation_id = "replay_event", parameters(("id" = "$response.body#/events/0/event_id")))),
        ("discard" = (operation_id = "discard_event", parameters(("id" = "$response.body#/events/0/event_id")))),
        ("next_page" = (operation_id = "list_events", parameters(("cursor" = "$response.body#/next")))),
    )))
)]
pub async fn list(
    _: Operator,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let (filter, page) = query::events(request.query_string(), now())?;
    let listing = api.store.events(&filter, &page).await?;
    let next = listing.next.map(|cursor| cursor.to_string());
    Ok(HttpResponse::Ok().json(Events {
        events: listing.rows,
        next,
    }))
}

/// One event, with its payload where it is kept.
#[utoipa::path(
    get, path = "/api/events/{id}", tag = "events", operation_id = "show_event",
    params(("id" = String, Path, description = "The event's ID, msg_…")),
    security(("admin_token" = [])),
    responses((status = 200, description = "The event", body = EventRow))
)]
pub async fn show(
    _: Operator,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let id = event_id(&id)?;
    let event = api.store.event(&id).await?.ok_or_else(no_event)?;
    Ok(HttpResponse::Ok().json(event))
}

/// Puts failed events back onto the queue under their own IDs, the newest first. The body says which: by a filter, by `ids`, or
/// `"all": true`.
///
/// It answers when they are there, which takes 20 s for 10,000 at the usual rate. What `dry_run` would come to is in `would`.
#[utoipa::path(
    post, path = "/api/events/replay", tag = "events", operation_id = "replay_events",
    request_body(content = bulk_request::Set), security(("admin_token" = [])),
    responses(
        (status = 200, description = "What was done, or would be", body = ReplayReport),
        (status = 503, description = "`queue_unavailable`", body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn replay(
    _: Operator,
    request: HttpRequest,
    body: Body,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let order = bulk_request::of_set(&read(body)?, now())?;
    carry_out(&order, &api).await
}

/// Puts one failed event back onto the queue. The body may be empty.
#[utoipa::path(
    post, path = "/api/events/{id}/replay", tag = "events", operation_id = "replay_event",
    params(("id" = String, Path, description = "The event's ID, msg_…")),
    request_body(content = bulk_request::One), security(("admin_token" = [])),
    responses(
        (status = 200, description = "What was done, or would be", body = ReplayReport),
        (status = 503, description = "`queue_unavailable`", body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn replay_one(
    _: Operator,
    request: HttpRequest,
    id: web::Path<String>,
    body: Body,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let order = order_for_one(&id, &read(body)?, &api).await?;
    carry_out(&order, &api).await
}

/// Discards failed events, the newest first: nobody waits for them any more. The body says which: by a filter, by `ids`, or
/// `"all": true`.
#[utoipa::path(
    post, path = "/api/events/discard", tag = "events", operation_id = "discard_events",
    request_body(content = bulk_request::Set), security(("admin_token" = [])),
    responses((status = 200, description = "What was done, or would be", body = DiscardReport))
)]
pub async fn discard(
    _: Operator,
    request: HttpRequest,
    body: Body,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let order = bulk_request::of_set(&read(body)?, now())?;
    Ok(HttpResponse::Ok()
        .json(replay::discard(&api.store, &order.which, order.dry_run, |_| ()).await?))
}

/// Discards one failed event. The body may be empty.
#[utoipa::path(
    post, path = "/api/events/{id}/discard", tag = "events", operation_id = "discard_event",
    params(("id" = String, Path, description = "The event's ID, msg_…")),
    request_body(content = bulk_request::One), security(("admin_token" = [])),
    responses((status = 200, description = "What was done, or would be", body = DiscardReport))
)]
pub async fn discard_one(
    _: Operator,
    request: HttpRequest,
    id: web::Path<String>,
    body: Body,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let order = order_for_one(&id, &read(body)?, &api).await?;
    Ok(HttpResponse::Ok()
        .json(replay::discard(&api.store, &order.which, order.dry_run, |_| ()).await?))
}

async fn carry_out(order: &Order, api: &Api) -> Result<HttpResponse, Problem> {
    if order.dry_run {
        return Ok(HttpResponse::Ok().json(replay::preview(&api.store, &order.which).await?));
    }
    let mut done = ReplayReport::default();
    replay::replay(
        &api.store,
        &api.queue,
        &order.which,
        order.rate,
        &mut done,
        |_, _| (),
    )
    .await
    .map_err(|error| {
        let noun = if done.replayed == 1 {
            "event is"
        } else {
            "events are"
        };
        let said = format!("{} {noun} back on the queue; {error}", done.replayed);
        match error {
            ReplayError::Store(_) => Problem::new(Code::DatabaseUnavailable, said),
            ReplayError::Queue { .. } => Problem::new(Code::QueueUnavailable, said),
        }
    })?;
    Ok(HttpResponse::Ok().json(done))
}

/// The same for one event, which must be there and be failed.
async fn order_for_one(id: &str, body: &[u8], api: &Api) -> Result<Order, Problem> {
    let (dry_run, rate) = bulk_request::of_one(body)?;
    let id = event_id(id)?;
    let event = api.store.event(&id).await?.ok_or_else(no_event)?;
    if event.status != Status::Failed {
        let said = format!(
            "the event is {}; only failed ones are replayed or discarded",
            event.status.as_str()
        );
        return Err(Problem::new(Code::InvalidRequest, said));
    }
    Ok(Order {
        which: Selection::Ids(vec![id]),
        rate,
        dry_run,
    })
}

fn event_id(id: &str) -> Result<EventId, Problem> {
    EventId::new(id).ok_or_else(no_event)
}

fn no_event() -> Problem {
    not_found("no event has this ID")
}
