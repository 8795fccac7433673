//! Lists of users and events: filters and pages.

use super::*;

pub(super) async fn users_are_found_by_every_filter(place: Place) {
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
        ids: None,
        email: Some(format!("{name}@example.com")),
        phone: Some(format!("+1202555010{n}")),
        username: Some(name.into()),
        external_id: Some(format!("ext_{n}")),
        q: None,
        deleted: Some(n == 3),
    };
    assert_eq!(found(all("Eve", 3)).await, ["user_3"]);
    let no_user: [&str; 0] = [];
    assert_eq!(
        found(UserFilter {
            email: Some("Ada@example.com".into()),
            ..all("Bob", 2)
        })
        .await,
        no_user
    );
    assert_eq!(
        found(UserFilter {
            phone: Some("+12025550101".into()),
            ..all("Bob", 2)
        })
        .await,
        no_user
    );
    assert_eq!(
        found(UserFilter {
            username: Some("Ada".into()),
            email: None,
            ..all("Bob", 2)
        })
        .await,
        no_user
    );
    assert_eq!(
        found(UserFilter {
            external_id: Some("ext_1".into()),
            email: None,
            ..all("Bob", 2)
        })
        .await,
        no_user
    );
    assert_eq!(
        found(UserFilter {
            deleted: Some(true),
            ..all("Bob", 2)
        })
        .await,
        no_user
    );
    // A list of IDs is a part like the others; one without a row is left out.
    let ids = |ids: &[&str]| UserFilter {
        ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
        ..none()
    };
    assert_eq!(
        found(ids(&["user_1", "user_9", "user_3", "user_1"])).await,
        ["user_3", "user_1"]
    );
    assert_eq!(found(ids(&["user_9"])).await, no_user);
    for other in [
        UserFilter {
            deleted: Some(false),
            ..none()
        },
        UserFilter {
            email: Some("Ada@example.com".into()),
            ..none()
        },
        UserFilter {
            q: Some("ada".into()),
            ..none()
        },
    ] {
        let filter = UserFilter {
            ids: Some(vec!["user_1".into(), "user_3".into()]),
            ..other
        };
        assert_eq!(found(filter.clone()).await, ["user_1"], "{filter:?}");
        let filter = UserFilter {
            ids: Some(vec!["user_2".into(), "user_3".into()]),
            ..filter
        };
        let expected: &[&str] = if filter.deleted == Some(false) {
            &["user_2"]
        } else {
            &[]
        };
        assert_eq!(found(filter).await, expected);
    }
    for filter in [none(), ids(&["user_1"]), all("Bob", 2)] {
        let whole = store.users(&filter, &page(10)).await.unwrap().rows;
        let without = store.users_without_data(&filter, &page(10)).await.unwrap();
        assert!(whole.iter().any(|user| user.data.is_some()));
        assert!(without.rows.iter().all(|user| user.data.is_none()));
        let names = |rows: &[TableRow]| {
            rows.iter()
                .map(|row| row.clerk_id.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&whole), names(&without.rows));
    }
}

pub(super) async fn pages_neither_skip_nor_repeat_while_rows_come(place: Place) {
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

pub(super) async fn events_are_found_by_every_filter(place: Place) {
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
    let ids = |ids: &[&str]| EventFilter {
        ids: Some(ids.iter().map(|id| EventId::new(id).unwrap()).collect()),
        ..none()
    };
    assert_eq!(found(ids(&["msg_2", "msg_9x", "msg_3"])).await.len(), 2);
    let failed = EventFilter {
        status: Some(Status::Failed),
        ..ids(&["msg_2", "msg_3"])
    };
    assert_eq!(found(failed).await, ["msg_3"]);
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
    let of_no_event = EventFilter {
        clerk_id: Some("user_1".into()),
        ..code("missing_type")
    };
    assert_eq!(found(of_no_event).await.len(), 0);
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
