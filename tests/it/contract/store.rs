//! What both stores promise.

use std::num::NonZeroU32;
use std::time::Duration;

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
        let options = match self {
            Self::Postgres(database) => store::Options::Postgres(store::postgres::Options {
                schema: Default::default(),
                address: database.url().parse().unwrap(),
                connections: 4,
                keep,
            }),
            Self::Sqlite(directory) => store::Options::Sqlite(store::sqlite::Options {
                path: directory.path().join("users.db"),
                keep,
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
    assert_eq!(store.apply(&Write::default()).await.unwrap(), []);
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

async fn an_event_that_comes_again_is_only_counted(place: Place) {
    let store = place.migrated().await;
    let event = update("msg_1", "user_1", 10);
    apply(&store, std::slice::from_ref(&event)).await;
    let (row, before) = (user(&store, "user_1").await, line(&store, "msg_1").await);
    assert_eq!(
        apply(&store, &[event.clone(), event]).await,
        [Outcome::Repeated]
    );
    let after = line(&store, "msg_1").await;
    assert_eq!((after.deliveries, after.attempts), (3, 1));
    assert_eq!(
        (after.status, after.processed_at),
        (Status::Applied, before.processed_at)
    );
    assert_eq!(user(&store, "user_1").await.synced_at, row.synced_at);
}

async fn a_failed_event_is_tried_again(place: Place) {
    let store = place.migrated().await;
    let event = update("msg_1", "user_1", 10);
    let failure = EventFailure {
        code: "unrouted".into(),
        text: "no queue was bound".into(),
    };
    let failed = plan_failed(std::slice::from_ref(&event), &failure);
    assert_eq!(store.apply(&failed).await.unwrap(), [Outcome::Failed]);
    assert_eq!(store.apply(&failed).await.unwrap(), [Outcome::Failed]);
    let kept = line(&store, "msg_1").await;
    assert_eq!(
        (kept.status, kept.attempts, kept.deliveries),
        (Status::Failed, 2, 2)
    );
    assert_eq!(
        (kept.error_code.as_deref(), kept.error.as_deref()),
        (Some("unrouted"), Some("no queue was bound"))
    );
    assert_eq!(kept.payload.as_deref(), Some(&event.body()[..]));
    assert_eq!(
        kept.clerk_id.as_deref(),
        Some("user_1"),
        "known even of an event that failed"
    );
    assert!(
        store
            .user(&ClerkId::new("user_1").unwrap())
            .await
            .unwrap()
            .is_none()
    );

    assert_eq!(
        apply(&store, std::slice::from_ref(&event)).await,
        [Outcome::Applied]
    );
    let now = line(&store, "msg_1").await;
    assert_eq!(
        (
            now.status,
            now.attempts,
            now.error_code,
            now.error,
            now.payload
        ),
        (Status::Applied, 3, None, None, None)
    );
    assert_eq!(first_name(&store, "user_1").await.as_deref(), Some("msg_1"));

    // What was applied is never failed again by a letter that comes late.
    assert_eq!(store.apply(&failed).await.unwrap(), [Outcome::Repeated]);
    assert_eq!(line(&store, "msg_1").await.status, Status::Applied);
}

async fn a_discarded_event_comes_back_only_to_succeed(place: Place) {
    let store = place.migrated().await;
    let event = update("msg_1", "user_1", 10);
    let failed = plan_failed(
        std::slice::from_ref(&event),
        &EventFailure {
            code: "unrouted".into(),
            text: "first".into(),
        },
    );
    store.apply(&failed).await.unwrap();
    place
        .execute("update {schema}events set status = 'discarded'")
        .await;
    let before = line(&store, "msg_1").await;

    let again = plan_failed(
        std::slice::from_ref(&event),
        &EventFailure {
            code: "delivery_limit".into(),
            text: "second".into(),
        },
    );
    assert_eq!(store.apply(&again).await.unwrap(), [Outcome::Repeated]);
    let kept = line(&store, "msg_1").await;
    assert_eq!(
        (kept.status, kept.deliveries, kept.attempts),
        (Status::Discarded, 2, 1)
    );
    assert_eq!(
        (&kept.error, &kept.error_code, kept.processed_at),
        (&before.error, &before.error_code, before.processed_at)
    );
    assert_eq!(kept.payload, before.payload);

    assert_eq!(
        apply(&store, std::slice::from_ref(&event)).await,
        [Outcome::Applied]
    );
    let now = line(&store, "msg_1").await;
    assert_eq!(
        (now.status, now.deliveries, now.attempts),
        (Status::Applied, 3, 2)
    );
    assert_eq!((now.error, now.payload), (None, None));
    assert_eq!(
        (now.sent_at, now.received_at),
        (before.sent_at, before.received_at),
        "those of the first delivery"
    );
}

/// A caller may go away at any moment: no connection stays inside a transaction, and no row stays locked.
async fn a_write_that_is_given_up_half_way_holds_nothing_up(place: Place) {
    let store = place.migrated().await;
    let events: Vec<_> = (0..100)
        .map(|n| update(&format!("msg_{n:03}"), &format!("user_{n:03}"), 1))
        .collect();
    let write = plan(&events);
    let mut given_up = 0;
    for pause_us in (0..200).map(|n| n * 100) {
        let patience = Duration::from_micros(pause_us);
        given_up += i32::from(
            tokio::time::timeout(patience, store.apply(&write))
                .await
                .is_err(),
        );
    }
    assert!(
        given_up > 0,
        "every write was faster than its caller's patience"
    );
    store.apply(&write).await.unwrap();
    for event in &events {
        assert_eq!(
            line(&store, event.id().as_str()).await.status,
            Status::Applied
        );
    }
    assert_eq!(
        first_name(&store, "user_099").await.as_deref(),
        Some("msg_099")
    );
}

async fn a_status_does_not_depend_on_how_batches_are_cut(place: Place) {
    let store = place.migrated().await;
    let history = |user: &str| {
        [("1", 20), ("2", 10), ("3", 30), ("4", 30), ("5", 5)]
            .map(|(n, ms)| update(&format!("msg_{user}_{n}"), user, ms))
    };
    let statuses = async |user: &str| {
        let mut found = Vec::new();
        for event in history(user) {
            found.push(line(&store, event.id().as_str()).await.status);
        }
        found
    };
    apply(&store, &history("whole")).await;
    for event in history("single") {
        apply(&store, &[event]).await;
    }
    let pairs = history("pairs");
    for part in pairs.chunks(2) {
        apply(&store, part).await;
    }
    let expected = [
        Status::Applied,
        Status::Stale,
        Status::Applied,
        Status::Applied,
        Status::Stale,
    ];
    for user in ["whole", "single", "pairs"] {
        assert_eq!(statuses(user).await, expected, "{user}");
    }
}

async fn payloads_are_kept_as_configured(place: Place) {
    let store = place.migrated().await;
    apply(
        &store,
        &[update("msg_1", "user_1", 10), event("msg_2", "no JSON")],
    )
    .await;
    assert_eq!(line(&store, "msg_1").await.payload, None);
    assert_eq!(
        line(&store, "msg_2").await.payload.as_deref(),
        Some(&b"no JSON"[..])
    );

    let all = place.store(Keep {
        payloads: Payloads::All,
        ..Keep::default()
    });
    let event = update("msg_3", "user_1", 20);
    apply(&all, std::slice::from_ref(&event)).await;
    assert_eq!(
        line(&all, "msg_3").await.payload.as_deref(),
        Some(&event.body()[..])
    );
}

async fn a_write_is_all_or_nothing(place: Place) {
    let store = place.migrated().await;
    let mut write = plan(&[update("msg_1", "user_1", 10), update("msg_2", "user_2", 10)]);
    // What the database refuses, behind the door that keeps such things out.
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

async fn users_are_found_by_every_filter(place: Place) {
    let store = place.migrated().await;
    let person = |n: usize, name: &str| {
        let body = format!(
            r#"{{"data":{{"email_addresses":[{{"email_address":"{name}@Example.com","id":"e"}}],"external_id":"ext_{n}","id":"user_{n}","phone_numbers":[{{"id":"p","phone_number":"+1202555010{n}"}}],"primary_email_address_id":"e","primary_phone_number_id":"p","updated_at":{},"username":"{name}"}},"type":"user.created"}}"#,
            at(1).ms()
        );
        event(&format!("msg_{n}"), body)
    };
    apply(
        &store,
        &[
            person(1, "Ada"),
            person(2, "Bob"),
            person(3, "Eve"),
            delete("msg_4", "user_3", 5),
        ],
    )
    .await;
    let found = async |filter: UserFilter| -> Vec<String> {
        let listing = store.users(&filter, &page(10)).await.unwrap();
        listing.rows.into_iter().map(|user| user.clerk_id).collect()
    };
    let none = UserFilter::default;
    assert_eq!(found(none()).await, ["user_3", "user_2", "user_1"]);
    assert_eq!(
        found(UserFilter {
            email: Some("ADA@example.com".into()),
            ..none()
        })
        .await,
        ["user_1"]
    );
    assert_eq!(
        found(UserFilter {
            phone: Some("+12025550102".into()),
            ..none()
        })
        .await,
        ["user_2"]
    );
    assert_eq!(
        found(UserFilter {
            username: Some("Eve".into()),
            ..none()
        })
        .await,
        ["user_3"]
    );
    assert_eq!(
        found(UserFilter {
            external_id: Some("ext_2".into()),
            ..none()
        })
        .await,
        ["user_2"]
    );
    assert_eq!(
        found(UserFilter {
            deleted: Some(true),
            ..none()
        })
        .await,
        ["user_3"]
    );
    assert_eq!(
        found(UserFilter {
            deleted: Some(false),
            ..none()
        })
        .await,
        ["user_2", "user_1"]
    );
    // Every part counts, whichever of them has led to the row.
    let all = |name: &str, n: usize| UserFilter {
        email: Some(format!("{name}@example.com")),
        phone: Some(format!("+1202555010{n}")),
        username: Some(name.into()),
        external_id: Some(format!("ext_{n}")),
        q: None,
        deleted: Some(n == 3),
    };
    assert_eq!(found(all("Eve", 3)).await, ["user_3"]);
    let nobody: [&str; 0] = [];
    assert_eq!(
        found(UserFilter {
            email: Some("Ada@example.com".into()),
            ..all("Bob", 2)
        })
        .await,
        nobody
    );
    assert_eq!(
        found(UserFilter {
            phone: Some("+12025550101".into()),
            ..all("Bob", 2)
        })
        .await,
        nobody
    );
    assert_eq!(
        found(UserFilter {
            username: Some("Ada".into()),
            email: None,
            ..all("Bob", 2)
        })
        .await,
        nobody
    );
    assert_eq!(
        found(UserFilter {
            external_id: Some("ext_1".into()),
            email: None,
            ..all("Bob", 2)
        })
        .await,
        nobody
    );
    assert_eq!(
        found(UserFilter {
            deleted: Some(true),
            ..all("Bob", 2)
        })
        .await,
        nobody
    );
}

async fn pages_neither_skip_nor_repeat_while_rows_come(place: Place) {
    let store = place.migrated().await;
    let events: Vec<_> = (0..25)
        .map(|n| update(&format!("msg_{n:02}"), &format!("user_{n:02}"), n))
        .collect();
    apply(&store, &events).await;
    let (mut users, mut lines) = (Vec::new(), Vec::new());
    let (mut user_page, mut event_page) = (page(10), page(10));
    for round in 0..3 {
        let listing = store
            .users(&UserFilter::default(), &user_page)
            .await
            .unwrap();
        users.extend(listing.rows.into_iter().map(|user| user.clerk_id));
        user_page.after = listing.next;
        let listing = store
            .events(&EventFilter::default(), &event_page)
            .await
            .unwrap();
        lines.extend(listing.rows.into_iter().map(|event| event.event_id));
        event_page.after = listing.next;
        // Rows that come before the cursor's place do not move it.
        apply(
            &store,
            &[update(
                &format!("msg_9{round}"),
                &format!("user_9{round}"),
                1,
            )],
        )
        .await;
    }
    assert!(user_page.after.is_none() && event_page.after.is_none());
    let expected = |prefix: &str| {
        (0..25)
            .rev()
            .map(|n| format!("{prefix}_{n:02}"))
            .collect::<Vec<_>>()
    };
    assert_eq!((users, lines), (expected("user"), expected("msg")));
}

async fn events_are_found_by_every_filter(place: Place) {
    let store = place.migrated().await;
    apply(
        &store,
        &[
            update("msg_1", "user_1", 1),
            delete("msg_2", "user_2", 2),
            event("msg_3", "{}"),
        ],
    )
    .await;
    let found = async |filter: EventFilter| -> Vec<String> {
        let listing = store.events(&filter, &page(10)).await.unwrap();
        listing
            .rows
            .into_iter()
            .map(|event| event.event_id)
            .collect()
    };
    let none = EventFilter::default;
    assert_eq!(
        found(EventFilter {
            status: Some(Status::Failed),
            ..none()
        })
        .await,
        ["msg_3"]
    );
    assert_eq!(
        found(EventFilter {
            event_type: Some("user.deleted".into()),
            ..none()
        })
        .await,
        ["msg_2"]
    );
    assert_eq!(
        found(EventFilter {
            clerk_id: Some("user_1".into()),
            ..none()
        })
        .await,
        ["msg_1"]
    );
    assert_eq!(
        found(EventFilter {
            since: Some(at(0)),
            ..none()
        })
        .await
        .len(),
        3
    );
    assert_eq!(
        found(EventFilter {
            since: Some(at(1)),
            ..none()
        })
        .await
        .len(),
        0
    );
    assert_eq!(
        found(EventFilter {
            until: Some(at(0)),
            ..none()
        })
        .await
        .len(),
        0,
        "before, not at"
    );
    assert_eq!(
        found(EventFilter {
            until: Some(at(1)),
            ..none()
        })
        .await
        .len(),
        3
    );
    // Every part counts, whichever of them has led to the line.
    let failed = || EventFilter {
        status: Some(Status::Failed),
        ..none()
    };
    assert_eq!(
        found(EventFilter {
            clerk_id: Some("user_1".into()),
            ..failed()
        })
        .await
        .len(),
        0
    );
    assert_eq!(
        found(EventFilter {
            event_type: Some("user.deleted".into()),
            ..failed()
        })
        .await
        .len(),
        0
    );
    assert_eq!(
        found(EventFilter {
            until: Some(at(0)),
            ..failed()
        })
        .await
        .len(),
        0
    );
    let code = |code: &str| EventFilter {
        error_code: Some(code.into()),
        ..failed()
    };
    assert_eq!(found(code("missing_type")).await, ["msg_3"]);
    assert_eq!(found(code("not_json")).await.len(), 0);
    let of_nobody = EventFilter {
        clerk_id: Some("user_1".into()),
        ..code("missing_type")
    };
    assert_eq!(found(of_nobody).await.len(), 0);
    assert_eq!(
        found(EventFilter {
            status: None,
            ..code("missing_type")
        })
        .await,
        ["msg_3"]
    );
    let of_user = || EventFilter {
        clerk_id: Some("user_1".into()),
        ..none()
    };
    assert_eq!(
        found(EventFilter {
            event_type: Some("user.updated".into()),
            ..of_user()
        })
        .await,
        ["msg_1"]
    );
    assert_eq!(
        found(EventFilter {
            event_type: Some("user.deleted".into()),
            ..of_user()
        })
        .await
        .len(),
        0
    );
    assert_eq!(
        found(EventFilter {
            since: Some(at(1)),
            ..of_user()
        })
        .await
        .len(),
        0
    );
    // Pages of one look-up, within its bounds.
    for filter in [
        none(),
        EventFilter {
            until: Some(at(1)),
            ..none()
        },
    ] {
        let (mut page, mut ids) = (page(2), Vec::new());
        loop {
            let listing = store.events(&filter, &page).await.unwrap();
            ids.extend(listing.rows.into_iter().map(|event| event.event_id));
            page.after = listing.next;
            if page.after.is_none() {
                break;
            }
        }
        assert_eq!(ids, ["msg_3", "msg_2", "msg_1"]);
    }
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
