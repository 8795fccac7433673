//! What a request changes is changed whole, also if its client goes away.
//!
//! actix-web drops the handler of a client that has closed its connection (`server.rs`). For one
//! that only reads that is right: no one waits for the answer. A delivery, a replay or a pause runs
//! in a task of its own instead, which nothing cancels.

use std::panic::resume_unwind;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::ErrorServiceUnavailable;
use actix_web::http::Method;
use actix_web::middleware::Next;

use crate::tasks;

/// Answers the request; all of it is done even if the answer is for no one any more.
pub async fn complete_writes(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.call(request).await;
    }
    let answer = tasks::brief_here(async move { next.call(request).await });
    match answer.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(answer) => answer,
        // As without a task.
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => Err(ErrorServiceUnavailable("the thread is stopping")),
    }
}
