//! Every question with every filter, on tables with many rows: which index leads to the answer, and
//! how much is read on the way.
//!
//! `scripts/query-plans` does the same with a million users and ten million events, and prints the
//! table of docs/query-plans.md.

use std::fmt::Write;

use clerk_sync::clerk::tables::users::TABLE;
use clerk_sync::store::template::{self, Dialect};
use clerk_sync::store::{self, Keep, Store};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::support::database::TestDatabase;

const USERS: &str = include_str!("../../../src/store/postgres/users.sql");
const SEARCH: &str = include_str!("../../../src/store/postgres/users_by_search.sql");
const SEARCH_IN_ORDER: &str =
    include_str!("../../../src/store/postgres/users_by_search_in_order.sql");
const IS_COMMON: &str = include_str!("../../../src/store/postgres/search_is_common.sql");
const EVENTS: &str = include_str!("../../../src/store/postgres/events.sql");
const HISTORY: &str = include_str!("../../../src/store/postgres/history.sql");

/// How much a question may read, in pages of 8 KiB, those of indexes among them. A page of fifty
/// rows needs some hundreds when each row is on a page of its own.
const PAGES_MAX: f64 = 1500.0;

/// The same for a search: at worst some thousand users are found in three ways each before the
/// newest fifty are known.
const SEARCH_PAGES_MAX: f64 = 40_000.0;

/// A question, its statement and what is asked.
struct Case {
    name: &'static str,
    sql: &'static str,
    values: String,
    /// Pages that may be read; `None` for a query that counts and is rare.
    pages_max: Option<f64>,
}

