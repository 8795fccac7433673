//! The lists of the dashboard: filters with their faults, the search, selected events, files, and
//! the way from one failed event to the next.

use clerk_sync::clerk::SignedEvent;
use clerk_sync::store::Status;
use clerk_sync::worker::plan::plan;
use serde_json::{Value, json};

use super::dashboard::{assert_guarded, assert_nothing_inline, log_in, serve};
use crate::support::app::{App, Place};
use crate::support::history::{EPOCH_MS, at, delete, event, fail, update};
use crate::support::visitor::{Page, Visitor};

/// A server with an embedded place, and somebody who is logged in.
async fn visited(place: &Place) -> (App, Visitor) {
    let app = serve(place).await;
    let visitor = log_in(&app).await;
    (app, visitor)
}

/// An event of this user with these fields.
fn person(id: &str, mut data: Value) -> SignedEvent {
    data["id"] = id.into();
    data["updated_at"] = EPOCH_MS.into();
    let body = json!({"data": data, "type": "user.created"});
    event(&format!("msg_{id}"), body.to_string())
}

/// The same event, received so many milliseconds after the others.
fn received(event: SignedEvent, ms: i64) -> SignedEvent {
    SignedEvent::restored(
        event.id().clone(),
        event.event_type().clone(),
        at(ms),
        at(ms),
        event.body().clone(),
    )
}

/// The part of a page from a text on to another.
fn between<'p>(page: &'p Page, start: &str, end: &str) -> &'p str {
    let (_, rest) = page
        .body
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start} in {}", page.body));
    rest.split(end).next().unwrap()
}

