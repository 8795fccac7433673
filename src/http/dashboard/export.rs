//! `/events/export`, `/users/export` and so on: a whole list as a file, CSV or JSON, page by page from the
//! database. Without payloads, and without whole objects.

use std::collections::HashMap;
use std::num::NonZeroU32;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::value::RawValue;

use super::csv;
use super::page::{DashboardError, guarded};
use super::page_query::PageQuery;
use super::session::Session;
use crate::clerk::{Table, tables};
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;
use crate::http::problem::Problem;
use crate::store::{
    Cursor, EventFilter, EventRow, Page, Store, StoreError, TableFilter, Time, UserFilter,
};

/// Most rows of a file.
const ROWS_MAX: u32 = 100_000;

/// Rows per query.
const ROWS_PER_QUERY: NonZeroU32 = NonZeroU32::new(200).expect("200 is not 0");

/// Which rows.
enum Rows {
    Events(EventFilter),
    Users(UserFilter),
    Table(&'static Table, TableFilter),
}

impl Rows {
    /// The columns, in their order.
    fn columns(&self) -> Vec<&'static str> {
        match self {
            Self::Events(_) => EventRow::FIELDS.into(),
            Self::Users(_) => columns_of(&tables::users::TABLE),
            Self::Table(table, _) => columns_of(table),
        }
    }

    /// A page of them, each with its values as JSON, and where the next page starts.
    async fn read(
        &self,
        store: &Store,
        page: &Page,
        columns: &[&str],
    ) -> Result<(Vec<Vec<String>>, Option<Cursor>), StoreError> {
        let all = |rows: Vec<String>| rows.iter().map(|row| values(row, columns)).collect();
        Ok(match self {
            Self::Events(filter) => {
                let listing = store.events(filter, page).await?;
                (all(listing.rows.iter().map(json).collect()), listing.next)
            }
            Self::Users(filter) => {
                let listing = store.users_without_data(filter, page).await?;
                (all(listing.rows.iter().map(json).collect()), listing.next)
            }
            Self::Table(table, filter) => {
                let listing = store.rows(table, filter, page, false).await?;
                (all(listing.rows.iter().map(json).collect()), listing.next)
            }
        })
    }
}

fn columns_of(table: &'static Table) -> Vec<&'static str> {
    let columns = table.row_columns().map(|column| column.name);
    columns.filter(|name| *name != "data").collect()
}

fn json(row: &impl Serialize) -> String {
    serde_json::to_string(row).expect("a row is written to memory")
}

/// The values of a row's columns, each as JSON: a number keeps all its digits.
fn values(row: &str, columns: &[&str]) -> Vec<String> {
    let fields: HashMap<String, &RawValue> = serde_json::from_str(row).unwrap_or_default();
    let value = |column: &&str| fields.get(*column).map_or("null", |value| value.get());
    columns
        .iter()
        .map(|column| value(column).to_owned())
        .collect()
}

/// The form of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Json,
}

impl Format {
    fn named(name: &str) -> Option<Self> {
        match name {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/json",
        }
    }

    /// The name at the end of a file's name.
    fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    fn start(self, columns: &[&str]) -> String {
        match self {
            Self::Csv => csv::line(columns.iter().copied()),
            Self::Json => "{\"data\":[".into(),
        }
    }

    fn row(self, columns: &[&str], values: &[String], is_first: bool) -> String {
        if self == Self::Csv {
            let values: Vec<_> = values.iter().map(|value| cell(value)).collect();
            return csv::line(values.iter().map(String::as_str));
        }
        let pairs = columns.iter().zip(values);
        let fields: Vec<_> = pairs
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        let comma = if is_first { "" } else { "," };
        format!("{comma}\n{{{}}}", fields.join(","))
    }

    /// The end. If rows are left, it says so and where the next file starts.
    fn end(self, columns: &[&str], rows: u32, next: Option<&Cursor>) -> String {
        match (self, next) {
            (Self::Csv, None) => String::new(),
            (Self::Csv, Some(next)) => {
                let rows = format::number(rows.into());
                let note = format!(
                    "cut off after {rows} rows: for the rest add &cursor={next} to the address"
                );
                let others = columns.iter().skip(1).map(|_| "");
                csv::line([&*note].into_iter().chain(others))
            }
            (Self::Json, next) => {
                let next = json(&next.map(ToString::to_string));
                format!("\n],\"next\":{next}}}\n")
            }
        }
    }
}

/// A value of JSON as a field of CSV.
fn cell(value: &str) -> String {
    match value.as_bytes().first() {
        Some(b'"') => csv::text(&serde_json::from_str::<String>(value).unwrap_or_default()),
        Some(b'n') => String::new(),
        _ => value.to_owned(),
    }
}

/// A file that is being written.
struct Export {
    store: Store,
    rows: Rows,
    columns: Vec<&'static str>,
    format: Format,
    after: Option<Cursor>,
    written: u32,
    rows_max: u32,
    is_done: bool,
}

