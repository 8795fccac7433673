//! gzip for the answers of the API, where the client accepts it.
//!
//! The webhook's answers are a line each. The pages of the dashboard stay as they are: they hold a
//! form token beside what the address says, and their compressed length would tell of it to a
//! listener who chooses addresses for the browser. The API has no cookies: no other site can choose.

use std::io::Write;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY,
};
use actix_web::middleware::Next;
use actix_web::web::block;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::paths::is_webhook;

/// Shorter bodies fit into one packet anyway, in bytes.
const BYTES_MIN: usize = 1024;

/// Longer bodies are compressed on a thread of their own, in bytes: a webhook must not wait.
const BYTES_AT_ONCE: usize = 32 * 1024;

/// Compresses the answer, if the client accepts it and it is worth it.
pub async fn answers_of_api(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let path = request.path();
    if !path.starts_with("/api/") || is_webhook(path) {
        return next.call(request).await;
    }
    let accepted = request.headers().get_all(ACCEPT_ENCODING);
    let accepted: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
    let accepts = accepts_gzip(&accepted.join(","));
    let (request, mut response) = next.call(request).await?.into_parts();
    let vary = HeaderValue::from_static("accept-encoding");
    response.headers_mut().insert(VARY, vary);
    if !accepts || response.headers().contains_key(CONTENT_ENCODING) {
        return Ok(ServiceResponse::new(request, response));
    }
    let (mut response, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(whole) if whole.len() >= BYTES_MIN => {
            let gzip = HeaderValue::from_static("gzip");
            response.headers_mut().insert(CONTENT_ENCODING, gzip);
            response.headers_mut().remove(CONTENT_LENGTH);
            let compressed = if whole.len() > BYTES_AT_ONCE {
                block(move || compressed(&whole)).await?
            } else {
                compressed(&whole)
            };
            BoxBody::new(compressed)
        }
        Ok(short) => BoxBody::new(short),
        Err(stream) => stream,
    };
    Ok(ServiceResponse::new(request, response.set_body(body)))
}

fn compressed(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("memory takes every byte").into()
}

/// Whether a list of codings (RFC 9110, 12.5.3) has gzip: by its name, or else as one of all.
fn accepts_gzip(list: &str) -> bool {
    let coding = |coding: &str| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = quality.trim().strip_prefix("q=").map(str::trim);
        let is_refused = quality.is_some_and(|quality| quality.parse() == Ok(0.0));
        (name.trim().to_ascii_lowercase(), !is_refused)
    };
    let codings: Vec<_> = list.split(',').map(coding).collect();
    let find = |names: &[&str]| codings.iter().find(|(name, _)| names.contains(&&**name));
    let found = find(&["gzip", "x-gzip"]).or_else(|| find(&["*"]));
    found.is_some_and(|(_, is_accepted)| *is_accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_accepted_by_name_or_as_one_of_all() {
        for list in [
            "gzip",
            "br, GZIP ",
            "deflate,gzip;q=0.1",
            "*",
            "identity;q=1, *;q=0.5",
            "x-gzip",
        ] {
            assert!(accepts_gzip(list), "{list}");
        }
        for list in ["", "br", "gzip;q=0", "gzip; q=0.000, *", "*;q=0", "gzipped"] {
            assert!(!accepts_gzip(list), "{list}");
        }
    }
}
