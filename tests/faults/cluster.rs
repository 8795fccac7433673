//! A cluster of three nodes: the death of the queue's leader costs nothing but a moment.

use std::process::Command;

use clerk_sync::clock::now;

use crate::check::{Traces, check};
use crate::flood::{Flood, Target};
use crate::noted::Noted;
use crate::servers::postgres::Postgres;
use crate::servers::rabbitmq::{Family, Node};
use crate::support::app::tempdir::TempDir;
use crate::support::app::{App, SECRET, until};
use crate::system::{seed, store};

const NAMESPACE: &str = "cluster";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_death_of_the_leader_s_node_loses_nothing_and_service_resumes() {
    let _alone = crate::ALONE.lock().await;
    let seed = seed();
    let family = Family::new();
    let mut nodes = vec![family.start("one").await];
    for name in ["two", "three"] {
        let node = family.start(name).await;
        node.control(&["stop_app"]);
        node.control(&["join_cluster", nodes[0].name()]);
        node.control(&["start_app"]);
        nodes.push(node);
    }
    let postgres = Postgres::start().await;
    let directory = TempDir::new();
    let urls: Vec<_> = nodes.iter().map(|node| Node::url(node.port())).collect();
    let command = |role: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
        command
            .arg(role)
            .current_dir(directory.path())
            .env_clear()
            .env("AMQP_NAMESPACE", NAMESPACE);
        command
            .env("DATABASE_URL", Postgres::url(postgres.port()))
            .env("AMQP_URL", urls.join(","));
        command
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        command
    };
    let app = App::spawn(command("serve"), store(&Postgres::url(postgres.port())));
    // Another one, so that both do not happen to stand on the same node.
    let receiver = App::spawn(command("receiver"), store(&Postgres::url(postgres.port())));
    for app in [&app, &receiver] {
        until("it is ready", async || {
            app.get("/readyz")
                .await
                .is_some_and(|answer| answer.status == 200)
        })
        .await;
    }
    let noted = || Noted::Postgres(Postgres::url(postgres.port()));
    noted().begin().await;

    for round in 0..2 {
        let since = now();
        let name = format!("{seed:x}_{round}");
        let floods = [&app, &receiver].map(|app| {
            let target = Target::new(Some(app.webhook_url()));
            Flood::start(format!("{name}_{}", app.address.port()), seed, target)
        });
        for flood in &floods {
            flood.accepts(50).await;
        }
        let leader = leader_of(&nodes);
        nodes[leader].end("KILL");
        for flood in &floods {
            flood.accepts(100).await;
        }
        // The node comes back, and takes part again.
        nodes[leader].start_again().await;
        for flood in floods {
            flood.accepts(50).await;
            let expected = flood.ends().await;
            println!("round {round}: node {leader} killed: {:?}", expected.counts);
            let store = store(&Postgres::url(postgres.port()));
            let findings = check(
                &Traces {
                    store,
                    noted: noted(),
                    since,
                    were_replayed: false,
                },
                &expected,
            )
            .await;
            assert!(
                findings.words.is_empty(),
                "FAULT_SEED={seed}: {:#?}",
                findings.words
            );
        }
        until("nothing is left in a queue", async || {
            nodes[leader].messages() == Some(0)
        })
        .await;
    }
    for app in [app, receiver] {
        assert!(app.stop().success());
    }
}

/// The node that leads the queue of events.
fn leader_of(nodes: &[Node<'_>]) -> usize {
    let listed = nodes[0].control(&["list_queues", "name", "leader"]);
    let name = format!("{NAMESPACE}.events\t");
    let line = listed
        .lines()
        .find(|line| line.starts_with(&name))
        .expect("the queue is there");
    nodes
        .iter()
        .position(|node| line.ends_with(node.name()))
        .expect("one of them leads")
}
