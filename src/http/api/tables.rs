//! The routes of every synced table, made from the list of tables: its rows, one row, and what each
//! event about a row did. Users have a list of their own: see `users.rs`.

use std::time::Duration;

use actix_web::web::Json;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::auth::Reader;
use super::entity_tag;
use super::{filters, table_query, wait};
use crate::clerk::{ClerkId, Column, Table};
use crate::http::problem::{Code, Problem};
use crate::store::{HistoryRow, TableRow};

/// A page of rows.
#[derive(Serialize)]
pub struct RowPage {
    data: Vec<Box<RawValue>>,
    /// The `cursor` of the next page; null on the last one.
    next: Option<String>,
}

/// A page of a row's history.
#[derive(Serialize, ToSchema)]
pub struct History {
    #[schema(value_type = Vec<HistoryRow>)]
    pub data: Vec<Box<RawValue>>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// `GET /api/organizations`, and so of each table.
///
/// # Errors
///
/// If the query is wrong, or the database does not answer.
pub async fn list(
    table: &'static Table,
    reader: Reader,
    request: HttpRequest,
) -> Result<Json<RowPage>, Problem> {
    page(table, None, &reader, &request).await
}

/// `GET /api/organizations/{id}/memberships`, and so of each table whose rows name one of another
/// table in `column`.
///
/// # Errors
///
/// If the query is wrong, if there is neither the row nor one that names it, or if the database does
/// not answer.
pub async fn list_of_row(
    table: &'static Table,
    parent: &'static Table,
    column: &'static Column,
    reader: Reader,
    request: HttpRequest,
    id: String,
) -> Result<Json<RowPage>, Problem> {
    let id = clerk_id(parent, &id)?;
    let found = page(table, Some((column, id.as_str())), &reader, &request).await?;
    // Rows arrive in any order: those that name a row may be there before it.
    if found.data.is_empty() {
        find(parent, &id, &reader).await?;
    }
    Ok(found)
}

async fn page(
    table: &'static Table,
    parent: Option<table_query::Parent<'_>>,
    reader: &Reader,
    request: &HttpRequest,
) -> Result<Json<RowPage>, Problem> {
    let (filter, page, fields) = table_query::list(table, parent, request.query_string())?;
    let fields = fields.for_token(reader.sees_private)?;
    let store = &reader.admin.store;
    let listing = store
        .rows(table, &filter, &page, fields.has("data"))
        .await?;
    Ok(Json(RowPage {
        data: fields.pick_all(&listing.rows),
        next: listing.next.map(|cursor| cursor.to_string()),
    }))
}

/// `GET /api/users/{id}`, and so of each table.
///
/// # Errors
///
/// If there is no such row, also after the wait, if the database does not answer, or if too many
/// wait.
pub async fn show(
    table: &'static Table,
    reader: Reader,
    request: HttpRequest,
    id: String,
) -> Result<HttpResponse, Problem> {
    let (fields, wait) = filters::row(table, request.query_string())?;
    let fields = fields.for_token(reader.sees_private)?;
    let id = clerk_id(table, &id)?;
    let row = if wait.is_zero() {
        find(table, &id, &reader).await?
    } else {
        find_within(wait, table, &id, &reader, &request).await?
    };
    Ok(entity_tag::answer(&request, &fields.pick(&row)))
}

/// `GET /api/users/{id}/history`, and so of each table.
///
/// # Errors
///
/// If there is neither such a row nor an event about it, or the database does not answer.
pub async fn history(
    table: &'static Table,
    reader: Reader,
    request: HttpRequest,
    id: String,
) -> Result<Json<History>, Problem> {
    let (page, fields) = filters::history(request.query_string())?;
    let fields = fields.for_token(reader.sees_private)?;
    let id = clerk_id(table, &id)?;
    let listing = reader.admin.store.history(table, &id, &page).await?;
    // An event that failed may be all there is of a row.
    if listing.rows.is_empty() {
        find(table, &id, &reader).await?;
    }
    Ok(Json(History {
        data: fields.pick_all(&listing.rows),
        next: listing.next.map(|cursor| cursor.to_string()),
    }))
}

async fn find(table: &'static Table, id: &ClerkId, reader: &Reader) -> Result<TableRow, Problem> {
    let row = reader.admin.store.row(table, id).await?;
    row.ok_or_else(|| no_row(table))
}

/// The row, as soon as it exists.
async fn find_within(
    wait: Duration,
    table: &'static Table,
    id: &ClerkId,
    reader: &Reader,
    request: &HttpRequest,
) -> Result<TableRow, Problem> {
    let until = Instant::now() + wait;
    let waiting = reader.admin.store.wait_for_row(table, id, until);
    let found = wait::within_limit(request, &reader.admin.status, waiting).await?;
    let found = match found {
        Some(found) => found?,
        // A row that is there needs no wait.
        None => Some(
            reader
                .admin
                .store
                .row(table, id)
                .await?
                .ok_or_else(wait::too_many)?,
        ),
    };
    found.ok_or_else(|| no_row(table))
}

fn clerk_id(table: &Table, id: &str) -> Result<ClerkId, Problem> {
    ClerkId::new(id).ok_or_else(|| no_row(table))
}

fn no_row(table: &Table) -> Problem {
    Problem::new(Code::NotFound, format!("no {} has this ID", table.singular))
}
