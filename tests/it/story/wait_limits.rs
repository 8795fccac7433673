//! Requests that wait hold nothing up: neither others, nor a stop; and one whose client goes away is
//! over. What a request changes is changed whole nevertheless.

use std::time::{Duration, Instant};

use clerk_sync::store::Status;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::limits::{head, serve_with_open_files};
use super::wait::{ADMIN, get, write_user};
use crate::support::app::{Answer, App, DEADLINE, Place, until};
use crate::support::history::update;

/// With so many open files 192 connections are served, and half of them may wait.
const FILES: u32 = 384;
const WAITS: usize = 96;

/// How many more ask than may wait. Once so many are refused, all others wait: a request that was
/// sent may still be on its way, and a time that passes shows nothing on a busy machine.
const EXCESS: usize = 8;

async fn serve_with_few_waits(place: &Place) -> App {
    let app = serve_with_open_files(place, FILES, &[("ADMIN_TOKEN", ADMIN)]);
    until("it is ready", async || {
        app.get("/readyz")
            .await
            .is_some_and(|answer| answer.status == 200)
    })
    .await;
    app
}

/// The next answer of those who ask.
async fn next<T>(answers: &mut FuturesUnordered<impl Future<Output = T>>) -> T {
    let answer = timeout(DEADLINE, answers.next()).await;
    answer.expect("an answer in time").expect("one more asks")
}

fn assert_is_refused(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (503, "too_many_waiting"));
    assert!(answer.headers.contains_key("retry-after"));
}

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

/// As many connections as may wait, all of which do.
async fn take_all_places(app: &App) -> Vec<TcpStream> {
    let mut asking = ask_and_wait(app, WAITS + EXCESS).await;
    let mut answers: FuturesUnordered<_> = asking
        .iter()
        .enumerate()
        .map(|(number, stream)| async move {
            let mut start = [0; 12];
            let _length = stream.peek(&mut start).await.unwrap();
            (number, start)
        })
        .collect();
    let mut refused = Vec::new();
    for _ in 0..EXCESS {
        let (number, start) = next(&mut answers).await;
        assert_eq!(&start, b"HTTP/1.1 503");
        refused.push(number);
    }
    drop(answers);
    refused.sort_unstable();
    for number in refused.into_iter().rev() {
        asking.swap_remove(number);
    }
    asking
}

/// Whether all places are free: as many wait at once as may, for a second.
async fn all_may_wait(app: &App) -> bool {
    let asking = (0..WAITS).map(|_| get(app, "/api/users/user_none?wait=1"));
    let answers = join_all(asking).await;
    for answer in &answers {
        // Those who left may still hold their connections, too.
        assert!(matches!(answer.status, 404 | 503), "{answer:?}");
    }
    answers.iter().all(|answer| answer.status == 404)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_limit_one_that_waits_is_503_and_who_goes_away_leaves_a_place() {
    let place = Place::embedded();
    let app = serve_with_few_waits(&place).await;
    let since = Instant::now();
    let waiting = take_all_places(&app).await;
    assert_is_refused(&get(&app, "/api/users/user_none?wait=1").await);
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
    // All of them have waited so long.
    assert_is_refused(&get(&app, "/api/users/user_none?wait=1").await);

    // Half of them close their end alone, as a client does that the server has not heard from yet.
    let mut open = Vec::new();
    for (number, mut stream) in waiting.into_iter().enumerate() {
        if number % 2 == 0 {
            stream.shutdown().await.unwrap();
            open.push(stream);
        }
    }
    until("all places are free", async || all_may_wait(&app).await).await;
    // Others leave as soon as they have asked.
    drop(ask_and_wait(&app, WAITS).await);
    until("all places are free again", async || {
        all_may_wait(&app).await
    })
    .await;
    assert!(
        since.elapsed() < Duration::from_secs(29),
        "the waits have ended by themselves: this shows nothing"
    );
    assert!(app.stop().success());
}

async fn a_stop_answers_who_waits(place: Place) {
    let mut app = serve_with_few_waits(&place).await;
    let since = {
        let app = &app;
        let mut asking: FuturesUnordered<_> = (0..WAITS + EXCESS)
            .map(|number| async move {
                let path = format!("/api/users/user_{number}?wait=30");
                get(app, &path).await
            })
            .collect();
        for _ in 0..EXCESS {
            assert_is_refused(&next(&mut asking).await);
        }
        let since = Instant::now();
        app.signal("TERM");
        for _ in 0..WAITS {
            let answer = next(&mut asking).await;
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
