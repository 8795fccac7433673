//! The parts that need RabbitMQ and PostgreSQL: clerk-sync as it was built for release, with its
//! defaults, beside the limits and the plain way.

use std::sync::Arc;
use std::time::Duration;

use clerk_sync::queue::{self, Queue};
use futures_util::StreamExt;

use crate::bare::{self, Batch};
use crate::bench::{Bench, CONNECTIONS, Offered, micros_each};
use crate::commits::{Sight, Watch};
use crate::crowd::Crowd;
use crate::place::Database;
use crate::plain;
use crate::program::Program;
use crate::traffic::{Keep, Load, Pace};

pub const PATH: &str = "/api/webhooks/clerk";

/// How long a program is left alone before its idle memory is taken.
const IDLE: Duration = Duration::from_secs(3);

/// Before anything is counted: connections, prepared statements, caches.
const WARM_UP: Duration = Duration::from_secs(2);

/// Events a second at which the latency is looked at.
pub const RATES: [u32; 2] = [200, 1000];

/// Where the first search for the highest rate begins.
const GUESS: f64 = 6000.0;

/// Starts of the program in each round.
const STARTS: u32 = 5;

/// Events that are put onto the queue at once.
const PUBLISHED_AT_ONCE: usize = 256;

/// Events accepted per second, verified and confirmed, without a consumer; and the plain way.
pub async fn accept(bench: &mut Bench) -> anyhow::Result<()> {
    let program = bench.place.start("receiver", Some(&bench.database)).await?;
    accept_of(bench, "accept", program).await?;
    bench.purge("events").await?;
    let queue = plain::queue(bench).await?;
    let program = plain::start_receiver(bench, &queue).await?;
    accept_of(bench, "plain.accept", program).await?;
    bench.purge("bare").await
}

/// Accepted per second over the usual connections, and what it costs.
pub async fn accept_of(bench: &mut Bench, name: &str, program: Program) -> anyhow::Result<()> {
    accept_over(bench, name, program, CONNECTIONS).await
}

/// The same over so many connections.
pub async fn accept_over(
    bench: &mut Bench,
    name: &str,
    program: Program,
    connections: usize,
) -> anyhow::Result<()> {
    let load = |lasts| {
        let pace = Pace::Closed { lasts };
        Load {
            connections,
            ..bench.load(&program, PATH, pace, Keep::Nothing)
        }
    };
    load(WARM_UP).run().await?;
    let (usage, broker) = (program.watch(), bench.place.broker_time());
    let tally = load(bench.scale.short).run().await?;
    let broker = micros_each(broker, bench.place.broker_time(), tally.accepted);
    bench.figures.add(format!("{name}.broker_us"), broker);
    bench.figures.add(format!("{name}.rate"), tally.rate());
    bench
        .figures
        .add(format!("{name}.refused"), tally.refused as f64);
    bench.figures.add(
        format!("{name}.processor_us"),
        usage.samples().micros_each(tally.accepted),
    );
    bench
        .figures
        .add(format!("{name}.answer_p99_ms"), tally.answer_ms(99.0));
    bench
        .figures
        .add(format!("{name}.memory_mb"), usage.samples().memory_peak());
    program.stop().await
}

/// Received to committed: the highest rate that holds, and what it costs; and that of the plain
/// way.
pub async fn sustained(bench: &mut Bench) -> anyhow::Result<()> {
    bench.database.settle().await?;
    let program = bench.place.start("serve", Some(&bench.database)).await?;
    let proof = bench.proof();
    let offered = held(bench, "sustained", &program, proof).await?;
    let figures = &mut bench.figures;
    figures.add("sustained.lag_p50_ms", offered.lag.ms(50.0));
    figures.add("sustained.memory_mb", offered.usage.memory_peak());
    // A short proof says nothing of age.
    if proof == bench.scale.sustained
        && let Some((processor, memory)) = offered.usage.last_third_over_first()
    {
        figures.add("age.processor_last_third_over_first", processor);
        figures.add("age.memory_last_third_over_first", memory);
    }
    program.stop().await?;

    bench.database.settle().await?;
    let program = plain::start(bench, &plain::queue(bench).await?).await?;
    rate_of(bench, "plain.sustained", &program).await?;
    program.stop().await
}

/// The highest rate that holds, spared the long proof, which can only lower it; and what it costs.
pub async fn rate_of(bench: &mut Bench, name: &str, program: &Program) -> anyhow::Result<()> {
    let proof = bench.scale.probe;
    held(bench, name, program, proof).await.map(drop)
}

