//! Every route of the server but the dashboard's pages.

use actix_web::web::{self, ServiceConfig, get, post};
use actix_web::{HttpRequest, Resource, Route};

use super::admin::Admin;
use super::api::auth::Reader;
use super::api::{audit, changes, control, events, openapi, refresh, stats, tables, users};
use super::misdirected::rejecting;
use super::paths::{ALTERNATE_WEBHOOK_PATH, WEBHOOK_PATH};
use super::problem::{Code, Problem};
use super::webhook::receive::{Webhooks, deliver};
use super::{dashboard, health, metrics};
use crate::clerk::{Table, tables as synced};

/// Adds the routes of a process: those of the webhook if it is a receiver, those for operators if
/// it has a database.
pub fn configure(config: &mut ServiceConfig, webhooks: Option<Webhooks>, admin: Option<Admin>) {
    config
        .service(get_only("/healthz", get().to(health::alive)))
        .service(get_only("/readyz", get().to(health::ready)))
        .service(get_only("/api/openapi.json", get().to(openapi::openapi)))
        .service(get_only("/metrics", get().to(metrics::metrics)));
    if let Some(webhooks) = webhooks {
        config.app_data(web::Data::new(webhooks));
        // Each alone: two paths of one resource would be matched by regular expressions.
        for path in [WEBHOOK_PATH, ALTERNATE_WEBHOOK_PATH] {
            config.service(post_only(path, post().to(deliver)));
        }
    }
    match admin {
        Some(admin) => {
            config.app_data(web::Data::new(admin));
            add_api(config);
            add_tables(config);
            dashboard::configure(config);
        }
        None => {
            let of_table = |table: &&Table| format!("/api/{}{{rest:.*}}", table.plural);
            let of_tables = synced::ALL.iter().map(of_table);
            for path in WITH_DATABASE
                .map(str::to_owned)
                .into_iter()
                .chain(of_tables)
            {
                config.service(web::resource(path).default_service(rejecting(no_database)));
            }
            dashboard::configure_without_database(config);
        }
    }
}

/// The paths of the API that need a database.
const WITH_DATABASE: [&str; 9] = [
    "/api/events{rest:.*}",
    "/api/audit",
    "/api/changes",
    "/api/stats",
    "/api/control",
    "/api/processes",
    "/api/pause",
    "/api/resume",
    "/api/rate-limit",
];

fn add_api(config: &mut ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(events::BODY_MAX))
        .service(get_only("/api/users", get().to(users::list_users)))
        .service(post_only(
            "/api/users/{id}/refresh",
            post().to(refresh::refresh_user),
        ))
        .service(get_only("/api/audit", get().to(audit::list_audit)))
        .service(get_only("/api/changes", get().to(changes::list_changes)))
        .service(get_only("/api/stats", get().to(stats::stats)))
        .service(get_only("/api/control", get().to(control::show_control)))
        .service(get_only(
            "/api/processes",
            get().to(control::list_processes),
        ))
        .service(post_only("/api/pause", post().to(control::pause)))
        .service(post_only("/api/resume", post().to(control::resume)))
        .service(post_only(
            "/api/rate-limit",
            post().to(control::set_rate_limit),
        ))
        .service(get_only("/api/events", get().to(events::list_events)))
        .service(post_only(
            "/api/events/replay",
            post().to(events::replay_events),
        ))
        .service(post_only(
            "/api/events/discard",
            post().to(events::discard_events),
        ))
        .service(get_only("/api/events/{id}", get().to(events::show_event)))
        .service(post_only(
            "/api/events/{id}/replay",
            post().to(events::replay_event),
        ))
        .service(post_only(
            "/api/events/{id}/discard",
            post().to(events::discard_event),
        ));
}

/// Adds the routes of every table. That of the list of users is its own.
fn add_tables(config: &mut ServiceConfig) {
    type Id = web::Path<String>;
    for table in synced::others() {
        let list = move |reader: Reader, request: HttpRequest| tables::list(table, reader, request);
        config.service(get_only(&format!("/api/{}", table.plural), get().to(list)));
    }
    for table in synced::ALL.iter().copied() {
        let path = format!("/api/{}/{{id}}", table.plural);
        let show = move |reader: Reader, request: HttpRequest, id: Id| {
            tables::show(table, reader, request, id.into_inner())
        };
        let history = move |reader: Reader, request: HttpRequest, id: Id| {
            tables::history(table, reader, request, id.into_inner())
        };
        config
            .service(get_only(&path, get().to(show)))
            .service(get_only(&format!("{path}/history"), get().to(history)));
        for (other, column) in synced::lists_of(table) {
            let list = move |reader: Reader, request: HttpRequest, id: Id| {
                tables::list_of_row(other, table, column, reader, request, id.into_inner())
            };
            let path = format!("{path}/{}", other.plural);
            config.service(get_only(&path, get().to(list)));
        }
    }
}

/// The answer for every other path.
pub fn not_found() -> Route {
    rejecting(|| Problem::new(Code::NotFound, "the path is not one of this server's"))
}

fn no_database() -> Problem {
    Problem::new(
        Code::NotFound,
        "a receiver has no database: ask a process that runs `clerk-sync serve` or `clerk-sync worker`",
    )
}

fn get_only(path: &str, route: Route) -> Resource {
    only("GET, HEAD", web::resource(path), route)
}

fn post_only(path: &str, route: Route) -> Resource {
    only("POST", web::resource(path), route)
}

fn only(methods: &'static str, resource: Resource, route: Route) -> Resource {
    let rejected = rejecting(move || Problem::method_not_allowed(methods));
    resource.route(route).default_service(rejected)
}
