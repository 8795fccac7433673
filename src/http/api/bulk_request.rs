//! The body of a replay or a discard: which failed events. Nothing is done to all of them unless that is said.

use std::num::NonZeroU32;

use serde::Deserialize;
use serde_json::Number;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AllOfBuilder, AnyOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::parameters::{EVENT_CURSOR, number, text as text_schema, time as time_schema, words};
use super::query::{cursor, text, time, whole, wrong};
use crate::clerk::{EventId, Timestamp};
use crate::http::problem::{Code, Problem};
use crate::replay::{self, Selection};
use crate::store::{Cursor, EventFilter, Status};

/// Events that one request replays or discards, at most and where nothing is said: at the usual rate 20 s.
const EVENTS_MAX: u64 = 10_000;
const EVENTS: u64 = 100;

/// IDs in one request, at most.
const IDS_MAX: usize = 1000;

/// Most events per second.
const RATE_MAX: u32 = 1000;

/// What is to be done with failed events.
#[derive(Debug)]
pub struct Order {
    pub which: Selection,
    pub rate: NonZeroU32,
    pub dry_run: bool,
}

/// Every field that a body may have. Null is the same as nothing.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    status: Option<String>,
    r#type: Option<String>,
    user: Option<String>,
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

/// What to do with a set of events: exactly one of a filter, `ids` and `all` says which.
pub fn of_set(body: &[u8], now: Timestamp) -> Result<Order, Problem> {
    let Fields {
        status: _,
        r#type,
        user,
        error_code,
        since,
        until,
        ids,
        all,
        limit,
        cursor: after,
        rate,
        dry_run,
    } = read(body, SET_FIELDS)?;
    let rate = read_rate(rate.as_ref())?;
    let filter_text =
        |name, value: Option<String>| value.map(|value| not_empty(name, value)).transpose();
    let filter_time =
        |name, value: Option<String>| value.map(|value| time(name, &value, now)).transpose();
    let filter = EventFilter {
        status: None,
        event_type: filter_text("type", r#type)?,
        clerk_id: filter_text("user", user)?,
        error_code: filter_text("error_code", error_code)?,
        since: filter_time("since", since)?,
        until: filter_time("until", until)?,
    };
    let EventFilter {
        status: _,
        event_type,
        clerk_id,
        error_code,
        since,
        until,
    } = &filter;
    let is_narrow = event_type.is_some()
        || clerk_id.is_some()
        || error_code.is_some()
        || since.is_some()
        || until.is_some();
    let which = match (is_narrow, ids, all == Some(true)) {
        (false, None, false) => return Err(says_not_which()),
        (false, Some(ids), false) if limit.is_none() && after.is_none() => {
            Selection::Ids(event_ids(&ids)?)
        }
        (false, Some(_), false) => {
            return Err(wrong("ids", "neither limit nor cursor goes with it"));
        }
        (true, None, false) | (false, None, true) => {
            let limit = limit
                .as_ref()
                .map_or(Some(EVENTS), whole)
                .filter(|limit| (1..=EVENTS_MAX).contains(limit));
            let limit = limit.ok_or_else(|| wrong("limit", "give a number from 1 to 10000"))?;
            let is_ours = |cursor: &Cursor| matches!(cursor, Cursor::Event { .. });
            let after = after.map(|value| cursor(&value, is_ours)).transpose()?;
            Selection::Matching {
                filter,
                limit,
                after,
            }
        }
        _ => {
            let said = "the body says in more than one way which events: give a filter, or `ids`, or `\"all\": true`";
            return Err(Problem::new(Code::InvalidRequest, said));
        }
    };
    Ok(Order {
        which,
        rate,
        dry_run,
    })
}

/// What to do with the event that the path names: whether only to say what would come of it, and the rate. A body may be missing.
///
/// # Errors
///
/// If the body says which events: it could mean others than the path does.
pub fn of_one(body: &[u8]) -> Result<(bool, NonZeroU32), Problem> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    let Fields {
        status: _,
        r#type,
        user,
        error_code,
        since,
        until,
        ids,
        all,
        limit,
        cursor,
        rate,
        dry_run,
    } = read(body, ONE_FIELDS)?;
    let foreign = [
        ("type", r#type.is_some()),
        ("user", user.is_some()),
        ("error_code", error_code.is_some()),
        ("since", since.is_some()),
        ("until", until.is_some()),
        ("ids", ids.is_some()),
        ("all", all.is_some()),
        ("limit", limit.is_some()),
        ("cursor", cursor.is_some()),
    ];
    if let Some((name, _)) = foreign.into_iter().find(|(_, is_given)| *is_given) {
        return Err(wrong(
            name,
            "the path says which event: leave it out, or use the route without an ID",
        ));
    }
    Ok((dry_run, read_rate(rate.as_ref())?))
}

const SET_FIELDS: &str = "type, user, error_code, since, until (texts), ids (a list of texts), all (true), limit, rate (numbers), cursor (a text) and dry_run (true or false)";
const ONE_FIELDS: &str = "rate (a number) and dry_run (true or false)";

fn read(body: &[u8], fields: &str) -> Result<Fields, Problem> {
    if body.trim_ascii().is_empty() {
        return Err(says_not_which());
    }
    // serde takes an array for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(unreadable("line 1, column 1", fields));
    }
    // The error's own text can quote the body.
    let read: Fields = serde_json::from_slice(body).map_err(|error| {
        unreadable(
            &format!("line {}, column {}", error.line(), error.column()),
            fields,
        )
    })?;
    if read
        .status
        .as_ref()
        .is_some_and(|status| status != Status::Failed.as_str())
    {
        return Err(wrong(
            "status",
            "only failed events are replayed or discarded; leave it out",
        ));
    }
    Ok(read)
}

