//! What all routes of the API have in common: names, problems, fields, tags and tokens.

use clerk_sync::store::Status;
use serde_json::{Value, json};

use crate::support::app::{Answer, App, Place, SECRET, answer};
use crate::support::history::{fail, update};

const TOKEN: &str = "correct-horse-battery-staple";

async fn serve(place: &Place, more: &[(&str, &str)]) -> App {
    let needed = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
    ];
    place.start(&["serve"], &[&needed, more].concat()).await
}

async fn get(app: &App, path: &str) -> Answer {
    app.api(Some(TOKEN), path, None).await
}

/// Asks with further headers; the bytes of the answer as they came.
async fn ask(app: &App, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut headers: Vec<_> = headers.iter().map(own).collect();
    headers.push(("authorization".into(), format!("Bearer {TOKEN}")));
    app.send("GET", path, &headers, Vec::new()).await.unwrap()
}

/// Who used an older name reads the newer one, and nothing is done.
#[tokio::test]
async fn an_older_name_is_answered_with_the_newer_one() {
    let place = Place::embedded();
    let app = serve(&place, &[]).await;
    fail(&app.store, &[update("msg_1", "user_1", 10)]).await;
    for (old, new) in [("type", "event_type"), ("user", "clerk_id")] {
        let said = format!("{old} is called {new} now");
        let listed = get(&app, &format!("/api/events?status=failed&{old}=x")).await;
        let body = json!({old: "x"});
        let replayed = app.api(Some(TOKEN), "/api/events/replay", Some(body)).await;
        for refused in [listed, replayed] {
            assert_eq!((refused.status, refused.code()), (400, "invalid_request"));
            assert_eq!(
                (&refused.body["detail"], &refused.body["param"]),
                (&json!(said), &json!(old))
            );
        }
        // A list that never had the filter does not know its name.
        let users = get(&app, &format!("/api/users?{old}=x")).await;
        assert_eq!((users.status, users.body.get("param")), (400, None));
    }
    let found = get(&app, "/api/events?event_type=user.updated&clerk_id=user_1").await;
    assert_eq!(found.body["data"][0]["event_id"], "msg_1");
    assert_eq!(app.event("msg_1").await.unwrap().status, Status::Failed);
}

#[tokio::test]
async fn a_problem_names_the_parameter_and_the_request() {
    let place = Place::embedded();
    let app = serve(&place, &[]).await;
    for (path, param) in [
        ("/api/events?limit=0", "limit"),
        ("/api/events?since=soon", "since"),
        ("/api/users?deleted=maybe", "deleted"),
        ("/api/users?email=a%00b", "email"),
    ] {
        let refused = get(&app, path).await;
        assert_eq!(
            (refused.status, &refused.body["param"]),
            (400, &json!(param)),
            "{path}"
        );
        assert_eq!(refused.body["type"], "docs/errors.md#invalid_request");
    }
    let body = json!({"all": true, "rate": 0});
    let refused = app.api(Some(TOKEN), "/api/events/replay", Some(body)).await;
    assert_eq!(
        (refused.status, &refused.body["param"]),
        (400, &json!("rate"))
    );

    let one = get(&app, "/api/users/user_9").await;
    let other = get(&app, "/api/users/user_9").await;
    let id = one.body["request_id"].as_str().unwrap();
    assert_eq!(one.headers["x-request-id"], id);
    assert!(id.starts_with("req_") && other.body["request_id"] != id);
    assert_eq!(one.body.get("param"), None);

    let given = ask(
        &app,
        "/api/users/user_9",
        &[("x-request-id", "trace-7.a_b")],
    )
    .await;
    let given = answer(given).await.unwrap();
    assert_eq!(given.headers["x-request-id"], "trace-7.a_b");
    assert_eq!(given.body["request_id"], "trace-7.a_b");
    for long_or_strange in ["ada@example.com", "a b", &"x".repeat(65)] {
        let made = ask(&app, "/healthz", &[("x-request-id", long_or_strange)]).await;
        let made = made.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(made.starts_with("req_"), "{made}");
    }
}

