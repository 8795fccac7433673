//! Every kind of invalid delivery is rejected with its own code, and is not queued.

use clerk_sync::clerk::{Delivery, EventId, Timestamp, Verifier};
use clerk_sync::clock::now;
use serde_json::Value;

use crate::support::app::{App, Place, SECOND_SECRET, SECRET, headers, signing_secret};

const BODY: &[u8] = br#"{"data":{"id":"user_1","object":"user","updated_at":1795172400018},"object":"event","timestamp":1795172400033,"type":"user.updated"}"#;

fn sign(secret: &str, id: &str, at: Timestamp, body: &[u8]) -> String {
    signing_secret(secret).sign(&EventId::new(id).unwrap(), at, body)
}

fn seconds_from_now(seconds: i64) -> Timestamp {
    Timestamp::from_ms(now().ms() + seconds * 1000).unwrap()
}

/// Headers that would be taken, to be spoilt.
fn good(id: &str) -> Vec<(String, String)> {
    headers(id, now(), &sign(SECRET, id, now(), BODY))
}

fn replaced(id: &str, name: &str, value: &str) -> Vec<(String, String)> {
    let mut headers = good(id);
    headers
        .iter_mut()
        .find(|(header, _)| header == name)
        .unwrap()
        .1 = value.into();
    headers
}

fn without(id: &str, name: &str) -> Vec<(String, String)> {
    good(id)
        .into_iter()
        .filter(|(header, _)| header != name)
        .collect()
}

fn doubled(id: &str, name: &str) -> Vec<(String, String)> {
    let mut headers = good(id);
    let again = headers
        .iter()
        .find(|(header, _)| header == name)
        .unwrap()
        .clone();
    headers.push(again);
    headers
}

#[test]
fn the_published_vectors_verify_and_nothing_near_them_does() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../../samples/signature_vectors.json")).unwrap();
    let mut checked = 0;
    for vector in vectors.iter().filter(|vector| vector["scheme"] == "v1") {
        let text = |name: &str| vector[name].as_str().unwrap().to_owned();
        let sent_at = Timestamp::from_seconds(vector["timestamp"].as_i64().unwrap()).unwrap();
        let verify = |secret: &str, body: String| {
            let headers = headers(&text("id"), sent_at, &text("signature"));
            let pairs = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes()));
            let delivery = Delivery::read(pairs, sent_at).unwrap();
            Verifier::new(vec![signing_secret(secret)]).verify(delivery, body.into(), sent_at)
        };
        assert!(verify(&text("secret"), text("payload")).is_ok(), "{vector}");
        assert!(
            verify(&text("secret"), text("payload") + " ").is_err(),
            "{vector}"
        );
        assert!(verify(SECOND_SECRET, text("payload")).is_err(), "{vector}");
        checked += 1;
    }
    assert_eq!(checked, 2);
}

#[tokio::test]
async fn a_delivery_with_wrong_headers_is_rejected_with_its_code() {
    let place = Place::embedded();
    let app = place.serve().await;
    let long = "x".repeat(100 * 1024);
    let at = |seconds: i64| (seconds_from_now(seconds).ms() / 1000).to_string();
    let cases = [
        ("missing_header", without("msg_bad", "svix-id")),
        ("missing_header", without("msg_bad", "svix-timestamp")),
        ("missing_header", without("msg_bad", "svix-signature")),
        ("missing_header", Vec::new()),
        ("invalid_header", doubled("msg_bad", "svix-id")),
        ("invalid_header", doubled("msg_bad", "svix-timestamp")),
        ("invalid_header", doubled("msg_bad", "svix-signature")),
        ("invalid_header", replaced("msg_bad", "svix-id", "")),
        ("invalid_header", replaced("msg_bad", "svix-id", "msg.bad")),
        ("invalid_header", replaced("msg_bad", "svix-id", "msg bad")),
        ("invalid_header", replaced("msg_bad", "svix-id", "msg_bäd")),
        (
            "invalid_header",
            replaced("msg_bad", "svix-id", &"x".repeat(256)),
        ),
        ("invalid_header", replaced("msg_bad", "svix-id", &long)),
        ("invalid_header", replaced("msg_bad", "svix-timestamp", "")),
        (
            "invalid_header",
            replaced("msg_bad", "svix-timestamp", "yesterday"),
        ),
        (
            "invalid_header",
            replaced("msg_bad", "svix-timestamp", "-1"),
        ),
        (
            "invalid_header",
            replaced("msg_bad", "svix-timestamp", &format!("+{}", at(0))),
        ),
        (
            "invalid_header",
            replaced("msg_bad", "svix-timestamp", &long),
        ),
        ("invalid_header", replaced("msg_bad", "svix-signature", "")),
        (
            "invalid_header",
            replaced("msg_bad", "svix-signature", &long),
        ),
        (
            "timestamp_out_of_tolerance",
            replaced("msg_bad", "svix-timestamp", &at(-310)),
        ),
        (
            "timestamp_out_of_tolerance",
            replaced("msg_bad", "svix-timestamp", &at(310)),
        ),
        (
            "invalid_signature",
            replaced("msg_bad", "svix-timestamp", &at(-10)),
        ),
        (
            "invalid_signature",
            replaced("msg_bad", "svix-id", "msg_other"),
        ),
        (
            "invalid_signature",
            replaced("msg_bad", "svix-signature", "v1,"),
        ),
        (
            "invalid_signature",
            replaced("msg_bad", "svix-signature", "nonsense"),
        ),
        (
            "invalid_signature",
            replaced("msg_bad", "svix-signature", &good("msg_bad")[2].1[..40]),
        ),
        (
            "invalid_signature",
            replaced(
                "msg_bad",
                "svix-signature",
                &good("msg_bad")[2].1.replace("v1,", "v2,"),
            ),
        ),
        (
            "invalid_signature",
            replaced(
                "msg_bad",
                "svix-signature",
                &sign(SECOND_SECRET, "msg_bad", now(), BODY),
            ),
        ),
    ];
    for (number, (code, headers)) in cases.into_iter().enumerate() {
        let answer = app
            .post(&headers, BODY.to_vec())
            .await
            .unwrap_or_else(|| panic!("case {number} got no answer"));
        assert_eq!(
            (answer.status, answer.code()),
            (400, code),
            "case {number}: {:?}",
            answer.body
        );
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.body["status"], 400);
        assert!(
            answer.body["title"].is_string()
                && answer.body["detail"].is_string()
                && answer.body["type"].is_string()
        );
        let param = answer.body["param"].as_str();
        assert_eq!(
            param.is_some_and(|param| param.starts_with("svix-")),
            code != "invalid_signature",
            "case {number}: {param:?}"
        );
    }
    only_good_ones_were_queued(&app, "msg_bad").await;
    let refusals = app
        .log()
        .iter()
        .filter(|line| line.contains("requests are rejected"))
        .count();
    assert!(
        (4..=8).contains(&refusals),
        "each kind is said, and not each delivery: {refusals} lines"
    );
}

