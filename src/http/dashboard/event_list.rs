//! `/events`: the record of every event, with its filter.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::choices::{self, Choice};
use super::field_faults::FieldFaults;
use super::names::Names;
use super::page::{DashboardError, Frame, page_of};
use super::page_query::PageQuery;
use super::session::Session;
use super::view_models::{EventLine, Pages};
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;
use crate::store::Status;

/// The fields of the form.
const FIELDS: [&str; 6] = [
    "status",
    "event_type",
    "clerk_id",
    "error_code",
    "since",
    "until",
];

/// Ages that the form offers for `since`, with their names.
const AGES: [(&str, &str); 3] = [("1h", "hour"), ("24h", "24 hours"), ("7d", "7 days")];

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    frame: Frame,
    query: PageQuery,
    faults: FieldFaults,
    /// What is wrong with the rest of the address.
    other_faults: Vec<String>,
    statuses: Vec<Choice>,
    types: Vec<Choice>,
    codes: Vec<Choice>,
    /// The fields for times, with their names.
    times: [(&'static str, &'static str); 2],
    /// Links to the latest events: each with its name, and whether it is this page.
    ages: Vec<(String, &'static str, bool)>,
    events: Vec<EventLine>,
    /// Whether some can be selected.
    selects: bool,
    /// Class and text.
    notice: Option<(&'static str, String)>,
    /// The filter as a query string for the bulk actions, if the events are failed ones.
    bulk_query: Option<String>,
    /// The filter as a query string, after a question mark.
    from: String,
    pages: Pages,
}

impl EventsPage {
    /// The address of this list as a file.
    fn export(&self, format: &str) -> String {
        let all = self.query.without(&["cursor", "limit"]);
        all.with("format", format).on("/events/export")
    }
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
    let query = query.without(&["done", "number"]);
    let faults = query.faults_of_events(now);
    let failed = admin.status.failed(&admin.store).await.ok().flatten();
    let failed = failed.as_ref().map(|answer| &answer.value);
    let mut page = EventsPage {
        frame: Frame::of(&session, "events", query.title("Events"), false),
        statuses: Vec::new(),
        types: choices::types(query.get("event_type")),
        codes: choices::codes(failed, query.get("error_code")),
        times: [("since", "Since"), ("until", "Until")],
        ages: ages(&query),
        events: Vec::new(),
        selects: false,
        notice,
        bulk_query: None,
        from: format!("?{}", query.without(&["cursor"]).encoded()),
        pages: Pages::default(),
        other_faults: faults.others(&FIELDS),
        faults,
        query,
    };
    let status = if page.faults.is_empty() {
        page.read(&admin, now).await?;
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    page.statuses = choices::statuses(page.query.get("status"));
    Ok(page_of(status, &page))
}

impl EventsPage {
    /// Adds the events of a filter without faults.
    async fn read(&mut self, admin: &Admin, now: Timestamp) -> Result<(), DashboardError> {
        let (filter, page) = self.query.events(now)?;
        // A code alone means failed events; the form says so.
        if let Some(status) = filter.status {
            self.query = self.query.with("status", status.as_str());
        }
        let listing = admin.store.events(&filter, &page).await?;
        let names = Names::of_events(&admin.store, &listing.rows).await?;
        let can_act = filter.status == Some(Status::Failed) && !listing.rows.is_empty();
        let set = self.query.without(&["cursor", "status", "limit"]);
        self.bulk_query = can_act.then(|| set.encoded());
        self.events = EventLine::all_named(&listing.rows, &names, now);
        self.selects = self.events.iter().any(EventLine::is_failed);
        self.pages = Pages::of(&page, listing.next, &self.query, "/events");
        self.frame.is_live = !self.pages.is_later;
        Ok(())
    }
}

fn ages(query: &PageQuery) -> Vec<(String, &'static str, bool)> {
    let others = query.without(&["since", "until", "cursor"]);
    let age = |(age, name)| {
        let is_this = query.is("since", age) && query.get("until").is_empty();
        (others.with("since", age).on("/events"), name, is_this)
    };
    AGES.map(age).into()
}

/// What a bulk action has done a moment ago, as its redirect says.
fn notice(query: &PageQuery) -> Option<(&'static str, String)> {
    if query.is("done", "none") {
        return Some(("warn", "Nothing was done: no event was selected.".into()));
    }
    let count = format::count(query.get("number").parse().ok()?, "event");
    query
        .is("done", "discarded")
        .then(|| ("good", format!("{count} discarded.")))
}
