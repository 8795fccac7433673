//! `send --wait` prints the outcome of each event, and `send --break` makes it a failure.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;

use serde_json::Value;
use sqlx::Executor;

use crate::support::app::{App, Place, SECRET};

const CONFIGURED: (&str, &str) = ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);

const BROKEN: [(&str, &str); 3] = [
    ("nul", "unstorable"),
    ("time", "implausible_time"),
    ("json", "not_json"),
];

fn send(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = place.command(&["send"]);
    let command = command.args(arguments).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(printed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcomes_are_those_in_the_database_of_dev() {
    let place = Place::embedded();
    let app = place.start(&["dev"], &[]).await;
    // A server of the folder's application is not the database of `dev`.
    let elsewhere = [("DATABASE_URL", "postgres://u:p@127.0.0.1:1/app")];
    check(&place, &[], &elsewhere);
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcomes_are_those_in_the_database_of_the_settings() {
    let place = Place::servers().await;
    let app = place.serve().await;
    check(
        &place,
        &["--url", &app.webhook_url(), "--yes"],
        &[CONFIGURED],
    );
    assert!(app.stop().success());
}

fn check(place: &Place, target: &[&str], variables: &[(&str, &str)]) {
    let send = |arguments: &[&str]| send(place, &[arguments, target].concat(), variables);
    let (status, printed) = send(&["user.updated", "--user", "user_1", "--wait"]);
    assert!(status == Some(0), "{printed}");
    assert!(
        printed.contains("  applied\nSent 1 event: 1 applied."),
        "{printed}"
    );
    assert!(printed.contains("users history user_1"), "{printed}");
    // Its version is older than that of the update above.
    let old = r#"{"data":{"id":"user_1","updated_at":1700000000000},"type":"user.updated"}"#;
    let file = place.directory().join("old.json");
    std::fs::write(&file, old).unwrap();
    let (status, printed) = send(&["--file", file.to_str().unwrap(), "--wait"]);
    assert!(
        status == Some(0) && printed.contains("Sent 1 event: 1 stale."),
        "{printed}"
    );

    let (status, printed) = send(&["session.created", "--wait"]);
    assert!(
        status == Some(0)
            && printed.contains("does not keep events of this type")
            && !printed.contains("Sent"),
        "{printed}"
    );

    for (how, code) in BROKEN {
        let event = ["user.created", "--user", "user_2", "--break", how, "--wait"];
        let (status, printed) = send(&event);
        assert_eq!(status, Some(0), "it was meant to fail: {printed}");
        assert!(
            printed.contains(&format!("Sent 1 event: 1 failed ({code})."))
                && printed.contains(&format!("  failed: {code}: "))
                && printed.contains("events show msg_"),
            "{printed}"
        );
    }
    let (status, printed) = send(&["user.updated", "--count", "40", "--duplicate", "--wait"]);
    assert!(status == Some(0), "{printed}");
    assert!(printed.contains("Sent 40 events: 40 applied."), "{printed}");
    let broken = ["user.updated", "--count", "3", "--break", "nul", "--wait"];
    let (status, printed) = send(&[&broken[..], &["--json"]].concat());
    // What asks first says so on standard error, below.
    let document = printed.lines().next().unwrap();
    let json: Value = serde_json::from_str(document).unwrap_or_else(|_| panic!("{printed}"));
    let outcomes = json["outcomes"].as_array().unwrap();
    assert_eq!(
        (status, outcomes.len(), &json["queued"]),
        (Some(0), 3, &3.into())
    );
    for outcome in outcomes {
        assert_eq!(
            (&outcome["status"], &outcome["error_code"]),
            (&"failed".into(), &"unstorable".into())
        );
    }

    // This one was not meant to fail.
    std::fs::write(&file, "not JSON").unwrap();
    let (status, printed) = send(&["--file", file.to_str().unwrap(), "--wait"]);
    assert_eq!(status, Some(1), "{printed}");
    assert!(printed.contains("1 failed (not_json)"), "{printed}");
}

/// A receiver queues the event, and no worker takes it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_worker_takes_is_waited_for_no_longer_than_asked() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let receiver = place.start(&["receiver"], &[CONFIGURED]).await;
    let url = receiver.webhook_url();
    let event = [
        "user.created",
        "--wait",
        "--timeout",
        "1s",
        "--yes",
        "--url",
        &url,
    ];
    let (status, printed) = send(&place, &event, &[CONFIGURED]);
    assert_eq!(status, Some(1), "{printed}");
    assert!(
        printed.contains("  waiting\nSent 1 event: 1 waiting.\n")
            && printed
                .contains("No worker recorded 1 event in time in the database of this command.")
            && printed.contains("The server may use another one")
            && printed.contains("clerk-sync check`"),
        "{printed}"
    );
    assert!(
        !printed.contains("users show"),
        "it is not there: {printed}"
    );
    assert!(receiver.stop().success());
}

/// The server works with one database, the command looks at another.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_another_database_is_reported_as_such() {
    let (place, other) = (Place::servers().await, Place::servers().await);
    other.succeed(&["migrate"]);
    let app = place.serve().await;
    let url = app.webhook_url();
    let event = ["user.created", "--count", "2", "--wait", "--timeout", "1s"];
    let event = [&event[..], &["--yes", "--url", &url]].concat();
    let database = other.database().url();
    let variables = [CONFIGURED, ("DATABASE_URL", database.as_str())];
    let (status, printed) = send(&place, &event, &variables);
    assert_eq!(status, Some(1), "{printed}");
    assert!(
        printed.contains("No worker recorded 2 events in time in the database of this command."),
        "{printed}"
    );
    // What the sentence names shows it.
    let mut check = place.command(&["check"]);
    let checked = check.envs(variables).output().unwrap();
    let checked = String::from_utf8(checked.stdout).unwrap();
    let name = database.rsplit('/').next().unwrap().split('?').next();
    assert!(checked.contains(name.unwrap()), "{name:?}: {checked}");
    assert!(app.stop().success());
}

/// Says yes to everything, as a wrong URL may.
fn start_a_foreign_server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim().to_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            reader.into_inner().write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn what_another_program_accepts_is_not_recorded() {
    let place = Place::embedded();
    place.succeed(&["migrate"]);
    let url = start_a_foreign_server();
    let target = ["--url", &url, "--secret", SECRET, "--yes"];
    for (arguments, said) in [
        (&["user.created"][..], "Not recorded: 1 of 1 deliveries."),
        (
            &["user.created", "--count", "5", "--break", "nul", "--json"],
            "Not recorded: 5 of 5 deliveries.",
        ),
    ] {
        let (status, printed) = send(&place, &[arguments, &target, &["--wait"]].concat(), &[]);
        assert_eq!(status, Some(1), "{printed}");
        assert!(
            printed.contains(said) && printed.contains("Check --url"),
            "{printed}"
        );
        // A load on any receiver is no fault.
        let (status, printed) = send(&place, &[arguments, &target].concat(), &[]);
        assert!(
            status == Some(0) && !printed.contains("Not recorded"),
            "{printed}"
        );
    }
}

/// `send --wait` of two events that no worker takes, once it waits.
async fn start_to_wait(place: &Place, form: &[&str]) -> (App, Child) {
    place.succeed(&["migrate"]);
    let receiver = place.start(&["receiver"], &[CONFIGURED]).await;
    let mut command = place.command(&["send", "user.created", "--count", "2", "--wait", "--yes"]);
    command.args(["--url", &receiver.webhook_url()]).args(form);
    let mut child = command.envs([CONFIGURED]).spawn().unwrap();
    let stderr = child.stderr.as_mut().unwrap();
    let mut lines = BufReader::new(stderr).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("Waiting for a worker")));
    (receiver, child)
}

