//! `/events`: the record of every event.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::error::DashboardError;
use super::frame::Frame;
use super::page_query::PageQuery;
use super::response::page;
use super::session::Session;
use super::view_models::{EventLine, Pages};
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;
use crate::store::Status;

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    frame: Frame,
    query: PageQuery,
    statuses: [&'static str; 4],
    /// Types that the filter offers; another one can be typed into the address.
    types: [&'static str; 3],
    events: Vec<EventLine>,
    notice: Option<String>,
    /// The filter as a query string for the bulk actions, if the events are failed ones.
    bulk_query: Option<String>,
    pages: Pages,
}

/// `GET /events`
pub async fn list(
    session: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let now = now();
    let query = PageQuery::read(request.query_string())?;
    let notice = notice(&query);
    let mut query = query.without(&["done", "number"]);
    let (filter, page_of_list) = query.events(now)?;
    // A code alone means failed events; the form says so.
    if let Some(status) = filter.status {
        query = query.with("status", status.as_str());
    }
    let listing = admin.store.events(&filter, &page_of_list).await?;
    let can_act = filter.status == Some(Status::Failed) && !listing.rows.is_empty();
    let set = query.without(&["cursor", "status", "limit"]);
    let pages = Pages::of(&page_of_list, listing.next, &query, "/events");
    Ok(page(&EventsPage {
        frame: Frame::of(&session, "events", "Events", !pages.is_later),
        statuses: Status::ALL.map(Status::as_str),
        types: ["user.created", "user.updated", "user.deleted"],
        events: EventLine::all(&listing.rows, now),
        notice,
        bulk_query: can_act.then(|| set.encoded()),
        pages,
        query,
    }))
}

/// What a bulk action has done a moment ago, as its redirect says.
fn notice(query: &PageQuery) -> Option<String> {
    let count = format::count(query.get("number").parse().ok()?, "event");
    match query.get("done") {
        "replayed" => Some(format!(
            "{count} put back onto the queue. Those that are applied now leave this list by themselves."
        )),
        "discarded" => Some(format!("{count} discarded.")),
        _ => None,
    }
}
