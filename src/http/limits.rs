//! How much of this process its clients may hold at once. Over a bound the answer is 503 at once, and others are served.

use std::any::Any;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::{ResponseError, web};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::misdirected::is_webhook;
use super::problem::{Code, Problem};
use super::reject_log::Refusals;
use crate::clock::now;
use crate::metrics::{self, EventType};

/// Most open connections that are served, in the whole process. One that has had a request costs about 20 KiB, one whose
/// head is still coming at most 128 KiB (actix-http's bound of a head).
const SEATS_MAX: usize = 8192;

/// Open files that are left for what is not a connection from a client: the database's and the broker's connections, the
/// embedded files, the logs, and those of a test of health that comes when all seats are taken.
const OTHER_FILES: usize = 128;

/// Bytes of bodies that are still coming, of each of the two kinds.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What Clerk sends for a user is a few KiB. Bodies up to this size have a share of their own, so that large ones cannot
/// shut them out.
const USUAL_BODY_MAX: usize = 64 * 1024;

/// The bounds of one process.
#[derive(Clone)]
pub struct Capacity {
    seats: Arc<Semaphore>,
    seats_max: usize,
    usual_bodies: Arc<Semaphore>,
    large_bodies: Arc<Semaphore>,
}

/// A connection that is served. Given back when it closes.
struct Seat {
    _permit: OwnedSemaphorePermit,
}

/// What one request has sent of its body so far. Given back when it is dropped.
pub struct BodyBytes {
    share: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Capacity {
    /// Bounds for bodies up to `max_body_bytes`, and for the open files that the system gives this process.
    pub fn of_this_process(max_body_bytes: usize) -> Self {
        Self::new(max_body_bytes, open_files())
    }

    fn new(max_body_bytes: usize, open_files: usize) -> Self {
        let seats_max = seats(open_files);
        let large = BODIES_BYTES_MAX
            .max(max_body_bytes)
            .min(Semaphore::MAX_PERMITS);
        Self {
            seats: Arc::new(Semaphore::new(seats_max)),
            seats_max,
            usual_bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX)),
            large_bodies: Arc::new(Semaphore::new(large)),
        }
    }

    /// Most connections that are accepted at all by one of `threads` threads; further ones wait in the system's backlog.
    pub fn accepted_by_each_of(&self, threads: usize) -> usize {
        (self.seats_max + self.seats_max / 3).div_ceil(threads.max(1))
    }

    /// Gives a new connection a seat where one is free. actix-web calls this as it accepts.
    pub fn seat(&self, _connection: &dyn Any, extensions: &mut Extensions) {
        if let Ok(permit) = Arc::clone(&self.seats).try_acquire_owned() {
            extensions.insert(Seat { _permit: permit });
        }
    }

    /// Connections that have a seat now.
    pub fn connections(&self) -> u64 {
        self.seats_max
            .saturating_sub(self.seats.available_permits()) as u64
    }

    /// The account of a body that announced its length, or did not.
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

/// Most connections that are served where the system gives a process so many open files; a quarter of what is possible is
/// left for those who must be told that there is no seat.
fn seats(open_files: usize) -> usize {
    SEATS_MAX
        .min(open_files.saturating_sub(OTHER_FILES) / 4 * 3)
        .max(1)
}

/// Open files, connections that are served with these, and those that would be served with more.
pub fn files_and_seats() -> (usize, usize, usize) {
    let files = open_files();
    (files, seats(files), SEATS_MAX)
}

impl BodyBytes {
    /// Counts bytes that came.
    pub fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        let full = || {
            Problem::new(
                Code::Overloaded,
                "too many bodies are coming at once; send it again",
            )
        };
        let bytes = u32::try_from(bytes).map_err(|_| full())?;
        let more = Arc::clone(&self.share)
            .try_acquire_many_owned(bytes)
            .map_err(|_| full())?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

/// Answers requests on a connection without a seat: with 503, and closes it. Health is answered all the same, lest an
/// orchestrator end a process for being busy, and so are the metrics, that show how busy it is.
pub async fn only_seated(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.conn_data::<Seat>().is_some() {
        return next.call(request).await;
    }
    let mut answer = if matches!(request.path(), "/healthz" | "/readyz" | "/metrics") {
        next.call(request).await?
    } else {
        let problem = Problem::new(
            Code::Overloaded,
            "too many connections are open; connect again later",
        );
        if let Some(refusals) = request.app_data::<web::Data<Refusals>>() {
            refusals.note(problem.code(), problem.detail(), now());
        }
        if is_webhook(request.path()) {
            metrics::webhook(problem.code().into(), EventType::Other);
        }
        request.into_response(problem.error_response())
    };
    answer
        .response_mut()
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    Ok(answer)
}

/// How many files this process may open. The soft limit is 1,024 or less on many systems, for programs that use select(2);
/// it is raised to what the system allows.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // macOS refuses more than its own bound here; what was given stays then.
    let current = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    current.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_leave_files_for_everything_else() {
        for files in [256, 1024, 4096, 20_000, 1 << 20] {
            let capacity = Capacity::new(1 << 20, files);
            let accepted = capacity.accepted_by_each_of(2) * 2;
            assert!(accepted + OTHER_FILES <= files + 2, "{files}: {accepted}");
            assert!(capacity.seats_max <= SEATS_MAX && capacity.seats_max < accepted);
        }
        assert_eq!(Capacity::new(1 << 20, 10).seats_max, 1, "never none");
    }

    #[test]
    fn large_bodies_do_not_shut_out_usual_ones_and_give_their_bytes_back() {
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
