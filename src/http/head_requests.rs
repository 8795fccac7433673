//! HEAD, answered like GET by the same routes: the same status and headers, and no body.
//!
//! actix-http itself omits the body of an answer to HEAD, but not reliably for pipelined requests:
//! it uses the method of the last request, so that a body could be sent, which the client would
//! read as the next answer.

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

/// An empty body that reports its size as a stream.
struct Nothing;

impl MessageBody for Nothing {
    type Error = Infallible;

    /// A stream, so that actix-http keeps the `Content-Length` of the head.
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
