//! `/audit`: who replayed, discarded, erased or paused; and the same of one event or user.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::encode::encode;
use super::page::{DashboardError, Frame, page};
use super::page_query::PageQuery;
use super::session::Session;
use super::view_models::{Badge, Pages, When};
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::format;
use crate::http::admin::Admin;
use crate::http::api::read_audit_query;
use crate::store::{Act, Action, Attempt, EventAct, WholeEvent};

/// An action, as the pages show it.
pub struct ActLine {
    pub action: &'static str,
    pub at: When,
    pub actor: &'static str,
    pub place: String,
    /// The event, if it was about one: only letters, digits, `_` and `-`.
    event_id: Option<String>,
    /// The user, if it was about one, and the ID as a part of a path.
    user: Option<(String, String)>,
    details: String,
}

impl ActLine {
    /// A row of the audit as it looks at `now`.
    pub fn of(act: &Act, now: Timestamp) -> Self {
        Self {
            action: words(act.action),
            at: When::at(act.at, now),
            actor: act.actor.words(),
            place: act.place(),
            event_id: act.event_id.clone(),
            user: act.clerk_id.clone().map(|id| (encode(&id), id)),
            details: act.details(),
        }
    }

    /// What was done to an event.
    fn of_event(act: &EventAct, now: Timestamp) -> Self {
        Self {
            action: words(act.action),
            at: When::at(act.at, now),
            actor: act.actor.words(),
            place: act.place(),
            event_id: None,
            user: None,
            details: String::new(),
        }
    }
}

fn words(action: Action) -> &'static str {
    match action {
        Action::Replayed => "replayed",
        Action::Discarded => "discarded",
        Action::Erased => "erased",
        Action::Forgotten => "forgotten",
        Action::Paused => "paused",
        Action::Resumed => "resumed",
        Action::RateLimited => "rate limited",
    }
}

/// An attempt to apply an event, as its page shows it.
pub struct AttemptLine {
    pub number: String,
    pub badge: Badge,
    pub at: When,
    pub error_code: Option<String>,
    pub error: Option<String>,
}

/// The attempts of an event and who acted on it, the newest first.
pub struct Acts {
    pub attempts: Vec<AttemptLine>,
    /// Earlier attempts, of which nothing is kept; empty if there are none.
    pub earlier: String,
    pub acts: Vec<ActLine>,
}

impl Acts {
    /// Those of an event. A single attempt is left out: the page says everything of it elsewhere.
    pub fn of(whole: &WholeEvent, now: Timestamp) -> Self {
        let attempts = whole.event.attempts.unsigned_abs();
        let log = &whole.attempts_log;
        let line = |(number, attempt): (u64, &Attempt)| AttemptLine {
            number: format::number(number),
            badge: Badge::of(attempt.outcome),
            at: When::at(attempt.at, now),
            error_code: attempt.error_code.clone(),
            error: attempt.error.clone(),
        };
        let numbers = (0..=attempts).rev();
        let numbered = numbers.zip(log.iter().rev()).filter(|_| attempts > 1);
        Self {
            attempts: numbered.map(line).collect(),
            earlier: match attempts.saturating_sub(log.len() as u64) {
                0 => String::new(),
                earlier => format::count(earlier, "earlier attempt"),
            },
            acts: whole
                .audit
                .iter()
                .rev()
                .map(|act| ActLine::of_event(act, now))
                .collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    query: PageQuery,
    /// The values of the filter, each with its words.
    actions: [(&'static str, &'static str); Action::ALL.len()],
    acts: Vec<ActLine>,
    pages: Pages,
}

/// `GET /audit`
pub async fn list(
    session: Session,
    request: HttpRequest,
    admin: Data<Admin>,
) -> Result<HttpResponse, DashboardError> {
    let now = now();
    let query = PageQuery::read(request.query_string())?;
    let (filter, page_of_list, _) = read_audit_query(&query.encoded(), now)?;
    let listing = admin.store.audit(&filter, &page_of_list).await?;
    let pages = Pages::of(&page_of_list, listing.next, &query, "/audit");
    Ok(page(&AuditPage {
        frame: Frame::of(&session, "audit", "Audit", !pages.is_later),
        actions: Action::ALL.map(|action| (action.as_str(), words(action))),
        acts: listing
            .rows
            .iter()
            .map(|act| ActLine::of(act, now))
            .collect(),
        pages,
        query,
    }))
}
