//! Signatures: the headers of a delivery, the secrets, and the one way from raw bytes to a signed
//! event.
//!
//! The signed text is `id.timestamp.body`. With a dot in the ID, an old signed body could be sent
//! as a new one with other boundaries. So IDs with a dot are refused before anything is verified
//! (the Standard Webhooks specification asks for IDs without dots). `now` is an argument: nothing
//! here reads the clock.
//!
//! The svix crate signs what we send, and a test compares its verification with ours. It does not
//! verify deliveries: it hashes without the processor's own instructions (7 µs per body, aws-lc
//! takes 1.5), copies the body for it, and refuses a body that is not UTF-8 before it checks the
//! signature. Such a body, well signed, is from Clerk all the same.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use svix::webhooks::Webhook;

use super::event::SignedEvent;
use super::event_type::EventType;
use super::id::{EventId, Timestamp};

/// How far `svix-timestamp` may be from our clock, in milliseconds, both ways: 5 minutes, as Svix's
/// own libraries.
pub const TOLERANCE_MS: i64 = 5 * 60 * 1000;

/// Longest signature header, in bytes. One signature has 47; a rotation sends two.
const SIGNATURE_HEADER_MAX: usize = 4096;

/// Shortest key, in bytes, that a signing secret may hold. Svix makes 24.
const KEY_MIN: usize = 16;

/// Why a delivery is refused. Every one is the fault of the sender, or of our clock or secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing.
    #[error("the header svix-{0} is missing")]
    MissingHeader(&'static str),
    /// A header has a wrong form.
    #[error("the header svix-{0} {1}")]
    InvalidHeader(&'static str, &'static str),
    /// The time of the signature is too far from now.
    #[error("svix-timestamp is {0} than 5 minutes: check that this machine's clock is right")]
    TimestampOutOfTolerance(&'static str),
    #[error(
        "no signature matches: check that the signing secret is the one of this endpoint in Clerk's dashboard, and that nothing between changes the body"
    )]
    /// No secret matches the signature.
    InvalidSignature,
}

/// A secret `whsec_…` that deliveries are signed with. It can't be printed.
pub struct SigningSecret {
    webhook: Webhook,
    key: hmac::Key,
}

impl SigningSecret {
    /// Reads the text of a secret.
    ///
    /// # Errors
    /// Says what is wrong with the text, never what it is.
    pub fn parse(secret: &SecretString) -> Result<Self, &'static str> {
        let encoded = secret
            .expose_secret()
            .strip_prefix("whsec_")
            .ok_or("does not begin with whsec_")?;
        let key = BASE64
            .decode(encoded)
            .map_err(|_| "is not base64 after whsec_")?;
        if key.len() < KEY_MIN {
            return Err("is too short");
        }
        let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let webhook = Webhook::from_bytes(key).map_err(|_| "is empty")?;
        Ok(Self {
            webhook,
            key: hmac_key,
        })
    }

    /// The signature header of a delivery, as Svix makes it.
    pub fn sign(&self, id: &EventId, sent_at: Timestamp, body: &[u8]) -> String {
        let signed = self.webhook.sign(id.as_str(), sent_at.ms() / 1000, body);
        // It refuses a body that is no text.
        signed.unwrap_or_else(|_| format!("v1,{}", self.signature(id, sent_at, body)))
    }

    /// The base64 after `v1,`.
    pub fn signature(&self, id: &EventId, sent_at: Timestamp, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{}.", sent_at.ms() / 1000).as_bytes());
        context.update(body);
        BASE64.encode(context.sign())
    }

    /// Whether one of the signatures is this secret's. The comparison takes the same time wherever
    /// two differ.
    fn signed(&self, delivery: &Delivery, body: &[u8]) -> bool {
        let expected = self.signature(&delivery.id, delivery.sent_at, body);
        let mut given = delivery
            .signatures
            .split(' ')
            .filter_map(|signature| signature.strip_prefix("v1,"));
        given.any(|given| verify_slices_are_equal(given.as_bytes(), expected.as_bytes()).is_ok())
    }
}

/// The headers of one delivery: present once each, well formed, and in time. They are read before
/// the body.
pub struct Delivery {
    id: EventId,
    sent_at: Timestamp,
    /// One or more, each with its version, separated by spaces.
    signatures: String,
}

