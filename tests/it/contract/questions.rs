//! The queries of both stores: search of users, the history of a user with reasons, and counts.

mod history;
mod row_change;

use bytes::Bytes;
use clerk_sync::clerk::{ClerkId, EventId, SignedEvent, Timestamp};
use clerk_sync::clock::now;
use clerk_sync::store::{
    Act, Action, Cursor, HistoryRow, Keep, Lag, Page, Payloads, Range, Store, UserFilter,
};
use clerk_sync::worker::plan::plan;
use history::*;
use row_change::*;
use serde_json::{Value, json};

use super::store::{Place, page};
use crate::support::database::TestDatabase;
use crate::support::history::{EPOCH_MS, delete, event, fail, operator, update};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    users_are_found_by_the_start_of_a_name_or_address
    case_does_not_count_in_any_script
    a_search_is_paged_like_any_list
    a_name_that_many_users_share_is_found
    events_are_found_by_the_start_of_their_id
    a_history_lists_every_event_of_one_user
    a_history_is_paged_while_events_come
    the_version_that_was_there_is_noted_and_stays_noted
    a_history_names_the_changed_fields_if_payloads_are_kept
    an_applied_event_is_compared_with_the_version_before
    everything_is_counted_by_status_and_type
    failed_events_are_counted_by_code
    the_last_hour_is_counted_minute_by_minute
}

async fn apply(store: &Store, events: &[SignedEvent]) {
    store.apply(&plan(events)).await.unwrap();
}

/// An event of this user with these fields beside the ID.
fn person(id: &str, fields: Value) -> SignedEvent {
    let mut data = fields;
    data["id"] = id.into();
    data["updated_at"] = EPOCH_MS.into();
    event(
        &format!("msg_{id}"),
        json!({"data": data, "type": "user.created"}).to_string(),
    )
}

fn email(address: &str) -> Value {
    json!([{"email_address": address, "id": "e"}])
}

fn phone(number: &str) -> Value {
    json!([{"phone_number": number, "id": "p"}])
}

async fn found(store: &Store, q: &str) -> Vec<String> {
    let filter = UserFilter {
        q: Some(q.into()),
        ..UserFilter::default()
    };
    let listing = store.users(&filter, &page(10)).await.unwrap();
    listing.rows.into_iter().map(|user| user.clerk_id).collect()
}

async fn users_are_found_by_the_start_of_a_name_or_address(place: Place) {
    let store = place.migrated().await;
    let ada = json!({
        "email_addresses": email("Ada.L@Example.com"), "primary_email_address_id": "e", "first_name": "Ada", "last_name": "Van Dyk",
    });
    let bob = json!({
        "phone_numbers": phone("+12025550102"), "primary_phone_number_id": "p", "username": "bob_99", "external_id": "EXT-7",
        "first_name": "Bob%",
    });
    let eve = json!({"first_name": "Adalbert", "last_name": "Vanin", "external_id": "ext-8", "username": "Eve"});
    apply(
        &store,
        &[
            person("user_1", ada),
            person("user_2", bob),
            person("user_3", eve),
        ],
    )
    .await;
    for (q, expected) in [
        ("user_2", &["user_2"][..]),
        ("user_", &["user_3", "user_2", "user_1"]),
        ("user_4", &[]),
        ("user%", &[]),
        ("USER_2", &[]),
        ("ada.l@EX", &["user_1"]),
        ("ADA", &["user_3", "user_1"]),
        ("  ada  ", &["user_3", "user_1"]),
        ("example.com", &[]),
        ("van", &["user_3", "user_1"]),
        ("van d", &["user_1"]),
        ("ada van", &["user_3", "user_1"]),
        ("ada van dyk", &["user_1"]),
        ("ad VANI", &["user_3"]),
        ("+1202555", &["user_2"]),
        ("1 (202) 555-01", &["user_2"]),
        ("BOB_9", &["user_2"]),
        ("bob%", &["user_2"]),
        ("bob_9", &["user_2"]),
        ("bobx", &[]),
        ("b%", &[]),
        ("_ob", &[]),
        ("Ev", &["user_3"]),
        ("EXT-", &["user_2"]),
        ("ext-", &["user_3"]),
        ("' or true --", &[]),
        ("\\", &[]),
        ("", &["user_3", "user_2", "user_1"]),
    ] {
        assert_eq!(found(&store, q).await, expected, "{q:?}");
    }
    // All IDs begin alike, so a page and a filter end what is read.
    let mut after = None;
    for expected in ["user_3", "user_2", "user_1"] {
        let filter = UserFilter {
            q: Some("us".into()),
            deleted: Some(false),
            ..UserFilter::default()
        };
        let page = Page { after, ..page(1) };
        let listing = store.users(&filter, &page).await.unwrap();
        assert_eq!(listing.rows[0].clerk_id, expected);
        after = listing.next;
    }
    assert!(after.is_none());
    // Every other part counts too.
    let both = UserFilter {
        q: Some("ada".into()),
        external_id: Some("ext-8".into()),
        ..UserFilter::default()
    };
    let listing = store.users(&both, &page(10)).await.unwrap();
    assert_eq!(
        listing
            .rows
            .iter()
            .map(|user| user.clerk_id.as_str())
            .collect::<Vec<_>>(),
        ["user_3"]
    );
    apply(&store, &[delete("msg_9", "user_3", 5)]).await;
    let gone = UserFilter {
        q: Some("ada".into()),
        deleted: Some(false),
        ..UserFilter::default()
    };
    assert_eq!(store.users(&gone, &page(10)).await.unwrap().rows.len(), 1);
}

