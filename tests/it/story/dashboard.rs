//! The pages of the dashboard as a browser sees them: links, headers, and the replay and discard of
//! failed events.

use std::collections::BTreeSet;

use clerk_sync::store::{EventFailure, Status};
use clerk_sync::worker::plan::plan_failed;

use crate::support::app::{App, Place, SECRET, until};
use crate::support::history::{delete, event, fail, update};
use crate::support::visitor::{Page, Visitor};

pub const TOKEN: &str = "correct-horse-battery-staple";

pub async fn serve(place: &Place) -> App {
    place
        .start(
            &["serve"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("ADMIN_TOKEN", TOKEN),
            ],
        )
        .await
}

pub async fn log_in(app: &App) -> Visitor {
    let mut visitor = Visitor::of(app);
    let page = visitor.log_in(TOKEN).await;
    assert_eq!((page.status, page.location()), (303, "/"), "{}", page.body);
    visitor
}

/// Every header that binds the browser, on whatever the dashboard answers.
pub fn assert_guarded(page: &Page) {
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{} {policy}", page.path);
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    assert_eq!(
        page.header("x-content-type-options"),
        "nosniff",
        "{}",
        page.path
    );
    assert_eq!(
        page.header("referrer-policy"),
        "same-origin",
        "{}",
        page.path
    );
}

/// Asserts that the page has no inline script or style, which its policy would block.
pub fn assert_nothing_inline(page: &Page) {
    let tags: Vec<_> = page
        .body
        .split('<')
        .skip(1)
        .map(|tag| tag.split('>').next().unwrap())
        .collect();
    for tag in tags {
        let is_script = tag.starts_with("script");
        assert!(
            !is_script || tag.contains("src=\"/assets/"),
            "{}: <{tag}>",
            page.path
        );
        // Quoted text is a value.
        let names: String = tag.split('"').step_by(2).collect();
        assert!(
            !tag.starts_with("style") && !names.contains(" style="),
            "{}: <{tag}>",
            page.path
        );
        assert!(!names.contains(" on"), "{}: <{tag}>", page.path);
    }
}

/// Names, IDs, codes and payloads with all that would break out of a page.
const HOSTILE: &str =
    r#""'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}</pre></title>"#;

#[tokio::test]
async fn text_from_outside_stays_text() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let mut visitor = log_in(&app).await;
    let body = |first: &str, id: &str| {
        let data = serde_json::json!({"id": id, "first_name": first, "username": HOSTILE, "updated_at": 1_795_000_000_000_i64,
            "public_metadata": {HOSTILE: HOSTILE}, "external_id": HOSTILE, "image_url": "javascript:alert(3)"});
        serde_json::json!({"data": data, "timestamp": 1_795_000_000_000_i64, "type": "user.created"}).to_string()
    };
    let id = format!("user_/..?#{HOSTILE}");
    for (id, body) in [
        ("msg_name", body(HOSTILE, &id)),
        ("msg_text", format!("no JSON {HOSTILE}")),
        (
            "msg_time",
            body(HOSTILE, "user_3").replace("1795000000000", "99999999999999"),
        ),
        ("msg_bidi", body("admin\u{202e}txt.exe\u{200b}", "user_4")),
    ] {
        assert_eq!(app.deliver(id, body).await.status, 200);
        app.settled(id).await;
    }
    // A type, a code and a reason that no version of ours writes.
    let typed = format!(
        r#"{{"data":{{"id":"user_2"}},"type":{}}}"#,
        serde_json::json!(HOSTILE)
    );
    let failure = EventFailure {
        code: HOSTILE.into(),
        text: HOSTILE.into(),
    };
    app.store
        .apply(&plan_failed(&[event("msg_type", typed)], &failure))
        .await
        .unwrap();
    let user = visitor
        .get("/users")
        .await
        .links()
        .into_iter()
        .find(|link| link.contains("script"))
        .unwrap();
    let mut paths: Vec<_> = ["/", "/users", "/users?q=user_4", "/events", "/users/user_4"]
        .map(String::from)
        .into();
    paths.push(user);
    paths.extend(
        ["name", "text", "type", "time", "bidi"].map(|event| format!("/events/msg_{event}")),
    );
    let asked = format!(
        "/events?clerk_id={}&error_code=%22%3E%3Cscript%3E",
        urlencoded(HOSTILE)
    );
    paths.extend([
        asked,
        format!("/users?q={}", urlencoded(HOSTILE)),
        format!("/events/discard?clerk_id={}", urlencoded(HOSTILE)),
    ]);
    for path in paths {
        let page = visitor.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(
            !page.body.contains("<script>") && !page.body.contains("<img src=x"),
            "{path}"
        );
        assert!(
            !page.body.contains("javascript:alert(3)\""),
            "{path}: no address of theirs is a link"
        );
        assert_nothing_inline(&page);
        assert_guarded(&page);
    }
    // A form sends back what it was given.
    let asked = visitor
        .get(&format!(
            "/events?clerk_id={}",
            urlencoded("user_\u{202e}4")
        ))
        .await
        .body;
    assert!(asked.contains("value=\"user_&#8238;4\""), "{asked}");
    for path in ["/users", "/users/user_4"] {
        let page = visitor.get(path).await.body;
        assert!(page.contains(r"admin\u202etxt.exe\u200b"), "{path}: {page}");
        assert!(!page.contains(['\u{202e}', '\u{200b}']), "{path}");
    }
    let shown = visitor.get("/events/msg_text").await.body;
    assert!(
        shown.contains("&#60;script&#62;alert(1)"),
        "it is there to be read: {shown}"
    );
    let failed = visitor.get("/events/msg_time").await.body;
    assert!(
        failed.contains("Ask Clerk") && failed.contains("docs/errors.md#implausible_time"),
        "{failed}"
    );

    let saved = visitor.get("/events/msg_text/payload").await;
    assert_eq!(saved.body, format!("no JSON {HOSTILE}"), "as it came");
    assert_eq!(saved.header("content-type"), "application/octet-stream");
    assert!(
        saved
            .header("content-disposition")
            .starts_with("attachment")
    );
    assert_guarded(&saved);
}