#[tokio::test]
async fn a_wrong_filter_is_said_beside_its_field_and_the_form_is_kept() {
    let place = Place::embedded();
    let (app, mut visitor) = visited(&place).await;
    fail(&app.store, &[update("msg_1", "user_1", 1)]).await;
    let page = visitor
        .get("/events?status=lost&since=soon&until=2026-11-23T16:00&clerk_id=user_7")
        .await;
    assert_eq!(page.status, 400);
    assert_guarded(&page);
    assert_nothing_inline(&page);
    for field in ["status", "since"] {
        let tag = between(&page, &format!("id=\"{field}\""), ">");
        let described = format!("aria-describedby=\"{field}-fault\"");
        assert!(tag.contains("aria-invalid=\"true\"") && tag.contains(&described));
        let fault = between(&page, &format!("id=\"{field}-fault\">"), "<");
        assert!(fault.starts_with("Give "), "{fault}");
    }
    assert!(page.body.contains(r#"<option value="lost" selected>lost"#));
    assert!(page.body.contains(r#"name="since" value="soon""#));
    assert!(
        page.body
            .contains(r#"name="until" value="2026-11-23T16:00:00""#)
    );
    assert!(page.body.contains(r#"name="clerk_id" value="user_7""#));
    let said = page.text();
    assert!(
        said.contains("no event is shown") && !said.contains("msg_1"),
        "{said}"
    );

    let page = visitor.get("/users?q=a%00b&deleted=maybe").await;
    assert_eq!(page.status, 400);
    assert!(between(&page, "id=\"q-fault\">", "<").contains("NUL"));
    assert!(
        page.body
            .contains(r#"<option value="maybe" selected>maybe"#)
    );
    // What no field of the form has is said above it.
    let page = visitor.get("/users?kind=x").await;
    assert_eq!(page.status, 400);
    assert!(
        page.text().contains("kind: A parameter is unknown"),
        "{}",
        page.text()
    );
    assert_eq!(visitor.get("/search?q=a%00b").await.status, 400);
}

#[tokio::test]
async fn a_filter_shows_every_value_that_it_filters_by() {
    let place = Place::embedded();
    let (app, mut visitor) = visited(&place).await;
    fail(&app.store, &[update("msg_1", "user_1", 1)]).await;
    let page = visitor
        .get("/events?event_type=organization.created&error_code=sqlstate_23514&since=2h")
        .await;
    assert_eq!(page.status, 200);
    for shown in [
        r#"<option value="organization.created" selected>"#,
        r#"<option value="sqlstate_23514" selected>"#,
        r#"<option value="failed" selected>"#,
        r#"<option value="not_json">"#,
        r#"<option value="delivery_limit">delivery_limit (1)"#,
        r#"name="since" value="2h""#,
    ] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    // As the browser sends the form: a time without a zone, which is UTC.
    for (query, is_found) in [
        ("since=2026-11-20T11:00", true),
        ("since=2026-11-20T11%3A00%3A01", false),
        ("until=2026-11-20T11:00", false),
    ] {
        let page = visitor.get(&format!("/events?{query}")).await;
        assert_eq!(
            page.body.contains("msg_1"),
            is_found,
            "{query}: {}",
            page.text()
        );
    }
}

#[tokio::test]
async fn a_row_is_one_link_with_the_name_and_a_relative_time() {
    let place = Place::embedded();
    let (app, mut visitor) = visited(&place).await;
    let ada = json!({"first_name": "Ada", "last_name": "Lovelace"});
    let gone = json!({"first_name": "Gone", "last_name": "Person"});
    let events = [
        person("user_1", ada),
        person("user_2", gone),
        delete("msg_d", "user_2", 9),
        update("msg_0", "user_0", 1),
    ];
    app.store.apply(&plan(&events)).await.unwrap();
    let page = visitor.get("/events").await;
    let row = |id: &str| {
        let rows = page.body.split("<tr>");
        let of_id = format!("/events/{id}\"");
        rows.into_iter()
            .find(|row| row.contains(&of_id))
            .unwrap()
            .to_owned()
    };
    let ada = row("msg_user_1");
    assert!(
        ada.contains("<bdi>Ada Lovelace</bdi> <a class=\"id\" href=\"/users/user_1\">"),
        "{ada}"
    );
    assert!(
        ada.contains(r#"<a class="open" href="/events/msg_user_1""#),
        "{ada}"
    );
    let time =
        r#"<time class="ago" datetime="2026-11-20T11:00:00.000Z" title="2026-11-20 11:00:00"#;
    assert!(ada.contains(time), "{ada}");
    assert!(
        !row("msg_user_2").contains("Gone"),
        "of a deleted user there is only the ID"
    );
    let users = visitor.get("/users").await;
    assert!(
        users
            .body
            .contains(r#"<a class="open person" href="/users/user_1">"#)
    );
    assert!(users.body.contains("<time class=\"ago\""), "{}", users.body);
}

#[tokio::test]
async fn selected_events_alone_are_acted_on() {
    let place = Place::embedded();
    let (app, mut visitor) = visited(&place).await;
    let events: Vec<_> = (0..4)
        .map(|n| update(&format!("msg_{n}"), "user_1", n))
        .collect();
    fail(&app.store, &events).await;
    app.store
        .apply(&plan(&[update("msg_5", "user_2", 5)]))
        .await
        .unwrap();
    let page = visitor.get("/events?clerk_id=user_1").await;
    assert_eq!(page.body.matches("name=\"ids\"").count(), 4);
    let all = visitor.get("/events").await;
    assert_eq!(
        all.body.matches("name=\"ids\"").count(),
        4,
        "an applied event has no box"
    );
    let from = between(&page, "name=\"from\" value=\"", "\"");
    assert_eq!(from, "?clerk_id=user_1");
    // As the form sends it.
    let preview = visitor
        .get("/events/discard?from=%3Fclerk_id%3Duser_1&ids=msg_1&ids=msg_3&ids=msg_5")
        .await;
    let said = preview.text();
    assert!(
        said.contains("Discard 2 events?") && said.contains("Selected3 events"),
        "{said}"
    );
    assert!(
        preview
            .links()
            .contains(&"/events?clerk_id=user_1".to_owned())
    );
    let fields = preview.hidden_fields();
    let fields: Vec<_> = fields.iter().map(|(a, b)| (&**a, &**b)).collect();
    let done = visitor.post("/events/discard", &fields).await;
    assert_eq!(done.status, 303, "{}", done.body);
    for (id, status) in [
        ("msg_0", Status::Failed),
        ("msg_1", Status::Discarded),
        ("msg_2", Status::Failed),
        ("msg_3", Status::Discarded),
        ("msg_5", Status::Applied),
    ] {
        assert_eq!(app.event(id).await.unwrap().status, status, "{id}");
    }
    // Nothing was selected: that must not mean all of them.
    let none = visitor
        .get("/events/replay?from=%3Fclerk_id%3Duser_1")
        .await;
    assert_eq!(
        (none.status, none.location()),
        (303, "/events?clerk_id=user_1&done=none")
    );
    let said = visitor.get(none.location()).await.text();
    assert!(said.contains("no event was selected"), "{said}");
    let none = visitor.get("/events/discard?from=%3F").await;
    assert_eq!(none.location(), "/events?done=none");
}

#[tokio::test]
async fn a_list_is_saved_as_csv_and_as_json() {
    let place = Place::embedded();
    let (app, mut visitor) = visited(&place).await;
    let formula = json!({
        "first_name": "=HYPERLINK(\"http://x\")", "last_name": "a,b \"c\"\nd", "username": "@sum",
        "public_metadata": {"n": 12_345_678_901_234_567_890_u64},
    });
    let plain = json!({"first_name": "Ada"});
    let users = [person("user_1", formula), person("user_2", plain)];
    app.store.apply(&plan(&users)).await.unwrap();
    fail(&app.store, &[update("msg_f", "user_3", 1)]).await;

    let csv = visitor.get("/users/export?format=csv&q=user_").await;
    assert_eq!(
        (csv.status, csv.header("content-type")),
        (200, "text/csv; charset=utf-8; header=present")
    );
    let disposition = csv.header("content-disposition");
    assert!(
        disposition.starts_with("attachment; filename=\"clerk-sync-users-20"),
        "{disposition}"
    );
    assert!(disposition.ends_with("Z.csv\""), "{disposition}");
    assert_eq!(csv.header("cache-control"), "no-store");
    assert_guarded(&csv);
    let (head, rows) = csv.body.split_once("\r\n").unwrap();
    assert!(
        head.starts_with("clerk_id,email,") && !head.contains(",data"),
        "{head}"
    );
    assert!(rows.starts_with("user_2,"), "{rows}");
    for part in [
        "\"'=HYPERLINK(\"\"http://x\"\")\",\"a,b \"\"c\"\"\nd\"",
        ",'@sum,",
        "{\"\"n\"\":12345678901234567890}",
        ",2026-11-20T11:00:00.000Z,",
    ] {
        assert!(rows.contains(part), "{part}: {rows}");
    }
    let list = visitor.get("/events?status=failed").await;
    let link = "/events/export?status=failed&format=json".to_owned();
    assert!(list.links().contains(&link), "{:?}", list.links());
    let json = visitor.get(&link).await;
    assert_eq!(json.header("content-type"), "application/json");
    let json: Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!(json["next"], Value::Null);
    assert_eq!(json["data"].as_array().unwrap().len(), 1);
    assert_eq!(json["data"][0]["event_id"], "msg_f");
    assert_eq!(json["data"][0].get("payload"), None);

    // What is cut off says so, and the rest begins where it ended.
    let first = visitor.get("/events/export?format=json&limit=2").await.body;
    let first: Value = serde_json::from_str(&first).unwrap();
    let next = first["next"].as_str().unwrap();
    let rest = visitor
        .get(&format!("/events/export?format=json&cursor={next}"))
        .await
        .body;
    let rest: Value = serde_json::from_str(&rest).unwrap();
    assert_eq!(
        (
            first["data"].as_array().unwrap().len(),
            rest["data"].as_array().unwrap().len()
        ),
        (2, 1)
    );
    let cut = visitor.get("/events/export?format=csv&limit=2").await.body;
    let last = cut.lines().last().unwrap();
    assert!(
        last.starts_with(&format!(
            "cut off after 2 rows: for the rest add &cursor={next} to"
        )),
        "{cut}"
    );
    assert_eq!(cut.lines().count(), 4);

    for wrong in [
        "format=xml",
        "format=csv&limit=100001",
        "format=csv&status=lost",
    ] {
        let page = visitor.get(&format!("/events/export?{wrong}")).await;
        assert_eq!(page.status, 400, "{wrong}");
    }
    let stranger = Visitor::of(&app).get("/users/export?format=csv").await;
    assert_eq!(stranger.status, 303, "it needs a session");
}

#[tokio::test]
async fn an_export_has_every_page_of_the_list() {
    let place = Place::embedded();
    let (app, mut visitor) = visited(&place).await;
    let events: Vec<_> = (0..450)
        .map(|n| received(update(&format!("msg_{n:03}"), "user_1", n), n))
        .collect();
    app.store.apply(&plan(&events)).await.unwrap();
    let csv = visitor.get("/events/export?format=csv").await.body;
    let ids: Vec<_> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    let expected: Vec<_> = (0..450).rev().map(|n| format!("msg_{n:03}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn the_search_leads_to_whatever_it_was_given() {
    let place = Place::embedded();
    let (app, mut visitor) = visited(&place).await;
    let ada = json!({"first_name": "Ada", "email_addresses": [{"email_address": "ada+1@example.com", "id": "e"}], "primary_email_address_id": "e"});
    let events = [person("user_1", ada), person("user_12", json!({}))];
    app.store.apply(&plan(&events)).await.unwrap();
    fail(&app.store, &[update("msg_f", "user_9", 1)]).await;
    for (q, address) in [
        ("user_1", "/users/user_1"),
        ("user_9", "/events?clerk_id=user_9"),
        ("msg_f", "/events/msg_f"),
        ("+msg_f+", "/events/msg_f"),
        ("msg_user_12", "/events/msg_user_12"),
        ("msg_user_", ""),
        ("ada%2B1%40exa", "/users?q=ada%2B1%40exa"),
        ("ADA", "/users?q=ADA"),
        ("delivery_l", "/events?error_code=delivery_limit"),
        ("user.cre", "/events?event_type=user.created"),
        ("msg_user_1", "/events/msg_user_1"),
        ("msg_user_12", "/events/msg_user_12"),
        ("msg_f", "/events/msg_f"),
    ] {
        let page = visitor.get(&format!("/search?q={q}")).await;
        let expected = if address.is_empty() { 200 } else { 303 };
        assert_eq!((page.status, page.location()), (expected, address), "{q}");
    }
    // Of several kinds each is shown.
    let page = visitor.get("/search?q=user").await;
    assert_eq!(page.status, 200);
    for link in [
        "/users?q=user",
        "/users/user_1",
        "/users/user_12",
        "/events?event_type=user.deleted",
    ] {
        assert!(
            page.links().contains(&link.to_owned()),
            "{link}: {:?}",
            page.links()
        );
    }
    assert!(
        page.body.contains(r#"name="q" type="search" value="user""#),
        "the box keeps it"
    );
    let page = visitor.get("/search?q=msg_user").await;
    assert!(page.links().contains(&"/events/msg_user_12".to_owned()));
    let nothing = visitor.get("/search?q=%3Cb%3Ezzz").await;
    assert_eq!(nothing.status, 200);
    let said = nothing.text();
    assert!(
        said.contains("Nothing was found for <b>zzz") && said.contains("Clerk ID begins so"),
        "{said}"
    );
    assert!(
        visitor
            .get("/search")
            .await
            .text()
            .contains("The search looks for")
    );
    // Every page has the box.
    for path in [
        "/",
        "/events",
        "/users",
        "/events/msg_f",
        "/users/user_1",
        "/events/replay",
        "/search",
    ] {
        let page = visitor.get(path).await;
        assert!(
            page.body.contains(r#"action="/search""#) && page.body.contains(r##"href="#keys""##),
            "{path}"
        );
    }
    let stranger = Visitor::of(&app).get("/search?q=user_1").await;
    assert!(
        stranger.location().starts_with("/login"),
        "{}",
        stranger.location()
    );
}

#[tokio::test]
async fn an_event_leads_to_the_failed_ones_beside_it() {
    let place = Place::embedded();
    let (app, mut visitor) = visited(&place).await;
    let failed = |n: i64| received(update(&format!("msg_{n}"), "user_1", n), n / 2);
    fail(&app.store, &[failed(1), failed(2), failed(3), failed(4)]).await;
    let applied = received(update("msg_9", "user_2", 9), 0);
    app.store.apply(&plan(&[applied])).await.unwrap();
    // By time of receipt, then by ID: 1 and 9 at 0 ms, 2 and 3 at 1 ms, 4 at 2 ms.
    for (id, newer, older) in [
        ("msg_4", None, Some("msg_3")),
        ("msg_3", Some("msg_4"), Some("msg_2")),
        ("msg_2", Some("msg_3"), Some("msg_1")),
        ("msg_1", Some("msg_2"), None),
        ("msg_9", Some("msg_2"), Some("msg_1")),
    ] {
        let page = visitor.get(&format!("/events/{id}")).await;
        for (key, expected) in [("p", newer), ("n", older)] {
            let link = page
                .body
                .split("<a ")
                .find(|tag| tag.contains(&format!("data-key=\"{key}\"")));
            let link = link.map(|tag| tag.split("href=\"/events/").nth(1).unwrap());
            let link = link.map(|rest| rest.split('"').next().unwrap());
            assert_eq!(link, expected, "{key} of {id}");
        }
    }
}
