//! The contract of both stores.

mod filters;
mod outcomes;

use filters::*;
use outcomes::*;
use std::num::NonZeroU32;
use std::time::Duration;

use clerk_sync::clerk::tables::users;
use clerk_sync::clerk::{ClerkId, EventId, SignedEvent};
use clerk_sync::store::{
    self, EventFailure, EventFilter, EventRow, Keep, Outcome, Page, Payloads, Status, Store,
    StoreError, TableRow, UserFilter, Write,
};
use clerk_sync::worker::plan::{plan, plan_failed};
use futures_util::future::join_all;

use crate::support::app::tempdir::TempDir;
use crate::support::app::until;
use crate::support::database::TestDatabase;
use crate::support::history::{at, delete, event, update, update_that_occurred};

/// A store of its own.
pub(super) enum Place {
    Postgres(TestDatabase),
    Sqlite(TempDir),
}

impl Place {
    pub(super) fn store(&self, keep: Keep) -> Store {
        self.store_with(keep, false)
    }

    pub(super) fn store_with(&self, keep: Keep, change_feed: bool) -> Store {
        let options = match self {
            Self::Postgres(database) => store::Options::Postgres(store::postgres::Options {
                schema: Default::default(),
                address: database.url().parse().unwrap(),
                connections: 4,
                keep,
                change_feed,
            }),
            Self::Sqlite(directory) => store::Options::Sqlite(store::sqlite::Options {
                path: directory.path().join("users.db"),
                keep,
                change_feed,
            }),
        };
        Store::open(&options).unwrap()
    }

    /// Runs `sql`, in which `{schema}` stands where PostgreSQL wants the schema, beside the store.
    pub(super) async fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(database) => {
                let sql = sqlx::AssertSqlSafe(sql.replace("{schema}", "clerk."));
                sqlx::raw_sql(sql)
                    .execute(&mut database.connect().await)
                    .await
                    .unwrap();
            }
            Self::Sqlite(directory) => {
                let sql = sqlx::AssertSqlSafe(sql.replace("{schema}", ""));
                sqlx::raw_sql(sql)
                    .execute(&mut sqlite(directory).await)
                    .await
                    .unwrap();
            }
        }
    }

    /// The number that `sql` counts, in which `{schema}` stands as for `execute`.
    pub(super) async fn count(&self, sql: &str) -> i64 {
        match self {
            Self::Postgres(database) => {
                let sql = sqlx::AssertSqlSafe(sql.replace("{schema}", "clerk."));
                let mut connection = database.connect().await;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
            Self::Sqlite(directory) => {
                let sql = sqlx::AssertSqlSafe(sql.replace("{schema}", ""));
                let mut connection = sqlite(directory).await;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
        }
        .unwrap()
    }

    pub(super) async fn migrated(&self) -> Store {
        let store = self.store(Keep::default());
        store.migrate().await.unwrap();
        store
    }
}

super::both_arms! {
    postgresql: super::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: super::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    an_empty_write_is_nothing
    the_newest_profile_wins_whatever_the_order
    an_older_event_is_stale_and_writes_nothing
    a_tie_is_decided_by_the_id_byte_by_byte
    the_earliest_delete_stays_and_a_late_update_fills_the_tombstone
    an_event_that_comes_again_is_only_counted
    a_failed_event_is_tried_again
    a_discarded_event_comes_back_only_to_succeed
    a_write_that_is_given_up_half_way_holds_nothing_up
    a_status_does_not_depend_on_how_batches_are_cut
    payloads_are_kept_as_configured
    a_write_is_all_or_nothing
    old_lines_are_pruned_but_never_failed_ones
    users_are_found_by_every_filter
    pages_neither_skip_nor_repeat_while_rows_come
    events_are_found_by_every_filter
    migrating_twice_and_twenty_at_once_is_harmless
    a_schema_that_is_missing_or_newer_is_named_with_what_to_do
    opposite_orders_at_once_come_to_the_right_rows
}

async fn apply(store: &Store, events: &[SignedEvent]) -> Vec<Outcome> {
    store.apply(&plan(events)).await.unwrap()
}

async fn user(store: &Store, id: &str) -> TableRow {
    store
        .user(&ClerkId::new(id).unwrap())
        .await
        .unwrap()
        .unwrap_or_else(|| panic!("{id} has no row"))
}

async fn line(store: &Store, id: &str) -> EventRow {
    store
        .event(&EventId::new(id).unwrap())
        .await
        .unwrap()
        .unwrap_or_else(|| panic!("{id} has no line"))
}

async fn first_name(store: &Store, id: &str) -> Option<String> {
    user(store, id).await.text("first_name").map(str::to_owned)
}

async fn an_empty_write_is_nothing(place: Place) {
    let store = place.migrated().await;
    assert_eq!(store.apply(&Write::empty(&users::TABLE)).await.unwrap(), []);
}

async fn the_newest_profile_wins_whatever_the_order(place: Place) {
    let store = place.migrated().await;
    let events = [
        update("msg_1", "user_1", 10),
        update("msg_2", "user_1", 20),
        update("msg_3", "user_1", 30),
    ];
    for (number, order) in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ]
    .iter()
    .enumerate()
    {
        for place in order {
            let id = format!("{}_{number}", events[*place].id());
            let own = update(
                &id,
                &format!("user_{number}"),
                10 * (i64::try_from(*place).unwrap() + 1),
            );
            apply(&store, &[own]).await;
        }
        let row = user(&store, &format!("user_{number}")).await;
        assert_eq!(row.event_id, Some(format!("msg_3_{number}")), "{order:?}");
        assert_eq!(row.event_id.as_deref(), row.text("first_name"));
        assert_eq!(row.updated_at.unwrap().0, at(30));
    }
}

