//! The usual alternative: a Node handler, inline or with a queue, under the same load and
//! on the same servers.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::bench::{Bench, Offered, written};
use crate::commits::{Sight, Watch};
use crate::crowd::SECRET;
use crate::program::Program;
use crate::traffic::{Keep, Pace};

const PATH: &str = "/webhooks";

/// At an open load one event in so many is about a user of its own, by whose row the lag is seen:
/// its own table keeps no record of events.
const MARKED: u64 = 20;

/// Before anything is counted: Node compiles what is used often.
const WARM_UP: std::time::Duration = std::time::Duration::from_secs(3);

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer-node"))
}

/// The version of Node, where it and what the peer needs are there.
pub fn version() -> Result<String, &'static str> {
    let output = Command::new("node")
        .arg("--version")
        .stderr(Stdio::null())
        .output();
    let output = output.map_err(|_| "Node is not installed")?;
    if !directory().join("node_modules").exists() {
        return Err("its packages are not installed (npm ci in benches/peer-node)");
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn start(bench: &Bench, mode: &str) -> anyhow::Result<Program> {
    let mut command = Command::new("node");
    command
        .arg("server.js")
        .current_dir(directory())
        .env("NODE_ENV", "production")
        .env("PORT", "0");
    command
        .env("MODE", mode)
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
    command
        .env("DATABASE_URL", bench.database.url())
        .env("AMQP_URL", &bench.place.amqp_url);
    command.env("QUEUE", bench.place.queue("peer"));
    let program = Program::start(command)?;
    program.ready("/healthz").await?;
    Ok(program)
}

pub async fn peer(bench: &mut Bench) -> anyhow::Result<()> {
    if let Err(reason) = version() {
        eprintln!("  the Node peer is left out: {reason}");
        return Ok(());
    }
    let queue = bench.place.queue("peer");
    for mode in ["inline", "receiver"] {
        let program = start(bench, mode).await?;
        let pace = |lasts| Pace::Closed { lasts };
        bench
            .load(&program, PATH, pace(WARM_UP), Keep::Nothing)
            .run()
            .await?;
        let usage = program.watch();
        let tally = bench
            .load(&program, PATH, pace(bench.scale.short), Keep::Nothing)
            .run()
            .await?;
        bench.figures.add(format!("node.{mode}.rate"), tally.rate());
        bench
            .figures
            .add(format!("node.{mode}.refused"), tally.refused as f64);
        bench
            .figures
            .add(format!("node.{mode}.answer_p99_ms"), tally.answer_ms(99.0));
        bench.figures.add(
            format!("node.{mode}.processor_us"),
            usage.samples().micros_each(tally.accepted),
        );
        bench.figures.add(
            format!("node.{mode}.memory_mb"),
            usage.samples().memory_peak(),
        );
        program.stop().await?;
        if mode == "receiver" {
            bench.place.purge(&bench.broker.1, &queue).await?;
        }
    }
    queued(bench).await
}

async fn queued(bench: &mut Bench) -> anyhow::Result<()> {
    let program = start(bench, "queued").await?;
    offer(bench, &program, 500.0, WARM_UP).await?;
    let proof = bench.scale.probe;
    let (rate, offered) = bench
        // It is spared the long proof: that can only lower its rate.
        .highest("node.queued", 2000.0, proof, async |bench, rate, lasts| {
            offer(bench, &program, rate, lasts).await
        })
        .await?;
    let figures = &mut bench.figures;
    figures.add("node.queued.rate", rate);
    figures.add("node.queued.lag_p50_ms", offered.lag.ms(50.0));
    figures.add("node.queued.lag_p99_ms", offered.lag.ms(99.0));
    figures.add(
        "node.queued.processor_us",
        offered.usage.micros_each(offered.tally.accepted),
    );
    figures.add("node.queued.memory_mb", offered.usage.memory_peak());
    program.stop().await
}

async fn offer(
    bench: &Bench,
    program: &Program,
    rate: f64,
    lasts: std::time::Duration,
) -> anyhow::Result<Offered> {
    let watch = Watch::start(&bench.database.options, Sight::Coarse);
    let usage = program.watch();
    let pace = Pace::Open { rate, lasts };
    let tally = bench
        .load(program, PATH, pace, Keep::Markers(MARKED))
        .run()
        .await?;
    bench
        .place
        .until_empty(&bench.broker.1, &bench.place.queue("peer"))
        .await?;
    // Events in flight at its consumer are in its table soon.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let wrote = written(
        &bench.database,
        "select clerk_id, xmin::text::bigint from public.users",
    )
    .await?;
    let usage = usage.samples();
    let lag = watch.stop()?.lag(&tally.sent, &wrote);
    Ok(Offered {
        tally,
        lag,
        usage,
        broker_us: None,
        postgresql_us: None,
    })
}
