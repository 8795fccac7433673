//! Why a request to the dashboard gets no page: the status, and the page that says so.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use askama::Template;

use super::frame::Frame;
use super::response::{page, page_of, redirect};
use super::encode::encode;
use crate::http::problem::{Code, Problem};

/// Why there is no page.
#[derive(Debug)]
pub enum DashboardError {
    /// The visitor is not logged in; where to go afterwards.
    LogIn { next: String },
    /// A link on another site led here, so the browser did not send the cookie: it must ask once more by itself.
    AskAgain { path: String },
    /// There is no admin token.
    Disabled,
    /// The form is not one of this session.
    Forged,
    /// There were several logins with a wrong token a moment ago.
    TooManyLogins,
    /// Any error that the API has too.
    Problem(Problem),
}

impl<P: Into<Problem>> From<P> for DashboardError {
    fn from(problem: P) -> Self {
        Self::Problem(problem.into())
    }
}

impl fmt::Display for DashboardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

impl DashboardError {
    /// The request is wrong, and what would be right.
    pub fn invalid(detail: &'static str) -> Self {
        Problem::new(Code::InvalidRequest, detail).into()
    }

    /// Status, heading and text.
    fn row(&self) -> (StatusCode, &'static str, &str) {
        match self {
            Self::LogIn { .. } => (StatusCode::SEE_OTHER, "Log in first", ""),
            Self::AskAgain { .. } => (StatusCode::OK, "Log in first", ""),
            Self::Disabled => (StatusCode::FORBIDDEN, "The dashboard is turned off", ""),
            Self::Forged => (
                StatusCode::FORBIDDEN,
                "That was not done",
                "The form did not come from this page, or its session is over. Go back, reload the page and send it again.",
            ),
            Self::TooManyLogins => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many attempts",
                "Wait a few seconds, then log in again.",
            ),
            Self::Problem(problem) => {
                let code = problem.code();
                (code.status(), code.title(), problem.detail())
            }
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
        self.row().0
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
        let mut response = page_of(status, &page);
        if matches!(status.as_u16(), 429 | 503) {
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
