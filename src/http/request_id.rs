//! The ID of a request: in the answer, in a problem, and in the log line about it, so that the one
//! leads to the other.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use tracing::warn;

use super::paths::{is_of_health, is_webhook};

/// The header in which a client may give the ID, and in which every answer has it.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest ID of a client's, in characters.
const CHARACTERS_MAX: usize = 64;

tokio::task_local! {
    /// Set while a request is answered.
    static CURRENT: HeaderValue;
}

/// The ID of the request that is answered here. Returns `None` outside of one.
pub fn current() -> Option<String> {
    let id = CURRENT.try_with(|id| id.to_str().map(str::to_owned));
    id.ok()?.ok()
}

/// Answers the request under its ID. A failure of the API or the dashboard is logged with it; the
/// webhook's and those of health, which anybody can cause, have their own lines.
pub async fn with_id(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let given = request.headers().get(&HEADER);
    let given = given.filter(|value| is_plain(value)).cloned();
    let id = given.unwrap_or_else(make);
    let mut answer = CURRENT.scope(id.clone(), next.call(request)).await?;
    let path = answer.request().path();
    let has_own_line = is_webhook(path) || is_of_health(path);
    if answer.status().is_server_error()
        && !has_own_line
        && let Some(error) = answer.response().error()
    {
        // The pattern of the route, and not the path: that has IDs of people in it.
        let route = answer.request().match_pattern();
        warn!(request_id = id.to_str().ok(), route, %error, "a request could not be answered");
    }
    answer.headers_mut().insert(HEADER, id);
    Ok(answer)
}

/// Whether a client's ID can stand in a log as it is.
fn is_plain(id: &HeaderValue) -> bool {
    let is_plain = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    (1..=CHARACTERS_MAX).contains(&id.len()) && id.as_bytes().iter().all(is_plain)
}

fn make() -> HeaderValue {
    let id = format!("req_{:032x}", rand::random::<u128>());
    HeaderValue::try_from(id).expect("letters and digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_client_is_short_and_plain() {
        let is_taken = |id: &str| is_plain(&HeaderValue::from_bytes(id.as_bytes()).unwrap());
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
        assert!(is_plain(&make()));
    }
}