fn case(name: &'static str, sql: &'static str, values: impl Into<String>) -> Case {
    Case {
        name,
        sql,
        values: values.into(),
        pages_max: Some(PAGES_MAX),
    }
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
            "ids",
            USERS,
            "null, null, null, null, null, null, 51, array['user_0000007', 'user_0100007'], false",
        ),
        case(
            "one user",
            include_str!("../../../src/store/postgres/row.sql"),
            "'user_0000007'",
        ),
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
            "ids of events",
            EVENTS,
            "null, null, null, null, null, null, null, 51, null, array['msg_7', 'msg_8']",
        ),
        case(
            "the failed event after another one",
            include_str!("../../../src/store/postgres/failed_after.sql"),
            "now() - interval '1 hour', 'msg_1'",
        ),
        case(
            "events whose ID begins so",
            include_str!("../../../src/store/postgres/events_that_begin.sql"),
            "'msg_7', 'msg_8', 10",
        ),
        case(
            "one event",
            include_str!("../../../src/store/postgres/event.sql"),
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

fn of_counts() -> Vec<Case> {
    let count = |name, sql, values: &str| Case {
        name,
        sql,
        values: values.into(),
        pages_max: None,
    };
    vec![
        case(
            "last event",
            include_str!("../../../src/store/postgres/last_received.sql"),
            "",
        ),
        count(
            "failed events by code",
            include_str!("../../../src/store/postgres/failed.sql"),
            "100001",
        ),
        count(
            "the last hour",
            include_str!("../../../src/store/postgres/recent.sql"),
            "date_trunc('minute', now()) - interval '59 minutes', 1000001, 60000",
        ),
        count(
            "the last 30 days",
            include_str!("../../../src/store/postgres/recent.sql"),
            "now() - interval '30 days', 2000001, 43200000",
        ),
    ]
}

/// So many users and ten events of each: 3 % are stale, one in a thousand failed, one in a hundred
/// thousand discarded; 15 % are of `user.created`, 5 % of `user.deleted`. A quarter of the users is
/// called something with A, and 1 % is deleted.
const FILL: &str = "
    insert into clerk.users (clerk_id, email, phone, username, external_id, first_name, last_name, deleted_at, data, updated_at, occurred_at, event_id)
    select 'user_' || lpad(n::text, 7, '0'), first || '.' || n || '@example.com', '+1' || (2000000000 + n), first || n, 'ext' || n,
           initcap(first), 'Lovelace' || n % 1000 || 'x', case when n % 100 = 0 then now() end,
           jsonb_build_object('id', n, 'filler', repeat(md5(n::text), 12)), now(), now(), 'msg_' || n
      from (select n, (array['ada','amal','amy','arif','aya','bo','cy','di','eli','fay','gil','hu','ida','jo','kai','lu','mo','ned','oz','pam'])[n % 20 + 1] as first
              from generate_series(1, {users}) n) as people;
    insert into clerk.events (event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, error_code)
    select 'msg_' || n,
           case when n % 100000 = 5 then 'user.unreadable' when n % 20 = 3 then 'user.deleted' when n % 20 < 3 then 'user.created' else 'user.updated' end,
           'user_' || lpad((hashint4(n) & 2147483647) % {users} || '', 7, '0'), at, at, at, at + n % 50 * interval '1 ms',
           case when n % 100000 = 7 then 'discarded' when n % 1000 = 9 then 'failed' when n % 33 = 1 then 'stale' else 'applied' end,
           case when n % 1000 = 9 then 'unstorable' end
      from (select n, now() - ({events} - n) * interval '0.2 s' as at from generate_series(1, {events}) n) as history";

/// Rows of users and of events, and whether the table of figures is wanted.
fn size() -> (u64, u64, bool) {
    let users = std::env::var("QUERY_PLANS_USERS")
        .ok()
        .map(|text| text.parse().expect("QUERY_PLANS_USERS is a number"));
    (
        users.unwrap_or(40_000),
        users.unwrap_or(40_000) * 10,
        users.is_some(),
    )
}

#[tokio::test]
async fn no_query_reads_a_whole_table() {
    let (users, events, is_large) = size();
    let database = TestDatabase::create().await;
    let mut connection = filled(&database, users, events).await;
    let cases: Vec<_> = of_users()
        .into_iter()
        .chain(of_searches(users))
        .chain(of_events())
        .chain(of_counts())
        .collect();
    let (mut table, mut faults) = (String::new(), String::new());
    for (number, case) in cases.iter().enumerate() {
        let plan = explain(&mut connection, number, case).await;
        let node = &plan["Plan"];
        let pages = number_of(node, "Shared Hit Blocks") + number_of(node, "Shared Read Blocks");
        let indexes = indexes(node).join(", ");
        let rows = number_of(node, "Actual Rows");
        let ms = plan["Execution Time"].as_f64().unwrap_or_default();
        writeln!(
            table,
            "| {} | {indexes} | {rows} | {pages} | {ms:.1} |",
            case.name
        )
        .unwrap();
        if scans(node) || case.pages_max.is_some_and(|max| pages > max) {
            writeln!(faults, "{} reads {pages} pages:\n{node:#}", case.name).unwrap();
        }
    }
    if is_large {
        println!(
            "| question | indexes | rows | pages | ms |\n| --- | --- | --- | --- | --- |\n{table}"
        );
    }
    assert!(faults.is_empty(), "{table}\n{faults}");
}

/// A database with so many rows, and a connection to it that plans as the store does.
async fn filled(database: &TestDatabase, users: u64, events: u64) -> PgConnection {
    let address = database.url().parse().unwrap();
    let options = store::postgres::Options {
        schema: Default::default(),
        address,
        connections: 1,
        keep: Keep::default(),
    };
    let store = Store::open(&store::Options::Postgres(options)).unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    let mut connection = database.connect().await;
    let fill = FILL
        .replace("{users}", &users.to_string())
        .replace("{events}", &events.to_string());
    connection.execute(AssertSqlSafe(fill)).await.unwrap();
    // Each on its own: a vacuum is in no transaction.
    for statement in [
        "vacuum analyze clerk.users",
        "vacuum analyze clerk.events",
        "set plan_cache_mode = force_custom_plan",
    ] {
        connection.execute(statement).await.unwrap();
    }
    connection
}

/// The plan of the second run: the first one fills the caches.
async fn explain(connection: &mut PgConnection, number: usize, case: &Case) -> Value {
    let sql = template::render(case.sql, &TABLE, Dialect::Postgres, &[]);
    let prepare = format!("prepare question_{number} as {sql}");
    connection
        .execute(AssertSqlSafe(prepare))
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let values = if case.values.is_empty() {
        String::new()
    } else {
        format!("({})", case.values)
    };
    let explain =
        format!("explain (analyze, buffers, format json) execute question_{number}{values}");
    let mut plan = Value::Null;
    for _ in 0..2 {
        let row = sqlx::raw_sql(AssertSqlSafe(explain.clone()))
            .fetch_one(&mut *connection)
            .await;
        let row = row.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        plan = row.get::<Value, _>(0)[0].take();
    }
    plan
}

/// Newer servers write whole numbers with a fraction.
fn number_of(node: &Value, name: &str) -> f64 {
    node[name].as_f64().unwrap_or_default()
}

/// The node and all below it.
fn nodes(node: &Value) -> Vec<&Value> {
    let below = node["Plans"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(nodes);
    std::iter::once(node).chain(below).collect()
}

/// Whether a whole table is read, by whatever way.
fn scans(plan: &Value) -> bool {
    nodes(plan)
        .into_iter()
        .any(|node| node["Node Type"] == "Seq Scan" && node["Schema"] != "pg_catalog")
}

fn indexes(plan: &Value) -> Vec<&str> {
    let mut names: Vec<_> = nodes(plan)
        .into_iter()
        .filter_map(|node| node["Index Name"].as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    if names
        .iter()
        .filter(|name| name.ends_with("_prefix"))
        .count()
        == 6
    {
        return vec!["users_pkey and the six by prefix"];
    }
    names
}