/// Who has the ID of an answer that failed finds the reason in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_in_the_log_under_the_id_of_the_request() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let app = serve(&place, &[]).await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let mut connection = database.connect().await;
    sqlx::Executor::execute(&mut connection, "alter schema clerk rename to elsewhere")
        .await
        .unwrap();
    let failed = get(&app, "/api/users/user_1").await;
    assert_eq!(
        (failed.status, failed.code()),
        (503, "database_unavailable")
    );
    let id = failed.body["request_id"].as_str().unwrap();
    let log = app.log();
    let line = log
        .iter()
        .find(|line| line.contains(id))
        .expect("a line has the ID");
    let line: Value = serde_json::from_str(line).unwrap();
    let line = line.to_string();
    assert!(
        line.contains("/api/users/{id}") && line.contains("database_unavailable"),
        "{line}"
    );
    assert!(!line.contains("user_1"), "{line}");
}

/// A list is for choosing: it leaves out the longest column, unless it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_fields_that_are_asked_for() {
    let place = Place::embedded();
    let app = serve(&place, &[("EVENT_PAYLOADS", "all")]).await;
    // A number that no double can hold.
    let body = update("msg_1", "user_1", 10).body().to_vec();
    let body = String::from_utf8(body).unwrap();
    let body = body.replace(
        r#""id":"#,
        r#""private_metadata":{"n":12345678901234567890123},"id":"#,
    );
    assert_eq!(app.deliver("msg_1", body).await.status, 200);
    app.settled("msg_1").await;

    let list = get(&app, "/api/users").await.body;
    let row = list["data"][0].as_object().unwrap();
    assert!(
        row.contains_key("private_metadata") && !row.contains_key("data"),
        "{row:?}"
    );
    let list = get(&app, "/api/users?fields=data,clerk_id").await.body;
    let row = list["data"][0].as_object().unwrap();
    assert_eq!(row.keys().collect::<Vec<_>>(), ["clerk_id", "data"]);
    let one = ask(
        &app,
        "/api/users/user_1?fields=private_metadata,clerk_id",
        &[],
    )
    .await;
    assert_eq!(
        one.text().await.unwrap(),
        r#"{"clerk_id":"user_1","private_metadata":{"n":12345678901234567890123}}"#
    );
    assert!(
        get(&app, "/api/users/user_1").await.body["data"].is_object(),
        "one row is whole"
    );

    let list = get(&app, "/api/events?fields=event_id,status").await.body;
    assert_eq!(
        list["data"],
        json!([{"event_id": "msg_1", "status": "applied"}])
    );
    let list = get(&app, "/api/users/user_1/history?fields=why").await.body;
    assert_eq!(list["data"], json!([{"why": "it changed the row"}]));
    let one = get(&app, "/api/events/msg_1?fields=payload_json")
        .await
        .body;
    assert_eq!(one["payload_json"]["data"]["id"], "user_1");
    let one = get(&app, "/api/events/msg_1").await.body;
    assert!(
        one["payload"]
            .as_str()
            .unwrap()
            .contains("12345678901234567890123")
    );
    assert!(one["payload_json"].is_object());
    let printed = place.succeed(&["events", "show", "msg_1", "--json"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["payload_json"]["type"], "user.updated");

    for path in [
        "/api/users?fields=clerk_id,password",
        "/api/events?fields=payload",
        "/api/users/user_1?fields=",
        "/api/events/msg_1?fields=email",
    ] {
        let refused = get(&app, path).await;
        assert_eq!(
            (refused.status, &refused.body["param"]),
            (400, &json!("fields")),
            "{path}"
        );
    }
    let unknown = get(&app, "/api/users/user_1?field=email").await;
    assert_eq!((unknown.status, unknown.code()), (400, "invalid_request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_read_by_their_ids() {
    let place = Place::embedded();
    let app = serve(&place, &[]).await;
    let events: Vec<_> = (0..3)
        .map(|n| update(&format!("msg_{n}"), &format!("user_{n}"), n))
        .collect();
    fail(&app.store, &events).await;
    for event in &events {
        let answer = app.deliver("msg_x", event.body().to_vec()).await;
        assert_eq!(answer.status, 200);
    }
    app.settled("msg_x").await;
    let names = |list: &Value, name: &str| -> Vec<String> {
        let rows = list["data"].as_array().unwrap().iter();
        rows.map(|row| row[name].as_str().unwrap().to_owned())
            .collect()
    };
    let found = get(&app, "/api/users?ids=user_9,user_0&deleted=false")
        .await
        .body;
    assert_eq!(
        (names(&found, "clerk_id"), &found["next"]),
        (vec!["user_0".into()], &Value::Null)
    );
    let found = get(
        &app,
        "/api/events?ids=msg_2,msg_0,no_such&status=failed&fields=event_id",
    )
    .await;
    assert_eq!(names(&found.body, "event_id").len(), 2);
    let hundred = vec!["user_0"; 100].join(",");
    assert_eq!(
        get(&app, &format!("/api/users?ids={hundred}")).await.status,
        200
    );
    for path in [
        format!("/api/users?ids={hundred},user_0"),
        "/api/users?ids=".into(),
        "/api/users?ids=user_0,,user_1".into(),
        "/api/events?ids=no.id".into(),
    ] {
        let refused = get(&app, &path).await;
        assert_eq!(
            (refused.status, &refused.body["param"]),
            (400, &json!("ids")),
            "{path}"
        );
    }
}

/// Who has the row already is sent it again only after a change.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_has_not_changed_is_not_sent_again() {
    let place = Place::embedded();
    let app = serve(&place, &[]).await;
    let deliver = async |id: &str, ms| {
        let body = update(id, "user_1", ms).body().to_vec();
        assert_eq!(app.deliver(id, body).await.status, 200);
        app.settled(id).await;
    };
    deliver("msg_1", 10).await;
    for path in [
        "/api/users/user_1",
        "/api/events/msg_1",
        "/api/users/user_1?fields=email",
    ] {
        let first = ask(&app, path, &[]).await;
        assert_eq!(first.headers()["cache-control"], "private, no-cache");
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        for known in [&*tag, "*", &format!("\"x\", {tag}")] {
            let again = ask(&app, path, &[("if-none-match", known)]).await;
            assert_eq!(again.status(), 304, "{path} {known}");
            assert_eq!(again.headers()["etag"], &*tag);
            assert_eq!(again.text().await.unwrap(), "");
        }
        let other = ask(&app, path, &[("if-none-match", "\"x\"")]).await;
        assert_eq!(other.status(), 200);
    }
    let tag = ask(&app, "/api/users/user_1", &[]).await.headers()["etag"].clone();
    deliver("msg_2", 20).await;
    let known = [("if-none-match", tag.to_str().unwrap())];
    let changed = ask(&app, "/api/users/user_1", &known).await;
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.headers()["etag"], tag);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_compressed_where_the_client_accepts_it() {
    let place = Place::embedded();
    let app = serve(&place, &[]).await;
    let events: Vec<_> = (0..300)
        .map(|n| update(&format!("msg_{n}"), &format!("user_{n}"), n))
        .collect();
    fail(&app.store, &events).await;
    for path in ["/api/events?limit=10", "/api/events?limit=300"] {
        let plain = ask(&app, path, &[]).await;
        assert!(!plain.headers().contains_key("content-encoding"));
        assert_eq!(plain.headers()["vary"], "accept-encoding");
        let plain = plain.bytes().await.unwrap();
        let compressed = ask(&app, path, &[("accept-encoding", "br, gzip")]).await;
        assert_eq!(compressed.headers()["content-encoding"], "gzip", "{path}");
        assert_eq!(compressed.headers()["content-type"], "application/json");
        let length: usize = compressed.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let compressed = compressed.bytes().await.unwrap();
        assert!(
            compressed.len() == length && length * 4 < plain.len(),
            "{length} of {}",
            plain.len()
        );
        let mut text = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&*compressed);
        std::io::Read::read_to_end(&mut decoder, &mut text).unwrap();
        assert_eq!(text, plain);
    }
    // Short answers, the dashboard's pages and the webhook's answers never are.
    let accepts = ("accept-encoding".to_owned(), "gzip".to_owned());
    for (method, path) in [
        ("GET", "/api/events?limit=1&fields=event_id"),
        ("GET", "/login"),
        ("POST", "/api/webhooks/clerk"),
    ] {
        let headers = [
            accepts.clone(),
            ("authorization".into(), format!("Bearer {TOKEN}")),
        ];
        let answer = app.send(method, path, &headers, Vec::new()).await.unwrap();
        assert!(!answer.headers().contains_key("content-encoding"), "{path}");
    }
}

