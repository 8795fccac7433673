//! The questions, with every filter and every order.

use clerk_sync::store::template::Dialect;
use clerk_sync::store::{Part, Sort};

const USERS: &str = include_str!("../../../../src/store/postgres/users.sql");
const SEARCH: &str = include_str!("../../../../src/store/postgres/users_by_search.sql");
const SEARCH_IN_ORDER: &str =
    include_str!("../../../../src/store/postgres/users_by_search_in_order.sql");
const IS_COMMON: &str = include_str!("../../../../src/store/postgres/search_is_common.sql");
const EVENTS: &str = include_str!("../../../../src/store/postgres/events.sql");
const CHANGES: &str = include_str!("../../../../src/store/postgres/changes.sql");
const HISTORY: &str = include_str!("../../../../src/store/postgres/history.sql");

/// How much a question may read, in pages of 8 KiB, those of indexes among them. A page of fifty
/// rows needs some hundreds when each row is on a page of its own.
const PAGES_MAX: f64 = 1500.0;

/// The same for a search: at worst some thousand users are found in three ways each before the
/// newest fifty are known.
const SEARCH_PAGES_MAX: f64 = 40_000.0;

/// A question, its statement and what is asked.
pub struct Case {
    pub name: &'static str,
    pub sql: &'static str,
    pub values: String,
    /// What stands for the marks of the order.
    pub marks: Vec<(&'static str, String)>,
    /// Pages that may be read; `None` for a query that counts and is rare.
    pub pages_max: Option<f64>,
}

fn case(name: &'static str, sql: &'static str, values: impl Into<String>) -> Case {
    Case {
        name,
        sql,
        values: values.into(),
        // Of events too: the newest first has the same marks.
        marks: Sort::NEWEST_USERS.marks(Dialect::Postgres, Part::Values, true),
        pages_max: Some(PAGES_MAX),
    }
}

/// The same in another order.
fn sorted(case: Case, sort: &str, part: Part) -> Case {
    let sort = Sort::named(sort, &Sort::OF_USERS).or(Sort::named(sort, &Sort::OF_EVENTS));
    Case {
        marks: sort.unwrap().marks(Dialect::Postgres, part, true),
        ..case
    }
}

/// Users in an order, where the page before ended with this value and this ID.
fn users_in(name: &'static str, sort: &str, part: Part, [value, id]: [&str; 2]) -> Case {
    let value = match (sort.trim_start_matches('-'), part) {
        ("clerk_id", _) | (_, Part::Nulls { .. }) => String::new(),
        _ => format!(", {value}"),
    };
    let values = format!("null, null, null, null, null, {id}, 51, null, false{value}");
    sorted(case(name, USERS, values), sort, part)
}

/// A hundred IDs that begin so.
fn hundred(beginning: &str, width: usize) -> String {
    let ids: Vec<_> = (1..=100)
        .map(|n| format!("{beginning}{:0width$}", n * 397))
        .collect();
    format!("'{{{}}}'", ids.join(","))
}

/// email, phone, username, external_id, deleted, and where the page before ended.
fn by(name: &'static str, values: &str) -> Case {
    case(name, USERS, format!("{values}, 51, null, false"))
}

/// The two queries of a search: first whether the term is common, then the users.
fn search(
    name: &'static str,
    [q, phone, first, last]: [&str; 4],
    is_common: bool,
    users: u64,
) -> [Case; 2] {
    // One in a hundred, as 10,000 of a million are.
    let common_from = users / 100;
    // As a pattern without wildcards of its own.
    let pattern = q.replace('_', "\\_");
    let values_of_users = format!(
        "null, null, null, null, null, null, 51, null, false, '{q}', '{pattern}', '{phone}', {first}, {last}"
    );
    let (sql, asked) = if is_common {
        (SEARCH_IN_ORDER, values_of_users)
    } else {
        (SEARCH, format!("{values_of_users}, {common_from}"))
    };
    let values = format!("'{pattern}', '{phone}', {last}, {common_from}");
    let bounded = |case: Case| Case {
        pages_max: Some(SEARCH_PAGES_MAX),
        ..case
    };
    [
        bounded(case("is it common?", IS_COMMON, values)),
        bounded(case(name, sql, asked)),
    ]
}

/// status, type, user, since, until, and where the page before ended.
fn events(name: &'static str, values: &str) -> Case {
    case(name, EVENTS, format!("{values}, 51, null, null"))
}

fn oldest_first(name: &'static str, values: &str) -> Case {
    sorted(events(name, values), "received_at", Part::Values)
}

/// Failed events of one code, within bounds of time or not.
fn of_code(name: &'static str, bounds: &str, code: &str) -> Case {
    case(
        name,
        EVENTS,
        format!("'failed', null, null, {bounds}, null, null, 51, '{code}', null"),
    )
}

fn of_users() -> Vec<Case> {
    vec![
        by("users", "null, null, null, null, null, null"),
        by(
            "users, a later page",
            "null, null, null, null, null, 'user_0100007'",
        ),
        by(
            "email",
            "'Ada.20@Example.com', null, null, null, null, null",
        ),
        by("phone", "null, '+12000000020', null, null, null, null"),
        by("username", "null, null, 'ada20', null, null, null"),
        by("external_id", "null, null, null, 'ext7', null, null"),
        by("deleted=true", "null, null, null, null, true, null"),
        by("deleted=false", "null, null, null, null, false, null"),
        by(
            "email and deleted=false",
            "'Ada.20@Example.com', null, null, null, false, null",
        ),
        case(
            "docs/sql.md: who can sign in",
            "select * from clerk.active_users order by clerk_id desc limit 50",
            "",
        ),
        case(
            "ids, 100 of them",
            USERS,
            format!(
                "null, null, null, null, null, null, 101, {}, false",
                hundred("user_", 7)
            ),
        ),
        case(
            "one user",
            include_str!("../../../../src/store/postgres/row.sql"),
            "'user_0000007'",
        ),
    ]
}

/// The orders of users, each from its beginning, from later on, and back from there.
fn of_orders() -> Vec<Case> {
    let none = ["null", "null"];
    let email = ["'ida.20012@example.com'", "'user_0020012'"];
    let nulls = Part::Nulls { are_common: false };
    let v = Part::Values;
    vec![
        users_in("sort=clerk_id", "clerk_id", v, none),
        users_in("sort=clerk_id, a later page", "clerk_id", v, email),
        users_in("sort=email", "email", v, none),
        users_in("sort=email, a later page", "email", v, email),
        users_in("sort=-email, a later page", "-email", v, email),
        users_in("sort=email, those without one", "email", nulls, none),
        users_in(
            "sort=phone, a later page",
            "phone",
            v,
            ["'+12000020012'", email[1]],
        ),
        users_in("sort=phone, the half without one", "phone", nulls, email),
        users_in(
            "sort=username, a later page",
            "username",
            v,
            ["'ida20012'", email[1]],
        ),
        users_in(
            "sort=-username, the 3 of 4 without one",
            "-username",
            nulls,
            email,
        ),
        users_in(
            "sort=external_id, a later page",
            "external_id",
            v,
            ["'ext20012'", email[1]],
        ),
        // Few to read in order, and many to sort: this is where it costs most.
        Case {
            pages_max: Some(SEARCH_PAGES_MAX),
            ..users_in(
                "sort=external_id, the 1 of 500 without one",
                "external_id",
                nulls,
                email,
            )
        },
    ]
}

/// Of a million users 50,000 begin with `ada` and 250,000 with `a`; those with an address that
/// begins with `ada.2` are the oldest.
fn of_searches(users: u64) -> Vec<Case> {
    let one =
        |name, q, phone, is_common| search(name, [q, phone, "null", "null"], is_common, users);
    let both = ["ada lovelace70", "ada lovelace70", "'ada'", "'lovelace70'"];
    let searches = [
        one("q, a whole Clerk ID", "user_0000007", "user_0000007", false),
        one("q, the beginning of all Clerk IDs", "user_", "user_", false),
        one(
            "q, a whole address",
            "ada.20@example.com",
            "ada.20@example.com",
            false,
        ),
        one("q, the beginning of an address", "ADA.2", "ADA.2", false),
        one("q, digits", "1200000007", "+1200000007", false),
        one("q, a first name that 1 of 20 has", "ada", "ada", true),
        one(
            "q, a last name that 1 of 1,000 has",
            "lovelace7x",
            "lovelace7x",
            false,
        ),
        search("q, first and last name", both, true, users),
        one("q, one letter that 1 of 4 begins with", "a", "a", true),
        one("q that finds no user", "zzz", "zzz", false),
    ];
    searches.into_iter().flatten().collect()
}

fn of_events() -> Vec<Case> {
    let day = "now() - interval '1 day', now() - interval '12 hours'";
    vec![
        events("events", "null, null, null, null, null, null, null"),
        events(
            "events, a later page",
            "null, null, null, null, null, now() - interval '1 hour', 'msg_1'",
        ),
        events(
            "status=applied",
            "'applied', null, null, null, null, null, null",
        ),
        events(
            "status=stale",
            "'stale', null, null, null, null, null, null",
        ),
        events(
            "status=failed",
            "'failed', null, null, null, null, null, null",
        ),
        events(
            "status=discarded, 1 of 100,000",
            "'discarded', null, null, null, null, null, null",
        ),
        events(
            "event_type=user.updated",
            "null, 'user.updated', null, null, null, null, null",
        ),
        events(
            "event_type=user.created",
            "null, 'user.created', null, null, null, null, null",
        ),
        events(
            "event_type=user.unreadable, 1 of 100,000",
            "null, 'user.unreadable', null, null, null, null, null",
        ),
        events(
            "a type that there is not",
            "null, 'no.such', null, null, null, null, null",
        ),
        events(
            "clerk_id",
            "null, null, 'user_0000007', null, null, null, null",
        ),
        events(
            "a clerk_id that there is not",
            "null, null, 'user_none', null, null, null, null",
        ),
        events(
            "since and until",
            &format!("null, null, null, {day}, null, null"),
        ),
        events(
            "status=applied and event_type=user.deleted",
            "'applied', 'user.deleted', null, null, null, null, null",
        ),
        events(
            "status=stale and event_type=user.deleted",
            "'stale', 'user.deleted', null, null, null, null, null",
        ),
        events(
            "status=failed, event_type and clerk_id",
            "'failed', 'user.updated', 'user_0000007', null, null, null, null",
        ),
        events(
            "status=failed, since and until",
            &format!("'failed', null, null, {day}, null, null"),
        ),
        events(
            "status=discarded, since and until",
            &format!("'discarded', null, null, {day}, null, null"),
        ),
        events(
            "event_type=user.deleted, since and until",
            &format!("null, 'user.deleted', null, {day}, null, null"),
        ),
        events(
            "clerk_id, since and until",
            &format!("null, null, 'user_0000007', {day}, null, null"),
        ),
        events(
            "all filters",
            &format!("'applied', 'user.updated', 'user_0000007', {day}, null, null"),
        ),
        events(
            "status=failed, a later page",
            "'failed', null, null, null, null, now() - interval '1 hour', 'msg_1'",
        ),
        of_code("error_code", "null, null", "unstorable"),
        of_code("a code that there is not", "null, null", "no_such"),
        of_code("error_code, since and until", day, "unstorable"),
        case(
            "ids of events, 100 of them",
            EVENTS,
            format!(
                "null, null, null, null, null, null, null, 101, null, {}",
                hundred("msg_", 0)
            ),
        ),
        oldest_first(
            "sort=received_at",
            "null, null, null, null, null, null, null",
        ),
        oldest_first(
            "sort=received_at, a later page",
            "null, null, null, null, null, now() - interval '1 hour', 'msg_1'",
        ),
        oldest_first(
            "sort=received_at and status=failed, a later page",
            "'failed', null, null, null, null, now() - interval '1 hour', 'msg_1'",
        ),
        oldest_first(
            "sort=received_at, clerk_id, since and until",
            &format!("null, null, 'user_0000007', {day}, null, null"),
        ),
        case(
            "events whose ID begins so",
            include_str!("../../../../src/store/postgres/events_that_begin.sql"),
            "'msg_7', 'msg_8', 10",
        ),
        case(
            "one event",
            include_str!("../../../../src/store/postgres/event.sql"),
            "'msg_7'",
        ),
        case(
            "history of a user",
            HISTORY,
            "'user_0000007', null, null, 51",
        ),
        case(
            "history, a later page",
            HISTORY,
            "'user_0000007', now() - interval '1 hour', 'msg_1', 51",
        ),
    ]
}

fn of_changes() -> Vec<Case> {
    vec![
        case(
            "changes from the oldest on",
            CHANGES,
            "0, 9000000000000, null, 500",
        ),
        case(
            "changes, a later page",
            CHANGES,
            "20000, 9000000000000, null, 500",
        ),
        case(
            "changes of one table",
            CHANGES,
            "20000, 9000000000000, 'users', 50",
        ),
        case(
            "changes of a row",
            include_str!("../../../../src/store/postgres/changes_of_row.sql"),
            "'users', 'user_0000007', 20",
        ),
        case(
            "changes of a row with many",
            include_str!("../../../../src/store/postgres/changes_of_row.sql"),
            "'users', 'user_0000003', 20",
        ),
        case(
            "where the changes end",
            include_str!("../../../../src/store/postgres/change_marks.sql"),
            "",
        ),
        case(
            "how far the changes are published",
            include_str!("../../../../src/store/postgres/change_feed_state.sql"),
            "",
        ),
    ]
}

fn of_counts() -> Vec<Case> {
    let count = |name, sql, values: &str| Case {
        pages_max: None,
        ..case(name, sql, values)
    };
    vec![
        case(
            "last event",
            include_str!("../../../../src/store/postgres/last_received.sql"),
            "",
        ),
        count(
            "failed events by code",
            include_str!("../../../../src/store/postgres/failed.sql"),
            "100001",
        ),
        count(
            "the last hour",
            include_str!("../../../../src/store/postgres/recent.sql"),
            "date_trunc('minute', now()) - interval '59 minutes', 1000001, 60000",
        ),
        count(
            "the last 30 days",
            include_str!("../../../../src/store/postgres/recent.sql"),
            "now() - interval '30 days', 2000001, 43200000",
        ),
    ]
}

/// All of them, for so many users.
pub fn all(users: u64) -> Vec<Case> {
    let parts = [
        of_users(),
        of_orders(),
        of_searches(users),
        of_events(),
        of_changes(),
        of_counts(),
    ];
    parts.into_iter().flatten().collect()
}
