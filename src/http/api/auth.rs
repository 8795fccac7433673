//! Who may use the routes: whoever has the admin token.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

use super::Api;
use crate::clock::now;
use crate::http::problem::{Code, Problem};

/// The digest of the token. Digests are compared, in constant time, so that neither the time nor the length of a guess
/// tells anything.
pub struct AdminToken(Digest);

impl AdminToken {
    pub fn new(token: &SecretString) -> Self {
        Self(digest(&SHA256, token.expose_secret().as_bytes()))
    }

    pub(in crate::http) fn is(&self, guess: &[u8]) -> bool {
        verify_slices_are_equal(self.0.as_ref(), digest(&SHA256, guess).as_ref()).is_ok()
    }

    /// The key that sessions of the dashboard are sealed with. It changes with the token.
    pub(in crate::http) fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref())
    }
}

/// A request whose token is right. A handler that takes one cannot be reached without it.
pub struct Operator;

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let api = request
            .app_data::<web::Data<Api>>()
            .expect("the routes are configured with their data");
        let admitted = admit(request, api);
        if let Err(problem) = &admitted {
            api.refusals.note(problem.code(), problem.detail(), now());
        }
        ready(admitted)
    }
}

fn admit(request: &HttpRequest, api: &Api) -> Result<Operator, Problem> {
    let token = api.admin_token.borrow().clone().ok_or_else(|| {
        let how =
            "set ADMIN_TOKEN to a long random text, and send it as `Authorization: Bearer TOKEN`";
        Problem::new(Code::AdminDisabled, how)
    })?;
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .map(|value| value.as_bytes());
    let guess = given.and_then(bearer).ok_or_else(|| {
        Problem::new(
            Code::Unauthorized,
            "send the admin token as `Authorization: Bearer TOKEN`",
        )
    })?;
    if token.is(guess) {
        Ok(Operator)
    } else {
        Err(Problem::new(
            Code::Unauthorized,
            "the token is not ADMIN_TOKEN's",
        ))
    }
}

/// The token of an `Authorization` header; the word before it is written in any case (RFC 9110, 11.1).
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
    fn only_the_whole_token_is_the_token() {
        let token = AdminToken::new(&"correct-horse-battery".into());
        assert!(token.is(b"correct-horse-battery"));
        for wrong in [
            &b""[..],
            b"correct-horse-batter",
            b"correct-horse-battery ",
            b"Correct-horse-battery",
        ] {
            assert!(!token.is(wrong));
        }
    }

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
