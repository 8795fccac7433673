//! Every question with every filter and every order, and every page of the dashboard, on tables with
//! many rows: which index leads to the answer, and how much is read on the way.
//!
//! `scripts/query-plans` does the same with a million users and ten million events, and prints the
//! tables of docs/query-plans.md.

mod cases;
mod fill;
mod pages;

use std::fmt::Write;

use clerk_sync::clerk::tables::{self, users::TABLE};
use clerk_sync::store::template::{self, Dialect};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use cases::Case;

use crate::support::database::TestDatabase;

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
    let mut connection = fill::filled(&database, users, events).await;
    let cases = cases::all(users);
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
    drop(connection);
    pages::every_page_asks_little(database, is_large).await;
}

/// The plan of the second run: the first one fills the caches.
async fn explain(connection: &mut PgConnection, number: usize, case: &Case) -> Value {
    let marks: Vec<_> = case
        .marks
        .iter()
        .map(|(mark, text)| (*mark, &**text))
        .collect();
    let sql = template::render(case.sql, &TABLE, Dialect::Postgres, &marks);
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

/// Whether a large table is read as a whole, by whatever way.
fn scans(plan: &Value) -> bool {
    let is_large = |node: &Value| {
        let name = node["Relation Name"].as_str().unwrap_or_default();
        matches!(name, "events" | "changes") || tables::named(name).is_some()
    };
    let mut nodes = nodes(plan).into_iter();
    nodes.any(|node| node["Node Type"] == "Seq Scan" && is_large(node))
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
