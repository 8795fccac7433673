//! Which files are opened, which are refused, and what a refusal says.

use sqlx::Connection;

use super::directory_lock::DirectoryLock;
use super::*;

async fn refusal(path: &Path) -> String {
    match Queue::open(&Options {
        path: path.to_owned(),
    })
    .await
    {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string(),
    }
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let text = "not a database, but somebody's only copy of something\n".repeat(100);
    std::fs::write(place.file(), &text).unwrap();
    let line = refusal(&place.file()).await;
    assert!(
        line.contains("queue.db is not a SQLite database: move it away"),
        "{line}"
    );
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), text);

    std::fs::remove_file(place.file()).unwrap();
    let mut stranger = place.stranger().await;
    run(&mut stranger, "create table users (id integer)").await;
    stranger.close().await.unwrap();
    let before = std::fs::read(place.file()).unwrap();
    let line = refusal(&place.file()).await;
    assert!(
        line.contains("queue.db is a database of another kind"),
        "{line}"
    );
    assert_eq!(
        std::fs::read(place.file()).unwrap(),
        before,
        "not a byte of it is changed"
    );

    let line = refusal(&place.0).await;
    assert!(
        line.contains("cannot be opened") && line.contains("Check its permissions"),
        "{line}"
    );
    let line = refusal(&place.file().join("below-a-file")).await;
    assert!(
        line.contains("cannot be made") && line.contains("DATA_DIR"),
        "{line}"
    );
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let place = Place::new();
    place.open().await.close().await;
    let mut stranger = place.stranger().await;
    run(&mut stranger, "pragma user_version = 4").await;
    stranger.close().await.unwrap();
    let line = refusal(&place.file()).await;
    assert!(
        line.contains("has version 4, this program knows 3: use the clerk-sync that wrote it"),
        "{line}"
    );
}

#[tokio::test]
async fn a_file_of_version_1_is_brought_up_to_date_with_what_waits_in_it() {
    let place = Place::new();
    let mut old = place.stranger().await;
    run(&mut old, include_str!("../schema.sql")).await;
    let fill = "insert into queue (event_id, event_type, sent_at, received_at, body) values ('msg_old', 'user.created', 1, 1, x'78');
        pragma application_id = 0x43535131; pragma user_version = 1";
    run(&mut old, fill).await;
    old.close().await.unwrap();
    let (one, other) = tokio::join!(place.open(), place.open());
    one.publish(event("new")).await.unwrap();
    other.close().await;
    assert_eq!(
        drain(&one, 5).await.into_keys().collect::<Vec<_>>(),
        ["msg_old", "new"]
    );
    one.close().await;
    place.open().await.close().await;
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let queue = place.open().await;
    for number in 0..50 {
        queue
            .publish(event_of(
                &format!("msg_{number}"),
                Bytes::from(vec![b'x'; 3000]),
            ))
            .await
            .unwrap();
    }
    queue.close().await;
    let mut bytes = std::fs::read(place.file()).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xA5);
    std::fs::write(place.file(), &bytes).unwrap();
    let line = refusal(&place.file()).await;
    assert!(line.contains("queue.db is damaged"), "{line}");
    assert_eq!(std::fs::read(place.file()).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_make_the_file_at_once() {
    for _ in 0..5 {
        let place = Place::new();
        let mut opening = JoinSet::new();
        for number in 0..8 {
            let options = Options { path: place.file() };
            opening.spawn(async move {
                let queue = Queue::open(&options).await.unwrap();
                queue
                    .publish(event(&format!("msg_{number}")))
                    .await
                    .unwrap();
                queue
            });
        }
        let queues = opening.join_all().await;
        assert_eq!(drain(&queues[0], 100).await.len(), 8);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn no_other_user_can_read_the_bodies() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    let directory = place.0.join("a/b");
    let path = directory.join("queue.db");
    let queue = Queue::open(&Options { path: path.clone() }).await.unwrap();
    queue.publish(event("a")).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&directory.join("queue.db-wal")), 0o600);
}

#[test]
fn one_process_serves_a_directory() {
    let place = Place::new();
    let directory = place.0.join("data");
    let lock = DirectoryLock::take(&directory).unwrap();
    let line = DirectoryLock::take(&directory).unwrap_err().to_string();
    let holder = format!(
        "another clerk-sync (process {}) works in",
        std::process::id()
    );
    assert!(
        line.contains(&holder) && line.contains("set DATA_DIR"),
        "{line}"
    );
    drop(lock);
    DirectoryLock::take(&directory).unwrap();

    std::fs::write(place.0.join("file"), "").unwrap();
    let line = DirectoryLock::take(&place.0.join("file"))
        .unwrap_err()
        .to_string();
    assert!(line.contains("cannot be locked"), "{line}");
}
