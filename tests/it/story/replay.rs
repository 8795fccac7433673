//! Failed events by command, in numbers: at a rate, stopped in the middle, run again; or discarded.

use std::process::Command;
use std::time::Instant;

use clerk_sync::store::Status;
use serde_json::Value;

use crate::support::app::{Place, until};
use crate::support::history::{at, delete, fail, update};

const EVENTS: usize = 120;

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_to_its_rate_and_can_be_stopped_and_run_again() {
    let place = Place::servers().await;
    let app = place.serve().await;
    let events: Vec<_> = (0..EVENTS)
        .map(|n| update(&format!("msg_{n}"), &format!("user_{n}"), 1))
        .collect();
    fail(&app.store, &events).await;
    let applied = async || {
        let mut count = 0;
        for event in &events {
            count += usize::from(
                app.event(event.id().as_str()).await.unwrap().status == Status::Applied,
            );
        }
        count
    };

    let started = Instant::now();
    let mut replay = place
        .command(&["events", "replay", "--all", "--rate", "40"])
        .spawn()
        .unwrap();
    until("some are applied", async || applied().await >= 10).await;
    let interrupt = Command::new("kill")
        .args(["-INT", &replay.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    let output = replay
        .wait()
        .map(|status| (status, replay.stderr.take().unwrap()))
        .unwrap();
    let said = std::io::read_to_string(output.1).unwrap();
    assert_eq!(output.0.code(), Some(1), "{said}");
    assert!(
        said.contains("stopped:") && said.contains("run it again"),
        "{said}"
    );
    let elapsed = started.elapsed().as_secs_f64();
    let some = applied().await;
    assert!(some < EVENTS, "it was stopped in the middle");
    assert!(
        some as f64 <= elapsed.mul_add(40.0, 1.0),
        "{some} in {elapsed} s"
    );

    place.succeed(&["events", "replay", "--all"]);
    until("all are applied", async || applied().await == EVENTS).await;
    for event in &events {
        let line = app.event(event.id().as_str()).await.unwrap();
        assert_eq!(line.attempts, 2, "{} is applied once", line.event_id);
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_change() {
    let place = Place::embedded();
    let store = place.store();
    store.migrate().await.unwrap();
    store
        .apply(&clerk_sync::worker::plan::plan(&[update(
            "msg_0", "user_1", 50,
        )]))
        .await
        .unwrap();
    let broken = crate::support::history::event("msg_4", "not JSON");
    let failed = [
        update("msg_1", "user_1", 10),
        update("msg_2", "user_1", 90),
        delete("msg_3", "user_1", 5),
        broken,
    ];
    fail(&store, &failed).await;

    let json: Value =
        serde_json::from_str(&place.succeed(&["events", "replay", "--all", "--dry-run", "--json"]))
            .unwrap();
    let would = serde_json::json!({"apply": 2, "be_stale": 1, "fail": {"not_json": 1}});
    assert_eq!(
        (&json["replayed"], &json["would"]),
        (&4.into(), &would),
        "{json}"
    );
    let text = place.succeed(&["events", "replay", "--all", "--dry-run"]);
    for said in [
        "4 failed events",
        "2  would be applied",
        "1  would be stale",
        "1  would fail again: not_json",
    ] {
        assert!(text.contains(said), "{text}");
    }
    assert_eq!(
        place
            .run(&["events", "replay", "--rate", "0"])
            .status
            .code(),
        Some(2)
    );
}

#[tokio::test]
async fn failed_events_are_discarded_only_if_they_are_selected() {
    let place = Place::embedded();
    let store = place.store();
    store.migrate().await.unwrap();
    fail(
        &store,
        &[
            update("msg_1", "user_1", 1),
            update("msg_2", "user_2", 2),
            delete("msg_3", "user_2", 3),
        ],
    )
    .await;

    let refused = place.run(&["events", "discard"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--all"));
    let text = place.succeed(&["events", "discard", "--type", "user.deleted", "--dry-run"]);
    assert!(
        text.starts_with("1 failed event would be discarded"),
        "{text}"
    );
    place.succeed(&["events", "discard", "msg_1"]);
    assert_eq!(
        place.run(&["events", "discard", "msg_1"]).status.code(),
        Some(1),
        "it is discarded already"
    );
    let json: Value =
        serde_json::from_str(&place.succeed(&["events", "discard", "--all", "--json"])).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"dry_run": false, "discarded": 2, "skipped": 0})
    );
    let left = place.succeed(&["events", "list", "--status", "discarded", "--json"]);
    assert_eq!(left.lines().count(), 3);
}

/// `--wait` prints the outcome of each event.
async fn a_replay_waits_for_its_outcomes(place: Place) {
    let app = place.serve().await;
    app.store
        .apply(&clerk_sync::worker::plan::plan(&[update(
            "msg_0", "user_1", 50,
        )]))
        .await
        .unwrap();
    let broken = crate::support::history::event("msg_3", "not JSON");
    fail(
        &app.store,
        &[
            update("msg_1", "user_1", 10),
            update("msg_2", "user_2", 90),
            broken,
        ],
    )
    .await;
    let output = place.run(&["events", "replay", "--all", "--wait", "--json"]);
    assert_eq!(output.status.code(), Some(1), "one failed again");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut outcomes: Vec<_> = json["outcomes"].as_array().unwrap().iter().collect();
    outcomes.sort_by_key(|outcome| outcome["event_id"].to_string());
    let statuses: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        (&json["replayed"], &statuses[..]),
        (&3.into(), &["stale", "applied", "failed"][..]),
        "{json}"
    );
    assert!(
        outcomes[2]["error_code"] == "not_json" && outcomes[2]["error"].is_string(),
        "{json}"
    );
    assert!(outcomes[0].get("error").is_none(), "{json}");

    let output = place.run(&["events", "replay", "msg_3", "--wait"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("msg_3  failed again: not_json: ")
            && said.contains("Replayed 1 event: 1 failed")
            && said.contains("docs/errors.md"),
        "{said}"
    );
    fail(&app.store, &[update("msg_4", "user_2", 99)]).await;
    let said = place.succeed(&["events", "replay", "msg_4", "msg_4", "--wait"]);
    assert!(
        said.contains("msg_4  applied") && said.contains("Replayed 1 event: 1 applied"),
        "{said}"
    );
    assert!(app.stop().success());

    // No worker runs: the event waits on the queue.
    let output = place.run(&["events", "replay", "msg_3", "--wait", "--timeout", "4"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let noted = String::from_utf8(output.stderr).unwrap();
    assert!(
        noted.contains("Waiting for a worker to take 1 event, for up to 4 s."),
        "{noted}"
    );
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("msg_3  waiting") && said.contains("No worker took 1 event"),
        "{said}"
    );
    for wrong in [
        &["--timeout", "5"][..],
        &["--wait", "--dry-run"],
        &["--wait", "--timeout", "0"],
    ] {
        let output = place.run(&[&["events", "replay", "--all"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_for_its_outcomes_with_servers() {
    a_replay_waits_for_its_outcomes(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_for_its_outcomes_without_servers() {
    a_replay_waits_for_its_outcomes(Place::embedded()).await;
}

/// Both commands select no events without a selection, with and without `--dry-run`.
#[tokio::test]
async fn a_command_must_select_events() {
    let place = Place::embedded();
    let store = place.store();
    store.migrate().await.unwrap();
    fail(
        &store,
        &[update("msg_1", "user_1", 1), update("msg_2", "user_2", 2)],
    )
    .await;
    for wrong in [
        &[][..],
        &["--status", "failed"],
        &["--limit", "5"],
        &["--dry-run"],
        &["--json"],
        &["--all", "--user", "user_1"],
        &["--all", "msg_1"],
        &["msg_1", "--user", "user_1"],
        &["msg_1", "--limit", "1"],
        &["--type", ""],
        &["--user", ""],
        &["--error-code", ""],
        &["--since", ""],
        &[""],
        &["no.id"],
        &["--all", "--limit", "0"],
        &["--typ", "user.created"],
    ] {
        for verb in ["replay", "discard"] {
            let output = place.run(&[&["events", verb], wrong].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                (output.status.code(), output.stdout.len()),
                (Some(2), 0),
                "{verb} {wrong:?}: {said}"
            );
        }
    }
    assert_eq!(store.failed_count(10).await.unwrap(), 2, "nothing was done");
    let said = place.run(&["events", "replay"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("--all"));
}

/// Pages of events, and the users of a page at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_many_asks_few_questions() {
    const MANY: usize = 2000;
    let place = Place::servers().await;
    let store = place.store();
    store.migrate().await.unwrap();
    let large = format!(
        r#"{{"data":{{"id":"user_0","first_name":"{}","updated_at":1}},"type":"user.updated"}}"#,
        "x".repeat(100_000)
    );
    let events: Vec<_> = (0..MANY)
        .map(|n| update(&format!("msg_{n}"), &format!("user_{n}"), 1))
        .collect();
    for page in events.chunks(500) {
        fail(&store, page).await;
    }
    fail(
        &store,
        &[crate::support::history::event("msg_large", large)],
    )
    .await;
    store.close().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let mut connection = database.connect().await;
    let mut transactions = async || {
        let sql = "select xact_commit from pg_stat_database where datname = current_database()";
        sqlx::query_scalar::<_, i64>(sql)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    for (verb, count) in [("replay", "replayed"), ("discard", "discarded")] {
        let before = transactions().await;
        let json = place.succeed(&["events", verb, "--all", "--dry-run", "--json"]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json[count], MANY + 1, "{json}");
        // The server counts what a session did when it ends, or a second later: the questions of
        // this test count as well.
        let questions = transactions().await - before;
        assert!(
            questions < 300,
            "{verb}: {questions} questions about {MANY} events"
        );
    }
}

/// Clerk sends an event again under its own ID; one that failed here is tried again then.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_that_clerk_sends_again_is_applied() {
    let place = Place::servers().await;
    let app = place.serve().await;
    let event = update("msg_1", "user_1", 1);
    fail(&app.store, std::slice::from_ref(&event)).await;
    assert_eq!(
        app.deliver("msg_1", event.body().to_vec()).await.status,
        200
    );
    until("it is applied", async || {
        app.event("msg_1").await.unwrap().status == Status::Applied
    })
    .await;
    let row = app.user("user_1").await.unwrap();
    assert_eq!(row.updated_at.map(|time| time.0), Some(at(1)));
}
