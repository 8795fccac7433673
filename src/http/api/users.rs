//! `/api/users`: the users table, and what each event of a user did.

use actix_web::web::{Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::auth::Reader;
use super::entity_tag;
use super::fields::Rows;
use super::filters::{self, HistoryQuery, OneQuery, UserQuery};
use crate::clerk::{ClerkId, tables};
use crate::http::admin::Admin;
use crate::http::problem::{Code, Problem};
use crate::store::{HistoryRow, TableRow};

/// A page of users.
#[derive(Serialize, ToSchema)]
pub struct Users {
    #[schema(value_type = Vec<User>)]
    pub data: Vec<Box<RawValue>>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// The schema of a row of `users`, made from the table's columns.
pub struct User;

impl PartialSchema for User {
    fn schema() -> RefOr<Schema> {
        TableRow::schema(&tables::users::TABLE).into()
    }
}

impl ToSchema for User {}

/// A page of a user's history.
#[derive(Serialize, ToSchema)]
pub struct History {
    #[schema(value_type = Vec<HistoryRow>)]
    pub data: Vec<Box<RawValue>>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// Users, by their Clerk IDs or another column.
///
/// The newest ID first, or in the order of `sort`. Every filter that is given must hold. Pages neither skip nor repeat a user while rows come.
#[utoipa::path(
    get, path = "/api/users", tag = "users", params(UserQuery),
    responses((status = 200, description = "A page of users", body = Users, links(
        ("user" = (operation_id = "show_user", parameters(("id" = "$response.body#/data/0/clerk_id")))),
        ("history" = (operation_id = "user_history", parameters(("id" = "$response.body#/data/0/clerk_id")))),
        ("next_page" = (operation_id = "list_users", parameters(("cursor" = "$response.body#/next")))),
    )))
)]
pub async fn list_users(reader: Reader, request: HttpRequest) -> Result<Json<Users>, Problem> {
    let (filter, page, sort, fields) = filters::list_of_users(request.query_string())?;
    let fields = fields.for_token(reader.sees_private)?;
    let store = &reader.admin.store;
    let with_data = fields.has("data");
    let listing = store.users_in(sort, &filter, &page, with_data).await?;
    Ok(Json(Users {
        data: fields.pick_all(&listing.rows),
        next: listing.next.map(|cursor| cursor.to_string()),
    }))
}

/// One user.
#[utoipa::path(
    get, path = "/api/users/{id}", tag = "users",
    params(("id" = String, Path, description = "Clerk ID, user_…"), OneQuery),
    responses((status = 200, description = "The user", body = User))
)]
pub async fn show_user(
    reader: Reader,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let fields = filters::one(Rows::User, request.query_string())?;
    let fields = fields.for_token(reader.sees_private)?;
    let row = fields.pick(&find(&clerk_id(&id)?, &reader.admin).await?);
    Ok(entity_tag::answer(&request, &row))
}

/// What each event of a user did and why, the newest first by time of receipt.
///
/// With `EVENT_PAYLOADS=all` it names the fields that changed.
#[utoipa::path(
    get, path = "/api/users/{id}/history", tag = "users",
    params(("id" = String, Path, description = "Clerk ID, user_…"), HistoryQuery),
    responses((status = 200, description = "A page of the history", body = History))
)]
pub async fn user_history(
    reader: Reader,
    id: Path<String>,
    request: HttpRequest,
) -> Result<Json<History>, Problem> {
    let (page, fields) = filters::history(request.query_string())?;
    let fields = fields.for_token(reader.sees_private)?;
    let admin = &reader.admin;
    let id = clerk_id(&id)?;
    let listing = admin.store.history(&id, &page).await?;
    // An event that failed may be all there is of a user.
    if listing.rows.is_empty() {
        find(&id, admin).await?;
    }
    Ok(Json(History {
        data: fields.pick_all(&listing.rows),
        next: listing.next.map(|cursor| cursor.to_string()),
    }))
}

async fn find(id: &ClerkId, admin: &Admin) -> Result<TableRow, Problem> {
    admin.store.user(id).await?.ok_or_else(no_user)
}

fn clerk_id(id: &str) -> Result<ClerkId, Problem> {
    ClerkId::new(id).ok_or_else(no_user)
}

fn no_user() -> Problem {
    Problem::new(Code::NotFound, "no user has this ID")
}
