//! One user refreshed from Clerk's API, over HTTP and by command: what it does to the row.
//! `refresh_limits` has what Clerk answers else, and how often it is asked.

use clerk_sync::store::Status;
use serde_json::{Value, json};

use super::outage::through_a_proxy;
use crate::support::app::{Answer, App, Place, SECRET, until};
use crate::support::clerk_instance::{ClerkInstance, Trouble};
use crate::support::clerk_lists_run::{command, run};
use crate::support::history::{delete, update};
use crate::support::scrape::Scrape;

pub const ADMIN: &str = "correct-horse-battery-staple";
const READER: &str = "reads-and-does-nothing-else";

/// A server that refreshes from this instance.
pub async fn serve(place: &Place, clerk: &ClerkInstance, more: &[(&str, &str)]) -> App {
    let [(key_name, key), (url_name, url)] = clerk.variables();
    let needed = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", ADMIN),
        ("READ_TOKEN", READER),
        (key_name, &*key),
        (url_name, &*url),
    ];
    place.start(&["serve"], &[&needed, more].concat()).await
}

pub async fn refresh(app: &App, id: &str) -> Answer {
    let path = format!("/api/users/{id}/refresh");
    app.api_bytes(ADMIN, &path, "").await
}

/// Status and code.
pub fn problem_of(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.code())
}

