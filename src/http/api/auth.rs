//! Authenticates requests to `/api` by the admin token.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};

use crate::http::admin::Admin;
use crate::http::problem::{Code, Problem};

/// A request with the admin token, and what its handler needs: without the token no handler is
/// reached.
pub struct Operator(pub web::Data<Admin>);

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let admin = request
            .app_data::<web::Data<Admin>>()
            .expect("the routes are configured with their data");
        let authenticated = authenticate(request, admin);
        ready(match authenticated {
            Ok(()) => Ok(Self(admin.clone())),
            Err(problem) => {
                admin.reject_log.log(&problem);
                Err(problem)
            }
        })
    }
}

fn authenticate(request: &HttpRequest, admin: &Admin) -> Result<(), Problem> {
    let token = admin.token.borrow().clone().ok_or_else(|| {
        Problem::new(
            Code::AdminDisabled,
            "set ADMIN_TOKEN to a long random text, and send it as `Authorization: Bearer TOKEN`",
        )
    })?;
    let header = request.headers().get(AUTHORIZATION);
    let detail = match header.and_then(|value| bearer(value.as_bytes())) {
        Some(guess) if token.is(guess) => return Ok(()),
        Some(_) => "the token is not ADMIN_TOKEN's",
        None => "send the admin token as `Authorization: Bearer TOKEN`",
    };
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
