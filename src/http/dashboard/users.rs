//! `/users/{id}`: one user with everything that is known, and the history.

use std::num::NonZeroU32;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde_json::value::RawValue;

use super::audit::ActLine;
use super::history_steps::Step;
use super::page::{DashboardError, Frame, page, redirect, saved};
use super::page_query::PageQuery;
use super::payload::{self, Payload};
use super::recent_changes::RecentChanges;
use super::row_page::{events_about, order};
use super::row_table::{Cell, Related};
use super::session::Session;
use super::view_models::{Pages, Person, When};
use crate::clerk::{ClerkId, Timestamp, api_object, tables};
use crate::clock::now;
use crate::http::admin::Admin;
use crate::http::problem::{Code, Problem};
use crate::store::{Action, AuditFilter, Page, TableRow};

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
    /// `None` if the change feed is off.
    changes: Option<RecentChanges>,
    history: Vec<Step>,
    related: Vec<Related>,
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
        let events = events_about(&admin, &id).await?;
        return Ok(redirect(&events.ok_or_else(missing)?));
    };
    let listing = admin
        .store
        .history(&tables::users::TABLE, &id, &page_of_history)
        .await?;
    let erasure = erasure(&admin, &user, now).await;
    let person = Person::of(&user, now);
    let path = format!("/users/{}", person.path);
    let order = order(&asked, &query, &path);
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
        changes: RecentChanges::of(&admin.store, &tables::users::TABLE, &id, now).await?,
        history: Step::all(&listing.rows, now),
        related: Related::of(&admin.store, &tables::users::TABLE, id.as_str(), now).await?,
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
