//! Attempts and who acted, on both stores: what is kept with an event, what in the audit, and how
//! much.

use std::num::NonZeroU32;

use clerk_sync::clerk::{ClerkId, EventId, SignedEvent};
use clerk_sync::clock::now;
use clerk_sync::store::{
    Act, Action, Actor, Attempt, AuditFilter, Credential, EventFailure, EventFilter, Keep,
    OnDelete, Page, Status, Store, WholeEvent,
};
use clerk_sync::worker::plan::{plan, plan_failed};

use super::store::Place;
use crate::support::app::until;
use crate::support::history::{at, delete, event, operator, update};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    a_single_attempt_is_read_from_the_row_and_writes_no_log
    each_further_attempt_is_kept_with_its_time_outcome_and_error
    the_last_twenty_attempts_are_kept
    attempts_of_a_version_that_keeps_no_log_are_not_made_up
    a_discard_and_a_replay_say_who_asked_for_them
    the_last_twenty_acts_on_an_event_are_kept
    the_parts_of_one_act_are_one_row
    an_erasure_is_recorded_with_its_effect
    the_audit_is_found_by_every_filter_and_page
    old_rows_of_the_audit_are_pruned_but_never_those_of_erasures
}

async fn whole(store: &Store, id: &str) -> WholeEvent {
    let id = EventId::new(id).unwrap();
    store.whole_event(&id).await.unwrap().unwrap()
}

async fn try_and_fail(store: &Store, events: &[SignedEvent], code: &'static str) {
    let failure = EventFailure {
        code: code.into(),
        text: format!("because of {code}"),
    };
    store.apply(&plan_failed(events, &failure)).await.unwrap();
}

/// The outcomes, each with its code.
fn outcomes(attempts: &[Attempt]) -> Vec<(Status, Option<&str>)> {
    let attempts = attempts.iter();
    attempts
        .map(|attempt| (attempt.outcome, attempt.error_code.as_deref()))
        .collect()
}

async fn audit(store: &Store, filter: &AuditFilter) -> Vec<Act> {
    let page = Page {
        limit: NonZeroU32::new(100).unwrap(),
        after: None,
    };
    store.audit(filter, &page).await.unwrap().rows
}

async fn whole_audit(store: &Store) -> Vec<Act> {
    audit(store, &AuditFilter::default()).await
}

fn ids(names: &[&str]) -> Vec<EventId> {
    let ids = names.iter().map(|name| EventId::new(name).unwrap());
    ids.collect()
}

/// Another millisecond, so that times differ.
async fn tick() {
    let before = now();
    until("the next millisecond", async || now() > before).await;
}

async fn a_single_attempt_is_read_from_the_row_and_writes_no_log(place: Place) {
    let store = place.migrated().await;
    let bad = event(
        "msg_2",
        r#"{"type":"user.updated","data":{"id":"user_2"},"timestamp":-1}"#,
    );
    let events = [
        update("msg_1", "user_1", 10),
        bad,
        update("msg_3", "user_1", 5),
    ];
    store.apply(&plan(&events)).await.unwrap();
    for (id, outcome, code) in [
        ("msg_1", Status::Applied, None),
        ("msg_2", Status::Failed, Some("implausible_time")),
        ("msg_3", Status::Stale, None),
    ] {
        let event = whole(&store, id).await;
        assert_eq!(outcomes(&event.attempts_log), [(outcome, code)], "{id}");
        let attempt = &event.attempts_log[0];
        assert_eq!(attempt.at, event.event.processed_at);
        assert_eq!(attempt.error, event.event.error);
        assert_eq!(event.audit, []);
    }
    // Another delivery is no attempt.
    store.apply(&plan(&events[..1])).await.unwrap();
    assert_eq!(whole(&store, "msg_1").await.attempts_log.len(), 1);
    assert_eq!(
        place
            .count("select count(*) from {schema}events where attempts_log is not null")
            .await,
        0
    );
}

