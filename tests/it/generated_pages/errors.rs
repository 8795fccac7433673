//! docs/errors.md: every code of a failed event, and every code of an HTTP answer.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use clerk_sync::clerk::ErrorCode;
use clerk_sync::clerk::error_code::{ERRORS_PAGE, page_of};
use clerk_sync::http::ProblemCode;

use super::{compare, table};

#[test]
fn the_page_of_errors_has_every_code() {
    let events = ErrorCode::ALL;
    let link = |name: &str| format!("[`{name}`](#{name})");
    let mut of_events = table(
        ["code", "what is wrong", "a replay"],
        events.iter().map(|code| {
            let help = code.help();
            [link(code.name()), help.meaning.into(), help.replay.into()]
        }),
    );
    for code in events {
        let help = code.help();
        // `sqlstate_…` has the anchor `sqlstate_`.
        let more = if code.name().ends_with('_') {
            "…"
        } else {
            ""
        };
        write!(
            of_events,
            "\n### `{}{more}`\n\n{}\n\n- **Cause:** {}\n- **What to do:** {}\n- **A replay** {}\n",
            code.name(),
            help.meaning,
            help.cause,
            help.what_to_do,
            help.replay
        )
        .unwrap();
    }
    let status = |code: ProblemCode| code.status().as_u16().to_string();
    let mut of_http = table(
        ["code", "status", "title"],
        ProblemCode::ALL.map(|code| [link(code.name()), status(code), code.title().into()]),
    );
    for code in ProblemCode::ALL {
        let (cause, what_to_do) = code.help();
        write!(
            of_http,
            "\n### `{}`\n\nStatus {}. {}.\n\n- **Cause:** {cause}\n- **What to do:** {what_to_do}\n",
            code.name(),
            status(code),
            code.title(),
        )
        .unwrap();
    }
    compare(
        ERRORS_PAGE,
        &[("codes of events", &of_events), ("codes of HTTP", &of_http)],
    );
    let mut names: Vec<_> = events.iter().map(|code| code.name()).collect();
    names.extend(ProblemCode::ALL.map(ProblemCode::name));
    let different: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), different.len(), "two codes have one anchor");
    assert_eq!(page_of("unrouted"), "docs/errors.md#unrouted");
}

/// What the list has is made somewhere, and nothing makes a code without the list.
#[test]
fn every_code_of_an_event_is_made_from_the_list() {
    let mut made = BTreeSet::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let words = |start: &str| {
            let uses = code.split(start).skip(1);
            let word = |rest: &str| {
                rest.split(|c: char| !c.is_alphanumeric())
                    .next()
                    .map(str::to_owned)
            };
            uses.filter_map(word).collect::<Vec<_>>()
        };
        made.extend(words("ErrorCode::"));
        assert!(
            !code.contains("sqlstate_{")
                && !code.contains("sqlite_{")
                && !code.contains(" code: \""),
            "{} makes a code without the list of clerk/error_code.rs",
            path.display()
        );
    }
    for code in ErrorCode::ALL {
        assert!(
            made.contains(&format!("{code:?}")),
            "nothing makes {code:?}"
        );
    }
}

fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = |path: std::path::PathBuf| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    };
    let files = paths.flat_map(files);
    files
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .collect()
}
