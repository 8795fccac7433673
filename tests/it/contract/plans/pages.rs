//! Every page of the dashboard on the same tables: the statements that the program sends for it, as
//! the server itself explains them, and how long they take together.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use sqlx::Executor;

use super::{indexes, number_of, scans};
use crate::support::app::{App, Place, SECRET};
use crate::support::database::TestDatabase;
use crate::support::visitor::Visitor;

const TOKEN: &str = "correct-horse-battery-staple";

/// Longest time of the statements of one page, in milliseconds.
const MS_MAX: f64 = 300.0;

/// Every page: its name and its address.
const PAGES: [(&str, &str); 53] = [
    ("Overview", "/"),
    ("Events", "/events"),
    ("Events, a later page", "/events?cursor=LATER"),
    ("Events by outcome", "/events?status=stale"),
    ("Failed events", "/events?status=failed"),
    ("Failed events of a code", "/events?error_code=unstorable"),
    (
        "Applied events of a type",
        "/events?status=applied&event_type=user.deleted",
    ),
    (
        "Events of the usual type",
        "/events?event_type=user.updated",
    ),
    ("Events of a user", "/events?clerk_id=user_0000007"),
    (
        "Events of the user with the most",
        "/events?clerk_id=user_0000003",
    ),
    (
        "Failed events of that user",
        "/events?clerk_id=user_0000003&status=failed",
    ),
    ("Events of a day", "/events?since=8d&until=7d"),
    (
        "Failed events of a day",
        "/events?status=failed&since=8d&until=7d",
    ),
    ("An applied event", "/events/msg_1000"),
    ("A failed event", "/events/msg_1009"),
    ("A stale event", "/events/msg_1024"),
    (
        "Replay failed events: preview",
        "/events/replay?status=failed",
    ),
    (
        "Discard failed events: preview",
        "/events/discard?status=failed&clerk_id=user_0000003",
    ),
    ("Users", "/users"),
    ("Users: a first name", "/users?q=ada"),
    ("Users: first and last name", "/users?q=ada%20lovelace70"),
    ("Deleted users", "/users?deleted=true"),
    ("A user", "/users/user_0000007"),
    ("The user with the most events", "/users/user_0000003"),
    ("Overview of 24 hours", "/?range=24h"),
    ("Overview of 7 days", "/?range=7d"),
    ("Overview of 30 days", "/?range=30d"),
    ("Search: the ID of an event", "/search?q=msg_1000"),
    ("Search: the beginning of IDs", "/search?q=msg_10"),
    ("Search: a last name", "/search?q=lovelace7x"),
    ("Search: nothing is found", "/search?q=zzz"),
    (
        "Events as a file, 1,000 rows",
        "/events/export?format=csv&limit=1000",
    ),
    (
        "Users as a file, 1,000 rows",
        "/users/export?format=csv&limit=1000",
    ),
    ("Control", "/control"),
    ("Organizations", "/organizations"),
    (
        "Organizations: a fifth has this name",
        "/organizations?q=fern",
    ),
    (
        "Organizations: few have this name",
        "/organizations?q=fern%2019",
    ),
    ("Organizations: a slug", "/organizations?slug=fern-25"),
    ("Deleted organizations", "/organizations?deleted=true"),
    ("An organization", "/organizations/org_0000007"),
    (
        "The organization with the most members",
        "/organizations/org_0000001",
    ),
    ("Memberships", "/memberships"),
    (
        "Memberships, a later page",
        "/memberships?cursor=r.organization_memberships.orgmem_0020000",
    ),
    ("Deleted memberships", "/memberships?deleted=true"),
    (MOST_MEMBERS, "/memberships?organization_id=org_0000001"),
    (
        "… a later page",
        "/memberships?organization_id=org_0000001&cursor=r.organization_memberships.orgmem_0020000",
    ),
    (
        "… those who have not left",
        "/memberships?organization_id=org_0000001&deleted=false",
    ),
    (
        "Members of an organization without new ones",
        "/memberships?organization_id=org_0000002",
    ),
    (MOST_ORGANIZATIONS, "/memberships?user_id=user_0000007"),
    (
        IS_MEMBER,
        "/memberships?organization_id=org_0000001&user_id=user_0000007",
    ),
    (
        "Pending invitations of an organization",
        "/invitations?organization_id=org_0000001&status=pending&expired=false",
    ),
    (
        "Invitations of an address",
        "/invitations?email_address=person.77@example.com",
    ),
    (
        "Memberships as a file, 1,000 rows",
        "/memberships/export?format=csv&limit=1000",
    ),
];

