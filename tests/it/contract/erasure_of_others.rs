//! What other tables hold of a user is erased with the user, on both stores and in any order.

use clerk_sync::clerk::{ClerkId, EventId, OmittedFields, SignedEvent, Table, tables};
use clerk_sync::queue::Source;
use clerk_sync::store::{Keep, OnDelete, Payloads, Status, Store, TableRow};
use clerk_sync::worker::plan::plan_batch;
use serde_json::{Value, json};

use super::store::Place;
use crate::support::history::{EPOCH_MS, event, operator};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    nothing_personal_is_left_of_a_deleted_user_in_any_table_whatever_the_order
    users_who_were_deleted_earlier_take_their_other_rows_along
    a_command_erases_the_rows_of_other_tables_and_says_how_many
    failed_events_of_other_people_stay_as_they_are
    a_failed_delete_is_kept_without_what_is_personal
    what_comes_after_an_erasure_is_erased_too
    a_user_without_a_row_can_be_erased
}

const SCRUB: Keep = Keep {
    payloads: Payloads::All,
    on_delete: OnDelete::Scrub,
};

/// In every text that is personal to Ada.
const SECRETS: [&str; 4] = ["Ada", "ada@example.com", "Ada.2@Example.com", "of Ada"];

fn table(singular: &str) -> &'static Table {
    let is_it = |table: &&Table| table.singular == singular;
    tables::ALL.iter().copied().find(is_it).unwrap()
}

async fn apply(store: &Store, events: &[SignedEvent]) {
    for write in plan_batch(events, Source::Events, &OmittedFields::default()) {
        store.apply(&write).await.unwrap();
    }
}

fn body(id: &str, event_type: &str, at_ms: i64, mut data: Value) -> SignedEvent {
    let at = EPOCH_MS + at_ms;
    if data["deleted"].is_null() {
        data["updated_at"] = at.into();
    }
    let body = json!({"type": event_type, "timestamp": at, "data": data});
    event(id, body.to_string())
}

fn membership(id: &str, user: &str, event_type: &str, at_ms: i64) -> SignedEvent {
    let data = json!({
        "id": format!("orgmem_of_{user}"), "role": "org:member",
        "organization": {"id": "org_1", "name": "Fern"},
        "public_user_data": {"user_id": user, "first_name": "Ada", "identifier": "ada@example.com"},
        "private_metadata": {"note": "of Ada"},
    });
    body(id, event_type, at_ms, data)
}

fn invitation(id: &str, row: &str, to: &str, user: Option<&str>, at_ms: i64) -> SignedEvent {
    let data = json!({
        "id": row, "organization_id": "org_1", "email_address": to, "user_id": user, "status": "accepted",
        "url": "https://example.com/ticket", "public_metadata": {"note": "of Ada"},
        "public_inviter_data": {"identifier": "eve@example.com"},
    });
    body(id, "organizationInvitation.accepted", at_ms, data)
}

/// Ada's history: the profile with two addresses, a membership that ends, invitations that she
/// accepted and that went to her second address, and events that failed.
fn of_ada() -> Vec<SignedEvent> {
    let ada = json!({
        "id": "user_ada", "first_name": "Ada", "primary_email_address_id": "idn_1",
        "email_addresses": [
            {"id": "idn_1", "email_address": "ada@example.com"},
            {"id": "idn_2", "email_address": "Ada.2@Example.com"},
        ],
    });
    vec![
        body("msg_profile", "user.updated", 1, ada),
        membership(
            "msg_joined",
            "user_ada",
            "organizationMembership.created",
            2,
        ),
        membership("msg_left", "user_ada", "organizationMembership.deleted", 3),
        invitation(
            "msg_accepted",
            "orginv_accepted",
            "other@example.org",
            Some("user_ada"),
            4,
        ),
        invitation(
            "msg_invited",
            "orginv_invited",
            "ada.2@example.com",
            None,
            5,
        ),
        // Neither has a row.
        body(
            "msg_failed_invitation",
            "organizationInvitation.created",
            6,
            json!({"id": "", "email_address": "Ada.2@Example.com", "url": "https://example.com/ticket"}),
        ),
    ]
}

