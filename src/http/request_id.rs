//! The ID of a request: in the answer, in a problem, and in the log line about it, so that the one
//! leads to the other.

use std::fmt::Write;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use tracing::warn;

use super::paths::is_webhook;

/// The header in which a client may give the ID, and in which every answer has it.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest ID of a client's, in characters.
const CHARACTERS_MAX: usize = 64;

tokio::task_local! {
    /// Set while a request is answered.
    static CURRENT: String;
}

/// The ID of the request that is answered here. Returns `None` outside of one.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Answers the request under its ID. A failure of the API or the dashboard is logged with it; the
/// webhook's and those of health, which anybody can cause, have their own lines.
pub async fn with_id(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let given = request.headers().get(&HEADER).and_then(plain);
    let id = given.map_or_else(make, str::to_owned);
    let mut answer = CURRENT.scope(id.clone(), next.call(request)).await?;
    let path = answer.request().path();
    let has_own_line = is_webhook(path) || matches!(path, "/healthz" | "/readyz" | "/metrics");
    if answer.status().is_server_error()
        && !has_own_line
        && let Some(error) = answer.response().error()
    {
        // The pattern of the route, and not the path: that has IDs of people in it.
        let route = answer.request().match_pattern();
        warn!(request_id = id, route, %error, "a request could not be answered");
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(HEADER, value);
    }
    Ok(answer)
}

/// A client's ID, if it can stand in a log as it is.
fn plain(value: &HeaderValue) -> Option<&str> {
    let id = value.to_str().ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_short = (1..=CHARACTERS_MAX).contains(&id.len());
    (is_short && id.chars().all(is_plain)).then_some(id)
}

fn make() -> String {
    let mut id = String::from("req_");
    write!(id, "{:032x}", rand::random::<u128>()).expect("a text takes every character");
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_client_is_short_and_plain() {
        let is_taken = |id: &str| plain(&HeaderValue::from_bytes(id.as_bytes()).unwrap()).is_some();
        for id in [
            "a",
            "req_0f",
            "3f2b7a1e-0c11-4c5e-9a55-c0ffee.1",
            &"x".repeat(64),
        ] {
            assert!(is_taken(id), "{id}");
        }
        for id in ["", "a b", "a@b.c", "é", "a\tb", "\"", &"x".repeat(65)] {
            assert!(!is_taken(id), "{id}");
        }
    }

    #[test]
    fn two_requests_have_two_ids() {
        assert_ne!(make(), make());
        assert!(plain(&HeaderValue::from_str(&make()).unwrap()).is_some());
    }
}
