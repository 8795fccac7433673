//! `/organizations` and so on: the rows of any table but users, with a form of its filters, made from
//! the list of tables.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::choices::{self, Choice};
use super::field_faults::FieldFaults;
use super::names::Names;
use super::page::{DashboardError, Frame, page_of};
use super::page_query::PageQuery;
use super::row_table::{Cell, RowTable, label};
use super::session::Session;
use super::view_models::Pages;
use crate::clerk::{Column, Table, tables};
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;

/// A field of the form.
struct Field {
    name: &'static str,
    label: String,
    value: String,
    placeholder: String,
    /// The options, if it is a list of such.
    choices: Vec<Choice>,
}

#[derive(Template)]
#[template(path = "row_list.html")]
struct RowListPage {
    frame: Frame,
    table: &'static Table,
    heading: String,
    /// What a search looks at; empty if there is none.
    searched: String,
    query: PageQuery,
    faults: FieldFaults,
    /// What is wrong with the rest of the address.
    other_faults: Vec<String>,
    fields: Vec<Field>,
    rows: RowTable,
    pages: Pages,
}

impl RowListPage {
    /// The address of this list as a file.
    fn export(&self, format: &str) -> String {
        let all = self.query.without(&["cursor", "limit"]);
        let path = format!("/{}/export", self.table.plural);
        all.with("format", format).on(&path)
    }

    /// The type of the event that makes a row.
    fn first_event(&self) -> &'static str {
        self.table.events.first().map_or("", |kind| kind.name)
    }
}

/// `GET /organizations`, and so of each table.
pub async fn list(
    table: &'static Table,
    session: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let query = PageQuery::read(request.query_string())?;
    let faults = query.faults_of_rows(table);
    let heading = format::capitalized(table.plural);
    let fields = fields(table, &query);
    let names: Vec<_> = ["q"]
        .into_iter()
        .chain(fields.iter().map(|field| field.name))
        .collect();
    let mut page = RowListPage {
        frame: Frame::of(&session, table.plural, query.title(&heading), false),
        table,
        heading,
        searched: searched(table),
        fields,
        rows: RowTable::of(table, &[], &Names::default(), None, now()),
        pages: Pages::default(),
        other_faults: faults.others(&names),
        faults,
        query,
    };
    let status = if page.faults.is_empty() {
        page.read(&admin).await?;
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    Ok(page_of(status, &page))
}

impl RowListPage {
    /// Adds the rows of a filter without faults.
    async fn read(&mut self, admin: &Admin) -> Result<(), DashboardError> {
        let (now, table) = (now(), self.table);
        let (filter, page) = self.query.rows(table)?;
        let listing = admin.store.rows(table, &filter, &page, false).await?;
        let names = Names::of_rows(&admin.store, &listing.rows).await?;
        self.rows = RowTable::of(table, &listing.rows, &names, None, now);
        let path = format!("/{}", table.plural);
        self.pages = Pages::of(&page, listing.next, &self.query, &path);
        self.frame.is_live = !self.pages.is_later;
        Ok(())
    }
}

/// What the search looks at, for people.
fn searched(table: &Table) -> String {
    let names: Vec<_> = table.searched().map(|column| column.name).collect();
    if names.is_empty() {
        return String::new();
    }
    format::capitalized(&format!("{} or Clerk ID", names.join(", ")))
}

fn fields(table: &'static Table, query: &PageQuery) -> Vec<Field> {
    let own = table.filtered().map(|column| Field {
        name: column.name,
        label: label(column.name),
        value: query.get(column.name).to_owned(),
        placeholder: placeholder(column),
        choices: choices::known_values(column, query.get(column.name)),
    });
    let which = |name, label: &str, choices| Field {
        name,
        label: label.into(),
        value: String::new(),
        placeholder: String::new(),
        choices,
    };
    let expired = table.expiry().map(|_| {
        let choices = choices::which(query.get("expired"), "expired");
        which("expired", "Expired", choices)
    });
    let deleted = choices::which(query.get("deleted"), "deleted");
    own.chain(expired)
        .chain([which("deleted", "Deleted", deleted)])
        .collect()
}

fn placeholder(column: &Column) -> String {
    let of = column.id_of.and_then(tables::named);
    of.map_or(String::new(), |table| format!("{}_…", table.id_prefix))
}