fn of_others() -> Vec<SignedEvent> {
    vec![
        body(
            "msg_bo",
            "user.updated",
            1,
            json!({"id": "user_bo", "first_name": "Bo"}),
        ),
        membership(
            "msg_bo_joined",
            "user_bo",
            "organizationMembership.created",
            2,
        ),
        invitation("msg_cy", "orginv_cy", "cy@example.com", None, 3),
    ]
}

fn deleted() -> SignedEvent {
    let data = json!({"id": "user_ada", "deleted": true});
    body("msg_deleted", "user.deleted", 50, data)
}

async fn row(store: &Store, singular: &str, id: &str) -> TableRow {
    let id = ClerkId::new(id).unwrap();
    store
        .row(table(singular), &id)
        .await
        .unwrap()
        .unwrap_or_else(|| panic!("{} has no row", id.as_str()))
}

/// Everything that is stored of Ada, as text.
async fn stored(store: &Store, events: &[SignedEvent]) -> String {
    let mut text = String::new();
    for (singular, id) in [
        ("user", "user_ada"),
        ("membership", "orgmem_of_user_ada"),
        ("invitation", "orginv_accepted"),
        ("invitation", "orginv_invited"),
    ] {
        let row = store.row(table(singular), &ClerkId::new(id).unwrap()).await;
        text += &row
            .unwrap()
            .map_or_else(String::new, |row| serde_json::to_string(&row).unwrap());
    }
    for event in events {
        let kept = store.event(event.id()).await.unwrap();
        text += &kept.map_or_else(String::new, |event| serde_json::to_string(&event).unwrap());
    }
    text
}

