//! An operator's routes: who gets in, what is found, and what is done with failed events.

use clerk_sync::store::Status;
use serde_json::{Value, json};

use crate::support::app::{Answer, App, Place, SECRET, until};
use crate::support::history::{fail, update};

const TOKEN: &str = "correct-horse-battery-staple";

async fn serve(place: &Place) -> App {
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

async fn get(app: &App, path: &str) -> Answer {
    app.api(Some(TOKEN), path, None).await
}

async fn post(app: &App, path: &str, body: Value) -> Answer {
    app.api(Some(TOKEN), path, Some(body)).await
}

fn ids(answer: &Answer, list: &str, id: &str) -> Vec<String> {
    answer.body[list]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[id].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_route_needs_the_token() {
    let place = Place::embedded();
    let app = place.serve().await;
    let paths = [
        "/api/users",
        "/api/users/user_1",
        "/api/users/user_1/history",
        "/api/events",
        "/api/events/msg_1",
        "/api/stats",
    ]
    .map(|path| (path, None))
    .into_iter();
    let orders = [
        "/api/events/replay",
        "/api/events/discard",
        "/api/events/msg_1/replay",
        "/api/events/msg_1/discard",
    ];
    let all: Vec<_> = paths
        .chain(orders.map(|path| (path, Some(json!({})))))
        .collect();
    for (path, body) in &all {
        let answer = app.api(Some(TOKEN), path, body.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (403, "admin_disabled"),
            "{path}"
        );
        assert_eq!(answer.body["type"], "docs/errors.md#admin_disabled");
        assert!(
            answer.body["detail"]
                .as_str()
                .unwrap()
                .contains("ADMIN_TOKEN")
        );
    }
    assert!(app.stop().success());

    let app = serve(&place).await;
    for (path, body) in &all {
        for token in [None, Some("wrong"), Some(&TOKEN[1..]), Some("")] {
            let answer = app.api(token, path, body.clone()).await;
            assert_eq!(
                (answer.status, answer.code()),
                (401, "unauthorized"),
                "{path} {token:?}"
            );
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    assert!(
        app.log().iter().all(|line| !line.contains(TOKEN)),
        "the token is in the log"
    );
    assert_eq!(get(&app, "/api/users").await.status, 200);
}

#[tokio::test]
async fn the_token_is_read_again_on_sighup_and_a_short_one_is_rejected() {
    let place = Place::embedded();
    let file = place.directory().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let app = place.start(&["serve"], &variables).await;
    assert_eq!(get(&app, "/api/users").await.status, 200);
    std::fs::write(&file, "another-token-of-some-length").unwrap();
    app.signal("HUP");
    until("the old token is out", async || {
        get(&app, "/api/users").await.status == 401
    })
    .await;
    assert_eq!(
        app.api(Some("another-token-of-some-length"), "/api/users", None)
            .await
            .status,
        200
    );

    let output = place
        .command(&["users", "list"])
        .env("ADMIN_TOKEN", "short")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("ADMIN_TOKEN") && error.contains("16") && !error.contains("short"),
        "{error}"
    );
}

/// What a person on call does: find it, look at it, try it out, replay it, see it applied.
async fn a_failed_event_is_found_and_replayed(place: Place) {
    let app = serve(&place).await;
    fail(&app.store, &[update("msg_1", "user_1", 10)]).await;
    assert_eq!(
        app.deliver("msg_2", update("msg_2", "user_2", 10).body().to_vec())
            .await
            .status,
        200
    );
    app.settled("msg_2").await;

    let found = get(&app, "/api/events?status=failed").await;
    assert_eq!(ids(&found, "data", "event_id"), ["msg_1"]);
    assert_eq!(found.body["data"][0]["error_code"], "delivery_limit");
    assert!(
        found.body["data"][0].get("payload").is_none(),
        "a list has no payloads"
    );
    let shown = get(&app, "/api/events/msg_1").await;
    assert!(shown.body["payload"].as_str().unwrap().contains("user_1"));

    let tried = post(&app, "/api/events/msg_1/replay", json!({"dry_run": true})).await;
    assert_eq!(
        tried.body,
        json!({"dry_run": true, "replayed": 1, "skipped": 0, "would": {"apply": 1, "be_stale": 0, "fail": {}}})
    );
    assert_eq!(
        app.event("msg_1").await.unwrap().status,
        Status::Failed,
        "a dry run does nothing"
    );

    let replayed = post(&app, "/api/events/msg_1/replay", json!({})).await;
    assert_eq!(
        (replayed.status, &replayed.body["replayed"]),
        (200, &json!(1)),
        "{:?}",
        replayed.body
    );
    until("it is applied", async || {
        app.event("msg_1").await.unwrap().status == Status::Applied
    })
    .await;
    let line = get(&app, "/api/events/msg_1").await;
    assert_eq!(
        (&line.body["attempts"], &line.body["deliveries"]),
        (&json!(2), &json!(2)),
        "the replay is recorded"
    );
    assert_eq!(
        get(&app, "/api/users/user_1").await.body["first_name"],
        "msg_1"
    );
    let found = get(&app, "/api/users?deleted=false&limit=1").await;
    assert_eq!(ids(&found, "data", "clerk_id"), ["user_2"]);
    let next = format!(
        "/api/users?limit=1&cursor={}",
        found.body["next"].as_str().unwrap()
    );
    let found = get(&app, &next).await;
    assert_eq!(
        (ids(&found, "data", "clerk_id"), &found.body["next"]),
        (vec!["user_1".into()], &Value::Null)
    );

    let again = post(&app, "/api/events/msg_1/replay", json!({})).await;
    assert_eq!((again.status, again.code()), (409, "not_failed"));
    assert!(again.body["detail"].as_str().unwrap().contains("applied"));
    let again = post(&app, "/api/events/msg_1/discard", json!({})).await;
    assert_eq!((again.status, again.code()), (409, "not_failed"));
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_is_found_and_replayed_with_servers() {
    a_failed_event_is_found_and_replayed(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_is_found_and_replayed_without_servers() {
    a_failed_event_is_found_and_replayed(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_events_are_replayed_or_discarded_by_filter_in_portions() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let events: Vec<_> = (0..7)
        .map(|n| update(&format!("msg_{n}"), &format!("user_{}", n % 2), n))
        .collect();
    fail(&app.store, &events).await;

    let some = post(
        &app,
        "/api/events/replay",
        json!({"clerk_id": "user_0", "limit": 3}),
    )
    .await;
    assert_eq!(some.body["replayed"], 3);
    let rest = json!({"clerk_id": "user_0", "limit": 3, "cursor": some.body["next"]});
    let rest = post(&app, "/api/events/replay", rest).await;
    assert_eq!(
        (&rest.body["replayed"], rest.body.get("next")),
        (&json!(1), None),
        "{:?}",
        rest.body
    );
    for n in [0, 2, 4, 6] {
        let id = format!("msg_{n}");
        until("it is tried", async || {
            app.event(&id).await.unwrap().status != Status::Failed
        })
        .await;
    }

    let tried = post(
        &app,
        "/api/events/discard",
        json!({"clerk_id": "user_1", "dry_run": true}),
    )
    .await;
    assert_eq!(
        tried.body,
        json!({"dry_run": true, "discarded": 3, "skipped": 0})
    );
    let discarded = post(&app, "/api/events/msg_1/discard", json!({})).await;
    assert_eq!(discarded.body["discarded"], 1);
    assert_eq!(app.event("msg_1").await.unwrap().status, Status::Discarded);
    let discarded = post(&app, "/api/events/discard", json!({"clerk_id": "user_1"})).await;
    assert_eq!(discarded.body["discarded"], 2);
    assert_eq!(
        ids(
            &get(&app, "/api/events?status=failed").await,
            "data",
            "event_id"
        ),
        [""; 0]
    );
    assert_eq!(
        app.user("user_0").await.unwrap().text("first_name"),
        Some("msg_6"),
        "the newest"
    );
    assert!(app.user("user_1").await.is_none());
}

/// A request without a selection selects no events.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_selection_is_rejected() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let events: Vec<_> = (0..5)
        .map(|n| update(&format!("msg_{n}"), &format!("user_{n}"), n))
        .collect();
    fail(&app.store, &events).await;
    for path in ["/api/events/replay", "/api/events/discard"] {
        for body in [
            json!({}),
            json!({"dry_run": true}),
            json!({"limit": 5}),
            json!({"status": "failed"}),
            json!({"all": false}),
            json!({"ids": []}),
            json!({"ids": ["msg_0"], "all": true}),
            json!({"event_type": ""}),
            json!({"typ": "user.updated"}),
        ] {
            let answer = post(&app, path, body.clone()).await;
            assert_eq!(
                (answer.status, answer.code()),
                (400, "invalid_request"),
                "{path} {body}"
            );
        }
        let empty = app.api_bytes(TOKEN, path, "").await;
        assert_eq!(
            (empty.status, empty.code()),
            (400, "invalid_request"),
            "{path}"
        );
        let said = empty.body["detail"].as_str().unwrap().to_owned();
        assert!(
            said.contains("filter") && said.contains("ids") && said.contains("\"all\": true"),
            "{said}"
        );
    }
    for (path, body) in [
        (
            "/api/events/discard?dry_run=true",
            json!({"all": true, "limit": 1}),
        ),
        (
            "/api/events/replay?dry_run=true",
            json!({"all": true, "limit": 1}),
        ),
        ("/api/events/msg_1/discard?dry_run=true", json!({})),
        ("/api/events/msg_1/replay?x", json!({})),
        (
            "/api/events/msg_1/discard",
            json!({"ids": ["msg_2"], "event_type": "user.deleted"}),
        ),
        ("/api/events/msg_1/replay", json!({"all": true})),
    ] {
        let answer = post(&app, path, body.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_request"),
            "{path} {body}"
        );
    }
    assert_eq!(
        app.store.failed_count(10).await.unwrap(),
        5,
        "nothing was done"
    );
    let tried = post(
        &app,
        "/api/events/discard",
        json!({"ids": ["msg_0", "msg_9"], "dry_run": true}),
    )
    .await;
    assert_eq!(
        tried.body,
        json!({"dry_run": true, "discarded": 1, "skipped": 1})
    );
    let tried = post(
        &app,
        "/api/events/replay",
        json!({"all": true, "dry_run": true}),
    )
    .await;
    assert_eq!(tried.body["replayed"], 5);
    let some = post(
        &app,
        "/api/events/discard",
        json!({"ids": ["msg_0", "msg_1", "msg_1", "msg_9"]}),
    )
    .await;
    assert_eq!(
        (&some.body["discarded"], &some.body["skipped"]),
        (&json!(2), &json!(1))
    );
    let some = post(
        &app,
        "/api/events/replay",
        json!({"ids": ["msg_0", "msg_2", "msg_2"]}),
    )
    .await;
    assert_eq!(
        (&some.body["replayed"], &some.body["skipped"]),
        (&json!(1), &json!(1))
    );
    until("it is applied", async || {
        app.event("msg_2").await.unwrap().status == Status::Applied
    })
    .await;
    let rest = post(&app, "/api/events/discard", json!({"all": true})).await;
    assert_eq!(rest.body["discarded"], 2);
}

#[tokio::test]
async fn an_error_names_what_is_wrong_or_unknown() {
    let place = Place::embedded();
    let app = serve(&place).await;
    for path in [
        "/api/events?status=lost",
        "/api/events?limit=0",
        "/api/users?deleted=maybe",
        "/api/users?q=x&qq=1",
    ] {
        let answer = get(&app, path).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_request"),
            "{path}"
        );
    }
    for path in [
        "/api/users/user_9",
        "/api/users/user_9/history",
        "/api/events/msg_9",
        "/api/events/no.id",
        "/api/nothing",
    ] {
        assert_eq!(get(&app, path).await.code(), "not_found", "{path}");
    }
    for body in [
        json!({"all": true, "dryrun": true}),
        json!({"all": true, "limit": 0}),
        json!([1]),
    ] {
        let answer = post(&app, "/api/events/replay", body.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_request"),
            "{body}"
        );
    }
    let huge = json!({"clerk_id": "x".repeat(70_000)});
    assert_eq!(
        post(&app, "/api/events/replay", huge).await.code(),
        "body_too_large"
    );
    assert_eq!(
        post(&app, "/api/events/msg_9/replay", json!({}))
            .await
            .code(),
        "not_found"
    );
    assert_eq!(
        post(&app, "/api/users", json!({})).await.code(),
        "method_not_allowed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_reports_that_it_has_no_database_and_a_worker_has_one() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
    ];
    let receiver = place.start(&["receiver"], &variables).await;
    let answer = get(&receiver, "/api/stats").await;
    assert_eq!((answer.status, answer.code()), (404, "not_found"));
    assert_eq!(get(&receiver, "/api/openapi.json").await.status, 200);
    let answer = get(&receiver, "/api/users").await;
    assert_eq!((answer.status, answer.code()), (404, "not_found"));
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("clerk-sync worker"),
        "{:?}",
        answer.body
    );
    let worker = place.start(&["worker"], &variables[1..]).await;
    assert_eq!(get(&worker, "/api/users").await.status, 200);
}
