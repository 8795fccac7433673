//! The files of a process without servers: full, read-only, damaged, or in use by another process.

#![cfg(target_os = "linux")] // prlimit, setpriv and tmpfs

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use clerk_sync::store::Status;

use crate::support::app::{App, Place, SECRET, until};

/// An update of 3 KiB, so that few fill a small disk.
fn update(number: usize) -> (String, String) {
    let body = format!(
        r#"{{"data":{{"about":"{}","id":"user_{number}","updated_at":1795172400018}},"timestamp":1795172400033,"type":"user.updated"}}"#,
        "x".repeat(3000)
    );
    (format!("msg_{number}"), body)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The program with its files in `data`, as a child of a shell that sets something up.
fn serve_in(place: &Place, data: &Path, set_up: &str, variables: &[(&str, &str)]) -> Command {
    let program = place.command(&["serve"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{set_up} \"$0\" serve")])
        .arg(program.get_program())
        .env_clear();
    command.envs(
        program
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .env("DATA_DIR", data)
        .envs(variables.iter().copied());
    command
        .current_dir(place.directory())
        .stdin(std::process::Stdio::null());
    command
}

async fn is_ready(app: &App) -> bool {
    app.get("/readyz")
        .await
        .is_some_and(|answer| answer.status == 200)
}

async fn missing(app: &App) -> String {
    app.get("/readyz").await.unwrap().body["missing"].to_string()
}

/// Every event is there, was applied, and took one try.
async fn all_applied(app: &App, accepted: &[usize]) {
    for number in accepted {
        let line = app.settled(&update(*number).0).await;
        assert_eq!(
            (line.status, line.attempts),
            (Status::Applied, 1),
            "{}: {:?}",
            line.event_id,
            line.error
        );
        assert!(app.user(&format!("user_{number}")).await.is_some());
    }
}

/// Delivers until one is refused; gives the numbers of those that were accepted.
async fn deliver_until_refused(app: &App, from: usize) -> Vec<usize> {
    let mut accepted = Vec::new();
    for number in from..from + 5000 {
        let (id, body) = update(number);
        let started = Instant::now();
        let answer = app.try_deliver(&id, body).await.unwrap();
        if answer.status == 200 {
            accepted.push(number);
            continue;
        }
        assert_eq!((answer.status, answer.code()), (503, "queue_unavailable"));
        assert!(answer.headers.contains_key("retry-after"));
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "the refusal took {:?}",
            started.elapsed()
        );
        return accepted;
    }
    panic!("the disk is never full");
}

fn lines_that_say(app: &App, what: &str) -> usize {
    app.log().iter().filter(|line| line.contains(what)).count()
}

