//! Requests that wait hold nothing up: neither others, nor a stop; and one whose client goes away is
//! over. What a request changes is changed whole nevertheless.

use std::time::{Duration, Instant};

use clerk_sync::store::Status;
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::limits::{head, serve_with_open_files};
use super::wait::{ADMIN, get, write_user};
use crate::support::app::{App, Place, SECRET, until};
use crate::support::history::update;

/// With so many open files 192 connections are served, and half of them may wait.
const FILES: u32 = 384;
const WAITS: usize = 96;

/// Connections that ask for a row that never comes, for 30 s.
async fn ask_and_wait(app: &App, count: usize) -> Vec<TcpStream> {
    let ask = |number| async move {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        let request = format!(
            "GET /api/users/user_never_{number}?wait=30 HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {ADMIN}\r\n\r\n",
            app.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    };
    join_all((0..count).map(ask)).await
}

/// Whether one more may wait.
async fn one_more_may_wait(app: &App) -> bool {
    let answer = get(app, "/api/users/user_none?wait=1").await;
    match (answer.status, answer.code()) {
        (404, _) => true,
        (503, "too_many_waiting") => {
            assert!(answer.headers.contains_key("retry-after"));
            false
        }
        _ => panic!("{answer:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_limit_one_that_waits_is_503_and_who_goes_away_leaves_a_place() {
    let place = Place::embedded();
    let app = serve_with_open_files(&place, FILES, &[("ADMIN_TOKEN", ADMIN)]);
    until("it is ready", async || {
        app.get("/readyz")
            .await
            .is_some_and(|answer| answer.status == 200)
    })
    .await;
    assert!(one_more_may_wait(&app).await);
    // More than may wait: those that ask below whether one more may take a place, too.
    let waiting = ask_and_wait(&app, WAITS + 8).await;
    let since = Instant::now();
    until("as many wait as may", async || {
        !one_more_may_wait(&app).await
    })
    .await;
    // Those who do not wait are served.
    write_user(&app, "user_1").await;
    for path in [
        "/api/users/user_1?wait=30",
        "/api/users/user_1",
        "/api/users",
    ] {
        assert_eq!(get(&app, path).await.status, 200, "{path}");
    }
    let body = update("msg_2", "user_2", 1).body().to_vec();
    assert_eq!(app.deliver("msg_2", body).await.status, 200);

    // Half of them close their end alone, as a client does that the server has not heard from yet.
    let mut open = Vec::new();
    for (number, mut stream) in waiting.into_iter().enumerate() {
        if number % 2 == 0 {
            stream.shutdown().await.unwrap();
            open.push(stream);
        }
    }
    until("there are places again", async || {
        one_more_may_wait(&app).await
    })
    .await;
    drop(ask_and_wait(&app, WAITS - 1).await);
    until("those are over too", async || one_more_may_wait(&app).await).await;
    assert!(
        since.elapsed() < Duration::from_secs(29),
        "the waits have ended by themselves: this shows nothing"
    );
    assert!(app.stop().success());
}

async fn a_stop_answers_who_waits(place: Place) {
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", ADMIN),
    ];
    let mut app = place.start(&["serve"], &variables).await;
    let since = {
        let asking = join_all((0..50).map(|n| {
            let path = format!("/api/users/user_{n}?wait=30");
            let app = &app;
            async move { get(app, &path).await }
        }));
        tokio::pin!(asking);
        let early = tokio::time::timeout(Duration::from_millis(500), &mut asking).await;
        assert!(early.is_err(), "all of them wait");
        let since = Instant::now();
        app.signal("TERM");
        for answer in asking.await {
            assert_eq!((answer.status, answer.code()), (503, "not_ready"));
            assert_eq!(answer.body["missing"], serde_json::json!(["process"]));
            assert!(answer.headers.contains_key("retry-after"));
        }
        since
    };
    assert!(app.wait().success());
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_who_waits_with_a_file() {
    a_stop_answers_who_waits(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_who_waits_with_servers() {
    a_stop_answers_who_waits(Place::servers().await).await;
}

/// Svix sends such an event again: this one is queued once more then, and changes nothing.
async fn a_delivery_whose_client_goes_away_is_queued(place: Place) {
    let app = place.serve().await;
    let deliveries = (0..40).map(|number| {
        let app = &app;
        async move {
            let id = format!("msg_{number}");
            let body = update(&id, &format!("user_{number}"), 1).body().to_vec();
            let body = String::from_utf8(body).unwrap();
            let request = head(app, &id, &body, Some(body.len())) + &body;
            let mut stream = TcpStream::connect(app.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    join_all(deliveries).await;
    for number in 0..40 {
        let line = app.settled(&format!("msg_{number}")).await;
        assert_eq!(line.status, Status::Applied);
    }
    let body = update("msg_1", "user_1", 1).body().to_vec();
    assert_eq!(app.deliver("msg_1", body).await.status, 200);
    until("it is counted", async || {
        app.event("msg_1").await.unwrap().deliveries == 2
    })
    .await;
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_client_goes_away_is_queued_in_a_file() {
    a_delivery_whose_client_goes_away_is_queued(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_client_goes_away_is_queued_in_rabbitmq() {
    a_delivery_whose_client_goes_away_is_queued(Place::servers().await).await;
}