fn urlencoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Follows every link from the overview on; nothing is broken, and nothing leads away.
#[tokio::test]
async fn every_link_leads_to_a_page() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let mut visitor = log_in(&app).await;
    let empty = visitor.get("/").await;
    assert!(
        empty.body.contains("clerk-sync send user.created"),
        "{}",
        empty.body
    );
    fail(
        &app.store,
        &(0..60)
            .map(|n| update(&format!("msg_{n}"), "user_1", n))
            .collect::<Vec<_>>(),
    )
    .await;
    for n in 0..60 {
        let id = format!("msg_9{n:02}");
        app.deliver(&id, update(&id, &format!("user_{n}"), 10).body().to_vec())
            .await;
    }
    app.deliver("msg_del", delete("msg_del", "user_2", 5).body().to_vec())
        .await;
    app.settled("msg_del").await;
    until("all are there", async || {
        app.event("msg_959").await.is_some()
    })
    .await;
    // Counts are kept for a while.
    let mut looker = visitor.clone();
    until("the overview counts them", async || {
        looker
            .get("/")
            .await
            .body
            .contains("error_code=delivery_limit")
    })
    .await;

    let (mut seen, mut left) = (BTreeSet::new(), vec!["/".to_owned()]);
    while let Some(path) = left.pop().filter(|_| seen.len() < 1000) {
        if !seen.insert(path.clone()) {
            continue;
        }
        let page = visitor.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        assert_guarded(&page);
        for link in page.links() {
            assert!(
                link.starts_with('/') && !link.starts_with("//"),
                "{path} leads to {link}"
            );
            left.push(link);
        }
    }
    for path in [
        "/events/replay?error_code=delivery_limit",
        "/events/msg_0/payload",
        "/users/user_59",
    ] {
        assert!(seen.contains(path), "no way to {path}: {seen:?}");
    }
    assert!(
        seen.iter().any(|path| path.contains("cursor=")),
        "no second page"
    );
    for path in [
        "/events/msg_none",
        "/users/user_none",
        "/events/no.id",
        "/assets/x/none.css",
    ] {
        assert_eq!(visitor.get(path).await.status, 404, "{path}");
    }
    for path in [
        "/events?status=lost",
        "/users?deleted=maybe",
        "/events?since=soon",
    ] {
        let page = visitor.get(path).await;
        assert_eq!(page.status, 400, "{path}");
        assert_guarded(&page);
    }
    let wrong = visitor.post("/events", &[]).await;
    assert_eq!(wrong.status, 405);
}

#[tokio::test]
async fn assets_are_cached_under_a_digest_of_their_content() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let mut visitor = Visitor::of(&app);
    let page = visitor.get("/login").await;
    assert_eq!(page.header("cache-control"), "no-store");
    let assets: BTreeSet<_> = page
        .links()
        .into_iter()
        .filter(|link| link.starts_with("/assets/"))
        .collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for path in assets {
        let asset = visitor.get(&path).await;
        assert_eq!(
            (asset.status, asset.header("cache-control")),
            (200, "public, max-age=31536000, immutable"),
            "{path}"
        );
        assert!(
            !asset.body.is_empty() && !asset.body.contains("://") || path.ends_with(".svg"),
            "{path}"
        );
        assert_guarded(&asset);
        let name = path.rsplit('/').next().unwrap();
        let older = visitor.get(&format!("/assets/000000000000/{name}")).await;
        assert_eq!(
            (older.status, older.header("cache-control")),
            (200, "no-store"),
            "of a version that goes: {path}"
        );
    }
}

