//! Waiting for rows and for changes, in both stores. Another store stands for another process: the
//! two share the database and nothing else.

use std::time::{Duration, Instant};

use clerk_sync::clerk::tables::{self, users};
use clerk_sync::clerk::{ClerkId, Table};
use clerk_sync::store::{Keep, Store, StoreError, TableRow};
use clerk_sync::worker::plan::plan;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::store::Place;
use crate::support::app::DEADLINE;
use crate::support::history::{delete, update, update_in};

/// A wait that goes on long after the answer, so that no end of it is taken for one.
const LONG: Duration = Duration::from_secs(600);

/// Long enough for a look at an empty table.
const A_LOOK: Duration = Duration::from_millis(300);

fn id(text: &str) -> ClerkId {
    ClerkId::new(text).unwrap()
}

/// The row, once it is there: long before the end of the wait.
pub(super) async fn answered(
    store: &Store,
    table: &'static Table,
    row: &str,
    meanwhile: impl Future<Output = ()>,
) -> TableRow {
    let id = id(row);
    let wait = store.wait_for_row(table, &id, tokio::time::Instant::now() + LONG);
    tokio::pin!(wait);
    let early = timeout(A_LOOK, &mut wait).await;
    assert!(early.is_err(), "there is no row yet: {row}");
    let since = Instant::now();
    let (found, ()) = tokio::join!(timeout(DEADLINE, wait), meanwhile);
    eprintln!("{row} was answered after {:?}", since.elapsed());
    found.expect("it is answered").unwrap().expect("a row")
}

pub(super) async fn write_user(store: &Store, user: &str) {
    store
        .apply(&plan(&[update(&format!("msg_{user}"), user, 1)]))
        .await
        .unwrap();
}

super::both_arms! {
    postgresql: super::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: super::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    a_row_of_every_table_is_answered_when_another_process_commits_it
    a_row_is_answered_when_this_process_commits_it
    a_row_that_is_there_needs_no_wait_and_one_that_never_comes_ends_it
    a_thousand_who_wait_are_all_answered
    a_commit_wakes_who_reads_changes
    closing_the_store_answers_who_waits
}

async fn a_row_of_every_table_is_answered_when_another_process_commits_it(place: Place) {
    let (store, other) = (place.migrated().await, place.store(Keep::default()));
    for table in tables::ALL {
        for round in 0..2 {
            let row = format!("{}_{round}", table.id_prefix);
            let event = update_in(table, &format!("msg_{row}"), &row, 1, 1);
            let commit = async {
                other.apply(&plan(&[event])).await.unwrap();
            };
            let found = Box::pin(answered(&store, table, &row, commit)).await;
            assert_eq!(found.clerk_id.as_str(), row);
        }
    }
    // A delete that comes first leaves a row too.
    let commit = async {
        other
            .apply(&plan(&[delete("msg_d", "user_gone", 1)]))
            .await
            .unwrap();
    };
    Box::pin(answered(&store, &users::TABLE, "user_gone", commit)).await;
}

async fn a_row_is_answered_when_this_process_commits_it(place: Place) {
    let store = place.migrated().await;
    Box::pin(answered(
        &store,
        &users::TABLE,
        "user_1",
        write_user(&store, "user_1"),
    ))
    .await;
}

async fn a_row_that_is_there_needs_no_wait_and_one_that_never_comes_ends_it(place: Place) {
    let store = place.migrated().await;
    write_user(&store, "user_1").await;
    let wait = |row, long| {
        let (store, id) = (&store, id(row));
        let until = tokio::time::Instant::now() + long;
        async move { store.wait_for_row(&users::TABLE, &id, until).await.unwrap() }
    };
    assert!(
        timeout(DEADLINE, wait("user_1", LONG))
            .await
            .unwrap()
            .is_some()
    );
    let since = Instant::now();
    let long = Duration::from_millis(700);
    let (other, own) = (place.store(Keep::default()), "user_9");
    // Rows of others answer no wait for this one.
    let (found, ()) = tokio::join!(wait(own, long), write_user(&other, "user_2"));
    assert!(found.is_none() && since.elapsed() >= long);
    assert!(wait("user_1", Duration::ZERO).await.is_some());
}

async fn a_thousand_who_wait_are_all_answered(place: Place) {
    let (store, other) = (place.migrated().await, place.store(Keep::default()));
    let names: Vec<_> = (0..250).map(|n| format!("user_{n}")).collect();
    let until = tokio::time::Instant::now() + LONG;
    let waits = (0..1000).map(|n| {
        let (store, id) = (store.clone(), id(&names[n % names.len()]));
        tokio::spawn(async move { store.wait_for_row(&users::TABLE, &id, until).await })
    });
    let waits: Vec<_> = waits.collect();
    let events: Vec<_> = names
        .iter()
        .map(|user| update(&format!("msg_{user}"), user, 1))
        .collect();
    // The first is one that names many rows, more than one notification can.
    for events in [&events[..200], &events[200..]] {
        let commits = events.chunks(events.len()).map(|events| async {
            let mut events = events.to_vec();
            events.sort_by(|a, b| a.id().cmp(b.id()));
            other.apply(&plan(&events)).await.unwrap();
        });
        join_all(commits).await;
    }
    let answers = timeout(DEADLINE, join_all(waits)).await.unwrap();
    for answer in answers {
        assert!(answer.unwrap().unwrap().is_some());
    }
}

async fn a_commit_wakes_who_reads_changes(place: Place) {
    let (store, other) = (
        place.migrated().await,
        place.store_with(Keep::default(), true),
    );
    let mut signal = store.change_signal();
    // The start of the connection or the task may be one.
    while timeout(A_LOOK, signal.next()).await.is_ok() {}
    for round in 0..3 {
        write_user(&other, &format!("user_{round}")).await;
        timeout(DEADLINE, signal.next()).await.expect("it wakes");
        while timeout(A_LOOK, signal.next()).await.is_ok() {}
    }
}

async fn closing_the_store_answers_who_waits(place: Place) {
    let store = place.migrated().await;
    let user = id("user_1");
    let wait = store.wait_for_row(&users::TABLE, &user, tokio::time::Instant::now() + LONG);
    let mut signal = store.change_signal();
    let close = async {
        while timeout(A_LOOK, signal.next()).await.is_ok() {}
        store.close().await;
        signal.next().await;
    };
    let (answer, ()) = timeout(DEADLINE, async { tokio::join!(wait, close) })
        .await
        .unwrap();
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
}