async fn held(
    bench: &mut Bench,
    name: &str,
    program: &Program,
    proof: Duration,
) -> anyhow::Result<Offered> {
    bench.offer(program, 500.0, WARM_UP, Sight::Coarse).await?;
    let guess = bench.found.get("sustained").copied().unwrap_or(GUESS);
    let (rate, offered) = bench
        .highest(name, guess, proof, async |bench, rate, lasts| {
            bench.offer(program, rate, lasts, Sight::Coarse).await
        })
        .await?;
    let usage = offered.usage.micros_each(offered.tally.accepted);
    let figures = &mut bench.figures;
    figures.add(format!("{name}.rate"), rate);
    figures.add(format!("{name}.lag_p99_ms"), offered.lag.ms(99.0));
    figures.add(format!("{name}.broker_us"), offered.broker_us);
    figures.add(format!("{name}.postgresql_us"), offered.postgresql_us);
    figures.add(format!("{name}.processor_us"), usage);
    Ok(offered)
}

/// From due to committed and to answered at fixed rates; and the same the plain way.
pub async fn latency(bench: &mut Bench) -> anyhow::Result<()> {
    for rate in RATES {
        for name in bench.in_turn(vec!["latency", "plain.latency"]) {
            bench.database.settle().await?;
            let program = match name {
                "latency" => bench.place.start("serve", Some(&bench.database)).await?,
                _ => plain::start(bench, &plain::queue(bench).await?).await?,
            };
            latency_of(bench, name, rate, program).await?;
        }
    }
    Ok(())
}

pub async fn latency_of(
    bench: &mut Bench,
    name: &str,
    rate: u32,
    program: Program,
) -> anyhow::Result<()> {
    let name = format!("{name}.{rate}");
    bench
        .offer(&program, rate.into(), WARM_UP, Sight::Fine)
        .await?;
    let offered = bench
        .offer(&program, rate.into(), bench.scale.latency, Sight::Fine)
        .await?;
    let usage = offered.usage.micros_each(offered.tally.accepted);
    let (lag, answer) = (&offered.lag, &offered.tally);
    let figures = &mut bench.figures;
    figures.add(format!("{name}.commit_p50_ms"), lag.ms(50.0));
    figures.add(format!("{name}.commit_p99_ms"), lag.ms(99.0));
    figures.add(format!("{name}.answer_p50_ms"), answer.answer_ms(50.0));
    figures.add(format!("{name}.answer_p99_ms"), answer.answer_ms(99.0));
    figures.add(format!("{name}.processor_us"), usage);
    figures.add(format!("{name}.postgresql_us"), offered.postgresql_us);
    figures.add(format!("{name}.broker_us"), offered.broker_us);
    program.stop().await
}

/// A backlog, drained with nothing coming in; and the same where the table is large.
pub async fn drain(bench: &mut Bench) -> anyhow::Result<()> {
    bench.database.settle().await?;
    bench.database.forget_events().await?;
    let crowd = Arc::clone(&bench.crowd);
    let database = bench.database.clone();
    drain_of(bench, "drain", &database, &crowd, bench.scale.backlog).await?;
    bench.database.settle().await?;
    bench.database.forget_events().await?;
    drain_plain(bench).await
}

/// The same backlog, taken and written the plain way.
async fn drain_plain(bench: &mut Bench) -> anyhow::Result<()> {
    fill(bench, &bench.crowd, bench.scale.backlog).await?;
    let watch = Watch::start(&bench.database.options, Sight::Coarse);
    let queue = bench.place.queue("events");
    let program = plain::start(bench, &queue).await?;
    let usage = program.watch();
    let count = u64::from(bench.scale.backlog);
    let rate = bench.drained(watch, &bench.database, count).await?;
    bench.place.until_empty(&bench.broker.1, &queue).await?;
    bench.figures.add("plain.drain.rate", rate);
    bench.figures.add(
        "plain.drain.processor_us",
        usage.samples().micros_each(count),
    );
    program.stop().await
}

pub async fn drain_many(bench: &mut Bench) -> anyhow::Result<()> {
    let (database, crowd) = match bench.many.take() {
        Some(many) => many,
        None => make_many(bench).await?,
    };
    database.forget_events().await?;
    database.settle().await?;
    drain_of(bench, "many", &database, &crowd, bench.scale.backlog).await?;
    bench.many = Some((database, crowd));
    Ok(())
}