fn read_rate(rate: Option<&Number>) -> Result<NonZeroU32, Problem> {
    let rate = rate.map_or(Some(replay::RATE), |rate| {
        NonZeroU32::new(whole(rate)?.try_into().ok()?)
    });
    rate.filter(|rate| rate.get() <= RATE_MAX)
        .ok_or_else(|| wrong("rate", "give a number from 1 to 1000"))
}

/// An empty text would find nothing, and was meant to be something.
fn not_empty(name: &'static str, value: String) -> Result<String, Problem> {
    if value.is_empty() {
        Err(wrong(
            name,
            "it is empty: leave it out, or say what to look for",
        ))
    } else {
        text(name, value)
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

fn says_not_which() -> Problem {
    let said = "the body does not say which events: give a filter (type, user, error_code, since, until), or `ids`, or `\"all\": true`";
    Problem::new(Code::InvalidRequest, said)
}

fn unreadable(place: &str, fields: &str) -> Problem {
    Problem::new(
        Code::InvalidRequest,
        format!("the body cannot be read at {place}: it is a JSON object of {fields}"),
    )
}

/// The body of an order for a set of events, as programs are told of it.
pub struct Set;

/// The body of an order for one event, as programs are told of it.
pub struct One;

/// The five parts of a filter.
const PARTS: [(&str, &str); 5] = [
    ("type", "The type, such as user.updated."),
    ("user", "Clerk ID of the user."),
    ("error_code", "Failed with this code, such as unrouted."),
    ("since", "Received at this time or later."),
    ("until", "Received before this time."),
];

fn part(name: &str) -> Schema {
    match name {
        "since" | "until" => time_schema(),
        _ => text_schema(r"^[^\u0000]+$"),
    }
}

fn null() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Null)
}

fn or_null(schema: impl Into<Schema>, words: &str) -> Schema {
    let either = OneOfBuilder::new()
        .item(schema.into())
        .item(null())
        .description(Some(words));
    either.build().into()
}

fn truth(value: bool) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([value]))
}

