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
