//! The walls of the house, as tests: who may import whom, and what no file may have.
//!
//! The scan reads words, not types. Comments and strings are left out first, so that neither can raise an alarm or hide
//! one. To open a wall, change `MAY_IMPORT` and say why in ARCHITECTURE.md; a circle in the table is refused.

mod scan;

use std::path::Path;

use scan::{Source, Token};

/// For each top-level module, the others that it may import. What is not in here is refused.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    (
        "commands",
        &[
            "backfill",
            "backoff",
            "clerk",
            "clock",
            "config",
            "private_file",
            "http",
            "metrics",
            "queue",
            "replay",
            "sample",
            "shutdown",
            "store",
            "tasks",
            "telemetry",
            "tls",
            "trace",
            "url",
            "escape",
            "format",
            "worker",
        ],
    ),
    (
        "config",
        &[
            "backfill",
            "clerk",
            "http",
            "queue",
            "store",
            "telemetry",
            "tls",
            "url",
            "escape",
            "worker",
        ],
    ),
    (
        "http",
        &[
            "clerk", "clock", "metrics", "queue", "replay", "shutdown", "store", "tasks", "trace",
            "escape", "format",
        ],
    ),
    (
        "replay",
        &["backoff", "clerk", "clock", "metrics", "queue", "store"],
    ),
    (
        "worker",
        &[
            "backoff", "clerk", "clock", "metrics", "queue", "shutdown", "store", "tasks", "trace",
        ],
    ),
    (
        "backfill",
        &[
            "backoff",
            "clerk",
            "private_file",
            "metrics",
            "shutdown",
            "store",
            "tasks",
            "tls",
        ],
    ),
    (
        "queue",
        &[
            "backoff",
            "clerk",
            "clock",
            "private_file",
            "metrics",
            "shutdown",
            "tasks",
            "tls",
            "trace",
            "url",
        ],
    ),
    (
        "store",
        &[
            "clerk",
            "clock",
            "format",
            "private_file",
            "metrics",
            "tls",
            "url",
        ],
    ),
    ("clerk", &[]),
    ("sample", &["clerk"]),
    ("metrics", &[]),
    ("trace", &["clerk"]),
    ("telemetry", &["tasks", "trace", "escape"]),
    ("tasks", &["backoff", "shutdown"]),
    ("tls", &[]),
    ("url", &[]),
    ("escape", &[]),
    ("format", &[]),
    ("backoff", &[]),
    ("shutdown", &[]),
    ("clock", &["clerk"]),
    ("private_file", &[]),
];

/// The program itself: it parses, runs the command and gives the exit status.
const MAIN_MAY_IMPORT: &[&str] = &["commands", "telemetry"];

/// Inner walls: a path, and a word that may not stand in a file below it.
const MAY_NOT_NAME: &[(&str, &str, &str)] = &[
    (
        "src/http/webhook",
        "store",
        "a webhook is answered by the queue alone, with the database away too",
    ),
    (
        "src/http/api/",
        "Verifier",
        "only the webhook makes events of deliveries",
    ),
];

/// Where a statement may be put together at run time, and of what. Everywhere else it is a literal: what comes from outside
/// is a parameter, never a piece of a statement.
const MAY_ASSEMBLE_SQL: &[(&str, &str)] = &[
    (
        "benches/load/place.rs",
        "the name of the run's own database, which is no value",
    ),
    (
        "src/queue/embedded/file.rs",
        "our numbers of the file's kind and version, and our schema",
    ),
    (
        "src/queue/embedded/writer.rs",
        "as many marks for parameters as there are rows",
    ),
    (
        "src/store/postgres/apply.rs",
        "our templates with our conditions",
    ),
    (
        "src/store/sqlite/apply.rs",
        "our templates with our conditions",
    ),
];

/// The one file that may have `unsafe`.
const MAY_BE_UNSAFE: &str = "src/store/postgres/no_delay.rs";

/// Where a task is spawned beside `src/tasks.rs`, which watches them, and who notices there when one dies.
const MAY_SPAWN: &[(&str, &str)] = &[
    ("src/tasks.rs", "the place"),
    (
        "src/commands/send/load.rs",
        "the command waits for all of them",
    ),
    (
        "src/telemetry/traces.rs",
        "who sends waits for the answer, and who stops for the flush",
    ),
    (
        "src/worker/consume.rs",
        "the drain waits for all of them, and dies of their panics",
    ),
    (
        "src/worker/mod.rs",
        "each restarts by itself, and the worker waits for all of them",
    ),
];

const FILE_LINES_MAX: usize = 1000;

/// Names that say nothing about what is inside, so that everything ends up there.
const DRAWERS: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "core",
];

/// What the names of metrics end with.
const METRIC_ENDINGS: &[&str] = &[
    "_total", "_seconds", "_bytes", "_size", "_depth", "_events", "_info", "_ready",
];

/// The one place where tests wait: for a condition, with a deadline.
const WAITING: &str = "tests/it/support/";

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = ["src", "tests", "benches", "examples"]
        .iter()
        .flat_map(|top| scan::read(root, top))
        .collect();
    assert!(
        files.iter().any(|file| file.path == "src/lib.rs"),
        "found no source in {}",
        root.display()
    );
    let faults = faults(&files);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn faults(files: &[Source]) -> Vec<String> {
    let mut faults: Vec<String> = files
        .iter()
        .filter(|file| file.is_rust())
        .flat_map(faults_of_file)
        .collect();
    faults.extend(
        files
            .iter()
            .filter(|file| is_drawer(&file.path))
            .map(|file| {
                format!(
                    "{}: its name says nothing about what is in it; name it after its job",
                    file.path
                )
            }),
    );
    faults.extend(unused_statements(files));
    faults
}

