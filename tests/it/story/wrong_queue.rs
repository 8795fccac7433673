//! A replay goes to the queue that the workers take from, or nowhere; and who only looks makes
//! nothing.

use std::path::Path;

use clerk_sync::store::Status;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::support::app::{App, Place, SECRET, until};
use crate::support::broker::{self, Namespace};
use crate::support::history::{fail, update};

/// Runs `events replay --all` with other settings; its exit status and output.
fn replay(
    place: &Place,
    arguments: &[&str],
    variables: &[(&str, &str)],
    without: &[&str],
) -> (Option<i32>, String) {
    let mut command = place.command(&["events", "replay", "--all"]);
    command.args(arguments).envs(variables.iter().copied());
    without.iter().for_each(|name| _ = command.env_remove(name));
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .concat();
    (output.status.code(), said)
}

async fn recorded(place: &Place) -> Value {
    let value = match place {
        Place::Servers { database, .. } => {
            let sql = "select value::text from clerk.settings where name = 'worker_queue'";
            sqlx::query_scalar::<_, String>(sql)
                .fetch_optional(&mut database.connect().await)
                .await
                .unwrap()
        }
        Place::Embedded { directory } => {
            let path = directory.path().join("users.db").display().to_string();
            let mut file = sqlx::SqliteConnection::connect(&path).await.unwrap();
            let sql = "select value from settings where name = 'worker_queue'";
            sqlx::query_scalar(sql)
                .fetch_optional(&mut file)
                .await
                .unwrap()
        }
    };
    value
        .map(|value| serde_json::from_str(&value).unwrap())
        .unwrap_or_default()
}

async fn forget_queue(place: &Place) {
    let Place::Servers { database, .. } = place else {
        unreachable!()
    };
    sqlx::query("delete from clerk.settings")
        .execute(&mut database.connect().await)
        .await
        .unwrap();
}

