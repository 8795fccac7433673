//! Links that log in to the dashboard once: signed with a key made of the admin token, so that any
//! process with the token can make one.
//!
//! - A link is good for 10 minutes. Its time, a number of its own and the signature are in it;
//!   another token is another key.
//! - The process that serves the dashboard remembers the used ones until they expire. Links from
//!   before its start are refused: it cannot know whether they were used.
//! - Each of several processes behind a balancer accepts a link once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;

use crate::clerk::Timestamp;

/// How long a link is good, in seconds.
const GOOD_FOR_S: u32 = 10 * 60;

/// What is signed starts with this, so that the seal of a session is not valid for a link.
const LINK: &[u8] = b"clerk-sync dashboard login link\n";

/// Bytes that tell two links of the same second apart. They need not be secret: the signature is.
const NUMBER_BYTES: usize = 8;

/// Bytes of a link: the second it expires in, its number, and half of an HMAC-SHA256 (RFC 2104
/// allows that), so that the link fits on a line of a terminal.
const EXPIRES_BYTES: usize = 4;
const SEAL_BYTES: usize = 16;
const SIGNED_BYTES: usize = EXPIRES_BYTES + NUMBER_BYTES;

/// What distinguishes one link from another.
type Number = [u8; NUMBER_BYTES];

/// The value of a new link: what the page of the login takes as `link`.
pub fn make(key: &hmac::Key, now: Timestamp) -> String {
    let mut number = Number::default();
    rand::rng().fill_bytes(&mut number);
    let expires_s = seconds(now).saturating_add(GOOD_FOR_S);
    let mut bytes = [&expires_s.to_be_bytes()[..], &number].concat();
    bytes.extend(seal(key, &bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The links that this process has accepted.
pub struct LoginLinks {
    /// When the process started, in seconds since 1970.
    since_s: u32,
    /// Numbers of used links, and when each expires. Only who has the admin token can add to it.
    used: Mutex<HashMap<Number, u32>>,
}

impl LoginLinks {
    /// For a process that starts now.
    pub fn since(now: Timestamp) -> Self {
        Self {
            since_s: seconds(now),
            used: Mutex::default(),
        }
    }

    /// Returns whether the link would log in now. Does not use it up.
    pub fn is_good(&self, key: &hmac::Key, link: &str, now: Timestamp) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(key, link, now)
            .is_some_and(|(number, _)| !used.contains_key(&number))
    }

    /// Uses the link up. Returns whether it was good.
    pub fn use_up(&self, key: &hmac::Key, link: &str, now: Timestamp) -> bool {
        let Some((number, expires_s)) = self.read(key, link, now) else {
            return false;
        };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, expires_s| seconds(now) < *expires_s);
        used.insert(number, expires_s).is_none()
    }

    /// The number of a link with a good signature, and when it expires. Returns `None` for any
    /// other, and for one that is too old.
    fn read(&self, key: &hmac::Key, link: &str, now: Timestamp) -> Option<(Number, u32)> {
        let mut bytes = [0; SIGNED_BYTES + SEAL_BYTES];
        let read = URL_SAFE_NO_PAD.decode_slice(link, &mut bytes).ok()?;
        let (signed, sealed) = bytes[..read].split_at_checked(SIGNED_BYTES)?;
        verify_slices_are_equal(sealed, &seal(key, signed)).ok()?;
        let (expires_s, number) = signed.split_first_chunk()?;
        let expires_s = u32::from_be_bytes(*expires_s);
        let is_of_this_start = expires_s.saturating_sub(GOOD_FOR_S) >= self.since_s;
        let is_good = seconds(now) < expires_s && is_of_this_start;
        let number = number.try_into().ok().filter(|_| is_good)?;
        Some((number, expires_s))
    }
}

fn seal(key: &hmac::Key, signed: &[u8]) -> [u8; SEAL_BYTES] {
    let tag = hmac::sign(key, &[LINK, signed].concat());
    *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.ms() / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_795_400_000_000 + seconds * 1000).unwrap()
    }

    fn key(text: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())
    }

    #[test]
    fn a_link_is_good_once_for_its_time_and_its_token() {
        let (links, ours) = (LoginLinks::since(at(0)), key("ours"));
        let link = make(&ours, at(0));
        let good_for = i64::from(GOOD_FOR_S);
        assert!(!links.use_up(&key("another"), &link, at(0)));
        assert!(!links.is_good(&ours, &link, at(good_for)), "it expires");
        assert!(!links.use_up(&ours, &link, at(good_for)));
        assert!(links.is_good(&ours, &link, at(good_for - 1)));
        assert!(links.is_good(&ours, &link, at(0)), "a look does not count");
        assert!(links.use_up(&ours, &link, at(0)));
        assert!(!links.is_good(&ours, &link, at(1)) && !links.use_up(&ours, &link, at(1)));
        assert!(
            links.use_up(&ours, &make(&ours, at(0)), at(0)),
            "another one"
        );

        let restarted = LoginLinks::since(at(1));
        assert!(!restarted.use_up(&ours, &link, at(1)), "from before");
        assert!(restarted.use_up(&ours, &make(&ours, at(1)), at(1)));
    }

    #[test]
    fn nothing_of_a_link_can_be_changed() {
        let (links, ours) = (LoginLinks::since(at(0)), key("ours"));
        let link = make(&ours, at(0));
        for place in 0..link.len() {
            let mut bytes = link.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'E' } else { b'A' };
            let bad = String::from_utf8(bytes).unwrap();
            assert!(!links.use_up(&ours, &bad, at(0)), "{bad}");
        }
        for bad in ["", "A", &link[1..], &format!("{link}A"), &"A".repeat(9000)] {
            assert!(!links.use_up(&ours, bad, at(0)), "{bad}");
        }
        assert!(links.use_up(&ours, &link, at(0)));
    }

    #[test]
    fn used_links_are_forgotten_when_they_expire() {
        let (links, ours) = (LoginLinks::since(at(0)), key("ours"));
        for second in 0..2000 {
            assert!(links.use_up(&ours, &make(&ours, at(second)), at(second)));
        }
        assert_eq!(links.used.lock().unwrap().len(), GOOD_FOR_S as usize);
    }
}
