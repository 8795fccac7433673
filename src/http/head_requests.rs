//! HEAD, answered like GET by the same routes: the same status and headers, and no body.
//!
//! actix-http leaves the body of an answer to HEAD out by itself, but for requests that a client
//! sends before it has the answer to the one before: there it goes by the last of them, and a body
//! would be taken for the next answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ResponseHead, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::middleware::Next;
use bytes::Bytes;

/// Answers HEAD by the route for GET.
pub async fn as_get(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.method() != Method::HEAD {
        return next.call(request).await;
    }
    request.head_mut().method = Method::GET;
    Ok(next.call(request).await?.map_body(without_body))
}

fn without_body(head: &mut ResponseHead, body: BoxBody) -> BoxBody {
    if let BodySize::Sized(length) = body.size() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    head.no_chunking(true);
    BoxBody::new(Nothing)
}

/// A body of any length, as its size says, of which nothing comes.
struct Nothing;

impl MessageBody for Nothing {
    type Error = Infallible;

    /// What leaves the length that the head names.
    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}