async fn nothing_personal_is_left_of_a_deleted_user_in_any_table_whatever_the_order(place: Place) {
    drop(place.migrated().await);
    let store = place.store(SCRUB);
    apply(&store, &of_others()).await;
    // The delete in every place. What went to an address is known to be hers only if her profile
    // came before the delete.
    for before in 1..=of_ada().len() {
        let mut events = of_ada();
        events.insert(before, deleted());
        // What comes after the delete, and names her by an address alone.
        let unknown: &[&str] = match before {
            6 => &[],
            5 => &["msg_failed_invitation"],
            _ => &["msg_failed_invitation", "msg_invited"],
        };
        events.retain(|event| !unknown.contains(&event.id().as_str()));
        for batch in [1, 2, events.len()] {
            for events in events.chunks(batch) {
                apply(&store, events).await;
            }
            let stored = stored(&store, &events).await;
            for secret in SECRETS {
                assert!(
                    !stored.contains(secret),
                    "{secret} after {before} events, in batches of {batch}: {stored}"
                );
            }
            assert!(
                row(&store, "membership", "orgmem_of_user_ada")
                    .await
                    .erased_at
                    .is_some()
            );
            assert_eq!(
                row(&store, "membership", "orgmem_of_user_ada")
                    .await
                    .text("user_id"),
                Some("user_ada"),
                "joins still hold"
            );
            for table in [
                "users",
                "organization_memberships",
                "organization_invitations",
                "events",
            ] {
                let forget = match table {
                    "events" => "delete from {schema}events where event_id not in ('msg_bo', 'msg_bo_joined', 'msg_cy')".into(),
                    table => format!("delete from {{schema}}{table} where clerk_id not in ('user_bo', 'orgmem_of_user_bo', 'orginv_cy')"),
                };
                place.execute(&forget).await;
            }
        }
    }
    assert_eq!(
        row(&store, "membership", "orgmem_of_user_bo")
            .await
            .erased_at,
        None
    );
    assert_eq!(
        row(&store, "invitation", "orginv_cy")
            .await
            .text("email_address"),
        Some("cy@example.com")
    );
    let bo = store
        .event(&EventId::new("msg_bo_joined").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(bo.payload.is_some() && bo.status == Status::Applied);
}

async fn users_who_were_deleted_earlier_take_their_other_rows_along(place: Place) {
    let keeping = place.migrated().await;
    let events = [of_ada(), vec![deleted()]].concat();
    apply(&keeping, &events).await;
    apply(&keeping, &of_others()).await;
    assert!(stored(&keeping, &events).await.contains("of Ada"));
    let store = place.store(SCRUB);
    assert_eq!(store.scrub(10).await.unwrap(), 1);
    let stored = stored(&store, &events).await;
    for secret in SECRETS {
        assert!(!stored.contains(secret), "{secret}: {stored}");
    }
    assert_eq!(
        row(&store, "invitation", "orginv_cy")
            .await
            .text("email_address"),
        Some("cy@example.com")
    );
}

async fn a_command_erases_the_rows_of_other_tables_and_says_how_many(place: Place) {
    drop(place.migrated().await);
    let store = place.store(Keep {
        payloads: Payloads::All,
        ..Keep::default()
    });
    let events = of_ada();
    apply(&store, &events).await;
    apply(&store, &of_others()).await;
    let ada = ClerkId::new("user_ada").unwrap();
    let (preview, _) = store.would_erase(&ada).await.unwrap().unwrap();
    let erased = store.erase(&ada, &operator()).await.unwrap().unwrap();
    assert_eq!(preview, erased);
    assert_eq!(erased.payloads, 6);
    let rows: Vec<_> = erased.other_rows.into_iter().collect();
    assert_eq!(rows, [("invitations", 2), ("memberships", 1)]);
    let stored = stored(&store, &events).await;
    for secret in SECRETS {
        assert!(!stored.contains(secret), "{secret}: {stored}");
    }
    // She is still at Clerk, so the next event fills her rows again.
    apply(
        &store,
        &[membership(
            "msg_again",
            "user_ada",
            "organizationMembership.updated",
            9,
        )],
    )
    .await;
    let filled = row(&store, "membership", "orgmem_of_user_ada").await;
    assert_eq!(filled.erased_at, None);
    assert_eq!(
        filled
            .json("private_metadata")
            .map(|text| text.contains("of Ada")),
        Some(true)
    );
}

/// An event that fails: its time is no number.
fn failing(id: &str, event_type: &str, data: Value) -> SignedEvent {
    let body = json!({"type": event_type, "timestamp": "bad", "data": data});
    event(id, body.to_string())
}

async fn kept(store: &Store, id: &str) -> (Status, Option<String>) {
    let event = store
        .event(&EventId::new(id).unwrap())
        .await
        .unwrap()
        .unwrap();
    let payload = event.payload.map(|bytes| String::from_utf8(bytes).unwrap());
    (event.status, payload)
}

async fn failed_events_of_other_people_stay_as_they_are(place: Place) {
    let store = place.migrated().await;
    let user = json!({
        "id": "user_nn", "email_addresses": [
            {"id": "idn_1", "email_address": "nn@example.com"}, {"id": "idn_2", "email_address": ""},
        ],
    });
    apply(&store, &[body("msg_nn", "user.updated", 1, user)]).await;
    let others = [
        failing(
            "msg_1",
            "organizationInvitation.created",
            json!({"id": "orginv_1", "email_address": "ann@example.com"}),
        ),
        failing(
            "msg_2",
            "organizationInvitation.created",
            json!({"id": "orginv_2", "inviter_id": "user_nn", "email_address": "bo@example.com"}),
        ),
        failing(
            "msg_3",
            "organizationMembership.deleted",
            json!({"id": "orgmem_3", "public_user_data": {"user_id": "user_bo"}, "public_metadata": {"friend": "user_nn"}}),
        ),
        // The address of an account that is gone, in the hands of another.
        failing(
            "msg_4",
            "organizationInvitation.accepted",
            json!({"id": "orginv_4", "user_id": "user_new", "email_address": "nn@example.com"}),
        ),
    ];
    apply(&store, &others).await;
    let theirs = [
        failing(
            "msg_5",
            "organizationInvitation.created",
            json!({"id": "orginv_5", "email_address": "NN@Example.com"}),
        ),
        event(
            "msg_6",
            r#"{"data":{"id":"orginv_6","email_address":"nn\u0040example.com"},"timestamp":"bad","type":"organizationInvitation.created"}"#,
        ),
    ];
    apply(&store, &theirs).await;
    let id = ClerkId::new("user_nn").unwrap();
    let (preview, _) = store.would_erase(&id).await.unwrap().unwrap();
    let erased = store.erase(&id, &operator()).await.unwrap().unwrap();
    assert_eq!((preview.payloads, erased.payloads), (2, 2));
    for event in &others {
        let (status, payload) = kept(&store, event.id().as_str()).await;
        assert!(
            status == Status::Failed && payload.is_some(),
            "{}",
            event.id()
        );
    }
    for event in &theirs {
        assert_eq!(
            kept(&store, event.id().as_str()).await,
            (Status::Discarded, None),
            "{}",
            event.id()
        );
    }
}

async fn a_failed_delete_is_kept_without_what_is_personal(place: Place) {
    let store = place.migrated().await;
    apply(&store, &[
        membership("msg_1", "user_ada", "organizationMembership.created", 1),
        failing("msg_2", "organizationMembership.deleted", json!({
            "id": "orgmem_of_user_ada", "public_user_data": {"user_id": "user_ada"}, "private_metadata": {"note": "of Ada"},
        })),
    ]).await;
    let ada = ClerkId::new("user_ada").unwrap();
    store.erase(&ada, &operator()).await.unwrap().unwrap();
    let expected = r#"{"data":{"id":"orgmem_of_user_ada"},"timestamp":"bad","type":"organizationMembership.deleted"}"#;
    assert_eq!(
        kept(&store, "msg_2").await,
        (Status::Failed, Some(expected.into()))
    );
    // As a replay would bring it, were its time right.
    let right = expected.replace("\"bad\"", &(EPOCH_MS + 9).to_string());
    apply(&store, &[event("msg_2", right)]).await;
    assert_eq!(kept(&store, "msg_2").await.0, Status::Applied);
    assert!(
        row(&store, "membership", "orgmem_of_user_ada")
            .await
            .deleted_at
            .is_some()
    );
}

async fn what_comes_after_an_erasure_is_erased_too(place: Place) {
    drop(place.migrated().await);
    let store = place.store(SCRUB);
    let late = of_ada();
    // The delete came first, and the profile last: only it says which addresses are hers.
    apply(&store, &[deleted()]).await;
    for event in late.iter().rev() {
        apply(&store, std::slice::from_ref(event)).await;
    }
    apply(&store, &[failing("msg_late", "organizationMembership.created", json!({
        "id": "orgmem_other", "public_user_data": {"user_id": "user_ada"}, "private_metadata": {"note": "of Ada"},
    }))]).await;
    let stored = stored(&store, &late).await;
    for secret in SECRETS {
        assert!(!stored.contains(secret), "{secret}: {stored}");
    }
    assert_eq!(kept(&store, "msg_late").await, (Status::Discarded, None));
}

async fn a_user_without_a_row_can_be_erased(place: Place) {
    let store = place.migrated().await;
    apply(
        &store,
        &[membership(
            "msg_1",
            "user_x",
            "organizationMembership.created",
            1,
        )],
    )
    .await;
    let id = ClerkId::new("user_x").unwrap();
    let (preview, _) = store.would_erase(&id).await.unwrap().unwrap();
    let erased = store.erase(&id, &operator()).await.unwrap().unwrap();
    assert_eq!((&preview, erased.other_rows.len()), (&erased, 1));
    assert_eq!(
        row(&store, "membership", "orgmem_of_user_x")
            .await
            .json("private_metadata"),
        None
    );
}