fn ids() -> Schema {
    let id = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[A-Za-z0-9_-]{1,255}$"));
    ArrayBuilder::new()
        .items(id)
        .min_items(Some(1))
        .max_items(Some(IDS_MAX))
        .description(Some("IDs of events, msg_…."))
        .into()
}

/// What every order may have.
fn order() -> ObjectBuilder {
    let dry_run = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some("Only say what would be done."));
    ObjectBuilder::new()
        .property(
            "status",
            or_null(
                words([Status::Failed.as_str()]),
                "Only failed events are replayed or discarded.",
            ),
        )
        .property(
            "rate",
            or_null(
                number(u64::from(RATE_MAX)),
                "Most events per second, of a replay; 500 where nothing is said.",
            ),
        )
        .property("dry_run", dry_run)
        .additional_properties(Some(
            utoipa::openapi::schema::AdditionalProperties::<Schema>::FreeForm(false),
        ))
}

fn with_parts(order: ObjectBuilder) -> ObjectBuilder {
    PARTS.iter().fold(order, |order, (name, words)| {
        order.property(*name, or_null(part(name), words))
    })
}

fn without_parts(order: ObjectBuilder) -> ObjectBuilder {
    PARTS
        .iter()
        .fold(order, |order, (name, _)| order.property(*name, null()))
}

fn with_pages(order: ObjectBuilder) -> ObjectBuilder {
    order
        .property(
            "limit",
            or_null(
                number(EVENTS_MAX),
                "Most events; 100 where nothing is said.",
            ),
        )
        .property(
            "cursor",
            or_null(text_schema(EVENT_CURSOR), "`next` of the answer before."),
        )
}

fn not_all() -> Schema {
    or_null(truth(false), "Not every failed event.")
}

impl PartialSchema for Set {
    fn schema() -> RefOr<Schema> {
        let filter = with_pages(with_parts(order()))
            .property("ids", null())
            .property("all", not_all());
        let narrow = PARTS.iter().fold(AnyOfBuilder::new(), |any, (name, _)| {
            any.item(
                ObjectBuilder::new()
                    .property(*name, part(name))
                    .required(*name),
            )
        });
        let by_filter = AllOfBuilder::new()
            .item(filter)
            .item(narrow)
            .description(Some("By a filter: every part that is given must hold."));
        let by_ids = without_parts(order())
            .property("ids", ids())
            .required("ids")
            .property("all", not_all())
            .property("limit", null())
            .property("cursor", null())
            .description(Some("By their IDs. Others than failed ones are skipped."));
        let all = with_pages(without_parts(order()))
            .property("all", truth(true))
            .required("all")
            .property("ids", null())
            .description(Some("Every failed event, the newest first."));
        let words = "Selection failed events: by a filter, by their IDs, or all of them. And whether to do it, or only to say what would come of it.";
        Schema::from(
            OneOfBuilder::new()
                .item(by_filter)
                .item(by_ids)
                .item(all)
                .description(Some(words)),
        )
        .into()
    }
}

impl ToSchema for Set {
    fn name() -> std::borrow::Cow<'static, str> {
        "Order".into()
    }
}

impl PartialSchema for One {
    fn schema() -> RefOr<Schema> {
        let words = "Whether to do it, or only to say what would come of it. The path says which event: fields of `Order` that say so are refused.";
        let order = ["ids", "all", "limit", "cursor"]
            .into_iter()
            .fold(without_parts(order()), |order, name| {
                order.property(name, null())
            });
        Schema::from(order.description(Some(words))).into()
    }
}

