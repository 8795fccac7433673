//! Deliveries that miss the webhook's route, by their path or by their method. Svix disables an endpoint after five days of
//! them, so nobody must have to guess: the answer names the right path, and a signed one is counted and logged.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, ResponseError, Route, web};

use super::limits::Capacity;
use super::problem::{Code, Problem};
use super::reject_log::Refusals;
use super::webhook::{self, Webhooks};
use super::{ALTERNATE_WEBHOOK_PATH, WEBHOOK_PATH};
use crate::clock::now;
use crate::metrics::{self, EventType, WebhookResult};

/// The three headers of a delivery, each in either family.
const HEADERS: [[HeaderName; 2]; 3] = [
    [
        HeaderName::from_static("svix-id"),
        HeaderName::from_static("webhook-id"),
    ],
    [
        HeaderName::from_static("svix-timestamp"),
        HeaderName::from_static("webhook-timestamp"),
    ],
    [
        HeaderName::from_static("svix-signature"),
        HeaderName::from_static("webhook-signature"),
    ],
];

fn has_either(headers: &HeaderMap, names: &[HeaderName; 2]) -> bool {
    names.iter().any(|name| headers.contains_key(name))
}

/// Whether a request means to deliver an event: one of the headers is enough.
pub fn is_delivery(request: &HttpRequest) -> bool {
    HEADERS
        .iter()
        .any(|names| has_either(request.headers(), names))
}

/// Answers a request that has all three headers and comes to another path than the webhook's, before any route does: those of the
/// API and the dashboard would ask it for a token.
pub async fn no_delivery(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let is_whole = HEADERS
        .iter()
        .all(|names| has_either(request.headers(), names));
    if !is_whole || is_webhook(request.path()) {
        return next.call(request).await;
    }
    let payload = request.extract::<web::Payload>().await?;
    let problem = refuse(
        request.request(),
        payload,
        Problem::new(Code::NotFound, "the path is not the webhook's"),
    )
    .await;
    Ok(request.into_response(problem.error_response()))
}

/// Whether the path is the webhook's.
pub fn is_webhook(path: &str) -> bool {
    path == WEBHOOK_PATH || path == ALTERNATE_WEBHOOK_PATH
}

/// What answers every request that no route takes, with this problem.
pub fn refusing(problem: fn() -> Problem) -> Route {
    web::to(
        move |request: HttpRequest, payload: web::Payload| async move {
            Err::<HttpResponse, _>(refuse(&request, payload, problem()).await)
        },
    )
}

/// The problem with a hint, where the request means to deliver an event. Reads a body only if it is a delivery, within the
/// limits of the webhook's route.
pub async fn refuse(request: &HttpRequest, payload: web::Payload, problem: Problem) -> Problem {
    if !is_delivery(request) {
        // Somebody tries the path by hand.
        let is_near =
            request.path().to_ascii_lowercase().contains("webhook") && !is_webhook(request.path());
        return if is_near {
            problem.with_hint(hint(request))
        } else {
            problem
        };
    }
    let problem = problem.with_hint(hint(request));
    let refusals = request.app_data::<web::Data<Refusals>>();
    match signed_type(request, payload).await {
        Some(event_type) => {
            metrics::webhook(WebhookResult::NotFound, event_type);
            refusals.inspect(|refusals| refusals.note_misdirected(WEBHOOK_PATH, now()));
        }
        None => {
            _ = refusals.inspect(|refusals| refusals.note(problem.code(), problem.detail(), now()))
        }
    }
    problem
}

/// The type of the event, if the signature is good.
async fn signed_type(request: &HttpRequest, payload: web::Payload) -> Option<EventType> {
    let webhooks = request.app_data::<web::Data<Webhooks>>()?;
    let capacity = request.app_data::<web::Data<Capacity>>()?;
    let verified = webhook::verified(request, payload, webhooks, capacity)
        .await
        .ok()?;
    Some(webhook::type_label(verified.event.event_type()))
}

fn hint(request: &HttpRequest) -> String {
    if request.app_data::<web::Data<Webhooks>>().is_none() {
        return format!(
            "this process takes no webhooks: deliver to POST {WEBHOOK_PATH} of one that runs `clerk-sync serve` or `clerk-sync receiver`"
        );
    }
    let hint = format!(
        "webhooks go to POST {WEBHOOK_PATH}: set the endpoint's URL in Clerk's dashboard to end in this path"
    );
    if request.method() == Method::GET {
        return hint + ", and to begin with https:// if a redirect made a GET of it";
    }
    hint
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn one_header_of_a_delivery_is_enough() {
        for name in ["svix-id", "Svix-Signature", "webhook-timestamp"] {
            assert!(
                is_delivery(
                    &TestRequest::default()
                        .insert_header((name, "x"))
                        .to_http_request()
                ),
                "{name}"
            );
        }
        assert!(!is_delivery(
            &TestRequest::default()
                .insert_header(("x-svix-id", "x"))
                .to_http_request()
        ));
    }

    #[test]
    fn the_webhook_has_one_trailing_slash_at_most() {
        assert!(is_webhook("/api/webhooks/clerk") && is_webhook("/api/webhooks/clerk/"));
        for wrong in [
            "/api/webhooks/clerk//",
            "/api/webhooks",
            "/",
            "//api/webhooks/clerk",
            "/API/webhooks/clerk",
        ] {
            assert!(!is_webhook(wrong), "{wrong}");
        }
    }
}
