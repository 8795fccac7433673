//! The body of a replay or a discard: which failed events. It selects every failed event only if it
//! says so.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Number;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::filters::{is_of_event, read_cursor, time, whole};
use super::invalid::{invalid, renamed, wrong};
use super::query_string::NO_NUL;
use crate::clerk::{EventId, Timestamp};
use crate::http::problem::Problem;
use crate::replay::{self, Selection};
use crate::store::EventFilter;

/// Events of one request: most of them, 20 s at the usual rate, and the default.
const EVENTS_MAX: u32 = 10_000;
const EVENTS: NonZeroU32 = NonZeroU32::new(100).expect("100 is not 0");

/// Most IDs in one request.
const IDS_MAX: usize = 1000;

/// Most events per second.
const RATE_MAX: u32 = 1000;

/// What to do with failed events.
#[derive(Debug)]
pub struct BulkRequest {
    pub selection: Selection,
    pub rate: NonZeroU32,
    pub dry_run: bool,
}

/// Every field that a body may have. Null is the same as absent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    status: Option<String>,
    event_type: Option<String>,
    clerk_id: Option<String>,
    error_code: Option<String>,
    since: Option<String>,
    until: Option<String>,
    ids: Option<Vec<String>>,
    all: Option<bool>,
    limit: Option<Number>,
    cursor: Option<String>,
    rate: Option<Number>,
    dry_run: bool,
}

/// Reads the request for a set of events.
///
/// # Errors
///
/// Unless exactly one of a filter, `ids` and `all` selects events.
pub fn for_set(body: &[u8], now: Timestamp) -> Result<BulkRequest, Problem> {
    if body.trim_ascii().is_empty() {
        return Err(selects_nothing());
    }
    let fields = read(
        body,
        "event_type, clerk_id, error_code, since, until (texts), ids (a list of texts), all (true), limit, rate (numbers), cursor (a text) and dry_run (true or false)",
    )?;
    let (rate, dry_run) = (fields.rate()?, fields.dry_run);
    let filter = EventFilter {
        status: None,
        event_type: not_empty("event_type", fields.event_type)?,
        clerk_id: not_empty("clerk_id", fields.clerk_id)?,
        error_code: not_empty("error_code", fields.error_code)?,
        ids: None,
        since: time("since", fields.since, now)?,
        until: time("until", fields.until, now)?,
    };
    let is_narrow = [&filter.event_type, &filter.clerk_id, &filter.error_code]
        .iter()
        .any(|text| text.is_some())
        || filter.since.or(filter.until).is_some();
    let selection = match (is_narrow, fields.ids, fields.all == Some(true)) {
        (false, None, false) => return Err(selects_nothing()),
        (false, Some(ids), false) => {
            if fields.limit.is_some() || fields.cursor.is_some() {
                return Err(wrong("ids", "neither limit nor cursor goes with it"));
            }
            Selection::Ids(event_ids(&ids)?)
        }
        (true, None, false) | (false, None, true) => Selection::Matching {
            filter,
            limit: number("limit", fields.limit.as_ref(), EVENTS, EVENTS_MAX)?
                .get()
                .into(),
            after: read_cursor(fields.cursor, is_of_event)?,
        },
        _ => {
            return Err(invalid(
                "the body says in more than one way which events: give a filter, or `ids`, or `\"all\": true`",
            ));
        }
    };
    Ok(BulkRequest {
        selection,
        rate,
        dry_run,
    })
}

/// Reads the request for the event that the path names. The body may be empty.
///
/// # Errors
///
/// If the body selects events: these could be others than the path's.
pub fn for_event(id: EventId, body: &[u8]) -> Result<BulkRequest, Problem> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    let fields = read(body, "rate (a number) and dry_run (true or false)")?;
    let selectors = [
        ("event_type", fields.event_type.is_some()),
        ("clerk_id", fields.clerk_id.is_some()),
        ("error_code", fields.error_code.is_some()),
        ("since", fields.since.is_some()),
        ("until", fields.until.is_some()),
        ("ids", fields.ids.is_some()),
        ("all", fields.all.is_some()),
        ("limit", fields.limit.is_some()),
        ("cursor", fields.cursor.is_some()),
    ];
    if let Some((name, _)) = selectors.into_iter().find(|(_, is_given)| *is_given) {
        return Err(wrong(
            name,
            "the path says which event: leave it out, or use the route without an ID",
        ));
    }
    Ok(BulkRequest {
        selection: Selection::Ids(vec![id]),
        rate: fields.rate()?,
        dry_run: fields.dry_run,
    })
}

