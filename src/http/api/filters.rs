//! Query strings, read into filters. The same types describe the parameters in the OpenAPI
//! document. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Number;
use utoipa::IntoParams;

use super::fields::{Fields, Rows};
use super::invalid::{invalid, wrong};
use super::query_string::read;
use super::{sort, wait};
use crate::clerk::tables::users;
use crate::clerk::{ClerkId, EventId, Table, Timestamp};
use crate::http::problem::Problem;
use crate::store::{Cursor, EventFilter, Page, Sort, Status, UserFilter, read_time};

/// Rows per page: most of them, and the default.
pub(super) const ROWS_MAX: u32 = 500;
pub(super) const ROWS: u32 = 50;

/// The query of `GET /api/users`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UserQuery {
    /// The beginning of a Clerk ID, an e-mail address, phone number, username, external ID, first or
    /// last name, or of first and last name. Case counts in IDs alone. A + is a plus; write a space
    /// as %20
    q: Option<String>,
    /// The primary address; case does not count. A + is a plus
    email: Option<String>,
    /// The primary number, such as +12025550123. A + is a plus
    phone: Option<String>,
    /// The username
    username: Option<String>,
    /// Your own ID of the user
    external_id: Option<String>,
    /// Deleted users: only these, only the others, or all
    deleted: Option<String>,
    /// Clerk IDs, separated by commas: up to 100. Those without a row are left out
    ids: Option<String>,
    /// Names of fields, separated by commas: only these; without it, all but `data`
    fields: Option<String>,
    /// Most rows of a page
    limit: Option<String>,
    /// The order: by one of these columns, with a `-` the greatest first. Users without a value in
    /// it come last. With `deleted=true` only by `clerk_id`; `q` has the usual order
    sort: Option<String>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// The query of `GET /api/events`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// The outcome
    status: Option<String>,
    /// The type, such as user.updated
    event_type: Option<String>,
    /// Clerk ID of the row that it is about, such as user_… or org_…
    clerk_id: Option<String>,
    /// Failed with this code, such as unrouted
    error_code: Option<String>,
    /// Received at this time or later: a date (in UTC), a time, or an age such as 90s, 15m, 2h, 7d
    since: Option<String>,
    /// Received before this time: a date (in UTC), a time, or an age such as 90s, 15m, 2h, 7d
    until: Option<String>,
    /// IDs of events, separated by commas: up to 100. Those that do not exist are left out
    ids: Option<String>,
    /// Names of fields, separated by commas: only these
    fields: Option<String>,
    /// Most rows of a page
    limit: Option<String>,
    /// The order: `received_at` for the oldest first
    sort: Option<String>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// The query of `GET /api/users/{id}/history`, and of the same of every table.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Names of fields, separated by commas: only these
    fields: Option<String>,
    /// Most rows of a page
    limit: Option<String>,
    /// `next` of the page before
    cursor: Option<String>,
}

/// The query of a route for one event.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OneQuery {
    /// Names of fields, separated by commas: only these
    fields: Option<String>,
}

/// The query of a route for one row of a table.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RowQuery {
    /// Names of fields, separated by commas: only these
    fields: Option<String>,
    /// Seconds to wait for a row that does not exist yet: it is answered as soon as it does, and 404
    /// after so long
    wait: Option<String>,
}

/// The filter and the page of `GET /api/events?…`, the newest events first.
///
/// # Errors
///
/// If a parameter is unknown or has a wrong value; names it, and what would be right.
pub fn events(query: &str, now: Timestamp) -> Result<(EventFilter, Page), Problem> {
    let (filter, page, sort, _) = list_of_events(query, now)?;
    only(sort, Sort::NEWEST_EVENTS)?;
    Ok((filter, page))
}

/// The same in any order, with the fields of the answer.
///
/// # Errors
///
/// See [`events`].
pub fn list_of_events(
    query: &str,
    now: Timestamp,
) -> Result<(EventFilter, Page, Sort, Fields), Problem> {
    read(query, |query: EventQuery| {
        let status = query.status.map(|value| {
            Status::named(&value)
                .ok_or_else(|| wrong("status", "give applied, stale, failed or discarded"))
        });
        let mut filter = EventFilter {
            status: status.transpose()?,
            event_type: query.event_type,
            clerk_id: query.clerk_id,
            error_code: query.error_code,
            ids: ids(query.ids, EventId::new)?,
            since: time("since", query.since, now)?,
            until: time("until", query.until, now)?,
        };
        // A code without a status means failed events, and these have an index.
        if filter.error_code.is_some() {
            filter.status.get_or_insert(Status::Failed);
        }
        let page = page(query.limit, query.cursor, Cursor::is_of_events)?;
        let name = query.sort.as_deref();
        let sort = sort::read(name, &page, &Sort::OF_EVENTS, Sort::NEWEST_EVENTS)?;
        let fields = Fields::read(Rows::Events, query.fields)?;
        Ok((filter, page, sort, fields))
    })
}

