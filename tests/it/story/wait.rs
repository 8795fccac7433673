//! `wait` on the routes for one row, with the real program. The test itself is another process: it
//! writes to the same database.

use std::time::{Duration, Instant};

use clerk_sync::clerk::tables;
use clerk_sync::worker::plan::plan;
use futures_util::future::join_all;
use reqwest::Method;
use sqlx::PgConnection;

use super::outage::through_a_proxy;
use crate::support::app::{Answer, App, DEADLINE, Place, SECRET, until};
use crate::support::history::{update, update_in};
use crate::support::pgbouncer::{PgBouncer, can_follow, program};

pub(super) const ADMIN: &str = "correct-horse-battery-staple";
const READER: &str = "reads-and-does-nothing-else";

/// Half of the longest wait: what is answered before was not answered by its end.
const LONG_BEFORE_THE_END: Duration = Duration::from_secs(15);

async fn serve(place: &Place, variables: &[(&str, &str)]) -> App {
    let needed = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", ADMIN),
        ("READ_TOKEN", READER),
    ];
    place
        .start(&["serve"], &[&needed, variables].concat())
        .await
}

pub(super) async fn get(app: &App, path: &str) -> Answer {
    app.api(Some(ADMIN), path, None).await
}

/// Writes the row of a user, as a worker in another process does.
pub(super) async fn write_user(app: &App, user: &str) {
    let write = plan(&[update(&format!("msg_{user}"), user, 1)]);
    app.store.apply(&write).await.unwrap();
}

/// The answer to a request that waits, and what is done once it waits. It must be answered long
/// before its end.
async fn answered(app: &App, path: &str, meanwhile: impl Future<Output = ()>) -> Answer {
    let asked = get(app, path);
    tokio::pin!(asked);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut asked).await;
    assert!(early.is_err(), "there is no row yet: {path}");
    let since = Instant::now();
    let (answer, ()) = tokio::join!(asked, meanwhile);
    assert!(
        since.elapsed() < LONG_BEFORE_THE_END,
        "{path}: {:?}",
        since.elapsed()
    );
    answer
}

async fn a_row_is_answered_once_it_is_committed(place: Place) {
    let app = serve(&place, &[]).await;
    // By another process.
    for table in tables::ALL {
        let row = format!("{}_1", table.id_prefix);
        let write = plan(&[update_in(table, &format!("msg_{row}"), &row, 1, 1)]);
        let commit = async {
            app.store.apply(&write).await.unwrap();
        };
        let path = format!("/api/{}/{row}?wait=30", table.plural);
        let answer = answered(&app, &path, commit).await;
        assert_eq!(
            (answer.status, &answer.body["clerk_id"]),
            (200, &row.into())
        );
        // As without a wait.
        let again = get(&app, path.split('?').next().unwrap()).await;
        assert_eq!(
            (&again.body, &again.headers["etag"]),
            (&answer.body, &answer.headers["etag"])
        );
    }
    // By its own worker.
    let event = update("msg_9", "user_9", 1);
    let deliver = async {
        let body = event.body().to_vec();
        assert_eq!(app.deliver("msg_9", body).await.status, 200);
    };
    let path = "/api/users/user_9?wait=30&fields=clerk_id,first_name";
    let answer = answered(&app, path, deliver).await;
    assert_eq!(
        (answer.status, answer.body.to_string()),
        (200, r#"{"clerk_id":"user_9","first_name":"msg_9"}"#.into())
    );

    what_is_there_is_answered_as_without_a_wait(&app).await;
    a_row_that_never_comes_is_404_after_the_wait(&app).await;
    assert!(app.stop().success());
}

async fn what_is_there_is_answered_as_without_a_wait(app: &App) {
    let since = Instant::now();
    let path = "/api/users/user_9?wait=30";
    let whole = get(app, path).await;
    let read = app.api(Some(READER), path, None).await;
    assert!(whole.body.get("data").is_some() && read.body.get("data").is_none());
    let private = app
        .api(Some(READER), &format!("{path}&fields=data"), None)
        .await;
    assert_eq!((private.status, private.code()), (403, "forbidden"));
    assert_eq!(app.api(None, path, None).await.status, 401);
    let headers = [
        ("authorization", format!("Bearer {ADMIN}")),
        (
            "if-none-match",
            whole.headers["etag"].to_str().unwrap().into(),
        ),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value));
    let known = app.send("GET", path, &headers, Vec::new()).await.unwrap();
    assert_eq!(known.status(), 304);
    let head = app.send("HEAD", path, &headers[..1], Vec::new()).await;
    let head = head.unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["etag"]),
        (200, &whole.headers["etag"])
    );
    for wrong in ["31", "-1", "1.5", "soon", ""] {
        for row in ["user_9", "user_none"] {
            let path = format!("/api/users/{row}?wait={wrong}");
            let answer = get(app, &path).await;
            assert_eq!(
                (answer.status, answer.code(), &answer.body["param"]),
                (400, "invalid_request", &"wait".into()),
                "{path}"
            );
        }
    }
    // No row can have this ID.
    let impossible = format!("/api/users/{}?wait=30", "x".repeat(256));
    assert_eq!(get(app, &impossible).await.status, 404);
    // Only one row is waited for.
    for path in [
        "/api/users?wait=30",
        "/api/users/user_9/history?wait=30",
        "/api/events/msg_9?wait=30",
    ] {
        assert_eq!(get(app, path).await.status, 400, "{path}");
    }
    assert!(since.elapsed() < LONG_BEFORE_THE_END);
}

