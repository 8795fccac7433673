//! Compares the table of users with Clerk's list: every kind of drift is reported and fixed, and no
//! user is deleted in error. `backfill_tables` has the other tables.

use std::process::Command;

use clerk_sync::clerk::ClerkId;
use clerk_sync::clock::now;
use clerk_sync::store::{Store, TableRow};
use clerk_sync::worker::plan::plan;
use serde_json::{Value, json};

use crate::support::app::{Place, until};
use crate::support::clerk_instance::{ClerkInstance, Trouble};
use crate::support::clerk_lists_run::Printed;
use crate::support::history::{EPOCH_MS, at, delete, event, update};

/// Both stores, with a table.
async fn places() -> [Place; 2] {
    let places = [Place::embedded(), Place::servers().await];
    places
        .iter()
        .for_each(|place| drop(place.succeed(&["migrate"])));
    places
}

/// A store whose table equals Clerk's list.
async fn filled(clerk: &ClerkInstance) -> (Place, Store) {
    let place = Place::embedded();
    assert!(
        place
            .command(&["backfill", "users"])
            .envs(clerk.variables())
            .output()
            .unwrap()
            .status
            .success()
    );
    clerk.take_targets();
    let store = place.store();
    (place, store)
}

fn command(place: &Place, clerk: &ClerkInstance, arguments: &[&str]) -> Command {
    let mut command = place.command(&[&["reconcile", "users", "--json"], arguments].concat());
    command.envs(clerk.variables());
    command
}

fn reconcile(place: &Place, clerk: &ClerkInstance, arguments: &[&str]) -> (i32, Value, String) {
    output_of(command(place, clerk, arguments).output().unwrap())
}

fn output_of(output: std::process::Output) -> (i32, Value, String) {
    let printed = Printed::of(output);
    (printed.status, printed.users(), printed.said)
}

/// The users of a kind.
fn ids<'a>(json: &'a Value, kind: &str) -> Vec<&'a str> {
    let ids: Vec<_> = json[kind]["ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap())
        .collect();
    assert_eq!(
        json[kind]["count"].as_u64(),
        Some(ids.len() as u64),
        "{json}"
    );
    ids
}

async fn user(store: &Store, id: &str) -> Option<TableRow> {
    store.user(&ClerkId::new(id).unwrap()).await.unwrap()
}

async fn deleted(store: &Store) -> u64 {
    store.totals().await.unwrap().deleted_users
}

