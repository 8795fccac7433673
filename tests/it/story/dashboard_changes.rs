//! The change feed for people who look: the recent changes on the page of a row, and how far the feed
//! is on the overview, in `/api/stats` and in `status`.

use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use super::dashboard::{TOKEN, assert_guarded, assert_nothing_inline, log_in};
use super::organizations::{deliver, story};
use crate::support::app::{App, Place, SECRET, until};
use crate::support::clerk_instance::ClerkInstance;
use crate::support::history::{EPOCH_MS, delete, event, update};
use crate::support::visitor::{Page, Visitor};

const ON: (&str, &str) = ("CHANGE_FEED", "on");

async fn serve(place: &Place, more: &[(&str, &str)]) -> App {
    let needed = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
    ];
    place.start(&["serve"], &[&needed, more].concat()).await
}

/// The section with the recent changes.
fn section(page: &Page) -> Option<&str> {
    let (_, rest) = page.body.split_once("<section id=\"changes\"")?;
    rest.split("</section>").next()
}

/// The recent changes of a page: the kind of each, its columns, and its event or what else made it.
fn changes(page: &Page) -> Vec<[String; 3]> {
    let cell = |row: &str, label: &str| {
        let start = format!("<td data-label=\"{label}\">");
        let (_, rest) = row.split_once(&start).unwrap();
        let html = rest.split("</td>").next().unwrap();
        let parts = html.split('<').map(|part| part.rsplit('>').next().unwrap());
        parts.collect::<String>().trim().to_owned()
    };
    let rows = section(page).unwrap().split("<tr>").skip(1);
    rows.filter(|row| row.contains("<td"))
        .map(|row| ["Change", "Columns", "Event"].map(|label| cell(row, label)))
        .collect()
}

async fn user_page(visitor: &mut Visitor, id: &str) -> Page {
    let page = visitor.get(&format!("/users/{id}")).await;
    assert_eq!(page.status, 200, "{id}");
    page
}

