//! Metrics count what happened, in every role. No input adds a series, and no personal data is in
//! one.

use clerk_sync::clerk::EventId;
use clerk_sync::clock::now;
use serde_json::json;

use crate::support::app::{App, Place, SECOND_SECRET, SECRET, headers, signing_secret, until};
use crate::support::broker;
use crate::support::proxy::Proxy;
use crate::support::scrape::Scrape;

const TOKEN: &str = "correct-horse-battery-staple";

pub fn body(event_type: &str, user: &str, ms: i64) -> String {
    let ms = 1_795_172_400_000 + ms;
    let data = json!({
        "id": user, "updated_at": ms, "first_name": "Adamantina", "primary_email_address_id": "idn_1",
        "email_addresses": [{"id": "idn_1", "email_address": "ada.private@example.com"}],
    });
    json!({"data": data, "timestamp": ms, "type": event_type}).to_string()
}

async fn signed_with(app: &App, secret: &str, id: &str, body: String) -> u16 {
    let signature = signing_secret(secret).sign(&EventId::new(id).unwrap(), now(), body.as_bytes());
    app.post(&headers(id, now(), &signature), body.into_bytes())
        .await
        .unwrap()
        .status
}

/// Until the page says so, and that page.
async fn scrape_until(app: &App, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut scrape = Scrape::of(app).await;
    until(what, async || {
        scrape = Scrape::of(app).await;
        holds(&scrape)
    })
    .await;
    scrape
}

/// Deliveries of every fate. One is applied, one comes too late, one comes twice, one cannot be
/// read, one is no user's.
async fn story(app: &App) {
    for (id, body) in [
        ("msg_created", body("user.created", "user_1", 0)),
        ("msg_updated", body("user.updated", "user_1", 20)),
        ("msg_late", body("user.updated", "user_1", 10)),
        ("msg_deleted", body("user.deleted", "user_1", 30)),
        ("msg_cut", "{".to_owned()),
        (
            "msg_future",
            body("user.updated", "user_2", 9_000_000_000_000),
        ),
        ("msg_session", body("session.created", "sess_1", 0)),
    ] {
        assert_eq!(app.deliver(id, body).await.status, 200, "{id}");
        if id != "msg_session" {
            app.settled(id).await;
        }
    }
    assert_eq!(
        app.deliver("msg_created", body("user.created", "user_1", 0))
            .await
            .status,
        200
    );
    until("it is counted", async || {
        app.event("msg_created").await.unwrap().deliveries == 2
    })
    .await;
}

async fn refused(app: &App) {
    let body = body("user.updated", "user_1", 40);
    for _ in 0..3 {
        assert_eq!(
            signed_with(
                app,
                "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "msg_bad",
                body.clone()
            )
            .await,
            400
        );
    }
    let good = headers("msg_bad", now(), "v1,AAAA");
    assert_eq!(
        app.post(&good[1..], body.clone().into_bytes())
            .await
            .unwrap()
            .status,
        400
    );
    let old = clerk_sync::clerk::Timestamp::from_ms(now().ms() - 400_000).unwrap();
    assert_eq!(
        app.post(&headers("msg_bad", old, "v1,AAAA"), Vec::new())
            .await
            .unwrap()
            .status,
        400
    );
    assert_eq!(
        app.deliver("msg_large", "x".repeat(2 << 20)).await.status,
        413
    );
}