fn faults_of_file(file: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("{}: {what}", file.path));
    if !file.text.starts_with("//!") {
        fault("must open with `//!`: what it is for and what holds".to_owned());
    }
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        fault(format!(
            "{lines} lines, more than {FILE_LINES_MAX}; find the second thing in it"
        ));
    }
    let metric = |text: &str| {
        text.starts_with("clerk_sync_") && METRIC_ENDINGS.iter().any(|end| text.ends_with(end))
    };
    let names_a_metric = file.path.starts_with("src/") && file.text.split('"').any(metric);
    if names_a_metric && !file.path.starts_with("src/metrics") {
        fault("a metric is named in src/metrics.rs and nowhere else".to_owned());
    }
    let tokens = scan::tokens(&file.text);
    for (at, (token, line)) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let called = scan::punctuation(&tokens, at + 1, "!");
        if called && matches!(word.as_str(), "todo" | "unimplemented") {
            fault(format!(
                "`{word}!` is a path that nobody has built (line {line})"
            ));
        }
        if word == "ignore" && at >= 2 && scan::punctuation(&tokens, at - 2, "#[") {
            fault(format!(
                "`#[ignore]` hides a test; mend it or remove it (line {line})"
            ));
        }
        let assembles = matches!(word.as_str(), "AssertSqlSafe" | "raw_sql" | "QueryBuilder");
        let may_assemble = MAY_ASSEMBLE_SQL.iter().any(|(path, _)| file.path == *path)
            || file.path.contains("tests/");
        if assembles && !may_assemble {
            fault(format!(
                "`{word}` makes a statement at run time; say in MAY_ASSEMBLE_SQL of what (line {line})"
            ));
        }
        if word == "unsafe" && file.path != MAY_BE_UNSAFE {
            fault(format!(
                "`unsafe` stands in {MAY_BE_UNSAFE} alone, which says why (line {line})"
            ));
        }
        let spawns = matches!(word.as_str(), "spawn" | "spawn_blocking" | "spawn_local");
        let is_test = file.path.contains("/tests");
        let may_spawn = is_test || MAY_SPAWN.iter().any(|(path, _)| file.path == *path);
        if spawns
            && file.path.starts_with("src/")
            && !may_spawn
            && scan::punctuation(&tokens, at + 1, "(")
        {
            fault(format!(
                "`{word}` starts what nobody watches; use src/tasks.rs (line {line})"
            ));
        }
        let sleeps = matches!(word.as_str(), "sleep" | "sleep_until" | "sleep_ms");
        if sleeps && file.path.starts_with("tests/") && !file.path.starts_with(WAITING) {
            fault(format!(
                "`{word}` waits for luck; wait for a condition with a deadline (line {line})"
            ));
        }
        for (path, named, reason) in MAY_NOT_NAME {
            if word == named && file.path.starts_with(path) {
                fault(format!("must not name {named}: {reason} (line {line})"));
            }
        }
    }
    if let Some(module) = file.module().first() {
        wall_faults(module, &scan::imports(&file.module(), &tokens))
            .into_iter()
            .for_each(&mut fault);
    } else if file.path == "src/main.rs" {
        for (name, line) in scan::imports(&[], &tokens) {
            if !MAIN_MAY_IMPORT.contains(&name.as_str()) {
                fault(format!("main must not import {name} (line {line})"));
            }
        }
    }
    faults
}

fn wall_faults(module: &str, imports: &[(String, usize)]) -> Vec<String> {
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "{module} is not in the table MAY_IMPORT; say there what it may import"
        )];
    };
    imports
        .iter()
        .filter(|(name, _)| name != module && !allowed.contains(&name.as_str()))
        .map(|(name, line)| format!("{module} must not import {name} (line {line})"))
        .collect()
}

fn is_drawer(path: &str) -> bool {
    path.split('/')
        .any(|part| DRAWERS.contains(&part.split('.').next().unwrap_or(part)))
}

/// A statement in a file that no code includes is one that nobody runs.
fn unused_statements(files: &[Source]) -> Vec<String> {
    let included: Vec<String> = files
        .iter()
        .filter(|file| file.is_rust())
        .flat_map(Source::included)
        .collect();
    files
        .iter()
        .filter(|file| {
            file.path.starts_with("src/")
                && file.path.ends_with(".sql")
                && !included.contains(&file.path)
        })
        .map(|file| {
            format!(
                "{}: no include_str! names it, so nothing runs it",
                file.path
            )
        })
        .collect()
}

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

/// Takes away what imports nothing that is left, until nothing is left; what can't be taken away is in a circle.
fn circle(table: &[(&'static str, &[&'static str])]) -> Option<Vec<&'static str>> {
    let mut left: Vec<_> = table.to_vec();
    loop {
        let names: Vec<_> = left.iter().map(|(name, _)| *name).collect();
        let before = left.len();
        left.retain(|(_, imports)| imports.iter().any(|import| names.contains(import)));
        if left.is_empty() {
            return None;
        }
        if left.len() == before {
            return Some(names);
        }
    }
}

/// What the scan says of one file in the house, without the line numbers.
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
        "use crate::clerk::{ClerkId, EventId}; use crate::metrics;",
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
fn what_nobody_built_and_what_nobody_runs_is_caught() {
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
        assert_eq!(says("src/store/postgres/apply.rs", text), [""; 0], "{text}");
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
fn a_task_that_nobody_watches_is_caught() {
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
}
