//! The extractors `Session` and `Posted`: a handler that takes one is only called with a valid
//! session or form token.

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{COOKIE, ORIGIN};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;

use super::page::DashboardError;
use super::session::{self, Session};
use crate::clock::now;
use crate::http::actor::actor;
use crate::http::admin::{Admin, AdminToken};
use crate::http::service_status::CURRENT;
use crate::store::{Actor, Credential};

/// The form field that holds the session's form token.
pub const FORM_TOKEN: &str = "form_token";

/// What the routes are configured with.
pub fn admin(request: &HttpRequest) -> &Admin {
    request
        .app_data::<web::Data<Admin>>()
        .expect("the routes are configured with their data")
}

/// The admin token that is in force.
///
/// # Errors
///
/// If there is none.
pub fn token(request: &HttpRequest) -> Result<Arc<AdminToken>, DashboardError> {
    let token = admin(request).token.borrow().clone();
    token.ok_or(DashboardError::Disabled)
}

/// The session that the request's cookie proves, if any.
pub fn session_of(request: &HttpRequest, token: &AdminToken) -> Option<Session> {
    let mut headers = request.headers().get_all(COOKIE);
    headers.find_map(|header| session::read(token, header.to_str().ok()?, now()))
}

/// Returns whether the browser speaks https, to this server or to the proxy before it.
pub fn is_https(request: &HttpRequest) -> bool {
    request.connection_info().scheme() == "https"
}

/// A visitor who is logged in.
impl FromRequest for Session {
    type Error = DashboardError;
    type Future = LocalBoxFuture<'static, Result<Self, DashboardError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let session = authenticate(request);
        let status = admin(request).status.clone();
        Box::pin(async move {
            let session = session?;
            let control = status.control(CURRENT).await;
            Ok(Self {
                paused: control.and_then(|control| control.paused),
                ..session
            })
        })
    }
}

fn authenticate(request: &HttpRequest) -> Result<Session, DashboardError> {
    let token = token(request)?;
    if let Some(session) = session_of(request, &token) {
        return Ok(session);
    }
    if request.method() != Method::GET {
        return Err(DashboardError::LogIn { next: "/".into() });
    }
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str()).to_owned();
    // A link in a chat or an alert: with SameSite=Strict the browser does not send the cookie.
    let is_from_elsewhere = matches!(site(request), Some(b"cross-site" | b"same-site"));
    Err(if is_from_elsewhere {
        DashboardError::AskAgain { path }
    } else {
        DashboardError::LogIn { next: path }
    })
}

/// A form that a visitor who is logged in has sent from a page of this server.
pub struct Posted {
    form: FormFields,
    actor: Actor,
}

impl Posted {
    /// Whether the form has this field, empty or not.
    pub fn has(&self, name: &str) -> bool {
        self.form.0.iter().any(|(field, _)| *field == *name)
    }

    /// The fields but the form token, and but those that were left empty.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self
            .form
            .0
            .iter()
            .map(|(name, value)| (&**name, value.trim()));
        fields.filter(|(name, value)| *name != FORM_TOKEN && !value.is_empty())
    }

    /// Who has sent it.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

impl FromRequest for Posted {
    type Error = DashboardError;
    type Future = LocalBoxFuture<'static, Result<Self, DashboardError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let session = check_origin(request).and_then(|()| authenticate(request));
        let form = FormFields::read(request, payload);
        let actor = actor(request, Credential::Dashboard);
        Box::pin(async move {
            let (session, form) = (session?, form.await?);
            if session.wrote(form.get(FORM_TOKEN)) {
                Ok(Self { form, actor })
            } else {
                Err(DashboardError::Forged)
            }
        })
    }
}

/// A form's fields as they were sent.
pub struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// If it is not that of a form.
    pub fn read(
        request: &HttpRequest,
        payload: &mut Payload,
    ) -> impl Future<Output = Result<Self, DashboardError>> + use<> {
        let form = web::Form::<Vec<(String, String)>>::from_request(request, payload);
        async {
            let form = form.await;
            form.map(|form| Self(form.into_inner()))
                .map_err(|_| DashboardError::invalid("the form cannot be read"))
        }
    }

    /// The value of a field, empty if it is absent.
    pub fn get(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(field, _)| field == name);
        field.map_or("", |(_, value)| value)
    }
}

fn site(request: &HttpRequest) -> Option<&[u8]> {
    let site = request.headers().get("sec-fetch-site")?;
    Some(site.as_bytes())
}

/// Checks that a form was sent from a page of this server. A browser says so in headers that no
/// page can set; a client without them is no browser, and needs the form token.
///
/// # Errors
///
/// If it was sent from elsewhere.
pub fn check_origin(request: &HttpRequest) -> Result<(), DashboardError> {
    let is_of_this_server = match (site(request), request.headers().get(ORIGIN)) {
        (Some(site), _) => site == b"same-origin",
        (None, None) => true,
        (None, Some(origin)) => {
            let origin = origin.to_str().ok();
            // The host as the proxy before this server names it, otherwise as the browser does.
            origin
                .and_then(|origin| origin.split_once("://"))
                .is_some_and(|(_, host)| {
                    host.eq_ignore_ascii_case(request.connection_info().host())
                })
        }
    };
    is_of_this_server
        .then_some(())
        .ok_or(DashboardError::Forged)
}
