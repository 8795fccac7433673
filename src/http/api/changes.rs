//! `/api/changes`: the change feed, for applications that act on what happens to rows.

use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Json;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use utoipa::{IntoParams, ToSchema};

use super::auth::Reader;
use super::filters::page;
use super::invalid::wrong;
use super::query_string::read;
use super::wait;
use crate::clerk::{Table, tables};
use crate::http::problem::{Code, Problem};
use crate::store::{CURSOR_EXPIRED, ChangePage, ChangeRow, ReadFrom, Store, StoreError};

/// The query of `GET /api/changes`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// `next` of the answer before, or `latest` for what comes from now on; without it the oldest
    /// changes that are kept
    after: Option<String>,
    /// Seconds to wait for a change if there is none: it is answered as soon as there is
    wait: Option<String>,
    /// The table of the rows, as it is called in the database
    table: Option<String>,
    /// Most changes of an answer
    limit: Option<String>,
}

/// Changes of rows.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changes {
    /// The changes, oldest first; empty if there are none now.
    pub data: Vec<ChangeRow>,
    /// The `after` of the next request, also if `data` is empty. Keep it once the changes are
    /// handled.
    pub next: String,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
struct ChangesRequest {
    after: Option<ReadFrom>,
    table: Option<&'static Table>,
    limit: NonZeroU32,
}

/// What happened to rows, the oldest first: which row, which columns, by which event.
///
/// Needs `CHANGE_FEED=on`. A reader that goes on with `next` sees every change, those of one row in
/// their order; one that asks again with an older `after` sees some again. Changes stay for
/// `CHANGE_RETENTION_DAYS`; a reader that comes later is answered 410 `cursor_expired`.
#[utoipa::path(
    get, path = "/api/changes", tag = "changes", params(ChangesQuery),
    responses(
        (status = 200, description = "Changes, and where the next ones begin", body = Changes, links(
            ("next" = (operation_id = "list_changes", parameters(("after" = "$response.body#/next")))),
        )),
        (status = 409, description = "`change_feed_off`"),
        (status = 410, description = "`cursor_expired`"),
    )
)]
pub async fn list_changes(reader: Reader, request: HttpRequest) -> Result<Json<Changes>, Problem> {
    let (asked, wait) = changes_request(request.query_string())?;
    let store = &reader.admin.store;
    if !store.has_change_feed() {
        let detail = "set CHANGE_FEED=on for this process and for every worker, and restart them";
        return Err(Problem::new(Code::ChangeFeedOff, detail));
    }
    let found = if wait.is_zero() {
        let after = store.cursor_from(asked.after).await?;
        store.changes(after, asked.table, asked.limit).await?
    } else {
        let found = changes_within(wait, store, asked);
        wait::within_limit(&request, &reader.admin.status, found)
            .await?
            .ok_or_else(wait::too_many)??
    };
    match found {
        ChangePage::Changes { changes, next, .. } => Ok(Json(Changes {
            data: changes,
            next: next.to_string(),
        })),
        ChangePage::Expired => {
            Err(Problem::new(Code::CursorExpired, CURSOR_EXPIRED).about("after"))
        }
    }
}

/// The changes, as soon as there are any.
async fn changes_within(
    wait: Duration,
    store: &Store,
    asked: ChangesRequest,
) -> Result<ChangePage, StoreError> {
    let until = Instant::now() + wait;
    // Before the first read, so that no commit comes between the two.
    let mut signal = store.change_signal();
    let ChangesRequest {
        after,
        table,
        limit,
    } = asked;
    let mut after = store.cursor_from(after).await?;
    loop {
        let is_last = Instant::now() >= until;
        match store.changes(after, table, limit).await {
            Ok(ChangePage::Changes {
                changes,
                next,
                has_more,
            }) if changes.is_empty() && !is_last => {
                after = Some(next);
                if has_more {
                    continue;
                }
            }
            // An outage is waited for.
            Err(StoreError::Unavailable(_)) if !is_last => {}
            found => return found,
        }
        // Woken or not, it looks once more.
        let _is_woken = timeout_at(until, signal.next()).await;
    }
}

fn changes_request(query: &str) -> Result<(ChangesRequest, Duration), Problem> {
    read(query, |query: ChangesQuery| {
        let after = query.after.map(|after| {
            let from = after.parse::<ReadFrom>();
            from.map_err(|remedy| wrong("after", remedy))
        });
        let table = query.table.map(|name| {
            let table = tables::ALL.iter().find(|table| table.name == name);
            let names = tables::ALL.iter().map(|table| table.name);
            let names = names.collect::<Vec<_>>().join(", ");
            table
                .copied()
                .ok_or_else(|| wrong("table", &format!("give one of {names}")))
        });
        let asked = ChangesRequest {
            after: after.transpose()?,
            table: table.transpose()?,
            limit: page(query.limit, None, |_| false)?.limit,
        };
        Ok((asked, wait::read(query.wait.as_deref())?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_what_is_wrong_is_named() {
        let (asked, wait) = changes_request("table=users&limit=7&wait=30").unwrap();
        assert_eq!(asked.table.map(|table| table.name), Some("users"));
        assert_eq!((asked.limit.get(), wait.as_secs()), (7, 30));
        assert_eq!(asked.after, None);
        let (asked, _) = changes_request("after=latest").unwrap();
        assert_eq!(asked.after, Some(ReadFrom::Latest));
        for (query, param) in [
            ("after=1", "after"),
            ("table=events", "table"),
            ("table=", "table"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("wait=31", "wait"),
        ] {
            assert_eq!(
                changes_request(query).unwrap_err().param(),
                Some(param),
                "{query}"
            );
        }
        assert!(changes_request("cursor=1").is_err());
    }
}
