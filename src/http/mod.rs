//! What listens: the webhook route, health by role, and the routes for operators.

pub mod api;
mod body;
mod cache;
pub mod dashboard;
mod head;
mod health;
mod limits;
mod metrics;
mod misdirected;
mod problem;
mod reject_log;
mod webhook;

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};

pub use api::{AdminToken, Api};
use dashboard::Dashboard;
pub use health::Readiness;
use limits::Capacity;
pub use limits::files_and_seats;
use problem::{Code, Problem};
pub use reject_log::Refusals;
pub use webhook::Webhooks;

/// The path that Clerk's endpoint URL ends with.
pub const WEBHOOK_PATH: &str = "/api/webhooks/clerk";

/// The same as people also write it.
const ALTERNATE_WEBHOOK_PATH: &str = "/api/webhooks/clerk/";

/// How HTTP is served. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    pub host: String,
    pub port: u16,
    pub max_body_bytes: usize,
}

/// Longest time a connection without a request is kept, longer than the 60 s of the usual proxies before it, so that
/// they, and not we, close it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Longest time the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time for the answers in flight at a stop: a body may take 10 s and a publish 10 s, and the worker needs the
/// rest of the 25 s that a process is given.
const SHUTDOWN_GRACE_S: u64 = 12;

/// Binds the address, so that a wrong one is known before anything else starts.
pub fn listen(options: &Options) -> std::io::Result<TcpListener> {
    TcpListener::bind((options.host.as_str(), options.port))
}

/// What a process serves.
#[derive(Clone)]
pub struct Parts {
    /// There where this process is a receiver.
    pub webhooks: Option<Webhooks>,
    /// There where it has a database.
    pub api: Option<Api>,
    pub readiness: Readiness,
    pub refusals: Arc<Refusals>,
}

/// Serves on `listener` until the handle is told to stop.
pub fn serve(
    listener: TcpListener,
    options: &Options,
    parts: Parts,
) -> std::io::Result<(Server, ServerHandle)> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let capacity = Capacity::of_this_process(options.max_body_bytes);
    let dashboard = Dashboard::new(parts.webhooks.is_some());
    let (accepted, seating) = (
        capacity.accepted_by_each_of(threads.get()),
        capacity.clone(),
    );
    let gauges = metrics::Gauges::default();
    let server = HttpServer::new(move || {
        let Parts {
            webhooks,
            api,
            readiness,
            refusals,
        } = parts.clone();
        // This is called on each thread that serves.
        let webhooks = webhooks.map(|webhooks| webhooks.on_this_thread(threads));
        let dashboard = dashboard.clone();
        App::new()
            .wrap(from_fn(misdirected::no_delivery))
            .wrap(from_fn(limits::only_seated))
            .wrap(from_fn(head::as_get))
            .app_data(web::Data::new(capacity.clone()))
            .app_data(web::Data::from(refusals))
            .app_data(web::Data::new(readiness))
            .app_data(web::Data::new(gauges.clone()))
            .service(get_only("/healthz", web::get().to(health::alive)))
            .service(get_only("/readyz", web::get().to(health::ready)))
            .service(get_only(
                "/api/openapi.json",
                web::get().to(api::openapi::show),
            ))
            .service(get_only("/metrics", web::get().to(metrics::metrics)))
            .configure(|config| {
                if let Some(webhooks) = webhooks {
                    config.app_data(web::Data::new(webhooks)).service(
                        web::resource([WEBHOOK_PATH, ALTERNATE_WEBHOOK_PATH])
                            .route(web::post().to(webhook::receive))
                            .default_service(misdirected::refusing(|| {
                                Problem::method_not_allowed("POST")
                            })),
                    );
                }
            })
            .configure(|config| match api {
                Some(api) => {
                    api::configure(api)(config);
                    dashboard::configure(dashboard)(config);
                }
                None => {
                    api::configure_absent(config);
                    dashboard::configure_absent(config);
                }
            })
            .default_service(misdirected::refusing(|| {
                Problem::new(Code::NotFound, "the path is not one of this server's")
            }))
    })
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_TIMEOUT)
    .workers(threads.get())
    .max_connections(accepted)
    .on_connect(move |connection, extensions| seating.seat(connection, extensions))
    .shutdown_timeout(SHUTDOWN_GRACE_S)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    Ok((server, handle))
}

fn get_only(path: &str, route: actix_web::Route) -> actix_web::Resource {
    let wrong_method = misdirected::refusing(|| Problem::method_not_allowed("GET, HEAD"));
    web::resource(path)
        .route(route)
        .default_service(wrong_method)
}
