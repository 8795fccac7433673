//! Each rule of the parent catches what it names, however it is written, and nothing else.

use super::graph;
use super::scan::Source;
use super::{FILE_LINES_MAX, MAY_IMPORT, circle, faults, is_drawer};

#[test]
fn the_table_has_no_circle() {
    assert_eq!(circle(MAY_IMPORT), None);
    assert!(
        circle(&[
            ("http", &["queue"]),
            ("queue", &["worker"]),
            ("worker", &["http"])
        ])
        .is_some()
    );
}

/// Returns the faults of one file, without the line numbers.
fn says(path: &str, text: &str) -> Vec<String> {
    let files = [Source::new(path, &format!("//! For a test.\n{text}"))];
    faults(&files)
        .into_iter()
        .map(|fault| fault.split(" (line").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn an_import_over_a_wall_is_caught_however_it_is_written() {
    let caught = ["src/store/sqlite.rs: store must not import queue"];
    for text in [
        "use crate::queue::Batch;",
        "use crate::{clerk::ClerkId, queue};",
        "use crate::{clerk::{event::{Timestamp}, change}, queue::{Batch}};",
        "pub(crate) use crate::queue as belt;",
        "fn f(batch: &crate::queue::Batch) {}",
        "use super::super::queue::Batch;",
        "use super::{super::queue::Batch, Store};",
        "mod tests { use super::super::super::queue; }",
        "const QUOTE: char = '\"'; use crate::queue; const OTHER: char = '\"';",
        "const QUOTE: char = '\\\"'; use crate::queue; const OTHER: char = '\\\"';",
        "const QUOTED: &str = \"a \\\" b\"; use crate::queue; const OTHER: &str = \"c\";",
        "mod inner {} use super::super::queue;",
        "fn f<'a>(x: &'a str) { crate::queue::take(x) }",
        "/* use /* nested */ comments */ use crate /* here too */ :: queue;",
    ] {
        assert_eq!(says("src/store/sqlite.rs", text), caught, "{text}");
    }
    assert_eq!(
        says("src/store/sqlite.rs", "use super::super::*;"),
        ["src/store/sqlite.rs: store must not import *"]
    );
    assert_eq!(
        says("src/queue/mod.rs", "use super::store;"),
        ["src/queue/mod.rs: queue must not import store"]
    );
    assert_eq!(
        says("src/clerk.rs", "use crate::metrics;"),
        ["src/clerk.rs: clerk must not import metrics"]
    );
    assert_eq!(
        says("src/http/health.rs", "use crate::worker::x;"),
        ["src/http/health.rs: http must not import worker"]
    );
    assert_eq!(
        says("src/worker/mod.rs", "use crate::config;"),
        ["src/worker/mod.rs: worker must not import config"]
    );
    assert_eq!(
        says("src/main.rs", "use clerk_sync::store;"),
        ["src/main.rs: main must not import store"]
    );
}

#[test]
fn an_import_that_is_allowed_raises_no_alarm() {
    for text in [
        "use crate::clerk::{ClerkId, EventId}; use crate::clock;",
        "use super::{Store, row::User};",
        "mod tests { use super::*; mod inner { use super::super::*; } }",
        "// use crate::queue;\n/* use crate::queue; */ /* a /* b */ use crate::queue; */",
        "const S: &str = \"crate::queue\"; const R: &str = r#\"use \"crate::queue\"#; const C: char = '\\'';",
        "pub(crate) fn f<'queue>(queue: &'queue str) { self::g(); crate::store::rows::h(queue) }",
        "mod crate_queue {}",
    ] {
        assert_eq!(says("src/store/sqlite.rs", text), [""; 0], "{text}");
    }
    assert_eq!(says("src/main.rs", "use clerk_sync::commands;"), [""; 0]);
    assert_eq!(says("src/lib.rs", "pub mod store; pub mod queue;"), [""; 0]);
}

#[test]
fn a_module_that_the_table_does_not_know_is_caught() {
    for path in [
        "src/billing.rs",
        "src/billing/mod.rs",
        "src/billing/invoice.rs",
    ] {
        let said = says(path, "");
        assert_eq!(
            said,
            [format!(
                "{path}: billing is not in the table MAY_IMPORT; say there what it may import"
            )]
        );
    }
}

#[test]
fn inner_walls_are_caught() {
    let webhook = says("src/http/webhook.rs", "use crate::store::Store;");
    assert_eq!(webhook.len(), 1, "{webhook:?}");
    assert!(
        webhook[0].starts_with("src/http/webhook.rs: must not name store"),
        "{webhook:?}"
    );
    let api = says(
        "src/http/api/events.rs",
        "use crate::clerk::signature::Verifier;",
    );
    assert!(
        api.len() == 1 && api[0].contains("must not name Verifier"),
        "{api:?}"
    );
}

#[test]
fn a_file_that_does_not_say_what_it_is_for_is_caught() {
    let said = faults(&[Source::new(
        "src/clerk/event.rs",
        "use std::fmt;\n//! Too late.",
    )]);
    assert_eq!(
        said,
        ["src/clerk/event.rs: must open with `//!`: what it is for and what holds"]
    );
}

#[test]
fn a_file_that_is_too_long_is_caught() {
    let text = |lines| format!("//! Long.\n{}", "\n".repeat(lines - 1));
    assert_eq!(
        faults(&[Source::new("tests/it/law.rs", &text(FILE_LINES_MAX))]),
        [""; 0]
    );
    let said = faults(&[Source::new("tests/it/law.rs", &text(FILE_LINES_MAX + 1))]);
    assert_eq!(
        said,
        [format!(
            "tests/it/law.rs: {} lines, more than {FILE_LINES_MAX}; find the second thing in it",
            FILE_LINES_MAX + 1
        )]
    );
}

#[test]
fn a_drawer_is_caught_as_a_file_and_as_a_folder() {
    for path in [
        "src/queue/util.rs",
        "src/queue/helpers/wait.rs",
        "tests/it/common/mod.rs",
        "src/store/core/x.sql",
    ] {
        let said = says(path, "");
        assert!(
            said.iter().any(|fault| fault.contains("says nothing")),
            "{path}: {said:?}"
        );
    }
    assert!(!is_drawer("src/queue/utility_of_waiting.rs"));
}

#[test]
fn unfinished_code_and_ignored_tests_are_caught() {
    for text in [
        "fn f() { todo!() }",
        "fn f() { todo![] }",
        "fn f() { unimplemented! (\"later\") }",
    ] {
        assert_eq!(says("src/queue/mod.rs", text).len(), 1, "{text}");
    }
    for text in [
        "#[ignore]\nfn f() {}",
        "#[ignore = \"slow\"]\nfn f() {}",
        "# [ ignore ] fn f() {}",
    ] {
        assert_eq!(says("tests/it/law.rs", text).len(), 1, "{text}");
    }
    let innocent =
        "// todo!(\nfn f(ignore: bool) -> &'static str { \"todo!( #[ignore]\" } fn todo() {}";
    assert_eq!(says("src/queue/mod.rs", innocent), [""; 0]);
}

#[test]
fn a_statement_that_is_made_at_run_time_is_caught() {
    for text in [
        "use sqlx::AssertSqlSafe;",
        "sqlx::raw_sql(sql)",
        "sqlx::QueryBuilder::new(sql)",
    ] {
        assert_eq!(says("src/store/postgres/read.rs", text).len(), 1, "{text}");
        assert_eq!(says("src/store/queries.rs", text), [""; 0], "{text}");
        assert_eq!(
            says("tests/it/contract/postgres.rs", text),
            [""; 0],
            "{text}"
        );
    }
}

#[test]
fn unsafe_code_is_caught_everywhere_but_in_one_file() {
    let text = "fn f() { unsafe { g() } }";
    assert_eq!(says("src/store/postgres/pool.rs", text).len(), 1);
    assert_eq!(says("src/store/postgres/no_delay.rs", text), [""; 0]);
}

#[test]
fn an_unwatched_task_is_caught() {
    for text in [
        "fn f() { tokio::spawn(work()); }",
        "use tokio::spawn; fn f() { spawn(work()); }",
        "fn f() { std::thread::Builder::new().spawn(work); }",
        "fn f() { tokio::task::spawn_blocking(work); }",
        "fn f() { tokio::task::spawn_local(work()); }",
        "fn f() { runtime.spawn(work()) }",
    ] {
        let said = says("src/queue/mod.rs", text);
        assert!(
            said.len() == 1 && said[0].contains("use src/tasks.rs"),
            "{text}: {said:?}"
        );
        assert_eq!(says("src/tasks.rs", text), [""; 0], "{text}");
        assert_eq!(says("tests/it/story/stop.rs", text), [""; 0], "{text}");
    }
    assert_eq!(
        says(
            "src/queue/mod.rs",
            "fn spawning() {} // tokio::spawn(work())"
        ),
        [""; 0]
    );
}

#[test]
fn a_metric_that_is_named_elsewhere_is_caught() {
    let text = "const NAME: &str = \"clerk_sync_webhooks_total\";";
    assert_eq!(says("src/http/webhook.rs", text).len(), 1);
    assert_eq!(says("src/metrics.rs", text), [""; 0]);
}

#[test]
fn a_test_that_sleeps_is_caught() {
    for text in [
        "tokio::time::sleep(SECOND).await;",
        "use std::thread; fn f() { thread::sleep(SECOND) }",
        "use tokio::time::sleep as rest;",
        "tokio::time::sleep_until(later).await;",
    ] {
        assert_eq!(says("tests/it/story/sign_up.rs", text).len(), 1, "{text}");
        assert_eq!(says("tests/it/support/until.rs", text), [""; 0], "{text}");
        assert_eq!(says("src/backoff.rs", text), [""; 0], "{text}");
    }
    assert_eq!(
        says(
            "tests/it/law.rs",
            "const SLOW: &str = \"select pg_sleep(1)\"; // no sleep"
        ),
        [""; 0]
    );
}

#[test]
fn a_statement_that_nothing_includes_is_caught() {
    let statement = Source::new("src/store/postgres/apply.sql", "select 1");
    let said = |text: &str| {
        faults(&[
            Source::new("src/store/postgres.rs", text),
            statement.clone(),
        ])
    };
    let caught = ["src/store/postgres/apply.sql: no include_str! names it, so nothing runs it"];
    assert_eq!(said("//! No statement."), caught);
    assert_eq!(
        said("//! Old.\n// const A: &str = include_str!(\"postgres/apply.sql\");"),
        caught
    );
    assert_eq!(
        said("//! Other.\nconst A: &str = include_str!(\"sqlite/apply.sql\");"),
        caught
    );
    assert_eq!(
        said("//! In use.\nconst A: &str = include_str!(\"postgres/apply.sql\");"),
        [""; 0]
    );
    assert_eq!(
        said("//! In use.\nconst A: &str = include_str!(\"../store/./postgres/apply.sql\");"),
        [""; 0]
    );
    for text in [
        "macro_rules! m { ($name:ident) => { include_str!(concat!(\"postgres/\", stringify!($name), \".sql\")) } } m!(apply);",
        "macro_rules! m { ($file:literal) => { include_str!($file) } } m!(\"postgres/apply.sql\");",
    ] {
        assert_eq!(said(&format!("//! In use.\n{text}")), [""; 0], "{text}");
        let other = text.replace("apply", "read");
        assert_eq!(said(&format!("//! Other.\n{other}")), caught, "{other}");
    }
}

/// Returns the files of each circle, from the arrow to remove on.
fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let sources: Vec<_> = files
        .iter()
        .map(|(path, text)| Source::new(path, text))
        .collect();
    let circles = graph::circles(&graph::arrows(&sources));
    let files = |circle: Vec<graph::Arrow>| circle.into_iter().map(|arrow| arrow.from).collect();
    circles.into_iter().map(files).collect()
}

#[test]
fn a_circle_between_files_is_found() {
    let parent = ("src/a/mod.rs", "mod b; pub struct A; fn f() { b::g() }");
    let child = ("src/a/b.rs", "use super::A; pub fn g(a: A) {}");
    assert_eq!(circles(&[parent, child]).len(), 1);
    let siblings = [
        ("src/a/mod.rs", "mod b; mod c;"),
        ("src/a/b.rs", "use super::c::{One, Two}; pub struct B;"),
        (
            "src/a/c.rs",
            "pub struct One(crate::a::b::B); pub struct Two;",
        ),
    ];
    assert_eq!(circles(&siblings), [["src/a/c.rs", "src/a/b.rs"]]);
    let by_module = [
        ("src/a.rs", "use crate::b; pub fn f() { b::g() }"),
        ("src/b.rs", "pub fn g() { crate::a::f() }"),
    ];
    assert_eq!(circles(&by_module).len(), 1);
}

#[test]
fn a_parent_that_only_passes_names_on_is_in_no_circle() {
    for parent in [
        "mod b; mod c; pub use b::B; pub use c::C;",
        "mod b; mod c; pub use b::*; pub use c::C;",
    ] {
        let files = [
            ("src/a/mod.rs", parent),
            ("src/a/b.rs", "pub struct B;"),
            ("src/a/c.rs", "use super::B; pub struct C(B);"),
        ];
        assert_eq!(circles(&files), [[""; 0]; 0], "{parent}");
    }
    let test = [
        ("src/a.rs", "pub struct A; mod tests { use crate::b::f; }"),
        ("src/b.rs", "use crate::a::A; pub fn f(a: A) {}"),
    ];
    assert_eq!(circles(&test), [[""; 0]; 0], "a test may use anything");
}