/// As if the other queues had been recorded an hour ago.
async fn forget_others(place: &Place) {
    let Place::Servers { database, .. } = place else {
        unreachable!()
    };
    let sql = "update clerk.settings set value = value - 'others'";
    sqlx::query(sql)
        .execute(&mut database.connect().await)
        .await
        .unwrap();
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_to_a_queue_that_no_worker_reads_is_refused() {
    let place = Place::servers().await;
    let app = place.serve().await;
    let namespace = place.namespace().name().to_owned();
    until("the worker has recorded its queue", async || {
        recorded(&place).await["namespace"] == json!(namespace)
    })
    .await;
    let kept = recorded(&place).await;
    assert_eq!(kept["kind"], "rabbitmq");
    assert!(!kept.to_string().contains("guest"), "{kept}");
    fail(&app.store, &[update("msg_1", "user_1", 1)]).await;
    assert!(app.stop().success());

    // Without AMQP_URL: the embedded queue that would be made.
    let (status, said) = replay(&place, &[], &[], &["AMQP_URL"]);
    assert_eq!(status, Some(1), "{said}");
    for words in ["queue.db", "AMQP_URL", &namespace] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("guest"), "{said}");
    assert_eq!(files(&place.directory()), [""; 0], "nothing is made");

    // One that another program has left behind.
    let elsewhere = Place::embedded();
    let other = elsewhere.serve().await;
    assert!(other.stop().success());
    let data_dir = elsewhere.directory();
    let data_dir = data_dir.to_str().unwrap();
    let (status, said) = replay(&place, &[], &[("DATA_DIR", data_dir)], &["AMQP_URL"]);
    assert!(
        status == Some(1) && said.contains("queue.db") && said.contains(&namespace),
        "{said}"
    );

    // Another namespace at the same broker.
    let wrong = Namespace::new();
    let (status, said) = replay(&place, &[], &[("AMQP_NAMESPACE", wrong.name())], &[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("set AMQP_NAMESPACE")
            && said.contains(wrong.name())
            && said.contains(&namespace),
        "{said}"
    );
    assert_eq!(wrong.ready("events").await, None, "nothing is declared");

    // `check` says so beforehand.
    let check = |variables: &[(&str, &str)]| {
        let output = place
            .command(&["check"])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .find(|line| line.contains("worker queue"))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    assert!(check(&[]).starts_with("ok"), "{}", check(&[]));
    let noted = check(&[("AMQP_NAMESPACE", wrong.name())]);
    assert!(
        noted.starts_with("note") && noted.contains("set AMQP_NAMESPACE"),
        "{noted}"
    );

    // The same broker by another name is refused too, unless the operator states that it is the
    // same.
    let other_name = broker::url().replace("127.0.0.1", "localhost");
    assert_ne!(other_name, broker::url());
    let (status, said) = replay(&place, &[], &[("AMQP_URL", &other_name)], &[]);
    assert!(
        status == Some(1) && said.contains("--this-queue") && said.contains("localhost"),
        "{said}"
    );
    let line = place
        .store()
        .event(&clerk_sync::clerk::EventId::new("msg_1").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((line.status, line.attempts), (Status::Failed, 1));
    let (status, said) = replay(&place, &["--this-queue"], &[("AMQP_URL", &other_name)], &[]);
    assert_eq!(status, Some(0), "{said}");
    let app = place.serve().await;
    until("it is applied", async || {
        app.event("msg_1").await.unwrap().status == Status::Applied
    })
    .await;
    // One node of a cluster is enough.
    fail(&app.store, &[update("msg_2", "user_2", 1)]).await;
    let nodes = format!(
        "{},amqp://guest:guest@other.invalid:5672/%2f",
        broker::url()
    );
    let (status, said) = replay(&place, &["--wait"], &[("AMQP_URL", &nodes)], &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_worker_that_started_says_which_queue_it_is() {
    let place = Place::servers().await;
    let app = place.serve().await;
    until("the first queue is recorded", async || {
        !recorded(&place).await.is_null()
    })
    .await;
    assert!(app.stop().success());
    let moved = Namespace::new();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("AMQP_NAMESPACE", moved.name()),
    ];
    let app = place.start(&["serve"], &variables).await;
    until("the next one is recorded", async || {
        recorded(&place).await["namespace"] == json!(moved.name())
    })
    .await;
    fail(&app.store, &[update("msg_1", "user_1", 1)]).await;
    forget_others(&place).await;
    assert_eq!(replay(&place, &[], &[], &[]).0, Some(1), "the old queue");
    let (status, said) = replay(
        &place,
        &["--wait"],
        &[("AMQP_NAMESPACE", moved.name())],
        &[],
    );
    assert_eq!(status, Some(0), "{said}");
    assert!(app.stop().success());

    // A worker with an embedded queue beside PostgreSQL.
    let mut command = place.command(&["serve"]);
    command
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .env_remove("AMQP_URL");
    let app = App::spawn(command, place.store());
    until("the file is recorded", async || {
        recorded(&place).await["kind"] == json!("embedded")
    })
    .await;
    forget_others(&place).await;
    fail(&app.store, &[update("msg_2", "user_2", 1)]).await;
    let (status, said) = replay(&place, &[], &[], &[]);
    assert!(
        status == Some(1)
            && said.contains("unset AMQP_URL, and set DATA_DIR to the workers' directory.")
            && said.contains("queue.db"),
        "{said}"
    );
    let (status, said) = replay(&place, &["--wait"], &[], &["AMQP_URL"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(app.stop().success());
}

/// The record is there, and this role does not see it: that is not the same as none.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_hidden_by_row_level_security_is_not_reported_as_missing() {
    let place = Place::servers().await;
    let app = place.serve().await;
    until("the queue is recorded", async || {
        !recorded(&place).await.is_null()
    })
    .await;
    fail(&app.store, &[update("msg_1", "user_1", 1)]).await;
    assert!(app.stop().success());
    // Another queue that exists.
    let elsewhere = Place::servers().await;
    let other = elsewhere.serve().await;
    let mut admin = place.database().connect().await;
    let role: String = sqlx::query_scalar("select current_database() || '_reader'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let made = format!(
        "create role {role} login; grant usage on schema clerk to {role};
         grant select, insert, update, delete on all tables in schema clerk to {role};
         alter table clerk.settings enable row level security"
    );
    admin.execute(AssertSqlSafe(made)).await.unwrap();
    let mut url = reqwest::Url::parse(&place.database().url()).unwrap();
    url.set_username(&role).unwrap();
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("AMQP_NAMESPACE", elsewhere.namespace().name()),
    ];
    let hidden = "row-level security hides rows of clerk.settings";
    let (status, said) = replay(&place, &[], &variables, &[]);
    assert!(status == Some(1) && said.contains(hidden), "{said}");
    let secret = ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
    let checked = place
        .command(&["check"])
        .envs(variables)
        .envs([secret])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        !checked.status.success() && printed.contains(hidden),
        "{printed}"
    );
    // Events are applied all the same.
    let app = place.start(&["serve"], &[secret, variables[0]]).await;
    assert!(app.stop().success());
    admin
        .execute(AssertSqlSafe(format!(
            "create policy ours on clerk.settings to {role} using (true)"
        )))
        .await
        .unwrap();
    let (status, said) = replay(&place, &[], &variables, &[]);
    assert!(
        status == Some(1) && said.contains("set AMQP_NAMESPACE"),
        "{said}"
    );
    assert!(other.stop().success());
    admin
        .execute(AssertSqlSafe(format!(
            "drop owned by {role} cascade; drop role {role}"
        )))
        .await
        .unwrap();
}

/// A stray worker elsewhere: for four seconds, with the same database and without AMQP_URL.
#[tokio::test(flavor = "multi_thread")]
async fn a_stray_worker_is_warned_of_and_takes_nothing_from_the_workers_that_run() {
    let place = Place::servers().await;
    let app = place.serve().await;
    let namespace = place.namespace().name().to_owned();
    until("the queue is recorded", async || {
        recorded(&place).await["namespace"] == json!(namespace)
    })
    .await;
    let mut command = place.command(&["serve"]);
    command
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .env_remove("AMQP_URL");
    let stray = App::spawn(command, place.store());
    until("the stray has recorded its own", async || {
        recorded(&place).await["kind"] == json!("embedded")
    })
    .await;
    let warned = |app: &App| {
        app.log()
            .into_iter()
            .find(|line| line.contains("WARN") && line.contains("has recorded another queue"))
    };
    until("the stray warns", async || warned(&stray).is_some()).await;
    let said = warned(&stray).unwrap();
    assert!(
        said.contains(&namespace) && said.contains("queue.db") && !said.contains("guest"),
        "{said}"
    );
    assert!(stray.stop().success());

    fail(&app.store, &[update("msg_1", "user_1", 1)]).await;
    let (status, said) = replay(&place, &["--wait"], &[], &[]);
    assert_eq!(status, Some(0), "the queue of the worker that runs: {said}");
    let (status, said) = replay(&place, &[], &[("AMQP_NAMESPACE", "another")], &[]);
    assert!(
        status == Some(1) && said.contains(&namespace) && said.contains("queue.db"),
        "{said}"
    );

    // Within a minute the worker that runs records its queue again.
    until("its queue is the last one", async || {
        recorded(&place).await["namespace"] == json!(namespace)
    })
    .await;
    until("it warns", async || warned(&app).is_some()).await;
    let said = warned(&app).unwrap();
    assert!(
        said.contains(&namespace) && said.contains("queue.db") && !said.contains("guest"),
        "{said}"
    );
    assert!(app.stop().success());
}

/// A database that only older programs have used, and one whose schema is older.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_record_of_a_worker_the_queue_must_exist() {
    let place = Place::servers().await;
    let app = place.serve().await;
    until("the queue is recorded", async || {
        !recorded(&place).await.is_null()
    })
    .await;
    fail(&app.store, &[update("msg_1", "user_1", 1)]).await;
    forget_queue(&place).await;
    let (status, said) = replay(&place, &[], &[], &["AMQP_URL"]);
    assert!(
        status == Some(1) && said.contains("set AMQP_URL to the queue of the workers"),
        "{said}"
    );
    assert!(!place.directory().join("queue.db").exists());
    let wrong = Namespace::new();
    let (status, said) = replay(&place, &[], &[("AMQP_NAMESPACE", wrong.name())], &[]);
    assert!(
        status == Some(1) && said.contains("there is no queue"),
        "{said}"
    );
    assert_eq!(wrong.ready("events").await, None, "nothing is declared");
    let (status, said) = replay(&place, &["--wait"], &[], &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_queue_is_known_wherever_it_is_moved_and_another_is_refused() {
    let (place, other) = (Place::embedded(), Place::embedded());
    let app = place.serve().await;
    until("the queue is recorded", async || {
        recorded(&place).await["kind"] == json!("embedded")
    })
    .await;
    fail(&app.store, &[update("msg_1", "user_1", 1)]).await;
    assert!(app.stop().success());
    let users = format!("sqlite://{}", place.directory().join("users.db").display());
    let there = other.directory();
    let elsewhere = [
        ("DATABASE_URL", users.as_str()),
        ("DATA_DIR", there.to_str().unwrap()),
    ];
    let (status, said) = replay(&place, &[], &elsewhere, &[]);
    assert!(status == Some(1) && said.contains("DATA_DIR"), "{said}");
    assert_eq!(files(&there), [""; 0], "nothing is made");
    assert!(other.serve().await.stop().success());
    let (status, said) = replay(&place, &[], &elsewhere, &[]);
    assert!(
        status == Some(1) && said.contains("DATA_DIR"),
        "another queue's file: {said}"
    );
    for file in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        drop(std::fs::remove_file(there.join(file)));
    }
    std::fs::copy(place.directory().join("queue.db"), there.join("queue.db")).unwrap();
    let (status, said) = replay(&place, &[], &elsewhere, &[]);
    assert_eq!(status, Some(0), "the file was moved: {said}");
}

/// Neither a file, nor a directory, nor a schema.
#[tokio::test(flavor = "multi_thread")]
async fn commands_create_no_file_directory_or_schema() {
    let commands: [&[&str]; 17] = [
        &["users", "list"],
        &["users", "show", "user_1"],
        &["users", "history", "user_1"],
        &["users", "erase", "user_1", "--dry-run"],
        &["users", "erase", "user_1", "--yes"],
        &["events", "list"],
        &["events", "show", "msg_1"],
        &["events", "replay", "--all"],
        &["events", "replay", "--all", "--dry-run"],
        &["events", "replay", "msg_1"],
        &["events", "discard", "--all"],
        &["events", "discard", "--all", "--dry-run"],
        &["migrate", "--check"],
        &["check"],
        &["reconcile", "--patience", "1"],
        &[
            "send",
            "user.created",
            "--yes",
            "--url",
            "http://127.0.0.1:1/",
        ],
        &["healthcheck"],
    ];
    for place in [Place::embedded(), Place::servers().await] {
        for arguments in commands {
            let directory = place.directory().join("here");
            std::fs::create_dir(&directory).unwrap();
            let mut command = place.command(arguments);
            command
                .current_dir(&directory)
                .env("DATA_DIR", directory.join("data"))
                .env("PORT", "1");
            // A key for an API that does not answer.
            command
                .env("CLERK_SECRET_KEY", "sk_test_1")
                .env("CLERK_API_URL", "http://127.0.0.1:1/v1");
            command.env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(files(&directory), [""; 0], "{arguments:?}: {said}");
            std::fs::remove_dir_all(&directory).unwrap();
            if let Place::Servers { database, .. } = &place {
                let schema = sqlx::query_scalar("select to_regnamespace('clerk') is null");
                let is_absent: bool = schema
                    .fetch_one(&mut database.connect().await)
                    .await
                    .unwrap();
                assert!(is_absent, "{arguments:?}: {said}");
                assert_eq!(
                    place.namespace().ready("events").await,
                    None,
                    "{arguments:?}: {said}"
                );
            }
        }
    }
}