impl Export {
    /// The next part of the file; `None` at its end.
    async fn part(&mut self) -> Result<Option<Bytes>, StoreError> {
        let left = NonZeroU32::new(self.rows_max - self.written).filter(|_| !self.is_done);
        let Some(left) = left else {
            return Ok(None);
        };
        let page = Page {
            limit: left.min(ROWS_PER_QUERY),
            after: self.after.take(),
        };
        let (rows, next) = self.rows.read(&self.store, &page, &self.columns).await?;
        let mut part = String::new();
        if self.written == 0 {
            part += &self.format.start(&self.columns);
        }
        for row in &rows {
            part += &self.format.row(&self.columns, row, self.written == 0);
            self.written += 1;
        }
        self.is_done = next.is_none() || self.written >= self.rows_max;
        if self.is_done {
            part += &self.format.end(&self.columns, self.written, next.as_ref());
        }
        self.after = next;
        Ok(Some(part.into()))
    }
}

/// `GET /events/export`
pub async fn events(
    _: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let (query, format, rows_max) = asked(&request)?;
    let (filter, page) = query.events(now())?;
    export(
        &admin,
        Rows::Events(filter),
        "events",
        format,
        rows_max,
        page.after,
    )
    .await
}

/// `GET /users/export`
pub async fn users(
    _: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let (query, format, rows_max) = asked(&request)?;
    let (filter, page) = query.users()?;
    export(
        &admin,
        Rows::Users(filter),
        "users",
        format,
        rows_max,
        page.after,
    )
    .await
}

/// `GET /organizations/export`, and so of each table.
pub async fn rows(
    table: &'static Table,
    _: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let (query, format, rows_max) = asked(&request)?;
    let (filter, page) = query.rows(table)?;
    export(
        &admin,
        Rows::Table(table, filter),
        table.plural,
        format,
        rows_max,
        page.after,
    )
    .await
}

/// The filter, the form of the file and its most rows.
fn asked(request: &HttpRequest) -> Result<(PageQuery, Format, u32), DashboardError> {
    let query = PageQuery::read(request.query_string())?;
    let format = Format::named(query.get("format"))
        .ok_or_else(|| DashboardError::invalid("format is wrong: give csv or json"))?;
    let rows_max = match query.get("limit") {
        "" => Some(ROWS_MAX),
        limit => limit
            .parse()
            .ok()
            .filter(|limit| (1..=ROWS_MAX).contains(limit)),
    };
    let rows_max = rows_max
        .ok_or_else(|| DashboardError::invalid("limit is wrong: give a number from 1 to 100000"))?;
    Ok((query.without(&["format", "limit"]), format, rows_max))
}

async fn export(
    admin: &Admin,
    rows: Rows,
    name: &str,
    format: Format,
    rows_max: u32,
    after: Option<Cursor>,
) -> Result<HttpResponse, DashboardError> {
    let mut export = Export {
        store: admin.store.clone(),
        columns: rows.columns(),
        rows,
        format,
        after,
        written: 0,
        rows_max,
        is_done: false,
    };
    // The first part is read before the answer starts: until then an error has a page.
    let first = export.part().await.map_err(Problem::from)?;
    let first = stream::iter(first.map(Ok::<_, StoreError>));
    // After it a database that goes away ends the download: the browser says that it failed.
    let rest = stream::try_unfold(export, |mut export| async {
        Ok(export.part().await?.map(|part| (part, export)))
    });
    let time: String = Time(now()).to_string()[..19].replace(['-', ':'], "");
    let extension = format.extension();
    let disposition = format!("attachment; filename=\"clerk-sync-{name}-{time}Z.{extension}\"");
    Ok(guarded(HttpResponse::Ok())
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, format.content_type()))
        .insert_header((CONTENT_DISPOSITION, disposition))
        .streaming(first.chain(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 3] = ["name", "number", "object"];

    #[test]
    fn a_row_keeps_its_values() {
        let row = r#"{"object":{"n":12345678901234567890123},"name":"=a,\"b\"","number":-7}"#;
        let values = values(row, &COLUMNS);
        assert_eq!(
            Format::Json.row(&COLUMNS, &values, true),
            "\n{\"name\":\"=a,\\\"b\\\"\",\"number\":-7,\"object\":{\"n\":12345678901234567890123}}"
        );
        assert_eq!(
            Format::Csv.row(&COLUMNS, &values, true),
            "\"'=a,\"\"b\"\"\",-7,\"{\"\"n\"\":12345678901234567890123}\"\r\n"
        );
        let absent = super::values("{}", &COLUMNS);
        assert_eq!(Format::Csv.row(&COLUMNS, &absent, true), ",,\r\n");
    }

    #[test]
    fn a_file_that_is_cut_off_says_so_and_where_the_next_one_starts() {
        let next: Cursor = "u.user_1".parse().unwrap();
        assert_eq!(
            Format::Csv.end(&COLUMNS, 1000, Some(&next)),
            "\"cut off after 1,000 rows: for the rest add &cursor=u.user_1 to the address\",,\r\n"
        );
        assert_eq!(Format::Csv.end(&COLUMNS, 7, None), "");
        let json = Format::Json.start(&COLUMNS) + &Format::Json.end(&COLUMNS, 1, Some(&next));
        assert_eq!(json, "{\"data\":[\n],\"next\":\"u.user_1\"}\n");
        assert!(
            Format::Json
                .end(&COLUMNS, 1, None)
                .contains("\"next\":null")
        );
    }
}
