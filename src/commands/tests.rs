//! Tests of `server.rs`: when a required task dies, the server stops in order.

use std::process::ExitCode;

use clap::Parser;

use super::*;
use crate::shutdown::Shutdown;
use crate::tasks;

/// Set by the test below when it starts this one in another process.
const DIES: &str = "CLERK_SYNC_TEST_DIES";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_which_a_vital_task_dies() {
    if std::env::var_os(DIES).is_none() {
        return;
    }
    // Not before the log is there to tell of it.
    let dies = async {
        while !tracing::dispatcher::has_been_set() {
            tokio::task::yield_now().await;
        }
        panic!("ada@example.com")
    };
    _ = tasks::vital("made by a test", &Shutdown::default(), dies);
    let status = run(Cli::parse_from(["clerk-sync", "serve"])).await;
    assert_eq!(format!("{status:?}"), format!("{:?}", ExitCode::FAILURE));
}

/// In a process of its own: a process dies once.
#[test]
fn a_server_in_which_a_vital_task_dies_stops_in_order_with_status_1() {
    let directory = std::env::temp_dir().join(format!("clerk-sync-serve-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    program.args([
        "--exact",
        "commands::tests::a_server_in_which_a_vital_task_dies",
        "--nocapture",
    ]);
    program
        .env_clear()
        .env(DIES, "1")
        .env("PORT", "0")
        .env("LOG_FORMAT", "json")
        .current_dir(&directory);
    program.env(
        "CLERK_WEBHOOK_SIGNING_SECRET",
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    );
    let output = program.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the server ends by itself, with status 1: {log}"
    );
    for part in [
        r#""task":"made by a test""#,
        "src/commands/tests.rs:",
        "because a task died: made by a test",
    ] {
        assert!(log.contains(part), "{part} is missing in {log}");
    }
    assert!(!log.contains("ada@"), "{log}");
    std::fs::remove_dir_all(directory).unwrap();
}