async fn each_further_attempt_is_kept_with_its_time_outcome_and_error(place: Place) {
    let store = place.migrated().await;
    let event = [update("msg_1", "user_1", 10)];
    let mut times = Vec::new();
    for code in ["unrouted", "delivery_limit"] {
        try_and_fail(&store, &event, code).await;
        times.push(whole(&store, "msg_1").await.event.processed_at);
        tick().await;
    }
    store.apply(&plan(&event)).await.unwrap();
    let applied = whole(&store, "msg_1").await;
    times.push(applied.event.processed_at);
    let attempts = &applied.attempts_log;
    assert_eq!(
        outcomes(attempts),
        [
            (Status::Failed, Some("unrouted")),
            (Status::Failed, Some("delivery_limit")),
            (Status::Applied, None),
        ]
    );
    let at: Vec<_> = attempts.iter().map(|attempt| attempt.at).collect();
    assert_eq!(at, times);
    assert!(at.is_sorted() && at[0] < at[2]);
    assert_eq!(
        attempts[0].error.as_deref(),
        Some("because of unrouted"),
        "the row itself has forgotten it"
    );
    assert_eq!((applied.event.attempts, &attempts[2].error), (3, &None));
    // What comes again changes nothing.
    store.apply(&plan(&event)).await.unwrap();
    assert_eq!(whole(&store, "msg_1").await.attempts_log, *attempts);
}

async fn the_last_twenty_attempts_are_kept(place: Place) {
    let store = place.migrated().await;
    let event = [update("msg_1", "user_1", 10)];
    try_and_fail(&store, &event, "not_json").await;
    for _ in 0..24 {
        try_and_fail(&store, &event, "unrouted").await;
    }
    let failed = whole(&store, "msg_1").await;
    assert_eq!((failed.event.attempts, failed.attempts_log.len()), (25, 20));
    store.apply(&plan(&event)).await.unwrap();
    let applied = whole(&store, "msg_1").await;
    assert_eq!(applied.attempts_log.len(), 20);
    assert_eq!(applied.attempts_log[..19], failed.attempts_log[1..]);
    assert_eq!(applied.attempts_log[19].outcome, Status::Applied);
}

async fn attempts_of_a_version_that_keeps_no_log_are_not_made_up(place: Place) {
    let store = place.migrated().await;
    let event = [update("msg_1", "user_1", 10)];
    try_and_fail(&store, &event, "unrouted").await;
    place
        .execute("update {schema}events set attempts = 3")
        .await;
    let known = whole(&store, "msg_1").await;
    assert_eq!(
        outcomes(&known.attempts_log),
        [(Status::Failed, Some("unrouted"))]
    );
    store.apply(&plan(&event)).await.unwrap();
    let applied = whole(&store, "msg_1").await;
    assert_eq!((applied.event.attempts, applied.attempts_log.len()), (4, 2));
}

