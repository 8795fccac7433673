//! The HTTP server: how it listens, and its timeouts.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};

use super::admin::Admin;
use super::limits::{self, Capacity};
use super::reject_log::RejectLog;
use super::service_status::ServiceStatus;
use super::webhook::receive::Webhooks;
use super::{
    complete_writes, compress, error_pages, head_requests, misdirected, request_id, routes,
};

/// How HTTP is served. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address or name to listen on.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The largest body.
    pub max_body_bytes: usize,
}

/// Longest time a connection without a request is kept, longer than the 60 s of the usual proxies
/// before it, so that they, and not we, close it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Longest time the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time for the answers in flight at a stop: a body may take 10 s and a publish 10 s, and
/// the worker needs the rest of the 25 s that a process is given.
const SHUTDOWN_GRACE_S: u64 = 12;

/// Binds the address, so that a wrong one is known before anything else starts.
///
/// # Errors
///
/// If the address cannot be bound.
pub fn listen(options: &Options) -> std::io::Result<TcpListener> {
    TcpListener::bind((options.host.as_str(), options.port))
}

/// What a process serves.
#[derive(Clone)]
pub struct Parts {
    /// `None` if this process is no receiver.
    pub webhooks: Option<Webhooks>,
    /// `None` if it has no database.
    pub admin: Option<Admin>,
    /// Whether the parts of the role are ready.
    pub status: ServiceStatus,
    /// The log of rejected requests.
    pub reject_log: Arc<RejectLog>,
}

/// Serves on `listener` until the handle stops it.
///
/// # Errors
///
/// If the listener cannot be used.
pub fn serve(
    listener: TcpListener,
    options: &Options,
    parts: Parts,
) -> std::io::Result<(Server, ServerHandle)> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let capacity = Capacity::of_this_process(options.max_body_bytes);
    let accepted = capacity.accepted_by_each_of(threads.get());
    let admitting = capacity.clone();
    let server = HttpServer::new(move || {
        let Parts {
            webhooks,
            admin,
            status,
            reject_log,
        } = parts.clone();
        // This is called on each thread that serves.
        let webhooks = webhooks.map(|webhooks| webhooks.on_this_thread(threads));
        App::new()
            .wrap(from_fn(misdirected::reject_misdirected))
            .wrap(from_fn(limits::reject_over_limit))
            .wrap(from_fn(error_pages::for_browsers))
            .wrap(from_fn(compress::answers_of_api))
            .wrap(from_fn(head_requests::as_get))
            .wrap(from_fn(request_id::with_id))
            // The outermost: the others are in its task.
            .wrap(from_fn(complete_writes::complete_writes))
            .app_data(web::Data::new(capacity.clone()))
            .app_data(web::Data::from(reject_log))
            .app_data(web::Data::new(status))
            .configure(|config| routes::configure(config, webhooks, admin))
            .default_service(routes::not_found())
    })
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_TIMEOUT)
    // A client that has closed its end is gone, as for the usual proxies: a request that waits ends
    // then. Otherwise its handler would run on to the end of the wait.
    .h1_allow_half_closed(false)
    .workers(threads.get())
    .max_connections(accepted)
    .on_connect(move |connection, extensions| admitting.admit(connection, extensions))
    .shutdown_timeout(SHUTDOWN_GRACE_S)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    Ok((server, handle))
}
