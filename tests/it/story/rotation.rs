//! A signing secret changes while the program runs.

use clerk_sync::clerk::EventId;
use clerk_sync::clock::now;

use crate::support::app::{App, Place, SECOND_SECRET, SECRET, headers, signing_secret, until};

const BODY: &[u8] =
    br#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

async fn status_with(app: &App, secret: &str) -> u16 {
    let id = EventId::new("msg_1").unwrap();
    let signature = signing_secret(secret).sign(&id, now(), BODY);
    app.post(&headers("msg_1", now(), &signature), BODY.to_vec()).await.unwrap().status
}

#[tokio::test]
async fn secrets_are_read_again_on_sighup() {
    let place = Place::embedded();
    let file = place.directory().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let app = place.start(&["serve"], &[("CLERK_WEBHOOK_SIGNING_SECRET_FILE", file.to_str().unwrap())]).await;
    assert_eq!(status_with(&app, SECRET).await, 200);
    assert_eq!(status_with(&app, SECOND_SECRET).await, 400);

    std::fs::write(&file, format!("{SECRET}\n{SECOND_SECRET}\n")).unwrap();
    app.signal("HUP");
    until("both secrets are in force", async || status_with(&app, SECOND_SECRET).await == 200).await;
    assert_eq!(status_with(&app, SECRET).await, 200);

    std::fs::write(&file, SECOND_SECRET).unwrap();
    app.signal("HUP");
    until("the old secret is out", async || status_with(&app, SECRET).await == 400).await;
    assert_eq!(status_with(&app, SECOND_SECRET).await, 200);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_leaves_the_one_before_in_force() {
    let place = Place::embedded();
    let file = place.directory().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let app = place.start(&["serve"], &[("CLERK_WEBHOOK_SIGNING_SECRET_FILE", file.to_str().unwrap())]).await;
    for broken in ["", "not a secret", "whsec_!"] {
        let before = app.log().len();
        std::fs::write(&file, broken).unwrap();
        app.signal("HUP");
        until("the log says so", async || app.log().len() > before).await;
        let line = app.log().pop().unwrap();
        assert!(line.contains("CLERK_WEBHOOK_SIGNING_SECRET") && line.contains("ERROR"), "{line}");
        assert_eq!(status_with(&app, SECRET).await, 200);
    }
}
