//! `/events`: the record of every event, and one of them with all that is known of it.

use std::num::NonZeroU32;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::error_help::{self, Remedy};
use super::filters::Ask;
use super::format::{When, count, when};
use super::page::{Frame, Refusal, answer, guarded};
use super::session::Session;
use super::view_models::{Block, EventLine};
use super::{bulk_actions, payload};
use crate::clerk::{EventId, Timestamp, api_object};
use crate::clock::now;
use crate::http::Api;
use crate::store::{EventFilter, EventRow, Page, Status, StoreError};

/// Types that the filter offers; another one can be typed into the address.
const TYPES: [&str; 3] = ["user.created", "user.updated", "user.deleted"];

/// Other events of the same user, beside an event.
const OTHERS: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    frame: Frame,
    ask: Ask,
    statuses: [&'static str; 4],
    types: [&'static str; 3],
    events: Vec<EventLine>,
    notice: Option<String>,
    /// Whether these are failed ones, of which there are some.
    can_act: bool,
    /// The filter as a query string, for what is done with all of them.
    act: String,
    is_later: bool,
    first: String,
    next: Option<String>,
}

/// `GET /events`
pub async fn list(
    session: Session,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Refusal> {
    let now = now();
    let mut ask = Ask::read(request.query_string())?;
    let notice = bulk_actions::notice_of_many(&mut ask);
    let (filter, page) = ask.events(now)?;
    // A code alone asks for failed ones; the form says so.
    if let Some(status) = filter.status {
        ask = ask.with("status", status.as_str());
    }
    let listing = api.store.events(&filter, &page).await?;
    let events: Vec<_> = listing
        .rows
        .iter()
        .map(|event| EventLine::of(event, now))
        .collect();
    let set = ask.without("cursor").without("status").without("limit");
    answer(&EventsPage {
        // A page further back stands still, so that nothing moves under the reader.
        frame: if page.after.is_none() {
            frame(&session, "Events").live()
        } else {
            frame(&session, "Events")
        },
        statuses: Status::ALL.map(Status::as_str),
        types: TYPES,
        notice,
        can_act: filter.status == Some(Status::Failed) && !events.is_empty(),
        act: set.query(),
        is_later: page.after.is_some(),
        first: ask.without("cursor").on("/events"),
        next: listing
            .next
            .map(|cursor| ask.with("cursor", &cursor.to_string()).on("/events")),
        events,
        ask,
    })
}

fn frame(session: &Session, title: &str) -> Frame {
    Frame::of(session, "events", title)
}

/// Why an event failed.
struct FailureView {
    code: String,
    text: String,
    remedy: Remedy,
}

/// A point on an event's way.
struct Moment {
    class: &'static str,
    what: String,
    when: When,
    note: Option<String>,
}

/// What is said above an event that something was done with.
struct Notice {
    class: &'static str,
    text: String,
}

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    frame: Frame,
    form_token: String,
    event: EventLine,
    notice: Option<Notice>,
    failure: Option<FailureView>,
    can_act: bool,
    /// What a replay would come to.
    would: Option<String>,
    payload: Option<Block>,
    moments: Vec<Moment>,
    deliveries: String,
    attempts: String,
    superseded_by: Option<String>,
    others: Vec<EventLine>,
    /// Where this server is, as the browser sees it.
    base: String,
}

/// What was done with an event a moment ago, in its page's address.
#[derive(serde::Deserialize)]
pub struct Lately {
    done: Option<String>,
    /// The attempts before.
    attempts: Option<i64>,
}

/// `GET /events/{id}`
pub async fn show(
    session: Session,
    request: HttpRequest,
    id: web::Path<String>,
    lately: web::Query<Lately>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Refusal> {
    let now = now();
    let (id, event) = find(&api, &id).await?;
    let can_act = event.status == Status::Failed;
    let code = event.error_code.as_deref().unwrap_or_default();
    let would = if can_act {
        Some(bulk_actions::would_of_one(&api.store, id, code).await?)
    } else {
        None
    };
    let connection = request.connection_info().clone();
    answer(&EventPage {
        frame: frame(&session, &event.event_type).live(),
        form_token: session.form_token,
        notice: notice(&event, &lately),
        failure: failure(&event),
        can_act,
        would,
        payload: event
            .payload
            .as_deref()
            .map(|body| payload::show(body).into()),
        moments: moments(&event, now),
        deliveries: count(event.deliveries.unsigned_abs()),
        attempts: count(event.attempts.unsigned_abs()),
        superseded_by: event
            .superseded_by
            .clone()
            .filter(|by| *by != event.event_id && !api_object::is_reading(by)),
        others: others(&api, &event, now).await?,
        base: format!("{}://{}", connection.scheme(), connection.host()),
        event: EventLine::of(&event, now),
    })
}

/// The event of an address.
pub async fn find(api: &Api, id: &str) -> Result<(EventId, EventRow), Refusal> {
    const ABSENT: Refusal = Refusal::NotFound(
        "No event has this ID. Lines of events go after EVENT_RETENTION_DAYS; failed ones stay.",
    );
    let id = EventId::new(id).ok_or(ABSENT)?;
    let event = api.store.event(&id).await?.ok_or(ABSENT)?;
    Ok((id, event))
}

async fn others(api: &Api, event: &EventRow, now: Timestamp) -> Result<Vec<EventLine>, StoreError> {
    let Some(clerk_id) = event.clerk_id.clone() else {
        return Ok(Vec::new());
    };
    let filter = EventFilter {
        clerk_id: Some(clerk_id),
        ..EventFilter::default()
    };
    let listing = api
        .store
        .events(
            &filter,
            &Page {
                limit: OTHERS,
                after: None,
            },
        )
        .await?;
    let others = listing
        .rows
        .iter()
        .filter(|other| other.event_id != event.event_id);
    Ok(others.map(|other| EventLine::of(other, now)).collect())
}

fn notice(event: &EventRow, lately: &Lately) -> Option<Notice> {
    let (class, text) = match (lately.done.as_deref()?, event.status) {
        ("replayed", Status::Applied) => ("good", "Replayed, and applied."),
        ("replayed", Status::Stale) => (
            "good",
            "Replayed. It changed nothing: a newer version was there.",
        ),
        ("replayed", Status::Failed)
            if lately
                .attempts
                .is_some_and(|before| event.attempts > before) =>
        {
            (
                "bad",
                "Replayed, and failed again. The reason below is the new one.",
            )
        }
        ("replayed", Status::Failed) => (
            "warn",
            "It is back on the queue. A worker will try it in a moment.",
        ),
        ("discarded", Status::Discarded) => ("good", "Discarded."),
        ("late", _) => (
            "warn",
            "Nothing was done: the event was not failed any more.",
        ),
        _ => return None,
    };
    Some(Notice {
        class,
        text: text.into(),
    })
}

fn failure(event: &EventRow) -> Option<FailureView> {
    let code = event.error_code.clone()?;
    let text = event
        .error
        .clone()
        .unwrap_or_else(|| "No reason was kept.".into());
    Some(FailureView {
        remedy: error_help::of(&code),
        text,
        code,
    })
}

/// Of the times of an event, those that are known, in the order in which they should be.
fn moments(event: &EventRow, now: Timestamp) -> Vec<Moment> {
    let moment = |class, what: &str, time, note| Moment {
        class,
        what: what.into(),
        when: when(time, now),
        note,
    };
    let tries = (event.attempts > 1).then(|| {
        format!(
            "at the attempt number {}",
            count(event.attempts.unsigned_abs())
        )
    });
    let what = match event.status {
        Status::Applied => "Applied: it changed the row",
        Status::Stale => "Found stale: a newer version was there",
        Status::Failed => "Failed",
        Status::Discarded => "Tried the last time, and discarded since",
    };
    let occurred = event
        .occurred_at
        .map(|time| moment("plain", "Occurred at Clerk", time, None));
    let came = [
        moment("plain", "Sent by Svix", event.sent_at, None),
        moment("plain", "Received and queued", event.received_at, None),
        moment(event.status.as_str(), what, event.processed_at, tries),
    ];
    occurred.into_iter().chain(came).collect()
}

/// `GET /events/{id}/payload`: the body as it came. Whatever is in it, a browser saves it and does not open it.
pub async fn payload(
    _: Session,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Refusal> {
    let (id, event) = find(&api, &id).await?;
    let body = event
        .payload
        .ok_or(Refusal::NotFound("The payload of this event is not kept."))?;
    let mut response = guarded(HttpResponse::Ok());
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, "application/octet-stream"));
    response.insert_header((
        CONTENT_DISPOSITION,
        format!("attachment; filename=\"{id}.json\""),
    ));
    Ok(response.body(body))
}