const MOST_MEMBERS: &str = "Members of the organization with the most";
const IS_MEMBER: &str = "Whether a user is in an organization";
const MOST_ORGANIZATIONS: &str = "Memberships of the user with the most";

/// The index that leads to the rows of these pages, in the order of the list.
const LED_BY: [(&str, &str); 3] = [
    (IS_MEMBER, "organization_memberships_organization"),
    (MOST_MEMBERS, "organization_memberships_newest"),
    (MOST_ORGANIZATIONS, "organization_memberships_user"),
];

/// Most pages of 8 KiB that a list of rows reads. Fifty rows may be on a page each.
const LIST_PAGES_MAX: f64 = 400.0;

/// The statements of counts that no page waits for: they are made in the background, and kept.
const COUNTS: [&str; 4] = ["failed", "recent", "totals", "totals_of_rows"];

/// A statement that was sent, as the server explained it.
struct Statement {
    /// The name of its file.
    name: String,
    plan: Value,
    ms: f64,
    is_compiled: bool,
}

pub async fn every_page_asks_little(database: TestDatabase, is_large: bool) {
    explain_everything(&database).await;
    let place = Place::servers_with(database);
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
        // Nothing is pruned meanwhile.
        ("EVENT_RETENTION_DAYS", "0"),
        ("RUST_LOG", "info,sqlx::postgres::notice=info"),
    ];
    let app = place.start(&["serve"], &variables).await;
    let mut visitor = Visitor::of(&app);
    assert_eq!(visitor.log_in(TOKEN).await.status, 303);
    let files = files();
    let (mut table, mut faults) = (String::new(), String::new());
    let mut counts = BTreeMap::<(String, &str), (f64, String)>::new();
    let ago = clerk_sync::clock::now().ms() - 7 * 86_400_000;
    for (page, path) in PAGES {
        let path = path.replace("LATER", &format!("e.{ago}.msg_1"));
        // The first answer fills the caches.
        let first = ask(&mut visitor, &app, &path, &files).await;
        let second = ask(&mut visitor, &app, &path, &files).await;
        let is_count = |statement: &Statement| COUNTS.contains(&&*statement.name);
        let (again, second): (Vec<_>, Vec<_>) = second.into_iter().partition(is_count);
        for statement in first.into_iter().filter(is_count).chain(again) {
            let used = indexes(&statement.plan).join(", ");
            let count = counts.entry((statement.name, page)).or_insert((0.0, used));
            count.0 = count.0.max(statement.ms);
        }
        let ms: f64 = second.iter().map(|statement| statement.ms).sum();
        writeln!(table, "| **{page}** `{path}` | | | **{ms:.1}** |").unwrap();
        for Statement {
            name,
            plan,
            ms,
            is_compiled,
        } in &second
        {
            let pages =
                number_of(plan, "Shared Hit Blocks") + number_of(plan, "Shared Read Blocks");
            let used = indexes(plan).join(", ");
            writeln!(table, "| {name} | {used} | {pages} | {ms:.1} |").unwrap();
            let is_list = name.starts_with("-- Rows of organization_memberships");
            if is_list && pages > LIST_PAGES_MAX && !path.contains("export") {
                writeln!(faults, "{path} reads {pages} pages:\n{plan:#}").unwrap();
            }
            let led_by = LED_BY.iter().find(|(led, _)| *led == page && is_list);
            if led_by.is_some_and(|(_, index)| used != *index) {
                writeln!(faults, "{path} is led by {used}:\n{plan:#}").unwrap();
            }
            // What opens a session is sent before its settings.
            let is_compiled = *is_compiled && !name.starts_with("session_");
            if is_compiled || scans(plan) {
                writeln!(
                    faults,
                    "{path}: {name} is compiled, or reads a whole table:\n{plan:#}"
                )
                .unwrap();
            }
        }
        assert!(!second.is_empty(), "{path} asks the database nothing");
        // A small machine at work on other tests says nothing about time.
        if is_large && ms > MS_MAX {
            writeln!(faults, "{path} takes {ms:.0} ms").unwrap();
        }
    }
    if is_large {
        println!(
            "| page, and its statements | indexes | pages | ms |\n| --- | --- | --- | --- |\n{table}"
        );
        println!("| count | indexes | ms |\n| --- | --- | --- |");
        for ((name, page), (ms, used)) in &counts {
            println!("| {name} ({page}) | {used} | {ms:.0} |");
        }
    }
    assert!(faults.is_empty(), "{table}\n{faults}");
}

