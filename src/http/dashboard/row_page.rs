//! `/organizations/{id}` and so on: one row of any table but users with everything that is known,
//! the rows that name it, and its history.

use std::num::NonZeroU32;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde_json::value::RawValue;

use super::history_steps::Step;
use super::names::{Names, name_of};
use super::page::{DashboardError, Frame, page, redirect, saved};
use super::page_query::PageQuery;
use super::payload::{self, Order, Payload};
use super::recent_changes::RecentChanges;
use super::row_table::{Cell, Related, flags, label};
use super::session::Session;
use super::view_models::{Badge, Pages, RowLink, When};
use crate::clerk::{ClerkId, Kind, Table, Timestamp, api_object};
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;
use crate::http::problem::{Code, Problem};
use crate::store::{EventFilter, TableRow};

#[derive(Template)]
#[template(path = "row.html")]
struct RowPage {
    frame: Frame,
    table: &'static Table,
    heading: String,
    link: RowLink,
    title: String,
    flags: Vec<Badge>,
    is_erased: bool,
    related: Vec<Related>,
    facts: Vec<(String, Cell)>,
    times: Vec<(String, When)>,
    event_id: Option<String>,
    /// Whether the profile came from no event, but from Clerk's list.
    is_reading: bool,
    objects: Vec<(String, Payload)>,
    data: Option<Payload>,
    /// `None` if the change feed is off.
    changes: Option<RecentChanges>,
    history: Vec<Step>,
    pages: Pages,
}

fn missing(table: &Table) -> Problem {
    let singular = table.singular;
    Problem::new(
        Code::NotFound,
        format!(
            "no {singular} has this ID here; an event about this {singular} may be in the queue, or may have failed"
        ),
    )
}

/// The columns of a table that hold JSON, each of which can be saved.
pub fn json_columns(table: &Table) -> impl Iterator<Item = &'static str> {
    let own = table.columns.iter().filter(|column| column.kind.is_json());
    own.map(|column| column.name).chain(["data"])
}

/// `GET /organizations/{id}/{column}`, and so of each table: a JSON column as it is kept.
pub async fn save(
    table: &'static Table,
    _: Session,
    path: Path<(String, String)>,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let (id, column) = path.into_inner();
    let id = ClerkId::new(&id).ok_or_else(|| missing(table))?;
    let row = admin.store.row(table, &id).await?;
    let row = row.ok_or_else(|| missing(table))?;
    let json = match &*column {
        "data" => row.data.as_deref().map(RawValue::get),
        _ => row.json(&column),
    };
    let is_empty = || Problem::new(Code::NotFound, "this column of the row is empty");
    Ok(saved(&column, json.ok_or_else(is_empty)?.to_owned()))
}

/// Where the events about an ID are that has no row: its first event may have failed, and its events
/// say why. Returns `None` if there is none.
///
/// # Errors
///
/// If the database does not answer.
pub async fn events_about(admin: &Admin, id: &ClerkId) -> Result<Option<String>, DashboardError> {
    let filter = EventFilter {
        clerk_id: Some(id.to_string()),
        ..EventFilter::default()
    };
    let events = admin.newest(&filter, NonZeroU32::MIN).await?;
    let list = PageQuery::of([("clerk_id", id.as_str())]);
    Ok((!events.is_empty()).then(|| list.on("/events")))
}

/// `GET /organizations/{id}`, and so of each table.
pub async fn show(
    table: &'static Table,
    session: Session,
    request: HttpRequest,
    id: Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let now = now();
    let asked = PageQuery::read(request.query_string())?;
    let query = asked.without(&["names"]);
    let (_, page_of_history) = query.events(now)?;
    let id = ClerkId::new(&id).ok_or_else(|| missing(table))?;
    let store = &admin.store;
    let Some(row) = store.row(table, &id).await? else {
        let events = events_about(&admin, &id).await?;
        return Ok(redirect(&events.ok_or_else(|| missing(table))?));
    };
    let listing = store.history(table, &id, &page_of_history).await?;
    let changes = RecentChanges::of(store, table, &id, now).await?;
    let related = Related::of(store, table, id.as_str(), now).await?;
    let names = Names::of_rows(store, std::slice::from_ref(&row)).await?;
    let link = RowLink::of(table, &row.clerk_id, name_of(&row));
    let order = order(&asked, &query, &link.path);
    let shown = |label: String, column: &str, json: &str| {
        payload::show(label, json, format!("{}/{column}", link.path), &order, now)
    };
    let pages = Pages::of(&page_of_history, listing.next, &query, &link.path);
    let heading = format::capitalized(table.plural);
    let title = link
        .name
        .clone()
        .unwrap_or_else(|| format::capitalized(table.singular));
    Ok(page(&RowPage {
        frame: Frame::of(
            &session,
            table.plural,
            format!("{title} · {} · {heading}", link.id),
            !pages.is_later,
        ),
        flags: flags(&row),
        is_erased: row.erased_at.is_some(),
        related,
        facts: facts(&row, &names, now),
        times: times(&row, now),
        event_id: row
            .event_id
            .clone()
            .filter(|id| !api_object::is_reading(id)),
        is_reading: row.event_id.as_deref().is_some_and(api_object::is_reading),
        objects: objects(&row, shown),
        data: row
            .data
            .as_deref()
            .map(|data| shown("As Clerk sent it".into(), "data", data.get())),
        changes,
        history: Step::all(&listing.rows, now),
        table,
        heading,
        title,
        link,
        pages,
    }))
}

/// How the names of an object are ordered on the page at this path.
pub fn order(asked: &PageQuery, query: &PageQuery, path: &str) -> Order {
    let is_sorted = asked.is("names", "sorted");
    let other = query.with("names", if is_sorted { "" } else { "sorted" });
    Order {
        is_sorted,
        other: format!("{}#data", other.on(path)),
    }
}

fn facts(row: &TableRow, names: &Names, now: Timestamp) -> Vec<(String, Cell)> {
    let columns = row.table.columns.iter();
    let shown = columns.filter(|column| !column.kind.is_json() && column.kind != Kind::Time);
    shown
        .map(|column| (label(column.name), Cell::of(row, column, names, now)))
        .collect()
}

fn times(row: &TableRow, now: Timestamp) -> Vec<(String, When)> {
    let columns = row.table.columns.iter();
    let own = columns.filter(|column| column.kind == Kind::Time);
    let own = own.map(|column| (label(column.name), row.time(column.name)));
    let shared = [
        ("Updated", row.updated_at),
        ("Deleted", row.deleted_at),
        ("Erased", row.erased_at),
        ("Written here", Some(row.synced_at)),
    ];
    let shared = shared.map(|(name, time)| (name.to_owned(), time));
    own.chain(shared)
        .filter_map(|(name, time)| Some((name, When::at(time?, now))))
        .collect()
}

fn objects(
    row: &TableRow,
    shown: impl Fn(String, &str, &str) -> Payload,
) -> Vec<(String, Payload)> {
    let columns = row.table.columns.iter();
    let columns = columns.filter(|column| column.kind.is_json());
    let filled = columns.filter_map(|column| {
        let json = row.json(column.name)?;
        let is_empty = matches!(json, "{}" | "[]");
        (!is_empty).then(|| {
            let mut shown = shown(label(column.name), column.name, json);
            // The link above the whole object sorts these too.
            shown.head.order = None;
            (label(column.name), shown)
        })
    });
    filled.collect()
}