/// The filter and the page of `GET /api/users?…`, the newest users first.
///
/// # Errors
///
/// See [`events`].
pub fn users(query: &str) -> Result<(UserFilter, Page), Problem> {
    let (filter, page, sort, _) = list_of_users(query)?;
    only(sort, Sort::NEWEST_USERS)?;
    Ok((filter, page))
}

/// For lists that have one order.
fn only(sort: Sort, usual: Sort) -> Result<(), Problem> {
    if sort == usual {
        return Ok(());
    }
    Err(wrong("sort", "this list has the newest first"))
}

/// The same in any order, with the fields of the answer.
///
/// # Errors
///
/// See [`events`].
pub fn list_of_users(query: &str) -> Result<(UserFilter, Page, Sort, Fields), Problem> {
    read(query, |query: UserQuery| {
        let filter = UserFilter {
            email: query.email,
            phone: query.phone,
            username: query.username,
            external_id: query.external_id,
            q: query.q,
            ids: ids(query.ids, |id| ClerkId::new(id).map(|id| id.to_string()))?,
            deleted: which("deleted", query.deleted.as_deref())?,
        };
        let page = page(query.limit, query.cursor, Cursor::is_of_users)?;
        let name = query.sort.as_deref();
        let sort = sort::read(name, &page, &Sort::OF_USERS, Sort::NEWEST_USERS)?;
        sort::check(sort, &filter)?;
        let fields = Fields::read(Rows::List(&users::TABLE), query.fields)?;
        Ok((filter, page, sort, fields))
    })
}

/// Reads which rows to show: those of which it is true, the others, or with `None` both.
///
/// # Errors
///
/// If it is none of the three.
pub(super) fn which(name: &str, value: Option<&str>) -> Result<Option<bool>, Problem> {
    match value {
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some("any") | None => Ok(None),
        Some(_) => Err(wrong(name, "give true, false or any")),
    }
}

/// The page and the fields of `GET /api/users/{id}/history?…`, and of the other tables'.
///
/// # Errors
///
/// See [`events`].
pub fn history(query: &str) -> Result<(Page, Fields), Problem> {
    read(query, |query: HistoryQuery| {
        let page = page(query.limit, query.cursor, is_of_event)?;
        Ok((page, Fields::read(Rows::History, query.fields)?))
    })
}

/// The fields of an answer with one event.
///
/// # Errors
///
/// See [`events`].
pub fn one(rows: Rows, query: &str) -> Result<Fields, Problem> {
    read(query, |query: OneQuery| Fields::read(rows, query.fields))
}

/// The fields of an answer with one row of a table, and how long to wait for it.
///
/// # Errors
///
/// See [`events`].
pub fn row(table: &'static Table, query: &str) -> Result<(Fields, Duration), Problem> {
    read(query, |query: RowQuery| {
        let fields = Fields::read(Rows::One(table), query.fields)?;
        Ok((fields, wait::read(query.wait.as_deref())?))
    })
}

/// Most IDs in one list.
const IDS_MAX: usize = 100;

