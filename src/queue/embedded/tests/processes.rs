//! What a restart, a close, a kill and another process do to the events of the embedded queue.

use super::*;

#[tokio::test]
async fn what_was_not_acknowledged_is_there_after_a_restart_without_a_close() {
    let place = Place::new();
    {
        let queue = place.open().await;
        for number in 0..20 {
            queue
                .publish(event(&format!("msg_{number:02}")))
                .await
                .unwrap();
        }
        let mut consumer = consumer(&queue, 5);
        let [done, held] = [next(&mut consumer).await, next(&mut consumer).await];
        ack(&mut consumer, done).await.unwrap();
        std::mem::forget(held);
    }
    let queue = place.open().await;
    assert_eq!(queue.depth().await.unwrap(), 15);
    let seen = drain(&queue, 100).await;
    assert_eq!(
        seen,
        (5..20)
            .map(|number| (format!("msg_{number:02}"), 1))
            .collect()
    );

    // Numbers of deleted rows are not given again, or a cursor would pass over new rows.
    queue.publish(event("msg_new")).await.unwrap();
    assert_eq!(drain(&queue, 100).await.len(), 1);
}

#[tokio::test]
async fn a_close_writes_what_waits_and_leaves_one_file() {
    let place = Place::new();
    let queue = place.open().await;
    let mut holder = consumer(&queue, 1);
    queue.publish(event("held")).await.unwrap();
    let held = next(&mut holder).await;
    let mut waiting = consumer(&queue, 1);
    let publishes =
        (0..50).map(|number| queue.publish(event_of(&format!("msg_{number}"), Bytes::new())));
    let (published, (), ()) = tokio::join!(
        futures_util::future::join_all(publishes),
        queue.close(),
        queue.close()
    );
    assert!(published.iter().all(Result::is_ok), "{published:?}");
    assert!(waiting.next_batch().await.is_none());
    assert_eq!(
        queue.publish(event("late")).await,
        Err(PublishError::Unavailable)
    );
    assert!(queue.ready().is_err());
    assert!(queue.depth().await.is_err());
    assert!(ack(&mut holder, held).await.is_err());
    let left: Vec<_> = std::fs::read_dir(&place.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["queue.db"]);

    let seen = drain(&place.open().await, 500).await;
    assert_eq!(seen.len(), 51, "the held one and the fifty");
}

#[tokio::test]
async fn another_process_may_publish_into_the_file() {
    let place = Place::new();
    let [serving, replaying] = [place.open().await, place.open().await];
    let mut consumer = consumer(&serving, 500);
    for round in 0..3 {
        let sent: Vec<String> = (0..40)
            .map(|number| format!("msg_{round}_{number:02}"))
            .collect();
        let both = sent.iter().enumerate().map(|(number, id)| {
            let queue = if number % 2 == 0 {
                &serving
            } else {
                &replaying
            };
            queue.publish(event(id))
        });
        let mut taken = Vec::new();
        let take = async {
            while taken.len() < sent.len() {
                let batch = next(&mut consumer).await;
                taken.extend(ids(&batch).into_iter().map(String::from));
                ack(&mut consumer, batch).await.unwrap();
            }
        };
        let (published, ()) = tokio::join!(futures_util::future::join_all(both), take);
        assert!(published.iter().all(Result::is_ok), "{published:?}");
        taken.sort();
        assert_eq!(taken, sent);
    }
    assert_eq!(serving.depth().await.unwrap(), 0);
    replaying.close().await;
    serving.publish(event("after")).await.unwrap();
    assert_eq!(ids(&next(&mut consumer).await), ["after"]);
}

/// The child publishes and says of each event when it was promised; the parent kills it in the
/// middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_was_promised() {
    const CHILD: &str = "CLERK_SYNC_TEST_PUBLISH_INTO";
    if let Some(path) = std::env::var_os(CHILD) {
        return publish_for_ever(Path::new(&path)).await;
    }
    let place = Place::new();
    let mut promised = BTreeSet::new();
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "queue::embedded::tests::processes::a_kill_loses_nothing_that_was_promised",
                "--nocapture",
            ])
            .env(CHILD, place.file())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let before = promised.len();
        // Other lines come from the test harness, the first one perhaps before the first event on
        // one line.
        let promise = |line: String| line.split_once("promised ").map(|(_, id)| id.to_owned());
        promised.extend(lines.by_ref().filter_map(promise).take(300));
        child.kill().unwrap();
        child.wait().unwrap();
        promised.extend(lines.filter_map(promise));
        assert!(
            promised.len() >= before + 300,
            "round {round}: only {} promises",
            promised.len() - before
        );
    }
    let queue = place.open().await;
    let stored: BTreeSet<String> = drain(&queue, 500).await.into_keys().collect();
    let lost: Vec<_> = promised.difference(&stored).collect();
    assert!(
        lost.is_empty(),
        "{} of {} are lost: {lost:?}",
        lost.len(),
        promised.len()
    );
}

async fn publish_for_ever(path: &Path) {
    let queue = Queue::open(&Options {
        path: path.to_owned(),
    })
    .await
    .unwrap();
    let mut senders = JoinSet::new();
    for sender in 0..16 {
        let queue = queue.clone();
        senders.spawn(async move {
            for number in 0.. {
                let id = format!("msg_{}_{sender}_{number}", std::process::id());
                queue.publish(event(&id)).await.unwrap();
                println!("promised {id}");
            }
        });
    }
    senders.join_all().await;
}