fn read(body: &[u8], known: &str) -> Result<Fields, Problem> {
    let given = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body).unwrap_or_default();
    if let Some(problem) = renamed(given.keys().map(String::as_str), |_| true) {
        return Err(problem);
    }
    // serde would take an array for the fields in their order; its error's own text can quote the
    // body.
    let (line, column) = if body.trim_ascii_start().starts_with(b"{") {
        match serde_json::from_slice::<Fields>(body) {
            Ok(fields)
                if fields
                    .status
                    .as_deref()
                    .is_none_or(|status| status == "failed") =>
            {
                return Ok(fields);
            }
            Ok(_) => {
                return Err(wrong(
                    "status",
                    "only failed events are replayed or discarded; leave it out",
                ));
            }
            Err(error) => (error.line(), error.column()),
        }
    } else {
        (1, 1)
    };
    Err(invalid(format!(
        "the body cannot be read at line {line}, column {column}: it is a JSON object of {known}"
    )))
}

impl Fields {
    fn rate(&self) -> Result<NonZeroU32, Problem> {
        number("rate", self.rate.as_ref(), replay::RATE, RATE_MAX)
    }
}

/// A number from 1 to `max`.
fn number(
    name: &str,
    given: Option<&Number>,
    default: NonZeroU32,
    max: u32,
) -> Result<NonZeroU32, Problem> {
    let number = match given {
        Some(given) => whole(given)
            .and_then(|number| number.try_into().ok())
            .and_then(NonZeroU32::new),
        None => Some(default),
    };
    number
        .filter(|number| number.get() <= max)
        .ok_or_else(|| wrong(name, &format!("give a number from 1 to {max}")))
}

/// A text that is not empty: an empty one would find nothing, and was meant to be something.
fn not_empty(name: &str, value: Option<String>) -> Result<Option<String>, Problem> {
    match value.as_deref() {
        Some("") => Err(wrong(
            name,
            "it is empty: leave it out, or say what to look for",
        )),
        Some(text) if text.contains('\0') => Err(wrong(name, NO_NUL)),
        _ => Ok(value),
    }
}

fn event_ids(ids: &[String]) -> Result<Vec<EventId>, Problem> {
    if !(1..=IDS_MAX).contains(&ids.len()) {
        return Err(wrong("ids", "give 1 to 1000 of them"));
    }
    let read = ids.iter().map(|id| EventId::new(id));
    read.collect::<Option<_>>()
        .ok_or_else(|| wrong("ids", "each has 1 to 255 of A-Z, a-z, 0-9, _ and -"))
}

fn selects_nothing() -> Problem {
    invalid(
        "the body does not say which events: give a filter (event_type, clerk_id, error_code, since, until), or `ids`, or `\"all\": true`",
    )
}

/// The body for a set of events, in the OpenAPI document.
pub struct Set;

/// The body for one event, in the OpenAPI document.
pub struct One;

/// The schema of a body. The derived one could not say which fields exclude each other.
fn body_schema(name: &str) -> RefOr<Schema> {
    let mut schemas: BTreeMap<String, Schema> =
        serde_json::from_str(include_str!("bulk_request.json")).expect("the schemas are valid");
    schemas.remove(name).expect("both have a schema").into()
}

impl PartialSchema for Set {
    fn schema() -> RefOr<Schema> {
        body_schema("Order")
    }
}

impl ToSchema for Set {
    fn name() -> Cow<'static, str> {
        "Order".into()
    }
}

impl PartialSchema for One {
    fn schema() -> RefOr<Schema> {
        body_schema("OrderForOne")
    }
}

impl ToSchema for One {
    fn name() -> Cow<'static, str> {
        "OrderForOne".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Code;

    fn now() -> Timestamp {
        Timestamp::from_ms(1_795_400_000_000).unwrap()
    }

    fn set(body: &str) -> Result<BulkRequest, Problem> {
        for_set(body.as_bytes(), now())
    }

    fn one(body: &str) -> Result<BulkRequest, Problem> {
        for_event(EventId::new("msg_1").unwrap(), body.as_bytes())
    }