/// Reads IDs, separated by commas.
///
/// # Errors
///
/// If one is no ID, or there are too many.
pub(super) fn ids<T>(
    value: Option<String>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, Problem> {
    let read = |value: String| {
        let ids = value.split(',').take(IDS_MAX + 1).map(&read);
        let ids: Option<Vec<_>> = ids.collect();
        ids.filter(|ids| ids.len() <= IDS_MAX)
            .ok_or_else(|| wrong("ids", "give 1 to 100 IDs, separated by commas"))
    };
    value.map(read).transpose()
}

/// Rejects every query string, for routes whose body alone says what to do: a `dry_run` in the
/// wrong place must not be ignored.
///
/// # Errors
///
/// If there is one.
pub fn none(query: &str) -> Result<(), Problem> {
    if query.is_empty() {
        return Ok(());
    }
    Err(invalid(
        "this route takes no query parameters; those of a POST go into its JSON body",
    ))
}

/// Reads a time, or an age before `now`.
///
/// # Errors
///
/// If it is neither.
pub(super) fn time(
    name: &str,
    value: Option<String>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Problem> {
    let read = |mut value: String| {
        // Before an offset such as +02:00 a space can only have been a plus.
        if let Some(at) = value.len().checked_sub("+02:00".len())
            && value.as_bytes()[at] == b' '
        {
            value.replace_range(at..=at, "+");
        }
        read_time(&value, now).map_err(|remedy| wrong(name, remedy))
    };
    value.map(read).transpose()
}

/// A whole number, also as programs without integers write it: 100.0.
pub(super) fn whole(number: &Number) -> Option<u64> {
    number
        .as_u64()
        .or_else(|| number.as_f64()?.to_string().parse().ok())
}

/// The page that a query asks for.
///
/// # Errors
///
/// If the limit or the cursor is wrong.
pub(super) fn page(
    limit: Option<String>,
    cursor: Option<String>,
    is_of_listing: impl Fn(&Cursor) -> bool,
) -> Result<Page, Problem> {
    let limit = match limit {
        Some(limit) => limit.parse().ok(),
        None => NonZeroU32::new(ROWS),
    };
    let limit = limit.filter(|limit| limit.get() <= ROWS_MAX);
    Ok(Page {
        limit: limit.ok_or_else(|| wrong("limit", "give a number from 1 to 500"))?,
        after: read_cursor(cursor, is_of_listing)?,
    })
}

/// Returns whether the cursor is one of a listing of events.
pub(super) fn is_of_event(cursor: &Cursor) -> bool {
    matches!(cursor, Cursor::Event { .. })
}

/// Reads the cursor of a listing.
///
/// # Errors
///
/// If it is not one of this listing.
pub(super) fn read_cursor(
    value: Option<String>,
    is_of_listing: impl Fn(&Cursor) -> bool,
) -> Result<Option<Cursor>, Problem> {
    let read = |value: String| {
        let cursor = value.parse().ok().filter(is_of_listing);
        cursor.ok_or_else(|| wrong("cursor", "give `next` of the page before"))
    };
    value.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_ms(1_795_400_000_000).unwrap()
    }

    #[test]
    fn a_query_is_read_into_its_filter() {
        let query = "status=failed&event_type=user.updated&clerk_id=user_1&since=2h&until=2026-11-23&limit=7&cursor=e.5.msg_1";
        let (filter, page) = events(query, now()).unwrap();
        assert_eq!(
            (filter.status, filter.clerk_id.as_deref()),
            (Some(Status::Failed), Some("user_1"))
        );
        assert_eq!(filter.since.unwrap().ms(), now().ms() - 7_200_000);
        assert_eq!((page.limit.get(), page.after.is_some()), (7, true));
        let (filter, _) = events("error_code=unrouted", now()).unwrap();
        assert_eq!(
            (filter.status, filter.error_code.as_deref()),
            (Some(Status::Failed), Some("unrouted"))
        );
        let (filter, page) = users("email=ada%40example.com&deleted=false").unwrap();
        assert_eq!(
            (filter.email.as_deref(), filter.deleted),
            (Some("ada@example.com"), Some(false))
        );
        assert_eq!(page.limit.get(), ROWS);
    }

    #[test]
    fn a_plus_is_a_plus_where_addresses_and_numbers_have_one() {
        for query in [
            "email=a+b@example.com",
            "email=a%2Bb%40example.com",
            "deleted=any&email=a+b%40example.com&limit=1",
        ] {
            assert_eq!(
                users(query).unwrap().0.email.as_deref(),
                Some("a+b@example.com"),
                "{query}"
            );
        }
        assert_eq!(
            users("phone=+12025550123").unwrap().0.phone.as_deref(),
            Some("+12025550123")
        );
        let q = |query: &str| users(query).unwrap().0.q;
        assert_eq!(q("q=a+b").as_deref(), Some("a+b"));
        assert_eq!(q("q=ada%20lovelace").as_deref(), Some("ada lovelace"));
        // Elsewhere it is what a form makes of a space.
        assert_eq!(
            users("external_id=a+b").unwrap().0.external_id.as_deref(),
            Some("a b")
        );
        let since = |query: &str| events(query, now()).unwrap().0.since.unwrap().ms();
        assert_eq!(
            since("since=2026-11-23T18:00:00+02:00"),
            since("since=2026-11-23T16:00:00Z")
        );
        assert_eq!(
            since("since=2026-11-23T18:00:00%2B02:00"),
            since("since=2026-11-23T16:00:00Z")
        );
        assert!(events("since=é 02:00", now()).is_err() && events("since=+02:00", now()).is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, named) in [
            ("status=lost", "status"),
            ("since=soon", "since"),
            ("limit=501", "limit"),
            ("limit=0", "limit"),
            ("cursor=u.user_1", "cursor"),
            ("sort=occurred_at", "received_at, -received_at"),
            ("sort=received_at", "newest first"),
            ("statsu=failed", "status"),
            ("clerk_id=a%00b", "clerk_id"),
        ] {
            let problem = events(query, now()).unwrap_err();
            assert!(
                problem.detail().contains(named),
                "{query}: {}",
                problem.detail()
            );
        }
        assert!(users("deleted=yes").is_err() && users("cursor=e.5.msg_1").is_err());
    }
}
