//! A person is deleted, or asks to be forgotten: nothing of what was known stays behind.

use clerk_sync::store::Status;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::support::app::{App, Place, SECRET, until};

/// Stands in every value that must not stay.
const MARK: &str = "gone-9f3e";

fn update(ms: i64, broken: bool) -> String {
    let times = if broken {
        json!("soon")
    } else {
        json!(1_795_172_400_000_i64 + ms)
    };
    let user = json!({
        "id": "user_1",
        "first_name": format!("{MARK}-name"),
        "primary_email_address_id": "idn_1",
        "email_addresses": [{"id": "idn_1", "email_address": format!("{MARK}@example.com")}],
        "username": format!("{MARK}-user"),
        "public_metadata": {"plan": format!("{MARK}-plan")},
        "updated_at": times,
    });
    json!({"data": user, "timestamp": 1_795_172_400_000_i64 + ms, "type": "user.updated"})
        .to_string()
}

/// Both tables, as text.
async fn everything(place: &Place) -> String {
    match place {
        Place::Servers { database, .. } => {
            let all = "select coalesce((select string_agg(u::text, ' ') from clerk.users u), '')
                || coalesce((select string_agg(e::text || coalesce(convert_from(payload, 'UTF8'), ''), ' ') from clerk.events e), '')";
            sqlx::query_scalar(all)
                .fetch_one(&mut database.connect().await)
                .await
                .unwrap()
        }
        Place::Embedded { directory } => {
            let path = directory.path().join("users.db");
            let mut file = sqlx::SqliteConnection::connect(&path.display().to_string())
                .await
                .unwrap();
            let all = "select coalesce((select group_concat(clerk_id || ifnull(first_name, '') || ifnull(email, '')
                || ifnull(username, '') || ifnull(public_metadata, '') || ifnull(private_metadata, '') || ifnull(data, '')) from users), '')
                || coalesce((select group_concat(ifnull(cast(payload as text), '') || ifnull(error, '')) from events), '')";
            sqlx::query_scalar(all).fetch_one(&mut file).await.unwrap()
        }
    }
}

async fn a_deleted_person_leaves_nothing_behind(place: Place) {
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ON_DELETE", "scrub"),
        ("EVENT_PAYLOADS", "all"),
    ];
    let app = place.start(&["serve"], &variables).await;
    deliver(&app, "msg_1", update(10, false)).await;
    deliver(&app, "msg_2", update(20, true)).await;
    assert!(
        everything(&place).await.contains(MARK),
        "the test would see it"
    );
    let delete = json!({"data": {"id": "user_1", "deleted": true, "object": "user"}, "timestamp": 1_795_172_400_030_i64, "type": "user.deleted"});
    deliver(&app, "msg_3", delete.to_string()).await;
    deliver(&app, "msg_4", update(40, false)).await;
    deliver(&app, "msg_5", update(50, true)).await;

    let left = everything(&place).await;
    assert!(!left.contains(MARK) && left.contains("user_1"), "{left}");
    let user: Value =
        serde_json::from_str(&place.succeed(&["users", "show", "user_1", "--json"])).unwrap();
    assert_eq!(user["deleted_at"], "2026-11-20T11:00:00.030Z");
    assert!(user["erased_at"].is_string() && user["email"].is_null());
    assert_eq!(app.event("msg_4").await.unwrap().status, Status::Stale);
    assert!(app.log().iter().all(|line| !line.contains(MARK)));
    app.store.close().await;
    assert!(app.stop().success());
    if let Place::Embedded { directory } = &place {
        let file = std::fs::read(directory.path().join("users.db")).unwrap();
        let found = file
            .windows(MARK.len())
            .any(|bytes| bytes == MARK.as_bytes());
        assert!(
            !found,
            "the file holds what was erased, in pages that are free"
        );
    }
}

