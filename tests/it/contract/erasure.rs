//! Erasure of personal data, on both stores: on delete, by command, and afterwards.

use clerk_sync::clerk::{ClerkId, EventId, SignedEvent};
use clerk_sync::store::{
    Erased, EventRow, Keep, OnDelete, Outcome, Payloads, Status, Store, TableRow,
};
use clerk_sync::worker::plan::plan;
use serde_json::Value;

use super::store::Place;
use crate::support::history::{at, delete, event, fail, operator, update};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    a_deleted_user_is_a_bare_tombstone_whatever_the_order
    an_event_for_an_erased_user_is_stale_and_writes_nothing
    payloads_of_a_deleted_user_go_with_the_profile
    a_user_deleted_earlier_is_erased_afterwards
    a_payload_that_came_beside_an_erasure_is_erased_afterwards
    erasing_by_command_is_permanent_if_the_user_is_deleted
    a_forgotten_user_can_be_created_again
}

const SCRUB: Keep = Keep {
    payloads: Payloads::Failed,
    on_delete: OnDelete::Scrub,
};

async fn scrubbing(place: &Place, payloads: Payloads) -> Store {
    drop(place.migrated().await);
    place.store(Keep { payloads, ..SCRUB })
}

async fn apply(store: &Store, events: &[SignedEvent]) -> Vec<Outcome> {
    store.apply(&plan(events)).await.unwrap()
}

async fn find(store: &Store, id: &str) -> Option<TableRow> {
    store.user(&ClerkId::new(id).unwrap()).await.unwrap()
}

async fn line(store: &Store, id: &str) -> EventRow {
    store
        .event(&EventId::new(id).unwrap())
        .await
        .unwrap()
        .unwrap()
}

/// Everything of a row but for our own two times, of which one must be there.
async fn tombstone(store: &Store, id: &str) -> Value {
    let mut row = serde_json::to_value(find(store, id).await.unwrap()).unwrap();
    let columns = row.as_object_mut().unwrap();
    columns.remove("synced_at").unwrap();
    assert!(
        columns.remove("erased_at").unwrap().is_string(),
        "{id} is not erased"
    );
    columns.remove("clerk_id").unwrap();
    row
}

async fn a_deleted_user_is_a_bare_tombstone_whatever_the_order(place: Place) {
    let store = scrubbing(&place, Payloads::Failed).await;
    let orders = [
        [0, 1, 2, 3],
        [3, 2, 1, 0],
        [2, 0, 3, 1],
        [1, 3, 0, 2],
        [0, 2, 1, 3],
        [3, 0, 2, 1],
    ];
    for (number, order) in orders.iter().enumerate() {
        let user = format!("user_{number}");
        let events = [
            update(&format!("msg_{number}_0"), &user, 10),
            delete(&format!("msg_{number}_1"), &user, 50),
            update(&format!("msg_{number}_2"), &user, 90),
            delete(&format!("msg_{number}_3"), &user, 40),
        ];
        for together in [1, 2, 4] {
            // The second and third time all of it is repeated, in larger batches.
            for batch in order.chunks(together) {
                apply(
                    &store,
                    &batch
                        .iter()
                        .map(|place| events[*place].clone())
                        .collect::<Vec<_>>(),
                )
                .await;
            }
            let row = tombstone(&store, &user).await;
            let left: Vec<_> = row
                .as_object()
                .unwrap()
                .iter()
                .filter(|(_, value)| !value.is_null())
                .collect();
            assert_eq!(left.len(), 1, "{order:?} {together}: {left:?}");
            assert_eq!(
                find(&store, &user).await.unwrap().deleted_at.unwrap().0,
                at(40),
                "the earliest delete"
            );
        }
    }
}

