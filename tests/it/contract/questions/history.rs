//! The history of a user.

use clerk_sync::clerk::tables::users;

use super::*;

pub(super) async fn history(store: &Store, id: &str) -> Vec<HistoryRow> {
    store
        .history(&users::TABLE, &ClerkId::new(id).unwrap(), &page(100))
        .await
        .unwrap()
        .rows
}

/// The same event as it is received at that time.
pub(super) fn received(event: &SignedEvent, at: Timestamp) -> SignedEvent {
    SignedEvent::restored(
        event.id().clone(),
        event.event_type().clone(),
        event.sent_at(),
        at,
        Bytes::copy_from_slice(event.body()),
    )
}

pub(super) async fn a_history_lists_every_event_of_one_user(place: Place) {
    let store = place.migrated().await;
    apply(&store, &[update("msg_1", "user_1", 10)]).await;
    apply(&store, &[update("msg_2", "user_1", 5)]).await;
    apply(
        &store,
        &[
            delete("msg_3", "user_1", 20),
            update("msg_other", "user_2", 1),
        ],
    )
    .await;
    apply(&store, &[delete("msg_4", "user_1", 30)]).await;
    fail(
        &store,
        &[update("msg_5", "user_1", 40), update("msg_6", "user_1", 50)],
    )
    .await;
    let act = Act::new(Action::Discarded, &operator());
    store
        .discard(&[EventId::new("msg_6").unwrap()], &act)
        .await
        .unwrap();
    let rows = history(&store, "user_1").await;
    let reasons: Vec<_> = rows
        .iter()
        .map(|row| (row.event.event_id.as_str(), row.why.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (
                "msg_6",
                "discarded, after it had failed with delivery_limit: made by a test"
            ),
            ("msg_5", "delivery_limit: made by a test"),
            (
                "msg_4",
                "the user was deleted already, by msg_3, which occurred at 2026-11-20T11:00:00.020Z"
            ),
            ("msg_3", "it marked the user as deleted"),
            (
                "msg_2",
                "a newer version was there, of msg_1, which occurred at 2026-11-20T11:00:00.010Z"
            ),
            ("msg_1", "it changed the row"),
        ]
    );
    let stale = &rows[4];
    assert_eq!(stale.event.superseded_by.as_deref(), Some("msg_1"));
    let lag = stale.event.processed_at.0.ms() - stale.event.received_at.0.ms();
    assert_eq!(i64::try_from(stale.lag_ms).unwrap(), lag.max(0));
    assert!(
        rows.iter()
            .all(|row| row.event.payload.is_none()
                && row.event.clerk_id.as_deref() == Some("user_1"))
    );
    assert!(history(&store, "user_9").await.is_empty());
    // The line of the newer one may be gone, or its ID be all there is.
    store
        .forget(&ClerkId::new("user_2").unwrap(), &operator())
        .await
        .unwrap();
    let json = serde_json::to_value(&rows[4]).unwrap();
    assert_eq!(
        (&json["event_id"], &json["superseded_by"]),
        (&json!("msg_2"), &json!("msg_1"))
    );
}

pub(super) async fn a_history_is_paged_while_events_come(place: Place) {
    let store = place.migrated().await;
    let at = |n: i64| Timestamp::from_ms(EPOCH_MS + n / 2).unwrap();
    // Two of them each millisecond: the ID decides.
    let events: Vec<_> = (0..25)
        .map(|n| received(&update(&format!("msg_{n:02}"), "user_1", n), at(n)))
        .collect();
    apply(&store, &events).await;
    let (id, mut seen) = (ClerkId::new("user_1").unwrap(), Vec::new());
    let mut page = page(7);
    loop {
        let listing = store.history(&users::TABLE, &id, &page).await.unwrap();
        seen.extend(listing.rows.into_iter().map(|row| row.event.event_id));
        page.after = listing.next;
        if page.after.is_none() {
            break;
        }
        assert!(matches!(page.after, Some(Cursor::Event { .. })));
        apply(
            &store,
            &[received(
                &update(&format!("msg_9{}", seen.len()), "user_1", 1),
                at(100),
            )],
        )
        .await;
    }
    assert_eq!(
        seen,
        (0..25)
            .rev()
            .map(|n| format!("msg_{n:02}"))
            .collect::<Vec<_>>()
    );
}

