//! `/api/users`: the list of users, with every order that an index has.

use actix_web::HttpRequest;
use actix_web::web::Json;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::auth::Reader;
use super::filters::{self, UserQuery};
use crate::clerk::tables;
use crate::http::problem::Problem;
use crate::store::TableRow;

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
