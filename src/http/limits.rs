//! Limits on open connections, on those that wait, and on the bytes of bodies in progress. Over a limit the answer is
//! 503 at once, and other clients are served.

use std::any::Any;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::{ResponseError, web};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::paths::{is_of_health, is_webhook};
use super::problem::{Code, Problem};
use super::reject_log::RejectLog;
use crate::metrics::{self, EventType};

/// Most open connections that are served, in the whole process. One that has had a request costs
/// about 20 KiB, one whose head is still coming at most 128 KiB (actix-http's limit for a head).
const CONNECTIONS_MAX: usize = 8192;

/// Most requests that wait for a row or for changes, in the whole process: sign-ups of some minutes
/// at once. Each holds its connection for up to 30 s, so they never take more than half of those
/// that are served.
const WAITS_MAX: usize = 4096;

/// Open files that are left for what is not a connection from a client: the database's and the
/// broker's connections, the embedded files, the logs, and those of a health check that comes when
/// the limit is reached.
const OTHER_FILES: usize = 128;

/// Bytes of bodies that are still coming, of each of the two kinds.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What Clerk sends for a user is a few KiB. Bodies up to this size have a share of their own, so
/// that large ones cannot shut them out.
const USUAL_BODY_MAX: usize = 64 * 1024;

/// The limits of one process.
#[derive(Clone)]
pub struct Capacity {
    connections: Arc<Semaphore>,
    connections_max: usize,
    waits: Arc<Semaphore>,
    usual_bodies: Arc<Semaphore>,
    large_bodies: Arc<Semaphore>,
}

/// The permit of a connection that is served. Released when it closes.
struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
}

/// The permit of a request that waits. Released when it is answered, or its client has gone.
pub struct WaitPermit {
    _permit: OwnedSemaphorePermit,
}

/// The bytes of its body that one request has sent so far. Released when it is dropped.
pub struct BodyBytes {
    share: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Capacity {
    /// Limits for bodies up to `max_body_bytes`, and for the open files that the system gives this
    /// process.
    pub fn of_this_process(max_body_bytes: usize) -> Self {
        Self::new(max_body_bytes, open_files())
    }

    fn new(max_body_bytes: usize, open_files: usize) -> Self {
        let connections_max = connection_limit(open_files);
        let large = BODIES_BYTES_MAX
            .max(max_body_bytes)
            .min(Semaphore::MAX_PERMITS);
        Self {
            connections: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            waits: Arc::new(Semaphore::new(wait_limit(connections_max))),
            usual_bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX)),
            large_bodies: Arc::new(Semaphore::new(large)),
        }
    }

    /// Most connections that are accepted at all by one of `threads` threads; further ones wait in
    /// the system's backlog.
    pub fn accepted_by_each_of(&self, threads: usize) -> usize {
        (self.connections_max + self.connections_max / 3).div_ceil(threads.max(1))
    }

    /// Gives a new connection a permit if one is free. actix-web calls this as it accepts.
    pub fn admit(&self, _connection: &dyn Any, extensions: &mut Extensions) {
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            extensions.insert(ConnectionPermit { _permit: permit });
        }
    }

    /// Connections that have a permit now.
    pub fn connections(&self) -> u64 {
        self.connections_max
            .saturating_sub(self.connections.available_permits()) as u64
    }

    /// A permit to wait. Returns `None` if too many wait already.
    pub fn wait(&self) -> Option<WaitPermit> {
        let permit = Arc::clone(&self.waits).try_acquire_owned().ok()?;
        Some(WaitPermit { _permit: permit })
    }

    /// Counts the bytes of a body that announced its length, or did not.
    pub fn body(&self, announced: Option<usize>) -> BodyBytes {
        let is_usual = announced.is_some_and(|bytes| bytes <= USUAL_BODY_MAX);
        let share = if is_usual {
            &self.usual_bodies
        } else {
            &self.large_bodies
        };
        BodyBytes {
            share: Arc::clone(share),
            held: None,
        }
    }
}

/// Most connections that are served with so many open files. A quarter of what is possible is left
/// for connections that are answered 503.
fn connection_limit(open_files: usize) -> usize {
    CONNECTIONS_MAX
        .min(open_files.saturating_sub(OTHER_FILES) / 4 * 3)
        .max(1)
}