async fn the_page_of_a_row_says_which_event_changed_which_columns(place: Place) {
    let app = serve(&place, &[ON]).await;
    let mut visitor = log_in(&app).await;
    let named = format!(
        r#"{{"data":{{"id":"user_1","username":"ada","updated_at":{}}},"type":"user.updated"}}"#,
        EPOCH_MS + 20
    );
    for event in [
        update("msg_1", "user_1", 10),
        event("msg_2", named),
        update("msg_old", "user_1", 5),
        delete("msg_3", "user_1", 30),
    ] {
        deliver(&app, &[event]).await;
    }
    let page = user_page(&mut visitor, "user_1").await;
    assert_guarded(&page);
    assert_nothing_inline(&page);
    assert!(
        section(&page)
            .unwrap()
            .contains("Applications read these changes with"),
        "{}",
        page.body
    );
    let [deleted, updated, created] = changes(&page).try_into().unwrap();
    assert_eq!(deleted, ["deleted", "deleted_at", "msg_3"]);
    assert_eq!([&updated[0], &updated[2]], ["updated", "msg_2"]);
    assert!(updated[1].contains("username"), "{updated:?}");
    assert_eq!([&created[0], &created[2]], ["created", "msg_1"]);
    for id in ["msg_1", "msg_2", "msg_3"] {
        let link = format!("href=\"/events/{id}\"");
        assert!(section(&page).unwrap().contains(&link), "{id}");
    }

    // So of each table; more columns than are shown at once can be opened.
    deliver(&app, &story()).await;
    let page = visitor.get("/organizations/org_1").await;
    let created = &changes(&page)[0];
    assert_eq!([&*created[0], &*created[2]], ["created", "msg_o1"]);
    assert!(
        created[1].contains("name, ") && created[1].contains("slug"),
        "{created:?}"
    );
    // Events that were applied together are one change.
    let page = visitor.get("/memberships/orgmem_2").await;
    let left = &changes(&page)[0];
    assert_eq!([&*left[0], &*left[2]], ["deleted", "msg_m3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_row_says_which_event_changed_which_columns_with_servers() {
    let place = Place::servers().await;
    the_page_of_a_row_says_which_event_changed_which_columns(place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_row_says_which_event_changed_which_columns_without_servers() {
    the_page_of_a_row_says_which_event_changed_which_columns(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_an_event_says_what_made_it() {
    for place in [Place::embedded(), Place::servers().await] {
        let app = serve(&place, &[ON]).await;
        let mut visitor = log_in(&app).await;
        let clerk = ClerkInstance::with_users(5, 3).await;
        let run = |arguments: &[&str]| {
            let mut command = place.command(arguments);
            let output = command.envs(clerk.variables()).envs([ON]).output();
            let output = output.unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{arguments:?}: {error}");
        };
        run(&["backfill", "users"]);
        clerk.change(|accounts| accounts.delete("user_01"));
        run(&["reconcile", "users", "--fix"]);
        run(&["users", "erase", "user_02", "--yes"]);
        let page = user_page(&mut visitor, "user_01").await;
        let [deleted, created] = changes(&page).try_into().unwrap();
        assert_eq!(
            deleted,
            [
                "deleted",
                "deleted_at",
                "No event: reconcile did not find it at Clerk any more."
            ]
        );
        assert_eq!(created[0], "created");
        assert_eq!(
            created[2],
            "No event: read from Clerk’s API, by backfill, reconcile or a refresh."
        );
        assert!(!section(&page).unwrap().contains("href=\"/events/"));
        // No event was ever here, so none was deleted for sure.
        let page_text = user_page(&mut visitor, "user_00").await.text();
        assert!(
            page_text.contains("No event about this user is recorded here. Its row came from"),
            "{page_text}"
        );
        let page = user_page(&mut visitor, "user_02").await;
        let erased = &changes(&page)[0];
        assert_eq!(erased[0], "erased");
        assert!(
            erased[2].starts_with("No event: erased, by a person"),
            "{erased:?}"
        );
        assert!(app.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_feed_a_page_has_no_changes_but_those_that_are_left() {
    let place = Place::embedded();
    let app = serve(&place, &[]).await;
    let mut visitor = log_in(&app).await;
    deliver(&app, &[update("msg_1", "user_1", 10)]).await;
    let page = user_page(&mut visitor, "user_1").await;
    assert_eq!(section(&page), None);
    assert!(app.stop().success());

    // On, and nothing is recorded of this user yet.
    let app = serve(&place, &[ON]).await;
    let mut visitor = log_in(&app).await;
    let page = user_page(&mut visitor, "user_1").await;
    let said = section(&page).unwrap();
    assert!(
        said.contains("No change of this user is kept") && !said.contains("<table"),
        "{said}"
    );
    let updates: Vec<_> = (0..21)
        .map(|number| update(&format!("msg_2{number}"), "user_1", 20 + number))
        .collect();
    for update in updates {
        deliver(&app, &[update]).await;
    }
    let page = user_page(&mut visitor, "user_1").await;
    let shown = changes(&page);
    let ids: Vec<_> = shown.iter().map(|[.., id]| id.as_str()).collect();
    assert_eq!((ids.len(), ids[0], ids[19]), (20, "msg_220", "msg_21"));
    let (first, older) = section(&page)
        .unwrap()
        .split_once("<summary>Older ones")
        .unwrap();
    assert_eq!(
        (
            first.matches("msg_2").count(),
            older.matches("msg_2").count()
        ),
        (10, 30)
    );
    assert!(app.stop().success());

    let app = serve(&place, &[]).await;
    let mut visitor = log_in(&app).await;
    let page = user_page(&mut visitor, "user_1").await;
    assert_eq!(changes(&page).len(), 20);
    assert!(
        page.text().contains("CHANGE_FEED is off"),
        "{}",
        page.text()
    );
}

async fn feed_in_stats(app: &App) -> Value {
    let answer = app.api(Some(TOKEN), "/api/stats", None).await;
    assert_eq!(answer.status, 200);
    answer.body["change_feed"].clone()
}

/// What `status` prints for people, and its `change_feed` for programs.
fn status(place: &Place) -> (String, Value) {
    let run = |arguments: &[&str]| {
        let output = place.command(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut json: Value = serde_json::from_str(&run(&["status", "--json"])).unwrap();
    (run(&["status"]), json["change_feed"].take())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_for_the_exchange_are_seen_everywhere() {
    let place = Place::servers().await;
    let app = serve(&place, &[ON]).await;
    let mut visitor = log_in(&app).await;
    deliver(&app, &[update("msg_1", "user_1", 10)]).await;
    let published = |feed: &Value| feed["lag_ms"] == json!(0) && feed["newest_at"].is_string();
    until("the change is published", async || {
        let feed = feed_in_stats(&app).await;
        published(&feed)
    })
    .await;
    let said = visitor.get("/").await.text();
    assert!(
        said.contains("Everything works") && said.contains("Change feed Published"),
        "{said}"
    );
    let (printed, feed) = status(&place);
    assert!(published(&feed), "{feed}");
    assert!(
        printed.contains("all published; the newest change is from"),
        "{printed}"
    );

    // As long as another process has the turn to publish, no other one does.
    let mut connection = place.database().connect().await;
    let mut other = connection.begin().await.unwrap();
    other
        .execute("select value from clerk.settings where name = 'changes_published' for update")
        .await
        .unwrap();
    deliver(&app, &[update("msg_2", "user_1", 20)]).await;
    let mut clock = place.database().connect().await;
    clock
        .execute("update clerk.changes set committed_at = committed_at - interval '10 minutes' where event_id = 'msg_2'")
        .await
        .unwrap();
    let mut feed = Value::Null;
    until("the lag is reported", async || {
        feed = feed_in_stats(&app).await;
        feed["lag_ms"]
            .as_u64()
            .is_some_and(|lag_ms| lag_ms > 600_000)
    })
    .await;
    assert!(feed["oldest_unpublished_at"].is_string(), "{feed}");
    let said = visitor.get("/").await.text();
    for part in [
        "Working; the change feed is 10 min behind",
        "None is lost",
        "Run clerk-sync check",
        "Change feed 10 min behind; oldest unpublished change: 20",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (printed, feed) = status(&place);
    assert!(
        printed.starts_with("Working; the change feed is 10 min behind"),
        "{printed}"
    );
    assert!(
        printed.contains("10 min behind; the oldest change that is not published is from"),
        "{printed}"
    );
    assert!(feed["lag_ms"].as_u64() > Some(600_000), "{feed}");

    other.rollback().await.unwrap();
    until("everything is published", async || {
        published(&feed_in_stats(&app).await)
    })
    .await;
    assert!(visitor.get("/").await.text().contains("Everything works"));
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_queue_publishes_nothing_and_is_never_behind() {
    let place = Place::embedded();
    let app = serve(&place, &[ON]).await;
    let mut visitor = log_in(&app).await;
    let feed = feed_in_stats(&app).await;
    let none = json!({"recording": true, "newest_at": null, "oldest_kept_at": null, "oldest_unpublished_at": null, "lag_ms": null});
    assert_eq!(feed, none);
    let said = visitor.get("/").await.text();
    assert!(said.contains("Change feed — no change is kept"), "{said}");
    deliver(&app, &[update("msg_1", "user_1", 10)]).await;
    let mut feed = Value::Null;
    until("the change is seen", async || {
        feed = feed_in_stats(&app).await;
        feed["newest_at"].is_string()
    })
    .await;
    assert_eq!(feed["newest_at"], feed["oldest_kept_at"]);
    assert_eq!(
        (&feed["lag_ms"], &feed["oldest_unpublished_at"]),
        (&Value::Null, &Value::Null)
    );
    let said = visitor.get("/").await.text();
    assert!(said.contains("the newest change; kept since"), "{said}");
    let (printed, of_status) = status(&place);
    assert_eq!(of_status, feed);
    assert!(
        printed.contains("the newest change is from") && !printed.contains("published"),
        "{printed}"
    );
    assert!(app.stop().success());

    // Off, none of this is there.
    let app = serve(&place, &[]).await;
    let mut visitor = log_in(&app).await;
    assert_eq!(feed_in_stats(&app).await, Value::Null);
    assert!(!visitor.get("/").await.text().contains("Change feed"));
    let printed = place.succeed(&["status"]);
    assert!(!printed.contains("change feed"), "{printed}");
    let printed: Value = serde_json::from_str(&place.succeed(&["status", "--json"])).unwrap();
    assert_eq!(printed["change_feed"], Value::Null);
}
