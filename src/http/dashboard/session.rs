//! Sessions without a store: a cookie with the time when it expires, sealed with a key made of the
//! admin token.
//!
//! - Every process with the same token accepts the cookie, so several of them behind a balancer
//!   agree.
//! - Another token is another key: a rotation logs everybody out.
//! - A logout deletes the cookie. A copy of it stays good until it expires, or until the token
//!   changes.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clerk::Timestamp;
use crate::http::admin::AdminToken;
use crate::store::Pause;

/// The cookie's name.
const COOKIE: &str = "clerk_sync_session";

/// How long a session is good, in seconds: a working day with its evening.
const GOOD_FOR_S: i64 = 12 * 60 * 60;

/// Random bytes that tell one session from another, and so one form token from another.
pub const NONCE_BYTES: usize = 16;

/// Longest cookie that is read, in bytes; a genuine one has about 90.
const COOKIE_MAX: usize = 200;

/// Prefixes of what is sealed, so that the seal of a session is not valid for a form, nor the
/// reverse.
const SESSION: &[u8] = b"clerk-sync dashboard session\n";
const FORM: &[u8] = b"clerk-sync dashboard form\n";

/// A session that was verified. Only a cookie with the seal makes one.
#[derive(Clone)]
pub struct Session {
    /// What every form contains, and no other site can know.
    pub form_token: String,
    /// The pause of applying, which every page shows.
    pub paused: Option<Pause>,
}

/// The cookie's value for a session that starts now.
pub fn start(token: &AdminToken, nonce: [u8; NONCE_BYTES], now: Timestamp) -> String {
    let text = format!(
        "{}.{}",
        now.ms() / 1000 + GOOD_FOR_S,
        URL_SAFE_NO_PAD.encode(nonce)
    );
    let seal = seal(token, SESSION, &text);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(seal))
}

/// Returns the session of a `Cookie` header, or `None` unless it has one that is sealed with this
/// token and is still good.
pub fn read(token: &AdminToken, header: &str, now: Timestamp) -> Option<Session> {
    // A cookie set for another path or domain can have the same name: any that is sealed will do.
    let values = header
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    values
        .filter(|(name, _)| *name == COOKIE)
        .find_map(|(_, value)| prove(token, value, now))
}

fn prove(token: &AdminToken, value: &str, now: Timestamp) -> Option<Session> {
    if value.len() > COOKIE_MAX {
        return None;
    }
    let (text, tag) = value.rsplit_once('.')?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    hmac::verify(&token.key(), &[SESSION, text.as_bytes()].concat(), &tag).ok()?;
    let (expires_s, _nonce) = text.split_once('.')?;
    let expires_s: i64 = expires_s.parse().ok()?;
    (now.ms() / 1000 < expires_s).then(|| Session {
        form_token: URL_SAFE_NO_PAD.encode(seal(token, FORM, text)),
        paused: None,
    })
}

impl Session {
    /// Returns whether a form was made for this session.
    pub fn wrote(&self, form_token: &str) -> bool {
        verify_slices_are_equal(self.form_token.as_bytes(), form_token.as_bytes()).is_ok()
    }
}

/// The `Set-Cookie` header of a session.
pub fn cookie(value: &str, is_https: bool) -> String {
    header(value, GOOD_FOR_S, is_https)
}

/// The `Set-Cookie` header that deletes it in the browser.
pub fn forget(is_https: bool) -> String {
    header("", 0, is_https)
}

fn header(value: &str, max_age_s: i64, is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}")
}

fn seal(token: &AdminToken, kind: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&token.key(), &[kind, text.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_795_400_000_000 + seconds * 1000).unwrap()
    }

    fn token(text: &str) -> AdminToken {
        AdminToken::new(&text.into())
    }

    fn header_of(value: &str) -> String {
        format!("theme=dark; {COOKIE}={value}; other=1")
    }

    #[test]
    fn a_session_is_good_for_its_time_and_for_its_token() {
        let ours = token("correct-horse-battery");
        let header = header_of(&start(&ours, [7; NONCE_BYTES], at(0)));
        let session = read(&ours, &header, at(0)).unwrap();
        assert_eq!(
            read(&ours, &header, at(GOOD_FOR_S - 1)).unwrap().form_token,
            session.form_token
        );
        assert!(read(&ours, &header, at(GOOD_FOR_S)).is_none(), "it expires");
        assert!(
            read(&token("another-token-of-length"), &header, at(0)).is_none(),
            "a rotation ends it"
        );
        let another = read(
            &ours,
            &header_of(&start(&ours, [8; NONCE_BYTES], at(0))),
            at(0),
        )
        .unwrap();
        assert!(
            session.wrote(&session.form_token)
                && !session.wrote(&another.form_token)
                && !session.wrote("")
        );
    }

    #[test]
    fn nothing_of_a_cookie_can_be_changed() {
        let ours = token("correct-horse-battery");
        let good = start(&ours, [7; NONCE_BYTES], at(0));
        for place in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[place] = if bytes[place] == b'1' { b'2' } else { b'1' };
            let bad = String::from_utf8(bytes).unwrap();
            // The last letter of base64 has bits that count for nothing; the decoder refuses what
            // sets them.
            assert!(read(&ours, &header_of(&bad), at(0)).is_none(), "{bad}");
        }
        let (text, tag) = good.rsplit_once('.').unwrap();
        let form_token = read(&ours, &header_of(&good), at(0)).unwrap().form_token;
        for bad in [
            "",
            ".",
            "..",
            text,
            tag,
            &format!("{text}.{form_token}"),
            &format!("{text}."),
            &"x".repeat(5000),
        ] {
            assert!(read(&ours, &header_of(bad), at(0)).is_none(), "{bad}");
        }
        assert!(
            read(&ours, &format!("other={good}"), at(0)).is_none(),
            "another name"
        );
        assert!(
            read(&ours, &format!("{COOKIE}=x; {COOKIE}={good}"), at(0)).is_some(),
            "one of two"
        );
    }

    #[test]
    fn the_cookie_is_for_this_site_and_no_script() {
        let plain = cookie("v", false);
        assert_eq!(
            plain,
            "clerk_sync_session=v; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
        );
        assert!(cookie("v", true).ends_with("; Secure") && forget(true).contains("Max-Age=0"));
    }
}