async fn an_event_for_an_erased_user_is_stale_and_writes_nothing(place: Place) {
    let store = scrubbing(&place, Payloads::Failed).await;
    assert_eq!(
        apply(&store, &[update("msg_1", "user_1", 10)]).await,
        [Outcome::Applied]
    );
    assert_eq!(
        apply(&store, &[delete("msg_2", "user_1", 20)]).await,
        [Outcome::Applied]
    );
    let before = find(&store, "user_1").await.unwrap();
    assert_eq!(
        apply(&store, &[update("msg_3", "user_1", 99)]).await,
        [Outcome::Stale]
    );
    // A store that keeps profiles does not fill it again either.
    let keeping = place.store(Keep::default());
    assert_eq!(
        apply(&keeping, &[update("msg_4", "user_1", 100)]).await,
        [Outcome::Stale]
    );
    assert_eq!(
        find(&store, "user_1").await.unwrap().synced_at,
        before.synced_at
    );
    // An earlier delete is news, and brings nothing else along.
    let both = [
        update("msg_5", "user_1", 101),
        delete("msg_6", "user_1", 15),
    ];
    assert_eq!(
        apply(&keeping, &both).await,
        [Outcome::Stale, Outcome::Applied]
    );
    let after = find(&store, "user_1").await.unwrap();
    assert_eq!(
        (
            after.deleted_at.unwrap().0,
            after.text("first_name"),
            after.erased_at
        ),
        (at(15), None, before.erased_at)
    );
}

async fn payloads_of_a_deleted_user_go_with_the_profile(place: Place) {
    let store = scrubbing(&place, Payloads::All).await;
    let broken = |id: &str| {
        event(
            id,
            r#"{"data":{"id":"user_1","updated_at":"soon"},"type":"user.updated"}"#,
        )
    };
    apply(
        &store,
        &[
            update("msg_1", "user_1", 10),
            broken("msg_2"),
            update("msg_other", "user_2", 10),
        ],
    )
    .await;
    fail(&store, &[delete("msg_3", "user_1", 90)]).await;
    assert!(line(&store, "msg_1").await.payload.is_some());
    // In the batch of the delete itself, an event that came before fails, and one comes again.
    apply(
        &store,
        &[
            delete("msg_4", "user_1", 20),
            broken("msg_5"),
            broken("msg_2"),
        ],
    )
    .await;
    apply(&store, &[update("msg_6", "user_1", 30), broken("msg_7")]).await;

    for (id, status) in [
        ("msg_1", Status::Applied),
        ("msg_2", Status::Discarded),
        ("msg_5", Status::Discarded),
        ("msg_6", Status::Stale),
        ("msg_7", Status::Discarded),
    ] {
        let line = line(&store, id).await;
        assert_eq!(
            (line.status, line.payload.is_some()),
            (status, false),
            "{id}"
        );
    }
    let failed_delete = line(&store, "msg_3").await;
    assert_eq!(failed_delete.status, Status::Failed);
    assert!(
        failed_delete.payload.is_some(),
        "a delete holds nothing personal, and may still be replayed"
    );
    assert!(line(&store, "msg_other").await.payload.is_some());
}

async fn a_user_deleted_earlier_is_erased_afterwards(place: Place) {
    let keeping = place.migrated().await;
    for n in 0..5 {
        let user = format!("user_{n}");
        apply(&keeping, &[update(&format!("msg_{n}"), &user, 10)]).await;
        if n != 4 {
            apply(&keeping, &[delete(&format!("msg_{n}_delete"), &user, 20)]).await;
        }
    }
    fail(&keeping, &[update("msg_failed", "user_0", 30)]).await;
    let store = place.store(SCRUB);
    assert_eq!(store.scrub(3).await.unwrap(), 3);
    assert_eq!(store.scrub(3).await.unwrap(), 1);
    assert_eq!(store.scrub(3).await.unwrap(), 0);
    for n in 0..4 {
        tombstone(&store, &format!("user_{n}")).await;
    }
    assert_eq!(
        find(&store, "user_4").await.unwrap().text("first_name"),
        Some("msg_4")
    );
    let failed = line(&store, "msg_failed").await;
    assert_eq!((failed.status, failed.payload), (Status::Discarded, None));
}

