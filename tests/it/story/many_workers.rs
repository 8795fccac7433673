//! Receivers and workers as processes of their own, around one broker and one database.

use futures_util::future::join_all;

use crate::support::app::{App, Place, SECRET, until};

const USERS: usize = 20;
const VERSIONS: usize = 100;

fn update(user: usize, version: usize) -> (String, String) {
    let ms = 1_795_172_400_000_usize + version;
    let body = format!(
        r#"{{"data":{{"id":"user_{user}","first_name":"{version}","updated_at":{ms}}},"timestamp":{ms},"type":"user.updated"}}"#
    );
    (format!("msg_{user}_{version}"), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_with_the_same_users_come_to_the_right_rows() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    let small_batches = [("WORKER_BATCH", "7"), ("WORKER_CONCURRENCY", "3")];
    let workers = [
        place.start(&["worker"], &small_batches).await,
        place.start(&["worker"], &small_batches).await,
    ];

    // Every user's versions at once and in no order, so that both workers hold the same users all
    // the time.
    join_all((0..USERS).map(async |user| {
        join_all((0..VERSIONS).map(async |n| {
            let (id, body) = update(user, (n * 37) % VERSIONS);
            assert_eq!(receiver.deliver(&id, body).await.status, 200);
        }))
        .await;
    }))
    .await;

    for user in 0..USERS {
        for version in 0..VERSIONS {
            receiver.settled(&update(user, version).0).await;
        }
        let row = receiver.user(&format!("user_{user}")).await.unwrap();
        assert_eq!(row.text("first_name"), Some(&*(VERSIONS - 1).to_string()));
    }
    for worker in &workers {
        assert!(
            worker
                .log()
                .iter()
                .all(|line| !line.contains("ERROR") && !line.contains("WARN")),
            "{:#?}",
            worker.log()
        );
    }
    for app in workers.into_iter().chain([receiver]) {
        assert!(app.stop().success());
    }
}

/// Side by side in one folder, with nothing of a database.
#[tokio::test(flavor = "multi_thread")]
async fn receivers_need_no_database_and_no_directory() {
    let place = Place::servers().await;
    let start = || {
        let mut command = place.command(&["receiver"]);
        command
            .env_remove("DATABASE_URL")
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        command.env("DATA_DIR", "/proc/nothing-can-be-made-here");
        App::spawn(command, place.store())
    };
    let receivers = [start(), start()];
    for (number, receiver) in receivers.iter().enumerate() {
        until("it is ready", async || {
            receiver
                .get("/readyz")
                .await
                .is_some_and(|answer| answer.status == 200)
        })
        .await;
        let (id, body) = update(number, 1);
        assert_eq!(receiver.deliver(&id, body).await.status, 200);
    }
    for receiver in receivers {
        assert!(receiver.stop().success());
    }
}

#[tokio::test]
async fn a_worker_waits_for_the_schema_and_says_what_to_do() {
    let place = Place::servers().await;
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    let (id, body) = update(1, 1);
    assert_eq!(
        receiver.deliver(&id, body).await.status,
        200,
        "a receiver needs no database"
    );

    let worker = place.start_unready(&["worker"], &[]);
    until("the worker says that it is not ready", async || {
        worker
            .get("/readyz")
            .await
            .is_some_and(|answer| answer.status == 503 && answer.code() == "not_ready")
    })
    .await;
    let answer = worker.get("/readyz").await.unwrap();
    assert_eq!(
        answer.body["missing"],
        serde_json::json!(["database"]),
        "{:?}",
        answer.body
    );
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("clerk-sync migrate")
    );
    assert!(answer.headers.contains_key("retry-after"));

    place.succeed(&["migrate"]);
    receiver.settled(&id).await;
}

#[tokio::test]
async fn a_role_alone_needs_a_broker_and_says_so() {
    let place = Place::embedded();
    for role in ["receiver", "worker"] {
        let output = place
            .command(&[role])
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            error.contains("AMQP_URL") && error.lines().count() == 1,
            "{error}"
        );
    }
}
