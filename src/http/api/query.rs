//! Query strings and bodies, read into filters. Pure: what is wrong is named, with what would be right.

use std::num::NonZeroU32;

use actix_web::web::Query;
use serde_json::Number;

use crate::clerk::Timestamp;
use crate::http::problem::{Code, Problem};
use crate::store::{Cursor, EventFilter, Page, Status, UserFilter, read_time};

/// Rows a page, at most and where nothing is said.
pub(super) const ROWS_MAX: u32 = 500;
pub(super) const ROWS: u32 = 50;

/// `GET /api/events?…`
pub fn events(query: &str, now: Timestamp) -> Result<(EventFilter, Page), Problem> {
    let (mut filter, mut page) = (EventFilter::default(), first_page());
    for (name, value) in pairs(query)? {
        match &*name {
            "status" => filter.status = Some(status(&value)?),
            "type" => filter.event_type = Some(text("type", value)?),
            "user" => filter.clerk_id = Some(text("user", value)?),
            "error_code" => filter.error_code = Some(text("error_code", value)?),
            "since" => filter.since = Some(time("since", &value, now)?),
            "until" => filter.until = Some(time("until", &value, now)?),
            "limit" => page.limit = limit(&value)?,
            "cursor" => {
                page.after = Some(cursor(&value, |cursor| {
                    matches!(cursor, Cursor::Event { .. })
                })?)
            }
            _ => {
                return Err(unknown(
                    "status, type, user, error_code, since, until, limit and cursor",
                ));
            }
        }
    }
    // Whoever asks for a code means what waits, and that has an index.
    if filter.error_code.is_some() {
        filter.status.get_or_insert(Status::Failed);
    }
    Ok((filter, page))
}

/// `GET /api/users?…`
pub fn users(query: &str) -> Result<(UserFilter, Page), Problem> {
    let (mut filter, mut page) = (UserFilter::default(), first_page());
    for (name, value) in pairs(query)? {
        match &*name {
            "email" => filter.email = Some(text("email", value)?),
            "phone" => filter.phone = Some(text("phone", value)?),
            "username" => filter.username = Some(text("username", value)?),
            "external_id" => filter.external_id = Some(text("external_id", value)?),
            "q" => filter.q = Some(text("q", value)?),
            "deleted" => {
                filter.deleted = match &*value {
                    "true" => Some(true),
                    "false" => Some(false),
                    "any" => None,
                    _ => return Err(wrong("deleted", "give true, false or any")),
                }
            }
            "limit" => page.limit = limit(&value)?,
            "cursor" => {
                page.after = Some(cursor(&value, |cursor| {
                    matches!(cursor, Cursor::User { .. })
                })?)
            }
            _ => {
                return Err(unknown(
                    "q, email, phone, username, external_id, deleted, limit and cursor",
                ));
            }
        }
    }
    Ok((filter, page))
}

/// `GET /api/users/{id}/history?…`
pub fn history(query: &str) -> Result<Page, Problem> {
    let mut page = first_page();
    for (name, value) in pairs(query)? {
        match &*name {
            "limit" => page.limit = limit(&value)?,
            "cursor" => {
                page.after = Some(cursor(&value, |cursor| {
                    matches!(cursor, Cursor::Event { .. })
                })?)
            }
            _ => return Err(unknown("limit and cursor")),
        }
    }
    Ok(page)
}

/// Refuses every query string, for routes whose body alone says what to do: a `dry_run` that stands in the wrong place must not be
/// ignored.
pub fn none(query: &str) -> Result<(), Problem> {
    if query.is_empty() {
        return Ok(());
    }
    let said = "this route takes no query parameters: put them into the JSON body, such as {\"dry_run\": true}";
    Err(Problem::new(Code::InvalidRequest, said))
}

/// A whole number, also as programs without integers write it: 100.0.
pub(super) fn whole(number: &Number) -> Option<u64> {
    number
        .as_u64()
        .or_else(|| number.as_f64()?.to_string().parse().ok())
}

fn first_page() -> Page {
    Page {
        limit: NonZeroU32::new(ROWS).expect("50 is not 0"),
        after: None,
    }
}

/// Filters in which a `+` is a plus and no space: addresses and numbers have one, and few people know that it is written `%2B`.
const WITH_PLUS: [&str; 3] = ["email", "phone", "q"];

fn pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let read = Query::<Vec<(String, String)>>::from_query(&with_plus(query, &WITH_PLUS));
    read.map(Query::into_inner)
        .map_err(|_| Problem::new(Code::InvalidRequest, "the query string cannot be read"))
}

/// The query with each `+` in the values of these parameters as `%2B`.
pub fn with_plus(query: &str, names: &[&str]) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if names.contains(&name) => {
            format!("{name}={}", value.replace('+', "%2B"))
        }
        _ => pair.to_owned(),
    };
    query.split('&').map(pair).collect::<Vec<_>>().join("&")
}

/// Databases hold no NUL character, so nothing is found by one.
pub(super) fn text(name: &'static str, value: String) -> Result<String, Problem> {
    if value.contains('\0') {
        Err(wrong(name, "it may not hold the character NUL"))
    } else {
        Ok(value)
    }
}

fn status(value: &str) -> Result<Status, Problem> {
    Status::named(value).ok_or_else(|| wrong("status", "give applied, stale, failed or discarded"))
}

pub(super) fn time(name: &'static str, value: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    // Before an offset such as +02:00 a space can only have been a plus.
    let offset = value
        .len()
        .checked_sub("+02:00".len())
        .filter(|at| value.is_char_boundary(*at));
    let with_plus = offset.and_then(|at| {
        Some(format!(
            "{}+{}",
            &value[..at],
            value[at..].strip_prefix(' ')?
        ))
    });
    read_time(with_plus.as_deref().unwrap_or(value), now).map_err(|remedy| wrong(name, remedy))
}

fn limit(value: &str) -> Result<NonZeroU32, Problem> {
    let limit = value
        .parse()
        .ok()
        .filter(|limit: &NonZeroU32| limit.get() <= ROWS_MAX);
    limit.ok_or_else(|| wrong("limit", "give a number from 1 to 500"))
}

pub(super) fn cursor(value: &str, is_ours: impl Fn(&Cursor) -> bool) -> Result<Cursor, Problem> {
    let cursor = value.parse().ok().filter(is_ours);
    cursor
        .filter(|_| !value.contains('\0'))
        .ok_or_else(|| wrong("cursor", "give `next` of the page before"))
}

pub(super) fn wrong(name: &'static str, remedy: &str) -> Problem {
    Problem::new(Code::InvalidRequest, format!("{name} is wrong: {remedy}"))
}

fn unknown(known: &str) -> Problem {
    Problem::new(
        Code::InvalidRequest,
        format!("a parameter is unknown; there are {known}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_ms(1_795_400_000_000).unwrap()
    }

    #[test]
    fn a_query_is_read_into_its_filter() {
        let query = "status=failed&type=user.updated&user=user_1&since=2h&until=2026-11-23&limit=7&cursor=e.5.msg_1";
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
            ("statsu=failed", "status"),
            ("user=a%00b", "user"),
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