/// The other way round, page by page, by the cursors alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_the_order_that_is_asked_for() {
    for place in [Place::embedded(), Place::servers().await] {
        let app = serve(&place, &[]).await;
        let person = |n: usize, address: Option<&str>| {
            let emails = address.map(|text| json!([{"email_address": text, "id": "e"}]));
            let data = json!({
                "id": format!("user_{n}"), "updated_at": 1_795_172_400_000_i64,
                "email_addresses": emails.unwrap_or(json!([])), "primary_email_address_id": address.map(|_| "e"),
            });
            json!({"data": data, "type": "user.created"}).to_string()
        };
        let people = [
            Some("b@x.com"),
            None,
            Some("A@x.com"),
            Some("a@x.com"),
            None,
        ];
        for (n, address) in people.into_iter().enumerate() {
            app.deliver(&format!("msg_{n}"), person(n, address)).await;
            app.settled(&format!("msg_{n}")).await;
        }
        for (list, key, expected) in [
            (
                "/api/users?sort=email",
                "clerk_id",
                ["user_2", "user_3", "user_0", "user_1", "user_4"],
            ),
            (
                "/api/users?sort=-email",
                "clerk_id",
                ["user_0", "user_3", "user_2", "user_4", "user_1"],
            ),
            (
                "/api/users?sort=clerk_id",
                "clerk_id",
                ["user_0", "user_1", "user_2", "user_3", "user_4"],
            ),
            (
                "/api/events?sort=received_at",
                "event_id",
                ["msg_0", "msg_1", "msg_2", "msg_3", "msg_4"],
            ),
            (
                "/api/events?sort=-received_at",
                "event_id",
                ["msg_4", "msg_3", "msg_2", "msg_1", "msg_0"],
            ),
        ] {
            let (mut ids, mut path) = (Vec::new(), format!("{list}&limit=2"));
            loop {
                let page = get(&app, &path).await;
                assert_eq!(page.status, 200, "{path}: {}", page.body);
                let rows = page.body["data"].as_array().unwrap();
                ids.extend(rows.iter().map(|row| row[key].as_str().unwrap().to_owned()));
                let Some(next) = page.body["next"].as_str() else {
                    break;
                };
                let (route, _) = list.split_once('?').unwrap();
                path = format!("{route}?limit=2&cursor={next}");
            }
            assert_eq!(ids, expected, "{list}");
        }
        for (path, param, says) in [
            (
                "/api/users?sort=created_at",
                "sort",
                "clerk_id, -clerk_id, email, -email, phone",
            ),
            (
                "/api/events?sort=processed_at",
                "sort",
                "received_at, -received_at",
            ),
            (
                "/api/users?sort=email&q=a",
                "sort",
                "with q the order is -clerk_id",
            ),
            (
                "/api/users?sort=email&deleted=true",
                "sort",
                "clerk_id or -clerk_id",
            ),
            ("/api/users?cursor=s.email..user_1&q=a", "sort", "with q"),
            (
                "/api/users?cursor=s.received_at.vNQ.msg_1",
                "cursor",
                "next",
            ),
            (
                "/api/events?sort=received_at&cursor=e.5.msg_1",
                "cursor",
                "sort=-received_at",
            ),
            (
                "/api/users?sort=email&cursor=u.user_3",
                "cursor",
                "sort=-clerk_id",
            ),
        ] {
            let refused = get(&app, path).await;
            assert_eq!((refused.status, refused.code()), (400, "invalid_request"));
            assert_eq!(refused.body["param"], param, "{path}");
            assert!(
                refused.body["detail"].as_str().unwrap().contains(says),
                "{}",
                refused.body
            );
        }

        let by_address = place.succeed(&[
            "users", "list", "--sort", "-email", "--json", "--limit", "1",
        ]);
        assert!(
            by_address.contains(r#""clerk_id":"user_0""#),
            "{by_address}"
        );
        let oldest = place.succeed(&[
            "events",
            "list",
            "--sort",
            "received_at",
            "--json",
            "--limit",
            "1",
        ]);
        assert!(oldest.contains(r#""event_id":"msg_0""#), "{oldest}");
        for wrong in [
            &["users", "list", "--sort", "created_at"][..],
            &["users", "list", "--sort", "email", "ada"],
            &["users", "list", "--cursor", "e.5.msg_1"],
            &[
                "events",
                "list",
                "--sort",
                "received_at",
                "--cursor",
                "e.5.msg_1",
            ],
        ] {
            assert_eq!(place.run(wrong).status.code(), Some(2), "{wrong:?}");
        }
    }
}
