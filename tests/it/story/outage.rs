//! A server is away: nothing acknowledged is lost, nothing fails for it, and everything resumes by
//! itself.

use std::time::{Duration, Instant};

use clerk_sync::store::Status;
use reqwest::Url;
use sqlx::Executor;

use crate::support::app::{App, Place, SECRET, until};
use crate::support::broker;
use crate::support::proxy::Proxy;

fn update(number: usize) -> (String, String) {
    let ms = 1_795_172_400_000_usize + number;
    let user = number % 7;
    let body = format!(
        r#"{{"data":{{"first_name":"{number}","id":"user_{user}","updated_at":{ms}}},"timestamp":{ms},"type":"user.updated"}}"#
    );
    (format!("msg_{number}"), body)
}

/// The URL with the proxy in the place of the server, and the proxy.
pub async fn through_a_proxy(url: &str) -> (String, Proxy) {
    let mut url = Url::parse(url).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let proxy = Proxy::before(server).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    (url.to_string(), proxy)
}

async fn deliver(app: &App, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let (id, body) = update(number);
        assert_eq!(app.deliver(&id, body).await.status, 200, "{id}");
    }
}

async fn all_applied_or_stale(app: &App, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let line = app.settled(&update(number).0).await;
        assert!(
            matches!(line.status, Status::Applied | Status::Stale),
            "{}: {:?}",
            line.event_id,
            line.error
        );
        assert_eq!(line.attempts, 1, "{}", line.event_id);
    }
}

async fn readiness(app: &App) -> (u16, String) {
    let answer = app.get("/readyz").await.unwrap();
    (answer.status, answer.body["missing"].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_while_the_database_is_away() {
    let place = Place::servers().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let (url, proxy) = through_a_proxy(&database.url()).await;
    let app = place
        .start(
            &["serve"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("DATABASE_URL", &url),
            ],
        )
        .await;
    deliver(&app, 0..20).await;
    all_applied_or_stale(&app, 0..20).await;

    for round in 1..4 {
        proxy.cut();
        until("readiness says so", async || {
            readiness(&app).await == (503, r#"["database"]"#.into())
        })
        .await;
        deliver(&app, round * 20..round * 20 + 20).await;
        proxy.restore();
        all_applied_or_stale(&app, 0..round * 20 + 20).await;
        until("it is ready", async || readiness(&app).await.0 == 200).await;
    }
    let row = app.user("user_2").await.unwrap();
    assert_eq!(row.text("first_name"), Some("79"), "the newest version");
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_database_is_away_loses_nothing() {
    let place = Place::servers().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let (url, proxy) = through_a_proxy(&database.url()).await;
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("DATABASE_URL", url.as_str()),
    ];
    let app = place.start(&["serve"], &variables).await;
    proxy.cut();
    deliver(&app, 0..50).await;
    let started = Instant::now();
    assert!(app.stop().success());
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "{:?}",
        started.elapsed()
    );

    proxy.restore();
    let app = place.start(&["serve"], &variables).await;
    all_applied_or_stale(&app, 0..50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_refuses_at_once_while_the_broker_is_away_and_resumes_by_itself() {
    let place = Place::servers().await;
    let (url, proxy) = through_a_proxy(&broker::url()).await;
    let app = place
        .start(
            &["serve"],
            &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET), ("AMQP_URL", &url)],
        )
        .await;
    deliver(&app, 0..20).await;
    for round in 1..4 {
        proxy.cut();
        until("readiness says so", async || {
            readiness(&app).await == (503, r#"["queue"]"#.into())
        })
        .await;
        let mut took = Vec::new();
        for number in 0..21 {
            let (id, body) = update(10_000 + number);
            let started = Instant::now();
            let answer = app.deliver(&id, body).await;
            assert_eq!((answer.status, answer.code()), (503, "queue_unavailable"));
            assert!(answer.headers.contains_key("retry-after"));
            took.push(started.elapsed());
        }
        // The middle one: a machine that is busy with other tests may hold any one of them up.
        took.sort();
        assert!(
            took[10] < Duration::from_millis(100),
            "refusals took {took:?}"
        );
        proxy.restore();
        until("it is ready", async || readiness(&app).await.0 == 200).await;
        deliver(&app, round * 20..round * 20 + 20).await;
        all_applied_or_stale(&app, 0..round * 20 + 20).await;
    }
    assert!(app.stop().success());
}

/// Another transaction locks the row of one user: the others need not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_for_a_lock_delays_no_other_user() {
    let place = Place::servers().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let app = place
        .start(&["serve"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    // Users 0 to 6.
    deliver(&app, 0..7).await;
    all_applied_or_stale(&app, 0..7).await;
    let mut outside = database.connect().await;
    outside
        .execute("begin; select from clerk.users where clerk_id = 'user_0' for update")
        .await
        .unwrap();
    deliver(&app, 7..8).await;
    let mut watcher = database.connect().await;
    let waits = "select exists (select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())";
    until("a write waits", async || {
        sqlx::query_scalar(waits)
            .fetch_one(&mut watcher)
            .await
            .unwrap()
    })
    .await;
    for number in 8..14 {
        deliver(&app, number..number + 1).await;
        all_applied_or_stale(&app, number..number + 1).await;
    }
    assert!(
        app.event("msg_7").await.is_none(),
        "its user's row is locked all the time"
    );
    outside.execute("rollback").await.unwrap();
    all_applied_or_stale(&app, 7..8).await;
}