async fn an_older_event_is_stale_and_writes_nothing(place: Place) {
    let store = place.migrated().await;
    assert_eq!(
        apply(&store, &[update("msg_2", "user_1", 20)]).await,
        [Outcome::Applied]
    );
    assert_eq!(
        apply(&store, &[delete("msg_3", "user_1", 50)]).await,
        [Outcome::Applied]
    );
    let before = user(&store, "user_1").await.synced_at;
    // The clock must move for the comparison to mean something.
    until("the next millisecond", async || {
        clerk_sync::clock::now() > before.0
    })
    .await;
    for older in [
        update("msg_1", "user_1", 10),
        delete("msg_4", "user_1", 50),
        delete("msg_5", "user_1", 60),
    ] {
        assert_eq!(
            apply(&store, std::slice::from_ref(&older)).await,
            [Outcome::Stale]
        );
        let row = user(&store, "user_1").await;
        assert_eq!(
            (row.text("first_name"), row.deleted_at.unwrap().0),
            (Some("msg_2"), at(50))
        );
        assert_eq!(row.synced_at, before, "{} wrote", older.id());
        assert_eq!(
            line(&store, older.id().as_str()).await.status,
            Status::Stale
        );
    }
}

async fn a_tie_is_decided_by_the_id_byte_by_byte(place: Place) {
    let store = place.migrated().await;
    // 'B' is before 'a' byte by byte, and after it in a dictionary.
    for (user_id, order) in [
        ("user_1", ["msg_a", "msg_B"]),
        ("user_2", ["msg_B2", "msg_a2"]),
    ] {
        for id in order {
            apply(&store, &[update(id, user_id, 10)]).await;
        }
    }
    assert_eq!(first_name(&store, "user_1").await.as_deref(), Some("msg_a"));
    assert_eq!(
        first_name(&store, "user_2").await.as_deref(),
        Some("msg_a2")
    );
    // Before the ID the event's own time decides.
    apply(
        &store,
        &[
            update_that_occurred("msg_z3", "user_3", 10, 10),
            update_that_occurred("msg_a3", "user_3", 10, 11),
        ],
    )
    .await;
    assert_eq!(
        first_name(&store, "user_3").await.as_deref(),
        Some("msg_a3")
    );
}

async fn the_earliest_delete_stays_and_a_late_update_fills_the_tombstone(place: Place) {
    let store = place.migrated().await;
    assert_eq!(
        apply(&store, &[delete("msg_1", "user_1", 50)]).await,
        [Outcome::Applied]
    );
    let tombstone = user(&store, "user_1").await;
    assert_eq!(
        (
            tombstone.text("first_name"),
            &tombstone.event_id,
            tombstone.data.is_none()
        ),
        (None, &None, true)
    );
    assert_eq!(tombstone.deleted_at.unwrap().0, at(50));

    assert_eq!(
        apply(&store, &[update("msg_2", "user_1", 90)]).await,
        [Outcome::Applied]
    );
    assert_eq!(
        apply(&store, &[delete("msg_3", "user_1", 60)]).await,
        [Outcome::Stale]
    );
    assert_eq!(
        apply(&store, &[delete("msg_4", "user_1", 40)]).await,
        [Outcome::Applied]
    );
    let row = user(&store, "user_1").await;
    assert_eq!(
        (row.text("first_name"), row.deleted_at.unwrap().0),
        (Some("msg_2"), at(40))
    );
    assert_eq!(
        row.occurred_at.unwrap().0,
        at(90),
        "of the event that the profile came from"
    );
}

