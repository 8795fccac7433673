//! Verifies a delivery, publishes its event, answers.
//!
//! What holds here: a 2xx is sent only after the queue has the event on disk, and nothing is read
//! from a body before its signature is good.

use std::num::NonZeroUsize;
use std::sync::Arc;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tokio::sync::watch;
use tracing::debug;
use utoipa::ToSchema;

use super::body;
use crate::clerk::{Delivery, EventType, SignedEvent, SyncedTables, Verified, Verifier};
use crate::clock::now;
use crate::http::deliveries::Deliveries;
use crate::http::limits::Capacity;
use crate::http::paths::WEBHOOK_PATH;
use crate::http::problem::{Code, Problem};
use crate::http::reject_log::RejectLog;
use crate::metrics::{self, WebhookResult};
use crate::queue::Queue;
use crate::trace;

/// Bodies above this many bytes are verified on a thread of their own: the SHA-256 of 64 KiB takes
/// about 0.2 ms, of 1 MiB 3 ms, in which no other delivery would be answered.
const VERIFIED_ELSEWHERE_ABOVE: usize = 64 * 1024;

/// What the route needs.
#[derive(Clone)]
pub struct Webhooks {
    /// Follows the secrets as they are read again.
    pub verifier: watch::Receiver<Arc<Verifier>>,
    /// The queue.
    pub queue: Queue,
    /// The tables whose events are queued.
    pub synced: SyncedTables,
    /// The largest body.
    pub max_body_bytes: usize,
    /// The log of rejected requests.
    pub reject_log: Arc<RejectLog>,
    /// Counts the deliveries.
    pub deliveries: Arc<Deliveries>,
}

impl Webhooks {
    /// The same, for one of `threads` that serve.
    pub fn on_this_thread(self, threads: NonZeroUsize) -> Self {
        Self {
            queue: self.queue.on_this_thread(threads),
            ..self
        }
    }
}

/// What was done with a delivery.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct Answer<'a> {
    /// `queued`, or `ignored` for a verified event of a type that is not synced (see SYNC), and for a
    /// ping of Svix's own.
    status: &'static str,
    event_id: &'a str,
    /// The type of an event that is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
}

/// A delivery of Clerk's, signed by Svix: 200 only once the queue has the event on disk.
///
/// Each of the three headers must be there once, under `svix-` or `webhook-`.
#[utoipa::path(
    post, path = "/api/webhooks/clerk", tag = "webhook",
    params(
        ("svix-id" = String, Header, description = "The event's ID, the same over every retry", pattern = "^[A-Za-z0-9_-]{1,255}$"),
        ("svix-timestamp" = String, Header, description = "Seconds since 1970, at most 5 minutes from now"),
        ("svix-signature" = String, Header, description = "One or more of `v1,` and a signature, separated by spaces"),
    ),
    request_body(content = serde_json::Value, description = "The event, up to MAX_BODY_BYTES"),
    responses(
        (status = 200, description = "The queue has it, or it is not of a type that is synced", body = Answer),
        (status = 400, description = "`missing_header`, `invalid_header`, `invalid_signature`, `timestamp_out_of_tolerance`"),
        (status = 413, description = "`body_too_large`: larger than MAX_BODY_BYTES, or than one message of RabbitMQ may be"),
        (status = 503, description = "`queue_unavailable`"),
    )
)]
pub async fn deliver(
    request: HttpRequest,
    payload: web::Payload,
    webhooks: web::Data<Webhooks>,
    capacity: web::Data<Capacity>,
) -> Result<HttpResponse, Problem> {
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let mut span = trace::RequestSpan::start(WEBHOOK_PATH, header);
    let mut event_type = metrics::EventType::OTHER;
    let answer = async {
        let Verified { mut event, secrets } =
            verified(&request, payload, &webhooks, &capacity).await?;
        event_type = type_label(event.event_type());
        if let Some(span) = &mut span {
            event = span.add_event(event);
        }
        let answer = queue(&webhooks, event).await?;
        // While both secrets of a rotation sign, both are in use.
        secrets.into_iter().for_each(metrics::secret_match);
        Ok(answer)
    }
    .await;
    let problem = answer.as_ref().err().map(Problem::code);
    if let Some(span) = span {
        let status = problem.map_or(200, |code| code.status().as_u16());
        span.end(status, problem.map(Code::name));
    }
    let result = answer.as_ref().map_or_else(
        |problem: &Problem| problem.code().into(),
        |(result, _)| *result,
    );
    webhooks.deliveries.answered(result, event_type);
    answer
        .map(|(_, response)| response)
        .inspect_err(|problem| webhooks.reject_log.log(problem))
}

/// The label of a type in the metrics.
pub fn type_label(event_type: &EventType) -> metrics::EventType {
    metrics::EventType::of(event_type.as_str())
}

/// Reads a delivery, and verifies its signature.
///
/// # Errors
///
/// If a header is wrong, the body is not read within the limits, or the signature is not good.
pub async fn verified(
    request: &HttpRequest,
    payload: web::Payload,
    webhooks: &Webhooks,
    capacity: &Capacity,
) -> Result<Verified, Problem> {
    let headers = request.headers();
    let pairs = headers.iter();
    let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let delivery = Delivery::read(pairs, now())?;
    let announced = headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut held = capacity.body(announced);
    let body = body::read(payload, announced, webhooks.max_body_bytes, &mut held).await?;
    let verifier = Arc::clone(&webhooks.verifier.borrow());
    // From the end of this function on the queue counts the event's bytes, and no longer `held`.
    if body.len() <= VERIFIED_ELSEWHERE_ABOVE {
        return Ok(verifier.verify(delivery, body, now())?);
    }
    let verified = web::block(move || verifier.verify(delivery, body, now())).await;
    Ok(verified.map_err(|_| {
        let detail = "no thread was free to verify the body; send it again";
        Problem::new(Code::Overloaded, detail)
    })??)
}

/// Queues an event, or ignores it. Only an event that is answered with a 2xx counts as received.
async fn queue(
    webhooks: &Webhooks,
    event: SignedEvent,
) -> Result<(WebhookResult, HttpResponse), Problem> {
    let (id, received_at) = (event.id().clone(), event.received_at());
    let answer = |status, event_type: Option<&str>| {
        let event_id = id.as_str();
        metrics::event_received(received_at.ms());
        HttpResponse::Ok().json(Answer {
            status,
            event_id,
            event_type,
        })
    };
    let event_type = event.event_type();
    let ignored = match webhooks.synced.takes(event_type) {
        _ if event.is_ping() => Some(None),
        false => Some(Some(event_type.as_str())),
        true => None,
    };
    if let Some(name) = ignored {
        debug!(event_id = %id, is_ping = name.is_none(), "an event of another type was ignored");
        return Ok((WebhookResult::Ignored, answer("ignored", name)));
    }
    let event_type = type_label(event.event_type()).name();
    webhooks.queue.publish(event).await?;
    debug!(event_id = %id, event_type, "an event was queued");
    Ok((WebhookResult::Queued, answer("queued", None)))
}
