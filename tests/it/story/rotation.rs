//! A signing secret changes while the program runs.

use clerk_sync::clerk::EventId;
use clerk_sync::clock::now;

use crate::support::app::{App, Place, SECOND_SECRET, SECRET, headers, signing_secret, until};

const BODY: &[u8] =
    br#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

async fn status_with(app: &App, secret: &str) -> u16 {
    let id = EventId::new("msg_1").unwrap();
    let signature = signing_secret(secret).sign(&id, now(), BODY);
    app.post(&headers("msg_1", now(), &signature), BODY.to_vec())
        .await
        .unwrap()
        .status
}

#[tokio::test]
async fn secrets_are_read_again_on_sighup() {
    let place = Place::embedded();
    let file = place.directory().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let app = place
        .start(
            &["serve"],
            &[("CLERK_WEBHOOK_SIGNING_SECRET_FILE", file.to_str().unwrap())],
        )
        .await;
    assert_eq!(status_with(&app, SECRET).await, 200);
    assert_eq!(status_with(&app, SECOND_SECRET).await, 400);

    std::fs::write(&file, format!("{SECRET}\n{SECOND_SECRET}\n")).unwrap();
    app.signal("HUP");
    until("both secrets are in force", async || {
        status_with(&app, SECOND_SECRET).await == 200
    })
    .await;
    assert_eq!(status_with(&app, SECRET).await, 200);

    std::fs::write(&file, SECOND_SECRET).unwrap();
    app.signal("HUP");
    until("the old secret is out", async || {
        status_with(&app, SECRET).await == 400
    })
    .await;
    assert_eq!(status_with(&app, SECOND_SECRET).await, 200);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_leaves_the_one_before_in_force() {
    let place = Place::embedded();
    let file = place.directory().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let app = place
        .start(
            &["serve"],
            &[("CLERK_WEBHOOK_SIGNING_SECRET_FILE", file.to_str().unwrap())],
        )
        .await;
    for broken in ["", "not a secret", "whsec_!"] {
        let before = app.log().len();
        std::fs::write(&file, broken).unwrap();
        app.signal("HUP");
        until("the log says so", async || app.log().len() > before).await;
        let line = app.log().pop().unwrap();
        assert!(
            line.contains("CLERK_WEBHOOK_SIGNING_SECRET") && line.contains("ERROR"),
            "{line}"
        );
        assert_eq!(status_with(&app, SECRET).await, 200);
    }
}

#[tokio::test]
async fn an_admin_token_is_changed_and_taken_away_on_sighup() {
    const OLD: &str = "an-old-token-of-some-length";
    const NEW: &str = "a-new-token-of-some-length";
    let place = Place::embedded();
    let dotenv = place.directory().join(".env");
    std::fs::write(&dotenv, format!("ADMIN_TOKEN={OLD}\n")).unwrap();
    let app = place
        .start(&["serve"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    let status = async |token| app.api(Some(token), "/api/users", None).await.status;
    assert_eq!((status(OLD).await, status(NEW).await), (200, 401));
    std::fs::write(&dotenv, format!("ADMIN_TOKEN={NEW}\n")).unwrap();
    app.signal("HUP");
    until("the new one is in force", async || status(NEW).await == 200).await;
    assert_eq!(status(OLD).await, 401);
    std::fs::write(&dotenv, "").unwrap();
    app.signal("HUP");
    until("none is in force", async || status(NEW).await == 403).await;
}

/// Deliveries under the secret that is in force all the while, through many rotations: each is
/// answered with 200.
#[tokio::test(flavor = "multi_thread")]
async fn no_delivery_is_dropped_while_secrets_are_read_again() {
    let place = Place::embedded();
    let file = place.directory().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let app = place
        .start(
            &["serve"],
            &[("CLERK_WEBHOOK_SIGNING_SECRET_FILE", file.to_str().unwrap())],
        )
        .await;
    let rotations = async {
        for number in 0..20 {
            let both = if number % 2 == 0 {
                format!("{SECOND_SECRET},{SECRET}")
            } else {
                SECRET.to_owned()
            };
            // A reader must not see half of it.
            std::fs::write(file.with_extension("new"), both).unwrap();
            std::fs::rename(file.with_extension("new"), &file).unwrap();
            app.signal("HUP");
            let expected = if number % 2 == 0 { 200 } else { 400 };
            until("it is in force", async || {
                status_with(&app, SECOND_SECRET).await == expected
            })
            .await;
        }
    };
    let mut delivered = 0;
    let deliveries = async {
        loop {
            let answers =
                futures_util::future::join_all((0..16).map(|_| status_with(&app, SECRET))).await;
            assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
            delivered += answers.len();
        }
    };
    tokio::select! {
        () = rotations => {}
        () = deliveries => unreachable!(),
    }
    assert!(delivered > 100, "{delivered} deliveries");
}
