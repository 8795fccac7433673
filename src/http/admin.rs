//! What `/api` and the dashboard share: the admin token, and what their routes need.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use super::reject_log::RejectLog;
use super::service_status::ServiceStatus;
use crate::queue::Queue;
use crate::store::Store;

/// What the routes for operators need.
#[derive(Clone)]
pub struct Admin {
    pub store: Store,
    pub queue: Queue,
    /// Follows the token as it is read again; `None` if it is not set.
    pub token: watch::Receiver<Option<Arc<AdminToken>>>,
    pub reject_log: Arc<RejectLog>,
    pub status: ServiceStatus,
}

/// The digest of the token. Digests are compared in constant time: the time of an answer reveals nothing of the token, not even
/// its length.
pub struct AdminToken(Digest);

impl AdminToken {
    /// The digest of this token.
    pub fn new(token: &SecretString) -> Self {
        Self(digest(&SHA256, token.expose_secret().as_bytes()))
    }

    /// Returns whether a client's guess is the token.
    pub(super) fn is(&self, guess: &[u8]) -> bool {
        verify_slices_are_equal(self.0.as_ref(), digest(&SHA256, guess).as_ref()).is_ok()
    }

    /// The key that seals the dashboard's sessions. It changes with the token.
    pub(super) fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref())
    }
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
}
