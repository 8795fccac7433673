//! `/users/{id}`: one user with everything that is known, and the history.

use std::num::NonZeroU32;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde_json::value::RawValue;

use super::audit::ActLine;
use super::change::{self, ColumnChange};
use super::page::{DashboardError, Frame, page, redirect, saved};
use super::page_query::PageQuery;
use super::payload::{self, Order, Payload};
use super::session::Session;
use super::view_models::{EventLine, Pages, Person, When};
use crate::clerk::{ClerkId, Timestamp, api_object};
use crate::clock::now;
use crate::http::admin::Admin;
use crate::http::problem::{Code, Problem};
use crate::store::{Action, AuditFilter, EventFilter, HistoryRow, Page, Status, TableRow};

/// An event of a user, and what it did.
struct Step {
    event: EventLine,
    why: String,
    /// The part of the reason after the ID that it names.
    why_then: String,
    /// Whether the reason is a sentence, and does not start with a code.
    is_sentence: bool,
    /// The event whose newer version was there.
    behind: Option<String>,
    /// What it changed, as far as that is known.
    changes: Vec<ColumnChange>,
    /// How many more columns it changed.
    more_changes: usize,
    /// Whether it is known to have changed no column of interest.
    is_same: bool,
}

/// Most columns that a line of the history shows; the page of the event has all.
const CHANGES_MAX: usize = 6;

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    frame: Frame,
    id: String,
    person: Person,
    is_erased: bool,
    /// The last erasure by a person.
    erasure: Option<ActLine>,
    profile: Vec<(&'static str, String)>,
    times: Vec<(&'static str, When)>,
    event_id: Option<String>,
    /// Whether the profile came from no event, but from Clerk's list.
    is_reading: bool,
    metadata: Vec<(&'static str, Payload)>,
    data: Option<Payload>,
    history: Vec<Step>,
    pages: Pages,
}

fn missing() -> Problem {
    Problem::new(
        Code::NotFound,
        "no user has this ID here; an event of this user may be in the queue, or may have failed",
    )
}

/// `GET /users/{id}/{column}`: a JSON column as it is kept.
pub async fn save(
    _: Session,
    path: web::Path<(String, String)>,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let (id, column) = path.into_inner();
    let id = ClerkId::new(&id).ok_or_else(missing)?;
    let user = admin.store.user(&id).await?.ok_or_else(missing)?;
    let json = match &*column {
        "data" => user.data.as_deref().map(RawValue::get),
        _ => user.json(&column),
    };
    let is_empty = || Problem::new(Code::NotFound, "this column of the user is empty");
    Ok(saved(&column, json.ok_or_else(is_empty)?.to_owned()))
}

/// `GET /users/{id}`
pub async fn show(
    session: Session,
    request: HttpRequest,
    id: web::Path<String>,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let now = now();
    let asked = PageQuery::read(request.query_string())?;
    let query = asked.without(&["names"]);
    let (_, page_of_history) = query.events(now)?;
    let id = ClerkId::new(&id).ok_or_else(missing)?;
    let Some(user) = admin.store.user(&id).await? else {
        // Its first event may have failed: there is no row, and its events say why.
        let of_user = EventFilter {
            clerk_id: Some(id.to_string()),
            ..EventFilter::default()
        };
        let events = admin.newest(&of_user, NonZeroU32::MIN).await?;
        if events.is_empty() {
            return Err(missing().into());
        }
        let events = PageQuery::default().with("clerk_id", id.as_str());
        return Ok(redirect(&events.on("/events")));
    };
    let listing = admin.store.history(&id, &page_of_history).await?;
    let erasure = erasure(&admin, &user, now).await;
    let person = Person::of(&user, now);
    let path = format!("/users/{}", person.path);
    let is_sorted = asked.is("names", "sorted");
    let other = query.with("names", if is_sorted { "" } else { "sorted" });
    let order = Order {
        is_sorted,
        other: format!("{}#data", other.on(&path)),
    };
    let shown = |label, column: &str, json: &str| {
        payload::show(label, json, format!("{path}/{column}"), &order, now)
    };
    let pages = Pages::of(&page_of_history, listing.next, &query, &path);
    Ok(page(&UserPage {
        frame: Frame::of(
            &session,
            "users",
            format!("{} · {} · Users", person.name, person.id),
            !pages.is_later,
        ),
        is_erased: user.erased_at.is_some(),
        erasure,
        profile: profile(&user),
        times: times(&user, now),
        event_id: user
            .event_id
            .clone()
            .filter(|id| !api_object::is_reading(id)),
        is_reading: user.event_id.as_deref().is_some_and(api_object::is_reading),
        metadata: metadata(&user, shown),
        data: user
            .data
            .as_deref()
            .map(|data| shown("As Clerk sent it", "data", data.get())),
        history: listing.rows.iter().map(|row| step(row, now)).collect(),
        pages,
        id: user.clerk_id,
        person,
    }))
}

/// The last erasure of the user by a person. Returns `None` too if the role may not read the audit.
async fn erasure(admin: &Admin, user: &TableRow, now: Timestamp) -> Option<ActLine> {
    let filter = AuditFilter {
        action: Some(Action::Erased),
        clerk_id: Some(user.clerk_id.clone()),
        ..AuditFilter::default()
    };
    let newest = Page {
        limit: NonZeroU32::MIN,
        after: None,
    };
    let acts = admin.store.audit(&filter, &newest).await.ok()?.rows;
    acts.first().map(|act| ActLine::of(act, now))
}

fn step(row: &HistoryRow, now: Timestamp) -> Step {
    let behind = row
        .event
        .superseded_by
        .as_deref()
        .filter(|by| *by != row.event.event_id);
    // The ID in the sentence becomes a link.
    let parts = behind.and_then(|by| row.why.split_once(by));
    let (why, why_then) = parts.unwrap_or((&row.why, ""));
    let changes = change::columns(&row.differences, now);
    Step {
        event: EventLine::of(&row.event, now),
        why: why.to_owned(),
        why_then: why_then.to_owned(),
        is_sentence: row.event.status != Status::Failed,
        behind: behind.filter(|_| parts.is_some()).map(str::to_owned),
        more_changes: changes.len().saturating_sub(CHANGES_MAX),
        is_same: row.changed.as_ref().is_some_and(Vec::is_empty),
        changes: changes.into_iter().take(CHANGES_MAX).collect(),
    }
}

/// The columns of the profile, with their names for people.
const PROFILE: [(&str, &str); 12] = [
    ("E-mail", "email"),
    ("Phone", "phone"),
    ("Username", "username"),
    ("First name", "first_name"),
    ("Last name", "last_name"),
    ("External ID", "external_id"),
    ("Locale", "locale"),
    ("Picture", "image_url"),
    ("Banned", "banned"),
    ("Locked", "locked"),
    ("Two factors", "two_factor_enabled"),
    ("Password", "password_enabled"),
];

fn profile(user: &TableRow) -> Vec<(&'static str, String)> {
    let value = |column: &str| {
        let verified = match user.boolean(&format!("{column}_verified")) {
            Some(true) => " (verified)",
            Some(false) => " (not verified)",
            None => "",
        };
        match (user.text(column), user.boolean(column)) {
            (Some(text), _) => format!("{text}{verified}"),
            (_, Some(true)) => "yes".into(),
            (_, Some(false)) => "no".into(),
            _ => "—".into(),
        }
    };
    let columns = PROFILE.map(|(name, column)| (name, value(column)));
    [("Clerk ID", user.clerk_id.clone())]
        .into_iter()
        .chain(columns)
        .collect()
}

fn times(user: &TableRow, now: Timestamp) -> Vec<(&'static str, When)> {
    [
        ("Created", user.time("created_at")),
        ("Updated", user.updated_at),
        ("Deleted", user.deleted_at),
        ("Erased", user.erased_at),
        ("Last sign-in", user.time("last_sign_in_at")),
        ("Last active", user.time("last_active_at")),
        ("Terms accepted", user.time("legal_accepted_at")),
        ("Written here", Some(user.synced_at)),
    ]
    .into_iter()
    .filter_map(|(name, time)| Some((name, When::at(time?, now))))
    .collect()
}

fn metadata(
    user: &TableRow,
    shown: impl Fn(&'static str, &str, &str) -> Payload,
) -> Vec<(&'static str, Payload)> {
    [
        ("Public metadata", "public_metadata"),
        ("Private metadata", "private_metadata"),
        ("Unsafe metadata", "unsafe_metadata"),
    ]
    .into_iter()
    .filter_map(|(name, column)| {
        let json = user.json(column).filter(|json| *json != "{}")?;
        let mut shown = shown(name, column, json);
        // The link above the whole object sorts these too.
        shown.head.order = None;
        Some((name, shown))
    })
    .collect()
}