/// Lets the server send the plan of each statement to the program that sent it, and compile each that
/// may be compiled: that takes longer than any statement of a page.
async fn explain_everything(database: &TestDatabase) {
    let mut connection = database.connect().await;
    let settings = "load 'auto_explain';
        do $$ begin
            execute format('alter database %I set session_preload_libraries = auto_explain', current_database());
            execute format('alter database %I set jit_above_cost = 0', current_database());
            execute format('alter database %I set auto_explain.log_min_duration = 0', current_database());
            execute format('alter database %I set auto_explain.log_analyze = on', current_database());
            execute format('alter database %I set auto_explain.log_buffers = on', current_database());
            execute format('alter database %I set auto_explain.log_timing = off', current_database());
            execute format('alter database %I set auto_explain.log_format = json', current_database());
            execute format('alter database %I set auto_explain.log_level = notice', current_database());
        end $$";
    connection.execute(settings).await.unwrap();
    let keeps_all = "update clerk.events set payload = convert_to('{\"type\":\"user.updated\",\"data\":{\"id\":\"user_0000007\",\"updated_at\":' || extract(epoch from received_at)::bigint || '000}}', 'UTF8')
         where clerk_id = 'user_0000007'";
    connection.execute(keeps_all).await.unwrap();
}

/// Asks for a page. Returns what was asked of the database for it.
async fn ask(
    visitor: &mut Visitor,
    app: &App,
    path: &str,
    files: &BTreeMap<String, String>,
) -> Vec<Statement> {
    let before = app.log().len();
    let page = visitor.get(path).await;
    assert!(page.status < 400, "{path}: {}", page.text());
    let log = app.log();
    log[before..]
        .iter()
        .filter_map(|line| statement(line, files))
        .collect()
}

/// Reads a line of the log, if it is the plan of a statement.
fn statement(line: &str, files: &BTreeMap<String, String>) -> Option<Statement> {
    let line: Value = serde_json::from_str(line).ok()?;
    let message = line["message"].as_str()?;
    let (duration, plan) = message
        .strip_prefix("duration: ")?
        .split_once(" ms  plan:\n")?;
    let mut plan: Value = serde_json::from_str(plan).unwrap();
    let text = plan["Query Text"]
        .as_str()
        .unwrap()
        .replace("\"clerk\".", "clerk.");
    let first = text.lines().next().unwrap();
    let name = files.get(first).map_or(first, |name| name).to_owned();
    Some(Statement {
        name,
        is_compiled: plan["JIT"].is_object(),
        plan: plan["Plan"].take(),
        ms: duration.parse().unwrap(),
    })
}

/// The names of the statements' files by their first lines.
fn files() -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let sql = paths.filter(|path| path.extension().is_some_and(|ending| ending == "sql"));
    sql.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (text.lines().next().unwrap().to_owned(), name)
    })
    .collect()
}