impl Delivery {
    /// Reads the headers `svix-*`, or if there is none of these, `webhook-*`.
    ///
    /// # Errors
    /// Says which header is missing, wrong, or of another time than `now`.
    pub fn read<'a>(
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
        now: Timestamp,
    ) -> Result<Self, SignatureError> {
        const PARTS: [&str; 3] = ["id", "timestamp", "signature"];
        let [mut svix, mut webhook] = [[Header::default(); PARTS.len()]; 2];
        for (name, value) in headers {
            let family = [("svix-", &mut svix), ("webhook-", &mut webhook)]
                .into_iter()
                .find_map(|(prefix, family)| Some((name.strip_prefix(prefix)?, family)));
            let Some((part, family)) = family else {
                continue;
            };
            if let Some(place) = PARTS.iter().position(|known| *known == part) {
                family[place].value = value;
                family[place].count += 1;
            }
        }
        let is_svix = svix.iter().any(|header| header.count > 0);
        let family = if is_svix { svix } else { webhook };
        let only = |place: usize| family[place].only(PARTS[place]);
        let (id, timestamp, signature) = (only(0)?, only(1)?, only(2)?);

        let id = EventId::new(id).ok_or(SignatureError::InvalidHeader(
            "id",
            "is not 1 to 255 of A-Z, a-z, 0-9, _ and -",
        ))?;
        let sent_at = read_seconds(timestamp).ok_or(SignatureError::InvalidHeader(
            "timestamp",
            "is not a time in seconds",
        ))?;
        if signature.is_empty() || signature.len() > SIGNATURE_HEADER_MAX {
            return Err(SignatureError::InvalidHeader(
                "signature",
                "is empty or too long",
            ));
        }
        check_tolerance(sent_at, now)?;
        Ok(Self {
            id,
            sent_at,
            signatures: signature.to_owned(),
        })
    }
}

/// The values of one header: the last, and how many there are.
#[derive(Clone, Copy, Default)]
struct Header<'a> {
    value: &'a [u8],
    count: usize,
}

impl<'a> Header<'a> {
    fn only(self, part: &'static str) -> Result<&'a str, SignatureError> {
        let invalid = |fault| SignatureError::InvalidHeader(part, fault);
        match self.count {
            0 => Err(SignatureError::MissingHeader(part)),
            1 => std::str::from_utf8(self.value)
                .ok()
                .filter(|text| text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')))
                .ok_or(invalid("is not plain text")),
            _ => Err(invalid("is there more than once")),
        }
    }
}

/// Accepts one way to write a number: the text is signed.
fn read_seconds(text: &str) -> Option<Timestamp> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| plain)
        .and_then(Timestamp::from_seconds)
}

fn check_tolerance(sent_at: Timestamp, now: Timestamp) -> Result<(), SignatureError> {
    match now.ms() - sent_at.ms() {
        age if age > TOLERANCE_MS => Err(SignatureError::TimestampOutOfTolerance("older")),
        age if age < -TOLERANCE_MS => Err(SignatureError::TimestampOutOfTolerance("further ahead")),
        _ => Ok(()),
    }
}

/// Verifies deliveries against every secret that is valid now.
pub struct Verifier {
    secrets: Vec<SigningSecret>,
}

/// A delivery with a valid signature.
#[derive(Debug)]
pub struct Verified {
    /// The event.
    pub event: SignedEvent,
    /// The places in the list of the secrets that signed it, from 0; at least one. In a rotation
    /// there may be two.
    pub secrets: Vec<usize>,
}

impl Verifier {
    /// Any of these secrets is valid.
    pub fn new(secrets: Vec<SigningSecret>) -> Self {
        Self { secrets }
    }