/// Most requests that wait, of so many connections that are served.
fn wait_limit(connections_max: usize) -> usize {
    WAITS_MAX.min(connections_max / 2)
}

/// The open files of this process, the connections that it serves with these, and those that it
/// would serve with more.
pub fn file_and_connection_limits() -> (usize, usize, usize) {
    let files = open_files();
    (files, connection_limit(files), CONNECTIONS_MAX)
}

impl BodyBytes {
    /// Counts bytes that came.
    ///
    /// # Errors
    ///
    /// If too many bodies are in progress.
    pub fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| Arc::clone(&self.share).try_acquire_many_owned(bytes).ok())
            .ok_or_else(|| {
                let detail = "too many bodies are coming at once; send it again";
                Problem::new(Code::Overloaded, detail)
            })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

/// Answers requests on a connection without a permit with 503, and closes it. Health is answered
/// nevertheless, so that no orchestrator stops a busy process, and so are the metrics, which show
/// how busy it is.
pub async fn reject_over_limit(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.conn_data::<ConnectionPermit>().is_some() {
        return next.call(request).await;
    }
    let mut answer = if is_of_health(request.path()) {
        next.call(request).await?
    } else {
        let problem = Problem::new(
            Code::Overloaded,
            "too many connections are open; connect again later",
        );
        if let Some(reject_log) = request.app_data::<web::Data<RejectLog>>() {
            reject_log.log(&problem);
        }
        if is_webhook(request.path()) {
            metrics::webhook(problem.code().into(), EventType::OTHER);
        }
        request.into_response(problem.error_response())
    };
    answer
        .response_mut()
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    Ok(answer)
}

/// How many files this process may open. The soft limit is 1,024 or less on many systems, for
/// programs that use select(2); it is raised to what the system allows.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // macOS refuses more than its own limit here; the soft limit stays then.
    let limit = setrlimit(Resource::Nofile, raised).map_or(limit, |()| raised);
    let files = limit.current.and_then(|files| files.try_into().ok());
    files.unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for files in [256, 1024, 4096, 20_000, 1 << 20] {
            let capacity = Capacity::new(1 << 20, files);
            let accepted = capacity.accepted_by_each_of(2) * 2;
            assert!(accepted + OTHER_FILES <= files + 2, "{files}: {accepted}");
            assert!(
                capacity.connections_max <= CONNECTIONS_MAX && capacity.connections_max < accepted
            );
        }
        assert_eq!(
            Capacity::new(1 << 20, 10).connections_max,
            1,
            "at least one"
        );
    }

    #[test]
    fn those_that_wait_leave_half_of_the_connections_and_release_their_permits() {
        let capacity = Capacity::new(1 << 20, OTHER_FILES + 16);
        assert_eq!(capacity.connections_max, 12);
        let waits: Vec<_> = (0..6).map(|_| capacity.wait()).collect();
        assert!(waits.iter().all(Option::is_some) && capacity.wait().is_none());
        drop(waits);
        assert!(capacity.wait().is_some());
        assert_eq!(wait_limit(CONNECTIONS_MAX), WAITS_MAX);
    }

    #[test]
    fn large_bodies_do_not_shut_out_usual_ones_and_release_their_bytes() {
        let capacity = Capacity::new(1 << 20, 1024);
        let mut large: Vec<_> = (0..64).map(|_| capacity.body(None)).collect();
        for body in &mut large {
            for _ in 0..16 {
                body.add(1 << 16).unwrap();
            }
        }
        assert_eq!(
            capacity.body(Some(1 << 20)).add(1).unwrap_err().code(),
            Code::Overloaded
        );
        capacity
            .body(Some(USUAL_BODY_MAX))
            .add(USUAL_BODY_MAX)
            .unwrap();
        large.pop();
        capacity.body(None).add(1 << 20).unwrap();
    }

    #[test]
    fn the_largest_body_that_is_allowed_always_fits() {
        let capacity = Capacity::new(100 << 20, 1024);
        capacity.body(None).add(100 << 20).unwrap();
    }
}
