//! Requests that are a little off: HEAD, a trailing slash, the wrong path or method for a webhook,
//! a `+` in an address, and the test message of Svix's own.

use clerk_sync::clerk::EventId;
use clerk_sync::clock::now;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{self, App, Place, SECOND_SECRET, SECRET, answer, signing_secret, until};
use crate::support::scrape::Scrape;

const TOKEN: &str = "correct-horse-battery-staple";

const BODY: &str = r#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

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

/// An update of a user with an e-mail address and a phone number.
fn user(id: &str, email: &str, phone: &str) -> String {
    let address = format!(
        r#"{{"id":"idn_e","email_address":"{email}","verification":{{"status":"verified"}}}}"#
    );
    let number = format!(
        r#"{{"id":"idn_p","phone_number":"{phone}","verification":{{"status":"verified"}}}}"#
    );
    format!(
        r#"{{"data":{{"id":"{id}","primary_email_address_id":"idn_e","email_addresses":[{address}],
            "primary_phone_number_id":"idn_p","phone_numbers":[{number}],"updated_at":1795172400018}},
            "timestamp":1795172400033,"type":"user.updated"}}"#
    )
}

#[tokio::test]
async fn head_is_answered_like_get_on_every_route_and_without_a_body() {
    let place = Place::embedded();
    let app = serve(&place).await;
    app.deliver("msg_1", BODY).await;
    app.settled("msg_1").await;
    let token = [("authorization".to_owned(), format!("Bearer {TOKEN}"))];
    let document = app.get("/api/openapi.json").await.unwrap().body;
    let of_api = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, methods)| methods.get("get").is_some());
    let of_api = of_api.map(|(path, _)| {
        path.replace(
            "{id}",
            if path.starts_with("/api/events") {
                "msg_1"
            } else {
                "user_1"
            },
        )
    });
    let pages = [
        "/",
        "/login",
        "/users",
        "/events",
        "/events/replay",
        "/users/user_1",
        "/nowhere",
    ]
    .map(str::to_owned);
    let mut count = 0;
    for path in of_api.chain(pages) {
        let get = app.send("GET", &path, &token, vec![]).await.unwrap();
        let head = app.send("HEAD", &path, &token, vec![]).await.unwrap();
        assert_eq!(head.status(), get.status(), "{path}");
        assert_eq!(
            head.headers().get("content-type"),
            get.headers().get("content-type"),
            "{path}"
        );
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
        count += 1;
    }
    assert!(count > 15, "{count} routes");
    let head = app
        .send("HEAD", "/api/webhooks/clerk", &[], vec![])
        .await
        .unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    let wrong = app.send("DELETE", "/healthz", &[], vec![]).await.unwrap();
    assert_eq!(
        (wrong.status().as_u16(), &wrong.headers()["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );

    // The next answer on the same connection begins where the head ends.
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let heads = "HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2);
    stream
        .write_all(
            (heads + "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(
        (
            answers.matches("HTTP/1.1 200").count(),
            answers.matches("alive").count()
        ),
        (3, 1),
        "{answers}"
    );
    assert_eq!(
        answers.matches(r#"content-length: 18"#).count(),
        3,
        "{answers}"
    );
}

#[tokio::test]
async fn one_trailing_slash_is_the_webhook_s_path_too() {
    let place = Place::embedded();
    let app = place.serve().await;
    let answer = app
        .misdeliver("POST", "/api/webhooks/clerk/", "msg_1", BODY)
        .await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &Value::from("queued")),
        "{answer:?}"
    );
    app.settled("msg_1").await;
    let scrape = Scrape::of(&app).await;
    assert_eq!(
        scrape.get(r#"clerk_sync_webhooks_total{result="queued",type="user.updated"}"#),
        Some(1.0)
    );
}

/// Paths that people have typed, and methods that a redirect or a tester has made.
const MISSES: [(&str, &str, u16); 22] = [
    ("POST", "/", 404),
    ("POST", "/api/webhooks", 404),
    ("POST", "/api/webhooks/", 404),
    ("POST", "/api/webhook/clerk", 404),
    ("POST", "/api/webhooks/clerk//", 404),
    ("POST", "//api/webhooks/clerk", 404),
    ("POST", "/API/webhooks/clerk", 404),
    ("POST", "/webhooks/clerk", 404),
    ("POST", "/api/users", 404),
    ("POST", "/healthz", 404),
    ("POST", "/users/user_1", 404),
    ("PUT", "/api/webhooks/clerk", 405),
    ("PATCH", "/api/webhooks/clerk/", 405),
    ("PUT", "/api/events/replay", 404),
    ("POST", "/api/events/replay", 404),
    ("POST", "/api/events/discard", 404),
    ("POST", "/api/events/msg_1/replay", 404),
    ("POST", "/login", 404),
    ("POST", "/events/replay", 404),
    ("GET", "/", 404),
    ("GET", "/api/users", 404),
    ("GET", "/metrics", 404),
];

#[tokio::test]
async fn a_signed_delivery_to_a_wrong_path_gets_the_right_one_and_is_counted_and_logged() {
    let place = Place::embedded();
    let app = serve(&place).await;
    for (number, (method, path, status)) in MISSES.into_iter().enumerate() {
        let answer = app
            .misdeliver(method, path, &format!("msg_{number}"), BODY)
            .await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(
            answer.headers["content-type"], "application/problem+json",
            "{method} {path}"
        );
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(
            detail.contains("POST /api/webhooks/clerk:") && detail.contains("Clerk's dashboard"),
            "{path}: {detail}"
        );
        let scrape = Scrape::of(&app).await;
        let counted =
            scrape.get(r#"clerk_sync_webhooks_total{result="not_found",type="user.updated"}"#);
        #[expect(clippy::cast_precision_loss, reason = "there are a few")]
        let expected = (number + 1) as f64;
        assert_eq!(counted, Some(expected), "{method} {path}");
    }
    let logged = |app: &App| {
        app.log()
            .iter()
            .filter(|line| line.contains("come to a wrong path"))
            .count()
    };
    until("it is logged", async || logged(&app) > 0).await;
    assert_eq!(logged(&app), 1, "once a minute");
    let log = app.log().join("\n");
    assert!(
        log.contains(r#""right_path":"/api/webhooks/clerk""#),
        "{log}"
    );
    assert!(app.event("msg_1").await.is_none(), "nothing was queued");
    assert_eq!(
        Scrape::of(&app)
            .await
            .counted("clerk_sync_secret_matches_total"),
        [],
        "no secret was of use"
    );
}

#[tokio::test]
async fn an_unsigned_request_gets_the_hint_and_counts_nothing() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let headers = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    for given in [
        headers(&[("svix-id", "msg_1")]),
        headers(&[
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1795172400"),
            ("webhook-signature", "v1,AAAA"),
        ]),
    ] {
        let large = vec![b' '; 3 * 1024 * 1024];
        // The answer may come before an unwanted body is written.
        let Some(response) = app.send("POST", "/api/webhooks", &given, large).await else {
            continue;
        };
        let answer = answer(response).await.unwrap();
        assert_eq!((answer.status, answer.code()), (404, "not_found"));
        assert!(
            answer.body["detail"]
                .to_string()
                .contains("POST /api/webhooks/clerk"),
            "{answer:?}"
        );
    }
    // A redirect from http to https turns a delivery into this.
    let signature =
        signing_secret(SECRET).sign(&EventId::new("msg_2").unwrap(), now(), BODY.as_bytes());
    let signed = app::headers("msg_2", now(), &signature);
    let redirected = answer(
        app.send("GET", "/api/webhooks/clerk", &signed, vec![])
            .await
            .unwrap(),
    )
    .await
    .unwrap();
    assert_eq!(redirected.status, 405);
    assert!(
        redirected.body["detail"].to_string().contains("redirect"),
        "{redirected:?}"
    );
    // By hand, without a header.
    let by_hand = app
        .send("POST", "/api/webhook/clerk", &[], vec![])
        .await
        .unwrap();
    assert!(
        by_hand
            .text()
            .await
            .unwrap()
            .contains("POST /api/webhooks/clerk")
    );
    let elsewhere = app.send("POST", "/nowhere", &[], vec![]).await.unwrap();
    assert!(!elsewhere.text().await.unwrap().contains("webhooks"));
    let page = app.send("POST", "/users", &[], vec![]).await.unwrap();
    assert_eq!(
        (page.status().as_u16(), &page.headers()["content-type"]),
        (405, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert_eq!(
        Scrape::of(&app).await.counted("clerk_sync_webhooks_total"),
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_names_the_path_of_webhooks() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let receiver = place
        .start(
            &["receiver"],
            &[("CLERK_WEBHOOK_SIGNING_SECRET", SECOND_SECRET)],
        )
        .await;
    let worker = place.start(&["worker"], &[]).await;
    for path in ["/", "/api/users/x", "/api/stats", "/somewhere"] {
        let detail =
            receiver.misdeliver("POST", path, "msg_1", BODY).await.body["detail"].to_string();
        assert!(
            detail.contains("webhooks go to POST /api/webhooks/clerk"),
            "{path}: {detail}"
        );
    }
    // The app of the tests signs with another secret, so nothing is counted, and it is in the log
    // all the same.
    assert_eq!(
        Scrape::of(&receiver)
            .await
            .counted("clerk_sync_webhooks_total"),
        []
    );
    until("it is logged", async || {
        receiver
            .log()
            .iter()
            .any(|line| line.contains("webhooks go to POST"))
    })
    .await;
    let answer = worker
        .misdeliver("POST", "/api/webhooks/clerk", "msg_2", BODY)
        .await;
    assert!(
        answer.status == 404
            && answer.body["detail"]
                .to_string()
                .contains("takes no webhooks"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_plus_in_an_address_or_a_number_is_a_plus() {
    let place = Place::embedded();
    let app = serve(&place).await;
    app.deliver(
        "msg_1",
        user("user_1", "ada+news@example.com", "+12025550123"),
    )
    .await;
    app.settled("msg_1").await;
    for query in [
        "email=ada+news@example.com",
        "email=ada%2Bnews%40example.com",
        "phone=+12025550123",
        "phone=%2B12025550123",
        "q=ada+news",
        "q=ada%2Bnews@example.com",
        "q=+1202",
    ] {
        let found = app
            .api(Some(TOKEN), &format!("/api/users?{query}"), None)
            .await;
        assert_eq!(
            found.body.to_string().matches(r#""user_1""#).count().min(1),
            1,
            "{query}: {}",
            found.body
        );
    }
    let events = app
        .api(
            Some(TOKEN),
            "/api/events?since=2020-01-01T00:00:00+02:00",
            None,
        )
        .await;
    assert_eq!(events.status, 200, "{}", events.body);
}

#[tokio::test]
async fn a_ping_of_svix_is_ignored_and_an_event_that_resembles_one_is_kept() {
    let place = Place::embedded();
    let app = place.serve().await;
    for (id, body) in [
        ("msg_ping", r#"{"success": true}"#),
        ("msg_empty", "{}"),
        ("msg_more", r#" {"ok":1,"a":[{}]} "#),
    ] {
        let answer = app.deliver(id, body).await;
        let status = answer.body["status"].as_str();
        assert_eq!(
            (answer.status, status, answer.body.get("type")),
            (200, Some("ignored"), None),
            "{body}"
        );
    }
    for (id, body) in [
        ("msg_typed", r#"{"type":null}"#),
        ("msg_data", r#"{"success":true,"data":null}"#),
        ("msg_spelled", r#"{"\u0074ype":7}"#),
        ("msg_array", "[]"),
        ("msg_text", r#""success""#),
        ("msg_cut", r#"{"success":true"#),
    ] {
        assert_eq!(
            app.deliver(id, body).await.body["status"],
            "queued",
            "{body}"
        );
        assert!(app.settled(id).await.error_code.is_some(), "{body}");
    }
    assert!(app.event("msg_ping").await.is_none() && app.event("msg_empty").await.is_none());
    let scrape = Scrape::of(&app).await;
    assert_eq!(
        scrape.get(r#"clerk_sync_webhooks_total{result="ignored",type="other"}"#),
        Some(3.0)
    );
    assert_eq!(
        scrape.get("clerk_sync_failed_events"),
        Some(6.0),
        "and no alert's counter counts a ping"
    );
}
