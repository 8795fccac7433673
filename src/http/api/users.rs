//! `/api/users`: the users table.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::operator::Operator;
use super::{Api, not_found, query};
use crate::clerk::ClerkId;
use crate::http::problem::Problem;

/// `GET /api/users`
pub async fn list(_: Operator, request: HttpRequest, api: web::Data<Api>) -> Result<HttpResponse, Problem> {
    let (filter, page) = query::users(request.query_string())?;
    let listing = api.store.users(&filter, &page).await?;
    let next = listing.next.map(|cursor| cursor.to_string());
    Ok(HttpResponse::Ok().json(json!({"users": listing.rows, "next": next})))
}

/// `GET /api/users/{id}`
pub async fn show(_: Operator, id: web::Path<String>, api: web::Data<Api>) -> Result<HttpResponse, Problem> {
    let no_user = || not_found("no user has this ID");
    let id = ClerkId::new(&id).ok_or_else(no_user)?;
    let user = api.store.user(&id).await?.ok_or_else(no_user)?;
    Ok(HttpResponse::Ok().json(user))
}