#[tokio::test]
async fn every_changed_body_is_rejected() {
    let place = Place::embedded();
    let app = place.serve().await;
    let mut flipped = BODY.to_vec();
    flipped[20] ^= 1;
    for body in [
        flipped,
        [BODY, b" "].concat(),
        BODY[1..].to_vec(),
        BODY[..BODY.len() - 1].to_vec(),
        Vec::new(),
    ] {
        let answer = app.post(&good("msg_bad"), body).await.unwrap();
        assert_eq!((answer.status, answer.code()), (400, "invalid_signature"));
    }
    only_good_ones_were_queued(&app, "msg_bad").await;
}

#[tokio::test]
async fn an_old_body_cannot_be_replayed_by_moving_the_boundaries() {
    // Somebody holds a delivery that was signed long ago, whose body happens to hold `.NOW.`: read
    // with other boundaries, the very same signed bytes are ID `old.body`, time NOW and another
    // body.
    let now_s = now().ms() / 1000;
    let old_time = now_s - 100_000;
    let captured = format!(
        "{{\"note\":\"x\"}}.{now_s}.{}",
        String::from_utf8_lossy(BODY)
    );
    let old = Timestamp::from_seconds(old_time).unwrap();
    let signature = sign(SECRET, "msg_old", old, captured.as_bytes());
    let moved_id = format!("msg_old.{old_time}.{{\"note\":\"x\"}}");

    let place = Place::embedded();
    let app = place.serve().await;
    let forged = vec![
        ("svix-id".to_string(), moved_id),
        ("svix-timestamp".into(), now_s.to_string()),
        ("svix-signature".into(), signature),
    ];
    let answer = app.post(&forged, BODY.to_vec()).await.unwrap();
    assert_eq!((answer.status, answer.code()), (400, "invalid_header"));
    assert!(app.user("user_1").await.is_none());
}

#[tokio::test]
async fn every_valid_form_of_a_delivery_is_accepted() {
    let place = Place::embedded();
    let both = format!("{SECOND_SECRET}, {SECRET}");
    let app = place
        .start(&["serve"], &[("CLERK_WEBHOOK_SIGNING_SECRET", &both)])
        .await;
    let signature = |id: &str, secret: &str| sign(secret, id, now(), BODY);
    let unbranded = |headers: Vec<(String, String)>| {
        headers
            .into_iter()
            .map(|(name, value)| (name.replace("svix-", "webhook-"), value))
            .collect::<Vec<_>>()
    };
    let last_of_many = format!(
        "v1,{} v1a,abcd v2,x {}",
        "A".repeat(43) + "=",
        signature("msg_4", SECRET)
    );
    let cases = [
        ("msg_1", good("msg_1")),
        (
            "msg_2",
            headers("msg_2", now(), &signature("msg_2", SECOND_SECRET)),
        ),
        ("msg_3", unbranded(good("msg_3"))),
        ("msg_4", headers("msg_4", now(), &last_of_many)),
        (
            "msg_5",
            headers(
                "msg_5",
                seconds_from_now(-290),
                &sign(SECRET, "msg_5", seconds_from_now(-290), BODY),
            ),
        ),
        (
            "msg_6",
            headers(
                "msg_6",
                seconds_from_now(290),
                &sign(SECRET, "msg_6", seconds_from_now(290), BODY),
            ),
        ),
        ("msg-7_X", good("msg-7_X")),
        // The svix family counts where it is there, whatever stands in the other.
        (
            "msg_8",
            [
                good("msg_8"),
                vec![("webhook-id".into(), "msg_other".into())],
            ]
            .concat(),
        ),
    ];
    for (id, headers) in cases {
        let answer = app.post(&headers, BODY.to_vec()).await.unwrap();
        assert_eq!(answer.status, 200, "{id}: {:?}", answer.body);
        app.settled(id).await;
    }
}

/// A good delivery after the bad ones is applied, and none of the bad ones is there.
async fn only_good_ones_were_queued(app: &App, bad: &str) {
    assert_eq!(
        app.post(&good("msg_good"), BODY.to_vec())
            .await
            .unwrap()
            .status,
        200
    );
    app.settled("msg_good").await;
    assert!(app.event(bad).await.is_none());
}