const KINDS: [&str; 5] = [
    "missing",
    "stale",
    "different",
    "deleted_at_clerk",
    "deleted_here",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_drift_is_reported_and_fixed() {
    for place in places().await {
        let clerk = ClerkInstance::with_users(5, 12).await;
        assert!(
            place
                .command(&["backfill", "users"])
                .envs(clerk.variables())
                .output()
                .unwrap()
                .status
                .success()
        );
        let store = place.store();
        let (status, json, said) = reconcile(&place, &clerk, &[]);
        assert_eq!(
            (status, json["seen"].as_u64(), json["live"].as_u64()),
            (0, Some(12), Some(12)),
            "{said}"
        );
        assert!(
            KINDS.iter().all(|kind| ids(&json, kind).is_empty()),
            "{json}"
        );

        clerk.change(|accounts| {
            accounts.sign_up("user_new", 500);
            accounts.update("user_02", 600, &json!({"first_name": "Changed"}));
            accounts.delete("user_03");
            accounts.delete("user_04");
        });
        // The event of this one came before anybody was there to take it; a row that only an
        // application made; one that was altered by hand.
        store
            .apply(&plan(&[update("msg_alone", "user_05", 5)]))
            .await
            .unwrap();
        alter(&place).await;
        let before = user(&store, "user_06").await.unwrap();
        let (status, json, said) = reconcile(&place, &clerk, &[]);
        assert_eq!(status, 1, "{said}");
        assert_eq!(ids(&json, "missing"), ["user_new"]);
        assert_eq!(ids(&json, "stale"), ["user_02"]);
        assert_eq!(ids(&json, "different"), ["user_06"]);
        assert_eq!(ids(&json, "deleted_at_clerk"), ["user_03", "user_04"]);
        assert!(ids(&json, "deleted_here").is_empty());
        assert_eq!(
            (&json["complete"], json["fixed"].as_u64()),
            (&true.into(), Some(0))
        );
        assert_eq!(
            user(&store, "user_06").await.unwrap().synced_at,
            before.synced_at,
            "a report changes nothing"
        );
        assert_eq!(
            (
                deleted(&store).await,
                user(&store, "user_new").await.is_some()
            ),
            (0, false)
        );

        let (status, json, said) = reconcile(&place, &clerk, &["--fix"]);
        assert_eq!((status, json["fixed"].as_u64()), (0, Some(5)), "{said}");
        let name = async |id: &str| {
            let user = user(&store, id).await.unwrap();
            user.text("first_name").unwrap().to_owned()
        };
        assert_eq!(
            (name("user_02").await, name("user_06").await),
            ("Changed".to_owned(), "listed_60".to_owned())
        );
        let gone = user(&store, "user_03").await.unwrap();
        assert!(
            gone.deleted_at.is_some() && gone.text("email").is_some(),
            "the profile stays, as of a delete by event"
        );
        let (status, json, _) = reconcile(&place, &clerk, &[]);
        assert_eq!((status, json["live"].as_u64()), (0, Some(11)));
        assert!(
            KINDS.iter().all(|kind| ids(&json, kind).is_empty()),
            "{json}"
        );

        // The lost events come after all: the true time of the delete stands, and an update of the
        // same state wins.
        let late = [
            delete("msg_late", "user_03", 700),
            update("msg_same", "user_02", 600),
        ];
        store.apply(&plan(&late)).await.unwrap();
        assert_eq!(
            user(&store, "user_03").await.unwrap().deleted_at.unwrap().0,
            at(700)
        );
        assert_eq!(
            user(&store, "user_02").await.unwrap().event_id.as_deref(),
            Some("msg_same")
        );
    }
}

/// Changes the row of `user_06` past the rule.
async fn alter(place: &Place) {
    let sql = "update {schema}users set first_name = 'By hand' where clerk_id = 'user_06'";
    match place {
        Place::Servers { database, .. } => {
            let sql = sqlx::AssertSqlSafe(sql.replace("{schema}", "clerk."));
            sqlx::raw_sql(sql)
                .execute(&mut database.connect().await)
                .await
                .unwrap();
        }
        Place::Embedded { directory } => {
            let file = directory.path().join("users.db");
            let mut connection =
                <sqlx::SqliteConnection as sqlx::Connection>::connect(file.to_str().unwrap())
                    .await
                    .unwrap();
            let sql = sqlx::AssertSqlSafe(sql.replace("{schema}", ""));
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_run_deletes_no_user() {
    let clerk = ClerkInstance::with_users(5, 23).await;
    let (place, store) = filled(&clerk).await;
    clerk.change(|accounts| {
        ["user_01", "user_02"]
            .iter()
            .for_each(|id| accounts.delete(id));
        accounts.update("user_05", 600, &json!({}));
    });
    clerk.hold_after(3);
    let stopped = command(&place, &clerk, &["--fix"]).spawn().unwrap();
    until("it has fixed what it has seen", async || {
        user(&store, "user_05").await.unwrap().updated_at.unwrap().0 == at(600)
    })
    .await;
    assert!(
        Command::new("kill")
            .args(["-TERM", &stopped.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let (status, json, said) = output_of(stopped.wait_with_output().unwrap());
    assert!(
        status == 1 && said.contains("none of the users are marked as deleted before the end"),
        "{said}"
    );
    assert_eq!(
        (&json["complete"], json["stale"]["count"].as_u64()),
        (&false.into(), Some(1)),
        "{json}"
    );
    clerk.release();

    // Clerk goes away after two pages, for longer than the patience.
    clerk.hold_after(2);
    let child = command(&place, &clerk, &["--fix", "--patience", "1"])
        .spawn()
        .unwrap();
    until("two pages are given", async || clerk.pages_left() == 0).await;
    clerk.then(&[Trouble::RetryAfter(503, 60)]);
    clerk.release();
    let (status, _, said) = output_of(child.wait_with_output().unwrap());
    assert!(
        status == 1
            && said.contains("None of the users are marked as deleted after an incomplete run"),
        "{said}"
    );
    assert_eq!(deleted(&store).await, 0);
    let asked = clerk.take_targets();
    assert!(
        !asked.iter().any(|target| target.starts_with("/users/")),
        "no user was even requested: {asked:?}"
    );

    assert_eq!(reconcile(&place, &clerk, &["--fix"]).0, 0);
    assert_eq!(deleted(&store).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_at_clerk_but_not_on_the_list_is_not_deleted() {
    let clerk = ClerkInstance::with_users(5, 12).await;
    let (place, store) = filled(&clerk).await;
    clerk.change(|accounts| {
        accounts.hide_from_list("user_03");
        accounts.delete("user_04");
    });
    // Signed up a moment ago: the event is here, and Clerk's list is not so far yet.
    let (id, ms) = ("user_young", now().ms());
    let body = json!({"type": "user.created", "timestamp": ms, "data": {"id": id, "created_at": ms, "updated_at": ms}});
    store
        .apply(&plan(&[signed_now("msg_young", &body)]))
        .await
        .unwrap();
    let (status, json, said) = reconcile(&place, &clerk, &["--fix"]);
    assert_eq!(
        (status, ids(&json, "deleted_at_clerk")),
        (0, vec!["user_04"]),
        "{said}"
    );
    let asked = clerk.take_targets();
    assert!(
        asked.contains(&"/users/user_03".into()) && !asked.contains(&"/users/user_young".into()),
        "{asked:?}"
    );
    for id in ["user_03", "user_young"] {
        assert!(user(&store, id).await.unwrap().deleted_at.is_none(), "{id}");
    }
}

fn signed_now(id: &str, body: &Value) -> clerk_sync::clerk::SignedEvent {
    let event = event(id, body.to_string());
    let (kind, body) = (event.event_type().clone(), event.body().clone());
    clerk_sync::clerk::SignedEvent::restored(event.id().clone(), kind, now(), now(), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_instance_deletes_no_user() {
    for users in [3, 30] {
        let clerk = ClerkInstance::with_users(10, users).await;
        let (place, store) = filled(&clerk).await;
        let other = ClerkInstance::start(10).await;
        other.change(|accounts| {
            (0..4).for_each(|number| accounts.sign_up(&format!("user_other_{number}"), number))
        });
        let (status, json, said) = reconcile(&place, &other, &[]);
        assert_eq!((status, &json["unconfirmed"]), (1, &true.into()), "{said}");
        assert_eq!(
            json["deleted_at_clerk"]["count"].as_u64(),
            Some(users as u64)
        );
        let (status, _, said) = reconcile(&place, &other, &["--fix"]);
        assert!(
            status == 1 && said.contains("another instance? Nothing was changed"),
            "{said}"
        );
        let totals = store.totals().await.unwrap();
        assert_eq!(
            (totals.users, totals.deleted_users),
            (users as u64, 0),
            "nor do the others come in"
        );
        let asked = other.take_targets();
        assert!(
            !asked.iter().any(|target| target.starts_with("/users/")),
            "{asked:?}"
        );

        // A person who means it says how many.
        let (status, _, said) = reconcile(
            &place,
            &other,
            &["--fix", "--max-deletes", &(users - 1).to_string()],
        );
        assert!(
            status == 1
                && said.contains("No user was marked")
                && said.contains(&format!("--max-deletes {users}")),
            "{said}"
        );
        let (status, _, said) = reconcile(
            &place,
            &other,
            &["--fix", "--max-deletes", &users.to_string()],
        );
        assert_eq!((status, deleted(&store).await), (0, users as u64), "{said}");
    }
    // The same instance, but half of its users are deleted.
    let clerk = ClerkInstance::with_users(10, 30).await;
    let (place, store) = filled(&clerk).await;
    clerk.change(|accounts| (10..25).for_each(|number| accounts.delete(&format!("user_{number}"))));
    let (status, _, said) = reconcile(&place, &clerk, &["--fix"]);
    assert!(
        status == 1
            && said
                .contains("15 of the table's 30 users are not on Clerk's list, more than the 10"),
        "{said}"
    );
    assert_eq!(deleted(&store).await, 0);
    assert!(
        !clerk
            .take_targets()
            .iter()
            .any(|target| target.starts_with("/users/")),
        "no user was requested"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_that_is_not_clerks_deletes_no_user() {
    let clerk = ClerkInstance::with_users(5, 12).await;
    let (place, store) = filled(&clerk).await;
    clerk.change(|accounts| accounts.delete("user_04"));
    clerk.answer_404_strangely();
    let (status, _, said) = reconcile(&place, &clerk, &["--fix"]);
    assert!(
        status == 1 && said.contains("not in Clerk's form"),
        "{said}"
    );
    assert_eq!(deleted(&store).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_whose_user_is_at_clerk_is_reported_and_stays() {
    let clerk = ClerkInstance::with_users(5, 12).await;
    let (place, store) = filled(&clerk).await;
    store
        .apply(&plan(&[
            delete("msg_wrong", "user_03", 500),
            delete("msg_right", "user_04", 500),
        ]))
        .await
        .unwrap();
    // The second one goes at Clerk after its page was read.
    clerk.before_page(2 + clerk.pages(), |accounts| accounts.delete("user_04"));
    let (status, json, said) = reconcile(&place, &clerk, &["--fix"]);
    assert_eq!(
        (status, ids(&json, "deleted_here")),
        (1, vec!["user_03"]),
        "{said}"
    );
    assert!(user(&store, "user_03").await.unwrap().deleted_at.is_some());
    let text = place
        .command(&["reconcile", "users"])
        .envs(clerk.variables())
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("  user_03\n") && text.contains("users erase ID --forget"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_cannot_be_read_is_reported_and_not_deleted() {
    let clerk = ClerkInstance::with_users(5, 12).await;
    let (place, store) = filled(&clerk).await;
    clerk.change(|accounts| {
        accounts.put("user_04", 40, r#"{"id":"user_04","updated_at":"soon"}"#);
        accounts.put("user_05", 50, r#"{"id":null,"updated_at":5}"#);
    });
    let (status, json, said) = reconcile(&place, &clerk, &["--fix"]);
    assert_eq!(
        (status, json["failed"].as_u64(), deleted(&store).await),
        (1, Some(2), 0),
        "{said}"
    );
    assert_eq!(json["failures"][0]["clerk_id"], "user_04");
    let known = user(&store, "user_04").await.unwrap();
    assert_eq!(known.updated_at.unwrap().0.ms(), EPOCH_MS + 40);
}
