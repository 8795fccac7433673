//! `/events/{id}`: one event with everything that is known of it.

use std::num::NonZeroU32;

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::actions::Action;
use super::audit::Acts;
use super::auth::Posted;
use super::event_diff::EventDiff;
use super::names::table_of;
use super::page::{DashboardError, Frame, page, redirect, saved};
use super::payload::{self, Order, Payload};
use super::session::Session;
use super::view_models::{EventLine, Help, When};
use crate::clerk::{EventId, Timestamp, api_object, error_code};
use crate::clock::now;
use crate::http::admin::Admin;
use crate::http::problem::{Code, Problem};
use crate::replay::Selection;
use crate::store::{EventFilter, EventRow, Status, Store, StoreError};
use crate::{format, replay};

/// Other events about the same row, beside an event.
const OTHERS: NonZeroU32 = NonZeroU32::new(8).expect("8 is not 0");

/// A point in time of an event: class, what happened, when, and a note.
type Moment = (&'static str, &'static str, When, Option<String>);

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    frame: Frame,
    event: EventLine,
    /// Class and text.
    notice: Option<(&'static str, &'static str)>,
    error_text: String,
    /// `None` if the event did not fail.
    error_help: Option<Help>,
    can_act: bool,
    /// What a replay would do.
    preview: Option<Preview>,
    payload: Option<Payload>,
    change: Option<EventDiff>,
    moments: Vec<Moment>,
    acts: Acts,
    deliveries: String,
    attempts: String,
    superseded_by: Option<String>,
    /// What its row is called.
    singular: &'static str,
    kind_of_row: String,
    others: Vec<EventLine>,
    /// The failed events that were received just after this one, and just before it.
    newer_failed: Option<String>,
    older_failed: Option<String>,
    /// The address of this server, as the browser knows it.
    base: String,
}

impl EventPage {
    /// Whether a replay is certain to fail.
    fn fails(&self) -> bool {
        self.preview.as_ref().is_some_and(|preview| preview.fails)
    }
}

/// What the address of an event's page says: what was done with it a moment ago, and how its payload
/// is shown.
#[derive(serde::Deserialize)]
pub struct Asked {
    done: Option<String>,
    /// The attempts before.
    attempts: Option<i64>,
    /// `sorted` if the names of the payload are to be sorted.
    names: Option<String>,
}

/// `GET /events/{id}`
pub async fn show(
    session: Session,
    request: HttpRequest,
    id: Path<String>,
    asked: Query<Asked>,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let now = now();
    let whole = admin.whole_event(&id).await?;
    let (acts, event) = (Acts::of(&whole, now), whole.event);
    let can_act = event.status == Status::Failed;
    let (newer_failed, older_failed) = admin.store.failed_beside(&event).await?;
    let code = event.error_code.as_deref();
    let connection = request.connection_info().clone();
    Ok(page(&EventPage {
        frame: Frame::of(&session, "events", title(&event), true),
        notice: notice_of_one(&event, &asked),
        error_help: code.map(Help::of),
        can_act,
        preview: match (code, EventId::new(&event.event_id)) {
            (Some(code), Some(id)) if can_act => Some(preview(&admin.store, id, code).await?),
            _ => None,
        },
        payload: event
            .payload
            .as_deref()
            .map(|body| shown_payload(body, &event.event_id, &asked, now)),
        change: EventDiff::of(&admin.store, &event, now).await?,
        moments: moments(&event, now),
        acts,
        deliveries: format::number(event.deliveries.unsigned_abs()),
        attempts: format::number(event.attempts.unsigned_abs()),
        superseded_by: event
            .superseded_by
            .clone()
            .filter(|by| *by != event.event_id && !api_object::is_reading(by)),
        singular: table_of(&event.event_type).singular,
        kind_of_row: format::capitalized(table_of(&event.event_type).singular),
        others: others(&admin, &event, now).await?,
        newer_failed,
        older_failed,
        base: format!("{}://{}", connection.scheme(), connection.host()),
        error_text: event
            .error
            .clone()
            .unwrap_or_else(|| "No reason was kept.".into()),
        event: EventLine::of(&event, now),
    }))
}

/// What the tab of an event says: its ID, what it came to, its type.
fn title(event: &EventRow) -> String {
    let status = event.status.as_str();
    format!(
        "{} {status} · {} · Events",
        event.event_id, event.event_type
    )
}

