//! Logging in with the admin token, and out.
//!
//! A wrong token costs a second, and only a few at once are looked at: guessing one of 16 characters is hopeless before, and
//! stays so.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::SET_COOKIE;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use rand::Rng;
use tokio::sync::Semaphore;

use super::Dashboard;
use super::auth::{self, Posted};
use super::page::{Frame, Refusal, go_to, page_of};
use super::session::{self, NONCE_BYTES};
use crate::clock::now;
use crate::http::problem::Code;

/// Attempts that are looked at at once, in one process.
const GUESSES_AT_ONCE: usize = 8;

/// What a wrong token costs.
const GUESS_COSTS: Duration = Duration::from_secs(1);

/// Longest path to go on to after logging in, in bytes; a longer one is dropped.
const NEXT_MAX: usize = 2000;

/// The attempts that are being looked at.
#[derive(Clone)]
pub struct Guesses(Arc<Semaphore>);

impl Default for Guesses {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(GUESSES_AT_ONCE)))
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    next: String,
    is_wrong: bool,
    /// Whether the token crosses a network that others can read.
    is_in_the_open: bool,
}

#[derive(serde::Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// The page to log in on, with the page to go on to.
pub fn path(next: &str) -> String {
    if next == "/" {
        "/login".into()
    } else {
        format!("/login?next={}", encoded(next))
    }
}

/// `GET /login`
pub async fn show(request: HttpRequest, query: web::Query<Next>) -> Result<HttpResponse, Refusal> {
    let token = auth::token(&request)?;
    let next = local(&query.next);
    if auth::session_of(&request, &token).is_some() {
        return Ok(go_to(next));
    }
    Ok(page_of(StatusCode::OK, &page(&request, next, false)))
}

/// `POST /login`
pub async fn log_in(
    request: HttpRequest,
    body: web::Payload,
    dashboard: web::Data<Dashboard>,
) -> Result<HttpResponse, Refusal> {
    let token = auth::token(&request)?;
    if !auth::is_of_this_site(&request) {
        return Err(Refusal::Forged);
    }
    let fields = auth::fields(&request, &mut body.into_inner()).await?;
    let value = |wanted: &str| {
        fields
            .iter()
            .find(|(name, _)| name == wanted)
            .map_or("", |(_, value)| value)
    };
    let next = local(value("next"));
    let guess = dashboard
        .guesses
        .0
        .try_acquire()
        .map_err(|_| Refusal::TooManyGuesses)?;
    if !token.is(value("token").trim().as_bytes()) {
        auth::api(&request)
            .refusals
            .note(Code::Unauthorized, "a login with a wrong token", now());
        tokio::time::sleep(GUESS_COSTS).await;
        drop(guess);
        return Ok(page_of(
            StatusCode::UNAUTHORIZED,
            &page(&request, next, true),
        ));
    }
    let mut nonce = [0; NONCE_BYTES];
    rand::rng().fill_bytes(&mut nonce);
    let cookie = session::cookie(
        &session::begin(&token, nonce, now()),
        auth::is_https(&request),
    );
    Ok(with_cookie(go_to(next), &cookie))
}

/// `POST /logout`
pub async fn log_out(request: HttpRequest, _: Posted) -> Result<HttpResponse, Refusal> {
    Ok(with_cookie(
        go_to("/login"),
        &session::forget(auth::is_https(&request)),
    ))
}

fn with_cookie(mut response: HttpResponse, cookie: &str) -> HttpResponse {
    response.headers_mut().insert(
        SET_COOKIE,
        cookie.parse().expect("a cookie of ours is plain ASCII"),
    );
    response
}

fn page(request: &HttpRequest, next: &str, is_wrong: bool) -> LoginPage {
    let is_near = request
        .peer_addr()
        .is_some_and(|address| address.ip().to_canonical().is_loopback());
    let is_in_the_open = !is_near && !auth::is_https(request);
    LoginPage {
        frame: Frame::outside("", "Log in"),
        next: next.to_owned(),
        is_wrong,
        is_in_the_open,
    }
}

/// The path, where it is one of this server; browsers take `//host` and `/\host` for other servers.
fn local(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next[1..].starts_with(['/', '\\']);
    let is_plain = next.len() <= NEXT_MAX
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain && !next.starts_with("/login") {
        next
    } else {
        "/"
    }
}

/// The text as a value in a query string.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn after_logging_in_nobody_lands_elsewhere() {
        for good in [
            "/",
            "/events?status=failed&type=user.created",
            "/users/user_1",
        ] {
            assert_eq!(local(good), good);
        }
        let bad = [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\\b",
            "/a\r\nb",
            "/\tx",
            "/login",
        ];
        for bad in bad {
            assert_eq!(local(bad), "/", "{bad}");
        }
        assert_eq!(local(&format!("/{}", "x".repeat(NEXT_MAX))), "/");
    }

    #[test]
    fn an_open_connection_is_named_with_the_header_that_a_proxy_needs() {
        let seen = |forwarded: &str| {
            let request = TestRequest::default().peer_addr("192.0.2.1:4000".parse().unwrap());
            page(
                &request
                    .insert_header(("x-forwarded-proto", forwarded))
                    .to_http_request(),
                "/",
                false,
            )
            .render()
            .unwrap()
        };
        assert!(
            seen("http").contains("not encrypted")
                && seen("http").contains("X-Forwarded-Proto: https")
        );
        assert!(!seen("https").contains("not encrypted"));
    }

    #[test]
    fn a_path_survives_the_query_string() {
        assert_eq!(
            path("/events?a=b&c=é"),
            "/login?next=%2Fevents%3Fa%3Db%26c%3D%C3%A9"
        );
        assert_eq!(path("/"), "/login");
    }
}