async fn deliver(app: &App, id: &str, body: String) {
    assert_eq!(app.deliver(id, body).await.status, 200);
    app.settled(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_person_leaves_nothing_behind_with_servers() {
    a_deleted_person_leaves_nothing_behind(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_person_leaves_nothing_behind_without_servers() {
    a_deleted_person_leaves_nothing_behind(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_deleted_before_the_setting_are_erased_at_the_next_start() {
    let place = Place::servers().await;
    let app = place.serve().await;
    deliver(&app, "msg_1", update(10, false)).await;
    let delete = r#"{"data":{"id":"user_1","deleted":true},"timestamp":1795172400030,"type":"user.deleted"}"#;
    deliver(&app, "msg_2", delete.into()).await;
    assert!(
        app.user("user_1").await.unwrap().text("email").is_some(),
        "the profile is kept unless it is said otherwise"
    );
    assert!(app.stop().success());
    let app = place
        .start(
            &["serve"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("ON_DELETE", "scrub"),
            ],
        )
        .await;
    until("it is erased", async || {
        app.user("user_1").await.unwrap().text("email").is_none()
    })
    .await;
    assert!(!everything(&place).await.contains(MARK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_and_forgotten_by_command() {
    let place = Place::embedded();
    let app = place.serve().await;
    deliver(&app, "msg_1", update(10, false)).await;
    deliver(&app, "msg_2", update(20, true)).await;
    let said = place.succeed(&["users", "erase", "user_1", "--yes"]);
    for word in [
        "user_1: erased ",
        "columns (",
        "email",
        "first_name",
        "public_metadata",
        "emptied 1 payload.",
    ] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!said.contains(MARK), "{said}");
    assert!(!everything(&place).await.contains(MARK));

    deliver(&app, "msg_3", update(30, false)).await;
    let report: Value = serde_json::from_str(
        &place.succeed(&["users", "erase", "user_1", "--forget", "--yes", "--json"]),
    )
    .unwrap();
    assert_eq!(
        (&report["clerk_id"], &report["forgotten_events"]),
        (&json!("user_1"), &json!(3)),
        "{report}"
    );
    assert!(app.user("user_1").await.is_none() && app.event("msg_1").await.is_none());

    deliver(&app, "msg_4", update(40, true)).await;
    let said = place.succeed(&["users", "erase", "user_1", "--yes"]);
    assert!(
        said.contains("emptied 1 payload."),
        "a user may have failed events alone: {said}"
    );
    assert!(!everything(&place).await.contains(MARK));
    place.succeed(&["users", "erase", "user_1", "--forget", "--yes"]);
    let unknown = place.run(&["users", "erase", "user_1", "--yes"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("user_1"));
}

/// The command prints what it would erase, and asks before it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_only_when_somebody_agrees() {
    for place in [Place::embedded(), Place::servers().await] {
        let app = place.serve().await;
        deliver(&app, "msg_1", update(10, false)).await;
        deliver(&app, "msg_2", update(20, true)).await;
        let is_there = async || everything(&place).await.contains(MARK);

        let plan: Value = serde_json::from_str(&place.succeed(&[
            "users",
            "erase",
            "user_1",
            "--dry-run",
            "--json",
        ]))
        .unwrap();
        assert_eq!(
            (&plan["dry_run"], &plan["payloads"], &plan["is_final"]),
            (&json!(true), &json!(1), &json!(false))
        );
        let plan = place.run(&["users", "erase", "user_1", "--dry-run", "--forget"]);
        let said = String::from_utf8([plan.stdout, plan.stderr].concat()).unwrap();
        for words in [
            "Would erase ",
            "first_name",
            "), empty 1 payload, delete the row and its 2 events.",
            "Delete the user there first",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert_eq!(said.matches("still at Clerk").count(), 1, "{said}");
        assert!(is_there().await && !said.contains(MARK));

        // Without a terminal the command cannot ask.
        let output = place.run(&["users", "erase", "user_1"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(2), 0),
            "{said}"
        );
        assert!(
            said.contains("still at Clerk") && said.contains("--yes") && said.contains("--dry-run"),
            "{said}"
        );
        assert!(is_there().await, "nothing is erased");

        for answer in ["n\n", "\n", "maybe\n"] {
            let (status, said) = place.on_a_terminal(&["users", "erase", "user_1"], &[], answer);
            assert_eq!(status, Some(1), "{said}");
            let (warned, asked) = (
                said.find("still at Clerk").unwrap(),
                said.find("[y/N]").unwrap(),
            );
            assert!(
                warned < asked && said.contains("nothing was erased"),
                "{said}"
            );
            assert!(is_there().await, "nothing is erased");
        }
        let (status, said) = place.on_a_terminal(&["users", "erase", "user_1"], &[], "y\n");
        assert_eq!(status, Some(0), "{said}");
        assert!(
            said.contains("emptied 1 payload.")
                && said.matches("still at Clerk").count() == 1
                && !is_there().await,
            "{said}"
        );

        let delete = r#"{"data":{"id":"user_1","deleted":true},"timestamp":1795172400030,"type":"user.deleted"}"#;
        deliver(&app, "msg_3", delete.into()).await;
        let output = place.run(&["users", "erase", "user_1", "--yes"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && said.contains("is deleted at Clerk"),
            "{said}"
        );
        assert!(app.stop().success());
    }
}

/// In a column, in `data`, in a payload, with any outcome of the event.
async fn omitted_fields_are_never_stored(place: Place) {
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("OMIT_FIELDS", "public_metadata,first_name,email_addresses"),
        ("EVENT_PAYLOADS", "all"),
    ];
    let app = place.start(&["serve"], &variables).await;
    deliver(&app, "msg_1", update(10, false)).await;
    deliver(&app, "msg_2", update(20, true)).await;
    let left = everything(&place).await;
    for field in [
        "-name",
        "-plan",
        "@example.com",
        "public_metadata",
        "email_addresses",
    ] {
        assert!(
            !left.contains(&format!("{MARK}{field}")) && !left.contains(&format!("\"{field}\"")),
            "{field}: {left}"
        );
    }
    let row = app.user("user_1").await.unwrap();
    assert_eq!(
        (
            row.text("email"),
            row.text("first_name"),
            row.json("public_metadata").is_some()
        ),
        (None, None, false)
    );
    assert_eq!(
        row.text("username"),
        Some(&*format!("{MARK}-user")),
        "what is not named is kept"
    );
    assert!(app.event("msg_2").await.unwrap().payload.is_some());
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn omitted_fields_are_never_stored_with_servers() {
    omitted_fields_are_never_stored(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn omitted_fields_are_never_stored_without_servers() {
    omitted_fields_are_never_stored(Place::embedded()).await;
}
