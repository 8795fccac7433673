//! Lists of both stores in every order that an index has: pages without a gap or a repetition, rows
//! that tie, and rows without a value.

use clerk_sync::clerk::{EventId, SignedEvent};
use clerk_sync::store::{Cursor, EventFilter, Sort, Status, Store, UserFilter};
use clerk_sync::worker::plan::plan;
use serde_json::{Value, json};

use super::store::{Place, page};
use crate::support::history::{EPOCH_MS, at, delete, event, fail, update};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    users_are_listed_in_every_order
    users_without_a_value_are_listed_however_many_there_are
    events_are_listed_from_either_end
}

async fn apply(store: &Store, events: &[SignedEvent]) {
    store.apply(&plan(events)).await.unwrap();
}

/// Every third user has no address, every fourth shares one but for the case, and so on.
fn person(n: usize) -> SignedEvent {
    let mut data = json!({"id": format!("user_{n:02}"), "updated_at": EPOCH_MS});
    if !n.is_multiple_of(3) {
        let address = ["Ada", "ada", "é", "Zoe"][n % 4].to_owned() + &format!("{}@x.com", n % 5);
        data["email_addresses"] = json!([{"email_address": address, "id": "e"}]);
        data["primary_email_address_id"] = "e".into();
    }
    if !n.is_multiple_of(2) {
        data["phone_numbers"] = json!([{"phone_number": format!("+1{}", n % 7), "id": "p"}]);
        data["primary_phone_number_id"] = "p".into();
    }
    data["username"] = ["B", "a", "", "_", "ß"].map(Value::from)[n % 5].take();
    if n == 7 {
        data["external_id"] = "only".into();
    }
    let body = json!({"data": data, "type": "user.created"});
    event(&format!("msg_{n:02}"), body.to_string())
}

/// All IDs of the list, in pages of seven, and the values of the column.
async fn pages(
    store: &Store,
    sort: Sort,
    filter: &UserFilter,
    column: &str,
    mut between: impl AsyncFnMut(),
) -> Vec<(Option<String>, String)> {
    let (mut rows, mut page) = (Vec::new(), page(7));
    loop {
        let listing = store.users_in(sort, filter, &page, false).await.unwrap();
        assert!(listing.rows.len() == 7 || listing.next.is_none());
        let row = |row: &clerk_sync::store::TableRow| {
            (row.text(column).map(str::to_owned), row.clerk_id.clone())
        };
        rows.extend(listing.rows.iter().map(row));
        // As a program gets it, and gives it back.
        let Some(next) = listing.next else {
            return rows;
        };
        assert_eq!(next.sort(), Some(sort));
        page.after = Some(next.to_string().parse().unwrap());
        between().await;
    }
}

async fn users_are_listed_in_every_order(place: Place) {
    let store = place.migrated().await;
    let mut people: Vec<_> = (10..50).map(person).collect();
    people.push(delete("msg_99", "user_20", 5));
    apply(&store, &people).await;
    for name in Sort::names(&Sort::OF_USERS) {
        let sort = Sort::named(&name, &Sort::OF_USERS).unwrap();
        let column = name.trim_start_matches('-');
        for filter in [
            UserFilter::default(),
            UserFilter {
                deleted: Some(false),
                ..UserFilter::default()
            },
        ] {
            let rows = pages(&store, sort, &filter, column, async || ()).await;
            let mut expected = rows.clone();
            // Byte by byte; an address without regard to case, and those without a value last.
            let folded = |(value, id): &(Option<String>, String)| {
                let value = value.as_ref().map(|value| match column {
                    "email" => value.to_lowercase(),
                    _ => value.clone(),
                });
                (value, id.clone())
            };
            expected.sort_by_key(folded);
            if name.starts_with('-') {
                expected.reverse();
            }
            expected.sort_by_key(|(value, _)| column != "clerk_id" && value.is_none());
            assert_eq!(rows, expected, "{name}");
            let mut ids: Vec<_> = rows.iter().map(|(_, id)| id).collect();
            ids.sort_unstable();
            ids.dedup();
            let count = 40 - usize::from(filter.deleted.is_some());
            assert_eq!((rows.len(), ids.len()), (count, count), "{name}");
            let has_nulls = rows.iter().any(|(value, _)| value.is_none());
            assert!(
                has_nulls || ["clerk_id", "username"].contains(&column),
                "{name}"
            );
        }
    }
    // What selects few users goes with every order.
    let sort = Sort::named("-email", &Sort::OF_USERS).unwrap();
    for filter in [
        UserFilter {
            ids: Some(["user_13", "user_12", "user_11"].map(String::from).into()),
            ..UserFilter::default()
        },
        UserFilter {
            username: Some("B".into()),
            ..UserFilter::default()
        },
    ] {
        let rows = pages(&store, sort, &filter, "email", async || ()).await;
        let values: Vec<_> = rows.iter().filter_map(|(value, _)| value.clone()).collect();
        assert!(rows.len() > 2 && !values.is_empty() && values.len() < rows.len());
        let lower = |text: &String| text.to_lowercase();
        assert!(
            values.iter().map(lower).is_sorted_by(|a, b| a >= b),
            "{rows:?}"
        );
        assert!(rows.last().unwrap().0.is_none());
    }
    // Users who come before the cursor's place do not move it.
    let sort = Sort::named("email", &Sort::OF_USERS).unwrap();
    let all = UserFilter::default();
    let before = pages(&store, sort, &all, "email", async || ()).await;
    let mut number = 100;
    let during = pages(&store, sort, &all, "email", async || {
        number += 1;
        let emails = json!([{"email_address": "A@a", "id": "e"}]);
        let data = json!({"id": format!("user_{number}"), "email_addresses": emails, "primary_email_address_id": "e", "updated_at": EPOCH_MS});
        let body = json!({"data": data, "type": "user.created"});
        apply(&store, &[event(&format!("msg_{number}"), body.to_string())]).await;
    });
    assert_eq!(during.await, before);
}