async fn events_are_found_by_the_start_of_their_id(place: Place) {
    let store = place.migrated().await;
    let ids = ["msg_a", "msg_a1", "msg_aZ", "msg_B", "msg_-", "other"];
    for id in ids {
        apply(&store, &[update(id, "user_1", 1)]).await;
    }
    let limit = |limit| std::num::NonZeroU32::new(limit).unwrap();
    for (beginning, expected) in [
        ("msg_a", &["msg_a", "msg_a1", "msg_aZ"][..]),
        ("msg_aZ", &["msg_aZ"]),
        ("msg_A", &[]),
        ("msg_", &["msg_-", "msg_B", "msg_a", "msg_a1", "msg_aZ"]),
        ("other", &["other"]),
        ("%", &[]),
        ("", &[]),
        ("é", &[]),
    ] {
        let rows = store.events_that_begin(beginning, limit(9)).await.unwrap();
        let found: Vec<_> = rows.iter().map(|row| &*row.event_id).collect();
        assert_eq!(found, expected, "{beginning:?}");
    }
    let rows = store.events_that_begin("msg_", limit(2)).await.unwrap();
    assert_eq!(rows.len(), 2);
}

/// Both stores find the same people. A server may have been made for ASCII alone, so this has a
/// database that knows more; what ICU and the C library make differently (`İ`, a `Σ` at the end) is
/// left to `store/sqlite/lowercase.rs`.
async fn case_does_not_count_in_any_script(place: Place) {
    let place = match place {
        Place::Postgres(_) => Place::Postgres(TestDatabase::create_with_icu().await),
        sqlite @ Place::Sqlite(_) => sqlite,
    };
    let store = place.migrated().await;
    let named = |id: &str, address: &str, first: &str, last: &str, username: &str| {
        let emails = email(address);
        person(
            id,
            json!({"email_addresses": emails, "primary_email_address_id": "e", "first_name": first, "last_name": last, "username": username}),
        )
    };
    apply(
        &store,
        &[
            named("user_1", "Åsa.Öberg@Example.com", "Åsa", "ÖBERG", "åsa"),
            named("user_2", "olga@пример.рф", "ОЛЬГА", "Ёжикова", "olga"),
            named("user_3", "Straße@Example.com", "ΟΔΥΣΣΕΥΣ", "Große", "zoe"),
            named("user_4", "zoe@example.com", "Zoë", "Z", "Zoe"),
            named("user_5", "Kelvin@EXAMPLE.com", "", "李", "x"),
        ],
    )
    .await;
    for (q, expected) in [
        ("åsa", &["user_1"][..]),
        ("ÅS", &["user_1"]),
        ("Åsa öb", &["user_1"]),
        ("åSA ÖBERG", &["user_1"]),
        ("öberg", &["user_1"]),
        ("åsa.öberg@EX", &["user_1"]),
        ("asa", &[]),
        ("ольга", &["user_2"]),
        ("Ольга ЁЖ", &["user_2"]),
        ("ёж", &["user_2"]),
        ("OLGA@ПРИМЕР.РФ", &["user_2"]),
        ("οδυσ", &["user_3"]),
        ("οδυς", &[]),
        ("GROß", &["user_3"]),
        ("gross", &[]),
        ("Z", &["user_4", "user_3"]),
        ("ZOË", &["user_4"]),
        ("李", &["user_5"]),
    ] {
        assert_eq!(found(&store, q).await, expected, "{q:?}");
    }
    for (address, expected) in [
        ("åsa.öberg@example.COM", Some("user_1")),
        ("ÅSA.ÖBERG@EXAMPLE.COM", Some("user_1")),
        ("asa.oberg@example.com", None),
        ("Olga@Пример.РФ", Some("user_2")),
        ("STRAßE@example.com", Some("user_3")),
        ("kelvin@example.com", Some("user_5")),
    ] {
        let filter = UserFilter {
            email: Some(address.into()),
            ..UserFilter::default()
        };
        let rows = store.users(&filter, &page(10)).await.unwrap().rows;
        assert_eq!(
            rows.first().map(|user| user.clerk_id.as_str()),
            expected,
            "{address}"
        );
    }
    // The newest profile counts, here too, and nothing of who is erased.
    let renamed = json!({"data": {"id": "user_1", "first_name": "Çelik", "updated_at": EPOCH_MS + 5}, "type": "user.updated"});
    let late = json!({"data": {"id": "user_1", "first_name": "Örjan", "updated_at": EPOCH_MS + 3}, "type": "user.updated"});
    apply(&store, &[event("msg_new", renamed.to_string())]).await;
    apply(&store, &[event("msg_late", late.to_string())]).await;
    assert_eq!(
        (found(&store, "çELIK").await, found(&store, "örjan").await),
        (vec!["user_1".to_owned()], vec![])
    );
    assert!(found(&store, "åsa").await.is_empty());
    let user = ClerkId::new("user_1").unwrap();
    store.erase(&user, &operator()).await.unwrap();
    assert!(found(&store, "çelik").await.is_empty());
}

