//! The token for applications, which reads and does nothing else.

use serde_json::{Value, json};

use crate::support::app::{Answer, App, Place, SECRET, until};
use crate::support::history::{fail, update};

const ADMIN: &str = "correct-horse-battery-staple";
const READER: &str = "reads-and-does-nothing-else";

async fn serve(place: &Place, more: &[(&str, &str)]) -> App {
    let needed = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("READ_TOKEN", READER),
    ];
    place.start(&["serve"], &[&needed, more].concat()).await
}

async fn read(app: &App, path: &str) -> Answer {
    app.api(Some(READER), path, None).await
}

/// One failed event with its payload, and the row of another one, with private metadata.
async fn fill(app: &App) {
    fail(&app.store, &[update("msg_1", "user_1", 10)]).await;
    let body = String::from_utf8(update("msg_2", "user_2", 10).body().to_vec()).unwrap();
    let body = body.replace(r#""id":"#, r#""private_metadata":{"plan":"gold"},"id":"#);
    assert_eq!(app.deliver("msg_2", body).await.status, 200);
    app.settled("msg_2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_rows_without_what_is_private_and_changes_nothing() {
    let place = Place::embedded();
    let app = serve(&place, &[("ADMIN_TOKEN", ADMIN)]).await;
    fill(&app).await;
    for path in ["/api/users?q=user_2", "/api/users/user_2"] {
        let answer = read(&app, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.body.to_string();
        assert!(
            text.contains("first_name") && !text.contains("gold"),
            "{text}"
        );
        assert!(
            !text.contains("\"data\":{") && !text.contains("private_metadata"),
            "{text}"
        );
    }
    let event = read(&app, "/api/events/msg_1").await.body;
    assert_eq!(event["error_code"], "delivery_limit");
    assert!(event.get("payload").is_none() && event.get("payload_json").is_none());
    for path in ["/api/events", "/api/users/user_2/history", "/api/stats"] {
        assert_eq!(read(&app, path).await.status, 200, "{path}");
    }
    for path in [
        "/api/users?fields=data",
        "/api/users/user_2?fields=clerk_id,private_metadata",
        "/api/events/msg_1?fields=payload",
    ] {
        let refused = read(&app, path).await;
        assert_eq!(
            (refused.status, refused.code()),
            (403, "forbidden"),
            "{path}"
        );
        assert_eq!(refused.body["param"], "fields");
    }
    for path in [
        "/api/events/replay",
        "/api/events/discard",
        "/api/events/msg_1/replay",
        "/api/events/msg_1/discard",
    ] {
        let body = json!({"all": true});
        let refused = app.api(Some(READER), path, Some(body)).await;
        assert_eq!(
            (refused.status, refused.code()),
            (403, "forbidden"),
            "{path}"
        );
    }
    assert_eq!(
        app.store.failed_count(10).await.unwrap(),
        1,
        "nothing was done"
    );
    let whole = app.api(Some(ADMIN), "/api/users/user_2", None).await.body;
    assert_eq!(whole["private_metadata"], json!({"plan": "gold"}));

    let login = format!("token={READER}&next=%2F");
    let headers = [(
        "content-type".into(),
        "application/x-www-form-urlencoded".into(),
    )];
    let refused = app
        .send("POST", "/login", &headers, login.into_bytes())
        .await;
    assert!(
        !refused.unwrap().headers().contains_key("set-cookie"),
        "it opens no dashboard"
    );
    assert!(app.log().iter().all(|line| !line.contains(READER)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_everything_where_that_is_set() {
    let place = Place::embedded();
    let app = serve(&place, &[("READ_PRIVATE", "true")]).await;
    fill(&app).await;
    let user = read(&app, "/api/users/user_2").await.body;
    assert_eq!(user["private_metadata"], json!({"plan": "gold"}));
    assert!(user["data"].is_object());
    assert!(read(&app, "/api/events/msg_1").await.body["payload"].is_string());
    assert_eq!(read(&app, "/api/users?fields=data").await.status, 200);
    // Without an admin token no one replays.
    let refused = app
        .api(Some(READER), "/api/events/msg_1/replay", Some(Value::Null))
        .await;
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
}

#[tokio::test]
async fn the_token_is_read_again_on_sighup_and_is_not_the_admin_token() {
    let place = Place::embedded();
    let file = place.directory().join("token");
    std::fs::write(&file, READER).unwrap();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("READ_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let app = place.start(&["serve"], &variables).await;
    assert_eq!(read(&app, "/api/users").await.status, 200);
    std::fs::write(&file, "another-token-of-some-length").unwrap();
    app.signal("HUP");
    until("the old token is out", async || {
        read(&app, "/api/users").await.status == 401
    })
    .await;
    drop(app);

    for (token, said) in [
        (ADMIN, "is the same as ADMIN_TOKEN"),
        ("short", "16 characters"),
    ] {
        let mut command = place.command(&["users", "list"]);
        let output = command
            .env("ADMIN_TOKEN", ADMIN)
            .env("READ_TOKEN", token)
            .output();
        let output = output.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains("READ_TOKEN") && error.contains(said),
            "{error}"
        );
        assert!(!error.contains(token), "{error}");
    }
}