fn shown_payload(body: &[u8], id: &str, asked: &Asked, now: Timestamp) -> Payload {
    let is_sorted = asked.names.as_deref() == Some("sorted");
    let query = if is_sorted { "" } else { "?names=sorted" };
    let order = Order {
        is_sorted,
        other: format!("/events/{id}{query}#payload"),
    };
    payload::show(
        "Payload",
        body,
        format!("/events/{id}/payload"),
        &order,
        now,
    )
}

async fn others(
    admin: &Admin,
    event: &EventRow,
    now: Timestamp,
) -> Result<Vec<EventLine>, Problem> {
    if event.clerk_id.is_none() {
        return Ok(Vec::new());
    }
    let filter = EventFilter {
        clerk_id: event.clerk_id.clone(),
        ..EventFilter::default()
    };
    let mut rows = admin.newest(&filter, OTHERS).await?;
    rows.retain(|other| other.event_id != event.event_id);
    Ok(EventLine::all(&rows, now))
}

fn notice_of_one(event: &EventRow, last: &Asked) -> Option<(&'static str, &'static str)> {
    let was_tried = last.attempts.is_some_and(|before| event.attempts > before);
    Some(match (last.done.as_deref()?, event.status) {
        ("replayed", Status::Applied) => ("good", "Replayed, and applied."),
        ("replayed", Status::Stale) => (
            "good",
            "Replayed. It changed nothing: a newer version was there.",
        ),
        ("replayed", Status::Failed) if was_tried => (
            "bad",
            "Replayed, and failed again. The reason below is the new one.",
        ),
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
    })
}

/// What a replay would do now.
struct Preview {
    text: String,
    /// Whether it is certain to fail again.
    fails: bool,
}

async fn preview(store: &Store, id: EventId, error_code: &str) -> Result<Preview, StoreError> {
    let preview = replay::preview(store, &Selection::Ids(vec![id])).await?;
    let would = preview.would.unwrap_or_default();
    let code = would.fail.keys().next();
    let text = match (would.apply, would.be_stale, code) {
        (1.., _, _) => "it would be applied.".into(),
        (_, 1.., _) => "it would change nothing, since a newer version is there.".into(),
        (_, _, Some(code)) if code == error_code => {
            "it would fail again, for the same reason.".into()
        }
        (_, _, Some(code)) => {
            let meaning = error_code::help_for(code).meaning.replace('`', "");
            format!("it would fail again, with {code}. {meaning}")
        }
        _ => "it is not failed any more.".into(),
    };
    let fails = code.is_some();
    Ok(Preview { text, fails })
}

/// The known times of an event, in the order in which they should be.
fn moments(event: &EventRow, now: Timestamp) -> Vec<Moment> {
    let attempts = event.attempts.unsigned_abs();
    let note = (attempts > 1).then(|| format!("at attempt number {}", format::number(attempts)));
    let processed = match event.status {
        Status::Applied => "Applied: it changed the row",
        Status::Stale => "Stale: a newer version was there",
        Status::Failed => "Failed",
        Status::Discarded => "Tried the last time, and discarded since",
    };
    [
        ("plain", "Occurred at Clerk", event.occurred_at, None),
        ("plain", "Sent by Svix", Some(event.sent_at), None),
        (
            "plain",
            "Received and queued",
            Some(event.received_at),
            None,
        ),
        (
            event.status.as_str(),
            processed,
            Some(event.processed_at),
            note,
        ),
    ]
    .into_iter()
    .filter_map(|(class, what, time, note)| Some((class, what, When::at(time?, now), note)))
    .collect()
}

/// `POST /events/{id}/{action}`
pub async fn act(
    form: Posted,
    path: Path<(String, Action)>,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let (id, action) = path.into_inner();
    let (id, event) = admin.event(&id).await?;
    let address = format!("/events/{id}");
    let selection = Selection::Ids(vec![id]);
    let count = action.run(&admin, &selection, form.actor()).await?;
    let done = if count == 1 { action.done() } else { "late" };
    let attempts = match action {
        Action::Replay => format!("&attempts={}", event.attempts),
        Action::Discard => String::new(),
    };
    Ok(redirect(&format!("{address}?done={done}{attempts}")))
}

/// `GET /events/{id}/payload`: the body as it came.
pub async fn payload(
    _: Session,
    id: Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let (id, event) = admin.event(&id).await?;
    let missing = || Problem::new(Code::NotFound, "the payload of this event is not kept");
    let body = event.payload.ok_or_else(missing)?;
    Ok(saved(id.as_str(), body))
}