async fn a_search_is_paged_like_any_list(place: Place) {
    let store = place.migrated().await;
    let people: Vec<_> = (0..25)
        .map(|n| {
            person(
                &format!("user_{n:02}"),
                json!({"first_name": format!("Ada{n}")}),
            )
        })
        .collect();
    apply(&store, &people).await;
    let filter = UserFilter {
        q: Some("ada".into()),
        ..UserFilter::default()
    };
    let (mut seen, mut page) = (Vec::new(), page(10));
    loop {
        let listing = store.users(&filter, &page).await.unwrap();
        seen.extend(listing.rows.into_iter().map(|user| user.clerk_id));
        page.after = listing.next;
        if page.after.is_none() {
            break;
        }
        apply(
            &store,
            &[person(
                &format!("user_9{}", seen.len()),
                json!({"first_name": "Ada"}),
            )],
        )
        .await;
    }
    assert_eq!(
        seen,
        (0..25)
            .rev()
            .map(|n| format!("user_{n:02}"))
            .collect::<Vec<_>>()
    );
}

/// So many who begin alike that they are looked for in another way, and one among them who is alone
/// with the rest of the name.
async fn a_name_that_many_users_share_is_found(place: Place) {
    let store = place.migrated().await;
    let name = |n: usize| {
        if n == 1234 {
            "Adalbert".to_owned()
        } else {
            "Ada".into()
        }
    };
    let people: Vec<_> = (0..10_500)
        .map(|n| {
            person(
                &format!("user_{n:05}"),
                json!({"first_name": name(n), "last_name": "Okafor"}),
            )
        })
        .collect();
    for some in people.chunks(500) {
        apply(&store, some).await;
    }
    let newest: Vec<_> = (10_490..10_500)
        .rev()
        .map(|n| format!("user_{n}"))
        .collect();
    for q in ["ada", "oka", "ada oka"] {
        assert_eq!(found(&store, q).await, newest, "{q}");
    }
    for q in ["adal", "adalbert ok", "user_01234"] {
        assert_eq!(found(&store, q).await, ["user_01234"], "{q}");
    }
}

