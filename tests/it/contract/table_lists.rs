//! Lists of rows of any table, in both databases: filters, searches and pages; and their histories.

use std::num::NonZeroU32;

use clerk_sync::clerk::tables::{
    organization_invitations, organization_memberships, organizations,
};
use clerk_sync::clerk::{ClerkId, Column, SignedEvent, Table};
use clerk_sync::clock::now;
use clerk_sync::store::{Page, RowChange, Store, TableFilter, TableTotals};
use clerk_sync::worker::plan::plan;

use super::store::Place;
use crate::support::history::EPOCH_MS;
use crate::support::organizations::{about, invitation, leave, membership, organization};

super::both_arms! {
    postgresql: super::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: super::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    rows_are_found_by_every_filter
    an_organization_is_found_by_the_beginning_of_its_name_and_slug
    a_beginning_that_many_rows_have_is_found_in_order
    pages_of_a_table_neither_skip_nor_repeat_while_rows_come
    the_history_of_a_row_says_what_each_event_did
    rows_of_each_table_are_counted
}

const ORGANIZATIONS: &Table = &organizations::TABLE;
const MEMBERSHIPS: &Table = &organization_memberships::TABLE;
const INVITATIONS: &Table = &organization_invitations::TABLE;

async fn apply(store: &Store, events: &[SignedEvent]) {
    for event in events {
        store
            .apply(&plan(std::slice::from_ref(event)))
            .await
            .unwrap();
    }
}

fn page(limit: u32) -> Page {
    Page {
        limit: NonZeroU32::new(limit).unwrap(),
        after: None,
    }
}

