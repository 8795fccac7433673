//! The change feed, on both stores: what is recorded of each change, and what readers see of it.

use std::num::NonZeroU32;

use clerk_sync::clerk::{ChangeKind, ClerkId, OmittedFields, SignedEvent, tables};
use clerk_sync::queue::Source;
use clerk_sync::store::{
    ChangeCursor, ChangePage, ChangeRow, Keep, OnDelete, Outcome, Store, Write,
};
use clerk_sync::worker::plan::{plan, plan_batch};
use serde_json::json;

use super::store::Place;
use crate::support::history::{
    EPOCH_MS, delete, delete_in, event, operator, update, update_in, update_that_occurred,
};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    a_change_names_its_row_its_kind_its_columns_and_its_event
    an_event_that_changes_nothing_records_nothing
    without_the_feed_nothing_is_recorded
    a_write_records_one_change_of_a_row
    a_row_of_any_table_has_its_changes
    a_row_that_only_a_delete_has_reached_is_deleted_and_then_updated
    what_no_event_changed_names_none
    an_erasure_is_a_change_without_values
    a_delete_that_erases_is_one_change
    a_failed_write_records_nothing
}

pub(super) const ALL: NonZeroU32 = NonZeroU32::new(1000).unwrap();

pub(super) async fn recording(place: &Place) -> Store {
    recording_with(place, Keep::default()).await
}

async fn recording_with(place: &Place, keep: Keep) -> Store {
    let store = place.store_with(keep, true);
    store.migrate().await.unwrap();
    store.note_change_feed().await.unwrap();
    store
}

pub(super) async fn apply(store: &Store, events: &[SignedEvent]) -> Vec<Outcome> {
    store.apply(&plan(events)).await.unwrap()
}

/// A user with these fields beside its ID.
fn user(id: &str, event_type: &str, updated_ms: i64, fields: serde_json::Value) -> SignedEvent {
    let mut data = fields;
    data["id"] = "user_1".into();
    data["updated_at"] = (EPOCH_MS + updated_ms).into();
    let body = json!({"data": data, "timestamp": EPOCH_MS + updated_ms, "type": event_type});
    event(id, body.to_string())
}

pub(super) async fn page(
    store: &Store,
    after: Option<ChangeCursor>,
) -> (Vec<ChangeRow>, ChangeCursor) {
    match store.changes(after, None, ALL).await.unwrap() {
        ChangePage::Changes { changes, next, .. } => (changes, next),
        ChangePage::Expired => panic!("the place is expired"),
    }
}

/// Everything that is kept, each change as one text: `users user_1 created msg_1: email, username`.
pub(super) async fn feed(store: &Store) -> Vec<String> {
    let (changes, _) = page(store, None).await;
    changes.iter().map(text).collect()
}

fn text(change: &ChangeRow) -> String {
    format!(
        "{} {} {} {}: {}",
        change.table_name,
        change.clerk_id,
        change.change,
        change.event_id.as_deref().unwrap_or("-"),
        change.fields.join(", ")
    )
}

async fn a_change_names_its_row_its_kind_its_columns_and_its_event(place: Place) {
    let store = recording(&place).await;
    let profile =
        json!({"first_name": "Ada", "banned": false, "public_metadata": {"plan": "free"}});
    apply(&store, &[user("msg_1", "user.created", 1, profile)]).await;
    let profile = json!({"first_name": "Ada", "banned": true, "public_metadata": {"plan": "pro"}});
    apply(&store, &[user("msg_2", "user.updated", 2, profile)]).await;
    // A member that has no column, and one that goes.
    let profile = json!({"first_name": "Ada", "banned": true, "passkeys": []});
    apply(&store, &[user("msg_3", "user.updated", 3, profile)]).await;
    apply(&store, &[delete("msg_4", "user_1", 4)]).await;
    apply(&store, &[delete("msg_5", "user_1", 3)]).await;
    assert_eq!(
        feed(&store).await,
        [
            "users user_1 created msg_1: first_name, banned, public_metadata, updated_at",
            "users user_1 updated msg_2: banned, public_metadata, updated_at",
            "users user_1 updated msg_3: public_metadata, updated_at",
            "users user_1 deleted msg_4: deleted_at",
            "users user_1 deleted msg_5: deleted_at",
        ]
    );
    let ada = id("user_1");
    let of_row = store.changes_of_row(&tables::users::TABLE, &ada, ALL);
    let mut of_row = of_row.await.unwrap();
    of_row.reverse();
    assert_eq!(of_row, page(&store, None).await.0);
    let other = store.changes_of_row(&tables::organizations::TABLE, &ada, ALL);
    assert_eq!(other.await.unwrap(), []);
}

