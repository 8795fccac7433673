//! Who sent it: the headers of a delivery, the secrets, and the one way from raw bytes to a signed event.
//!
//! What is signed is `id.timestamp.body`. A dot in the ID would let somebody who holds an old signed body move the
//! boundaries and present it as a new one, so IDs with a dot are refused before anything is verified (the Standard
//! Webhooks specification asks for IDs without dots). `now` is an argument: nothing here asks for the time.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use svix::webhooks::Webhook;

use super::event::{EventId, SignedEvent, Timestamp};

/// How far `svix-timestamp` may be from our clock, in milliseconds, both ways: 5 minutes, as Svix's own libraries.
pub const TOLERANCE_MS: i64 = 5 * 60 * 1000;

/// Longest signature header, in bytes. One signature has 47; a rotation sends two.
const SIGNATURE_HEADER_MAX: usize = 4096;

/// Shortest key, in bytes, that a signing secret may hold. Svix makes 24.
const KEY_MIN: usize = 16;

/// Why a delivery is not taken. Every one is the sender's fault, or our clock's or secret's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the header svix-{0} is missing")]
    MissingHeader(&'static str),
    #[error("the header svix-{0} {1}")]
    InvalidHeader(&'static str, &'static str),
    #[error("svix-timestamp is {0} than 5 minutes: check that this machine's clock is right")]
    TimestampOutOfTolerance(&'static str),
    #[error(
        "no signature matches: check that the signing secret is the one of this endpoint in Clerk's dashboard, and that nothing between changes the body"
    )]
    InvalidSignature,
}

/// A secret `whsec_…` that deliveries are signed with. It can't be printed.
pub struct SigningSecret {
    webhook: Webhook,
    key: hmac::Key,
}

impl SigningSecret {
    /// Says what is wrong with the text, never what it is.
    pub fn parse(secret: &SecretString) -> Result<Self, &'static str> {
        let encoded = secret.expose_secret().strip_prefix("whsec_").ok_or("does not begin with whsec_")?;
        let key = BASE64.decode(encoded).map_err(|_| "is not base64 after whsec_")?;
        if key.len() < KEY_MIN {
            return Err("is too short");
        }
        let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let webhook = Webhook::from_bytes(key).map_err(|_| "is empty")?;
        Ok(Self { webhook, key: hmac_key })
    }

    /// The signature header of a delivery, as Svix makes it.
    pub fn sign(&self, id: &EventId, sent_at: Timestamp, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&signed_prefix(id, sent_at));
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign().as_ref()))
    }
}

/// The headers of one delivery: present once each, well formed, and in time. Read before the body is.
pub struct Delivery {
    id: EventId,
    sent_at: Timestamp,
    /// The three headers under Svix's names, as the svix crate takes them.
    headers: http::HeaderMap,
}

impl Delivery {
    /// Reads the headers `svix-*`, or where there is none of these, `webhook-*`.
    pub fn read<'a>(
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
        now: Timestamp,
    ) -> Result<Self, SignatureError> {
        let [mut svix, mut webhook] = [Family::default(), Family::default()];
        for (name, value) in headers {
            if let Some(part) = name.strip_prefix("svix-") {
                svix.add(part, value);
            } else if let Some(part) = name.strip_prefix("webhook-") {
                webhook.add(part, value);
            }
        }
        let family = if svix.is_empty() { webhook } else { svix };
        let id = family.id.only("id")?;
        let timestamp = family.timestamp.only("timestamp")?;
        let signature = family.signature.only("signature")?;

        let id =
            EventId::new(id).ok_or(SignatureError::InvalidHeader("id", "is not 1 to 255 of A-Z, a-z, 0-9, _ and -"))?;
        let sent_at =
            read_seconds(timestamp).ok_or(SignatureError::InvalidHeader("timestamp", "is not a time in seconds"))?;
        if signature.is_empty() || signature.len() > SIGNATURE_HEADER_MAX {
            return Err(SignatureError::InvalidHeader("signature", "is empty or too long"));
        }
        check_tolerance(sent_at, now)?;
        Ok(Self { headers: header_map(id.as_str(), timestamp, signature)?, id, sent_at })
    }

    fn signatures(&self) -> impl Iterator<Item = Vec<u8>> {
        let header = self.headers.get("svix-signature").map_or(&b""[..], |value| value.as_bytes());
        header
            .split(|byte| *byte == b' ')
            .filter_map(|item| item.strip_prefix(b"v1,"))
            .filter_map(|encoded| BASE64.decode(encoded).ok())
    }
}

/// The headers of one family, `svix-*` or `webhook-*`.
#[derive(Default)]
struct Family<'a> {
    id: Field<'a>,
    timestamp: Field<'a>,
    signature: Field<'a>,
}

impl<'a> Family<'a> {
    fn add(&mut self, part: &str, value: &'a [u8]) {
        match part {
            "id" => self.id.add(value),
            "timestamp" => self.timestamp.add(value),
            "signature" => self.signature.add(value),
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        [&self.id, &self.timestamp, &self.signature].iter().all(|field| field.count == 0)
    }
}

#[derive(Default)]
struct Field<'a> {
    value: &'a [u8],
    count: usize,
}

impl<'a> Field<'a> {
    fn add(&mut self, value: &'a [u8]) {
        self.value = value;
        self.count += 1;
    }

    fn only(self, part: &'static str) -> Result<&'a str, SignatureError> {
        match self.count {
            0 => Err(SignatureError::MissingHeader(part)),
            1 => std::str::from_utf8(self.value)
                .ok()
                .filter(|text| text.is_ascii())
                .ok_or(SignatureError::InvalidHeader(part, "is not plain text")),
            _ => Err(SignatureError::InvalidHeader(part, "is there more than once")),
        }
    }
}

/// Only the one way to write a number: what is signed is the text.
fn read_seconds(text: &str) -> Option<Timestamp> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain).and_then(Timestamp::from_seconds)
}

