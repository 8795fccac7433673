//! Tests of the sources: which module may import which, no circles between files, and what no file
//! may contain.
//!
//! The scan reads words, not types, and skips comments and strings. To allow an import, change
//! `MAY_IMPORT` and say why in ARCHITECTURE.md. A circle is reported with the arrow to remove.

mod graph;
mod paths;
mod scan;
mod tests;
mod words;

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
            "refresh",
            "replay",
            "sample",
            "shutdown",
            "store",
            "tasks",
            "telemetry",
            "tls",
            "url",
            "escape",
            "format",
            "worker",
        ],
    ),
    (
        "config",
        &[
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
            "clerk", "clock", "metrics", "queue", "refresh", "replay", "shutdown", "store",
            "tasks", "trace", "escape", "format",
        ],
    ),
    (
        "refresh",
        &["backfill", "clerk", "logged_state", "metrics", "store"],
    ),
    (
        "replay",
        &["backoff", "clerk", "clock", "metrics", "queue", "store"],
    ),
    (
        "worker",
        &[
            "backoff",
            "clerk",
            "clock",
            "logged_state",
            "metrics",
            "queue",
            "shutdown",
            "store",
            "tasks",
            "trace",
        ],
    ),
    (
        "backfill",
        &[
            "backoff",
            "clerk",
            "private_file",
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
            "logged_state",
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
            "backoff",
            "clerk",
            "clock",
            "format",
            "metrics",
            "private_file",
            "tasks",
            "tls",
            "url",
        ],
    ),
    ("clerk", &[]),
    ("sample", &["clerk"]),
    ("metrics", &["clerk"]),
    ("trace", &["clerk"]),
    (
        "telemetry",
        &["escape", "logged_state", "tasks", "tls", "trace"],
    ),
    ("tasks", &["backoff", "shutdown"]),
    ("tls", &[]),
    ("url", &[]),
    ("escape", &[]),
    ("format", &[]),
    ("backoff", &[]),
    ("shutdown", &[]),
    ("clock", &["clerk"]),
    ("private_file", &[]),
    ("logged_state", &[]),
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

/// Where a statement may be put together at run time, and of what. Everywhere else it is a literal:
/// what comes from outside is a parameter, never a piece of a statement.
const MAY_ASSEMBLE_SQL: &[(&str, &str)] = &[
    ("benches/load/bare.rs", "the columns of the users table"),
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
        "benches/load/bare.rs",
        "our template with the columns of our list",
    ),
    (
        "benches/load/bare_sqlite.rs",
        "our templates with the columns of our list, and as many marks for parameters as there are rows",
    ),
    (
        "src/store/queries.rs",
        "our templates with our conditions and the name of the schema, which is checked",
    ),
    (
        "src/store/queries.rs",
        "our templates with the names of tables and columns",
    ),
    (
        "src/store/sqlite/apply.rs",
        "our templates with our conditions",
    ),
    (
        "src/store/sqlite/record_changes.rs",
        "our templates with the names of tables and columns",
    ),
];

/// The one file that may have `unsafe`.
const MAY_BE_UNSAFE: &str = "src/store/postgres/no_delay.rs";

/// Where a task is spawned beside `src/tasks.rs`, which watches them, and who notices there when
/// one dies.
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

const FILE_LINES_MAX: usize = 500;

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

fn sources() -> Vec<Source> {
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
    files
}

#[test]
fn files_import_each_other_in_no_circle() {
    let circles = graph::circles(&graph::arrows(&sources()));
    let mut text = String::new();
    for circle in &circles {
        let arrows: Vec<_> = circle.iter().map(ToString::to_string).collect();
        text += &format!("\nremove {}\n", arrows.join("\n  then "));
    }
    assert!(circles.is_empty(), "{text}");
}

#[test]
fn every_allowed_import_is_used() {
    let mut used: Vec<(String, String)> = Vec::new();
    for file in sources()
        .iter()
        .filter(|file| file.path.starts_with("src/"))
    {
        if let Some(module) = file.module().first() {
            let imports = top_level_imports(&file.module(), &scan::tokens(&file.text));
            used.extend(imports.into_iter().map(|(name, _)| (module.clone(), name)));
        }
    }
    let allowed = MAY_IMPORT
        .iter()
        .flat_map(|(module, names)| names.iter().map(|name| (*module, *name)));
    let unused: Vec<_> = allowed
        .filter(|(module, name)| !used.contains(&((*module).to_owned(), (*name).to_owned())))
        .collect();
    assert!(unused.is_empty(), "remove from MAY_IMPORT: {unused:?}");
}

#[test]
fn sources_are_tidy() {
    let faults = faults(&sources());
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
            fault(format!("`{word}!` is unfinished code (line {line})"));
        }
        if word == "ignore" && at >= 2 && scan::punctuation(&tokens, at - 2, "#[") {
            fault(format!(
                "`#[ignore]` hides a test; fix it or remove it (line {line})"
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
                "`{word}` starts an unwatched task; use src/tasks.rs (line {line})"
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
        wall_faults(module, &top_level_imports(&file.module(), &tokens))
            .into_iter()
            .for_each(&mut fault);
    } else if file.path == "src/main.rs" {
        for (name, line) in top_level_imports(&[], &tokens) {
            if !MAIN_MAY_IMPORT.contains(&name.as_str()) {
                fault(format!("main must not import {name} (line {line})"));
            }
        }
    }
    faults
}

/// Returns the top-level modules that a file imports, each once with a line; `*` for all of them.
fn top_level_imports(module: &[String], tokens: &[(Token, usize)]) -> Vec<(String, usize)> {
    let names = paths::read(module, tokens);
    let uses = names.uses.iter().map(|used| (&used.path, used.name == "*"));
    let paths = names.paths.iter().map(|path| (path, false));
    let mut found: Vec<_> = uses
        .chain(paths)
        .filter(|(path, _)| path.is_absolute)
        .filter_map(|(path, is_glob)| {
            let all = is_glob.then(|| "*".to_owned());
            Some((path.segments.first().cloned().or(all)?, path.line))
        })
        .collect();
    found.sort();
    found.dedup_by(|one, other| one.0 == other.0);
    found
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

/// Returns a fault for each SQL file that no code includes.
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

/// Returns the modules that are in a circle of the table, or `None` if it has none.
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