fn id(text: &str) -> ClerkId {
    ClerkId::new(text).unwrap()
}

async fn an_event_that_changes_nothing_records_nothing(place: Place) {
    let store = recording(&place).await;
    apply(
        &store,
        &[update("msg_1", "user_1", 10), delete("msg_2", "user_1", 10)],
    )
    .await;
    let before = feed(&store).await;
    let stale = [
        update("msg_0", "user_1", 5),
        delete("msg_3", "user_1", 20),
        event("msg_4", "no JSON"),
    ];
    apply(&store, &stale).await;
    apply(
        &store,
        &[update("msg_1", "user_1", 10), delete("msg_2", "user_1", 10)],
    )
    .await;
    assert_eq!(feed(&store).await, before);
    // The same values in a newer event: the row names another event.
    let same = update_that_occurred("msg_1", "user_1", 10, 10);
    let same = String::from_utf8(same.body().to_vec()).unwrap();
    let newer = same.replace(
        &format!("\"timestamp\":{}", EPOCH_MS + 10),
        &format!("\"timestamp\":{}", EPOCH_MS + 11),
    );
    apply(&store, &[event("msg_5", newer)]).await;
    assert_eq!(
        feed(&store).await.last().unwrap(),
        "users user_1 updated msg_5: "
    );
}

async fn without_the_feed_nothing_is_recorded(place: Place) {
    let store = place.migrated().await;
    store.note_change_feed().await.unwrap();
    apply(&store, &[update("msg_1", "user_1", 1)]).await;
    apply(&store, &[delete("msg_2", "user_1", 2)]).await;
    store.erase(&id("user_1"), &operator()).await.unwrap();
    assert_eq!(place.count("select count(*) from {schema}changes").await, 0);
    let noted = "select count(*) from {schema}settings where name like 'changes%'";
    assert_eq!(place.count(noted).await, 0);
}

async fn a_write_records_one_change_of_a_row(place: Place) {
    let store = recording(&place).await;
    let batch = [
        update("msg_1", "user_1", 1),
        update("msg_2", "user_1", 2),
        update("msg_3", "user_2", 3),
        delete("msg_4", "user_2", 9),
        delete("msg_5", "user_2", 4),
    ];
    apply(&store, &batch).await;
    let mut feed = feed(&store).await;
    feed.sort();
    assert_eq!(
        feed,
        [
            "users user_1 created msg_2: first_name, updated_at",
            "users user_2 deleted msg_5: first_name, updated_at, deleted_at",
        ]
    );
}

async fn a_row_of_any_table_has_its_changes(place: Place) {
    let store = recording(&place).await;
    for table in tables::ALL {
        let row = format!("{}_1", table.id_prefix);
        let (first, second, third) = (
            format!("msg_{}_1", table.name),
            format!("msg_{}_2", table.name),
            format!("msg_{}_3", table.name),
        );
        for event in [
            update_in(table, &first, &row, 10, 10),
            update_in(table, &second, &row, 20, 20),
            delete_in(table, &third, &row, 15, 30),
        ] {
            for write in plan_batch(&[event], Source::Events, &OmittedFields::default()) {
                store.apply(&write).await.unwrap();
            }
        }
        let changes = store.changes_of_row(table, &id(&row), ALL).await.unwrap();
        let kinds: Vec<_> = changes.iter().rev().map(|change| change.change).collect();
        let events = changes
            .iter()
            .rev()
            .map(|change| change.event_id.clone().unwrap());
        let is_deleted = table.events.iter().any(|kind| kind.deletes);
        let expected = match is_deleted {
            true => [
                (ChangeKind::Created, first),
                (ChangeKind::Updated, second),
                (ChangeKind::Deleted, third),
            ]
            .to_vec(),
            // Clerk sends none.
            false => [(ChangeKind::Created, first), (ChangeKind::Updated, second)].to_vec(),
        };
        let changes_of_row: Vec<_> = kinds.into_iter().zip(events).collect();
        assert_eq!(changes_of_row, expected, "{table:?}");
        for change in &changes {
            assert_eq!(change.table_name, table.name);
            assert!(!change.fields.is_empty(), "{change:?}");
            for field in &change.fields {
                let known = table.row_columns().any(|column| column.name == field);
                assert!(known, "{table:?} has no column {field}");
            }
        }
    }
}

async fn a_row_that_only_a_delete_has_reached_is_deleted_and_then_updated(place: Place) {
    let store = recording(&place).await;
    apply(&store, &[delete("msg_2", "user_1", 5)]).await;
    apply(&store, &[update("msg_1", "user_1", 1)]).await;
    assert_eq!(
        feed(&store).await,
        [
            "users user_1 deleted msg_2: deleted_at",
            "users user_1 updated msg_1: first_name, updated_at",
        ]
    );
}

