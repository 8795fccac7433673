//! One process with no servers: killed again and again, it loses nothing.

use std::process::Command;

use clerk_sync::clock::now;
use clerk_sync::queue::{self, Queue};
use clerk_sync::store::{self, Keep, Store};

use crate::check::{Traces, check};
use crate::feed::check_table;
use crate::flood::{Flood, Target};
use crate::noted::Noted;
use crate::support::app::tempdir::TempDir;
use crate::support::app::{App, SECRET, until};
use crate::system::seed;

const KILLS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_without_servers_that_is_killed_loses_nothing() {
    let _alone = crate::ALONE.lock().await;
    let seed = seed();
    let directory = TempDir::new();
    let store = || {
        let options = store::sqlite::Options {
            path: directory.path().join("users.db"),
            keep: Keep::default(),
            change_feed: true,
        };
        Store::open(&store::Options::Sqlite(options)).unwrap()
    };
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
        command
            .arg("serve")
            .current_dir(directory.path())
            .env_clear()
            .env("DATA_DIR", directory.path());
        command
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .env("CHANGE_FEED", "on")
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        App::spawn(command, store())
    };
    let since = now();
    let mut app = start();
    until("it is ready", async || {
        app.get("/readyz")
            .await
            .is_some_and(|answer| answer.status == 200)
    })
    .await;
    let noted = Noted::Sqlite(directory.path().join("users.db"))
        .begin()
        .await;
    let target = Target::new(Some(app.webhook_url()));
    let flood = Flood::start(format!("{seed:x}"), seed, target.clone());
    for _ in 0..KILLS {
        flood.accepts(100).await;
        app.signal("KILL");
        app.wait();
        target.send_replace(None);
        app = start();
        target.send_replace(Some(app.webhook_url()));
    }
    flood.accepts(100).await;
    let expected = flood.ends().await;
    println!("{KILLS} kills: {:?}", expected.counts);
    let findings = check(
        &Traces {
            store: store(),
            noted,
            since,
            were_replayed: false,
        },
        &expected,
    )
    .await;
    assert!(
        findings.words.is_empty(),
        "FAULT_SEED={seed}: {:#?}",
        findings.words
    );
    let words = check_table(&store(), &expected).await;
    assert!(words.is_empty(), "FAULT_SEED={seed}: {words:#?}");
    assert!(app.stop().success());
    let options = queue::embedded::Options {
        path: directory.path().join("queue.db"),
    };
    let queue = Queue::open(&queue::Options::Embedded(options))
        .await
        .unwrap();
    assert_eq!(
        queue.depth().await.unwrap(),
        0,
        "nothing is left in the queue"
    );
    queue.close().await;
}
