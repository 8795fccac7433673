//! The overview of the dashboard says nothing that is not so: what waits while the database is away,
//! a signing secret that is wrong, what was received when, and the outcomes of a bulk replay.

use clerk_sync::clerk::{EventId, SignedEvent};
use clerk_sync::clock::now;
use clerk_sync::store::Status;
use serde_json::{Value, json};

use crate::story::dashboard::{TOKEN, log_in, serve};
use crate::story::outage::through_a_proxy;
use crate::support::app::{App, Place, SECOND_SECRET, SECRET, headers, signing_secret, until};
use crate::support::history::{event, fail, update};
use crate::support::visitor::Visitor;

async fn stats(app: &App, query: &str) -> Value {
    let path = format!("/api/stats{query}");
    app.api(Some(TOKEN), &path, None).await.body
}

/// Delivers an update that is signed with the second secret.
async fn deliver_with_second_secret(app: &App, id: &str) -> u16 {
    let body = update(id, "user_1", 10).body().to_vec();
    let sent_at = now();
    let secret = signing_secret(SECOND_SECRET);
    let signature = secret.sign(&EventId::new(id).unwrap(), sent_at, &body);
    let answer = app.post(&headers(id, sent_at, &signature), body).await;
    answer.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_while_the_database_is_away_is_not_lost_from_sight() {
    let place = Place::servers().await;
    let (url, proxy) = through_a_proxy(&place.database().url()).await;
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
        ("DATABASE_URL", &url),
    ];
    let app = place.start(&["serve"], &variables).await;
    let mut visitor = log_in(&app).await;
    proxy.cut();
    for number in 0..20 {
        let id = format!("msg_{number}");
        let body = update(&id, "user_1", number).body().to_vec();
        assert_eq!(app.deliver(&id, body).await.status, 200);
    }
    let mut said = String::new();
    until("all twenty are shown as not applied", async || {
        said = visitor.get("/").await.text();
        let taken = said.split(" taken by this process and not applied yet");
        let number = |text: &str| text.rsplit([' ', '(']).next()?.parse::<u64>().ok();
        let first = taken.clone().next().unwrap();
        let waiting = first.split(" waiting, ").next().unwrap();
        let sum = number(first).zip(number(waiting));
        taken.count() > 1 && sum.is_some_and(|(taken, waiting)| taken + waiting == 20)
    })
    .await;
    assert!(said.contains("The database does not work"), "{said}");
    proxy.restore();
    until("nothing is held any more", async || {
        let said = visitor.get("/").await.text();
        said.contains("Everything works") && !said.contains("not applied yet")
    })
    .await;
    assert_eq!(stats(&app, "").await["queue"]["taken"], 0);
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signing_secret_is_seen_at_once_until_a_delivery_is_accepted() {
    let place = Place::embedded();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECOND_SECRET),
        ("ADMIN_TOKEN", TOKEN),
    ];
    let app = place.start(&["serve"], &variables).await;
    let mut visitor = log_in(&app).await;
    assert!(!visitor.get("/").await.text().contains("Refused deliveries"));
    let body = update("msg_1", "user_1", 1).body().to_vec();
    assert_eq!(app.deliver("msg_1", body).await.code(), "invalid_signature");
    let heading = "Deliveries are refused: their signature does not match";
    let said = visitor.get("/").await.text();
    for part in [
        heading,
        "invalid_signature: 1 delivery since this process started",
        "none was accepted",
        "Refused deliveries",
        "CLERK_WEBHOOK_SIGNING_SECRET is not the secret of this endpoint",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let refused = stats(&app, "").await["refused"].clone();
    let reason = &refused["by_reason"]["invalid_signature"];
    assert_eq!(
        (&reason["count"], &refused["last_accepted_at"]),
        (&json!(1), &Value::Null)
    );
    assert!(reason["last_at"].is_string() && refused["since"].is_string());
    let status = || {
        let mut command = place.command(&["status"]);
        let command = command.env("PORT", app.address.port().to_string());
        let output = command.env("ADMIN_TOKEN", TOKEN).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let printed = status();
    assert!(
        printed.starts_with(heading) && printed.contains("1 invalid_signature, the last"),
        "{printed}"
    );

    assert_eq!(deliver_with_second_secret(&app, "msg_2").await, 200);
    app.settled("msg_2").await;
    let said = visitor.get("/").await.text();
    assert!(
        said.contains("Everything works") && said.contains("Refused deliveries"),
        "{said}"
    );
    assert!(status().starts_with("Everything works."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_shows_its_queue_and_what_it_refused() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let variables = [("CLERK_WEBHOOK_SIGNING_SECRET", SECOND_SECRET)];
    let app = place.start(&["receiver"], &variables).await;
    assert_eq!(deliver_with_second_secret(&app, "msg_1").await, 200);
    // A refusal in the same millisecond would not count as the later one.
    let accepted_at = now();
    until("the clock goes on", async || now() > accepted_at).await;
    let body = update("msg_2", "user_1", 1).body().to_vec();
    assert_eq!(app.deliver("msg_2", body).await.status, 400);
    let mut visitor = Visitor::of(&app);
    until("the event waits", async || {
        visitor.get("/").await.text().contains("1 waiting")
    })
    .await;
    let page = visitor.get("/").await;
    let said = page.text();
    assert_eq!(page.status, 200);
    for part in [
        "Deliveries are refused",
        "This is a receiver",
        "not known here",
        "invalid_signature",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    crate::story::dashboard::assert_guarded(&page);
}

/// An update that was received so many minutes ago.
fn received_before(minutes: i64, id: &str) -> SignedEvent {
    let event = update(id, id, 1);
    let at = now().ms() - minutes * 60_000;
    let at = clerk_sync::clerk::Timestamp::from_ms(at).unwrap();
    SignedEvent::restored(
        event.id().clone(),
        event.event_type().clone(),
        at,
        at,
        event.body().clone(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_chosen_and_a_bar_leads_to_its_events() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let mut visitor = log_in(&app).await;
    let ages = [5, 300, 3 * 24 * 60, 20 * 24 * 60];
    let events: Vec<_> = ages
        .iter()
        .map(|age| received_before(*age, &format!("msg_{age}")))
        .collect();
    fail(&app.store, &events).await;
    for (number, (range, seconds, buckets)) in [
        ("1h", 60, 60),
        ("24h", 1800, 48),
        ("7d", 10_800, 56),
        ("30d", 43_200, 60),
    ]
    .into_iter()
    .enumerate()
    {
        let mut recent = Value::Null;
        until("the range is counted", async || {
            recent = stats(&app, &format!("?range={range}")).await["recent"].clone();
            recent.is_object()
        })
        .await;
        let list = recent["buckets"].as_array().unwrap();
        let failed = list.iter().map(|bucket| bucket["failed"].as_u64().unwrap());
        assert_eq!(failed.sum::<u64>(), number as u64 + 1, "{recent}");
        assert_eq!(
            (&recent["seconds"], list.len(), &recent["range"]),
            (&json!(seconds), buckets, &json!(range))
        );
        let page = visitor.get(&format!("/?range={range}")).await;
        let links = page.links();
        let mut bars = links.iter().filter(|link| link.contains("since="));
        let oldest = bars.find(|link| link.contains("status=failed"));
        let listed = visitor.get(oldest.unwrap()).await;
        assert_eq!(listed.status, 200);
        let oldest = format!("/events/msg_{}", ages[number]);
        let events = listed.links();
        let events: Vec<_> = events
            .iter()
            .filter(|link| link.starts_with("/events/msg_"))
            .collect();
        assert_eq!(events, [&oldest], "{range}");
    }
    let wrong = app.api(Some(TOKEN), "/api/stats?range=2h", None).await;
    assert_eq!((wrong.status, &wrong.body["param"]), (400, &json!("range")));
    assert_eq!(visitor.get("/?range=2h").await.status, 400);
}

async fn a_bulk_replay_shows_the_outcome_of_each_event(place: Place) {
    let app = serve(&place).await;
    let mut events: Vec<_> = (0..3)
        .map(|n| update(&format!("msg_{n}"), &format!("user_{n}"), n))
        .collect();
    events.extend(["msg_8", "msg_9"].map(|id| event(id, "no JSON")));
    fail(&app.store, &events).await;
    let mut visitor = log_in(&app).await;
    let since = "2000-01-01";
    let filter = format!("error_code=delivery_limit&since={since}");
    let preview = visitor.get(&format!("/events/replay?{filter}")).await;
    let fields = preview.hidden_fields();
    let fields: Vec<_> = fields.iter().map(|(a, b)| (&**a, &**b)).collect();
    let page = visitor.post("/events/replay", &fields).await;
    let address = page.location().to_owned();
    assert!(
        page.status == 303 && address.starts_with("/replays/"),
        "{} {address}",
        page.status
    );
    let mut said = String::new();
    until("the page knows all outcomes", async || {
        said = visitor.get(&address).await.text();
        said.contains("3 applied") && said.contains("2 failed again: not_json")
    })
    .await;
    assert!(said.contains("5 events replayed"), "{said}");
    let page = visitor.get(&address).await;
    let links = page.links();
    let back = format!("/events?error_code=delivery_limit&since={since}&status=failed");
    assert!(links.contains(&back), "{links:?}");
    let again = format!("/events?since={since}&status=failed&error_code=not_json");
    assert!(links.contains(&again), "{links:?}");
    let listed = visitor.get(&again).await.text();
    assert!(listed.contains("msg_8") && listed.contains("msg_9"));
    assert_eq!(app.event("msg_8").await.unwrap().status, Status::Failed);

    // Nothing is left; and a run of another process is not known.
    let page = visitor.post("/events/replay", &fields).await;
    until("nothing is left", async || {
        let said = visitor.get(page.location()).await.text();
        said.contains("Nothing was left to replay")
    })
    .await;
    assert_eq!(visitor.get("/replays/none").await.status, 404);
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_replay_shows_the_outcome_of_each_event_with_servers() {
    a_bulk_replay_shows_the_outcome_of_each_event(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_replay_shows_the_outcome_of_each_event_without_servers() {
    a_bulk_replay_shows_the_outcome_of_each_event(Place::embedded()).await;
}