/// Two workers that write in the same instant do not see each other: the payload of the one is
/// there, the user of the other gone.
async fn a_payload_that_came_beside_an_erasure_is_erased_afterwards(place: Place) {
    let store = place.migrated().await;
    fail(
        &store,
        &[update("msg_1", "user_1", 10), update("msg_2", "user_2", 10)],
    )
    .await;
    // As the other worker leaves it: it erases what it sees, and that is nothing.
    apply(
        &store,
        &[update("msg_3", "user_3", 10), delete("msg_4", "user_3", 20)],
    )
    .await;
    assert_eq!(store.empty_payloads(10).await.unwrap(), 0);
    let erased = "insert into {schema}users (clerk_id, deleted_at, erased_at, synced_at)
        select 'user_1', deleted_at, synced_at, synced_at from {schema}users where clerk_id = 'user_3'";
    place.execute(erased).await;
    assert_eq!(store.empty_payloads(10).await.unwrap(), 1);
    assert_eq!(store.empty_payloads(10).await.unwrap(), 0);
    let emptied = line(&store, "msg_1").await;
    assert_eq!((emptied.status, emptied.payload), (Status::Discarded, None));
    assert!(
        line(&store, "msg_2").await.payload.is_some(),
        "its user is not erased"
    );
}

async fn erasing_by_command_is_permanent_if_the_user_is_deleted(place: Place) {
    let store = place.migrated().await;
    apply(
        &store,
        &[
            update("msg_1", "user_1", 10),
            delete("msg_2", "user_1", 20),
            update("msg_3", "user_2", 10),
        ],
    )
    .await;
    // The payload of a delete stays, and a preview does not count it either.
    fail(
        &store,
        &[update("msg_4", "user_1", 30), delete("msg_8", "user_1", 40)],
    )
    .await;
    let id = ClerkId::new("user_1").unwrap();
    let (preview, events) = store.would_erase(&id).await.unwrap().unwrap();
    let erased = store.erase(&id, &operator()).await.unwrap().unwrap();
    assert_eq!((&preview, events), (&erased, 4));
    let columns = vec![
        "first_name",
        "updated_at",
        "data",
        "event_id",
        "occurred_at",
    ];
    assert_eq!(
        erased,
        Erased {
            columns,
            other_rows: Default::default(),
            payloads: 1,
            is_final: true
        }
    );
    let again = store.erase(&id, &operator()).await.unwrap().unwrap();
    assert_eq!(
        again,
        Erased {
            columns: Vec::new(),
            other_rows: Default::default(),
            payloads: 0,
            is_final: true
        }
    );
    assert_eq!(
        apply(&store, &[update("msg_5", "user_1", 99)]).await,
        [Outcome::Stale]
    );
    tombstone(&store, "user_1").await;

    let other = ClerkId::new("user_2").unwrap();
    assert!(
        !store
            .erase(&other, &operator())
            .await
            .unwrap()
            .unwrap()
            .is_final
    );
    assert!(find(&store, "user_2").await.unwrap().data.is_none());
    assert_eq!(
        apply(&store, &[update("msg_6", "user_2", 5)]).await,
        [Outcome::Applied],
        "it is filled again"
    );
    assert_eq!(
        store
            .erase(&ClerkId::new("user_9").unwrap(), &operator())
            .await
            .unwrap(),
        None
    );
}

/// Clerk's "Send Example" always uses the same IDs, and its delete would shut them out for ever.
async fn a_forgotten_user_can_be_created_again(place: Place) {
    let store = place.store(SCRUB);
    store.migrate().await.unwrap();
    apply(
        &store,
        &[
            update("msg_1", "user_1", 10),
            delete("msg_2", "user_1", 20),
            update("msg_3", "user_2", 10),
        ],
    )
    .await;
    let id = ClerkId::new("user_1").unwrap();
    assert_eq!(store.forget(&id, &operator()).await.unwrap(), (1, 2));
    assert_eq!(store.forget(&id, &operator()).await.unwrap(), (0, 0));
    assert!(find(&store, "user_1").await.is_none());
    assert_eq!(
        apply(&store, &[update("msg_1", "user_1", 10)]).await,
        [Outcome::Applied]
    );
    let row = find(&store, "user_1").await.unwrap();
    assert_eq!(
        (row.text("first_name"), row.deleted_at),
        (Some("msg_1"), None)
    );
    assert!(find(&store, "user_2").await.is_some());
}
