//! Lists that are read by offsets, while objects are created and deleted in their middle: no object
//! is skipped, and no row is marked as deleted in error.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use clerk_sync::sample::Seeded;

use crate::support::app::Place;
use crate::support::clerk_instance::ClerkInstance;
use crate::support::clerk_lists_run::{live, run, table};

const PAGE_MAX: usize = 5;

fn id(number: usize) -> String {
    format!("orgmem_{number:03}")
}

/// With so many memberships, one created every 10 ms.
async fn instance(memberships: usize) -> ClerkInstance {
    let clerk = ClerkInstance::start(PAGE_MAX).await;
    clerk.change(|accounts| {
        accounts.found("org_1", 0);
        for number in 0..memberships {
            accounts.join(&id(number), "org_1", "user_1", ms(number));
        }
    });
    clerk
}

fn ms(number: usize) -> i64 {
    i64::try_from(number).unwrap() * 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_before_the_next_page_makes_the_reader_go_back() {
    for gone in [
        vec![2],
        vec![4],
        vec![0, 1, 2, 3, 4],
        (0..12).collect::<Vec<_>>(),
        (3..15).collect(),
    ] {
        let (place, clerk) = (Place::embedded(), instance(30).await);
        let pages = gone.len().div_ceil(PAGE_MAX);
        let deleted = gone.clone();
        clerk.before_page(pages, move |accounts| {
            deleted
                .iter()
                .for_each(|number| accounts.delete(&id(*number)))
        });
        let filled = run(&place, &clerk, &["backfill", "memberships"]);
        assert_eq!(filled.status, 0, "{}", filled.said);
        let rows = live(&place.store(), table("memberships")).await;
        for number in (0..30).filter(|number| !gone.contains(number)) {
            assert!(
                rows.contains(&id(number)),
                "{gone:?}: {number} is missing, {rows:?}"
            );
        }
        let targets = clerk.take_targets();
        let offsets: Vec<u64> = targets
            .iter()
            .map(|target| target.split_once("&offset=").unwrap().1.parse().unwrap())
            .collect();
        let went_back = offsets.windows(2).any(|two| two[1] <= two[0]);
        assert!(went_back, "{gone:?}: {offsets:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_does_not_know_offsets_is_refused() {
    let (place, clerk) = (Place::embedded(), instance(12).await);
    clerk.ignore_place();
    for command in ["backfill", "reconcile"] {
        let refused = run(&place, &clerk, &[command, "memberships"]);
        assert_eq!(refused.status, 1);
        assert!(
            refused.said.contains("it does not know offset"),
            "{}",
            refused.said
        );
    }
}

/// What happens at Clerk during the runs, at random.
#[derive(Default)]
struct Changes {
    deleted: BTreeSet<usize>,
    is_over: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_created_and_deleted_meanwhile_no_object_is_skipped_or_deleted() {
    let seed = std::env::var("OFFSETS_SEED").map_or_else(
        |_| u64::try_from(clerk_sync::clock::now().ms()).unwrap(),
        |seed| seed.parse().unwrap(),
    );
    println!("OFFSETS_SEED={seed} repeats this run");
    for round in 0..6 {
        let mut random = Seeded::of(&[seed, round]);
        let before = 20 + random.below(20);
        let (place, clerk) = (Place::embedded(), instance(before).await);
        let changes = Arc::<Mutex<Changes>>::default();
        // Before any page of two runs.
        for page in 1..40 {
            let (changes, mut random) = (Arc::clone(&changes), Seeded::of(&[seed, round, page]));
            clerk.before_page(usize::try_from(page).unwrap(), move |accounts| {
                let mut changes = changes.lock().unwrap();
                if changes.is_over {
                    return;
                }
                if random.percent(40) {
                    let first = random.below(before);
                    for number in first..first + 1 + random.below(7) {
                        accounts.delete(&id(number));
                        changes.deleted.insert(number);
                    }
                }
                if random.percent(30) {
                    let number = 100 + usize::try_from(page).unwrap();
                    accounts.join(&id(number), "org_1", "user_1", ms(number));
                }
            });
        }
        let filled = run(&place, &clerk, &["backfill", "memberships"]);
        assert_eq!(filled.status, 0, "{}", filled.said);
        let stayed = |changes: &Changes| -> Vec<usize> {
            (0..before)
                .filter(|number| !changes.deleted.contains(number))
                .collect()
        };
        let rows = live(&place.store(), table("memberships")).await;
        for number in stayed(&changes.lock().unwrap()) {
            assert!(
                rows.contains(&id(number)),
                "round {round}: {number} was skipped: {rows:?}"
            );
        }
        let fixed = run(
            &place,
            &clerk,
            &["reconcile", "memberships", "--fix", "--max-deletes", "1000"],
        );
        assert_eq!(fixed.status, 0, "{}", fixed.said);
        let rows = live(&place.store(), table("memberships")).await;
        for number in stayed(&changes.lock().unwrap()) {
            assert!(
                rows.contains(&id(number)),
                "round {round}: {number} was deleted: {rows:?}"
            );
        }
        // When nothing happens any more, what is left agrees with Clerk.
        changes.lock().unwrap().is_over = true;
        run(
            &place,
            &clerk,
            &["reconcile", "memberships", "--fix", "--max-deletes", "1000"],
        );
        let last = run(&place, &clerk, &["reconcile", "memberships"]);
        assert_eq!(last.status, 0, "round {round}: {}", last.json);
    }
}
