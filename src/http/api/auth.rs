//! Authenticates requests to `/api`: the admin token does everything, the read token reads.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};

use crate::http::actor::actor;
use crate::http::admin::Admin;
use crate::http::problem::{Code, Problem};
use crate::store::{Actor, Credential};

/// A request with the admin token, and what its handler needs: without the token no handler is
/// reached.
pub struct Operator {
    pub admin: web::Data<Admin>,
    pub actor: Actor,
}

/// A request with the admin token or the read token.
pub struct Reader {
    pub admin: web::Data<Admin>,
    /// Whether it may see private metadata, whole objects and payloads.
    pub sees_private: bool,
}

/// Whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Admin,
    Reader,
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticated(request).and_then(|(admin, holder)| {
            if holder == Holder::Admin {
                let actor = actor(request, Credential::AdminToken);
                return Ok(Self { admin, actor });
            }
            let detail = "READ_TOKEN only reads: send the value of ADMIN_TOKEN to change something";
            Err(Problem::new(Code::Forbidden, detail))
        }))
    }
}

impl FromRequest for Reader {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticated(request).map(|(admin, holder)| Self {
            sees_private: holder == Holder::Admin || admin.read_private,
            admin,
        }))
    }
}

fn authenticated(request: &HttpRequest) -> Result<(web::Data<Admin>, Holder), Problem> {
    let admin = request
        .app_data::<web::Data<Admin>>()
        .expect("the routes are configured with their data");
    let holder = holder(request, admin).inspect_err(|problem| admin.reject_log.log(problem))?;
    Ok((admin.clone(), holder))
}

fn holder(request: &HttpRequest, admin: &Admin) -> Result<Holder, Problem> {
    let (all, read) = (
        admin.token.borrow().clone(),
        admin.read_token.borrow().clone(),
    );
    if all.is_none() && read.is_none() {
        return Err(Problem::new(
            Code::AdminDisabled,
            "set ADMIN_TOKEN to a long random text, and send it as `Authorization: Bearer TOKEN`",
        ));
    }
    let header = request.headers().get(AUTHORIZATION);
    let Some(guess) = header.and_then(|value| bearer(value.as_bytes())) else {
        let detail = "send the admin token or the read token as `Authorization: Bearer TOKEN`";
        return Err(Problem::new(Code::Unauthorized, detail));
    };
    for (token, holder) in [(all, Holder::Admin), (read, Holder::Reader)] {
        if token.is_some_and(|token| token.is(guess)) {
            return Ok(holder);
        }
    }
    let detail = "the token is neither ADMIN_TOKEN's nor READ_TOKEN's";
    Err(Problem::new(Code::Unauthorized, detail))
}

/// The token of an `Authorization` header; the scheme before it is written in any case (RFC 9110,
/// 11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        for wrong in [
            &b""[..],
            b"Bearer",
            b"Basic abc",
            b"Bearerabc",
            b"\xffearer abc",
        ] {
            assert_eq!(bearer(wrong), None);
        }
    }
}