async fn a_failed_event_is_replayed(place: Place) {
    let app = serve(&place).await;
    fail(&app.store, &[update("msg_1", "user_1", 10)]).await;
    let mut visitor = log_in(&app).await;
    let overview = visitor.get("/").await.text();
    assert!(
        overview.contains("1 event failed and waits for you"),
        "{overview}"
    );
    let page = visitor.get("/events/msg_1").await;
    let said = page.text();
    assert!(
        said.contains("delivery_limit") && said.contains("made by a test"),
        "{said}"
    );
    assert!(
        said.contains("Processes died") && said.contains("it would be applied"),
        "{said}"
    );
    let token = page.form_token();
    let page = visitor
        .post("/events/msg_1/replay", &[("form_token", &token)])
        .await;
    assert_eq!(
        (page.status, page.location()),
        (303, "/events/msg_1?done=replayed&attempts=1")
    );
    until("it is applied", async || {
        app.event("msg_1").await.unwrap().status == Status::Applied
    })
    .await;
    let said = visitor
        .get("/events/msg_1?done=replayed&attempts=1")
        .await
        .text();
    assert!(said.contains("Replayed, and applied."), "{said}");
    let late = visitor
        .post("/events/msg_1/discard", &[("form_token", &token)])
        .await;
    assert_eq!(late.location(), "/events/msg_1?done=late");
    let said = visitor.get("/users/user_1").await.text();
    assert!(said.contains("it changed the row"), "{said}");
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_is_replayed_with_servers() {
    a_failed_event_is_replayed(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_is_replayed_without_servers() {
    a_failed_event_is_replayed(Place::embedded()).await;
}

#[tokio::test]
async fn a_bulk_action_takes_the_events_of_its_preview() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let events: Vec<_> = (0..7)
        .map(|n| update(&format!("msg_{n}"), &format!("user_{}", n % 2), n))
        .collect();
    fail(&app.store, &events).await;
    let mut visitor = log_in(&app).await;
    let preview = visitor
        .get("/events/discard?clerk_id=user_1&since=7000d")
        .await;
    assert!(
        preview.text().contains("Discard 3 events?"),
        "{}",
        preview.text()
    );
    assert!(
        preview.text().contains("cannot be replayed"),
        "{}",
        preview.text()
    );
    // An event that fails after the preview is not included. The other events have a fixed time, so
    // this one gets the time of now.
    let later = update("msg_9", "user_1", 9);
    let later = clerk_sync::clerk::SignedEvent::restored(
        later.id().clone(),
        later.event_type().clone(),
        clerk_sync::clock::now(),
        clerk_sync::clock::now(),
        later.body().clone(),
    );
    fail(&app.store, &[later]).await;
    let fields = preview.hidden_fields();
    let page = visitor
        .post(
            "/events/discard",
            &fields.iter().map(|(a, b)| (&**a, &**b)).collect::<Vec<_>>(),
        )
        .await;
    assert_eq!(
        page.location(),
        "/events?clerk_id=user_1&since=7000d&status=failed&done=discarded&number=3"
    );
    let said = visitor.get(page.location()).await.text();
    assert!(said.contains("3 events discarded."), "{said}");
    assert_eq!(
        app.event("msg_9").await.unwrap().status,
        Status::Failed,
        "it came later"
    );

    let preview = visitor.get("/events/replay?clerk_id=user_0").await;
    let said = preview.text();
    assert!(
        said.contains("Replay 4 events?") && said.contains("4 would be applied"),
        "{said}"
    );
    let fields = preview.hidden_fields();
    let page = visitor
        .post(
            "/events/replay",
            &fields.iter().map(|(a, b)| (&**a, &**b)).collect::<Vec<_>>(),
        )
        .await;
    let address = page.location().to_owned();
    until("they are tried", async || {
        let said = visitor.get(&address).await.text();
        said.contains("4 events replayed") && !said.contains("not tried yet")
    })
    .await;
    assert!(app.user("user_0").await.is_some());

    let token = preview.form_token();
    let open = visitor
        .post("/events/discard", &[("form_token", &token)])
        .await;
    assert_eq!(
        open.status, 400,
        "a set without an end in time is refused: {}",
        open.body
    );
    let nothing = visitor.get("/events/discard?event_type=user.created").await;
    assert!(
        nothing.text().contains("No failed event matches"),
        "{}",
        nothing.text()
    );
}
