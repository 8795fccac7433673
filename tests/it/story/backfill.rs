//! The table of users filled from Clerk's list: in pages, through stops and troubles, and beside
//! events. `backfill_tables` has the other tables.

use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use clerk_sync::store::Store;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::support::app::{Place, SECRET, until};
use crate::support::clerk_instance::{ClerkInstance, KEY, Trouble};
use crate::support::clerk_lists_run::Printed;
use crate::support::history::{at, delete, update};

/// Both stores, ready for a first fill.
async fn places() -> [Place; 2] {
    let servers = Place::servers().await;
    servers.succeed(&["migrate"]);
    [Place::embedded(), servers]
}

fn command(place: &Place, clerk: &ClerkInstance, arguments: &[&str]) -> Command {
    let mut command = place.command(&[&["backfill", "users"], arguments].concat());
    command.envs(clerk.variables());
    command
}

/// Runs it to its end: the exit status, what it printed as JSON of the users, and its log.
fn backfill(place: &Place, clerk: &ClerkInstance, arguments: &[&str]) -> (i32, Value, String) {
    let mut command = command(place, clerk, &[&["--json"], arguments].concat());
    output_of(command.output().unwrap())
}

fn output_of(output: Output) -> (i32, Value, String) {
    let printed = Printed::of(output);
    (printed.status, printed.users(), printed.said)
}

fn numbers(json: &Value) -> [u64; 4] {
    ["seen", "changed", "unchanged", "failed"].map(|name| json[name].as_u64().unwrap())
}

async fn rows(store: &Store) -> u64 {
    store.totals().await.unwrap().users
}

async fn user(store: &Store, id: &str) -> Option<clerk_sync::store::TableRow> {
    let id = clerk_sync::clerk::ClerkId::new(id).unwrap();
    store.user(&id).await.unwrap()
}