async fn a_write_is_all_or_nothing(place: Place) {
    let store = place.migrated().await;
    let mut write = plan(&[update("msg_1", "user_1", 10), update("msg_2", "user_2", 10)]);
    // A value that the database rejects, and that validation would not let through.
    match &place {
        Place::Postgres(_) => {
            let profile = &mut write.changes[1].profile.as_mut().unwrap().1;
            profile.data = r#"{"a":"\u0000"}"#.into();
        }
        Place::Sqlite(_) => {
            let refuse = "create trigger refuse before insert on users when new.clerk_id = 'user_2'
                begin select raise(abort, 'u0000'); end";
            place.execute(refuse).await;
        }
    }
    let error = store.apply(&write).await.unwrap_err();
    let StoreError::Rejected { code, text } = error else {
        panic!("{error}")
    };
    assert!(code == "sqlstate_22P05" || code == "sqlite_1811", "{code}");
    assert!(!text.contains("u0000"), "the text quotes nothing: {text}");
    assert!(
        store
            .user(&ClerkId::new("user_1").unwrap())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .event(&EventId::new("msg_1").unwrap())
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        apply(&store, &[update("msg_1", "user_1", 10)]).await,
        [Outcome::Applied],
        "the next write works"
    );
}

async fn sqlite(directory: &TempDir) -> sqlx::SqliteConnection {
    use sqlx::Connection;
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("users.db"));
    sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap()
}

pub(super) fn page(limit: u32) -> Page {
    Page {
        limit: NonZeroU32::new(limit).unwrap(),
        after: None,
    }
}

async fn old_lines_are_pruned_but_never_failed_ones(place: Place) {
    let store = place.migrated().await;
    let mut events: Vec<_> = (0..10)
        .map(|n| update(&format!("msg_{n}"), &format!("user_{n}"), n))
        .collect();
    events.push(event("msg_failed", "no JSON"));
    apply(&store, &events).await;
    assert_eq!(
        store.prune(at(0), 100).await.unwrap(),
        0,
        "received at that time is not before it"
    );
    assert_eq!(
        store.prune(at(1), 4).await.unwrap(),
        4,
        "no more than the limit"
    );
    assert_eq!(store.prune(at(1), 100).await.unwrap(), 6);
    let left = store
        .events(&EventFilter::default(), &page(100))
        .await
        .unwrap();
    assert_eq!(
        left.rows
            .iter()
            .map(|line| line.event_id.as_str())
            .collect::<Vec<_>>(),
        ["msg_failed"]
    );
    assert_eq!(
        first_name(&store, "user_9").await.as_deref(),
        Some("msg_9"),
        "users stay"
    );
    // An event that comes again after that is recorded again and changes nothing.
    assert_eq!(apply(&store, &events[3..4]).await, [Outcome::Stale]);
}

async fn migrating_twice_and_twenty_at_once_is_harmless(place: Place) {
    let stores: Vec<_> = (0..20).map(|_| place.store(Keep::default())).collect();
    for migrated in join_all(stores.iter().map(Store::migrate)).await {
        migrated.unwrap();
    }
    let store = place.migrated().await;
    store.ping().await.unwrap();
    let version = store.schema_version().await.unwrap();
    assert_eq!(version.found, Some(version.wanted));
}

async fn a_schema_that_is_missing_or_newer_is_named_with_what_to_do(place: Place) {
    let store = place.store(Keep::default());
    let StoreError::Incompatible(text) = store.ping().await.unwrap_err() else {
        panic!("not incompatible")
    };
    assert!(text.contains("clerk-sync migrate"), "{text}");

    store.migrate().await.unwrap();
    let newer = "insert into {schema}_migrations (version, description, success, checksum, execution_time) values (9999, 'newer', true, '', 0)";
    place.execute(newer).await;
    for error in [
        store.ping().await.unwrap_err(),
        store.migrate().await.unwrap_err(),
    ] {
        let StoreError::Incompatible(text) = error else {
            panic!("not incompatible")
        };
        assert!(text.contains("newer clerk-sync"), "{text}");
    }
}

async fn opposite_orders_at_once_come_to_the_right_rows(place: Place) {
    let store = place.migrated().await;
    let write = async |number: i64| {
        // Events in opposite orders: a write sorts its rows, or two of them wait for each other.
        let mut users: Vec<i64> = (0..200).collect();
        if number % 2 == 1 {
            users.reverse();
        }
        let events: Vec<_> = users
            .iter()
            .map(|n| update(&format!("msg_{number}_{n}"), &format!("user_{n}"), number))
            .collect();
        store.apply(&plan(&events)).await.unwrap();
    };
    join_all((0..12).map(write)).await;
    for n in 0..200 {
        assert_eq!(
            first_name(&store, &format!("user_{n}")).await,
            Some(format!("msg_11_{n}"))
        );
    }
}
