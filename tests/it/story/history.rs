//! "Did the event of this user arrive, and what did it do?": by command, on paper and for programs.

use clerk_sync::store::{Keep, Payloads, Store};
use clerk_sync::worker::plan::plan;
use serde_json::Value;

use crate::support::app::Place;
use crate::support::history::{delete, fail, update};

/// A place with the events of one user, whose payloads are kept, and one of another that failed.
async fn with_history() -> Place {
    let place = Place::embedded();
    let path = place.directory().join("users.db");
    let keep = Keep {
        payloads: Payloads::All,
        ..Keep::default()
    };
    let store = Store::open(&clerk_sync::store::Options::Sqlite(
        clerk_sync::store::sqlite::Options {
            path,
            keep,
            change_feed: false,
        },
    ))
    .unwrap();
    store.migrate().await.unwrap();
    for event in [
        update("msg_1", "user_1", 10),
        update("msg_3", "user_1", 30),
        update("msg_2", "user_1", 20),
    ] {
        store.apply(&plan(&[event])).await.unwrap();
    }
    store
        .apply(&plan(&[delete("msg_4", "user_1", 40)]))
        .await
        .unwrap();
    fail(&store, &[update("msg_5", "user_2", 10)]).await;
    store.close().await;
    place
}

/// The text without what the clock has put into it: ages, lags, and the spaces that follow from
/// their length.
fn without_clock(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let mut kept = Vec::new();
        for (place, word) in words.iter().enumerate() {
            let next = words.get(place + 1).copied().unwrap_or_default();
            let is_unit = |word: &str| {
                matches!(
                    word,
                    "ms" | "s" | "min" | "h" | "day" | "days" | "ago" | "in" | "just" | "now"
                )
            };
            let is_count = word.parse::<f64>().is_ok() && is_unit(next);
            if !is_count && !is_unit(word) {
                kept.push(*word);
            }
        }
        kept.join(" ")
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn a_history_explains_what_each_event_did() {
    let place = with_history().await;
    let printed = place.succeed(&["users", "history", "user_1"]);
    assert_eq!(
        without_clock(&printed),
        [
            "RECEIVED AGE STATUS TYPE LAG EVENT ID",
            "2026-11-20 11:00:00 UTC applied user.deleted msg_4",
            "it marked the user as deleted",
            "2026-11-20 11:00:00 UTC applied user.updated msg_3",
            "it changed the row: first_name",
            "2026-11-20 11:00:00 UTC stale user.updated msg_2",
            "a newer version was there, of msg_3, which occurred at 2026-11-20T11:00:00.030Z",
            "2026-11-20 11:00:00 UTC applied user.updated msg_1",
            "it changed the row",
        ]
    );
    assert!(
        !printed.contains('\u{1b}'),
        "no color where it is no terminal"
    );
    // Columns stand below each other: the ID begins where its name does.
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines[0].find("EVENT ID"),
        lines[1].find("msg_4"),
        "{printed}"
    );
    assert_eq!(
        lines[0].find("STATUS"),
        lines[3].find("applied"),
        "{printed}"
    );

    let rows = place.succeed(&["users", "history", "user_1", "--json", "--limit", "2"]);
    let rows: Vec<Value> = rows
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        rows.iter()
            .map(|row| row["event_id"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["msg_4", "msg_3"]
    );
    assert_eq!(rows[1]["changed"], serde_json::json!(["first_name"]));

    let failed = place.succeed(&["users", "history", "user_2"]);
    assert!(
        failed.contains("delivery_limit: made by a test"),
        "{failed}"
    );
    let unknown = place.run(&["users", "history", "user_9"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        String::from_utf8(unknown.stderr)
            .unwrap()
            .contains("users list")
    );
}

#[tokio::test]
async fn a_stale_event_names_the_newer_one() {
    let place = with_history().await;
    let shown = without_clock(&place.succeed(&["events", "show", "msg_2"]));
    for line in [
        "status stale",
        "superseded_by msg_3",
        "occurred_at 2026-11-20 11:00:00",
    ] {
        assert!(
            shown.iter().any(|shown| shown.starts_with(line)),
            "no {line}: {shown:#?}"
        );
    }
    let listed = without_clock(&place.succeed(&["events", "list", "--user", "user_2"]));
    assert_eq!(
        listed,
        [
            "RECEIVED AGE EVENT ID TYPE CLERK ID SEEN STATUS",
            "2026-11-20 11:00:00 UTC msg_5 user.updated user_2 1 failed: delivery_limit",
        ]
    );
}

/// On a terminal, a status has its color; not where the person asked for none.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn color_is_only_for_terminals_and_can_be_turned_off() {
    let place = with_history().await;
    let on_a_terminal = |variables: &[(&str, &str)]| {
        // util-linux's `script` runs a program on a terminal of its own.
        let program = env!("CARGO_BIN_EXE_clerk-sync");
        let command = format!(
            "{program} events list --data-dir {}",
            place.directory().display()
        );
        let mut script = std::process::Command::new("script");
        script
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env_clear();
        script
            .env("TERM", "xterm")
            .env("PATH", "/usr/bin:/bin")
            .envs(variables.iter().copied());
        let output = script
            .stdin(std::process::Stdio::null())
            .output()
            .expect("util-linux's `script`");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let colored = on_a_terminal(&[]);
    assert!(
        colored.contains("\u{1b}[") && colored.contains("failed: delivery_limit"),
        "{colored:?}"
    );
    for variables in [&[("NO_COLOR", "1")][..], &[("TERM", "dumb")]] {
        let plain = on_a_terminal(variables);
        assert!(
            !plain.contains('\u{1b}') && plain.contains("failed: delivery_limit"),
            "{variables:?}: {plain:?}"
        );
    }
}
