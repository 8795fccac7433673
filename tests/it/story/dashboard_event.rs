//! The page of one event: what it changed, its payload, and what to do if it failed; titles, and
//! errors as pages.

use clerk_sync::store::Status;
use serde_json::{Value, json};

use super::dashboard::{TOKEN, assert_guarded, assert_nothing_inline, log_in, serve};
use crate::support::app::{App, Place, SECRET};
use crate::support::history::{EPOCH_MS, delete, update};
use crate::support::visitor::{Page, Visitor};

async fn serve_with_payloads(place: &Place) -> App {
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
        ("EVENT_PAYLOADS", "all"),
    ];
    place.start(&["serve"], &variables).await
}

/// Delivers a version of `user_1`, and waits until it is recorded.
async fn deliver(app: &App, id: &str, event_type: &str, ms: i64, more: Value) {
    let mut data = json!({"id": "user_1", "created_at": EPOCH_MS, "updated_at": EPOCH_MS + ms});
    let fields = more.as_object().unwrap().clone();
    data.as_object_mut().unwrap().extend(fields);
    let body = json!({"type": event_type, "timestamp": EPOCH_MS + ms, "data": data});
    assert_eq!(app.deliver(id, body.to_string()).await.status, 200);
    app.settled(id).await;
}

/// The text between two others.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{text}"));
    rest.split_once(end).map_or(rest, |(part, _)| part)
}