    /// Verifies the raw bytes of the body: any change to them, even of white space, breaks the
    /// signature.
    ///
    /// # Errors
    /// Fails if no secret signed the delivery.
    pub fn verify(
        &self,
        delivery: Delivery,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Verified, SignatureError> {
        let signed = self
            .secrets
            .iter()
            .enumerate()
            .filter(|(_, secret)| secret.signed(&delivery, &body));
        let secrets: Vec<usize> = signed.map(|(place, _)| place).collect();
        if secrets.is_empty() {
            return Err(SignatureError::InvalidSignature);
        }
        Ok(Verified {
            event: SignedEvent::restored(
                delivery.id,
                EventType::read(&body),
                delivery.sent_at,
                now,
                body,
            ),
            secrets,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const SENT: i64 = 1_700_000_000;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(&SecretString::from(text)).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn deliver(
        headers: &[(&str, &str)],
        body: &'static [u8],
        now: i64,
    ) -> Result<SignedEvent, SignatureError> {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        let delivery = Delivery::read(headers, at(now))?;
        Verifier::new(vec![secret(SECRET)])
            .verify(delivery, Bytes::from_static(body), at(now))
            .map(|good| good.event)
    }

    fn signed(body: &[u8]) -> String {
        secret(SECRET).sign(&EventId::new("msg_1").unwrap(), at(SENT), body)
    }

    #[test]
    fn every_secret_that_matches_is_named_whatever_their_order() {
        const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let (id, time) = (EventId::new("msg_1").unwrap(), SENT.to_string());
        let both = [SECRET, OTHER]
            .map(|text| secret(text).sign(&id, at(SENT), b"{}"))
            .join(" ");
        let places = |secrets: &[&str], signatures: &str| {
            let headers = [
                ("svix-id", "msg_1"),
                ("svix-timestamp", &time),
                ("svix-signature", signatures),
            ];
            let delivery = Delivery::read(
                headers
                    .iter()
                    .map(|(name, value)| (*name, value.as_bytes())),
                at(SENT),
            );
            let verifier = Verifier::new(secrets.iter().map(|text| secret(text)).collect());
            verifier
                .verify(delivery.unwrap(), Bytes::from_static(b"{}"), at(SENT))
                .unwrap()
                .secrets
        };
        assert_eq!(
            (
                places(&[SECRET, OTHER], &both),
                places(&[OTHER, SECRET], &both)
            ),
            (vec![0, 1], vec![0, 1])
        );
        assert_eq!(places(&[OTHER, SECRET], &signed(b"{}")), [1]);
        assert_eq!(places(&[SECRET], &both), [0]);
    }

    #[test]
    fn a_body_that_is_not_text_is_verified_too() {
        let body = b"\xff\xfe";
        let signature = signed(body);
        let time = SENT.to_string();
        let headers = |signature| {
            [
                ("svix-id", "msg_1"),
                ("svix-timestamp", &time),
                ("svix-signature", signature),
            ]
        };
        let event = deliver(&headers(&signature), body, SENT).unwrap();
        assert_eq!(event.event_type().as_str(), "user.unreadable");
        let other = deliver(&headers(&signed(b"\xff\xfd")), body, SENT);
        assert_eq!(other.unwrap_err(), SignatureError::InvalidSignature);
    }

    /// A header of one or two signatures, some of them altered.
    fn signature_headers() -> impl Strategy<Value = (Vec<u8>, String)> {
        let alter = prop_oneof![
            4 => Just(None),
            4 => (0..48_usize, any::<u8>()).prop_map(Some),
        ];
        let prefix = prop::sample::select(vec!["", "v2,x ", "v1a,AAAA ", " ", "v1, "]);
        (
            prop::collection::vec(any::<u8>(), 0..200),
            alter,
            prefix,
            any::<bool>(),
        )
            .prop_map(|(body, alter, prefix, text)| {
                let body = if text {
                    String::from_utf8_lossy(&body).into_owned().into_bytes()
                } else {
                    body
                };
                let mut signature = signed(&body).into_bytes();
                if let Some((place, byte)) = alter {
                    let place = place % signature.len();
                    signature[place] = b' ' + byte % 95;
                }
                (
                    body,
                    format!("{prefix}{}", String::from_utf8(signature).unwrap()),
                )
            })
    }

    proptest! {
        /// The sender's own library is the judge.
        #[test]
        fn what_svix_accepts_is_accepted_and_nothing_else((body, signature) in signature_headers()) {
            prop_assume!(std::str::from_utf8(&body).is_ok());
            let time = SENT.to_string();
            let fields = [("svix-id", "msg_1"), ("svix-timestamp", &*time), ("svix-signature", &*signature)];
            let headers = fields.iter().map(|(name, text)| (name.parse().unwrap(), text.parse().unwrap()));
            let headers: http::HeaderMap = headers.collect();
            let expected = Webhook::new(SECRET).unwrap().verify_ignoring_timestamp(&body, &headers).is_ok();
            let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
            let delivery = Delivery::read(fields, at(SENT)).unwrap();
            let judged = Verifier::new(vec![secret(SECRET)]).verify(delivery, Bytes::from(body), at(SENT));
            prop_assert_eq!(judged.is_ok(), expected);
        }

        #[test]
        fn both_sign_alike(body in ".{0,200}", id in "[A-Za-z0-9_-]{1,255}", seconds in 1..9_999_999_999_i64) {
            let (secret, id) = (secret(SECRET), EventId::new(&id).unwrap());
            let ours = format!("v1,{}", secret.signature(&id, at(seconds), body.as_bytes()));
            prop_assert_eq!(secret.webhook.sign(id.as_str(), seconds, body.as_bytes()).unwrap(), ours);
        }
    }

    #[test]
    fn the_tolerance_is_five_minutes_both_ways_to_the_millisecond() {
        let (signature, time) = (signed(b"{}"), SENT.to_string());
        let headers = [
            ("svix-id", "msg_1"),
            ("svix-timestamp", &*time),
            ("svix-signature", &*signature),
        ];
        assert!(deliver(&headers, b"{}", SENT + 300).is_ok());
        assert!(deliver(&headers, b"{}", SENT - 300).is_ok());
        for now in [SENT + 301, SENT - 301] {
            let error = deliver(&headers, b"{}", now).unwrap_err();
            assert!(
                matches!(error, SignatureError::TimestampOutOfTolerance(_)),
                "{error}"
            );
        }
    }

    #[test]
    fn a_time_has_one_way_to_be_written() {
        for bad in [
            "",
            "0",
            "-1",
            "+1700000000",
            "01700000000",
            "1700000000.0",
            "1.7e9",
            "99999999999999999999",
        ] {
            assert_eq!(read_seconds(bad), None, "{bad}");
        }
        assert_eq!(read_seconds("1700000000"), Some(at(SENT)));
    }

    #[test]
    fn a_secret_says_what_is_wrong_with_it_but_not_what_it_is() {
        for (bad, fault) in [
            (
                "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "does not begin with whsec_",
            ),
            ("whsec_!!!", "is not base64 after whsec_"),
            ("whsec_AA==", "is too short"),
        ] {
            assert_eq!(
                SigningSecret::parse(&SecretString::from(bad)).err(),
                Some(fault)
            );
        }
    }
}
