//! The routes for operators and their programs: users and events, and what is done with failed ones; and how much there is of everything.
//!
//! All of them ask for the admin token. They know the store; what they replay goes the way of every event, over the queue.

mod auth;
mod bulk_request;
mod events;
pub(super) mod openapi;
mod parameters;
mod query;
mod stats;
mod users;

use std::sync::Arc;

use actix_web::web::{self, ServiceConfig};
use tokio::sync::watch;

pub use auth::AdminToken;
pub use query::{events as read_events_query, users as read_users_query, with_plus};
pub use stats::{Counts, Stats};

use super::problem::{Code, Problem};
use super::reject_log::Refusals;
use super::{get_only, misdirected};
use crate::queue::Queue;
use crate::store::{Store, StoreError};

/// What the routes need.
#[derive(Clone)]
pub struct Api {
    pub store: Store,
    pub queue: Queue,
    /// Follows the token as it is read again; nothing where none is set.
    pub admin_token: watch::Receiver<Option<Arc<AdminToken>>>,
    pub refusals: Arc<Refusals>,
    pub counts: Arc<Counts>,
}

/// Longest body, in bytes: a filter is a few hundred.
const BODY_MAX: usize = 64 * 1024;

/// Adds the routes.
pub fn configure(api: Api) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config
            .app_data(web::Data::new(api))
            .app_data(web::PayloadConfig::new(BODY_MAX))
            .service(get_only("/api/users", web::get().to(users::list)))
            .service(get_only("/api/users/{id}", web::get().to(users::show)))
            .service(get_only(
                "/api/users/{id}/history",
                web::get().to(users::history),
            ))
            .service(get_only("/api/stats", web::get().to(stats::show)))
            .service(get_only("/api/events", web::get().to(events::list)))
            .service(post_only(
                "/api/events/replay",
                web::post().to(events::replay),
            ))
            .service(post_only(
                "/api/events/discard",
                web::post().to(events::discard),
            ))
            .service(get_only("/api/events/{id}", web::get().to(events::show)))
            .service(post_only(
                "/api/events/{id}/replay",
                web::post().to(events::replay_one),
            ))
            .service(post_only(
                "/api/events/{id}/discard",
                web::post().to(events::discard_one),
            ));
    }
}

/// The same paths in a process that has no database.
pub fn configure_absent(config: &mut ServiceConfig) {
    let absent = || {
        Problem::new(
            Code::NotFound,
            "a receiver has no database: ask a process that runs `clerk-sync serve` or `clerk-sync worker`",
        )
    };
    for path in ["/api/users{rest:.*}", "/api/events{rest:.*}", "/api/stats"] {
        config.service(web::resource(path).default_service(misdirected::refusing(absent)));
    }
}

fn post_only(path: &str, route: actix_web::Route) -> actix_web::Resource {
    web::resource(path)
        .route(route)
        .default_service(misdirected::refusing(|| {
            Problem::method_not_allowed("POST")
        }))
}

fn not_found(what: &'static str) -> Problem {
    Problem::new(Code::NotFound, what)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(Code::DatabaseUnavailable, error.to_string())
    }
}
