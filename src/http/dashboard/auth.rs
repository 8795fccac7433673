//! Who gets in, and which forms are taken: a handler behind these extractors cannot be reached otherwise.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{COOKIE, HeaderName, ORIGIN};
use actix_web::{FromRequest, HttpRequest, web};

use super::page::Refusal;
use super::session::{self, Session};
use crate::clock::now;
use crate::http::{AdminToken, Api};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The form field that holds the session's form token.
pub const FORM_TOKEN: &str = "form_token";

/// What the routes know; there since they are configured with it.
pub fn api(request: &HttpRequest) -> &web::Data<Api> {
    request
        .app_data::<web::Data<Api>>()
        .expect("the routes are configured with their data")
}

/// The admin token that is in force.
pub fn token(request: &HttpRequest) -> Result<Arc<AdminToken>, Refusal> {
    api(request)
        .admin_token
        .borrow()
        .clone()
        .ok_or(Refusal::Disabled)
}

/// The session that the request's cookie proves, if any.
pub fn session_of(request: &HttpRequest, token: &AdminToken) -> Option<Session> {
    let headers = request
        .headers()
        .get_all(COOKIE)
        .filter_map(|value| value.to_str().ok());
    headers
        .into_iter()
        .find_map(|header| session::read(token, header, now()))
}

/// Whether the browser speaks https, to us or to the proxy before us.
pub fn is_https(request: &HttpRequest) -> bool {
    request.connection_info().scheme() == "https"
}

/// Somebody who is logged in, and looks.
impl FromRequest for Session {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admit(request))
    }
}

fn admit(request: &HttpRequest) -> Result<Session, Refusal> {
    let token = token(request)?;
    if let Some(session) = session_of(request, &token) {
        return Ok(session);
    }
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    if request.method() != Method::GET {
        return Err(Refusal::LogIn { next: "/".into() });
    }
    // A link in a chat or an alert: SameSite=Strict holds the cookie back, whoever is logged in.
    let came_from_elsewhere =
        site(request).is_some_and(|site| site == b"cross-site" || site == b"same-site");
    Err(if came_from_elsewhere {
        Refusal::AskAgain { path }
    } else {
        Refusal::LogIn { next: path }
    })
}

/// A form that somebody who is logged in has sent from one of our pages.
pub struct Posted {
    fields: Vec<(String, String)>,
}

impl Posted {
    /// The fields but the form token; those that were left empty are not there.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.trim()));
        fields.filter(|(name, value)| *name != FORM_TOKEN && !value.is_empty())
    }
}

impl FromRequest for Posted {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let admitted = if is_of_this_site(request) {
            admit(request)
        } else {
            Err(Refusal::Forged)
        };
        let form = fields(request, payload);
        Box::pin(async move {
            let session = admitted?;
            let fields = form.await?;
            let token = fields
                .iter()
                .find(|(name, _)| name == FORM_TOKEN)
                .map_or("", |(_, value)| value);
            if session.wrote(token) {
                Ok(Self { fields })
            } else {
                Err(Refusal::Forged)
            }
        })
    }
}

/// A form's fields as they were sent.
pub fn fields(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<Vec<(String, String)>, Refusal>> + use<> {
    let form = web::Form::<Vec<(String, String)>>::from_request(request, payload);
    async {
        form.await
            .map(web::Form::into_inner)
            .map_err(|_| Refusal::Invalid("The form cannot be read.".into()))
    }
}

fn site(request: &HttpRequest) -> Option<&[u8]> {
    request
        .headers()
        .get(SEC_FETCH_SITE)
        .map(|value| value.as_bytes())
}

/// Whether a form was sent from a page of this server. A browser says so in headers that no page can set; what says nothing
/// is no browser, and has the form token to show.
pub fn is_of_this_site(request: &HttpRequest) -> bool {
    if let Some(site) = site(request) {
        return site == b"same-origin";
    }
    let Some(origin) = request.headers().get(ORIGIN) else {
        return true;
    };
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    // Of the proxy before us where it says so, otherwise as the browser asked.
    origin.is_some_and(|(_, host)| host.eq_ignore_ascii_case(request.connection_info().host()))
}
