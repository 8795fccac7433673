//! kill -9 in the middle of a flood: what got a 2xx is in the table after a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Mutex;

use crate::support::app::{App, Place, until};

/// An update of one of 50 users; a later number is a newer version.
fn update(number: usize) -> (String, String, String) {
    let user = format!("user_{}", number % 50);
    let ms = 1_795_172_400_000_usize + number;
    let body = format!(
        r#"{{"data":{{"id":"{user}","first_name":"{number}","updated_at":{ms}}},"timestamp":{ms},"type":"user.updated"}}"#
    );
    (format!("msg_{number}"), user, body)
}

/// What got a 2xx: event IDs, and each user's newest number.
#[derive(Default)]
struct Acknowledged {
    events: Vec<String>,
    newest: HashMap<String, usize>,
}

async fn flood(
    app: &Arc<App>,
    next: &Arc<AtomicUsize>,
    stop: &Arc<AtomicBool>,
    done: &Arc<Mutex<Acknowledged>>,
) {
    let clients = (0..32).map(|_| {
        let (app, next, stop, done) = (
            Arc::clone(app),
            Arc::clone(next),
            Arc::clone(stop),
            Arc::clone(done),
        );
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let (id, user, body) = update(number);
                let Some(answer) = app.try_deliver(&id, body).await else {
                    return;
                };
                if answer.status == 200 {
                    let mut done = done.lock().await;
                    done.events.push(id);
                    let newest = done.newest.entry(user).or_default();
                    *newest = number.max(*newest);
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

async fn check_all_is_there(app: &App, acknowledged: &Acknowledged) {
    for id in &acknowledged.events {
        until(&format!("{id} is there"), async || {
            app.event(id).await.is_some()
        })
        .await;
    }
    for (user, number) in &acknowledged.newest {
        let row = app
            .user(user)
            .await
            .unwrap_or_else(|| panic!("{user} is lost"));
        let found: usize = row.text("first_name").unwrap().parse().unwrap();
        // An event without an answer may have been stored all the same.
        assert!(
            found >= *number,
            "{user} is at {found}, {number} was acknowledged"
        );
    }
}

async fn kill_in_a_flood(place: Place) {
    let (next, done) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(Mutex::new(Acknowledged::default())),
    );
    for round in 1..=3 {
        let app = Arc::new(place.serve().await);
        let stop = Arc::new(AtomicBool::new(false));
        let flooding = flood(&app, &next, &stop, &done);
        let killing = async {
            let enough = round * 300;
            until("the flood has begun", async || {
                done.lock().await.events.len() >= enough
            })
            .await;
            app.signal("KILL");
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(flooding, killing);
        drop(app);
    }
    let app = place.serve().await;
    let acknowledged = done.lock().await;
    check_all_is_there(&app, &acknowledged).await;
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    kill_in_a_flood(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_servers() {
    kill_in_a_flood(Place::servers().await).await;
}
