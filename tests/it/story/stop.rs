//! SIGTERM: what was acknowledged is finished or waits, and the process leaves in good order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::app::{Place, until};

fn update(number: usize) -> String {
    let ms = 1_795_172_400_000_usize + number;
    format!(
        r#"{{"data":{{"id":"user_{number}","updated_at":{ms}}},"timestamp":{ms},"type":"user.updated"}}"#
    )
}

async fn stop_under_load(place: Place) {
    let app = Arc::new(place.serve().await);
    let clients: Vec<_> = (0..16)
        .map(|client| {
            let app = Arc::clone(&app);
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in (0..).map(|n| n * 16 + client) {
                    let id = format!("msg_{number}");
                    match app.try_deliver(&id, update(number)).await {
                        Some(answer) if answer.status == 200 => acknowledged.push(id),
                        Some(answer) => assert_eq!(answer.status, 503, "{:?}", answer.body),
                        None => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    until("some events are applied", async || {
        app.event("msg_200").await.is_some()
    })
    .await;
    let started = Instant::now();
    app.signal("TERM");
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    let mut app = Arc::into_inner(app).unwrap();
    assert!(app.wait().success(), "a stop on request is a success");
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "the stop took {:?}",
        started.elapsed()
    );
    // Embedded files under `serve` are a warning of their own.
    let is_quiet = |line: &String| {
        line.contains("on a disk that stays")
            || !line.contains("\"ERROR\"") && !line.contains("\"WARN\"")
    };
    assert!(app.log().iter().all(is_quiet), "{:#?}", app.log());
    drop(app);

    let app = place.serve().await;
    for id in &acknowledged {
        app.settled(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    stop_under_load(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_servers() {
    stop_under_load(Place::servers().await).await;
}
