//! `/readyz` and `/metrics` of a worker that does not apply events, and how often they ask the
//! database.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::support::app::{App, Place, SECRET, until};
use crate::support::scrape::Scrape;

const BODY: &str = r#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

/// Transactions in the program's database so far, as PostgreSQL counts them.
async fn transactions(connection: &mut PgConnection) -> i64 {
    let count = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";
    sqlx::query_scalar(count)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Asks for a path over many connections at once, for so long; how often.
async fn ask(app: &App, path: &'static str, lasts: Duration) -> usize {
    let asked = futures_util::future::join_all((0..16).map(async |_| {
        let (started, mut count) = (Instant::now(), 0);
        while started.elapsed() < lasts {
            let answer = app.get(path).await.unwrap();
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            count += 1;
        }
        count
    }));
    asked.await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_health_checks_asks_the_database_once_a_second() {
    let place = Place::servers().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let app = place.serve().await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    // The baseline without health checks: the worker, and the query of this connection.
    let before = transactions(&mut connection).await;
    let lasts = Duration::from_secs(3);
    let (ready, metrics) = tokio::join!(ask(&app, "/readyz", lasts), ask(&app, "/metrics", lasts));
    assert!(
        ready > 100 && metrics > 50,
        "{ready} and {metrics} requests"
    );
    // A session adds to the count every second while it works.
    let made = transactions(&mut connection).await - before;
    assert!(
        made < 100,
        "{made} transactions for {ready} and {metrics} requests"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_ready_only_when_its_worker_applies() {
    let place = Place::servers().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    // Another process is in the middle of a migration.
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::raw_sql("begin; create schema clerk")
        .execute(&mut other)
        .await
        .unwrap();
    let app = place.start_unready(&["serve"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)]);
    let mut answer = app.get("/readyz").await.unwrap();
    until("it says that it migrates", async || {
        answer = app.get("/readyz").await.unwrap();
        answer.body["detail"].to_string().contains("the schema")
    })
    .await;
    assert_eq!((answer.status, answer.code()), (503, "not_ready"));
    assert!(
        answer.body["detail"]
            .to_string()
            .contains("the worker applies nothing: "),
        "{}",
        answer.body
    );
    assert_eq!(
        Scrape::of(&app)
            .await
            .get(r#"clerk_sync_ready{part="worker"}"#),
        Some(0.0)
    );
    assert_eq!(
        app.deliver("msg_1", BODY).await.status,
        200,
        "events wait in the queue"
    );

    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    until("it is ready", async || {
        app.get("/readyz").await.unwrap().status == 200
    })
    .await;
    app.settled("msg_1").await;
}

/// A worker that waits for its schema, and is ready once that is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_schema_reports_that_it_applies_nothing() {
    let place = Place::servers().await;
    let worker = place.start_unready(&["worker"], &[]);
    until("it says so", async || {
        let scrape = Scrape::of(&worker).await;
        scrape.get(r#"clerk_sync_ready{part="worker"}"#) == Some(0.0)
            && worker.get("/readyz").await.unwrap().status == 503
    })
    .await;
    place.succeed(&["migrate"]);
    until("it is ready", async || {
        worker.get("/readyz").await.unwrap().status == 200
    })
    .await;
}

/// From the start to the stop: no task is reported dead that is not.
async fn no_task_dies(place: Place) {
    let mut app = place.serve().await;
    assert_eq!(app.deliver("msg_1", BODY).await.status, 200);
    app.settled("msg_1").await;
    app.signal("HUP");
    until("the secrets were read", async || {
        app.log().iter().any(|line| line.contains("read again"))
    })
    .await;
    app.signal("TERM");
    assert!(app.wait().success());
    let log = app.log();
    assert!(
        log.iter()
            .all(|line| !line.contains("a task died") && !line.contains("ERROR")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn no_task_of_an_embedded_process_dies() {
    no_task_dies(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_of_a_process_with_servers_dies() {
    no_task_dies(Place::servers().await).await;
}