const WEBHOOKS: [(&str, f64); 9] = [
    (r#"result="body_too_large",type="other""#, 1.0),
    (r#"result="ignored",type="other""#, 1.0),
    (r#"result="invalid_signature",type="other""#, 3.0),
    (r#"result="missing_header",type="other""#, 1.0),
    (r#"result="queued",type="other""#, 1.0),
    (r#"result="queued",type="user.created""#, 2.0),
    (r#"result="queued",type="user.deleted""#, 1.0),
    (r#"result="queued",type="user.updated""#, 3.0),
    (r#"result="timestamp_out_of_tolerance",type="other""#, 1.0),
];

const FAILURES: [(&str, f64); 3] = [
    (r#"reason="invalid_signature""#, 3.0),
    (r#"reason="missing_header""#, 1.0),
    (r#"reason="timestamp_out_of_tolerance""#, 1.0),
];

const EVENTS: [(&str, f64); 6] = [
    (r#"status="applied",type="user.created""#, 1.0),
    (r#"status="applied",type="user.deleted""#, 1.0),
    (r#"status="applied",type="user.updated""#, 1.0),
    (r#"status="failed",type="other""#, 1.0),
    (r#"status="failed",type="user.updated""#, 1.0),
    (r#"status="repeated",type="user.created""#, 1.0),
];

fn check_receiver(scrape: &Scrape) {
    // A busy RabbitMQ refuses one now and then, and it is delivered again.
    let mut answered = scrape.counted("clerk_sync_webhooks_total");
    answered.retain(|(labels, _)| !labels.contains("queue_unavailable"));
    assert_eq!(answered, WEBHOOKS);
    assert_eq!(
        scrape.counted("clerk_sync_signature_failures_total"),
        FAILURES
    );
    assert_eq!(
        scrape.counted("clerk_sync_secret_matches_total"),
        [(r#"secret="1""#, 8.0)],
        "only what was answered with a 2xx"
    );
    assert_eq!(scrape.get("clerk_sync_publish_seconds_count"), Some(7.0));
    assert_eq!(scrape.get("clerk_sync_publishes_in_flight"), Some(0.0));
    assert!(scrape.get("clerk_sync_connections").unwrap() >= 1.0);
}

fn check_worker(scrape: &Scrape) {
    let mut expected = EVENTS.to_vec();
    expected.push((r#"status="stale",type="user.updated""#, 1.0));
    assert_eq!(scrape.counted("clerk_sync_events_total"), expected);
    assert_eq!(scrape.get("clerk_sync_lag_seconds_count"), Some(7.0));
    assert_eq!(
        scrape.get("clerk_sync_lag_seconds_bucket{le=\"+Inf\"}"),
        Some(7.0)
    );
    assert_eq!(scrape.get("clerk_sync_batch_size_sum"), Some(7.0));
    let applied = scrape.get("clerk_sync_apply_seconds_count").unwrap();
    assert!((1.0..=7.0).contains(&applied), "{applied}");
    assert_eq!(scrape.get("clerk_sync_failed_events"), Some(2.0));
}

pub fn is_clean(scrape: &Scrape) {
    for private in [
        "user_1",
        "msg_",
        "ada.private",
        "Adamantina",
        "sess_1",
        "whsec",
        "127.0.0.1",
        "amqp",
        "postgres",
    ] {
        assert!(
            !scrape.text.contains(private),
            "{private} is reported: {}",
            scrape.text
        );
    }
}

/// What a process that has a worker needs, and has.
const READY: [(&str, f64); 3] = [
    (r#"part="database""#, 1.0),
    (r#"part="queue""#, 1.0),
    (r#"part="worker""#, 1.0),
];

fn is_recent(scrape: &Scrape) {
    let last = scrape
        .get("clerk_sync_last_event_timestamp_seconds")
        .unwrap();
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 have 41 bits"
    )]
    let age = now().ms() as f64 / 1000.0 - last;
    assert!((-1.0..120.0).contains(&age), "{age} s ago");
}

#[tokio::test]
async fn one_process_reports_everything() {
    let place = Place::embedded();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
    ];
    let app = place.start(&["serve"], &variables).await;
    let before = Scrape::of(&app).await;
    assert_eq!(
        before.get("clerk_sync_last_event_timestamp_seconds"),
        None,
        "there was none yet"
    );
    assert_eq!(
        before.get("clerk_sync_secret_matches_total{secret=\"1\"}"),
        Some(0.0)
    );
    assert_eq!(before.counted("clerk_sync_webhooks_total"), []);

    story(&app).await;
    refused(&app).await;
    let scrape = scrape_until(&app, "everything is reported", |scrape| {
        scrape.get("clerk_sync_failed_events") == Some(2.0)
            && scrape.get("clerk_sync_queue_depth") == Some(0.0)
    })
    .await;
    check_receiver(&scrape);
    check_worker(&scrape);
    is_clean(&scrape);
    is_recent(&scrape);
    assert_eq!(scrape.counted("clerk_sync_ready"), READY);
    let version = format!(
        "clerk_sync_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(scrape.get(&version), Some(1.0));

    let discarded = app
        .api(
            Some(TOKEN),
            "/api/events/msg_future/discard",
            Some(json!({})),
        )
        .await;
    assert_eq!(discarded.status, 200, "{:?}", discarded.body);
    let scrape = scrape_until(&app, "one failed event waits", |scrape| {
        scrape.get("clerk_sync_failed_events") == Some(1.0)
    })
    .await;
    assert_eq!(
        scrape.get(r#"clerk_sync_events_total{status="discarded",type="user.updated"}"#),
        Some(1.0)
    );

    // A replay is another event, and its lag starts again.
    place.succeed(&["events", "replay", "msg_cut"]);
    let scrape = scrape_until(&app, "it failed again", |scrape| {
        scrape.get(r#"clerk_sync_events_total{status="failed",type="other"}"#) == Some(2.0)
    })
    .await;
    assert_eq!(scrape.get("clerk_sync_lag_seconds_count"), Some(8.0));
    assert_eq!(
        scrape.get("clerk_sync_lag_seconds_bucket{le=\"60\"}"),
        Some(8.0)
    );
    assert!(app.stop().success());

    // A new process counts from nothing, and knows from the table when the last event came.
    let app = place.serve().await;
    let scrape = Scrape::of(&app).await;
    assert_eq!(scrape.counted("clerk_sync_events_total"), []);
    is_recent(&scrape);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_and_a_worker_each_report_their_part() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    let worker = place.start(&["worker"], &[]).await;
    story(&receiver).await;
    refused(&receiver).await;

    let scrape = Scrape::of(&receiver).await;
    check_receiver(&scrape);
    is_clean(&scrape);
    is_recent(&scrape);
    assert_eq!(scrape.counted("clerk_sync_events_total"), []);
    assert_eq!(
        scrape.counted("clerk_sync_ready"),
        [(r#"part="queue""#, 1.0)]
    );
    assert_eq!(
        scrape.get("clerk_sync_failed_events"),
        None,
        "a receiver has no database"
    );

    let scrape = scrape_until(&worker, "everything is reported", |scrape| {
        scrape.get("clerk_sync_failed_events") == Some(2.0)
            && scrape.get("clerk_sync_queue_depth") == Some(0.0)
    })
    .await;
    check_worker(&scrape);
    is_clean(&scrape);
    is_recent(&scrape);
    assert_eq!(scrape.counted("clerk_sync_webhooks_total"), []);
    assert_eq!(scrape.counted("clerk_sync_secret_matches_total"), []);
    assert_eq!(scrape.counted("clerk_sync_ready"), READY);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_server_is_unavailable_no_old_value_is_reported() {
    let place = Place::servers().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let through_a_proxy = async |url: String| {
        let mut url = reqwest::Url::parse(&url).unwrap();
        let proxy = Proxy::before(format!(
            "{}:{}",
            url.host_str().unwrap(),
            url.port().unwrap()
        ))
        .await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.address.port())).unwrap();
        (url.to_string(), proxy)
    };
    let (database_url, database_proxy) = through_a_proxy(database.url()).await;
    let (broker_url, broker_proxy) = through_a_proxy(broker::url()).await;
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("DATABASE_URL", &database_url),
        ("AMQP_URL", &broker_url),
    ];
    let app = place.start(&["serve"], &variables).await;
    scrape_until(&app, "all is there", |scrape| {
        scrape.get("clerk_sync_queue_depth").is_some()
            && scrape.get("clerk_sync_failed_events").is_some()
            && scrape.counted("clerk_sync_ready") == READY
    })
    .await;

    database_proxy.cut();
    let away = scrape_until(&app, "the database is away", |scrape| {
        scrape.get(r#"clerk_sync_ready{part="database"}"#) == Some(0.0)
    })
    .await;
    assert_eq!(away.get("clerk_sync_failed_events"), None);
    assert_eq!(away.get("clerk_sync_queue_depth"), Some(0.0));

    broker_proxy.cut();
    let away = scrape_until(&app, "the broker is away", |scrape| {
        scrape.get(r#"clerk_sync_ready{part="queue"}"#) == Some(0.0)
    })
    .await;
    assert_eq!(away.get("clerk_sync_queue_depth"), None);
    assert_eq!(
        app.try_deliver("msg_1", body("user.updated", "user_1", 0))
            .await
            .unwrap()
            .status,
        503
    );
    let away = Scrape::of(&app).await;
    assert_eq!(
        away.counted("clerk_sync_webhooks_total"),
        [(r#"result="queue_unavailable",type="user.updated""#, 1.0)]
    );
    assert_eq!(
        away.counted("clerk_sync_secret_matches_total"),
        [],
        "it comes again, and would count twice"
    );

    broker_proxy.restore();
    database_proxy.restore();
    scrape_until(&app, "all is there again", |scrape| {
        scrape.counted("clerk_sync_ready") == READY
            && scrape.get("clerk_sync_failed_events").is_some()
    })
    .await;
}

#[tokio::test]
async fn a_rotation_shows_which_secret_is_in_use() {
    let place = Place::embedded();
    let file = place.directory().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let app = place
        .start(
            &["serve"],
            &[("CLERK_WEBHOOK_SIGNING_SECRET_FILE", file.to_str().unwrap())],
        )
        .await;
    let matches = |scrape: &Scrape| {
        ["1", "2", "3"].map(|place| {
            scrape.get(&format!(
                "clerk_sync_secret_matches_total{{secret=\"{place}\"}}"
            ))
        })
    };
    assert_eq!(
        signed_with(&app, SECRET, "msg_1", body("user.updated", "user_1", 0)).await,
        200
    );
    assert_eq!(matches(&Scrape::of(&app).await), [Some(1.0), None, None]);

    std::fs::write(&file, format!("{SECRET},{SECOND_SECRET}")).unwrap();
    app.signal("HUP");
    scrape_until(&app, "there are two", |scrape| {
        matches(scrape)[1] == Some(0.0)
    })
    .await;
    for id in ["msg_2", "msg_3"] {
        assert_eq!(
            signed_with(&app, SECOND_SECRET, id, body("user.updated", "user_1", 1)).await,
            200
        );
    }
    assert_eq!(
        matches(&Scrape::of(&app).await),
        [Some(1.0), Some(2.0), None]
    );

    // While Svix signs with both, each is of use, in whatever order they stand.
    for (number, order) in [[SECRET, SECOND_SECRET], [SECOND_SECRET, SECRET]]
        .into_iter()
        .enumerate()
    {
        std::fs::write(&file, order.join(",")).unwrap();
        let reads = app
            .log()
            .iter()
            .filter(|line| line.contains("the secrets were read again"))
            .count();
        app.signal("HUP");
        until("they are read again", async || {
            app.log()
                .iter()
                .filter(|line| line.contains("the secrets were read again"))
                .count()
                > reads
        })
        .await;
        let (id, text) = (
            format!("msg_both_{number}"),
            body("user.updated", "user_1", 2),
        );
        let both = [SECRET, SECOND_SECRET].map(|secret| {
            signing_secret(secret).sign(&EventId::new(&id).unwrap(), now(), text.as_bytes())
        });
        let answer = app
            .post(&headers(&id, now(), &both.join(" ")), text.into_bytes())
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
    }
    assert_eq!(
        matches(&Scrape::of(&app).await),
        [Some(3.0), Some(4.0), None]
    );
}