async fn everything_is_counted_by_status_and_type(place: Place) {
    let store = place.migrated().await;
    let none = store.totals().await.unwrap();
    assert_eq!(
        (
            none.users,
            none.events,
            none.by_status["failed"],
            none.by_type.len()
        ),
        (0, 0, 0, 0)
    );
    apply(
        &store,
        &[
            update("msg_1", "user_1", 10),
            update("msg_2", "user_2", 10),
            delete("msg_3", "user_2", 20),
        ],
    )
    .await;
    apply(
        &store,
        &[update("msg_4", "user_1", 5), event("msg_5", "no JSON")],
    )
    .await;
    let totals = serde_json::to_value(store.totals().await.unwrap()).unwrap();
    let mut of_tables = json!({});
    for table in clerk_sync::clerk::tables::ALL {
        of_tables[table.name] = json!({"rows": 0, "deleted_rows": 0});
    }
    of_tables["users"] = json!({"rows": 2, "deleted_rows": 1});
    assert_eq!(
        totals,
        json!({
            "users": 2,
            "deleted_users": 1,
            "tables": of_tables,
            "events": 5,
            "by_status": {"applied": 3, "stale": 1, "failed": 1, "discarded": 0},
            "by_type": {
                "user.deleted": {"applied": 1},
                "user.unreadable": {"failed": 1},
                "user.updated": {"applied": 2, "stale": 1},
            },
        })
    );
}

async fn failed_events_are_counted_by_code(place: Place) {
    let store = place.migrated().await;
    let none = store.failed().await.unwrap();
    assert_eq!(
        (none.count, none.oldest_received_at, none.capped),
        (0, None, false)
    );
    let at = |n: i64| Timestamp::from_ms(EPOCH_MS + n).unwrap();
    fail(
        &store,
        &[
            received(&update("msg_1", "user_1", 1), at(7)),
            received(&update("msg_2", "user_1", 2), at(3)),
        ],
    )
    .await;
    apply(
        &store,
        &[
            received(&event("msg_3", "no JSON"), at(9)),
            received(&update("msg_4", "user_2", 1), at(1)),
        ],
    )
    .await;
    let failed = serde_json::to_value(store.failed().await.unwrap()).unwrap();
    assert_eq!(
        failed,
        json!({
            "count": 3,
            "by_code": {"delivery_limit": 2, "not_json": 1},
            "oldest_received_at": "2026-11-20T11:00:00.003Z",
            "capped": false,
        })
    );
    assert_eq!(store.last_received_at().await.unwrap().unwrap().0, at(9));
}

async fn the_last_hour_is_counted_minute_by_minute(place: Place) {
    let store = place.migrated().await;
    let now = now();
    let before = |ms: i64| Timestamp::from_ms(now.ms() - ms).unwrap();
    let events = [
        received(&update("msg_1", "user_1", 10), before(0)),
        received(&update("msg_2", "user_2", 10), before(30 * 60_000)),
        received(&update("msg_3", "user_3", 10), before(2 * 3_600_000)),
        received(&event("msg_4", "no JSON"), before(30 * 60_000)),
    ];
    apply(&store, &events).await;
    apply(
        &store,
        &[received(&update("msg_5", "user_2", 5), before(30 * 60_000))],
    )
    .await;
    let recent = store.recent(Range::Hour, now).await.unwrap();
    assert_eq!((recent.buckets.len(), recent.capped), (60, false));
    assert_eq!(recent.buckets[0].at, recent.since);
    let minute = &recent.buckets[29];
    assert_eq!(
        (
            minute.applied,
            minute.stale,
            minute.failed,
            minute.discarded
        ),
        (1, 1, 1, 0)
    );
    assert_eq!(recent.buckets[59].applied, 1);
    assert_eq!(
        recent
            .buckets
            .iter()
            .map(|minute| minute.applied)
            .sum::<u64>(),
        2,
        "not what is older"
    );
    // The one in half an hour's place was half an hour on its way; to two digits that is 1,800 s.
    let Lag {
        count,
        p50_ms,
        p95_ms,
        p99_ms,
    } = recent.lag;
    assert_eq!(
        (count, p95_ms, p99_ms),
        (3, Some(1_800_000), Some(1_800_000))
    );
    assert!(p50_ms.is_some());
    assert_eq!(recent.buckets[29].lag.count, 2);
    // A longer range has the older event too, and the same buckets whenever it is asked.
    let day = store.recent(Range::Day, now).await.unwrap();
    let applied = day.buckets.iter().map(|bucket| bucket.applied);
    assert_eq!((day.buckets.len(), applied.sum::<u64>()), (48, 3));
    assert!(
        day.buckets
            .iter()
            .all(|bucket| bucket.at.0.ms() % 1_800_000 == 0)
    );

    // A retried event does not count for the lag.
    let again = received(&update("msg_6", "user_6", 1), before(60_000));
    fail(&store, std::slice::from_ref(&again)).await;
    apply(&store, &[again]).await;
    let recent = store.recent(Range::Hour, now).await.unwrap();
    assert_eq!((recent.buckets[58].applied, recent.lag.count), (1, 3));
}