impl ToSchema for One {
    fn name() -> std::borrow::Cow<'static, str> {
        "OrderForOne".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_ms(1_795_400_000_000).unwrap()
    }

    fn set(body: &str) -> Result<Order, Problem> {
        of_set(body.as_bytes(), now())
    }

    #[test]
    fn an_order_says_which_events() {
        let matching = |body: &str| match set(body).unwrap().which {
            Selection::Matching { filter, limit, .. } => (filter, limit),
            Selection::Ids(ids) => panic!("{ids:?}"),
        };
        assert_eq!(matching(r#"{"all":true}"#).1, EVENTS);
        assert_eq!(
            matching(r#"{"all":true,"limit":1e2,"ids":null,"type":null,"status":"failed"}"#).1,
            100
        );
        let (filter, limit) =
            matching(r#"{"type":"user.created","since":"1d","limit":5,"all":false}"#);
        assert_eq!(
            (filter.event_type.as_deref(), filter.since.is_some(), limit),
            (Some("user.created"), true, 5)
        );
        for part in [
            r#""user":"user_1""#,
            r#""error_code":"unrouted""#,
            r#""until":"2026-11-23""#,
        ] {
            matching(&format!("{{{part}}}"));
        }
        let order =
            set(r#"{"ids":["msg_1","msg_2"],"dry_run":true,"rate":82.0,"all":false,"user":null}"#)
                .unwrap();
        assert!(
            matches!(&order.which, Selection::Ids(ids) if ids.len() == 2)
                && order.dry_run
                && order.rate.get() == 82
        );
    }

    /// Whatever says nothing of which events means none of them.
    #[test]
    fn an_order_that_does_not_say_which_is_refused() {
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
            r#"{"all":null,"ids":null,"type":null}"#,
            r#"{"ids":[]}"#,
            r#"{"ids":[""]}"#,
            r#"{"ids":["no.id"]}"#,
            r#"{"ids":"msg_1"}"#,
            r#"{"ids":["msg_1"],"all":true}"#,
            r#"{"ids":["msg_1"],"user":"user_1"}"#,
            r#"{"ids":["msg_1"],"limit":1}"#,
            r#"{"all":true,"user":"user_1"}"#,
            r#"{"all":"true"}"#,
            r#"{"all":1}"#,
            r#"{"type":""}"#,
            r#"{"user":"","all":true}"#,
            r#"{"error_code":""}"#,
            r#"{"since":""}"#,
            r#"{"typ":"user.created"}"#,
            r#"{"event_type":"user.created"}"#,
            r#"{"all":true,"dryrun":true}"#,
            r#"{"all":true,"limit":0}"#,
            r#"{"all":true,"limit":10001}"#,
            r#"{"all":true,"limit":-1}"#,
            r#"{"all":true,"limit":1e30}"#,
            r#"{"all":true,"rate":0}"#,
            r#"{"all":true,"rate":1.5}"#,
            r#"{"all":true,"status":"applied"}"#,
            r#"{"since":"soon"}"#,
            r#"{"user":"a\u0000b"}"#,
            "[]",
            "no JSON",
            &too_many,
        ] {
            let problem = set(bad).map(|order| format!("{order:?}")).expect_err(bad);
            assert_eq!(problem.code(), Code::InvalidRequest, "{bad}");
        }
        assert!(of_set(b"\xff", now()).is_err());
    }

    #[test]
    fn an_order_for_one_event_needs_no_body() {
        for body in ["", "{}", r#"{"user":null,"ids":null,"status":"failed"}"#] {
            assert_eq!(
                of_one(body.as_bytes()).unwrap(),
                (false, replay::RATE),
                "{body}"
            );
        }
        assert!(of_one(br#"{"dry_run":true}"#).unwrap().0);
        for bad in [
            &b"[]"[..],
            br#"{"dryrun":true}"#,
            br#"{"status":"applied"}"#,
        ] {
            assert!(of_one(bad).is_err());
        }
    }

    #[test]
    fn an_order_for_one_event_does_not_say_which() {
        for name in ["type", "user", "error_code", "since", "until", "cursor"] {
            let problem = of_one(format!(r#"{{"{name}":"x"}}"#).as_bytes()).unwrap_err();
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
            let problem = of_one(bad.as_bytes()).unwrap_err();
            assert!(
                problem.detail().contains("the path says which"),
                "{bad}: {}",
                problem.detail()
            );
        }
    }
}