async fn an_event_shows_what_it_changed(place: Place) {
    let app = serve_with_payloads(&place).await;
    let ada =
        json!({"first_name": "Ada", "public_metadata": {"plan": "free", "note": "x".repeat(2000)}});
    deliver(&app, "msg_1", "user.created", 10, ada).await;
    let eve = json!({"first_name": "<b>Eve", "public_metadata": {"plan": "pro"}, "last_sign_in_at": EPOCH_MS});
    deliver(&app, "msg_3", "user.updated", 30, eve).await;
    deliver(&app, "msg_2", "user.updated", 20, json!({})).await;
    app.deliver("msg_4", delete("msg_4", "user_1", 40).body().to_vec())
        .await;
    app.settled("msg_4").await;
    let mut visitor = log_in(&app).await;
    let page = visitor.get("/events/msg_3").await;
    assert_nothing_inline(&page);
    let text = page.text();
    let change = between(&text, "What it changed", "Payload");
    for part in [
        "Compared with the version before, that of msg_1",
        "first_name − \"Ada\" + \"<b>Eve\"",
        "last_sign_in_at − null + 2026-11-20 11:00:00 UTC",
        "public_metadata.plan − \"free\" + \"pro\"",
        "public_metadata.note",
    ] {
        assert!(change.contains(part), "{part}: {change}");
    }
    assert!(!change.contains("created_at"), "it did not: {change}");
    assert!(
        page.body.contains("<details class=\"long\">"),
        "{}",
        page.body
    );

    let first = visitor.get("/events/msg_1").await.text();
    assert!(first.contains("This is the first version."), "{first}");
    let stale = visitor.get("/events/msg_2").await;
    let said = "It changed nothing: the row had a newer version, that of msg_3";
    assert!(stale.text().contains(said), "{}", stale.text());
    let deleted = visitor.get("/events/msg_4").await.text();
    assert!(
        deleted.contains("deleted_at − null + 2026-11-20 11:00:00 UTC"),
        "{deleted}"
    );
    // The history of the user has the same, shorter.
    let user = visitor.get("/users/user_1").await;
    let history = user.text();
    assert!(
        history.contains("first_name − \"Ada\" + \"<b>Eve\""),
        "{history}"
    );
    assert_nothing_inline(&user);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_shows_what_it_changed_with_servers() {
    an_event_shows_what_it_changed(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_shows_what_it_changed_without_servers() {
    an_event_shows_what_it_changed(Place::embedded()).await;
}

#[tokio::test]
async fn a_change_that_is_not_known_names_the_setting() {
    let place = Place::embedded();
    let app = serve(&place).await;
    deliver(&app, "msg_1", "user.created", 10, json!({})).await;
    let mut visitor = log_in(&app).await;
    let text = visitor.get("/events/msg_1").await.text();
    let change = between(&text, "What it changed", "Payload");
    assert!(
        change.contains("Not known") && change.contains("EVENT_PAYLOADS=all"),
        "{change}"
    );
}

#[tokio::test]
async fn a_payload_is_a_tree_that_can_be_sorted_and_saved() {
    let place = Place::embedded();
    let app = serve_with_payloads(&place).await;
    deliver(
        &app,
        "msg_1",
        "user.created",
        10,
        json!({"zeta": 1, "alpha": "a\u{202e}b"}),
    )
    .await;
    let mut visitor = log_in(&app).await;
    let page = visitor.get("/events/msg_1").await;
    let shown = page.text();
    assert!(
        shown.contains("\"timestamp\": 1795172400010, 2026-11-20 11:00:00 UTC"),
        "{shown}"
    );
    assert!(shown.contains(r#""alpha": "a\u202eb""#), "{shown}");
    assert!(page.body.contains("data-copy=\"/events/msg_1/payload\""));
    let at = |text: &str, name: &str| text.find(name).unwrap();
    assert!(at(&shown, "\"timestamp\"") < at(&shown, "\"zeta\"") || shown.contains("\"data\""));
    let sorted = visitor.get("/events/msg_1?names=sorted").await.text();
    assert!(
        at(&sorted, "\"alpha\"") < at(&sorted, "\"zeta\"") && sorted.contains("Names as they came"),
        "{sorted}"
    );
    assert!(
        at(&sorted, "\"data\"") < at(&sorted, "\"timestamp\""),
        "{sorted}"
    );

    let user = visitor.get("/users/user_1?names=sorted").await;
    assert!(
        user.body.contains("data-copy=\"/users/user_1/data\""),
        "{}",
        user.body
    );
    let saved = visitor.get("/users/user_1/data").await;
    let kept: Value = serde_json::from_str(&saved.body).unwrap();
    assert_eq!(kept["alpha"], "a\u{202e}b", "as it came");
    assert!(
        saved
            .header("content-disposition")
            .starts_with("attachment")
    );
    assert_guarded(&saved);
    for path in [
        "/users/user_1/private_metadata",
        "/users/user_1/email",
        "/users/user_9/data",
    ] {
        assert_eq!(visitor.get(path).await.status, 404, "{path}");
    }
}

/// The words of the primary buttons.
fn primary(page: &Page) -> Vec<&str> {
    let tags = page
        .body
        .split('<')
        .filter(|tag| tag.contains("class=\"primary\"") || tag.contains("button primary\""));
    tags.map(|tag| between(tag, ">", "<")).collect()
}

#[tokio::test]
async fn a_replay_that_would_fail_again_is_not_the_main_button() {
    let place = Place::embedded();
    let app = serve(&place).await;
    for (id, body) in [
        ("msg_text", "no JSON".to_owned()),
        (
            "msg_time",
            r#"{"data":{"id":"user_1","updated_at":99999999999999},"type":"user.updated"}"#.into(),
        ),
    ] {
        assert_eq!(app.deliver(id, body).await.status, 200);
        assert_eq!(app.settled(id).await.status, Status::Failed);
    }
    crate::support::history::fail(&app.store, &[update("msg_fine", "user_2", 10)]).await;
    let mut visitor = log_in(&app).await;
    for id in ["msg_text", "msg_time"] {
        let page = visitor.get(&format!("/events/{id}")).await;
        assert_eq!(primary(&page), ["Discard…"], "{id}");
        let text = page.text();
        assert!(
            text.contains("it would fail again, for the same reason"),
            "{text}"
        );
        assert!(text.contains("Replay anyway"), "{text}");
        let token = page.form_token();
        let page = visitor
            .post(&format!("/events/{id}/replay"), &[("form_token", &token)])
            .await;
        assert_eq!(page.status, 303, "it is possible all the same");
    }
    let page = visitor.get("/events/msg_fine").await;
    assert_eq!(primary(&page), ["Replay"]);
}

/// The title of a page.
fn title(page: &Page) -> &str {
    between(&page.body, "<title>", "</title>")
}

#[tokio::test]
async fn titles_tell_pages_apart() {
    let place = Place::embedded();
    let app = serve(&place).await;
    deliver(
        &app,
        "msg_1",
        "user.created",
        10,
        json!({"first_name": "Ada"}),
    )
    .await;
    let mut visitor = log_in(&app).await;
    for (path, expected) in [
        ("/events", "Events · clerk-sync"),
        ("/events?status=failed", "Events: failed · clerk-sync"),
        (
            "/events/msg_1",
            "msg_1 applied · user.created · Events · clerk-sync",
        ),
        (
            "/events/discard?clerk_id=user_1",
            "Discard 0 events? · Events · clerk-sync",
        ),
        ("/users?q=ada", "Users: ada · clerk-sync"),
        ("/users/user_1", "Ada · user_1 · Users · clerk-sync"),
        ("/events/msg_2", "Not found · clerk-sync"),
    ] {
        assert_eq!(title(&visitor.get(path).await), expected, "{path}");
    }
}

#[tokio::test]
async fn a_browser_gets_errors_as_pages_and_a_program_as_problems() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let mut visitor = Visitor::of(&app);
    visitor.log_in(TOKEN).await;
    visitor.set("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for (path, status, said) in [
        ("/nowhere", 404, "start from one of these pages"),
        (
            "/events/msg_1/nowhere",
            404,
            "start from one of these pages",
        ),
        ("/events/msg_1?attempts=x", 400, "Correct the address"),
        ("/events?status=lost", 400, "The filter is wrong"),
        ("/users?deleted=maybe", 400, "is wrong"),
        ("/logout", 405, "Use the links and buttons"),
    ] {
        let page = visitor.get(path).await;
        assert_eq!(page.status, status, "{path}");
        assert!(
            page.header("content-type").starts_with("text/html"),
            "{path}"
        );
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert!(page.text().contains(said), "{path}: {}", page.text());
        assert!(page.links().contains(&"/events".to_owned()), "{path}");
        assert_guarded(&page);
        assert_nothing_inline(&page);
    }
    let forged = visitor.post("/events/msg_1/replay", &[]).await;
    assert_eq!(forged.status, 403);
    assert!(forged.text().contains("The action was not carried out"));
    for path in ["/api/nowhere", "/api/users", "/readyz"] {
        let page = visitor.get(path).await;
        assert!(
            !page.header("content-type").starts_with("text/html"),
            "{path}"
        );
    }
    let mut program = Visitor::of(&app);
    let answer = program.get("/nowhere").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (404, "application/problem+json")
    );
}
