//! Readers of the change feed, on both stores: their places, what they learn when changes are
//! missing, and the turn to publish.

use std::num::NonZeroU32;

use clerk_sync::clerk::{OmittedFields, Table, Timestamp, tables};
use clerk_sync::clock::now;
use clerk_sync::queue::Source;
use clerk_sync::store::{ChangeCursor, ChangePage, Keep, ProcessDescription, SignOfLife};
use clerk_sync::worker::plan::plan_batch;

use super::changes::{ALL, apply, feed, page, recording};
use super::store::Place;
use crate::support::history::{EPOCH_MS, at, update, update_in};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    a_reader_sees_every_change_once_and_in_order
    a_reader_of_one_table_moves_past_the_others
    a_reader_behind_what_is_kept_learns_it
    a_reader_learns_that_the_feed_was_off
    a_cursor_of_a_database_before_its_restore_has_expired
    a_worker_without_the_feed_expires_cursors_once_it_is_gone
    one_process_has_the_turn_to_publish
    changes_that_are_not_published_are_kept
}

async fn a_reader_sees_every_change_once_and_in_order(place: Place) {
    let store = recording(&place).await;
    let (nothing, mut after) = page(&store, None).await;
    assert_eq!(nothing, []);
    let (mut seen, limit) = (Vec::new(), NonZeroU32::new(7).unwrap());
    for round in 0..10 {
        let events = (0..5).map(|user| {
            let id = format!("msg_{round}_{user}");
            update(&id, &format!("user_{user}"), i64::from(round))
        });
        apply(&store, &events.collect::<Vec<_>>()).await;
        let page = store.changes(Some(after), None, limit).await.unwrap();
        let ChangePage::Changes { changes, next, .. } = page else {
            panic!("expired")
        };
        assert!(changes.len() <= 7);
        seen.extend(changes);
        // The text is what a reader keeps.
        after = next.to_string().parse().unwrap();
    }
    loop {
        let (more, next) = page(&store, Some(after)).await;
        if more.is_empty() {
            assert_eq!(next, after);
            break;
        }
        (seen, after) = ([seen, more].concat(), next);
    }
    assert_eq!(seen, page(&store, None).await.0);
    assert_eq!(seen.len(), 50);
    assert!(seen.is_sorted_by(|a, b| a.id < b.id));
}

async fn a_reader_of_one_table_moves_past_the_others(place: Place) {
    let store = recording(&place).await;
    let table: &'static Table = &tables::organizations::TABLE;
    apply(&store, &[update("msg_1", "user_1", 1)]).await;
    let read = async |after| match store.changes(after, Some(table), ALL).await.unwrap() {
        ChangePage::Changes { changes, next, .. } => (changes, next),
        ChangePage::Expired => panic!("expired"),
    };
    let (none, next) = read(None).await;
    assert_eq!(none, []);
    assert_eq!(next, page(&store, None).await.1);
    for write in plan_batch(
        &[update_in(table, "msg_2", "org_1", 1, 1)],
        Source::Events,
        &OmittedFields::default(),
    ) {
        store.apply(&write).await.unwrap();
    }
    let (one, next) = read(Some(next)).await;
    assert_eq!(one[0].clerk_id, "org_1");
    assert_eq!(read(Some(next)).await.0, []);
}

async fn a_reader_behind_what_is_kept_learns_it(place: Place) {
    let store = recording(&place).await;
    let (_, first) = page(&store, None).await;
    apply(&store, &[update("msg_1", "user_1", 1)]).await;
    let (_, second) = page(&store, None).await;
    apply(&store, &[update("msg_2", "user_1", 2)]).await;
    let future = Timestamp::from_ms(now().ms() + 60_000);
    let prune = async |limit| store.prune_changes(future.unwrap(), false, limit).await;
    // None is old enough.
    assert_eq!(store.prune_changes(at(0), false, 10).await, Ok(0));
    assert_eq!(prune(1).await, Ok(1));
    let expired = store.changes(Some(first), None, ALL).await.unwrap();
    assert_eq!(expired, ChangePage::Expired);
    assert_eq!(page(&store, Some(second)).await.0.len(), 1);
    assert_eq!(feed(&store).await.len(), 1);
    assert_eq!(prune(10).await, Ok(1));
    assert_eq!(prune(10).await, Ok(0));
    let expired = store.changes(Some(second), None, ALL).await.unwrap();
    assert_eq!(expired, ChangePage::Expired);
    // Everything is gone, and the feed goes on.
    let (none, last) = page(&store, None).await;
    assert_eq!(none, []);
    apply(&store, &[update("msg_3", "user_1", 3)]).await;
    assert_eq!(page(&store, Some(last)).await.0.len(), 1);
}

async fn a_reader_learns_that_the_feed_was_off(place: Place) {
    let store = recording(&place).await;
    apply(&store, &[update("msg_1", "user_1", 1)]).await;
    let (_, after) = page(&store, None).await;
    // A restart changes nothing.
    store.note_change_feed().await.unwrap();
    assert_eq!(page(&store, Some(after)).await.0, []);
    let off = place.store_with(Keep::default(), false);
    off.note_change_feed().await.unwrap();
    apply(&off, &[update("msg_2", "user_1", 2)]).await;
    store.note_change_feed().await.unwrap();
    let expired = store.changes(Some(after), None, ALL).await.unwrap();
    assert_eq!(expired, ChangePage::Expired);
    // A new reader begins behind the hole.
    let (none, after) = page(&store, None).await;
    assert_eq!(none, []);
    apply(&store, &[update("msg_3", "user_1", 3)]).await;
    assert_eq!(page(&store, Some(after)).await.0.len(), 1);
}

