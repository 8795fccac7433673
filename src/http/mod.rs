//! What listens: the webhook route, health by role, and the routes for operators.

pub mod api;
mod health;
mod problem;
mod refusals;
mod webhook;

use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpResponse, HttpServer, web};

pub use api::{AdminToken, Api};
pub use health::Readiness;
use problem::{Code, Problem};
pub use refusals::Refusals;
pub use webhook::Webhooks;

/// The path that Clerk's endpoint URL ends with.
pub const WEBHOOK_PATH: &str = "/api/webhooks/clerk";

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

/// Most open connections a worker thread of the server.
const CONNECTIONS_MAX: usize = 10_000;

/// Longest time for the answers in flight at a stop: a body may take 10 s and a publish 10 s, and the worker needs the
/// rest of the 25 s that a process is given.
const SHUTDOWN_GRACE_S: u64 = 12;

/// Binds the address, so that a wrong one is known before anything else starts.
pub fn listen(options: &Options) -> std::io::Result<TcpListener> {
    TcpListener::bind((options.host.as_str(), options.port))
}

/// Serves on `listener` until the handle is told to stop. `webhooks` is there where this process is a receiver, `api` where
/// it has a database.
pub fn serve(
    listener: TcpListener,
    webhooks: Option<Webhooks>,
    api: Option<Api>,
    readiness: Readiness,
) -> std::io::Result<(Server, ServerHandle)> {
    let server = HttpServer::new(move || {
        let (webhooks, api) = (webhooks.clone(), api.clone());
        App::new()
            .app_data(web::Data::new(readiness.clone()))
            .service(get_only("/healthz", web::get().to(health::alive)))
            .service(get_only("/readyz", web::get().to(health::ready)))
            .configure(|config| {
                if let Some(webhooks) = webhooks {
                    config.service(
                        web::resource(WEBHOOK_PATH)
                            .app_data(web::Data::new(webhooks))
                            .route(web::post().to(webhook::receive))
                            .default_service(web::to(|| async { refuse(Problem::method_not_allowed("POST")) })),
                    );
                }
            })
            .configure(|config| match api {
                Some(api) => api::configure(api)(config),
                None => api::configure_absent(config),
            })
            .default_service(web::to(|| async {
                refuse(Problem::new(Code::NotFound, "the path is not one of this server's"))
            }))
    })
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_TIMEOUT)
    .max_connections(CONNECTIONS_MAX)
    .shutdown_timeout(SHUTDOWN_GRACE_S)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    Ok((server, handle))
}

fn get_only(path: &str, route: actix_web::Route) -> actix_web::Resource {
    web::resource(path).route(route).default_service(web::to(|| async { refuse(Problem::method_not_allowed("GET")) }))
}

fn refuse(problem: Problem) -> Result<HttpResponse, Problem> {
    Err(problem)
}