pub async fn drain_of(
    bench: &mut Bench,
    name: &str,
    database: &Database,
    crowd: &Crowd,
    count: u32,
) -> anyhow::Result<()> {
    // The queue is there once a program was.
    bench
        .place
        .start("receiver", Some(database))
        .await?
        .stop()
        .await?;
    fill(bench, crowd, count).await?;
    let count = u64::from(count);
    let watch = Watch::start(&database.options, Sight::Coarse);
    let program = bench.place.start("worker", Some(database)).await?;
    let (usage, broker) = (program.watch(), bench.place.broker_time());
    let rate = bench.drained(watch, database, count).await?;
    bench
        .place
        .until_empty(&bench.broker.1, &bench.place.queue("events"))
        .await?;
    let usage = usage.samples();
    let broker = micros_each(broker, bench.place.broker_time(), count);
    let server = database.processor_time().await?;
    program.stop().await?;
    bench.figures.add(format!("{name}.broker_us"), broker);
    bench.figures.add(format!("{name}.rate"), rate);
    let server = server.map(|time| time.as_micros() as f64 / count as f64);
    bench.figures.add(format!("{name}.postgresql_us"), server);
    let processor = usage.micros_each(count);
    bench.figures.add(format!("{name}.processor_us"), processor);
    bench
        .figures
        .add(format!("{name}.memory_mb"), usage.memory_peak());
    Ok(())
}

/// Puts so many events onto the queue.
async fn fill(bench: &Bench, crowd: &Crowd, count: u32) -> anyhow::Result<()> {
    let options = queue::rabbitmq::Options {
        address: bench.place.amqp_url.parse()?,
        namespace: bench.place.namespace(),
    };
    let queue = Queue::open(&queue::Options::RabbitMq(options)).await?;
    let publishes = (0..count).map(|_| queue.publish(crowd.signed()));
    let mut publishes = futures_util::stream::iter(publishes).buffer_unordered(PUBLISHED_AT_ONCE);
    while let Some(published) = publishes.next().await {
        published?;
    }
    queue.close().await;
    Ok(())
}

/// A database with a table of many users.
async fn make_many(bench: &Bench) -> anyhow::Result<(Database, Arc<Crowd>)> {
    let users = bench.scale.many_users;
    eprintln!("  making a table of {users} users");
    let database = bench.place.database("many").await?;
    fill_users_of(&database, users).await?;
    Ok((database, Arc::new(Crowd::of(users, bench.run))))
}

/// Every user of the crowd has a row from the beginning on.
pub async fn fill_users(bench: &Bench) -> anyhow::Result<()> {
    fill_users_of(&bench.database, bench.scale.users).await
}

async fn fill_users_of(database: &Database, users: u32) -> anyhow::Result<()> {
    // In parts, so that they are never all in memory.
    for from in (0..users).step_by(50_000) {
        let seeds: Vec<u64> = (from..users.min(from + 50_000)).map(u64::from).collect();
        let batches = seeds.chunks(500).map(|part| {
            Batch::of(
                &part
                    .iter()
                    .map(|seed| Crowd::first_of(*seed))
                    .collect::<Vec<_>>(),
            )
        });
        bare::upsert(database, batches.collect()).await?;
    }
    Ok(())
}

/// Memory: idle, and under full load over a backlog.
pub async fn memory(bench: &mut Bench) -> anyhow::Result<()> {
    let program = bench.place.start("serve", Some(&bench.database)).await?;
    tokio::time::sleep(IDLE).await;
    bench
        .figures
        .add("memory.idle_mb", program.watch().samples().memory_last());
    program.stop().await?;

    bench.database.forget_events().await?;
    let crowd = Arc::clone(&bench.crowd);
    fill(bench, &crowd, bench.scale.backlog).await?;
    let program = bench.place.start("serve", Some(&bench.database)).await?;
    let usage = program.watch();
    let pace = Pace::Closed {
        lasts: bench.scale.short,
    };
    let tally = bench
        .load(&program, PATH, pace, Keep::Nothing)
        .run()
        .await?;
    bench
        .recorded(
            &bench.database,
            tally.accepted + u64::from(bench.scale.backlog),
        )
        .await?;
    let samples = usage.samples();
    bench.figures.add("memory.loaded_mb", samples.memory_peak());
    program.stop().await
}

/// From the start of the process to ready, with servers up and the schema current; and the size of
/// the program.
pub async fn start(bench: &mut Bench) -> anyhow::Result<()> {
    for _ in 0..STARTS {
        let program = Program::start(bench.place.command("serve", Some(&bench.database))?)?;
        let took = program.ready("/readyz").await?;
        bench
            .figures
            .add("start.ready_ms", took.as_secs_f64() * 1000.0);
        program.stop().await?;
    }
    let size = std::fs::metadata(crate::place::program())?.len();
    bench.figures.add("program.size_mb", size as f64 / 1e6);
    Ok(())
}
