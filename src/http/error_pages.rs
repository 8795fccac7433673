//! Errors as pages for browsers. Programs get a problem document for the same.

use actix_web::HttpRequest;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
use actix_web::middleware::Next;

use super::misdirected::is_delivery;
use super::problem::ShownProblem;
use super::{dashboard, paths};

/// Answers an error with a page, if a browser asks for one and no route made one.
pub async fn for_browsers(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let is_page = wants_page(request.request());
    let mut answer = next.call(request).await?;
    let is_error = answer.status().is_client_error() || answer.status().is_server_error();
    if !is_page || !is_error || is_html(&answer) {
        return Ok(answer);
    }
    let status = answer.status();
    let problem = answer.response_mut().extensions_mut().remove();
    let page = match problem {
        Some(ShownProblem { title, detail }) => dashboard::problem_page(status, title, &detail),
        None => {
            let heading = status.canonical_reason().unwrap_or("Error");
            dashboard::problem_page(status, heading, "")
        }
    };
    let (page, body) = page.into_parts();
    // The other headers stay: when to try again, which methods are allowed.
    for (name, value) in page.headers() {
        answer.headers_mut().insert(name.clone(), value.clone());
    }
    Ok(answer.map_body(|_, _| body.boxed()))
}

/// Whether a person is behind the request: their browser asks for HTML, and the path is none of
/// those for programs.
fn wants_page(request: &HttpRequest) -> bool {
    let path = request.path();
    let is_for_programs = path == "/api" || path.starts_with("/api/") || paths::is_of_health(path);
    let accepts = request.headers().get_all(ACCEPT);
    let mut accepts = accepts.filter_map(|value| value.to_str().ok());
    !is_for_programs && !is_delivery(request) && accepts.any(|value| value.contains("text/html"))
}

fn is_html(answer: &ServiceResponse<BoxBody>) -> bool {
    let content_type = answer.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_page_is_for_browsers_alone() {
        let asks = |path: &str, accept: &str| {
            let request = TestRequest::with_uri(path).insert_header((ACCEPT, accept));
            wants_page(&request.to_http_request())
        };
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(asks("/nowhere", browser) && asks("/events/msg_1", browser));
        for (path, accept) in [
            ("/nowhere", "*/*"),
            ("/nowhere", "application/json"),
            ("/api", browser),
            ("/api/users/user_1", browser),
            ("/readyz", browser),
        ] {
            assert!(!asks(path, accept), "{path}: {accept}");
        }
        let delivery = TestRequest::with_uri("/nowhere")
            .insert_header((ACCEPT, browser))
            .insert_header(("svix-id", "msg_1"));
        assert!(!wants_page(&delivery.to_http_request()));
    }
}
