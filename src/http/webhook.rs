//! The hot path: verify a delivery, publish its event, answer.
//!
//! What holds here: a 2xx is sent only after the queue has the event on disk, and nothing is read from a body before
//! its signature is good. Knows the queue, not the store.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::watch;
use tracing::debug;

use super::capacity::{BodyBytes, Capacity};
use super::problem::{Code, Problem};
use super::refusals::Refusals;
use crate::clerk::{Delivery, EventType, SignedEvent, Verifier};
use crate::clock::now;
use crate::queue::Queue;

/// How long a body may take to come, in all. Svix gives up after 15 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Bodies above this many bytes are verified on a thread of their own: the SHA-256 of 64 KiB takes about 0.2 ms, of
/// 1 MiB 3 ms, in which no other delivery would be answered.
const VERIFIED_ELSEWHERE_ABOVE: usize = 64 * 1024;

/// What the route needs.
#[derive(Clone)]
pub struct Webhooks {
    /// Follows the secrets as they are read again.
    pub verifier: watch::Receiver<Arc<Verifier>>,
    pub queue: Queue,
    pub max_body_bytes: usize,
    pub refusals: Arc<Refusals>,
}

#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    event_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
}

/// `POST /api/webhooks/clerk`
pub async fn receive(
    request: HttpRequest,
    payload: web::Payload,
    webhooks: web::Data<Webhooks>,
    capacity: web::Data<Capacity>,
) -> Result<HttpResponse, Problem> {
    let answer = take(&request, payload, &webhooks, &capacity).await;
    if let Err(problem) = &answer {
        webhooks.refusals.note(problem.code(), problem.detail(), now());
    }
    answer
}

async fn take(
    request: &HttpRequest,
    payload: web::Payload,
    webhooks: &Webhooks,
    capacity: &Capacity,
) -> Result<HttpResponse, Problem> {
    let headers = request.headers();
    let delivery = Delivery::read(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())), now())?;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut held = capacity.body(announced);
    let body = read_body(payload, announced, webhooks.max_body_bytes, &mut held).await?;
    let event = verify(webhooks, delivery, body).await?;
    // From here on the queue counts the event's bytes.
    drop(held);

    let id = event.id().clone();
    if let EventType::Other(name) = event.event_type() {
        debug!(event_id = %id, "an event of another type was ignored");
        let answer = Answer { status: "ignored", event_id: id.as_str(), r#type: Some(name) };
        return Ok(HttpResponse::Ok().json(answer));
    }
    webhooks.queue.publish(event).await?;
    Ok(HttpResponse::Ok().json(Answer { status: "queued", event_id: id.as_str(), r#type: None }))
}

async fn verify(webhooks: &Webhooks, delivery: Delivery, body: Bytes) -> Result<SignedEvent, Problem> {
    let verifier = Arc::clone(&webhooks.verifier.borrow());
    if body.len() <= VERIFIED_ELSEWHERE_ABOVE {
        return Ok(verifier.verify(delivery, body, now())?);
    }
    let verified = web::block(move || verifier.verify(delivery, body, now())).await;
    Ok(verified.map_err(|_| Problem::new(Code::Overloaded, "no thread was free to verify the body; send it again"))??)
}

/// The whole body, within its limits of size and time. What comes in more than one piece is counted in `held`.
async fn read_body(
    mut payload: web::Payload,
    announced: Option<usize>,
    max: usize,
    held: &mut BodyBytes,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::BodyTooLarge, format!("a body may have {max} bytes (MAX_BODY_BYTES)"));
    let announced = announced.unwrap_or(0);
    if announced > max {
        return Err(too_large());
    }
    let read = async {
        let mut chunk = read_chunk(&mut payload).await?.unwrap_or_default();
        if chunk.len() == announced {
            // The usual case: the body came in one piece and is not copied.
            return Ok(chunk);
        }
        let mut body = Pieces::default();
        loop {
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            held.add(chunk.len())?;
            body.add(&chunk);
            match read_chunk(&mut payload).await? {
                Some(next) => chunk = next,
                None => return Ok(body.join()),
            }
        }
    };
    tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or_else(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        Err(Problem::new(Code::RequestTimeout, format!("the body did not come within {seconds} s")))
    })
}

async fn read_chunk(payload: &mut web::Payload) -> Result<Option<Bytes>, Problem> {
    let chunk = payload.next().await.transpose();
    chunk.map_err(|_| Problem::new(Code::InvalidRequest, "the body ended before it was whole"))
}

/// A body that came in many chunks. A chunk itself is not kept: a byte of one can hold on to the whole buffer of its
/// connection. Nor is one buffer made to grow: while it moves, a body would take three times its size.
#[derive(Default)]
struct Pieces {
    full: Vec<BytesMut>,
    last: BytesMut,
}

impl Pieces {
    /// Bytes in one piece.
    const SIZE: usize = 16 * 1024;

    fn len(&self) -> usize {
        self.full.len() * Self::SIZE + self.last.len()
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.last.len() == Self::SIZE || self.last.capacity() == 0 {
                let full = std::mem::replace(&mut self.last, BytesMut::with_capacity(Self::SIZE));
                self.full.extend((!full.is_empty()).then_some(full));
            }
            let (fits, rest) = bytes.split_at(bytes.len().min(Self::SIZE - self.last.len()));
            self.last.extend_from_slice(fits);
            bytes = rest;
        }
    }

    fn join(self) -> Bytes {
        if self.full.is_empty() {
            return self.last.freeze();
        }
        let mut body = BytesMut::with_capacity(self.len());
        for piece in self.full.iter().chain([&self.last]) {
            body.extend_from_slice(piece);
        }
        body.freeze()
    }
}
