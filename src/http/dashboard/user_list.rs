//! `/users`: the users table, with its search.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::choices::{self, Choice};
use super::field_faults::FieldFaults;
use super::page::{DashboardError, Frame, page_of};
use super::page_query::PageQuery;
use super::session::Session;
use super::view_models::{Pages, Person};
use crate::clock::now;
use crate::http::admin::Admin;

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    query: PageQuery,
    faults: FieldFaults,
    /// What is wrong with the rest of the address.
    other_faults: Vec<String>,
    deleted: Vec<Choice>,
    users: Vec<Person>,
    pages: Pages,
}

impl UsersPage {
    /// The address of this list as a file.
    fn export(&self, format: &str) -> String {
        let all = self.query.without(&["cursor", "limit"]);
        all.with("format", format).on("/users/export")
    }
}

/// `GET /users`
pub async fn list(
    session: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let query = PageQuery::read(request.query_string())?;
    let faults = query.faults_of_users();
    let mut page = UsersPage {
        frame: Frame::of(&session, "users", query.title("Users"), false),
        deleted: choices::deleted(query.get("deleted")),
        users: Vec::new(),
        pages: Pages::default(),
        other_faults: faults.others(&["q", "deleted"]),
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

impl UsersPage {
    /// Adds the users of a search without faults.
    async fn read(&mut self, admin: &Admin) -> Result<(), DashboardError> {
        let (now, (filter, page)) = (now(), self.query.users()?);
        let listing = admin.store.users_without_data(&filter, &page).await?;
        self.users = listing
            .rows
            .iter()
            .map(|user| Person::of(user, now))
            .collect();
        self.pages = Pages::of(&page, listing.next, &self.query, "/users");
        self.frame.is_live = !self.pages.is_later;
        Ok(())
    }
}