/// Users done, as the file of the progress says.
fn progress(place: &Place) -> u64 {
    let text = std::fs::read_to_string(place.directory().join("backfill.json")).unwrap_or_default();
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    json["tables"]["users"]["tally"]["seen"]
        .as_u64()
        .unwrap_or(0)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_filled_page_by_page_and_a_second_time_changes_nothing() {
    for place in places().await {
        let clerk = ClerkInstance::with_users(5, 23).await;
        let (status, json, said) = backfill(&place, &clerk, &[]);
        assert_eq!((status, numbers(&json)), (0, [23, 23, 0, 0]), "{said}");
        assert_eq!(
            (&json["complete"], &json["resumed"]),
            (&true.into(), &false.into())
        );
        let targets = clerk.take_targets();
        assert_eq!(targets.len(), 6, "five pages and an empty one: {targets:?}");
        assert!(
            targets[0].ends_with("created_at") && targets[1].ends_with("&starting_after=user_04"),
            "{targets:?}"
        );
        let store = place.store();
        assert_eq!(rows(&store).await, 23);
        let row = user(&store, "user_22").await.unwrap();
        assert_eq!(row.text("email"), Some("user_22@example.com"));
        assert_eq!((row.updated_at.unwrap().0, row.deleted_at), (at(220), None));
        assert_eq!(row.event_id.as_deref(), Some("backfill"));
        let data: Value = serde_json::from_str(row.data.unwrap().get()).unwrap();
        assert_eq!(
            data["private_metadata"]["note"], "classified",
            "the whole object is there"
        );
        assert!(
            !place.directory().join("backfill.json").exists(),
            "there is nothing to go on with"
        );

        let (status, json, _) = backfill(&place, &clerk, &[]);
        assert_eq!((status, numbers(&json)), (0, [23, 0, 23, 0]));
        assert_eq!(
            user(&store, "user_22").await.unwrap().synced_at,
            row.synced_at,
            "nothing new, nothing written"
        );
        let text =
            String::from_utf8(command(&place, &clerk, &[]).output().unwrap().stdout).unwrap();
        assert!(
            text.contains("users    23 read, 0 changed, 23 unchanged, 0 failed"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_was_killed_or_stopped_goes_on_where_it_was() {
    for place in places().await {
        let clerk = ClerkInstance::with_users(5, 40).await;
        clerk.hold_after(3);
        let mut killed = command(&place, &clerk, &[]).spawn().unwrap();
        until("a page is done", async || progress(&place) >= 5).await;
        killed.kill().unwrap();
        killed.wait().unwrap();
        let done = progress(&place);
        clerk.take_targets();
        let went_on = |done: u64| {
            let (targets, from) = (
                clerk.take_targets(),
                format!("&starting_after=user_{:02}", done - 1),
            );
            assert!(
                targets.iter().any(|target| target.ends_with(&from)),
                "{done} were done: {targets:?}"
            );
            assert!(
                targets
                    .iter()
                    .all(|target| target.contains("starting_after")),
                "it started over: {targets:?}"
            );
        };

        clerk.hold_after(2);
        let stopped = command(&place, &clerk, &["--json"]).spawn().unwrap();
        until("it is further", async || progress(&place) > done).await;
        signal(&stopped, "TERM");
        let (status, json, said) = output_of(stopped.wait_with_output().unwrap());
        assert!(
            status == 1 && said.contains("run it again to continue"),
            "{said}"
        );
        assert_eq!(
            (&json["complete"], &json["resumed"]),
            (&false.into(), &true.into()),
            "{json}"
        );
        went_on(done);
        let done = json["seen"].as_u64().unwrap();
        assert_eq!(progress(&place), done, "the file is as of the stop");

        clerk.release();
        let (status, json, said) = backfill(&place, &clerk, &[]);
        assert_eq!((status, json["seen"].as_u64()), (0, Some(40)), "{said}");
        went_on(done);
        assert_eq!(rows(&place.store()).await, 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_progress_of_another_run_is_ignored_and_logged() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let clerk = ClerkInstance::with_users(5, 20).await;
    let stop_early = async || {
        clerk.hold_after(2);
        let child = command(&place, &clerk, &["--restart"]).spawn().unwrap();
        until("a page is done", async || progress(&place) >= 5).await;
        signal(&child, "INT");
        assert_eq!(output_of(child.wait_with_output().unwrap()).0, 1);
        clerk.release();
        clerk.take_targets();
    };
    let starts_over = |said: &str, why: &str| {
        assert!(said.contains(why), "{said}");
        let targets = clerk.take_targets();
        assert!(
            targets
                .iter()
                .any(|target| !target.contains("starting_after")),
            "it started over: {targets:?}"
        );
    };
    stop_early().await;
    let (_, json, _) = backfill(&place, &clerk, &["--restart"]);
    assert_eq!(
        (json["seen"].as_u64(), &json["resumed"]),
        (Some(20), &false.into())
    );
    starts_over("", "");

    stop_early().await;
    let other_key = "sk_live_zyxwvutsrqponmlkjihgfedcba9876543210";
    clerk.set_key(other_key);
    let output = command(&place, &clerk, &["--json"])
        .env("CLERK_SECRET_KEY", other_key)
        .output()
        .unwrap();
    let (status, json, said) = output_of(output);
    assert_eq!((status, json["seen"].as_u64()), (0, Some(20)));
    starts_over(&said, "is of another CLERK_SECRET_KEY: starting over");
    clerk.set_key(KEY);

    // The same place with nothing in it, as after a disaster: the file speaks of users whom the
    // table does not have.
    stop_early().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    database.lose().await;
    place.succeed(&["migrate"]);
    let (status, json, said) = backfill(&place, &clerk, &[]);
    assert_eq!((status, json["changed"].as_u64()), (0, Some(20)), "{said}");
    starts_over(
        &said,
        "the database does not have the users of the stopped run: starting over",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_errors_are_waited_for() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 12).await;
    let asked = [Trouble::RetryAfter(429, 2), Trouble::RetryAfterDate];
    clerk.then(
        &[
            &asked[..],
            &[Trouble::Status(503), Trouble::Cut, Trouble::Status(500)],
        ]
        .concat(),
    );
    let started = Instant::now();
    let (status, json, said) = backfill(&place, &clerk, &[]);
    assert_eq!((status, numbers(&json)), (0, [12, 12, 0, 0]), "{said}");
    assert!(
        started.elapsed() >= Duration::from_secs(4),
        "Retry-After is obeyed in both forms"
    );
    assert_eq!(
        clerk.take_targets().len(),
        9,
        "each trouble costs one request"
    );

    // The patience has an end, and what is done stays done.
    clerk.before_page(6, |accounts| accounts.sign_up("user_99", 990));
    clerk.then(&[Trouble::RetryAfter(429, 60)]);
    let (status, _, said) = backfill(&place, &clerk, &["--patience", "1"]);
    assert_eq!(status, 1);
    assert!(
        said.contains("(429); given up after") && said.contains("run it again to continue"),
        "{said}"
    );
    let away = command(&place, &clerk, &["--patience", "1"])
        .env("CLERK_API_URL", "http://127.0.0.1:1")
        .output();
    let (status, _, said) = output_of(away.unwrap());
    assert!(
        status == 1 && said.contains("http://127.0.0.1:1/v1 cannot be reached: "),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_needs_an_operator_stops_it_at_once_and_says_how() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 12).await;
    let none = place.run(&["backfill"]);
    assert_eq!(none.status.code(), Some(2));
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(said.contains("CLERK_SECRET_KEY is not set ("), "{said}");
    assert!(said.contains("copy the Secret key"), "{said}");

    for (trouble, fix) in [
        (
            401,
            "does not take the secret key (401): copy the Secret key",
        ),
        (
            403,
            "forbids it to this secret key (403): copy the Secret key",
        ),
        (302, "points elsewhere (302): set CLERK_API_URL"),
        (404, "has no /users (404): set CLERK_API_URL"),
        (
            200,
            "answers, but not with a list of users: set CLERK_API_URL",
        ),
    ] {
        clerk.take_targets();
        clerk.then(&[Trouble::Status(trouble)]);
        let (status, json, said) = backfill(&place, &clerk, &[]);
        assert_eq!((status, json["seen"].as_u64()), (1, Some(0)), "{said}");
        assert!(said.contains(fix), "{said}");
        assert_eq!(
            clerk.take_targets().len(),
            1,
            "{trouble} is not tried again"
        );
    }
    clerk.ignore_place();
    let (status, _, said) = backfill(&place, &clerk, &[]);
    assert!(
        status == 1 && said.contains("does not know starting_after"),
        "{said}"
    );

    let servers = Place::servers().await;
    let (status, _, said) = backfill(&servers, &clerk, &[]);
    assert!(
        status == 1 && said.contains("run `clerk-sync migrate`"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_cannot_be_read_or_written_is_named_and_stops_no_other() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let clerk = ClerkInstance::with_users(5, 12).await;
    let mail = r#""username":"user@example.com""#;
    clerk.change(|accounts| {
        accounts.put(
            "user_bad_time",
            41,
            &format!(r#"{{"id":"user_bad_time",{mail},"updated_at":"soon"}}"#),
        );
        accounts.put(
            "user_bad_text",
            42,
            &format!(r#"{{"id":"user_bad_text",{mail},"x":"\u0000","updated_at":5}}"#),
        );
        accounts.put(
            "user_bad_id",
            43,
            &format!(r#"{{"id":["user_bad_id"],{mail},"updated_at":5}}"#),
        );
    });
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let refuse = "create function refuse() returns trigger language plpgsql as $$ begin
            if new.clerk_id = 'user_07' then raise exception 'not this one'; end if; return new; end $$;
        create trigger refuse before insert on clerk.users for each row execute function refuse()";
    database.connect().await.execute(refuse).await.unwrap();
    let (status, json, said) = backfill(&place, &clerk, &[]);
    assert_eq!((status, numbers(&json)), (1, [15, 11, 0, 4]), "{said}");
    assert!(
        said.contains("4 users could not be read or written, the others were"),
        "{said}"
    );
    let failures = json["failures"].as_array().unwrap().iter();
    let mut failures: Vec<_> = failures
        .map(|failure| {
            (
                failure["clerk_id"].as_str().unwrap_or("-"),
                failure["error_code"].as_str().unwrap(),
            )
        })
        .collect();
    failures.sort_unstable();
    assert_eq!(
        failures,
        [
            ("-", "invalid_id"),
            ("user_07", "sqlstate_P0001"),
            ("user_bad_text", "unstorable"),
            ("user_bad_time", "implausible_time")
        ]
    );
    assert_eq!(rows(&place.store()).await, 11);
    let text = command(&place, &clerk, &[]).output().unwrap().stdout;
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("failed: user_bad_time  implausible_time: ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_sign_up_or_leave_during_the_run_cause_no_error() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 12).await;
    // The cursor of the second page, and three before it, leave when it is asked for; somebody
    // signs up at the end.
    clerk.before_page(1, |accounts| {
        ["user_04", "user_03", "user_02", "user_01"]
            .iter()
            .for_each(|id| accounts.delete(id));
        accounts.sign_up("user_99", 990);
    });
    let (status, json, said) = backfill(&place, &clerk, &[]);
    assert_eq!((status, json["seen"].as_u64()), (0, Some(13)), "{said}");
    assert_eq!(rows(&place.store()).await, 13);
    assert!(user(&place.store(), "user_99").await.is_some());
}

/// A page that was read before an event is written after it, with the program at work beside.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_arrive_during_the_run_win() {
    for place in places().await {
        let clerk = ClerkInstance::with_users(5, 12).await;
        let app = place.serve().await;
        let events = [
            ("msg_gone", delete("msg_gone", "user_06", 500)),
            ("msg_newer", update("msg_newer", "user_07", 500)),
            ("msg_same", update("msg_same", "user_08", 80)),
            ("msg_older", update("msg_older", "user_09", 1)),
        ];
        for (id, event) in &events {
            assert_eq!(app.deliver(id, event.body().to_vec()).await.status, 200);
            app.settled(id).await;
        }
        let (status, json, said) = backfill(&place, &clerk, &[]);
        // A tombstone that a delete left gets its profile, and stays one.
        assert_eq!((status, numbers(&json)), (0, [12, 10, 2, 0]), "{said}");
        let gone = app.user("user_06").await.unwrap();
        assert_eq!(
            (gone.deleted_at.unwrap().0, gone.text("first_name")),
            (at(500), Some("listed_60"))
        );
        let version = async |id: &str| app.user(id).await.unwrap().event_id.unwrap();
        assert_eq!(version("user_07").await, "msg_newer");
        assert_eq!(
            version("user_08").await,
            "msg_same",
            "an event of the same updated_at is no older"
        );
        assert_eq!(version("user_09").await, "backfill");
        // The other way round: the event comes after the page.
        for (id, user, ms, winner) in [
            ("msg_late", "user_00", 0, "msg_late"),
            ("msg_stale", "user_11", 1, "backfill"),
            ("msg_next", "user_10", 101, "msg_next"),
        ] {
            assert_eq!(
                app.deliver(id, update(id, user, ms).body().to_vec())
                    .await
                    .status,
                200
            );
            app.settled(id).await;
            assert_eq!(version(user).await, winner, "{id}");
        }
        let history = place.succeed(&["users", "history", "user_11"]);
        assert!(
            history.contains("a newer version was there, read from Clerk's list of users"),
            "{history}"
        );
        assert!(app.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_obeys_omitted_fields_and_erasure() {
    for place in places().await {
        let clerk = ClerkInstance::with_users(5, 7).await;
        let variables = [
            ("ON_DELETE", "scrub"),
            ("OMIT_FIELDS", "private_metadata"),
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ];
        let app = place.start(&["serve"], &variables).await;
        app.deliver("msg_1", delete("msg_1", "user_03", 500).body().to_vec())
            .await;
        app.settled("msg_1").await;
        let output = command(&place, &clerk, &["--json"])
            .envs(variables)
            .output()
            .unwrap();
        let (status, json, said) = output_of(output);
        assert_eq!((status, numbers(&json)), (0, [7, 6, 1, 0]), "{said}");
        let erased = app.user("user_03").await.unwrap();
        assert!(
            erased.erased_at.is_some() && erased.text("email").is_none() && erased.data.is_none()
        );
        let row = app.user("user_04").await.unwrap();
        assert!(row.text("email").is_some() && row.json("private_metadata").is_none());
        assert_eq!(
            serde_json::from_str::<Value>(row.data.unwrap().get()).unwrap()["private_metadata"],
            json!(null)
        );
        assert!(app.stop().success());
    }
}
