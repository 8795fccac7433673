//! What the embedded queue does while its disk or its file is at fault, and after.

use sqlx::Connection;

use super::*;
use crate::queue::embedded::writer::BUG;

/// Small enough to be filled at once: 40 pages of 4 KiB.
const SMALL_DISK_PAGES: u32 = 40;

async fn run(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_events_lets_the_queue_be_drained_and_is_usable_again() {
    let place = Place::new();
    let queue = Queue::open_file(QueueFile::at(&place.file()).with_pages_max(SMALL_DISK_PAGES))
        .await
        .unwrap();
    let body = Bytes::from(vec![b'x'; 16 * 1024]);
    let mut stored = 0;
    let refused = loop {
        match queue
            .publish(event_of(&format!("msg_{stored}"), body.clone()))
            .await
        {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "the disk is never full");
    };
    assert_eq!(refused, PublishError::Refused);
    assert!(stored > 2, "only {stored} fit");
    let fault = queue.ready().unwrap_err().to_string();
    assert_eq!(fault, "the disk of the queue file is full: make room on it");
    assert_eq!(
        queue.publish(event_of("msg_more", body.clone())).await,
        Err(PublishError::Refused)
    );
    assert_eq!(
        queue.depth().await.unwrap(),
        stored,
        "what was refused is not there"
    );

    // A publish that fails in the same transaction does not keep an acknowledgement from being
    // written.
    let mut consumer = consumer(&queue, 2);
    let batch = next(&mut consumer).await;
    let large = Bytes::from(vec![b'x'; 1024 * 1024]);
    let (acknowledged, published) = tokio::join!(
        ack(&mut consumer, batch),
        queue.publish(event_of("msg_large", large))
    );
    acknowledged.unwrap();
    assert_eq!(published, Err(PublishError::Refused));
    assert_eq!(queue.depth().await.unwrap(), stored - 2);

    // No events are published to a queue that is not ready, so it must notice by itself.
    until("the queue is ready again", async || queue.ready().is_ok()).await;
    queue.publish(event_of("msg_again", body)).await.unwrap();
    let seen = drain(&queue, 500).await;
    assert_eq!(u64::try_from(seen.len()).unwrap(), stored - 1);
    assert!(seen.contains_key("msg_again"));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_makes_the_queue_unavailable_until_it_can() {
    let place = Place::new();
    let queue = place.open().await;
    queue.publish(event("a")).await.unwrap();
    let mut stranger = place.stranger().await;
    run(
        &mut stranger,
        "create trigger stop before insert on queue begin select raise(abort, 'stop'); end",
    )
    .await;
    assert_eq!(
        queue.publish(event("b")).await,
        Err(PublishError::Unavailable)
    );
    assert!(queue.ready().is_err());
    run(&mut stranger, "drop trigger stop").await;
    until("the queue is ready again", async || queue.ready().is_ok()).await;
    queue.publish(event("c")).await.unwrap();
    let expected = [("a".to_owned(), 1), ("c".to_owned(), 1)];
    assert_eq!(drain(&queue, 5).await, expected.into());
}

#[tokio::test]
async fn a_batch_whose_acknowledgement_failed_comes_again() {
    let place = Place::new();
    let queue = place.open().await;
    queue.publish(event("a")).await.unwrap();
    let mut stranger = place.stranger().await;
    run(
        &mut stranger,
        "create trigger stop before delete on queue begin select raise(abort, 'stop'); end",
    )
    .await;
    let mut consumer = consumer(&queue, 5);
    let batch = next(&mut consumer).await;
    assert!(ack(&mut consumer, batch).await.is_err());
    let again = next(&mut consumer).await;
    assert_eq!(ids(&again), ["a"]);
    run(&mut stranger, "drop trigger stop").await;
    ack(&mut consumer, again).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
}

#[tokio::test]
async fn rows_that_were_deleted_or_spoilt_do_not_hold_up_the_others() {
    let place = Place::new();
    let queue = place.open().await;
    for id in ["a", "b", "c", "d"] {
        queue.publish(event(id)).await.unwrap();
    }
    let mut consumer = consumer(&queue, 1);
    drop([next(&mut consumer).await, next(&mut consumer).await]);
    let mut stranger = place.stranger().await;
    run(
        &mut stranger,
        "delete from queue where event_id = 'a'; update queue set event_id = 'not.ours' where event_id = 'c'",
    )
    .await;
    let [second, last] = [next(&mut consumer).await, next(&mut consumer).await];
    assert_eq!([ids(&second), ids(&last)], [["b"], ["d"]]);
    for batch in [second, last] {
        ack(&mut consumer, batch).await.unwrap();
    }
    assert_eq!(
        queue.depth().await.unwrap(),
        1,
        "the spoilt row stays in the file"
    );
}

#[tokio::test]
async fn events_beyond_what_may_wait_are_refused_at_once_and_those_that_wait_are_written() {
    let place = Place::new();
    let queue = place.open().await;
    let mut stranger = place.stranger().await;
    run(&mut stranger, "begin immediate").await;
    let mut senders = JoinSet::new();
    for number in 0..WAITING_MAX + 1000 {
        let queue = queue.clone();
        senders.spawn(async move {
            queue
                .publish(event_of(&format!("msg_{number}"), Bytes::new()))
                .await
        });
    }
    // The writer holds one group, of up to 256, and waits for the file; the channel holds the
    // others.
    for _ in 0..1000 - 256 {
        assert_eq!(
            senders.join_next().await.unwrap().unwrap(),
            Err(PublishError::Busy)
        );
    }
    run(&mut stranger, "rollback").await;
    stranger.close().await.unwrap();
    let rest = senders.join_all().await;
    let stored = rest.iter().filter(|published| published.is_ok()).count();
    assert!(stored >= WAITING_MAX, "{stored}");
    assert!(
        rest.iter()
            .all(|published| matches!(published, Ok(()) | Err(PublishError::Busy)))
    );
    assert_eq!(drain(&queue, 500).await.len(), stored);
}

#[tokio::test]
async fn bodies_beyond_what_may_wait_are_refused_at_once() {
    let place = Place::new();
    let queue = place.open().await;
    let body = Bytes::from(vec![b'x'; WAITING_BYTES_MAX as usize + 1]);
    let (whole, beside) = tokio::join!(
        queue.publish(event_of("msg_whole", body)),
        queue.publish(event_of("msg_beside", "x".into()))
    );
    assert_eq!((whole, beside), (Ok(()), Err(PublishError::Busy)));
    queue
        .publish(event_of("msg_after", "x".into()))
        .await
        .unwrap();
    assert_eq!(
        drain(&queue, 500).await.into_keys().collect::<Vec<_>>(),
        ["msg_after", "msg_whole"]
    );
}

#[tokio::test]
async fn a_sender_that_gave_up_does_no_harm() {
    let place = Place::new();
    let queue = place.open().await;
    let mut stranger = place.stranger().await;
    run(&mut stranger, "begin immediate").await;
    let patience = Duration::from_millis(50);
    assert!(
        tokio::time::timeout(patience, queue.publish(event("given_up")))
            .await
            .is_err()
    );
    run(&mut stranger, "rollback").await;
    queue.publish(event("waited")).await.unwrap();
    let seen = drain(&queue, 500).await;
    assert_eq!(seen.get("waited"), Some(&1));
    assert_eq!(queue.depth().await.unwrap(), 0);
}

#[tokio::test]
async fn a_writer_that_dies_is_not_ready_and_starts_again() {
    let place = Place::new();
    let queue = place.open().await;
    queue.publish(event("before")).await.unwrap();
    assert_eq!(
        queue.publish(event(BUG)).await,
        Err(PublishError::Unavailable),
        "nothing is promised"
    );
    let died = queue.ready().unwrap_err().to_string();
    assert!(died.contains("bug of clerk-sync"), "{died}");
    let started = Instant::now();
    while queue.ready().is_err() {
        assert!(started.elapsed() < DEADLINE, "it is never ready again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    queue.publish(event("after")).await.unwrap();
    assert_eq!(
        drain(&queue, 500).await.into_keys().collect::<Vec<_>>(),
        ["after", "before"]
    );
    queue.close().await;
}

#[tokio::test]
async fn a_writer_without_a_handle_ends() {
    let place = Place::new();
    let queue = place.open().await;
    let mut consumer = consumer(&queue, 10);
    queue.publish(event("kept")).await.unwrap();
    let mut ended = queue.ended.clone();
    drop(queue);
    let batch = next(&mut consumer).await;
    ack(&mut consumer, batch).await.unwrap();
    assert!(
        ended.has_changed().is_ok(),
        "a consumer has still something to acknowledge"
    );
    drop(consumer);
    let all_is_done = async { while ended.changed().await.is_ok() {} };
    tokio::time::timeout(DEADLINE, all_is_done)
        .await
        .expect("the writer ends");
    assert_eq!(place.open().await.depth().await.unwrap(), 0);
}
