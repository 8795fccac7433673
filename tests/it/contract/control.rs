//! The control of applying and the record of processes, on both stores.

use std::num::NonZeroU32;

use clerk_sync::clock::now;
use clerk_sync::store::{ProcessDescription, SignOfLife};

use super::store::Place;

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    a_pause_stays_as_it_was_until_it_is_resumed
    a_rate_limit_is_set_changed_and_removed
    a_process_is_there_from_its_first_sign_of_life_until_a_day_after_its_last
    workers_are_those_with_a_recent_sign_of_life
}

async fn a_pause_stays_as_it_was_until_it_is_resumed(place: Place) {
    let store = place.migrated().await;
    assert_eq!(store.control().await.unwrap().paused, None);
    assert_eq!(store.resume().await.unwrap(), None);
    let reason = Some("a \"reason\" — é".to_owned());
    let (first, is_new) = store.pause(reason.clone(), "a test".into()).await.unwrap();
    assert!(is_new && first.reason == reason);
    let (second, is_new) = store.pause(None, "another".into()).await.unwrap();
    assert!(!is_new, "it is paused already");
    assert_eq!(second, first);
    // Another process, and after a restart.
    let other = place.store(clerk_sync::store::Keep::default());
    assert_eq!(other.control().await.unwrap().paused, Some(first.clone()));
    assert_eq!(other.resume().await.unwrap(), Some(first));
    assert_eq!(store.control().await.unwrap().paused, None);
    assert!(store.pause(None, "a test".into()).await.unwrap().1);
}

async fn a_rate_limit_is_set_changed_and_removed(place: Place) {
    let store = place.migrated().await;
    let limit = |events| NonZeroU32::new(events);
    assert_eq!(store.control().await.unwrap().rate_limit, None);
    assert_eq!(store.set_rate_limit(limit(50)).await.unwrap(), None);
    assert_eq!(store.set_rate_limit(limit(7)).await.unwrap(), limit(50));
    assert_eq!(store.control().await.unwrap().rate_limit, limit(7));
    // A pause does not change it.
    store.pause(None, "a test".into()).await.unwrap();
    store.resume().await.unwrap();
    assert_eq!(store.set_rate_limit(None).await.unwrap(), limit(7));
    assert_eq!(store.control().await.unwrap().rate_limit, None);
}

fn sign(process_id: &str, role: &str, age_ms: u64) -> SignOfLife {
    SignOfLife {
        process: ProcessDescription {
            process_id: process_id.into(),
            role: role.into(),
            version: "0.1.0".into(),
            host: "host".into(),
            pid: 7,
            started_at_ms: 1_795_172_400_123,
        },
        age_ms,
        change_feed: Some(false),
    }
}

const MINUTE: u64 = 60_000;

async fn a_process_is_there_from_its_first_sign_of_life_until_a_day_after_its_last(place: Place) {
    let store = place.migrated().await;
    assert!(store.processes().await.unwrap().is_empty());
    let signs = [sign("b", "worker", 0), sign("a", "receiver", 11 * MINUTE)];
    store.record_processes(&signs).await.unwrap();
    let found = store.processes().await.unwrap();
    let ids: Vec<_> = found.iter().map(|process| &*process.process_id).collect();
    assert_eq!(ids, ["a", "b"]);
    assert!(found[0].gone && !found[1].gone, "{found:?}");
    assert_eq!(found[1].started_at.to_string(), "2026-11-20T11:00:00.123Z");
    let age = now().ms() - found[1].seen_at.0.ms();
    assert!((-5_000..60_000).contains(&age), "{age}");
    assert_eq!((found[1].pid, &*found[1].version), (7, "0.1.0"));
    // An older sign of another worker, which heard of it earlier.
    store
        .record_processes(&[sign("b", "worker", 20 * MINUTE)])
        .await
        .unwrap();
    assert!(!store.processes().await.unwrap()[1].gone);

    store.remove_process("b").await.unwrap();
    store
        .record_processes(&[sign("c", "receiver", 25 * 60 * MINUTE)])
        .await
        .unwrap();
    // Any later sign of life has those forgotten that are silent for a day.
    store
        .record_processes(&[sign("d", "serve", 0)])
        .await
        .unwrap();
    let found = store.processes().await.unwrap();
    let ids: Vec<_> = found.iter().map(|process| &*process.process_id).collect();
    assert_eq!(ids, ["a", "d"]);
}

async fn workers_are_those_with_a_recent_sign_of_life(place: Place) {
    let store = place.migrated().await;
    assert_eq!(store.other_workers("own").await.unwrap(), 0);
    let signs = [
        sign("own", "worker", 0),
        sign("second", "serve", 16_000),
        sign("killed", "worker", MINUTE),
        sign("receiver", "receiver", 0),
    ];
    store.record_processes(&signs).await.unwrap();
    assert_eq!(store.other_workers("own").await.unwrap(), 1);
    assert_eq!(store.other_workers("new").await.unwrap(), 2);
}
