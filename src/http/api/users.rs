//! `/api/users`: the users table, and what each event of a user did.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::auth::Operator;
use super::parameters::{PageParameters, UserParameters};
use super::{Api, not_found, query};
use crate::clerk::{ClerkId, tables};
use crate::http::problem::Problem;
use crate::store::{HistoryRow, TableRow};

/// A page of users.
#[derive(Serialize, ToSchema)]
pub struct Users {
    #[schema(value_type = Vec<User>)]
    pub users: Vec<TableRow>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// The schema of a row of `users`, made from the table's columns.
pub struct User;

impl PartialSchema for User {
    fn schema() -> RefOr<Schema> {
        RefOr::T(TableRow::schema(&tables::users::TABLE))
    }
}

impl ToSchema for User {}

/// A page of a user's history.
#[derive(Serialize, ToSchema)]
pub struct History {
    pub history: Vec<HistoryRow>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// Users, the newest Clerk ID first.
///
/// Every filter that is given must hold. Pages neither skip nor repeat a user while rows come.
#[utoipa::path(
    get, path = "/api/users", tag = "users", operation_id = "list_users", params(UserParameters),
    security(("admin_token" = [])),
    responses((status = 200, description = "A page of users", body = Users, links(
        ("user" = (operation_id = "show_user", parameters(("id" = "$response.body#/users/0/clerk_id")))),
        ("history" = (operation_id = "user_history", parameters(("id" = "$response.body#/users/0/clerk_id")))),
        ("next_page" = (operation_id = "list_users", parameters(("cursor" = "$response.body#/next")))),
    )))
)]
pub async fn list(
    _: Operator,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let (filter, page) = query::users(request.query_string())?;
    let listing = api.store.users(&filter, &page).await?;
    let next = listing.next.map(|cursor| cursor.to_string());
    Ok(HttpResponse::Ok().json(Users {
        users: listing.rows,
        next,
    }))
}

/// One user.
#[utoipa::path(
    get, path = "/api/users/{id}", tag = "users", operation_id = "show_user",
    params(("id" = String, Path, description = "Clerk ID, user_…")),
    security(("admin_token" = [])),
    responses((status = 200, description = "The user", body = User))
)]
pub async fn show(
    _: Operator,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let user = find(&id, &api).await?;
    Ok(HttpResponse::Ok().json(user))
}

/// What each event of a user did and why, the newest first by time of receipt.
///
/// With `EVENT_PAYLOADS=all` it names the fields that changed.
#[utoipa::path(
    get, path = "/api/users/{id}/history", tag = "users", operation_id = "user_history",
    params(("id" = String, Path, description = "Clerk ID, user_…"), PageParameters),
    security(("admin_token" = [])),
    responses((status = 200, description = "A page of the history", body = History))
)]
pub async fn history(
    _: Operator,
    id: web::Path<String>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let page = query::history(request.query_string())?;
    let listing = api.store.history(&clerk_id(&id)?, &page).await?;
    // An event that failed may be all there is of a user.
    if listing.rows.is_empty() {
        find(&id, &api).await?;
    }
    let next = listing.next.map(|cursor| cursor.to_string());
    Ok(HttpResponse::Ok().json(History {
        history: listing.rows,
        next,
    }))
}

async fn find(id: &str, api: &Api) -> Result<TableRow, Problem> {
    api.store.user(&clerk_id(id)?).await?.ok_or_else(no_user)
}

fn clerk_id(id: &str) -> Result<ClerkId, Problem> {
    ClerkId::new(id).ok_or_else(no_user)
}

fn no_user() -> Problem {
    not_found("no user has this ID")
}
