//! The pages of the dashboard: the frame around each, the headers that restrict the browser, and a
//! page for each error.

use std::fmt;

use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER,
};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use askama::Template;

use super::assets;
use super::encode::encode;
use super::session::Session;
use crate::clerk::tables;
use crate::clock::now;
use crate::escape::visible_lines;
use crate::format;
use crate::http::paths::LOGIN_PATH;
use crate::http::problem::{Code, Problem};
use crate::http::request_id;
use crate::store::{Pause, Time};

/// What is around a page.
pub struct Frame {
    pub title: String,
    /// The part of the dashboard that the page belongs to: `overview`, `events`, a table, `control`, or
    /// empty.
    pub part: &'static str,
    /// The session's; `None` if the visitor is not logged in.
    pub form_token: Option<String>,
    /// The pause of applying, for the notice above the page.
    pub paused: Option<PauseNotice>,
    /// Whether the page refreshes itself.
    pub is_live: bool,
    /// What the box of the search holds.
    pub search: String,
    pub version: &'static str,
}

/// The notice of a pause.
pub struct PauseNotice {
    pub since: Time,
    pub age: String,
    pub reason: Option<String>,
}

impl PauseNotice {
    fn of(pause: &Pause) -> Self {
        Self {
            since: pause.paused_at,
            age: format::age(now().ms() - pause.paused_at.0.ms()),
            reason: pause.reason.clone(),
        }
    }
}

impl Frame {
    /// Around a page for a visitor who is logged in. A page further back in a listing is not live,
    /// so that nothing moves under the reader.
    pub fn of(
        session: &Session,
        part: &'static str,
        title: impl Into<String>,
        is_live: bool,
    ) -> Self {
        Self {
            form_token: Some(session.form_token.clone()),
            paused: session.paused.as_ref().map(PauseNotice::of),
            is_live,
            ..Self::outside(part, title)
        }
    }

    /// Around a page for anybody.
    pub fn outside(part: &'static str, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            part,
            form_token: None,
            paused: None,
            is_live: false,
            search: String::new(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The form token of a page for a visitor who is logged in.
    pub fn token(&self) -> &str {
        self.form_token.as_deref().unwrap_or_default()
    }

    /// The lists of the tables: path, name, and whether the page belongs to it.
    pub fn lists(&self) -> impl Iterator<Item = (String, String, bool)> {
        tables::ALL.iter().map(|table| {
            let plural = table.plural;
            let name = format::capitalized(plural);
            (format!("/{plural}"), name, self.part == plural)
        })
    }

    /// The address of a file of the dashboard.
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }
}

/// Only files of this server: no script, style or form in a page's text can act.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// With `same-origin` and not `no-referrer`: with that, browsers send the forms of this site
/// without an origin.
const GUARDS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// An answer with the headers that every answer of the dashboard has.
pub fn guarded(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    for header in GUARDS {
        response.insert_header(header);
    }
    response
}

/// A page. It contains personal data, so browsers and proxies never store it.
pub fn page(page: &impl Template) -> HttpResponse {
    page_of(StatusCode::OK, page)
}

/// A page with another status.
pub fn page_of(status: StatusCode, page: &impl Template) -> HttpResponse {
    let page = page.render().expect("a page is written to memory");
    guarded(HttpResponse::build(status))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        // The templates have no hidden characters, so these come from outside.
        .body(visible_lines(&page).into_owned())
}

/// A body as it came. Whatever it contains, a browser saves it and does not open it.
pub fn saved(name: &str, body: impl MessageBody + 'static) -> HttpResponse {
    let disposition = format!("attachment; filename=\"{name}.json\"");
    guarded(HttpResponse::Ok())
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .insert_header((CONTENT_DISPOSITION, disposition))
        .body(body)
}

/// A redirect to another page, which the browser requests with GET.
pub fn redirect(path: &str) -> HttpResponse {
    guarded(HttpResponse::SeeOther())
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((LOCATION, path))
        .finish()
}

/// Why there is no page.
#[derive(Debug)]
pub enum DashboardError {
    /// The visitor is not logged in; where to go afterwards.
    LogIn { next: String },
    /// A link on another site led here, so the browser did not send the cookie: it must ask once
    /// more by itself.
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
                "The action was not carried out",
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
    heading: &'a str,
    /// A sentence, or empty.
    text: String,
    is_disabled: bool,
    what_to_do: &'static str,
    /// Whether the same request may succeed later.
    is_temporary: bool,
    /// Of a failure of the server, which logs it under this ID.
    request_id: Option<String>,
}

impl<'a> ErrorPage<'a> {
    fn of(status: StatusCode, heading: &'a str, text: &'a str) -> Self {
        let end = if text.is_empty() || text.ends_with('.') {
            ""
        } else {
            "."
        };
        Self {
            frame: Frame::outside("", heading),
            heading,
            text: format!("{text}{end}"),
            is_disabled: false,
            what_to_do: what_to_do(status),
            is_temporary: matches!(status.as_u16(), 429 | 503),
            request_id: request_id::current().filter(|_| status.is_server_error()),
        }
    }
}

/// What helps after an answer with this status, whatever the problem was.
fn what_to_do(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "Correct the address, or go back and fill in the form again.",
        403 => "",
        404 => "Check the address, or start from one of these pages.",
        405 => "Use the links and buttons of the dashboard: they lead to the right address.",
        429 | 503 => "Nothing is lost. Wait a moment, then try again.",
        _ => "Go back, and try again.",
    }
}

/// The page for an error that did not come from a page. `text` says what is wrong.
pub fn problem_page(status: StatusCode, heading: &str, text: &str) -> HttpResponse {
    page_of(status, &ErrorPage::of(status, heading, text))
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
            is_disabled: matches!(self, Self::Disabled),
            ..ErrorPage::of(status, heading, text)
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
        "/" => LOGIN_PATH.into(),
        _ => format!("{LOGIN_PATH}?next={}", encode(next)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_passes_offers_another_try() {
        let page = |error: &DashboardError| {
            let (status, heading, text) = error.row();
            ErrorPage::of(status, heading, text).render().unwrap()
        };
        let again = "<a class=\"button\" href=\"\">Try again</a>";
        let away = Problem::new(Code::DatabaseUnavailable, "it is away").into();
        for error in [&DashboardError::TooManyLogins, &away] {
            assert!(page(error).contains(again), "{error}");
            let headers = error.error_response().headers().clone();
            assert_eq!(headers.get(RETRY_AFTER).unwrap(), "5");
        }
        assert!(!page(&DashboardError::Forged).contains(again));
        assert!(!page(&DashboardError::invalid("wrong")).contains(again));
    }

    #[test]
    fn a_path_survives_the_query_string() {
        assert_eq!(
            login_path("/events?a=b&c=é"),
            "/login?next=%2Fevents%3Fa%3Db%26c%3D%C3%A9"
        );
        assert_eq!(login_path("/"), "/login");
    }
}