async fn what_no_event_changed_names_none(place: Place) {
    let store = recording(&place).await;
    apply(&store, &[update("msg_1", "user_1", 1)]).await;
    // As reconcile does.
    let mut write = plan(&[delete("msg_2", "user_1", 5)]);
    write.records.clear();
    store.apply(&write).await.unwrap();
    assert_eq!(
        feed(&store).await.last().unwrap(),
        "users user_1 deleted -: deleted_at"
    );
    // As a backfill does.
    let mut write: Write = plan(&[update("listed", "user_2", 5)]);
    write.records.clear();
    store.apply(&write).await.unwrap();
    assert_eq!(
        feed(&store).await.last().unwrap(),
        "users user_2 created listed: first_name, updated_at"
    );
}

async fn an_erasure_is_a_change_without_values(place: Place) {
    let store = recording(&place).await;
    let profile = json!({"first_name": "Ada", "last_name": "Okafor"});
    apply(&store, &[user("msg_1", "user.created", 1, profile)]).await;
    let member = json!({
        "type": "organizationMembership.created", "timestamp": EPOCH_MS + 2,
        "data": {
            "id": "orgmem_1", "role": "org:member", "updated_at": EPOCH_MS + 2,
            "organization": {"id": "org_1"}, "public_user_data": {"user_id": "user_1"},
            "private_metadata": {"note": "of Ada"},
        },
    });
    let member = event("msg_2", member.to_string());
    for write in plan_batch(&[member], Source::Events, &OmittedFields::default()) {
        store.apply(&write).await.unwrap();
    }
    apply(&store, &[delete("msg_3", "user_1", 3)]).await;
    let before = feed(&store).await;
    store.erase(&id("user_1"), &operator()).await.unwrap();
    let mut erased = feed(&store).await.split_off(before.len());
    erased.sort();
    assert_eq!(
        erased,
        [
            "organization_memberships orgmem_1 erased -: private_metadata",
            "users user_1 erased -: first_name, last_name, updated_at",
        ]
    );
    // Again: there is nothing left.
    store.erase(&id("user_1"), &operator()).await.unwrap();
    assert_eq!(feed(&store).await.len(), before.len() + 2);
    // A live user is erased until the next event.
    apply(&store, &[update("msg_4", "user_2", 1)]).await;
    store.erase(&id("user_2"), &operator()).await.unwrap();
    apply(&store, &[update("msg_5", "user_2", 2)]).await;
    store.forget(&id("user_2"), &operator()).await.unwrap();
    assert_eq!(
        feed(&store).await.split_off(before.len() + 2),
        [
            "users user_2 created msg_4: first_name, updated_at",
            "users user_2 erased -: first_name, updated_at",
            "users user_2 updated msg_5: first_name, updated_at",
            "users user_2 erased -: first_name, updated_at",
        ]
    );
}

async fn a_delete_that_erases_is_one_change(place: Place) {
    let keep = Keep {
        on_delete: OnDelete::Scrub,
        ..Keep::default()
    };
    let store = recording_with(&place, keep).await;
    apply(&store, &[update("msg_1", "user_1", 1)]).await;
    apply(&store, &[delete("msg_2", "user_1", 2)]).await;
    assert_eq!(
        feed(&store).await.last().unwrap(),
        "users user_1 deleted msg_2: first_name, updated_at, deleted_at"
    );
    // Users who were deleted while ON_DELETE was `keep`.
    let keeps = place.store_with(Keep::default(), true);
    apply(
        &keeps,
        &[update("msg_3", "user_2", 1), delete("msg_4", "user_2", 2)],
    )
    .await;
    store.scrub(100).await.unwrap();
    assert_eq!(
        feed(&store).await.last().unwrap(),
        "users user_2 erased -: first_name, updated_at"
    );
}

async fn a_failed_write_records_nothing(place: Place) {
    let store = recording(&place).await;
    let data = format!(r#"{{"id":"user_2","first_name":"a\u0000b","updated_at":{EPOCH_MS}}}"#);
    let poison = format!(r#"{{"data":{data},"timestamp":{EPOCH_MS},"type":"user.created"}}"#);
    let write = plan(&[update("msg_1", "user_1", 1), event("msg_2", poison)]);
    // The one that cannot be stored is recorded as failed; the other is applied.
    store.apply(&write).await.unwrap();
    assert_eq!(
        feed(&store).await,
        ["users user_1 created msg_1: first_name, updated_at"]
    );
}