/// A disk of 4 MiB, gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                "size=4m",
                "tmpfs",
                at.to_str().unwrap(),
            ],
        );
        Self(at)
    }

    /// Leaves so many bytes.
    fn fill_up_to(&self, left: u64) {
        let free =
            String::from_utf8(run("stat", &["-f", "-c", "%a %S", self.0.to_str().unwrap()]).stdout)
                .unwrap();
        let (blocks, size) = free.trim().split_once(' ').unwrap();
        let bytes = blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap();
        std::fs::write(
            self.0.join("ballast"),
            vec![0; usize::try_from(bytes.saturating_sub(left)).unwrap()],
        )
        .unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the program may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_503_until_there_is_room_and_nothing_is_lost() {
    if !is_root() {
        println!(
            "only root can mount a small disk; a limit of the file size stands for it elsewhere in this file"
        );
        return;
    }
    let place = Place::embedded();
    let disk = SmallDisk::mount(place.directory().join("disk"));
    let app = App::spawn(
        serve_in(&place, &disk.0, "exec", &[]),
        place.store_at(&disk.0.join("users.db")),
    );
    until("it is ready", async || is_ready(&app).await).await;
    disk.fill_up_to(1024 * 1024);
    let mut accepted = deliver_until_refused(&app, 0).await;
    let mut number = 5000;
    // An acknowledgement can make room for one more.
    until("readiness says so", async || {
        number += 1;
        let (id, body) = update(number);
        if app.try_deliver(&id, body).await.unwrap().status == 200 {
            accepted.push(number);
        }
        missing(&app).await.contains("queue")
    })
    .await;
    assert!(accepted.len() > 10, "{accepted:?}");
    // Many more change nothing about what the log says.
    for number in 7000..7020 {
        let (id, body) = update(number);
        match app.try_deliver(&id, body).await.unwrap().status {
            200 => accepted.push(number),
            status => assert_eq!(status, 503),
        }
    }
    let full = lines_that_say(
        &app,
        "events are refused, and Clerk sends them again: the disk of the queue file is full",
    );
    let again = lines_that_say(&app, "the queue file can be written again");
    assert!(
        (1..=again + 1).contains(&full),
        "once each time: {:#?}",
        app.log()
    );

    disk.free();
    until("it is ready again", async || is_ready(&app).await).await;
    for number in 6000..6020 {
        let (id, body) = update(number);
        assert_eq!(app.deliver(&id, body).await.status, 200);
        accepted.push(number);
    }
    all_applied(&app, &accepted).await;
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_file_size_is_503_until_it_is_raised_and_nothing_is_lost() {
    let place = Place::embedded();
    let data = place.directory();
    // The system ends a program that does not expect the signal.
    let app = App::spawn(
        serve_in(&place, &data, "trap '' XFSZ; exec", &[]),
        place.store(),
    );
    until("it is ready", async || is_ready(&app).await).await;
    let limit = |soft: &str| {
        run(
            "prlimit",
            &["--pid", &app.id().to_string(), &format!("--fsize={soft}:")],
        )
    };
    limit("300000");
    let mut accepted = deliver_until_refused(&app, 0).await;
    assert!(missing(&app).await.contains("queue"));
    assert_eq!(
        lines_that_say(&app, "events are refused"),
        1,
        "{:#?}",
        app.log()
    );
    limit("unlimited");
    until("it is ready again", async || is_ready(&app).await).await;
    let (id, body) = update(6000);
    assert_eq!(app.deliver(&id, body).await.status, 200);
    accepted.push(6000);
    all_applied(&app, &accepted).await;
}

/// The users' file alone: events are accepted, and wait.
#[tokio::test(flavor = "multi_thread")]
async fn events_wait_while_the_users_file_has_no_room() {
    if !is_root() {
        println!("only root can mount a small disk");
        return;
    }
    let place = Place::embedded();
    let disk = SmallDisk::mount(place.directory().join("disk"));
    let users = disk.0.join("users.db");
    let url = format!("sqlite://{}", users.display());
    let variables = [("DATABASE_URL", url.as_str())];
    let app = App::spawn(
        serve_in(&place, &place.directory(), "exec", &variables),
        place.store_at(&users),
    );
    until("it is ready", async || is_ready(&app).await).await;
    disk.fill_up_to(64 * 1024);
    let accepted: Vec<usize> = (0..300).collect();
    for number in &accepted {
        let (id, body) = update(*number);
        assert_eq!(
            app.deliver(&id, body).await.status,
            200,
            "the queue has room"
        );
    }
    until("the log says so", async || {
        lines_that_say(&app, "users.db has no more room: free some on its disk") > 0
    })
    .await;
    disk.free();
    all_applied(&app, &accepted).await;
    assert_eq!(
        lines_that_say(&app, "has no more room"),
        1,
        "it is said once"
    );
}

/// As somebody who is not root: root may write to everything.
#[tokio::test(flavor = "multi_thread")]
async fn read_only_files_are_reported_and_recovered_from() {
    if !is_root() {
        println!("only root can run the program as another user");
        return;
    }
    let place = Place::embedded();
    let data = place.directory().join("data");
    std::fs::create_dir(&data).unwrap();
    let program = place.directory().join("clerk-sync");
    std::fs::copy(env!("CARGO_BIN_EXE_clerk-sync"), &program).unwrap();
    let (data_text, root_text) = (data.to_str().unwrap(), place.directory());
    run("chmod", &["755", root_text.to_str().unwrap()]);
    run("chown", &["-R", "65534:65534", data_text]);
    let start = |how: &str| {
        let mut command = serve_in(&place, &data, "exec", &[]);
        let as_other_user = format!(
            "exec {how} setpriv --reuid=65534 --regid=65534 --clear-groups {} serve",
            program.display()
        );
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &as_other_user])
            .env_clear()
            .current_dir("/")
            .stdin(std::process::Stdio::null());
        shell.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command = shell;
        command
    };
    let users = data.join("users.db");
    let app = App::spawn(start(""), place.store_at(&users));
    until("it is ready", async || is_ready(&app).await).await;
    let (id, body) = update(0);
    assert_eq!(app.deliver(&id, body).await.status, 200);
    all_applied(&app, &[0]).await;
    assert!(app.stop().success());

    // The users' file: events are accepted and wait.
    run("chmod", &["0444", users.to_str().unwrap()]);
    let app = App::spawn(start(""), place.store_at(&users));
    until("the log says so", async || {
        lines_that_say(&app, "users.db cannot be written: check its permissions") > 0
    })
    .await;
    assert_eq!(missing(&app).await, r#"["database"]"#);
    let (id, body) = update(1);
    assert_eq!(app.deliver(&id, body).await.status, 200);
    run("chmod", &["0600", users.to_str().unwrap()]);
    all_applied(&app, &[0, 1]).await;
    assert!(app.stop().success());

    // The queue's file: nothing can be promised, so it does not start.
    let queue = data.join("queue.db");
    run("chmod", &["0444", queue.to_str().unwrap()]);
    let output = start("timeout 30").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("queue.db") && said.contains("permissions"),
        "{said}"
    );
    run("chmod", &["0600", queue.to_str().unwrap()]);
    let app = App::spawn(start(""), place.store_at(&users));
    until("it is ready", async || is_ready(&app).await).await;
}