async fn show(app: &App, id: &str) -> Value {
    let path = format!("/api/users/{id}");
    app.api(Some(ADMIN), &path, None).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_has_just_signed_up_is_there_after_one_request_to_clerk() {
    for place in [Place::embedded(), Place::servers().await] {
        let clerk = ClerkInstance::with_users(5, 3).await;
        let app = serve(&place, &clerk, &[]).await;
        assert_eq!(
            problem_of(&app.api(Some(ADMIN), "/api/users/user_02", None).await),
            (404, "not_found")
        );
        let answer = refresh(&app, "user_02").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.body["email"], "user_02@example.com");
        assert_eq!(
            answer.body["data"]["private_metadata"]["note"],
            "classified"
        );
        assert_eq!(answer.body, show(&app, "user_02").await, "the same form");
        assert_eq!(clerk.take_targets(), ["/users/user_02"]);

        let path = "/api/users/user_02/refresh?fields=email,clerk_id";
        let some = app.api_bytes(ADMIN, path, "").await;
        assert_eq!(
            some.body,
            json!({"clerk_id": "user_02", "email": "user_02@example.com"})
        );
        assert_eq!(
            show(&app, "user_02").await["synced_at"],
            answer.body["synced_at"],
            "nothing new, nothing written"
        );
        let scrape = Scrape::of(&app).await;
        assert_eq!(
            scrape.counted("clerk_sync_refreshes_total"),
            [("result=\"refreshed\"", 2.0)]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_an_event_and_a_refresh_is_in_the_row() {
    for place in [Place::embedded(), Place::servers().await] {
        let clerk = ClerkInstance::with_users(5, 3).await;
        let app = serve(&place, &clerk, &[]).await;
        // `user_01` is as of 10 at Clerk. An event of the same time has the same state, and stays.
        for (event, updated_ms, first_name) in [
            ("msg_older", 9, "listed_10"),
            ("msg_same", 10, "msg_same"),
            ("msg_newer", 11, "msg_newer"),
        ] {
            app.deliver(event, update(event, "user_01", updated_ms).body().to_vec())
                .await;
            assert_eq!(app.settled(event).await.status, Status::Applied, "{event}");
            let answer = refresh(&app, "user_01").await;
            assert_eq!(
                (answer.status, &answer.body["first_name"]),
                (200, &first_name.into()),
                "{event}"
            );
        }
        // Clerk goes on; an event that is older than the refresh is stale.
        clerk.change(|accounts| accounts.update("user_01", 30, &json!({"first_name": "Ada"})));
        assert_eq!(refresh(&app, "user_01").await.body["first_name"], "Ada");
        app.deliver(
            "msg_late",
            update("msg_late", "user_01", 29).body().to_vec(),
        )
        .await;
        assert_eq!(app.settled("msg_late").await.status, Status::Stale);
        assert_eq!(show(&app, "user_01").await["first_name"], "Ada");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_stays_deleted_and_an_erased_one_erased() {
    for place in [Place::embedded(), Place::servers().await] {
        let clerk = ClerkInstance::with_users(5, 3).await;
        let app = serve(&place, &clerk, &[]).await;
        // Clerk's API can answer for a moment with a user whose delete has come already.
        refresh(&app, "user_01").await;
        app.deliver("msg_1", delete("msg_1", "user_01", 500).body().to_vec())
            .await;
        app.settled("msg_1").await;
        let deleted_at = show(&app, "user_01").await["deleted_at"].clone();
        assert!(deleted_at.is_string());
        clerk.change(|accounts| accounts.update("user_01", 900, &json!({"first_name": "Ada"})));
        let answer = refresh(&app, "user_01").await;
        assert_eq!(
            (answer.status, &answer.body["deleted_at"]),
            (200, &deleted_at)
        );

        place.succeed(&["users", "erase", "user_01", "--yes"]);
        clerk.change(|accounts| accounts.update("user_01", 901, &json!({})));
        let erased = refresh(&app, "user_01").await.body;
        assert!(
            erased["erased_at"].is_string() && erased["deleted_at"] == deleted_at,
            "{erased}"
        );
        for column in ["email", "first_name", "data"] {
            assert_eq!(erased[column], Value::Null, "{erased}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_stored_does_not_come_by_a_refresh() {
    let place = Place::servers().await;
    let clerk = ClerkInstance::with_users(5, 3).await;
    let settings = [("OMIT_FIELDS", "private_metadata"), ("ON_DELETE", "scrub")];
    let app = serve(&place, &clerk, &settings).await;
    let answer = refresh(&app, "user_01").await;
    assert_eq!(answer.body["email"], "user_01@example.com");
    assert!(
        !answer.body.to_string().contains("classified"),
        "{}",
        answer.body
    );
    app.deliver("msg_1", delete("msg_1", "user_02", 500).body().to_vec())
        .await;
    app.settled("msg_1").await;
    let scrubbed = refresh(&app, "user_02").await.body;
    assert!(
        scrubbed["erased_at"].is_string() && scrubbed["email"].is_null(),
        "{scrubbed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_admin_token_refreshes_and_only_an_id_of_a_user_is_asked_for() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 3).await;
    let app = serve(&place, &clerk, &[]).await;
    let path = "/api/users/user_01/refresh";
    assert_eq!(
        problem_of(&app.api_bytes(READER, path, "").await),
        (403, "forbidden")
    );
    assert_eq!(
        problem_of(&app.api_bytes("another-token-altogether", path, "").await),
        (401, "unauthorized")
    );
    let get = app.api(Some(ADMIN), path, None).await;
    assert_eq!(problem_of(&get), (405, "method_not_allowed"));
    assert_eq!(get.headers["allow"], "POST");
    let long = format!("user_{}", "a".repeat(300));
    for id in ["org_1", "user_", "2abc", "user_1%2F..", &long] {
        assert_eq!(
            problem_of(&refresh(&app, id).await),
            (404, "not_found"),
            "{id}"
        );
    }
    for query in ["limit=1", "fields=password", "wait=5"] {
        let answer = app.api_bytes(ADMIN, &format!("{path}?{query}"), "").await;
        assert_eq!(problem_of(&answer), (400, "invalid_request"), "{query}");
    }
    assert_eq!(
        problem_of(
            &app.api_bytes(ADMIN, "/api/organizations/org_1/refresh", "")
                .await
        ),
        (404, "not_found")
    );
    assert_eq!(clerk.take_targets(), [""; 0], "Clerk is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_or_users_or_during_a_pause_clerk_is_not_asked() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 3).await;
    let app = serve(&place, &clerk, &[("CLERK_SECRET_KEY", "")]).await;
    let answer = refresh(&app, "user_01").await;
    assert_eq!(problem_of(&answer), (409, "clerk_key_missing"));
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.ends_with("SIGHUP is enough"), "{detail}");
    drop(app);

    let app = serve(&place, &clerk, &[("SYNC", "organizations")]).await;
    assert_eq!(
        problem_of(&refresh(&app, "user_01").await),
        (409, "not_synced")
    );
    drop(app);

    let app = serve(&place, &clerk, &[]).await;
    place.succeed(&["pause"]);
    let paused = refresh(&app, "user_01").await;
    assert_eq!(
        (problem_of(&paused), &paused.headers["retry-after"]),
        ((503, "paused"), &"5".parse().unwrap())
    );
    let said = run(&place, &clerk, &["users", "refresh", "user_01"]);
    assert!(
        said.status == 1 && said.said.contains("paused"),
        "{}",
        said.said
    );
    assert_eq!(clerk.take_targets(), [""; 0]);

    // A pause that begins while Clerk is asked holds, too.
    place.succeed(&["resume"]);
    clerk.hold_objects();
    let (answer, ()) = tokio::join!(refresh(&app, "user_01"), async {
        until("Clerk is asked", async || clerk.requests() == 1).await;
        place.succeed(&["pause"]);
        clerk.release();
    });
    assert_eq!(problem_of(&answer), (503, "paused"));
    assert!(app.user("user_01").await.is_none());
    place.succeed(&["resume"]);
    assert_eq!(refresh(&app, "user_01").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_a_503_before_clerk_is_asked() {
    let place = Place::servers().await;
    let clerk = ClerkInstance::with_users(5, 3).await;
    let (url, proxy) = through_a_proxy(&place.database().url()).await;
    let app = serve(&place, &clerk, &[("DATABASE_URL", &url)]).await;
    proxy.cut();
    let away = refresh(&app, "user_01").await;
    assert_eq!(problem_of(&away), (503, "database_unavailable"));
    assert_eq!(clerk.take_targets(), [""; 0]);
    // One that goes away while Clerk is asked.
    proxy.restore();
    until("the database is back", async || {
        refresh(&app, "user_01").await.status == 200
    })
    .await;
    clerk.take_targets();
    clerk.hold_objects();
    let (away, ()) = tokio::join!(refresh(&app, "user_02"), async {
        until("Clerk is asked", async || clerk.requests() == 1).await;
        proxy.cut();
        clerk.release();
    });
    assert_eq!(problem_of(&away), (503, "database_unavailable"));
    proxy.restore();
    until("the database is back", async || {
        refresh(&app, "user_02").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_the_row_as_show_does() {
    for place in [Place::embedded(), Place::servers().await] {
        let clerk = ClerkInstance::with_users(5, 3).await;
        place.succeed(&["migrate"]);
        let refresh = |arguments: &[&str]| {
            let output = command(&place, &clerk, &[&["users", "refresh"], arguments].concat())
                .output()
                .unwrap();
            let [out, said] =
                [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
            (output.status.code().unwrap(), out, said)
        };
        let (status, json, said) = refresh(&["user_01", "--json"]);
        assert_eq!((status, &*said), (0, ""));
        assert_eq!(json, place.succeed(&["users", "show", "user_01", "--json"]));
        assert_eq!(
            serde_json::from_str::<Value>(&json).unwrap()["email"],
            "user_01@example.com"
        );
        let (status, text, _) = refresh(&["user_01"]);
        let line = |text: &str| {
            text.lines()
                .find(|line| line.starts_with("email "))
                .map(String::from)
        };
        assert!(
            status == 0 && line(&text).is_some_and(|line| line.contains("user_01@example.com")),
            "{text}"
        );
        assert_eq!(
            line(&text),
            line(&place.succeed(&["users", "show", "user_01"]))
        );

        let (status, out, said) = refresh(&["user_77", "--json"]);
        assert_eq!((status, &*out), (1, ""));
        assert!(
            said.contains("If the database has a row, it is not changed")
                && said.contains("reconcile users --fix"),
            "{said}"
        );
        let (status, _, said) = refresh(&["org_1"]);
        assert!(
            status == 1 && said.contains("a user ID is `user_` followed by letters and digits"),
            "{said}"
        );
        clerk.then_for_objects(&[Trouble::RetryAfter(429, 7)]);
        let (status, _, said) = refresh(&["user_01"]);
        assert!(
            status == 1 && said.contains("too many requests (429)") && said.contains("7 s"),
            "{said}"
        );
        clerk.set_key("sk_live_another_one_altogether");
        let (status, _, said) = refresh(&["user_01"]);
        assert!(
            status == 1 && said.contains("does not take the secret key (401)"),
            "{said}"
        );
        let without_key = place.run(&["users", "refresh", "user_01"]);
        let said = String::from_utf8(without_key.stderr).unwrap();
        assert!(
            without_key.status.code() == Some(2) && said.contains("CLERK_SECRET_KEY is not set"),
            "{said}"
        );
    }
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 3).await;
    let before_the_schema = run(&place, &clerk, &["users", "refresh", "user_01"]);
    assert!(
        before_the_schema.status == 1 && before_the_schema.said.contains("clerk-sync migrate"),
        "{}",
        before_the_schema.said
    );
    assert_eq!(clerk.requests(), 0);
}