/// From a thousand on, SQLite looks for them in another way.
async fn users_without_a_value_are_listed_however_many_there_are(place: Place) {
    let store = place.migrated().await;
    let sort = Sort::named("phone", &Sort::OF_USERS).unwrap();
    let filter = UserFilter::default();
    let people: Vec<_> = (0..1100)
        .map(|n| update(&format!("msg_{n:04}"), &format!("user_{n:04}"), 1))
        .collect();
    for (count, people) in [(99, &people[..99]), (1100, &people[99..])] {
        for some in people.chunks(500) {
            apply(&store, some).await;
        }
        let place = Cursor::Sorted {
            sort,
            value: None,
            id: "user_0042".into(),
        };
        let mut page = page(50);
        let first = store.users_in(sort, &filter, &page, false).await.unwrap();
        page.after = Some(place);
        let later = store.users_in(sort, &filter, &page, false).await.unwrap();
        let ids = |rows: &[clerk_sync::store::TableRow]| -> Vec<_> {
            rows.iter().map(|row| row.clerk_id.clone()).collect()
        };
        let expected =
            |from: usize| -> Vec<_> { (from..from + 50).map(|n| format!("user_{n:04}")).collect() };
        assert_eq!(ids(&first.rows), expected(0), "{count}");
        assert_eq!(ids(&later.rows), expected(43), "{count}");
    }
}

async fn events_are_listed_from_either_end(place: Place) {
    let store = place.migrated().await;
    // Two of each millisecond: the ID decides.
    let received = |n: i64| {
        let made = match n % 4 {
            0 => update(&format!("msg_{n:02}"), "user_1", n),
            1 => delete(&format!("msg_{n:02}"), "user_2", n),
            2 => event(&format!("msg_{n:02}"), "no JSON"),
            _ => update(&format!("msg_{n:02}"), &format!("user_{n}"), n),
        };
        let body = bytes::Bytes::copy_from_slice(made.body());
        let kind = made.event_type().clone();
        SignedEvent::restored(made.id().clone(), kind, made.sent_at(), at(n / 2), body)
    };
    let (good, bad): (Vec<_>, Vec<_>) = (10..50).map(received).partition(|event| {
        let number: i64 = event.id().as_str()[4..].parse().unwrap();
        number % 4 != 3 || number > 30
    });
    apply(&store, &good).await;
    fail(&store, &bad).await;
    let oldest_first = Sort::named("received_at", &Sort::OF_EVENTS).unwrap();
    let list = async |sort: Sort, filter: &EventFilter| -> Vec<String> {
        let (mut ids, mut page) = (Vec::new(), page(3));
        loop {
            let listing = store.events_in(sort, filter, &page).await.unwrap();
            assert!(listing.rows.len() == 3 || listing.next.is_none());
            ids.extend(listing.rows.into_iter().map(|row| row.event_id));
            let Some(next) = listing.next else {
                return ids;
            };
            assert_eq!(next.sort(), Some(sort));
            page.after = Some(next.to_string().parse().unwrap());
        }
    };
    let none = EventFilter::default;
    let failed = || EventFilter {
        status: Some(Status::Failed),
        ..none()
    };
    for (filter, count) in [
        (none(), 40),
        (failed(), 15),
        (
            EventFilter {
                error_code: Some("not_json".into()),
                ..failed()
            },
            10,
        ),
        (
            EventFilter {
                event_type: Some("user.deleted".into()),
                ..none()
            },
            10,
        ),
        (
            EventFilter {
                clerk_id: Some("user_1".into()),
                ..none()
            },
            10,
        ),
        (
            EventFilter {
                since: Some(at(8)),
                until: Some(at(12)),
                ..none()
            },
            8,
        ),
        (
            EventFilter {
                since: Some(at(8)),
                until: Some(at(12)),
                ..failed()
            },
            4,
        ),
        (
            EventFilter {
                ids: Some(
                    ["msg_12", "msg_41", "msg_13", "msg_40", "msg_11"]
                        .map(|id| EventId::new(id).unwrap())
                        .into(),
                ),
                ..none()
            },
            5,
        ),
    ] {
        let mut ids = list(oldest_first, &filter).await;
        assert!(ids.is_sorted() && ids.len() == count, "{filter:?}: {ids:?}");
        ids.reverse();
        assert_eq!(list(Sort::NEWEST_EVENTS, &filter).await, ids, "{filter:?}");
    }
}
