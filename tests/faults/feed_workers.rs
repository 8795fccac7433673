//! Four workers around one change feed: whatever is killed, the applications that follow it see
//! every change, each row's in order.

use clerk_sync::clock::now;

use crate::check::{Traces, check};
use crate::flood::Flood;
use crate::kinds::Kind;
use crate::servers::postgres::Postgres;
use crate::servers::rabbitmq::Family;
use crate::system::{Role, System, seed};

const WORKERS: usize = 4;

/// What breaks, each while one of the workers is killed, too.
const KINDS: [Kind; 5] = [
    Kind::BrokerKilled,
    Kind::DatabaseKilled,
    Kind::WorkerKilled,
    Kind::CutAfterCommit,
    Kind::ConnectionsClosed,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_change_feed_of_four_workers_has_no_gap_and_no_reorder() {
    let _alone = crate::ALONE.lock().await;
    let seed = seed();
    let family = Family::new();
    let broker = family.start("feed").await;
    let mut system = System::start(Postgres::start().await, broker, WORKERS).await;
    for (round, kind) in KINDS.into_iter().enumerate() {
        let since = now();
        let flood = Flood::start(format!("{seed:x}_{round}"), seed, system.target.clone());
        flood.accepts(100).await;
        // The one that publishes may be this one.
        system.kill_a_worker();
        flood.accepts(100).await;
        let broken = kind.begin(&mut system).await;
        broken.is_felt(&system, &flood).await;
        broken.end(&mut system).await;
        system.start_role(Role::Worker);
        flood.accepts(100).await;
        let expected = flood.ends().await;
        let traces = Traces {
            store: system.store(),
            noted: system.noted(),
            since,
            were_replayed: false,
        };
        let mut words = check(&traces, &expected).await.words;
        words.extend(system.check_feed(&expected).await);
        println!(
            "{}: {:?}, {} changes repeated so far",
            kind.name(),
            expected.counts,
            system.repeated_changes()
        );
        assert!(words.is_empty(), "FAULT_SEED={seed}: {words:#?}");
        system.queues_are_empty().await;
    }
}