fn check_tolerance(sent_at: Timestamp, now: Timestamp) -> Result<(), SignatureError> {
    match now.ms() - sent_at.ms() {
        age if age > TOLERANCE_MS => Err(SignatureError::TimestampOutOfTolerance("older")),
        age if age < -TOLERANCE_MS => Err(SignatureError::TimestampOutOfTolerance("further ahead")),
        _ => Ok(()),
    }
}

/// The svix crate reads headers of the http crate's version 1, actix-web has those of 0.2: three are carried over.
fn header_map(id: &str, timestamp: &str, signature: &str) -> Result<http::HeaderMap, SignatureError> {
    let mut headers = http::HeaderMap::with_capacity(3);
    for (name, part, text) in
        [("svix-id", "id", id), ("svix-timestamp", "timestamp", timestamp), ("svix-signature", "signature", signature)]
    {
        let value =
            http::HeaderValue::from_str(text).map_err(|_| SignatureError::InvalidHeader(part, "is not plain text"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Checks deliveries against every secret that is valid now.
pub struct Verifier {
    secrets: Vec<SigningSecret>,
}

/// A delivery whose signature is good.
#[derive(Debug)]
pub struct Verified {
    pub event: SignedEvent,
    /// The place of the secret that it was signed with in the list, from 0: in a rotation it shows when the old one is no
    /// longer used.
    pub secret: usize,
}

impl Verifier {
    pub fn new(secrets: Vec<SigningSecret>) -> Self {
        Self { secrets }
    }

    /// Takes the raw bytes of the body: any change to them, even of white space, breaks the signature.
    pub fn verify(&self, delivery: Delivery, body: Bytes, now: Timestamp) -> Result<Verified, SignatureError> {
        let secret = self.secrets.iter().position(|secret| secret.signed(&delivery, &body));
        let secret = secret.ok_or(SignatureError::InvalidSignature)?;
        Ok(Verified { event: SignedEvent::verified(delivery.id, delivery.sent_at, now, body), secret })
    }
}

impl SigningSecret {
    fn signed(&self, delivery: &Delivery, body: &[u8]) -> bool {
        if std::str::from_utf8(body).is_ok() {
            return self.webhook.verify_ignoring_timestamp(body, &delivery.headers).is_ok();
        }
        // The svix crate refuses a body that is not UTF-8 before it looks at the signature. Such a body, well signed,
        // came from Clerk all the same.
        let mut signed = signed_prefix(&delivery.id, delivery.sent_at);
        signed.extend_from_slice(body);
        delivery.signatures().any(|tag| hmac::verify(&self.key, &signed, &tag).is_ok())
    }
}

fn signed_prefix(id: &EventId, sent_at: Timestamp) -> Vec<u8> {
    format!("{id}.{}.", sent_at.ms() / 1000).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const SENT: i64 = 1_700_000_000;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(&SecretString::from(text)).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn deliver(headers: &[(&str, &str)], body: &'static [u8], now: i64) -> Result<SignedEvent, SignatureError> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let delivery = Delivery::read(headers, at(now))?;
        Verifier::new(vec![secret(SECRET)]).verify(delivery, Bytes::from_static(body), at(now)).map(|good| good.event)
    }

    fn signed(body: &[u8]) -> String {
        secret(SECRET).sign(&EventId::new("msg_1").unwrap(), at(SENT), body)
    }

    #[test]
    fn a_body_that_is_not_text_is_verified_too() {
        let body = b"\xff\xfe";
        let signature = signed(body);
        let time = SENT.to_string();
        let headers = |signature| [("svix-id", "msg_1"), ("svix-timestamp", &time), ("svix-signature", signature)];
        let event = deliver(&headers(&signature), body, SENT).unwrap();
        assert_eq!(event.event_type().as_str(), "user.unreadable");
        let other = deliver(&headers(&signed(b"\xff\xfd")), body, SENT);
        assert_eq!(other.unwrap_err(), SignatureError::InvalidSignature);
    }

    #[test]
    fn the_tolerance_is_five_minutes_both_ways_to_the_millisecond() {
        let (signature, time) = (signed(b"{}"), SENT.to_string());
        let headers = [("svix-id", "msg_1"), ("svix-timestamp", &*time), ("svix-signature", &*signature)];
        assert!(deliver(&headers, b"{}", SENT + 300).is_ok());
        assert!(deliver(&headers, b"{}", SENT - 300).is_ok());
        for now in [SENT + 301, SENT - 301] {
            let error = deliver(&headers, b"{}", now).unwrap_err();
            assert!(matches!(error, SignatureError::TimestampOutOfTolerance(_)), "{error}");
        }
    }

    #[test]
    fn a_time_has_one_way_to_be_written() {
        for bad in ["", "0", "-1", "+1700000000", "01700000000", "1700000000.0", "1.7e9", "99999999999999999999"] {
            assert_eq!(read_seconds(bad), None, "{bad}");
        }
        assert_eq!(read_seconds("1700000000"), Some(at(SENT)));
    }

    #[test]
    fn a_secret_says_what_is_wrong_with_it_but_not_what_it_is() {
        for (bad, fault) in [
            ("C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "does not begin with whsec_"),
            ("whsec_!!!", "is not base64 after whsec_"),
            ("whsec_AA==", "is too short"),
        ] {
            assert_eq!(SigningSecret::parse(&SecretString::from(bad)).err(), Some(fault));
        }
    }
}