    #[test]
    fn a_request_selects_events() {
        let matching = |body: &str| match set(body).unwrap().selection {
            Selection::Matching { filter, limit, .. } => (filter, limit),
            Selection::Ids(ids) => panic!("{ids:?}"),
        };
        assert_eq!(matching(r#"{"all":true}"#).1, u64::from(EVENTS.get()));
        assert_eq!(
            matching(r#"{"all":true,"limit":1e2,"ids":null,"event_type":null,"status":"failed"}"#)
                .1,
            100
        );
        let (filter, limit) =
            matching(r#"{"event_type":"user.created","since":"1d","limit":5,"all":false}"#);
        assert_eq!(
            (filter.event_type.as_deref(), filter.since.is_some(), limit),
            (Some("user.created"), true, 5)
        );
        for part in [
            r#""clerk_id":"user_1""#,
            r#""error_code":"unrouted""#,
            r#""until":"2026-11-23""#,
        ] {
            matching(&format!("{{{part}}}"));
        }
        let request = set(
            r#"{"ids":["msg_1","msg_2"],"dry_run":true,"rate":82.0,"all":false,"clerk_id":null}"#,
        )
        .unwrap();
        assert!(
            matches!(&request.selection, Selection::Ids(ids) if ids.len() == 2)
                && request.dry_run
                && request.rate.get() == 82
        );
    }

    /// A body that selects nothing is not taken for all events.
    #[test]
    fn a_request_that_selects_nothing_is_rejected() {
        let too_many = format!(r#"{{"ids":[{}"m"]}}"#, r#""m","#.repeat(IDS_MAX));
        for bad in [
            "",
            " \n",
            "{}",
            "null",
            r#"{"dry_run":true}"#,
            r#"{"dry_run":false,"rate":10}"#,
            r#"{"limit":5}"#,
            r#"{"cursor":"e.5.msg_1"}"#,
            r#"{"status":"failed"}"#,
            r#"{"all":false}"#,
            r#"{"all":null,"ids":null,"event_type":null}"#,
            r#"{"ids":[]}"#,
            r#"{"ids":[""]}"#,
            r#"{"ids":["no.id"]}"#,
            r#"{"ids":"msg_1"}"#,
            r#"{"ids":["msg_1"],"all":true}"#,
            r#"{"ids":["msg_1"],"clerk_id":"user_1"}"#,
            r#"{"ids":["msg_1"],"limit":1}"#,
            r#"{"all":true,"clerk_id":"user_1"}"#,
            r#"{"all":"true"}"#,
            r#"{"all":1}"#,
            r#"{"event_type":""}"#,
            r#"{"clerk_id":"","all":true}"#,
            r#"{"error_code":""}"#,
            r#"{"since":""}"#,
            r#"{"event_typ":"user.created"}"#,
            r#"{"type":"user.created"}"#,
            r#"{"user":"user_1"}"#,
            r#"{"all":true,"dryrun":true}"#,
            r#"{"all":true,"limit":0}"#,
            r#"{"all":true,"limit":10001}"#,
            r#"{"all":true,"limit":-1}"#,
            r#"{"all":true,"limit":1e30}"#,
            r#"{"all":true,"rate":0}"#,
            r#"{"all":true,"rate":1.5}"#,
            r#"{"all":true,"status":"applied"}"#,
            r#"{"since":"soon"}"#,
            r#"{"clerk_id":"a\u0000b"}"#,
            "[]",
            "no JSON",
            &too_many,
        ] {
            let problem = set(bad)
                .map(|request| format!("{request:?}"))
                .expect_err(bad);
            assert_eq!(problem.code(), Code::InvalidRequest, "{bad}");
        }
        assert!(for_set(b"\xff", now()).is_err());
    }

    #[test]
    fn a_request_for_one_event_needs_no_body() {
        for body in [
            "",
            "{}",
            r#"{"clerk_id":null,"ids":null,"status":"failed"}"#,
        ] {
            let request = one(body).unwrap();
            assert_eq!((request.dry_run, request.rate), (false, replay::RATE));
        }
        assert!(one(r#"{"dry_run":true}"#).unwrap().dry_run);
        for bad in ["[]", r#"{"dryrun":true}"#, r#"{"status":"applied"}"#] {
            assert!(one(bad).is_err());
        }
    }

    #[test]
    fn a_request_for_one_event_may_not_select_others() {
        for name in [
            "event_type",
            "clerk_id",
            "error_code",
            "since",
            "until",
            "cursor",
        ] {
            let problem = one(&format!(r#"{{"{name}":"x"}}"#)).unwrap_err();
            assert!(
                problem.code() == Code::InvalidRequest && problem.detail().contains(name),
                "{}",
                problem.detail()
            );
        }
        for bad in [
            r#"{"ids":["msg_2"]}"#,
            r#"{"all":true}"#,
            r#"{"all":false}"#,
            r#"{"limit":1,"dry_run":true}"#,
        ] {
            let problem = one(bad).unwrap_err();
            assert!(
                problem.detail().contains("the path says which"),
                "{bad}: {}",
                problem.detail()
            );
        }
    }

    #[test]
    fn the_schema_has_the_limits() {
        let schemas = include_str!("bulk_request.json");
        let numbers = schemas.split(|letter: char| !letter.is_ascii_digit());
        let numbers: Vec<usize> = numbers.filter_map(|number| number.parse().ok()).collect();
        for limit in [RATE_MAX as usize, EVENTS_MAX as usize, IDS_MAX] {
            assert!(numbers.contains(&limit), "{limit}");
        }
    }
}
