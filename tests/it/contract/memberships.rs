//! Who is a member: the view has one row for each user of an organization, whatever the order of the
//! events, on both stores.

use clerk_sync::clerk::{ClerkId, SignedEvent};
use clerk_sync::store::Store;
use clerk_sync::worker::plan::plan;

use super::store::Place;
use crate::support::history::{EPOCH_MS, delete};
use crate::support::organizations::{about, invitation, leave, membership, organization};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    who_leaves_and_joins_again_is_a_member_once_in_any_order
    a_member_of_a_deleted_organization_or_a_deleted_user_is_none
    an_invitation_is_pending_until_it_is_accepted_revoked_or_expired
}

async fn apply(store: &Store, event: SignedEvent) {
    store.apply(&plan(&[event])).await.unwrap();
}

/// The active memberships of this user, as the view has them.
async fn active(place: &Place, user: &str) -> i64 {
    let count = format!(
        "select count(*) from {{schema}}active_organization_memberships where user_id = '{user}'"
    );
    place.count(&count).await
}

const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

async fn who_leaves_and_joins_again_is_a_member_once_in_any_order(place: Place) {
    let store = place.migrated().await;
    for (number, order) in ORDERS.iter().enumerate() {
        let user = format!("user_{number}");
        let (old, new) = (format!("orgmem_{number}_1"), format!("orgmem_{number}_2"));
        let events = [
            membership(
                &format!("msg_{number}_joined"),
                &old,
                "org_1",
                &user,
                "org:admin",
                1,
            ),
            // The object of the delete is as old as its last update.
            leave(&format!("msg_{number}_left"), &old, "org_1", &user, 1, 50),
            membership(
                &format!("msg_{number}_again"),
                &new,
                "org_1",
                &user,
                "org:member",
                60,
            ),
        ];
        for place_in_order in order {
            apply(&store, events[*place_in_order].clone()).await;
        }
        assert_eq!(active(&place, &user).await, 1, "{order:?}");
        let found = format!(
            "select count(*) from {{schema}}active_organization_memberships where clerk_id = '{new}' and role = 'org:member'"
        );
        assert_eq!(place.count(&found).await, 1, "{order:?}");
        let row = |id: &str| {
            let id = ClerkId::new(id).unwrap();
            let store = store.clone();
            async move { store.row(events_table(), &id).await.unwrap().unwrap() }
        };
        assert!(row(&old).await.deleted_at.is_some(), "{order:?}");
        assert!(row(&new).await.deleted_at.is_none(), "{order:?}");
        assert_eq!(
            row(&old).await.text("user_id"),
            Some(&*user),
            "the delete has brought the rest"
        );
    }
    // The delete of the old one is lost on the way: the newest counts.
    apply(
        &store,
        membership("msg_a", "orgmem_a", "org_1", "user_a", "org:admin", 1),
    )
    .await;
    apply(
        &store,
        membership("msg_b", "orgmem_b", "org_1", "user_a", "org:member", 1),
    )
    .await;
    assert_eq!(active(&place, "user_a").await, 1);
    // Two organizations are two memberships.
    apply(
        &store,
        membership("msg_c", "orgmem_c", "org_2", "user_a", "org:member", 1),
    )
    .await;
    assert_eq!(active(&place, "user_a").await, 2);
}

fn events_table() -> &'static clerk_sync::clerk::Table {
    &clerk_sync::clerk::tables::organization_memberships::TABLE
}

async fn a_member_of_a_deleted_organization_or_a_deleted_user_is_none(place: Place) {
    let store = place.migrated().await;
    apply(
        &store,
        membership("msg_1", "orgmem_1", "org_1", "user_1", "org:admin", 1),
    )
    .await;
    apply(
        &store,
        membership("msg_2", "orgmem_2", "org_2", "user_2", "org:admin", 1),
    )
    .await;
    assert_eq!(
        (
            active(&place, "user_1").await,
            active(&place, "user_2").await
        ),
        (1, 1),
        "an organization and a user that were never heard of count as active"
    );
    apply(&store, organization("msg_3", "org_1", 1, "Fern", None)).await;
    assert_eq!(active(&place, "user_1").await, 1);
    let gone = serde_json::json!({"id": "org_1", "deleted": true, "object": "organization"});
    apply(&store, about("msg_4", "organization.deleted", 9, &gone)).await;
    apply(&store, delete("msg_5", "user_2", 9)).await;
    assert_eq!(
        (
            active(&place, "user_1").await,
            active(&place, "user_2").await
        ),
        (0, 0)
    );
    assert_eq!(
        place
            .count("select count(*) from {schema}active_organizations")
            .await,
        0
    );
}

async fn an_invitation_is_pending_until_it_is_accepted_revoked_or_expired(place: Place) {
    let store = place.migrated().await;
    let (past, future) = (EPOCH_MS - 1_000_000_000_000, EPOCH_MS + 1_000_000_000_000);
    for (number, status, expires_ms) in [
        (1, "pending", future),
        (2, "pending", past),
        (3, "accepted", future),
        (4, "revoked", future),
    ] {
        let id = format!("orginv_{number}");
        apply(
            &store,
            invitation(
                &format!("msg_{number}"),
                &id,
                "org_1",
                "ada@example.com",
                status,
                1,
                expires_ms,
            ),
        )
        .await;
    }
    let pending =
        "select count(*) from {schema}pending_organization_invitations where clerk_id = 'orginv_1'";
    assert_eq!(place.count(pending).await, 1);
    assert_eq!(
        place
            .count("select count(*) from {schema}pending_organization_invitations")
            .await,
        1
    );
}
