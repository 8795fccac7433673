//! How commands print text from outside, and what they do when their output is not read any more.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus, Stdio};

use clerk_sync::store::EventFailure;
use clerk_sync::worker::plan::plan_failed;
use serde_json::{Value, json};

use crate::support::app::{App, Place, SECRET, until};
use crate::support::history::{event, update};

/// Drives a terminal, turns text around, hides in it, or forges a row.
const HOSTILE: &str = "Ada\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\tBob\u{7f}\u{9b}31m\u{85}\u{202e}exe\u{2066}\u{200b}\u{200d}\u{feff}\u{2028}\u{e0041}";

fn is_hostile(letter: char) -> bool {
    HOSTILE.contains(letter) && !letter.is_ascii_graphic() || letter.is_control()
}

async fn with_hostile_rows(place: &Place) -> App {
    let app = place
        .start(
            &["serve"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("EVENT_PAYLOADS", "all"),
            ],
        )
        .await;
    let data = json!({"id": format!("user_{HOSTILE}"), "first_name": HOSTILE, "last_name": HOSTILE, "username": HOSTILE,
        "external_id": HOSTILE, "locale": HOSTILE, "image_url": HOSTILE, "public_metadata": {HOSTILE: HOSTILE},
        "updated_at": 1_795_172_400_000_i64});
    let body = json!({"data": data, "timestamp": 1_795_172_400_000_i64, "type": "user.updated"})
        .to_string();
    for (id, body) in [
        ("msg_1", body.clone()),
        ("msg_2", body.replace("400000", "400001")),
        ("msg_3", format!("no JSON {HOSTILE}")),
        ("msg_5", body.replace("1795172400000", "99999999999999")),
    ] {
        assert_eq!(app.deliver(id, body).await.status, 200);
        app.settled(id).await;
    }
    // A type, a code and a reason that no version of ours writes.
    let typed = body.replace("user.updated", &format!("user.{}", r"\u001b[2J\u202e"));
    let failure = EventFailure {
        code: HOSTILE.into(),
        text: HOSTILE.into(),
    };
    app.store
        .apply(&plan_failed(&[event("msg_4", typed)], &failure))
        .await
        .unwrap();
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn text_from_outside_controls_no_terminal() {
    for place in [Place::embedded(), Place::servers().await] {
        let app = with_hostile_rows(&place).await;
        let user = format!("user_{HOSTILE}");
        for arguments in [
            &["users", "list"][..],
            &["users", "list", "--limit", "1", "--q", &user],
            &["users", "show", &user],
            &["users", "history", &user],
            &["users", "show", "user_\u{1b}[2J"],
            &["events", "list"],
            &["events", "list", "--limit", "1"],
            &["events", "show", "msg_1"],
            &["events", "show", "msg_3"],
            &["events", "show", "msg_4"],
            &["events", "show", "msg_5"],
            &["events", "show", "\u{1b}[2J"],
            &["events", "replay", "--all", "--dry-run"],
            &["users", "erase", "--dry-run", &user],
        ] {
            let output = place.run(arguments);
            for text in [output.stdout, output.stderr] {
                let text = String::from_utf8(text).unwrap();
                let found = text
                    .chars()
                    .find(|letter| is_hostile(*letter) && *letter != '\n');
                assert_eq!(found, None, "{arguments:?}: {text}");
            }
        }
        let listed = place.succeed(&["users", "list"]);
        assert_eq!(listed.lines().count(), 2, "one row: {listed}");
        for shown in [
            r"Ada\u001b[2J\u001b]0;owned\u0007\u000d\u000a\u0009Bob",
            r"\u202eexe\u2066\u200b\u200d\ufeff\u2028",
        ] {
            assert!(listed.contains(shown), "{listed}");
        }
        assert!(app.stop().success());
    }
}

/// A program reads exactly what came, and a terminal is safe from it too.
#[tokio::test(flavor = "multi_thread")]
async fn json_has_the_exact_text_and_no_raw_control_character() {
    let place = Place::embedded();
    let app = with_hostile_rows(&place).await;
    let user = format!("user_{HOSTILE}");
    for arguments in [
        &["users", "list", "--json"][..],
        &["users", "show", "--json", &user],
        &["users", "history", "--json", &user],
        &["events", "list", "--json"],
        &["events", "show", "--json", "msg_1"],
    ] {
        let text = place.succeed(arguments);
        assert_eq!(
            text.chars()
                .find(|letter| is_hostile(*letter) && *letter != '\n'),
            None,
            "{text}"
        );
    }
    let row: Value =
        serde_json::from_str(&place.succeed(&["users", "show", "--json", &user])).unwrap();
    assert_eq!(
        (&row["first_name"], &row["public_metadata"]),
        (&json!(HOSTILE), &json!({ HOSTILE: HOSTILE }))
    );
    for line in place
        .succeed(&["users", "list", "--json"])
        .lines()
        .chain(place.succeed(&["events", "list", "--json"]).lines())
    {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    // JSON that came with line breaks between its tokens, and stays one line.
    let pretty = serde_json::to_string_pretty(
        &serde_json::from_slice::<Value>(update("msg_9", "user_9", 1).body()).unwrap(),
    );
    assert_eq!(
        app.deliver("msg_9", pretty.unwrap().replace('\n', "\r\n\t"))
            .await
            .status,
        200
    );
    app.settled("msg_9").await;
    let listed = place.succeed(&["users", "list", "--json"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

/// Ends a command whose readers go away at once, as `head` does after a line.
fn unread(place: &Place, arguments: &[&str], with_stderr: bool) -> (ExitStatus, String) {
    let mut command = place.command(arguments);
    command
        .env("RUST_BACKTRACE", "0")
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
    let mut child: Child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    let stderr = child.stderr.take();
    if with_stderr {
        stderr.unwrap().read_to_string(&mut said).unwrap();
    } else {
        drop(stderr);
    }
    (child.wait().unwrap(), said)
}

/// A full disk is named, and what could not be written to it.
#[tokio::test(flavor = "multi_thread")]
async fn output_that_cannot_be_written_is_an_error() {
    let place = Place::embedded();
    let app = place.serve().await;
    let url = app.webhook_url();
    for arguments in [
        &["send", "user.created", "--yes", "--url", &url][..],
        &["send", "user.created", "--yes", "--json", "--url", &url],
        &[
            "send",
            "user.created",
            "--yes",
            "--count",
            "2",
            "--url",
            &url,
        ],
        &["users", "list", "--json"],
        &["events", "replay", "--all", "--dry-run"],
        &["completions", "bash"],
    ] {
        let mut command = place.command(arguments);
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = command
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(
            said.contains("cannot write to standard output: No space left on device"),
            "{arguments:?}: {said}"
        );
    }
    assert!(app.stop().success());
}

/// The reader of the log can go away: the program continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_a_reader_blocks_nothing() {
    let place = Place::embedded();
    let mut command = place.command(&["serve"]);
    command
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut address) = (String::new(), None);
    while address.is_none() {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it has ended");
        address = serde_json::from_str::<Value>(&line).unwrap()["address"]
            .as_str()
            .map(str::to_owned);
    }
    drop(log);
    let url = format!("http://{}/api/webhooks/clerk", address.unwrap());
    let body = place.directory().join("body");
    let store = place.store();
    for number in 1..=3 {
        std::fs::write(&body, format!("no JSON {number}")).unwrap();
        let sent = [
            "send",
            "--file",
            body.to_str().unwrap(),
            "--secret",
            SECRET,
            "--yes",
            "--url",
            &url,
        ];
        until("it is taken", async || place.run(&sent).status.success()).await;
        until("its failure is recorded", async || {
            store
                .failed_count(100)
                .await
                .is_ok_and(|count| count >= number)
        })
        .await;
    }
    assert!(child.try_wait().unwrap().is_none(), "it works on");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A reader that has seen enough changes no exit status, and nothing panics.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_closes_its_pipe_is_no_error() {
    let place = Place::embedded();
    let app = with_hostile_rows(&place).await;
    let url = app.webhook_url();
    let user = format!("user_{HOSTILE}");
    for (arguments, code) in [
        (&["users", "list"][..], 0),
        (&["users", "list", "--json"], 0),
        (&["users", "show", &user], 0),
        (&["users", "show", "user_9"], 1),
        (&["users", "history", &user], 0),
        (&["users", "list", "--q", "zzz"], 0),
        (&["events", "list"], 0),
        (&["events", "list", "--limit", "1"], 0),
        (&["events", "show", "msg_1"], 0),
        (&["events", "replay", "--all", "--dry-run"], 0),
        (&["events", "replay"], 2),
        (&["events", "discard", "--type", "user.nothing"], 0),
        (&["migrate"], 0),
        (&["completions", "bash"], 0),
        (&["send", "user.created", "--yes", "--url", &url], 0),
        (
            &[
                "send",
                "user.created",
                "--yes",
                "--count",
                "20",
                "--url",
                &url,
            ],
            0,
        ),
        (
            &[
                "send",
                "user.created",
                "--yes",
                "--count",
                "2",
                "--json",
                "--url",
                &url,
            ],
            0,
        ),
        (
            &[
                "send",
                "user.created",
                "--yes",
                "--url",
                "http://127.0.0.1:1/",
            ],
            1,
        ),
        (&["--help"], 0),
        (&["no-such-command"], 2),
    ] {
        for with_stderr in [true, false] {
            let (status, said) = unread(&place, arguments, with_stderr);
            assert!(
                !said.contains("panic") && !said.contains("bug of its own"),
                "{arguments:?}: {said}"
            );
            assert!(
                !said.contains("standard output") && !said.contains("Broken pipe"),
                "{arguments:?}: {said}"
            );
            assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        }
    }
    assert!(app.stop().success());
}
