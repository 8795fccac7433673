//! Deliveries that were really signed, and whether a request says the same as one of them: what may
//! be accepted.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use clerk_sync::clerk::{Delivery, EventId, SignatureError, SignedEvent, Timestamp, Verifier};

use crate::support::app::{SECOND_SECRET, SECRET, signing_secret};
use crate::support::history::at;

/// How far the time of a delivery may be from ours, both ways, in seconds.
const TOLERANCE_S: i64 = 5 * 60;

/// The time at which everything is received, in seconds.
pub fn now_s() -> i64 {
    at(0).ms() / 1000
}

pub fn verifier() -> Verifier {
    Verifier::new(vec![signing_secret(SECRET)])
}

/// Reads the headers and verifies the body, as the webhook does.
pub fn receive<'a>(
    verifier: &Verifier,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    body: &[u8],
) -> Result<SignedEvent, SignatureError> {
    let verified = verifier.verify(
        Delivery::read(headers, at(0))?,
        Bytes::copy_from_slice(body),
        at(0),
    )?;
    Ok(verified.event)
}

/// What a signature is about, and the header that holds signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub id: Vec<u8>,
    pub timestamp: Vec<u8>,
    pub signature: Vec<u8>,
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [id, timestamp, signature, body] =
            [&self.id, &self.timestamp, &self.signature, &self.body]
                .map(|bytes| bytes.escape_ascii());
        write!(
            f,
            "id `{id}` timestamp `{timestamp}` signature `{signature}` body `{body}`"
        )
    }
}

/// One that was signed with the receiver's secret.
pub struct Genuine {
    pub request: Request,
    /// The bytes that its signature stands for.
    pub tag: Vec<u8>,
    /// The signature header that another secret makes for it.
    pub of_another_secret: String,
    is_in_time: bool,
}

impl Genuine {
    /// The first two are what comes every day. The next two hold `.NOW.` in the body: with other
    /// boundaries between ID, time and body the same signed bytes are another request, and an old
    /// one would be in time again. One of these is no UTF-8: such a body is verified by code of its
    /// own. The last comes a second too early.
    pub fn all() -> Vec<Self> {
        let now = now_s();
        let moved = format!("x.{now}.{{\"type\":\"user.updated\"}}");
        vec![
            Self::sign(
                "msg_2Zfuzz-A",
                now,
                br#"{"data":{"id":"user_1"},"type":"user.updated"}"#,
            ),
            Self::sign(
                "msg_2Zfuzz-B",
                now - TOLERANCE_S,
                br#"{"data":{"id":"user_2"},"type":"user.deleted"}"#,
            ),
            Self::sign("msg_2Zfuzz_old", now - 100_000, moved.as_bytes()),
            Self::sign(
                "msg_2Zfuzz_bytes",
                now - 3,
                &[b"\xff.", now.to_string().as_bytes(), b".\xfe{}"].concat(),
            ),
            Self::sign("msg_2Zfuzz_early", now + TOLERANCE_S + 1, b"{}"),
        ]
    }

    fn sign(id: &str, seconds: i64, body: &[u8]) -> Self {
        let (event_id, sent_at) = (
            EventId::new(id).unwrap(),
            Timestamp::from_seconds(seconds).unwrap(),
        );
        let [signature, of_another_secret] = [SECRET, SECOND_SECRET]
            .map(|secret| signing_secret(secret).sign(&event_id, sent_at, body));
        let tag = BASE64
            .decode(signature.strip_prefix("v1,").unwrap())
            .unwrap();
        let (id, timestamp) = (id.into(), seconds.to_string().into());
        let request = Request {
            id,
            timestamp,
            signature: signature.into(),
            body: body.into(),
        };
        Self {
            request,
            tag,
            of_another_secret,
            is_in_time: (seconds - now_s()).abs() <= TOLERANCE_S,
        }
    }

    /// Whether the request says the same and is in time: ID, time and body to the byte, and one
    /// signature of version 1 that decodes to the right bytes, in a header that may be sent.
    pub fn is_said_by(&self, request: &Request) -> bool {
        let Request {
            id,
            timestamp,
            signature,
            body,
        } = request;
        let ours = &self.request;
        let is_signed = || {
            let mut encoded = signature
                .split(|byte| *byte == b' ')
                .filter_map(|item| item.strip_prefix(b"v1,"));
            encoded.any(|encoded| BASE64.decode(encoded).is_ok_and(|tag| tag == self.tag))
        };
        let is_plain = || {
            signature
                .iter()
                .all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
                && signature.len() <= 4096
        };
        let is_same = *id == ours.id && *timestamp == ours.timestamp && *body == ours.body;
        self.is_in_time && is_same && is_plain() && is_signed()
    }
}