pub(super) async fn the_version_that_was_there_is_noted_and_stays_noted(place: Place) {
    let store = place.migrated().await;
    let behind = async |id: &str| {
        store
            .event(&EventId::new(id).unwrap())
            .await
            .unwrap()
            .unwrap()
            .superseded_by
    };
    apply(&store, &[update("msg_3", "user_1", 30)]).await;
    apply(&store, &[update("msg_2", "user_1", 20)]).await;
    // Overtaken in its own write, and by one that is there in the end.
    apply(
        &store,
        &[
            update("msg_6", "user_1", 60),
            update("msg_5", "user_1", 50),
            update("msg_1", "user_1", 10),
        ],
    )
    .await;
    // A write that changes the row by a delete alone.
    apply(
        &store,
        &[update("msg_4", "user_1", 40), delete("msg_7", "user_1", 70)],
    )
    .await;
    apply(&store, &[delete("msg_8", "user_1", 80)]).await;
    for (id, newer) in [
        ("msg_1", Some("msg_6")),
        ("msg_2", Some("msg_3")),
        ("msg_3", None),
        ("msg_4", Some("msg_6")),
        ("msg_5", Some("msg_6")),
        ("msg_6", None),
        ("msg_7", None),
        ("msg_8", None),
    ] {
        assert_eq!(behind(id).await.as_deref(), newer, "{id}");
    }
    // A repeated event is only counted; one that failed before gets its new outcome.
    fail(&store, &[update("msg_0", "user_1", 0)]).await;
    apply(
        &store,
        &[update("msg_0", "user_1", 0), update("msg_9", "user_1", 90)],
    )
    .await;
    apply(&store, &[update("msg_2", "user_1", 20)]).await;
    assert_eq!(
        (
            behind("msg_0").await.as_deref(),
            behind("msg_2").await.as_deref()
        ),
        (Some("msg_9"), Some("msg_3"))
    );
    // A line that was pruned comes again: the row has its version already.
    store
        .prune(Timestamp::from_ms(EPOCH_MS + 1).unwrap(), 100)
        .await
        .unwrap();
    apply(
        &store,
        &[update("msg_9", "user_1", 90), update("msg_3", "user_1", 30)],
    )
    .await;
    assert_eq!(behind("msg_3").await.as_deref(), Some("msg_9"));
    let rows = history(&store, "user_1").await;
    assert_eq!(rows[0].why, "the row had this version already");
}

pub(super) async fn a_history_names_the_changed_fields_if_payloads_are_kept(place: Place) {
    place.migrated().await;
    let store = place.store(Keep {
        payloads: Payloads::All,
        ..Keep::default()
    });
    let at = |n: i64| Timestamp::from_ms(EPOCH_MS + n).unwrap();
    let version = |n: i64, fields: Value| {
        let mut data = json!({"id": "user_1", "updated_at": EPOCH_MS + n});
        data.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let body = json!({"data": data, "type": "user.updated"});
        received(&event(&format!("msg_{n}"), body.to_string()), at(n))
    };
    apply(&store, &[version(1, json!({"first_name": "Ada"}))]).await;
    apply(
        &store,
        &[version(
            2,
            json!({"first_name": "Ada", "public_metadata": {"plan": "pro"}}),
        )],
    )
    .await;
    // Two of one write, which arrive in the other order, and one that is late.
    let both = [
        version(4, json!({"username": "ada", "last_name": "X"})),
        version(3, json!({"username": "ada"})),
    ];
    apply(&store, &both).await;
    apply(
        &store,
        &[
            version(5, json!({"username": "ada", "last_name": "X"})),
            delete("msg_9", "user_1", 9),
        ],
    )
    .await;
    let changed = |rows: &[HistoryRow]| -> Vec<_> {
        rows.iter()
            .map(|row| {
                (
                    row.event.event_id.clone(),
                    row.changed.clone().map(|names| names.join(" ")),
                )
            })
            .collect()
    };
    let change = |id: &str, names: Option<&str>| (id.to_owned(), names.map(str::to_owned));
    let expected = [
        change("msg_5", Some("")),
        change(
            "msg_4",
            Some("first_name last_name public_metadata.plan username"),
        ),
        change("msg_3", None),
        change("msg_2", Some("public_metadata.plan")),
        change("msg_1", None),
        change("msg_9", None),
    ];
    assert_eq!(changed(&history(&store, "user_1").await), expected);
    // On a page of its own, a version finds the one before it all the same.
    let (id, mut page, mut rows) = (ClerkId::new("user_1").unwrap(), page(1), Vec::new());
    loop {
        let listing = store.history(&users::TABLE, &id, &page).await.unwrap();
        rows.extend(listing.rows);
        page.after = listing.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(changed(&rows), expected);
    // What stands between two versions and cannot be read leaves both without changed fields.
    let failed_alone = place.store(Keep::default());
    apply(&failed_alone, &[version(6, json!({"username": "eve"}))]).await;
    apply(
        &store,
        &[version(7, json!({"username": "ada", "last_name": "X"}))],
    )
    .await;
    assert_eq!(
        changed(&history(&store, "user_1").await)[..2],
        [change("msg_7", None), change("msg_6", None)]
    );
    assert!(
        history(&failed_alone, "user_1")
            .await
            .iter()
            .all(|row| row.event.payload.is_none())
    );
}
