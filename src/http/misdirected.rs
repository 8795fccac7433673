//! Deliveries that miss the webhook's route, by their path or their method. Svix disables an
//! endpoint after five days of them: so the answer names the right path, and a signed one is
//! counted and logged.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError, Route};

use super::limits::Capacity;
use super::paths::{WEBHOOK_PATH, is_webhook};
use super::problem::{Code, Problem};
use super::reject_log::RejectLog;
use super::webhook::receive::{Webhooks, type_label, verified};
use crate::metrics::{EventType, WebhookResult};

/// The three headers of a delivery, each in either family.
const HEADERS: [[&str; 2]; 3] = [
    ["svix-id", "webhook-id"],
    ["svix-timestamp", "webhook-timestamp"],
    ["svix-signature", "webhook-signature"],
];

/// How many of the three headers a request has.
fn count_headers(request: &HttpRequest) -> usize {
    let has = |name: &&str| request.headers().contains_key(*name);
    HEADERS.iter().filter(|names| names.iter().any(has)).count()
}

/// Returns whether a request means to deliver an event: one of the headers is enough.
pub fn is_delivery(request: &HttpRequest) -> bool {
    count_headers(request) > 0
}

/// Answers a request that has all three headers and another path than the webhook's, before any
/// route does: those of the API and the dashboard would ask it for a token.
pub async fn reject_misdirected(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if is_webhook(request.path()) || count_headers(request.request()) < HEADERS.len() {
        return next.call(request).await;
    }
    let payload = request.extract::<Payload>().await?;
    let problem = Problem::new(Code::NotFound, "the path is not the webhook's");
    let problem = with_hint(request.request(), payload, problem).await;
    Ok(request.into_response(problem.error_response()))
}

/// A route that answers every request with this problem.
pub fn rejecting(problem: impl Fn() -> Problem + Clone + 'static) -> Route {
    web::to(move |request: HttpRequest, payload: Payload| {
        let problem = problem();
        async move { Err::<HttpResponse, _>(with_hint(&request, payload, problem).await) }
    })
}

/// The problem, with a hint if the request means to deliver an event. Reads a body only if it is a
/// delivery, within the limits of the webhook's route.
pub async fn with_hint(request: &HttpRequest, payload: Payload, problem: Problem) -> Problem {
    if !is_delivery(request) {
        let path = request.path();
        // A person tries the path manually.
        let is_near = path.to_ascii_lowercase().contains("webhook") && !is_webhook(path);
        return if is_near {
            problem.with_hint(hint(request))
        } else {
            problem
        };
    }
    let problem = problem.with_hint(hint(request));
    let event_type = signed_type(request, payload).await;
    if let Some((webhooks, event_type)) = request.app_data::<Data<Webhooks>>().zip(event_type) {
        let deliveries = &webhooks.deliveries;
        deliveries.answered(WebhookResult::NotFound, event_type);
    }
    if let Some(reject_log) = request.app_data::<Data<RejectLog>>() {
        match event_type {
            Some(_) => reject_log.log_misdirected(),
            None => reject_log.log(&problem),
        }
    }
    problem
}

/// The type of the event, if the signature is good.
async fn signed_type(request: &HttpRequest, payload: Payload) -> Option<EventType> {
    let webhooks = request.app_data::<Data<Webhooks>>()?;
    let capacity = request.app_data::<Data<Capacity>>()?;
    let verified = verified(request, payload, webhooks, capacity).await.ok()?;
    Some(type_label(verified.event.event_type()))
}

fn hint(request: &HttpRequest) -> String {
    if request.app_data::<Data<Webhooks>>().is_none() {
        return format!(
            "this process takes no webhooks: deliver to POST {WEBHOOK_PATH} of one that runs `clerk-sync serve` or `clerk-sync receiver`"
        );
    }
    let redirected = if request.method() == Method::GET {
        ", and to begin with https:// if a redirect made a GET of it"
    } else {
        ""
    };
    format!(
        "webhooks go to POST {WEBHOOK_PATH}: set the endpoint's URL in Clerk's dashboard to end in this path{redirected}"
    )
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn one_header_of_a_delivery_is_enough() {
        let with = |name: &str| {
            let request = TestRequest::default().insert_header((name, "x"));
            is_delivery(&request.to_http_request())
        };
        for name in ["svix-id", "Svix-Signature", "webhook-timestamp"] {
            assert!(with(name), "{name}");
        }
        assert!(!with("x-svix-id"));
    }
}
