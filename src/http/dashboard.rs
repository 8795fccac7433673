//! The dashboard: what a person sees of the service in a browser, and does about what failed.
//!
//! - It asks the same store as `/api`, so its numbers are the same; what it replays goes the way of every event.
//! - Every page works without a script, by links and forms. The script only renews what is shown, and shortens ways.
//! - Whatever came from outside is text: templates escape it, `page_of` shows by number what hides or turns around, and the policy
//!   that every page carries would stop the rest.

mod assets;
mod auth;
mod bulk_actions;
mod chart;
mod error_help;
mod events;
mod filters;
mod format;
mod login;
mod overview;
mod page;
mod payload;
mod session;
mod status;
mod users;
mod view_models;

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use login::Guesses;
use page::{Frame, Refusal, page_of};

use super::misdirected;
use super::problem::{Code, Problem};

/// How askama writes the value of a form's field (askama.toml): each character that a page would show by number is one of HTML's
/// own numbers, so that the form sends what it was given.
#[derive(Clone, Copy)]
pub struct FieldText;

impl askama::filters::Escaper for FieldText {
    fn write_escaped_str<W: std::fmt::Write>(&self, mut page: W, text: &str) -> std::fmt::Result {
        for letter in text.chars() {
            match letter {
                ' '..='~' => askama::filters::Html.write_escaped_char(&mut page, letter)?,
                _ => write!(page, "&#{};", u32::from(letter))?,
            }
        }
        Ok(())
    }
}

/// The path of the first page.
pub const PATH: &str = "/";

/// What the threads of a process share.
#[derive(Clone)]
pub struct Dashboard {
    /// Whether this process takes webhooks; a worker alone does not.
    receives: bool,
    guesses: Guesses,
}

impl Dashboard {
    pub fn new(receives: bool) -> Self {
        Self {
            receives,
            guesses: Guesses::default(),
        }
    }
}

/// Adds the pages. The data of `/api` is theirs too.
pub fn configure(dashboard: Dashboard) -> impl FnOnce(&mut ServiceConfig) {
    move |config| add_pages(config, dashboard)
}

fn add_pages(config: &mut ServiceConfig, dashboard: Dashboard) {
    config
        .app_data(web::Data::new(dashboard))
        .service(page(PATH, web::get().to(overview::show)))
        .service(page("/assets/{digest}/{name}", web::get().to(assets::get)))
        .service(page("/login", web::get().to(login::show)).route(web::post().to(login::log_in)))
        .service(page("/logout", web::post().to(login::log_out)))
        .service(page("/events", web::get().to(events::list)))
        .service(
            page(
                "/events/replay",
                web::get().to(bulk_actions::preview_replay),
            )
            .route(web::post().to(bulk_actions::replay)),
        )
        .service(
            page(
                "/events/discard",
                web::get().to(bulk_actions::preview_discard),
            )
            .route(web::post().to(bulk_actions::discard)),
        )
        .service(page("/events/{id}", web::get().to(events::show)))
        .service(page("/events/{id}/payload", web::get().to(events::payload)))
        .service(page(
            "/events/{id}/replay",
            web::post().to(bulk_actions::replay_one),
        ))
        .service(page(
            "/events/{id}/discard",
            web::post().to(bulk_actions::discard_one),
        ))
        .service(page("/users", web::get().to(users::list)))
        .service(page("/users/{id}", web::get().to(users::show)));
}

#[derive(Template)]
#[template(path = "no_database.html")]
struct NoDatabase {
    frame: Frame,
}

/// The first page of a process that has no database.
pub fn configure_absent(config: &mut ServiceConfig) {
    let absent = || async {
        page_of(
            StatusCode::NOT_FOUND,
            &NoDatabase {
                frame: Frame::outside("", "A receiver"),
            },
        )
    };
    config
        .service(page("/assets/{digest}/{name}", web::get().to(assets::get)))
        .service(page(PATH, web::get().to(absent)));
}

fn page(path: &str, route: actix_web::Route) -> actix_web::Resource {
    web::resource(path)
        .route(route)
        .default_service(web::to(wrong_method))
}

async fn wrong_method(
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    if misdirected::is_delivery(&request) {
        let problem = Problem::new(Code::MethodNotAllowed, "this address takes another method");
        return Err(misdirected::refuse(&request, payload, problem).await.into());
    }
    Err(Refusal::WrongMethod.into())
}