async fn a_discard_and_a_replay_say_who_asked_for_them(place: Place) {
    let store = place.migrated().await;
    let events = [update("msg_1", "user_1", 10), update("msg_2", "user_2", 10)];
    try_and_fail(&store, &events, "unrouted").await;
    store
        .apply(&plan(&[update("msg_3", "user_3", 10)]))
        .await
        .unwrap();
    let asked = ids(&["msg_1", "msg_2", "msg_3", "msg_none"]);
    let replay = Act::new(Action::Replayed, &operator());
    store.record_replay(&asked, &replay).await.unwrap();
    tick().await;
    let command = Actor {
        credential: Credential::Command,
        address: Some("ada@host-1".into()),
        forwarded_for: None,
    };
    let discard = Act::new(Action::Discarded, &command).about_event(&asked[0]);
    let types = store.discard(&asked[..1], &discard).await.unwrap();
    assert_eq!(types, ["user.updated"]);
    tick().await;
    // It is not failed any more.
    let late = Act::new(Action::Discarded, &command);
    assert!(store.discard(&asked[..1], &late).await.unwrap().is_empty());

    let first = whole(&store, "msg_1").await;
    let acts: Vec<_> = first.audit.iter().collect();
    let [replayed, discarded] = acts[..] else {
        panic!("{acts:?}")
    };
    assert_eq!(
        (replayed.at, replayed.action, replayed.actor),
        (replay.at, Action::Replayed, Credential::AdminToken)
    );
    assert_eq!(replayed.address.as_deref(), Some("192.0.2.1"));
    assert_eq!(
        (discarded.at, discarded.action, discarded.actor),
        (discard.at, Action::Discarded, Credential::Command)
    );
    assert_eq!(discarded.address.as_deref(), Some("ada@host-1"));
    // A discard is no attempt, and leaves the time of the last one.
    assert_eq!(
        outcomes(&first.attempts_log),
        [(Status::Failed, Some("unrouted"))]
    );
    assert_eq!(first.attempts_log[0].at, first.event.processed_at);
    assert!(first.event.processed_at < discard.at);
    assert_eq!(whole(&store, "msg_2").await.audit.len(), 1);
    assert_eq!(whole(&store, "msg_3").await.audit, [], "it is not failed");

    let rows = whole_audit(&store).await;
    let rows: Vec<_> = rows
        .iter()
        .map(|act| {
            (
                act.id.as_str(),
                act.action,
                act.count,
                act.event_id.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (
                discard.id.as_str(),
                Action::Discarded,
                Some(1),
                Some("msg_1")
            ),
            (replay.id.as_str(), Action::Replayed, Some(2), None),
        ]
    );
}

async fn the_last_twenty_acts_on_an_event_are_kept(place: Place) {
    let store = place.migrated().await;
    try_and_fail(&store, &[update("msg_1", "user_1", 10)], "unrouted").await;
    let mut times = Vec::new();
    for _ in 0..23 {
        let act = Act::new(Action::Replayed, &operator());
        store.record_replay(&ids(&["msg_1"]), &act).await.unwrap();
        times.push(act.at);
    }
    let kept: Vec<_> = whole(&store, "msg_1").await.audit;
    let kept: Vec<_> = kept.iter().map(|act| act.at).collect();
    assert_eq!(kept, times[3..]);
    assert_eq!(whole_audit(&store).await.len(), 23);
}

async fn the_parts_of_one_act_are_one_row(place: Place) {
    let store = place.migrated().await;
    let events: Vec<_> = (0..5)
        .map(|n| update(&format!("msg_{n}"), "user_1", 10))
        .collect();
    try_and_fail(&store, &events, "unrouted").await;
    let filter = EventFilter {
        error_code: Some("unrouted".into()),
        since: Some(at(0)),
        ..EventFilter::default()
    };
    let act = Act::new(Action::Discarded, &operator()).about_events(&filter);
    for part in [&["msg_0", "msg_1"][..], &["msg_2", "msg_3"], &["msg_3"]] {
        store.discard(&ids(part), &act).await.unwrap();
    }
    let rows = whole_audit(&store).await;
    assert_eq!((rows.len(), rows[0].count), (1, Some(4)));
    let filter = serde_json::to_value(&rows[0].filter).unwrap();
    let expected =
        serde_json::json!({"error_code": "unrouted", "since": "2026-11-20T11:00:00.000Z"});
    assert_eq!(filter, expected);
}

async fn an_erasure_is_recorded_with_its_effect(place: Place) {
    drop(place.migrated().await);
    let store = place.store(Keep {
        on_delete: OnDelete::Scrub,
        ..Keep::default()
    });
    store
        .apply(&plan(&[
            update("msg_1", "user_1", 10),
            update("msg_3", "user_2", 10),
        ]))
        .await
        .unwrap();
    try_and_fail(&store, &[update("msg_2", "user_1", 20)], "unrouted").await;
    // What the setting erases no person has asked for.
    store
        .apply(&plan(&[delete("msg_4", "user_2", 20)]))
        .await
        .unwrap();
    store.scrub(100).await.unwrap();
    assert!(whole_audit(&store).await.is_empty());

    let user = ClerkId::new("user_1").unwrap();
    store.erase(&user, &operator()).await.unwrap().unwrap();
    let emptied = whole(&store, "msg_2").await;
    assert_eq!(
        (emptied.event.status, outcomes(&emptied.attempts_log)),
        (Status::Discarded, vec![(Status::Failed, Some("unrouted"))])
    );
    tick().await;
    store.forget(&user, &operator()).await.unwrap();
    let unknown = ClerkId::new("user_9").unwrap();
    store.erase(&unknown, &operator()).await.unwrap();
    store.forget(&unknown, &operator()).await.unwrap();
    let rows: Vec<_> = whole_audit(&store).await;
    let rows: Vec<_> = rows
        .iter()
        .map(|act| (act.action, act.clerk_id.as_deref(), act.count))
        .collect();
    assert_eq!(
        rows,
        [
            (Action::Forgotten, Some("user_1"), Some(2)),
            (Action::Erased, Some("user_1"), Some(1)),
        ]
    );
}

async fn the_audit_is_found_by_every_filter_and_page(place: Place) {
    let store = place.migrated().await;
    let start = now();
    let pause = Act::new(Action::Paused, &operator()).because(Some("the disk is full".into()));
    store.record_act(&pause).await.unwrap();
    tick().await;
    let about = EventId::new("msg_1").unwrap();
    let replay = Act::new(Action::Replayed, &operator()).about_event(&about);
    store.record_act(&replay).await.unwrap();
    tick().await;
    let user = ClerkId::new("user_1").unwrap();
    let erase = Act::new(Action::Erased, &operator()).about_user(&user);
    store.record_act(&erase).await.unwrap();
    let none = AuditFilter::default;
    for (filter, expected) in [
        (none(), vec![&erase, &replay, &pause]),
        (
            AuditFilter {
                action: Some(Action::Paused),
                ..none()
            },
            vec![&pause],
        ),
        (
            AuditFilter {
                event_id: Some("msg_1".into()),
                ..none()
            },
            vec![&replay],
        ),
        (
            AuditFilter {
                clerk_id: Some("user_1".into()),
                ..none()
            },
            vec![&erase],
        ),
        (
            AuditFilter {
                since: Some(replay.at.0),
                ..none()
            },
            vec![&erase, &replay],
        ),
        (
            AuditFilter {
                until: Some(replay.at.0),
                ..none()
            },
            vec![&pause],
        ),
        (
            AuditFilter {
                since: Some(start),
                until: Some(erase.at.0),
                ..none()
            },
            vec![&replay, &pause],
        ),
        (
            AuditFilter {
                action: Some(Action::Paused),
                since: Some(replay.at.0),
                ..none()
            },
            vec![],
        ),
    ] {
        let found: Vec<_> = audit(&store, &filter)
            .await
            .into_iter()
            .map(|act| act.id)
            .collect();
        let expected: Vec<_> = expected.into_iter().map(|act| act.id.clone()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let found = audit(&store, &none()).await;
    assert_eq!(found[2].reason.as_deref(), Some("the disk is full"));
    assert_eq!(
        (found[2].at, found[2].count, found[2].address.as_deref()),
        (pause.at, None, Some("192.0.2.1"))
    );

    let mut page = Page {
        limit: NonZeroU32::MIN,
        after: None,
    };
    let mut paged = Vec::new();
    loop {
        let listing = store.audit(&none(), &page).await.unwrap();
        paged.extend(listing.rows.into_iter().map(|act| act.action));
        page.after = listing.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(paged, [Action::Erased, Action::Replayed, Action::Paused]);
}

async fn old_rows_of_the_audit_are_pruned_but_never_those_of_erasures(place: Place) {
    let store = place.migrated().await;
    for action in Action::ALL {
        store
            .record_act(&Act::new(action, &operator()))
            .await
            .unwrap();
    }
    tick().await;
    let before = now();
    store
        .record_act(&Act::new(Action::Resumed, &operator()))
        .await
        .unwrap();
    assert_eq!(store.prune_audit(before, 3).await.unwrap(), 3);
    assert_eq!(store.prune_audit(before, 3).await.unwrap(), 2);
    assert_eq!(store.prune_audit(before, 3).await.unwrap(), 0);
    let mut left: Vec<_> = whole_audit(&store)
        .await
        .iter()
        .map(|act| act.action.as_str())
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["erased", "forgotten", "resumed"]);
}
