//! Processes that crash while they have events: which event is isolated, and when it is given up.
//! The crashes are only written into the file here; real processes are killed in
//! `tests/it/story/poison.rs`.

use sqlx::Connection;

use super::*;

/// Sets what the file says of the last process that took events.
async fn set_session(place: &Place, running: bool, unclean_ends: i64, alone: Option<i64>) {
    let mut stranger = place.stranger().await;
    let statement = "update session set running = ?1, unclean_ends = ?2, alone = ?3";
    sqlx::query(statement)
        .bind(running)
        .bind(unclean_ends)
        .bind(alone)
        .execute(&mut stranger)
        .await
        .unwrap();
    stranger.close().await.unwrap();
}

/// `running`, `unclean_ends` and `alone`.
async fn session(place: &Place) -> (bool, i64, Option<i64>) {
    let mut stranger = place.stranger().await;
    let found = sqlx::query_as("select running, unclean_ends, alone from session")
        .fetch_one(&mut stranger)
        .await;
    stranger.close().await.unwrap();
    found.unwrap()
}

async fn fill(place: &Place, count: usize) -> Queue {
    let queue = place.open().await;
    for number in 1..=count {
        queue.publish(event(&number.to_string())).await.unwrap();
    }
    queue
}

fn dead_letters(queue: &Queue) -> Consumer {
    queue.consume(Source::DeadLetters, NonZeroUsize::new(10).unwrap())
}

#[tokio::test]
async fn a_session_is_open_from_the_first_event_to_the_close() {
    let place = Place::new();
    let queue = fill(&place, 3).await;
    assert_eq!(
        session(&place).await,
        (false, 0, None),
        "a publisher is no session"
    );
    let batch = next(&mut consumer(&queue, 10)).await;
    assert_eq!(session(&place).await, (true, 0, None));
    drop(batch);
    queue.close().await;
    assert_eq!(session(&place).await, (false, 0, None));

    set_session(&place, true, 1, None).await;
    let publisher = place.open().await;
    publisher.publish(event("4")).await.unwrap();
    publisher.close().await;
    assert_eq!(
        session(&place).await,
        (true, 1, None),
        "a process that only publishes changes nothing"
    );
}

#[tokio::test]
async fn few_crashes_change_nothing_and_are_forgotten_when_no_event_waits() {
    let place = Place::new();
    fill(&place, 3).await.close().await;
    set_session(&place, true, 1, None).await;
    let queue = place.open().await;
    let mut consumer = consumer(&queue, 10);
    let batch = next(&mut consumer).await;
    assert_eq!(ids(&batch), ["1", "2", "3"]);
    assert_eq!(session(&place).await, (true, 2, None));
    ack(&mut consumer, batch).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.next_batch().await.is_some() });
    until("they are forgotten", async || {
        session(&place).await == (true, 0, None)
    })
    .await;
    queue.publish(event("4")).await.unwrap();
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn isolated_events_are_delivered_one_at_a_time_and_the_file_says_which() {
    let place = Place::new();
    fill(&place, 3).await.close().await;
    set_session(&place, true, 2, None).await;
    let queue = place.open().await;
    let (mut one, mut other) = (consumer(&queue, 10), consumer(&queue, 10));
    let mut first = next(&mut one).await;
    assert_eq!(ids(&first), ["1"]);
    assert_eq!(session(&place).await, (true, 3, Some(1)));
    queue.publish(event("4")).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(700), other.next_batch()).await;
    assert!(
        waits.is_err(),
        "no other event is delivered beside an isolated one"
    );

    drop(first);
    first = next(&mut other).await;
    assert_eq!(ids(&first), ["1"], "a returned row is first");
    ack(&mut other, first).await.unwrap();
    for number in [2, 3] {
        let isolated = next(&mut one).await;
        assert_eq!(ids(&isolated), [number.to_string()]);
        assert_eq!(session(&place).await, (true, 3, Some(number)));
        ack(&mut one, isolated).await.unwrap();
    }
    for number in 5..8 {
        queue.publish(event(&number.to_string())).await.unwrap();
    }
    let later = next(&mut one).await;
    assert_eq!(
        ids(&later),
        ["4"],
        "the first after the last isolated event ends the isolation"
    );
    assert_eq!(session(&place).await, (true, 0, None));
    let rest = next(&mut other).await;
    assert_eq!(ids(&rest), ["5", "6", "7"]);
}

#[tokio::test]
async fn an_event_at_which_the_process_crashed_too_often_is_a_dead_letter() {
    let place = Place::new();
    fill(&place, 4).await.close().await;
    for deaths in 1..=5 {
        set_session(&place, true, 4, Some(2)).await;
        let queue = place.open().await;
        let first = next(&mut consumer(&queue, 10)).await;
        assert_eq!(ids(&first), ["1"]);
        let mut dead = dead_letters(&queue);
        let letters = dead.next_batch().await;
        assert_eq!(letters.is_some(), deaths == 5, "after {deaths} deaths");
        drop(letters);
        // A shutdown in order does not reset the count of crashes.
        queue.close().await;
    }
    let queue = place.open().await;
    assert_eq!(queue.depth().await.unwrap(), 4);
    let mut others = consumer(&queue, 10);
    let batch = next(&mut others).await;
    assert_eq!(
        ids(&batch),
        ["1", "3", "4"],
        "after a shutdown in order no event is isolated"
    );
    ack(&mut others, batch).await.unwrap();
    let mut dead = dead_letters(&queue);
    let returned = next(&mut dead).await;
    drop(returned);
    let letter = next(&mut dead).await;
    assert_eq!(ids(&letter), ["2"]);
    ack(&mut dead, letter).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
    assert!(dead.next_batch().await.is_none());

    queue.publish(event("2")).await.unwrap();
    assert_eq!(
        ids(&next(&mut others).await),
        ["2"],
        "a replayed event starts again"
    );
}
