//! What every page has: the frame around it, the headers that bind the browser, and a page for each refusal.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use askama::Template;

use super::assets;
use super::session::Session;
use crate::escape::visible_lines;
use crate::http::problem::Problem;
use crate::store::StoreError;

/// Nothing but what this server itself serves, in files: no script, style or form in a page's text can act.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// With `same-origin` and not `no-referrer`: with that, browsers send the forms of this site without an origin.
const GUARDS: &[(&str, &str)] = &[
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

/// The headers that every answer of the dashboard has.
pub fn guarded(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    for (name, value) in GUARDS {
        response.insert_header((HeaderName::from_static(name), *value));
    }
    response
}

/// What is around a page.
pub struct Frame {
    pub title: String,
    /// The part of the dashboard that the page belongs to: `overview`, `events`, `users`, or nothing.
    pub part: &'static str,
    /// Of the session; nothing where nobody is logged in.
    pub form_token: Option<String>,
    /// Whether the page renews itself.
    pub is_live: bool,
    pub css: String,
    pub js: String,
    pub icon: String,
    pub version: &'static str,
}

impl Frame {
    /// Around a page for somebody who is logged in.
    pub fn of(session: &Session, part: &'static str, title: impl Into<String>) -> Self {
        Self {
            form_token: Some(session.form_token.clone()),
            ..Self::outside(part, title)
        }
    }

    /// Around a page for anybody.
    pub fn outside(part: &'static str, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            part,
            form_token: None,
            is_live: false,
            css: assets::address("app.css"),
            js: assets::address("app.js"),
            icon: assets::address("icon.svg"),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The same around a page that renews itself.
    pub fn live(self) -> Self {
        Self {
            is_live: true,
            ..self
        }
    }
}

/// A page of somebody's data: never kept by a browser or a proxy.
pub fn answer(page: &impl Template) -> Result<HttpResponse, Refusal> {
    Ok(page_of(StatusCode::OK, page))
}

pub fn page_of(status: StatusCode, page: &impl Template) -> HttpResponse {
    let mut response = guarded(HttpResponse::build(status));
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"));
    let page = page.render().expect("a page is written to memory");
    // No character of the templates hides, so those that do came from outside.
    response.body(visible_lines(&page).into_owned())
}

/// To another page, which the browser asks for with GET.
pub fn go_to(path: &str) -> HttpResponse {
    let mut response = guarded(HttpResponse::SeeOther());
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((LOCATION, path))
        .finish()
}

/// Why there is no page.
#[derive(Debug)]
pub enum Refusal {
    /// Nobody is logged in; where to go afterwards.
    LogIn {
        next: String,
    },
    /// A link on another site led here, and so the browser held the cookie back: it must ask once more by itself.
    AskAgain {
        path: String,
    },
    /// There is no admin token.
    Disabled,
    /// The form is not one that this session was given.
    Forged,
    /// A wrong token was given a moment ago, several times.
    TooManyGuesses,
    /// The request itself is wrong; what would be right.
    Invalid(String),
    NotFound(&'static str),
    WrongMethod,
    /// What is away, and what came of it.
    Unavailable(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(format!("{error}."))
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Invalid(problem.detail().to_owned())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words().0)
    }
}

impl Refusal {
    /// The heading and the text.
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::LogIn { .. } | Self::AskAgain { .. } => ("Log in first", ""),
            Self::Disabled => ("The dashboard is turned off", ""),
            Self::Forged => (
                "That was not done",
                "The form did not come from this page, or its session is over. Go back, reload the page and send it again.",
            ),
            Self::TooManyGuesses => (
                "Too many attempts",
                "Wait a few seconds, then log in again.",
            ),
            Self::Invalid(text) => ("The request cannot be read", text),
            Self::NotFound(text) => ("There is nothing here", text),
            Self::WrongMethod => (
                "There is nothing here",
                "This address takes another method.",
            ),
            Self::Unavailable(text) => ("Not available now", text),
        }
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage<'a> {
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

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::LogIn { .. } => StatusCode::SEE_OTHER,
            Self::AskAgain { .. } => StatusCode::OK,
            Self::Disabled | Self::Forged => StatusCode::FORBIDDEN,
            Self::TooManyGuesses => StatusCode::TOO_MANY_REQUESTS,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::LogIn { next } => return go_to(&super::login::path(next)),
            Self::AskAgain { path } => return page_of(StatusCode::OK, &AskAgainPage { path }),
            _ => {}
        }
        let (heading, text) = self.words();
        let is_disabled = matches!(self, Self::Disabled);
        let page = RefusalPage {
            frame: Frame::outside("", heading),
            heading,
            text,
            is_disabled,
        };
        let mut response = page_of(self.status_code(), &page);
        if matches!(self, Self::TooManyGuesses | Self::Unavailable(_)) {
            response.headers_mut().insert(
                RETRY_AFTER,
                "5".parse().expect("a number is a header's value"),
            );
        }
        response
    }
}
