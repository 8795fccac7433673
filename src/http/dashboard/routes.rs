//! The routes of the dashboard's pages, and of their files.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, Path, Payload, ServiceConfig, get, post};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};

use super::page::{DashboardError, guarded};
use super::session::Session;
use super::{
    actions, assets, audit, control, event_list, events, export, login, overview, replay_run,
    row_list, row_page, search, user_list, users,
};
use crate::clerk::tables;
use crate::http::admin::Admin;
use crate::http::misdirected;
use crate::http::paths::{DASHBOARD_PATH, LOGIN_PATH};
use crate::http::problem::{Code, Problem};

/// Adds the pages. The data of `/api` is theirs too.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(page(DASHBOARD_PATH, get().to(overview::show)))
        .service(page("/assets/{digest}/{name}", get().to(asset)))
        .service(page(LOGIN_PATH, get().to(login::show)).route(post().to(login::log_in)))
        .service(page("/logout", post().to(login::log_out)))
        .service(page("/search", get().to(search::show)))
        .service(page("/events", get().to(event_list::list)))
        .service(page("/events/export", get().to(export::events)))
        .service(
            page(
                "/events/{action:replay|discard}",
                get().to(actions::preview),
            )
            .route(post().to(actions::run)),
        )
        .service(page("/events/{id}", get().to(events::show)))
        .service(page("/events/{id}/payload", get().to(events::payload)))
        .service(page(
            "/events/{id}/{action:replay|discard}",
            post().to(events::act),
        ))
        .service(page("/audit", get().to(audit::list)))
        .service(page("/control", get().to(control::show)))
        .service(page("/control/pause", post().to(control::pause)))
        .service(page("/control/resume", post().to(control::resume)))
        .service(page(
            "/control/rate-limit",
            post().to(control::set_rate_limit),
        ))
        .service(page("/replays/{id}", get().to(replay_run::show)))
        .service(page("/users", get().to(user_list::list)))
        .service(page("/users/export", get().to(export::users)))
        .service(page("/users/{id}", get().to(users::show)))
        .service(page(
            "/users/{id}/{column:data|public_metadata|private_metadata|unsafe_metadata}",
            get().to(users::save),
        ));
    add_tables(config);
}

/// Adds the pages of every table but users.
fn add_tables(config: &mut ServiceConfig) {
    type Shared = web::Data<Admin>;
    for table in tables::others() {
        let list = move |session: Session, request: HttpRequest, admin: Shared| {
            row_list::list(table, session, request, admin)
        };
        let export = move |session: Session, request: HttpRequest, admin: Shared| {
            export::rows(table, session, request, admin)
        };
        let show =
            move |session: Session, request: HttpRequest, id: Path<String>, admin: Shared| {
                row_page::show(table, session, request, id, admin)
            };
        let save = move |session: Session, path: Path<(String, String)>, admin: Shared| {
            row_page::save(table, session, path, admin)
        };
        let path = format!("/{}", table.plural);
        let columns: Vec<_> = row_page::json_columns(table).collect();
        config
            .service(page(&path, get().to(list)))
            .service(page(&format!("{path}/export"), get().to(export)))
            .service(page(&format!("{path}/{{id}}"), get().to(show)))
            .service(page(
                &format!("{path}/{{id}}/{{column:{}}}", columns.join("|")),
                get().to(save),
            ));
    }
}

/// Adds the first page of a process that has no database.
pub fn configure_without_database(config: &mut ServiceConfig) {
    config
        .service(page("/assets/{digest}/{name}", get().to(asset)))
        .service(page(
            DASHBOARD_PATH,
            get().to(overview::show_without_database),
        ));
}

fn page(path: &str, route: Route) -> Resource {
    web::resource(path)
        .route(route)
        .default_service(web::to(wrong_method))
}

async fn wrong_method(
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let problem = Problem::new(
        Code::MethodNotAllowed,
        "this address does not accept this method",
    );
    if misdirected::is_delivery(&request) {
        return Err(misdirected::with_hint(&request, payload, problem)
            .await
            .into());
    }
    Err(DashboardError::Problem(problem).into())
}

async fn asset(path: Path<(String, String)>) -> Result<HttpResponse, DashboardError> {
    let (digest, name) = path.into_inner();
    let asset =
        assets::find(&name).ok_or_else(|| Problem::new(Code::NotFound, "there is no such file"))?;
    // While versions are exchanged behind a balancer, a page of one can ask the other: it gets the
    // file that is there, for now.
    let cache_control = if digest == asset.digest {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    Ok(guarded(HttpResponse::Ok())
        .insert_header((CACHE_CONTROL, cache_control))
        .insert_header((CONTENT_TYPE, asset.content_type))
        .body(asset.bytes))
}