/// Fills both files, and stops in good order. No other process reads, so each file is complete:
/// a `-wal` file would repair a damaged one.
async fn two_files_of_many_pages() -> Place {
    let place = Place::embedded();
    let app = place.serve().await;
    let numbers: Vec<usize> = (0..120).collect();
    for number in &numbers {
        let (id, body) = update(*number);
        assert_eq!(app.deliver(&id, body).await.status, 200);
    }
    all_applied(&app, &numbers).await;
    app.store.close().await;
    assert!(app.stop().success());
    for name in ["queue.db-wal", "users.db-wal"] {
        assert!(!place.directory().join(name).exists(), "{name} is left");
    }
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_stops_the_start_and_is_left_as_it_is() {
    let place = two_files_of_many_pages().await;
    for name in ["queue.db", "users.db"] {
        let file = place.directory().join(name);
        let good = std::fs::read(&file).unwrap();
        let (middle, pages) = (good.len() / 2 / 4096 * 4096, good.len() / 4096);
        assert!(pages > 8, "{name} has {pages} pages");
        let (mut garbled, mut beheaded) = (good.clone(), good.clone());
        // From the second page on: every page of a table or an index.
        garbled[4096..middle + 4096].fill(0xA5);
        beheaded[..100].fill(0);
        for (how, bad) in [
            ("garbled", garbled),
            ("cut", good[..middle + 100].to_vec()),
            ("beheaded", beheaded),
        ] {
            std::fs::write(&file, &bad).unwrap();
            let output = serve_in(&place, &place.directory(), "timeout 30", &[])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{name} {how}: {said}");
            let line = said
                .lines()
                .find(|line| line.starts_with("clerk-sync: "))
                .unwrap_or_else(|| panic!("{said}"));
            assert!(
                line.contains(name) && line.contains("move"),
                "{name} {how}: {line}"
            );
            assert_eq!(
                std::fs::read(&file).unwrap(),
                bad,
                "{name} {how} was changed"
            );
        }
        std::fs::write(&file, &good).unwrap();
    }
    let app = place.serve().await;
    assert!(
        app.user("user_7").await.is_some(),
        "the good files are taken again"
    );
}

#[tokio::test]
async fn a_second_process_is_refused_and_the_first_works_on() {
    let place = Place::embedded();
    let first = place.serve().await;
    let output = place
        .command(&["serve"])
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(place.directory().to_str().unwrap()) && said.contains("another"),
        "{said}"
    );
    let (id, body) = update(1);
    assert_eq!(first.deliver(&id, body).await.status, 200);
    all_applied(&first, &[1]).await;

    first.signal("KILL");
    drop(first);
    let next = place.serve().await;
    assert!(
        next.user("user_1").await.is_some(),
        "a kill leaves nothing behind that keeps the next one out"
    );
}
