//! `/api/audit`: who replayed, discarded, erased or paused.

use actix_web::HttpRequest;
use actix_web::web::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::auth::Reader;
use super::fields::{Fields, Rows};
use super::filters::{page, time};
use super::invalid::wrong;
use super::query_string::read;
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::http::problem::Problem;
use crate::store::{Act, Action, AuditFilter, Cursor, Page};

/// The query of `GET /api/audit`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// What was done
    action: Option<String>,
    /// About this event alone; the `audit` of an event has bulk actions too
    event_id: Option<String>,
    /// About this user
    clerk_id: Option<String>,
    /// At this time or later: a date (in UTC), a time, or an age such as 90s, 15m, 2h, 7d
    since: Option<String>,
    /// Before this time: a date (in UTC), a time, or an age such as 90s, 15m, 2h, 7d
    until: Option<String>,
    /// Names of fields, separated by commas: only these
    fields: Option<String>,
    /// Most rows of a page
    limit: Option<String>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// A page of the audit.
#[derive(Serialize, ToSchema)]
pub struct Audit {
    #[schema(value_type = Vec<Act>)]
    data: Vec<Box<RawValue>>,
    /// The `cursor` of the next page; null on the last one.
    next: Option<String>,
}

/// Who replayed, discarded, erased or paused, the newest first.
///
/// A bulk action is one row, with its filter and the number of events. Rows stay for 400 days, or for
/// `EVENT_RETENTION_DAYS` if that is longer; those of erasures stay for good. `READ_TOKEN` sees the
/// addresses too.
#[utoipa::path(
    get, path = "/api/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "A page of the audit", body = Audit, links(
        ("next_page" = (operation_id = "list_audit", parameters(("cursor" = "$response.body#/next")))),
    )))
)]
pub async fn list_audit(reader: Reader, request: HttpRequest) -> Result<Json<Audit>, Problem> {
    let (filter, page, fields) = query(request.query_string(), now())?;
    let fields = fields.for_token(reader.sees_private)?;
    let listing = reader.admin.store.audit(&filter, &page).await?;
    Ok(Json(Audit {
        data: fields.pick_all(&listing.rows),
        next: listing.next.map(|cursor| cursor.to_string()),
    }))
}

/// The filter, the page and the fields of `GET /api/audit?…`.
///
/// # Errors
///
/// If a parameter is unknown or has a wrong value.
pub fn query(query: &str, now: Timestamp) -> Result<(AuditFilter, Page, Fields), Problem> {
    read(query, |query: AuditQuery| {
        let action = query.action.map(|value| {
            let names = Action::ALL.map(Action::as_str).join(", ");
            Action::named(&value).ok_or_else(|| wrong("action", &format!("give one of {names}")))
        });
        let filter = AuditFilter {
            action: action.transpose()?,
            event_id: query.event_id,
            clerk_id: query.clerk_id,
            since: time("since", query.since, now)?,
            until: time("until", query.until, now)?,
        };
        let is_of_audit = |cursor: &Cursor| matches!(cursor, Cursor::Act { .. });
        let page = page(query.limit, query.cursor, is_of_audit)?;
        Ok((filter, page, Fields::read(Rows::Audit, query.fields)?))
    })
}
