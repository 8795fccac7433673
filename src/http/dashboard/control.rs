//! `/control`: pausing and resuming the applying of events, its rate limit, and the processes.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::auth::Posted;
use super::page::{DashboardError, Frame, page, redirect};
use super::session::Session;
use super::view_models::When;
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::format;
use crate::http::admin::{Admin, paused_by};
use crate::store::{Pause, Process, RECEIVER, read_rate};

/// The path of the page.
const PATH: &str = "/control";

#[derive(Template)]
#[template(path = "control.html")]
struct ControlPage {
    frame: Frame,
    paused: Option<PauseLine>,
    rate_limit: Option<String>,
    /// The same as the value of a field.
    rate_value: String,
    processes: Vec<ProcessLine>,
}

/// A pause for people.
struct PauseLine {
    since: When,
    reason: Option<String>,
    by: String,
}

/// A process for people.
struct ProcessLine {
    role: String,
    version: String,
    host: String,
    pid: String,
    started: When,
    seen: When,
    class: &'static str,
    state: &'static str,
}

impl ProcessLine {
    fn of(process: Process, now: Timestamp) -> Self {
        let is_receiver = process.role == RECEIVER;
        let (class, state) = match (process.gone, is_receiver) {
            (false, false) => ("good", "running"),
            (false, true) => ("good", "heard of"),
            (true, true) => ("idle", "silent"),
            (true, false) => ("idle", "gone"),
        };
        Self {
            role: process.role,
            version: process.version,
            host: process.host,
            pid: process.pid.to_string(),
            started: When::at(process.started_at, now),
            seen: When::at(process.seen_at, now),
            class,
            state,
        }
    }
}

/// `GET /control`
pub async fn show(session: Session, admin: Data<Admin>) -> Result<HttpResponse, DashboardError> {
    let now = now();
    let (control, processes) = tokio::try_join!(admin.store.control(), admin.store.processes())?;
    let mut processes: Vec<_> = processes.into_iter().collect();
    processes.sort_by_key(|process| process.gone);
    Ok(page(&ControlPage {
        frame: Frame::of(&session, "control", "Control", true),
        paused: control.paused.map(|pause| PauseLine {
            since: When::at(pause.paused_at, now),
            reason: pause.reason,
            by: pause.paused_by,
        }),
        rate_limit: control
            .rate_limit
            .map(|limit| format::count(limit.get().into(), "event")),
        rate_value: control
            .rate_limit
            .map_or(String::new(), |limit| limit.to_string()),
        processes: processes
            .into_iter()
            .map(|process| ProcessLine::of(process, now))
            .collect(),
    }))
}

/// `POST /control/pause`
pub async fn pause(
    form: Posted,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let reason = field(&form, "reason");
    let reason = Pause::read_reason(reason)
        .map_err(|_| DashboardError::invalid("the reason is one line of up to 200 characters"))?;
    admin
        .pause(reason, paused_by("the dashboard", &request), form.actor())
        .await?;
    Ok(redirect(PATH))
}

/// `POST /control/resume`
pub async fn resume(form: Posted, admin: Data<Admin>) -> Result<HttpResponse, DashboardError> {
    admin.resume(form.actor()).await?;
    Ok(redirect(PATH))
}

/// `POST /control/rate-limit`: an empty field removes the limit.
pub async fn set_rate_limit(
    form: Posted,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    // Another form, or a misspelled field, must not remove the limit.
    if !form.has("events_per_second") {
        return Err(DashboardError::invalid(
            "the form has no events_per_second: start from the page Control",
        ));
    }
    let limit = match field(&form, "events_per_second") {
        "" => None,
        text => Some(read_rate(text).map_err(|_| {
            DashboardError::invalid(
                "the rate limit is a number of events per second, from 1 to 1000000",
            )
        })?),
    };
    admin.set_rate_limit(limit, form.actor()).await?;
    Ok(redirect(PATH))
}

fn field<'f>(form: &'f Posted, name: &str) -> &'f str {
    let field = form.fields().find(|(field, _)| *field == name);
    field.map_or("", |(_, value)| value)
}