/// The exit status, and what it printed on standard output and then on standard error.
fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().unwrap();
    let [printed, error] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), printed, error)
}

fn assert_both_wait(printed: &str) {
    let json: Value = serde_json::from_str(printed).unwrap_or_else(|_| panic!("{printed}"));
    let outcomes = json["outcomes"].as_array().unwrap();
    assert_eq!((&json["queued"], outcomes.len()), (&2.into(), 2));
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome["status"] == "waiting")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_stopped_still_reports_what_was_sent() {
    for form in [&["--json"][..], &[]] {
        let place = Place::servers().await;
        let (receiver, child) = start_to_wait(&place, form).await;
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-INT", &id])
            .status();
        assert!(sent.unwrap().success());
        let (status, printed, error) = ended(child);
        assert_eq!(status, Some(1), "{error}");
        assert!(error.contains("stopped: the events are sent"), "{error}");
        assert!(!error.contains("in time"), "{error}");
        if form.is_empty() {
            assert!(printed.contains("Sent 2 events: 2 waiting."), "{printed}");
        } else {
            assert_both_wait(&printed);
        }
        assert!(receiver.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_during_the_wait_leaves_the_report_of_what_was_sent() {
    let place = Place::servers().await;
    let (receiver, child) = start_to_wait(&place, &["--json"]).await;
    let mut connection = place.database().connect().await;
    let rename = "alter table clerk.events rename to events_of_before";
    connection.execute(rename).await.unwrap();
    let (status, printed, error) = ended(child);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("clerk-sync migrate"), "{error}");
    assert!(!error.contains("in time"), "{error}");
    assert_both_wait(&printed);
    assert!(receiver.stop().success());
}

/// The events would be applied, and waited for in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_asked_is_reported_before_anything_is_sent() {
    let place = Place::servers().await;
    let app = place.serve().await;
    let url = app.webhook_url();
    let event = [
        "user.created",
        "--user",
        "user_1",
        "--wait",
        "--yes",
        "--url",
        &url,
    ];
    for (variables, named) in [
        (
            [
                CONFIGURED,
                ("DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1/app"),
            ],
            "not available",
        ),
        (
            [CONFIGURED, ("DATABASE_URL", "sqlite://nowhere.db")],
            "clerk-sync migrate",
        ),
    ] {
        let (status, printed) = send(&place, &event, &variables);
        assert_eq!(status, Some(1), "{printed}");
        assert!(
            printed.contains(named) && !printed.contains("hunter2"),
            "{printed}"
        );
    }
    // Sent after those, so that they would be here.
    let (status, printed) = send(&place, &event, &[CONFIGURED]);
    assert_eq!(status, Some(0), "{printed}");
    let history = place.succeed(&["users", "history", "user_1", "--json"]);
    assert_eq!(history.lines().count(), 1, "{history}");
    assert!(app.stop().success());
}

#[test]
fn what_cannot_be_broken_or_waited_for_is_wrong_usage() {
    let place = Place::embedded();
    for (arguments, named) in [
        (
            &["session.created", "--break", "nul"][..],
            "events that carry a whole object",
        ),
        (
            &["user.deleted", "--break", "time"],
            "events that carry a whole object",
        ),
        (
            &["user.created", "--break", "everything"],
            "nul, time, json",
        ),
        (&["--file", "body.json", "--break", "json"], "--break"),
        (&["user.created", "--timeout", "1s"], "--wait"),
        (&["user.created", "--wait", "--count", "100001"], "100000"),
    ] {
        let url = ["--url", "http://127.0.0.1:1/", "--secret", SECRET, "--yes"];
        let (status, printed) = send(&place, &[arguments, &url].concat(), &[]);
        assert!(
            status == Some(2) && printed.contains(named),
            "{arguments:?}: {printed}"
        );
    }
}
