//! `send --wait` prints the outcome of each event, and `send --break` makes it a failure.

use serde_json::Value;

use crate::support::app::{Place, SECRET};

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
        status == Some(0) && printed.contains("only user.created") && !printed.contains("Sent"),
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
        printed.contains("  waiting") && printed.contains("No worker took 1 event in time"),
        "{printed}"
    );
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
            "user.created and user.updated",
        ),
        (
            &["user.deleted", "--break", "time"],
            "user.created and user.updated",
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
