//! The answers of the dashboard, with the headers that restrict the browser.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;

use crate::escape::visible_lines;

/// Only files of this server: no script, style or form in a page's text can act.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// With `same-origin` and not `no-referrer`: with that, browsers send the forms of this site without an origin.
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

/// A redirect to another page, which the browser requests with GET.
pub fn redirect(path: &str) -> HttpResponse {
    guarded(HttpResponse::SeeOther())
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((LOCATION, path))
        .finish()
}
