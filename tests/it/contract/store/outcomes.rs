//! Outcomes of events, and what is kept of them.

use super::*;

pub(super) async fn an_event_that_comes_again_is_only_counted(place: Place) {
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

pub(super) async fn a_failed_event_is_tried_again(place: Place) {
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

    // A late dead letter never changes an applied event to failed.
    assert_eq!(store.apply(&failed).await.unwrap(), [Outcome::Repeated]);
    assert_eq!(line(&store, "msg_1").await.status, Status::Applied);
}

pub(super) async fn a_discarded_event_comes_back_only_to_succeed(place: Place) {
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

/// A caller may go away at any moment: no connection stays inside a transaction, and no row stays
/// locked.
pub(super) async fn a_write_that_is_given_up_half_way_holds_nothing_up(place: Place) {
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

pub(super) async fn a_status_does_not_depend_on_how_batches_are_cut(place: Place) {
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

pub(super) async fn payloads_are_kept_as_configured(place: Place) {
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
