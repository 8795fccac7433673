//! Why a request to the dashboard gets no page: the status, and the page that says so.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use askama::Template;

use super::frame::Frame;
use super::response::{page, page_of, redirect};
use crate::http::problem::Problem;
use crate::store::StoreError;
use crate::url::encode;

/// Why there is no page.
#[derive(Debug)]
pub enum DashboardError {
    /// The visitor is not logged in; where to go afterwards.
    LogIn {
        next: String,
    },
    /// A link on another site led here, so the browser did not send the cookie: it must ask once more by itself.
    AskAgain {
        path: String,
    },
    /// There is no admin token.
    Disabled,
    /// The form is not one of this session.
    Forged,
    /// There were several logins with a wrong token a moment ago.
    TooManyLogins,
    /// The request is wrong, and what would be right.
    Invalid(String),
    /// There is no such thing, and why it may be missing.
    NotFound(&'static str),
    WrongMethod,
    /// A server does not answer, and what was done.
    Unavailable(String),
}

impl From<StoreError> for DashboardError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(format!("{error}."))
    }
}

impl From<Problem> for DashboardError {
    fn from(problem: Problem) -> Self {
        Self::Invalid(problem.detail().to_owned())
    }
}

impl fmt::Display for DashboardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

impl DashboardError {
    /// Status, heading and text.
    fn row(&self) -> (u16, &'static str, &str) {
        match self {
            Self::LogIn { .. } => (303, "Log in first", ""),
            Self::AskAgain { .. } => (200, "Log in first", ""),
            Self::Disabled => (403, "The dashboard is turned off", ""),
            Self::Forged => (
                403,
                "That was not done",
                "The form did not come from this page, or its session is over. Go back, reload the page and send it again.",
            ),
            Self::TooManyLogins => (
                429,
                "Too many attempts",
                "Wait a few seconds, then log in again.",
            ),
            Self::Invalid(text) => (400, "The request cannot be read", text),
            Self::NotFound(text) => (404, "There is nothing here", text),
            Self::WrongMethod => (
                405,
                "There is nothing here",
                "This address takes another method.",
            ),
            Self::Unavailable(text) => (503, "Not available now", text),
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    heading: &'static str,
    text: &'a str,
    is_disabled: bool,
}

#[derive(Template)]
#[template(path = "ask_again.html")]
struct AskAgainPage<'a> {
    path: &'a str,
}

impl ResponseError for DashboardError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.row().0).expect("the table holds valid statuses")
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::LogIn { next } => return redirect(&login_path(next)),
            Self::AskAgain { path } => return page(&AskAgainPage { path }),
            _ => {}
        }
        let (status, heading, text) = self.row();
        let page = ErrorPage {
            frame: Frame::outside("", heading),
            heading,
            text,
            is_disabled: matches!(self, Self::Disabled),
        };
        let mut response = page_of(self.status_code(), &page);
        if matches!(status, 429 | 503) {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// The login page, which goes on to another page afterwards.
fn login_path(next: &str) -> String {
    match next {
        "/" => "/login".into(),
        _ => format!("/login?next={}", encode(next)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_the_query_string() {
        assert_eq!(
            login_path("/events?a=b&c=é"),
            "/login?next=%2Fevents%3Fa%3Db%26c%3D%C3%A9"
        );
        assert_eq!(login_path("/"), "/login");
    }
}
