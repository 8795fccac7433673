//! Logging in with the admin token or a login link, and out.
//!
//! A wrong token costs a second, and only a few attempts at once are checked. So guessing a token
//! of 16 characters is hopeless. A login link is used up by its form, not by the page: programs
//! that fetch links, for a preview or a scan, request the page alone.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, REFERRER_POLICY, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use rand::Rng;
use tokio::sync::Semaphore;

use super::auth::{self, FormFields, Posted};
use super::page::{DashboardError, Frame, page, page_of, redirect};
use super::session::{self, NONCE_BYTES};
use crate::clock::now;
use crate::http::paths::LOGIN_PATH;
use crate::http::problem::{Code, Problem};

/// Attempts that this process checks at once.
static ATTEMPTS: Semaphore = Semaphore::const_new(8);

/// How long a wrong token takes.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);

/// Longest path to go on to after logging in, in bytes; a longer one is dropped.
const NEXT_MAX: usize = 2000;

/// The words on a login that failed.
const WRONG_TOKEN: &str = "That is not the token. Check the settings of the server.";
const BAD_LINK: &str = "This link was used before, or it is older than 10 minutes or than this process. Log in with the token.";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    frame: Frame,
    next: &'a str,
    /// A login link that is good; `None` asks for the token.
    link: Option<&'a str>,
    /// Why the last attempt failed.
    fault: Option<&'static str>,
    /// Whether others on the network can read the token.
    is_unencrypted: bool,
}

/// What an address of the login page may have.
#[derive(serde::Deserialize)]
pub struct LoginQuery {
    /// The page to go on to after logging in.
    #[serde(default)]
    next: String,
    /// A login link.
    link: Option<String>,
}

/// `GET /login`
pub async fn show(
    request: HttpRequest,
    query: web::Query<LoginQuery>,
) -> Result<HttpResponse, DashboardError> {
    let token = auth::token(&request)?;
    let next = local(&query.next);
    if auth::session_of(&request, &token).is_some() {
        return Ok(redirect(next));
    }
    let links = &auth::admin(&request).login_links;
    let link = query.link.as_deref();
    let good = link.filter(|link| links.is_good(&token.key(), link, now()));
    let fault = (link.is_some() && good.is_none()).then_some(BAD_LINK);
    let mut response = page(&LoginPage {
        link: good,
        ..LoginPage::new(&request, next, fault)
    });
    // The address may hold a link, so no request for a file of the page names it.
    let referrer = HeaderValue::from_static("strict-origin");
    response.headers_mut().insert(REFERRER_POLICY, referrer);
    Ok(response)
}

/// `POST /login`
pub async fn log_in(
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, DashboardError> {
    let token = auth::token(&request)?;
    auth::check_origin(&request)?;
    let form = FormFields::read(&request, &mut body.into_inner()).await?;
    let next = local(form.get("next"));
    let _attempt = ATTEMPTS
        .try_acquire()
        .map_err(|_| DashboardError::TooManyLogins)?;
    let admin = auth::admin(&request);
    let fault = match form.get("link") {
        "" if token.is(form.get("token").trim().as_bytes()) => None,
        "" => Some((WRONG_TOKEN, "a login with a wrong token")),
        link if admin.login_links.use_up(&token.key(), link, now()) => None,
        _ => Some((BAD_LINK, "a login with a link that is used or too old")),
    };
    if let Some((fault, logged)) = fault {
        admin
            .reject_log
            .log(&Problem::new(Code::Unauthorized, logged));
        tokio::time::sleep(WRONG_TOKEN_DELAY).await;
        let page = LoginPage::new(&request, next, Some(fault));
        return Ok(page_of(StatusCode::UNAUTHORIZED, &page));
    }
    let mut nonce = [0; NONCE_BYTES];
    rand::rng().fill_bytes(&mut nonce);
    let session = session::start(&token, nonce, now());
    let cookie = session::cookie(&session, auth::is_https(&request));
    Ok(with_cookie(redirect(next), &cookie))
}

/// `POST /logout`
pub async fn log_out(request: HttpRequest, _: Posted) -> HttpResponse {
    let cookie = session::forget(auth::is_https(&request));
    with_cookie(redirect(LOGIN_PATH), &cookie)
}

fn with_cookie(mut response: HttpResponse, cookie: &str) -> HttpResponse {
    let cookie = cookie.parse().expect("the cookie is plain ASCII");
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

impl<'a> LoginPage<'a> {
    fn new(request: &HttpRequest, next: &'a str, fault: Option<&'static str>) -> Self {
        let is_local = request
            .peer_addr()
            .is_some_and(|address| address.ip().to_canonical().is_loopback());
        Self {
            frame: Frame::outside("", "Log in"),
            next,
            link: None,
            fault,
            is_unencrypted: !is_local && !auth::is_https(request),
        }
    }
}

/// Returns the path if it is one of this server, else `/`. Browsers take `//host` and `/\host` for
/// other servers.
fn local(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next[1..].starts_with(['/', '\\']);
    let is_plain = next.len() <= NEXT_MAX
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain && !next.starts_with(LOGIN_PATH) {
        next
    } else {
        "/"
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_login_does_not_lead_to_another_server() {
        for good in [
            "/",
            "/events?status=failed&event_type=user.created",
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
    fn an_unencrypted_connection_is_named_with_the_header_that_a_proxy_needs() {
        let seen = |forwarded: &str| {
            let request = TestRequest::default().peer_addr("192.0.2.1:4000".parse().unwrap());
            let request = request.insert_header(("x-forwarded-proto", forwarded));
            let request = request.to_http_request();
            let page = LoginPage::new(&request, "/", None);
            page.render().unwrap()
        };
        assert!(
            seen("http").contains("not encrypted")
                && seen("http").contains("X-Forwarded-Proto: https")
        );
        assert!(!seen("https").contains("not encrypted"));
    }
}
