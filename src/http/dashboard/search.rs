//! `/search`: one box for whatever a person has at hand: an ID, an address, a name, an error code.

use std::num::NonZeroU32;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::choices::{error_codes, event_types};
use super::field_faults::FieldFaults;
use super::names::Names;
use super::page::{DashboardError, Frame, page_of, redirect};
use super::page_query::PageQuery;
use super::row_page::events_about;
use super::row_table::{Cell, RowTable};
use super::session::Session;
use super::view_models::{EventLine, Person, RowLink};
use crate::clerk::{ClerkId, EventId, Table, tables};
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;
use crate::store::{Page, Store, StoreError, TableFilter, UserFilter};

/// Rows of each kind that the page shows.
const SHOWN: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    frame: Frame,
    q: String,
    faults: FieldFaults,
    found: Found,
    /// What the search looks at in tables other than users.
    searched: Vec<(String, String)>,
}

/// What was found, by kind.
#[derive(Default)]
struct Found {
    users: Vec<Person>,
    /// Where all users who match are.
    all_users: String,
    /// Rows of the other tables.
    rows: Vec<FoundRows>,
    events: Vec<EventLine>,
    /// Lists of events, each with its address.
    codes: Vec<(String, String)>,
    types: Vec<(String, String)>,
}

/// Rows of a table.
struct FoundRows {
    plural: &'static str,
    heading: String,
    /// Where all that match are.
    all: String,
    table: RowTable,
}

impl FoundRows {
    /// The rows of each table that is searched.
    async fn all(store: &Store, query: &PageQuery, q: &str) -> Result<Vec<Self>, StoreError> {
        let mut all = Vec::new();
        let filter = TableFilter {
            q: Some(q.to_owned()),
            ..TableFilter::default()
        };
        let page = Page {
            limit: SHOWN,
            after: None,
        };
        for table in searched_tables() {
            let rows = store.rows(table, &filter, &page, false).await?.rows;
            if rows.is_empty() {
                continue;
            }
            let names = Names::of_rows(store, &rows).await?;
            all.push(Self {
                plural: table.plural,
                heading: format::capitalized(table.plural),
                all: query.on(&format!("/{}", table.plural)),
                table: RowTable::of(table, &rows, &names, None, now()),
            });
        }
        Ok(all)
    }
}

fn searched_tables() -> impl Iterator<Item = &'static Table> {
    tables::others().filter(|table| table.searched().next().is_some())
}

/// What the search looks at in each of these tables, for people.
fn searched() -> Vec<(String, String)> {
    let columns = |table: &Table| {
        let names: Vec<_> = table.searched().map(|column| column.name).collect();
        names.join(", ")
    };
    searched_tables()
        .map(|table| (table.one(), columns(table)))
        .collect()
}

/// `GET /search`
pub async fn show(
    session: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let query = PageQuery::read(request.query_string())?;
    let query = PageQuery::of([("q", query.get("q"))]);
    let q = query.get("q").to_owned();
    let faults = query.faults_of_users();
    let mut found = Found::default();
    let mut status = StatusCode::BAD_REQUEST;
    if faults.is_empty() {
        status = StatusCode::OK;
        if let Some(address) = exact(&admin, &q).await? {
            return Ok(redirect(&address));
        }
        if !q.is_empty() {
            found = Box::pin(Found::of(&admin, &query, &q)).await?;
        }
        if let Some(address) = found.only() {
            return Ok(redirect(&address));
        }
    }
    let mut frame = Frame::of(&session, "", "Search", false);
    frame.search.clone_from(&q);
    let page = SearchPage {
        frame,
        q,
        faults,
        found,
        searched: searched(),
    };
    Ok(page_of(status, &page))
}

/// The page of the event or row with this ID. Of an ID without a row the events are shown.
async fn exact(admin: &Admin, q: &str) -> Result<Option<String>, DashboardError> {
    if let Some(id) = EventId::new(q)
        && admin
            .store
            .event(&id)
            .await
            .map_err(DashboardError::from)?
            .is_some()
    {
        return Ok(Some(format!("/events/{id}")));
    }
    let Some(id) = ClerkId::new(q) else {
        return Ok(None);
    };
    for table in tables::ALL {
        if admin.store.row(table, &id).await?.is_some() {
            return Ok(Some(RowLink::of(table, q, None).path));
        }
    }
    events_about(admin, &id).await
}

fn list_of_events(field: &str, value: &str) -> String {
    PageQuery::of([(field, value)]).on("/events")
}

impl Found {
    /// Everything that begins with this text.
    async fn of(admin: &Admin, query: &PageQuery, q: &str) -> Result<Self, StoreError> {
        let (store, now) = (&admin.store, now());
        let filter = UserFilter {
            q: Some(q.to_owned()),
            ..UserFilter::default()
        };
        let page = Page {
            limit: SHOWN,
            after: None,
        };
        let (users, rows, events) = tokio::try_join!(
            store.users_without_data(&filter, &page),
            FoundRows::all(store, query, q),
            store.events_that_begin(q, SHOWN)
        )?;
        let names = Names::of_events(store, &events).await?;
        let failed = admin.status.failed(store).await.ok().flatten();
        let codes = error_codes(failed.as_ref().map(|answer| &answer.value));
        let beginning = q.to_ascii_lowercase();
        let lists = |field: &str, values: Vec<String>| {
            let values = values
                .into_iter()
                .filter(|value| value.to_ascii_lowercase().starts_with(&beginning));
            let list = |value: String| (list_of_events(field, &value), value);
            values.map(list).collect::<Vec<_>>()
        };
        Ok(Self {
            users: users
                .rows
                .iter()
                .map(|user| Person::of(user, now))
                .collect(),
            all_users: query.on("/users"),
            rows,
            events: EventLine::all_named(&events, &names, now),
            codes: lists(
                "error_code",
                codes.into_iter().map(|(code, _)| code).collect(),
            ),
            types: lists("event_type", event_types().map(str::to_owned).collect()),
        })
    }

    fn is_empty(&self) -> bool {
        self.kinds() == 0
    }

    /// How many kinds of things were found.
    fn kinds(&self) -> usize {
        let kinds = [
            self.users.is_empty(),
            self.rows.is_empty(),
            self.events.is_empty(),
            self.codes.is_empty(),
            self.types.is_empty(),
        ];
        kinds.into_iter().filter(|is_empty| !is_empty).count()
    }

    /// Where the only thing or list that was found is.
    fn only(&self) -> Option<String> {
        if self.kinds() != 1 {
            return None;
        }
        match (&*self.events, &*self.codes, &*self.types) {
            ([event], ..) => Some(format!("/events/{}", event.id)),
            (_, [(address, _)], _) | (_, _, [(address, _)]) => Some(address.clone()),
            _ if !self.users.is_empty() => Some(self.all_users.clone()),
            _ => match &*self.rows {
                [found] => Some(found.all.clone()),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_leads_on_if_one_list_or_thing_was_found() {
        let pair = |text: &str| (format!("/events?error_code={text}"), text.to_owned());
        let one = Found {
            codes: vec![pair("unrouted")],
            ..Found::default()
        };
        assert_eq!(one.only().as_deref(), Some("/events?error_code=unrouted"));
        let two = Found {
            codes: vec![pair("unrouted"), pair("unstorable")],
            ..Found::default()
        };
        assert_eq!(two.only(), None);
        let kinds = Found {
            types: vec![pair("user.created")],
            ..one
        };
        assert_eq!((kinds.only(), kinds.is_empty()), (None, false));
        assert!(Found::default().only().is_none() && Found::default().is_empty());
    }
}
