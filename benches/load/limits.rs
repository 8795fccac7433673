//! The limits of the servers and of HTTP on this machine, by what `bare.rs` does with them.

use crate::bare::{self, Batch};
use crate::bench::{Bench, micros_each};
use crate::own::PATH;
use crate::program::Program;
use crate::traffic::{Keep, Pace};

/// Most writes by which the database's limit is measured: those of one event take a while.
const WRITES_MAX: usize = 1000;

/// Those that targets are ratios of are measured in every round, the others in the first.
pub async fn limits(bench: &mut Bench) -> anyhow::Result<()> {
    let is_first = bench.round <= 1;
    publish(bench, "limit.publish_64", 1).await?;
    if is_first {
        publish(bench, "limit.publish_4x64", 4).await?;
    }
    floor(bench).await?;
    upsert(bench, "limit.upsert_500", 500).await?;
    if is_first {
        upsert(bench, "limit.upsert_200", 200).await?;
        http(bench, "limit.http", "plain").await?;
        http(bench, "limit.http_verify", "verify").await?;
    }
    Ok(())
}

/// Bare publishes over so many channels.
pub async fn publish(bench: &mut Bench, name: &str, channels: usize) -> anyhow::Result<()> {
    let broker = bench.place.broker_time();
    let (place, crowd) = (&bench.place, &bench.crowd);
    let (events, took) = bare::publish(place, crowd, bench.scale.short, channels).await?;
    let broker = micros_each(broker, bench.place.broker_time(), events);
    let rate = events as f64 / took.as_secs_f64();
    bench.figures.add(name, rate);
    bench.figures.add(format!("{name}.broker_us"), broker);
    Ok(())
}

/// One event after the other, through the broker and into the database: no way from due to
/// committed is shorter.
async fn floor(bench: &mut Bench) -> anyhow::Result<()> {
    let publish = bare::publish_alone(&bench.place, &bench.crowd, bench.scale.short).await?;
    let batches = batches(bench, 1).await?;
    let upsert = bare::upsert_alone(&bench.database, batches).await?;
    bench.figures.add("limit.publish_1_p50_ms", publish);
    bench.figures.add("limit.upsert_1_p50_ms", upsert);
    bench.figures.add("limit.floor_ms", publish + upsert);
    Ok(())
}

async fn upsert(bench: &mut Bench, name: &str, size: usize) -> anyhow::Result<()> {
    let batches = batches(bench, size).await?;
    let rate = bare::upsert(&bench.database, batches).await?;
    bench.figures.add(name, rate);
    Ok(())
}

/// A backlog in batches of this size, for a table that is ready for them.
async fn batches(bench: &Bench, size: usize) -> anyhow::Result<Vec<Batch>> {
    bench.database.forget_events().await?;
    bench.database.settle().await?;
    let count = (bench.scale.backlog as usize / size).min(WRITES_MAX);
    let batch = || (0..size).map(|_| bench.crowd.signed()).collect::<Vec<_>>();
    Ok((0..count).map(|_| Batch::of(&batch())).collect())
}

async fn http(bench: &mut Bench, name: &str, kind: &str) -> anyhow::Result<()> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["--serve-http", kind]);
    let program = Program::start(command)?;
    program.ready("/").await?;
    let pace = Pace::Closed {
        lasts: bench.scale.short,
    };
    let load = bench.load(&program, PATH, pace, Keep::Nothing);
    let tally = load.run().await?;
    bench.figures.add(name, tally.rate());
    Ok(())
}
