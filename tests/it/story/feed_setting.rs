//! `CHANGE_FEED` that is not the same everywhere: the checks, the numbers and the dashboard say what
//! the workers do, not what the settings of the reader are.

use serde_json::Value;

use super::dashboard::{TOKEN, log_in};
use crate::support::app::{App, Place, SECRET, until};

const ON: (&str, &str) = ("CHANGE_FEED", "on");
const OFF: (&str, &str) = ("CHANGE_FEED", "off");

async fn serve(place: &Place, feed: (&str, &str)) -> App {
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
        feed,
    ];
    let app = place.start(&["serve"], &variables).await;
    until("the process is recorded", async || {
        let processes = app.store.processes().await.unwrap();
        !processes.is_empty()
    })
    .await;
    app
}

/// What a command prints as JSON in an environment with this setting.
fn printed(place: &Place, arguments: &[&str], feed: (&str, &str)) -> Value {
    let mut command = place.command(arguments);
    let output = command
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .envs([feed])
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How much the finding about the feed matters, what it is, and what to do.
fn finding(place: &Place, feed: (&str, &str)) -> [String; 3] {
    let report = printed(place, &["check", "--json"], feed);
    let mut findings = report["findings"].as_array().unwrap().iter();
    let found = findings.find(|found| found["check"] == "change_feed");
    let found = found.unwrap_or_else(|| panic!("{report}"));
    ["severity", "what", "mend"].map(|name| found[name].as_str().unwrap_or_default().into())
}

fn status(place: &Place, feed: (&str, &str)) -> Value {
    printed(place, &["status", "--json"], feed)
}

async fn recording(app: &App) -> Value {
    let answer = app.api(Some(TOKEN), "/api/stats", None).await;
    assert_eq!(answer.status, 200);
    answer.body["change_feed"]["recording"].clone()
}

async fn the_setting_of_the_workers_counts(place: Place) {
    // No worker has started.
    place.succeed(&["migrate"]);
    let [severity, what, _] = finding(&place, ON);
    assert!(
        severity == "ok" && what.starts_with("on: a worker that starts here records every change"),
        "{severity}: {what}"
    );
    let [severity, what, _] = finding(&place, OFF);
    assert_eq!(
        (&*severity, &*what),
        ("ok", "off: changes of rows are not recorded")
    );
    for feed in [ON, OFF] {
        assert_eq!(status(&place, feed)["change_feed"], Value::Null);
    }

    let app = serve(&place, OFF).await;
    let [severity, what, remedy] = finding(&place, ON);
    assert_eq!(severity, "note", "{what}");
    assert!(
        what.starts_with("the worker that started last has CHANGE_FEED=off")
            && remedy.starts_with("set CHANGE_FEED=on for every worker"),
        "{what}: {remedy}"
    );
    assert_eq!(finding(&place, OFF)[0], "ok");
    let reported = status(&place, ON);
    assert_eq!(
        reported["headline"],
        "Working; a worker does not record changes"
    );
    assert_eq!(reported["change_feed"]["recording"], false);
    let mut command = place.command(&["status"]);
    let text = command.envs([ON]).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("changes are not recorded") && !text.contains("published"),
        "{text}"
    );
    assert_eq!(recording(&app).await, Value::Null);
    assert!(app.stop().success());

    let app = serve(&place, ON).await;
    assert_eq!(recording(&app).await, true);
    let [severity, what, _] = finding(&place, ON);
    assert!(
        severity == "ok" && what.starts_with("on: every change of a synced row is recorded"),
        "{severity}: {what}"
    );
    let [severity, what, remedy] = finding(&place, OFF);
    assert_eq!(severity, "note");
    assert!(
        what.contains("such as `backfill`, record none")
            && remedy == "set CHANGE_FEED=on here, too",
        "{what}: {remedy}"
    );
    let reported = status(&place, OFF);
    assert_eq!(reported["change_feed"]["recording"], true);
    assert!(
        reported["notes"]
            .to_string()
            .contains("CHANGE_FEED is off here"),
        "{reported}"
    );
    assert_eq!(status(&place, ON)["notes"], Value::Array(Vec::new()));
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setting_of_the_workers_counts_with_servers() {
    the_setting_of_the_workers_counts(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setting_of_the_workers_counts_without_servers() {
    the_setting_of_the_workers_counts(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_with_different_settings_are_a_warning_on_the_dashboard_of_each() {
    let place = Place::servers().await;
    let first = serve(&place, ON).await;
    let mut visitor = log_in(&first).await;
    let said = visitor.get("/").await.text();
    assert!(!said.contains("does not record changes"), "{said}");

    let second = serve(&place, OFF).await;
    until("the first one sees the second one", async || {
        recording(&first).await == false
    })
    .await;
    let said = visitor.get("/").await.text();
    for part in [
        "Working; a worker does not record changes",
        "Set CHANGE_FEED=on for every worker",
        "Change feed Off in a worker, which does not record changes",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(recording(&second).await, Value::Null);

    // One that starts later turns the feed on: the second one still records nothing.
    let third = serve(&place, ON).await;
    until("the second one sees the third one", async || {
        recording(&second).await == false
    })
    .await;
    let mut visitor = log_in(&second).await;
    let said = visitor.get("/").await.text();
    assert!(
        said.contains("Working; a worker does not record changes"),
        "{said}"
    );
    for app in [first, second, third] {
        assert!(app.stop().success());
    }
}