async fn a_cursor_of_a_database_before_its_restore_has_expired(place: Place) {
    let store = recording(&place).await;
    for round in 1..4 {
        apply(&store, &[update(&format!("msg_{round}"), "user_1", round)]).await;
    }
    let (_, after) = page(&store, None).await;
    // As in a backup of before, for this process and for one that starts.
    place
        .execute("delete from {schema}changes where id > 1")
        .await;
    for store in [&store, &recording(&place).await] {
        let expired = store.changes(Some(after), None, ALL).await.unwrap();
        assert_eq!(expired, ChangePage::Expired);
    }
    let (_, after) = page(&store, None).await;
    apply(&store, &[update("msg_9", "user_9", 1)]).await;
    assert_eq!(page(&store, Some(after)).await.0.len(), 1);
    // Restored elsewhere, where as many changes were made since.
    if let Place::Postgres(_) = place {
        let (_, after) = page(&store, None).await;
        store.watch_change_feed().await.unwrap();
        let moved = "update {schema}settings set value = '\"1/1\"' where name = 'changes_database'";
        place.execute(moved).await;
        assert_eq!(page(&store, Some(after)).await.0.len(), 0);
        store.watch_change_feed().await.unwrap();
        let expired = store.changes(Some(after), None, ALL).await.unwrap();
        assert_eq!(expired, ChangePage::Expired);
        // Once.
        let (_, after) = page(&store, None).await;
        store.watch_change_feed().await.unwrap();
        assert_eq!(page(&store, Some(after)).await.0.len(), 0);
    }
    for wrong in [
        "",
        "x",
        "1",
        "c.1",
        "c.1.-1",
        "c.+1.1",
        "c.1.2.3",
        "c.1.99999999999999999999",
    ] {
        assert!(wrong.parse::<ChangeCursor>().is_err(), "{wrong}");
    }
}

async fn a_worker_without_the_feed_expires_cursors_once_it_is_gone(place: Place) {
    let store = recording(&place).await;
    let sign = |process_id: &str, role: &str, change_feed| SignOfLife {
        process: ProcessDescription {
            process_id: process_id.into(),
            role: role.into(),
            version: "1.0.0".into(),
            host: "host".into(),
            pid: 1,
            started_at_ms: EPOCH_MS,
        },
        age_ms: 0,
        change_feed,
    };
    let with_feed = [
        sign("on", "worker", Some(true)),
        sign("receiver", "receiver", None),
    ];
    store.record_processes(&with_feed).await.unwrap();
    let (_, first) = page(&store, None).await;
    store.watch_change_feed().await.unwrap();
    assert_eq!(page(&store, Some(first)).await.0, []);
    // One is turned on after the other, as in an upgrade.
    for (role, change_feed) in [("worker", Some(false)), ("serve", None)] {
        let (_, before) = page(&store, None).await;
        let off = [sign("off", role, change_feed)];
        store.record_processes(&off).await.unwrap();
        store.watch_change_feed().await.unwrap();
        assert_eq!(page(&store, Some(before)).await.0, []);
        store.remove_process("off").await.unwrap();
        store.watch_change_feed().await.unwrap();
        let expired = store.changes(Some(before), None, ALL).await.unwrap();
        assert_eq!(expired, ChangePage::Expired, "{role}");
        let (_, after) = page(&store, None).await;
        store.watch_change_feed().await.unwrap();
        assert_eq!(page(&store, Some(after)).await.0, []);
    }
}

async fn one_process_has_the_turn_to_publish(place: Place) {
    let (one, two) = (recording(&place).await, recording(&place).await);
    assert!(one.take_publish_turn(ALL).await.unwrap().is_none());
    apply(
        &one,
        &[update("msg_1", "user_1", 1), update("msg_2", "user_2", 1)],
    )
    .await;
    let turn = one
        .take_publish_turn(NonZeroU32::MIN)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(turn.changes().len(), 1);
    assert!(two.take_publish_turn(ALL).await.unwrap().is_none());
    let state = one.change_feed_state().await.unwrap();
    assert_eq!(
        state.oldest_unpublished_at,
        Some(turn.changes()[0].committed_at)
    );
    turn.record_published().await.unwrap();
    // Given up: another one publishes it.
    let turn = two.take_publish_turn(ALL).await.unwrap().unwrap();
    let changes = turn.changes().to_vec();
    drop(turn);
    let turn = loop {
        // The server ends the turn of a connection once it sees that it is closed.
        if let Some(turn) = one.take_publish_turn(ALL).await.unwrap() {
            break turn;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(turn.changes(), changes);
    turn.record_published().await.unwrap();
    assert!(two.take_publish_turn(ALL).await.unwrap().is_none());
    let state = two.change_feed_state().await.unwrap();
    assert_eq!(state.oldest_unpublished_at, None);
    assert!(state.oldest_kept_at.is_some() && state.newest_at >= state.oldest_kept_at);
}

async fn changes_that_are_not_published_are_kept(place: Place) {
    let store = recording(&place).await;
    apply(
        &store,
        &[update("msg_1", "user_1", 1), update("msg_2", "user_2", 1)],
    )
    .await;
    let future = Timestamp::from_ms(now().ms() + 60_000);
    assert_eq!(store.prune_changes(future.unwrap(), true, 10).await, Ok(0));
    let turn = store
        .take_publish_turn(NonZeroU32::MIN)
        .await
        .unwrap()
        .unwrap();
    turn.record_published().await.unwrap();
    assert_eq!(store.prune_changes(future.unwrap(), true, 10).await, Ok(1));
    assert_eq!(feed(&store).await.len(), 1);
}