fn column(table: &'static Table, name: &str) -> &'static Column {
    &table.columns[table.place(name).unwrap()]
}

fn by(table: &'static Table, name: &str, value: &str) -> TableFilter {
    TableFilter::by(column(table, name), value)
}

fn id(text: &str) -> ClerkId {
    ClerkId::new(text).unwrap()
}

/// The IDs that a list has.
async fn found(store: &Store, table: &'static Table, filter: TableFilter) -> Vec<String> {
    let listing = store.rows(table, &filter, &page(100), false).await.unwrap();
    assert!(listing.rows.iter().all(|row| row.data.is_none()));
    listing.rows.into_iter().map(|row| row.clerk_id).collect()
}

async fn rows_are_found_by_every_filter(place: Place) {
    let store = place.migrated().await;
    let (past, future) = (now().ms() - 60_000, now().ms() + 3_600_000);
    apply(
        &store,
        &[
            membership("msg_1", "orgmem_1", "org_1", "user_1", "org:admin", 1),
            membership("msg_2", "orgmem_2", "org_1", "user_2", "org:member", 2),
            membership("msg_3", "orgmem_3", "org_2", "user_1", "org:member", 3),
            leave("msg_4", "orgmem_2", "org_1", "user_2", 2, 9),
            invitation(
                "msg_5",
                "orginv_1",
                "org_1",
                "Åsa@Example.com",
                "pending",
                1,
                future,
            ),
            invitation(
                "msg_6",
                "orginv_2",
                "org_1",
                "bo@example.com",
                "pending",
                1,
                past,
            ),
            invitation(
                "msg_7",
                "orginv_3",
                "org_2",
                "bo@example.com",
                "accepted",
                1,
                future,
            ),
        ],
    )
    .await;
    let of = async |filter: TableFilter| found(&store, MEMBERSHIPS, filter).await;
    let all = of(TableFilter::default()).await;
    assert_eq!(all, ["orgmem_3", "orgmem_2", "orgmem_1"]);
    let in_first = || by(MEMBERSHIPS, "organization_id", "org_1");
    assert_eq!(of(in_first()).await, ["orgmem_2", "orgmem_1"]);
    for (deleted, expected) in [(true, "orgmem_2"), (false, "orgmem_1")] {
        let filter = TableFilter {
            deleted: Some(deleted),
            ..in_first()
        };
        assert_eq!(of(filter).await, [expected]);
    }
    assert_eq!(
        of(by(MEMBERSHIPS, "user_id", "user_1")).await,
        ["orgmem_3", "orgmem_1"]
    );
    assert_eq!(of(by(MEMBERSHIPS, "role", "org:admin")).await, ["orgmem_1"]);
    assert_eq!(of(by(MEMBERSHIPS, "role", "ORG:ADMIN")).await, [""; 0]);
    let mut both = in_first();
    both.values
        .push((column(MEMBERSHIPS, "user_id"), "user_1".into()));
    assert_eq!(of(both).await, ["orgmem_1"]);
    let ids = TableFilter {
        ids: Some(vec![
            "orgmem_3".into(),
            "orgmem_1".into(),
            "orgmem_9".into(),
        ]),
        ..by(MEMBERSHIPS, "role", "org:member")
    };
    assert_eq!(of(ids).await, ["orgmem_3"]);

    let of = async |filter: TableFilter| found(&store, INVITATIONS, filter).await;
    let address = by(INVITATIONS, "email_address", "ÅSA@example.COM");
    assert_eq!(of(address).await, ["orginv_1"]);
    let pending = || by(INVITATIONS, "status", "pending");
    assert_eq!(of(pending()).await, ["orginv_2", "orginv_1"]);
    for (expired, expected) in [(true, "orginv_2"), (false, "orginv_1")] {
        let filter = TableFilter {
            expired: Some(expired),
            ..pending()
        };
        assert_eq!(of(filter).await, [expected]);
    }

    let whole = store
        .row(MEMBERSHIPS, &id("orgmem_1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(whole.text("organization_id"), Some("org_1"));
    assert!(!whole.data.unwrap().get().contains("not-stored"));
    assert!(
        store
            .row(MEMBERSHIPS, &id("orgmem_9"))
            .await
            .unwrap()
            .is_none()
    );
    let with_data = store
        .rows(INVITATIONS, &pending(), &page(1), true)
        .await
        .unwrap();
    assert!(with_data.rows[0].data.is_some() && with_data.next.is_some());
    store.close().await;
}

async fn an_organization_is_found_by_the_beginning_of_its_name_and_slug(place: Place) {
    let store = place.migrated().await;
    apply(
        &store,
        &[
            organization("msg_1", "org_1", 1, "Fern & Co", Some("fern-co")),
            organization("msg_2", "org_2", 2, "ÖZTÜRK Ltd", None),
            organization("msg_3", "org_3", 3, "100%_sure", Some("Odd")),
            organization("msg_4", "org_4", 4, "Tern", Some("fern-2")),
            about(
                "msg_5",
                "organization.deleted",
                9,
                &serde_json::json!({"id": "org_4", "deleted": true}),
            ),
        ],
    )
    .await;
    let search = |q: &str| TableFilter {
        q: Some(q.into()),
        ..TableFilter::default()
    };
    for (q, expected) in [
        ("fern", &["org_4", "org_1"][..]),
        (" FERN & c", &["org_1"]),
        ("fern-", &["org_4", "org_1"]),
        ("öztürk l", &["org_2"]),
        ("ÖZTÜRK", &["org_2"]),
        ("100%", &["org_3"]),
        ("100_", &[]),
        ("Odd", &["org_3"]),
        ("org_", &["org_4", "org_3", "org_2", "org_1"]),
        ("org_2", &["org_2"]),
        ("ern", &[]),
        (" ", &["org_4", "org_3", "org_2", "org_1"]),
    ] {
        assert_eq!(
            found(&store, ORGANIZATIONS, search(q)).await,
            expected,
            "{q}"
        );
    }
    let live = TableFilter {
        deleted: Some(false),
        ..search("fern")
    };
    assert_eq!(found(&store, ORGANIZATIONS, live).await, ["org_1"]);
    let slug = by(ORGANIZATIONS, "slug", "fern-2");
    assert_eq!(found(&store, ORGANIZATIONS, slug).await, ["org_4"]);
    store.close().await;
}

async fn a_beginning_that_many_rows_have_is_found_in_order(place: Place) {
    let store = place.migrated().await;
    // More than the search looks at one by one.
    place
        .execute(
            "insert into {schema}organizations (clerk_id, name, slug, synced_at)
             with recursive n (i) as (select 1 union all select i + 1 from n where i < 10500)
             select 'org_' || (100000 + i), case when i % 2 = 0 then 'Same ' else 'Other ' end || i, 'same-' || i, {now} from n"
                .replace("{now}", if matches!(place, Place::Postgres(_)) { "now()" } else { "1" })
                .as_str(),
        )
        .await;
    let search = |q: &str| TableFilter {
        q: Some(q.into()),
        ..TableFilter::default()
    };
    let first = store
        .rows(ORGANIZATIONS, &search("same"), &page(2), false)
        .await
        .unwrap();
    let ids: Vec<_> = first.rows.iter().map(|row| &*row.clerk_id).collect();
    assert_eq!(ids, ["org_110500", "org_110499"]);
    let next = Page {
        after: first.next,
        ..page(2)
    };
    let second = store
        .rows(ORGANIZATIONS, &search("same"), &next, false)
        .await
        .unwrap();
    assert_eq!(second.rows[0].clerk_id, "org_110498");
    assert_eq!(
        found(&store, ORGANIZATIONS, search("other 1049"))
            .await
            .len(),
        6
    );
    store.close().await;
}

async fn pages_of_a_table_neither_skip_nor_repeat_while_rows_come(place: Place) {
    let store = place.migrated().await;
    for n in 10..30 {
        let (event, row) = (format!("msg_{n}"), format!("orgmem_{n}"));
        apply(
            &store,
            &[membership(&event, &row, "org_1", "user_1", "org:member", n)],
        )
        .await;
    }
    let filter = by(MEMBERSHIPS, "organization_id", "org_1");
    let (mut seen, mut next) = (Vec::new(), page(7));
    loop {
        let listing = store
            .rows(MEMBERSHIPS, &filter, &next, false)
            .await
            .unwrap();
        seen.extend(listing.rows.into_iter().map(|row| row.clerk_id));
        // One that is newer than all.
        let (event, row) = (
            format!("msg_new{}", seen.len()),
            format!("orgmem_9{}", seen.len()),
        );
        apply(
            &store,
            &[membership(
                &event,
                &row,
                "org_1",
                "user_1",
                "org:member",
                99,
            )],
        )
        .await;
        let Some(cursor) = listing.next else { break };
        next.after = Some(cursor.to_string().parse().unwrap());
    }
    let expected: Vec<_> = (10..30).rev().map(|n| format!("orgmem_{n}")).collect();
    assert_eq!(seen, expected);
    store.close().await;
}

async fn the_history_of_a_row_says_what_each_event_did(place: Place) {
    let store = place.store(clerk_sync::store::Keep {
        payloads: clerk_sync::store::Payloads::All,
        ..Default::default()
    });
    store.migrate().await.unwrap();
    apply(
        &store,
        &[
            organization("msg_1", "org_1", 1, "Fern", None),
            organization("msg_2", "org_1", 5, "Fern & Co", None),
            organization("msg_3", "org_1", 3, "Fern & Son", None),
            about(
                "msg_4",
                "organization.deleted",
                9,
                &serde_json::json!({"id": "org_1", "deleted": true}),
            ),
            membership("msg_5", "orgmem_1", "org_1", "user_1", "org:admin", 1),
            leave("msg_6", "orgmem_1", "org_1", "user_1", 4, 9),
        ],
    )
    .await;
    let history = async |table: &'static Table, row: &str| {
        let listing = store.history(table, &id(row), &page(10)).await.unwrap();
        let of = |row: &clerk_sync::store::HistoryRow| {
            (
                row.event.event_id.clone(),
                row.why.clone(),
                row.changed.clone(),
            )
        };
        let mut rows: Vec<_> = listing.rows.iter().map(of).collect();
        rows.sort();
        rows
    };
    let of_organization = history(ORGANIZATIONS, "org_1").await;
    let why: Vec<_> = of_organization
        .iter()
        .map(|(_, why, _)| why.as_str())
        .collect();
    assert_eq!(why[1], "it changed the row");
    assert!(
        why[2].starts_with("a newer version was there, of msg_2"),
        "{}",
        why[2]
    );
    assert_eq!(why[3], "it marked the organization as deleted");
    assert!(
        of_organization[1]
            .2
            .as_ref()
            .unwrap()
            .contains(&"name".to_owned())
    );
    let of_membership = history(MEMBERSHIPS, "orgmem_1").await;
    assert_eq!(of_membership[1].1, "it marked the membership as deleted");

    // A delete that carries the object may change the row too.
    let event = store
        .event(&clerk_sync::clerk::EventId::new("msg_6").unwrap())
        .await;
    let change = store.row_change(&event.unwrap().unwrap()).await.unwrap();
    let RowChange::Known {
        before,
        differences,
    } = change
    else {
        panic!("{change:?}")
    };
    let names: Vec<_> = differences.iter().map(|one| &*one.name).collect();
    assert_eq!(before.as_deref(), Some("msg_5"));
    assert!(
        names.contains(&"role") && names.contains(&"deleted_at"),
        "{names:?}"
    );
    store.close().await;
}

async fn rows_of_each_table_are_counted(place: Place) {
    let store = place.migrated().await;
    apply(
        &store,
        &[
            membership("msg_1", "orgmem_1", "org_1", "user_1", "org:admin", 1),
            leave("msg_2", "orgmem_1", "org_1", "user_1", 1, 9),
            membership("msg_3", "orgmem_2", "org_1", "user_1", "org:admin", 10),
            invitation(
                "msg_4",
                "orginv_1",
                "org_1",
                "bo@example.com",
                "pending",
                1,
                EPOCH_MS,
            ),
        ],
    )
    .await;
    let totals = store.totals().await.unwrap();
    let of = |name: &str| totals.tables[name];
    let count = |rows, deleted_rows| TableTotals { rows, deleted_rows };
    assert_eq!(of("organization_memberships"), count(2, 1));
    assert_eq!(of("organization_invitations"), count(1, 0));
    assert_eq!((of("users"), totals.users), (count(0, 0), 0));
    assert_eq!(totals.events, 4);
    store.close().await;
}