async fn a_row_that_never_comes_is_404_after_the_wait(app: &App) {
    let plain = get(app, "/api/users/user_none").await;
    for (method, wait) in [(Method::GET, 0), (Method::GET, 1), (Method::HEAD, 1)] {
        let since = Instant::now();
        let path = format!("/api/users/user_none?wait={wait}");
        let headers = [("authorization".to_owned(), format!("Bearer {ADMIN}"))];
        let answer = app.send(method.as_str(), &path, &headers, Vec::new()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 404);
        assert!(since.elapsed() >= Duration::from_secs(wait));
        assert!(since.elapsed() < LONG_BEFORE_THE_END);
        if method == Method::GET {
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(body["detail"], plain.body["detail"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_file() {
    a_row_is_answered_once_it_is_committed(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_servers() {
    a_row_is_answered_once_it_is_committed(Place::servers().await).await;
}

/// The other process here is a command of the program.
#[tokio::test(flavor = "multi_thread")]
async fn through_poolers() {
    let Some(program) = program() else { return };
    let follows = can_follow(&program)
        .then_some(["pool_mode = transaction", "max_prepared_statements = 200"]);
    let modes = [Some(["pool_mode = session", ""]), follows];
    for settings in modes.into_iter().flatten() {
        let place = Place::servers().await;
        let server = place.database().url();
        let bouncer = PgBouncer::before(&program, &server, &settings).await;
        let app = serve(&place, &[("DATABASE_URL", &bouncer.url(&server))]).await;
        for user in ["user_1", "user_2"] {
            let path = format!("/api/users/{user}?wait=30");
            let answer = answered(&app, &path, write_user(&app, user)).await;
            assert_eq!(answer.status, 200, "{settings:?}");
        }
        assert!(app.stop().success());
    }
}

/// Transactions of the database so far.
async fn transactions(connection: &mut PgConnection) -> i64 {
    let sql = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";
    let counted = sqlx::query_scalar(sql).fetch_one(connection).await;
    counted.unwrap()
}

/// Connections to the database, but for this one and the test's own store.
async fn connections(connection: &mut PgConnection) -> i64 {
    let sql = "select count(*) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid()";
    let counted = sqlx::query_scalar(sql).fetch_one(connection).await;
    counted.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_wait_over_one_connection_and_without_queries() {
    let place = Place::servers().await;
    let app = serve(&place, &[]).await;
    let mut watcher = place.database().connect().await;
    // The usual connections of the program and of the test are there.
    write_user(&app, "user_first").await;
    join_all((0..64).map(|_| get(&app, "/api/users?q=user_"))).await;
    let before = connections(&mut watcher).await;
    // Of four connections that read, some may not have been needed yet.
    let most = before + 4 + 1;

    let paths = (0..1000).map(|n| format!("/api/users/user_{n}?wait=30"));
    let asking: Vec<_> = paths
        .map(|path| {
            let url = format!("http://{}{path}", app.address);
            let client = app.client().clone();
            tokio::spawn(async move {
                let asked = client.get(url).bearer_auth(ADMIN).send().await.unwrap();
                asked.status().as_u16()
            })
        })
        .collect();
    // The server publishes its numbers a second late. With a query for each that waits, however
    // seldom, they would not come to rest.
    let mut counted = transactions(&mut watcher).await;
    until("all wait, and the database rests", async || {
        let since = Instant::now();
        until("two seconds are over", async || {
            since.elapsed() > Duration::from_secs(2)
        })
        .await;
        let now = transactions(&mut watcher).await;
        now - std::mem::replace(&mut counted, now) < 50
    })
    .await;
    assert!(connections(&mut watcher).await <= most);

    let events: Vec<_> = (0..1000)
        .map(|n| update(&format!("msg_{n:04}"), &format!("user_{n}"), 1))
        .collect();
    let since = Instant::now();
    for events in events.chunks(250) {
        app.store.apply(&plan(events)).await.unwrap();
    }
    let answers = tokio::time::timeout(DEADLINE, join_all(asking))
        .await
        .unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| *answer.as_ref().unwrap() == 200)
    );
    assert!(
        since.elapsed() < LONG_BEFORE_THE_END,
        "{:?}",
        since.elapsed()
    );
    assert!(connections(&mut watcher).await <= most);
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_goes_on_through_an_outage_of_the_database() {
    let place = Place::servers().await;
    let (url, proxy) = through_a_proxy(&place.database().url()).await;
    let app = serve(&place, &[("DATABASE_URL", &url)]).await;
    let outage = async {
        proxy.cut();
        // One that comes during the outage waits too.
        let during = get(&app, "/api/users/user_1?wait=30");
        let rest = async {
            let short = get(&app, "/api/users/user_1?wait=1").await;
            let plain = get(&app, "/api/users/user_1").await;
            assert_eq!(
                (short.status, short.code()),
                (503, "database_unavailable"),
                "{}",
                short.body
            );
            assert_eq!((plain.status, plain.code()), (short.status, short.code()));
            assert!(short.headers.contains_key("retry-after"));
            write_user(&app, "user_1").await;
            proxy.restore();
        };
        let (during, ()) = tokio::join!(during, rest);
        assert_eq!(during.status, 200, "{}", during.body);
    };
    let answer = answered(&app, "/api/users/user_1?wait=30", outage).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // And afterwards as before.
    let answer = answered(
        &app,
        "/api/users/user_2?wait=30",
        write_user(&app, "user_2"),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert!(app.stop().success());
}
