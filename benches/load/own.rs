//! The parts that need RabbitMQ and PostgreSQL: clerk-sync as it was built for release, with its
//! defaults, beside the limits and the plain way.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use clerk_sync::queue::{self, Queue};
use futures_util::StreamExt;

use crate::bare::{self, Batch};
use crate::bench::{Bench, CONNECTIONS, micros_each};
use crate::commits::{Sight, Watch};
use crate::crowd::Crowd;
use crate::place::Database;
use crate::plain;
use crate::program::Program;
use crate::traffic::{Keep, Pace};

pub const PATH: &str = "/api/webhooks/clerk";

/// How long a program is left alone before its idle memory is taken.
const IDLE: Duration = Duration::from_secs(3);

/// Before anything is counted: connections, prepared statements, caches.
const WARM_UP: Duration = Duration::from_secs(2);

/// Starts of the program in each round.
const STARTS: u32 = 5;

/// Events that are put onto the queue at once.
const PUBLISHED_AT_ONCE: usize = 256;

/// Most writes by which the database's limit is measured: those of one event take a while.
const WRITES_MAX: usize = 2000;

/// Events accepted per second, verified and confirmed, without a consumer; and the plain way.
pub async fn accept(bench: &mut Bench) -> anyhow::Result<()> {
    let program = bench.place.start("receiver", Some(&bench.database)).await?;
    let queue = bench.place.queue("events");
    accept_of(bench, "accept", program, &queue).await?;
    let queue = plain::queue(bench).await?;
    let program = plain::start_receiver(bench, &queue).await?;
    accept_of(bench, "plain.accept", program, &queue).await
}

async fn accept_of(
    bench: &mut Bench,
    name: &str,
    program: Program,
    queue: &str,
) -> anyhow::Result<()> {
    let pace = |lasts| Pace::Closed { lasts };
    bench
        .load(&program, PATH, pace(WARM_UP), Keep::Nothing)
        .run()
        .await?;
    let (usage, broker) = (program.watch(), bench.place.broker_time());
    let tally = bench
        .load(&program, PATH, pace(bench.scale.short), Keep::Nothing)
        .run()
        .await?;
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
    program.stop().await?;
    bench.place.purge(&bench.broker.1, queue).await
}

/// Received to committed: the highest rate that holds, and what it costs; and that of the plain
/// way.
pub async fn sustained(bench: &mut Bench) -> anyhow::Result<()> {
    bench.database.settle().await?;
    let program = bench.place.start("serve", Some(&bench.database)).await?;
    bench.offer(&program, 500.0, WARM_UP, Sight::Coarse).await?;
    let (rate, offered) = bench
        .highest("sustained", 6000.0, async |bench, rate, lasts| {
            bench.offer(&program, rate, lasts, Sight::Coarse).await
        })
        .await?;
    let figures = &mut bench.figures;
    figures.add("sustained.rate", rate);
    figures.add("sustained.lag_p50_ms", offered.lag.ms(50.0));
    figures.add("sustained.lag_p99_ms", offered.lag.ms(99.0));
    figures.add("sustained.broker_us", offered.broker_us);
    figures.add("sustained.postgresql_us", offered.postgresql_us);
    figures.add(
        "sustained.processor_us",
        offered.usage.micros_each(offered.tally.accepted),
    );
    figures.add("sustained.memory_mb", offered.usage.memory_peak());
    if let Some((processor, memory)) = offered.usage.last_third_over_first() {
        figures.add("age.processor_last_third_over_first", processor);
        figures.add("age.memory_last_third_over_first", memory);
    }
    program.stop().await?;

    bench.database.settle().await?;
    let program = plain::start(bench, &plain::queue(bench).await?).await?;
    bench.offer(&program, 500.0, WARM_UP, Sight::Coarse).await?;
    let (rate, offered) = bench
        .highest("plain", 6000.0, async |bench, rate, lasts| {
            // It is spared the long proof: that can only lower its rate.
            bench
                .offer(&program, rate, lasts.min(bench.scale.probe), Sight::Coarse)
                .await
        })
        .await?;
    bench.figures.add("plain.sustained.rate", rate);
    bench
        .figures
        .add("plain.sustained.lag_p99_ms", offered.lag.ms(99.0));
    bench
        .figures
        .add("plain.sustained.broker_us", offered.broker_us);
    bench
        .figures
        .add("plain.sustained.postgresql_us", offered.postgresql_us);
    bench.figures.add(
        "plain.sustained.processor_us",
        offered.usage.micros_each(offered.tally.accepted),
    );
    program.stop().await
}

/// Events a second.
const RATES: [u32; 3] = [200, 1000, 3000];

/// From due to committed and to answered at these rates; and the same the plain way.
pub async fn latency(bench: &mut Bench) -> anyhow::Result<()> {
    bench.database.settle().await?;
    let program = bench.place.start("serve", Some(&bench.database)).await?;
    latency_of(bench, "latency", program).await?;
    bench.database.settle().await?;
    let program = plain::start(bench, &plain::queue(bench).await?).await?;
    latency_of(bench, "plain.latency", program).await
}

async fn latency_of(bench: &mut Bench, name: &str, program: Program) -> anyhow::Result<()> {
    for rate in RATES {
        bench
            .offer(&program, rate.into(), WARM_UP, Sight::Fine)
            .await?;
        let offered = bench
            .offer(&program, rate.into(), bench.scale.latency, Sight::Fine)
            .await?;
        let figures = &mut bench.figures;
        figures.add(format!("{name}.{rate}.commit_p50_ms"), offered.lag.ms(50.0));
        figures.add(format!("{name}.{rate}.commit_p99_ms"), offered.lag.ms(99.0));
        figures.add(
            format!("{name}.{rate}.answer_p50_ms"),
            offered.tally.answer_ms(50.0),
        );
        figures.add(
            format!("{name}.{rate}.answer_p99_ms"),
            offered.tally.answer_ms(99.0),
        );
        figures.add(
            format!("{name}.{rate}.processor_us"),
            offered.usage.micros_each(offered.tally.accepted),
        );
        figures.add(
            format!("{name}.{rate}.postgresql_us"),
            offered.postgresql_us,
        );
        figures.add(format!("{name}.{rate}.broker_us"), offered.broker_us);
    }
    program.stop().await
}

/// A backlog, drained with nothing coming in; and the same where the table is large.
pub async fn drain(bench: &mut Bench) -> anyhow::Result<()> {
    bench.database.settle().await?;
    bench.database.forget_events().await?;
    let crowd = Arc::clone(&bench.crowd);
    drain_of(bench, "drain", None, &crowd).await?;
    bench.database.settle().await?;
    bench.database.forget_events().await?;
    drain_plain(bench).await
}

/// The same backlog, taken and written the plain way.
async fn drain_plain(bench: &mut Bench) -> anyhow::Result<()> {
    fill(bench, &bench.crowd).await?;
    let watch = Watch::start(&bench.database.options, Sight::Coarse);
    let queue = bench.place.queue("events");
    let program = plain::start(bench, &queue).await?;
    let usage = program.watch();
    let count = u64::from(bench.scale.backlog);
    let (rate, _) = bench.drained(watch, &bench.database, count).await?;
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
    drain_of(bench, "many", Some(&database), &crowd).await?;
    bench.many = Some((database, crowd));
    Ok(())
}

pub async fn drain_of(
    bench: &mut Bench,
    name: &str,
    many: Option<&Database>,
    crowd: &Crowd,
) -> anyhow::Result<()> {
    let database = many.unwrap_or(&bench.database);
    // The queue is there once a program was.
    bench
        .place
        .start("receiver", Some(database))
        .await?
        .stop()
        .await?;
    fill(bench, crowd).await?;
    let watch = Watch::start(&database.options, Sight::Coarse);
    let program = bench.place.start("worker", Some(database)).await?;
    let (usage, broker) = (program.watch(), bench.place.broker_time());
    let count = bench.scale.backlog;
    let (rate, _) = bench.drained(watch, database, count.into()).await?;
    bench
        .place
        .until_empty(&bench.broker.1, &bench.place.queue("events"))
        .await?;
    let usage = usage.samples();
    let broker = micros_each(broker, bench.place.broker_time(), count.into());
    let server = database.processor_time().await?;
    program.stop().await?;
    bench.figures.add(format!("{name}.broker_us"), broker);
    bench.figures.add(format!("{name}.rate"), rate);
    let server = server.map(|time| time.as_micros() as f64 / f64::from(count));
    bench.figures.add(format!("{name}.postgresql_us"), server);
    bench.figures.add(
        format!("{name}.processor_us"),
        usage.micros_each(count.into()),
    );
    bench
        .figures
        .add(format!("{name}.memory_mb"), usage.memory_peak());
    Ok(())
}

/// Puts a backlog onto the queue.
async fn fill(bench: &Bench, crowd: &Crowd) -> anyhow::Result<()> {
    let options = queue::rabbitmq::Options {
        address: bench.place.amqp_url.parse()?,
        namespace: bench.place.namespace(),
    };
    let queue = Queue::open(&queue::Options::RabbitMq(options)).await?;
    let publishes = (0..bench.scale.backlog).map(|_| queue.publish(crowd.signed()));
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
    fill(bench, &crowd).await?;
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

/// The limits of this machine.
pub async fn limits(bench: &mut Bench) -> anyhow::Result<()> {
    let Bench {
        place,
        crowd,
        scale,
        ..
    } = bench;
    let one = bare::publish(place, crowd, scale.short, CONNECTIONS, 1).await?;
    let four = bare::publish(place, crowd, scale.short, CONNECTIONS, 4).await?;
    let alone = bare::publish(place, crowd, scale.short, 1, 1).await?;
    bench.figures.add("limit.publish_1_ms", 1000.0 / alone);
    bench.figures.add("limit.publish_64", one);
    bench.figures.add("limit.publish_4x64", four);
    for size in [1_usize, 200, 500] {
        bench.database.forget_events().await?;
        bench.database.settle().await?;
        let size = NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN);
        let count = (bench.scale.backlog as usize / size).min(WRITES_MAX);
        let batches = (0..count).map(|_| {
            let events: Vec<_> = (0..size.get()).map(|_| bench.crowd.signed()).collect();
            Batch::of(&events)
        });
        let rate = bare::upsert(&bench.database, batches.collect()).await?;
        match size.get() {
            // Over two connections, each with one write at a time.
            1 => bench.figures.add("limit.upsert_1_ms", 2000.0 / rate),
            size => bench.figures.add(format!("limit.upsert_{size}"), rate),
        }
    }
    for (name, verifies) in [("limit.http", "plain"), ("limit.http_verify", "verify")] {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["--serve-http", verifies]);
        let program = Program::start(command)?;
        program.ready("/").await?;
        let pace = Pace::Closed {
            lasts: bench.scale.short,
        };
        let tally = bench
            .load(&program, PATH, pace, Keep::Nothing)
            .run()
            .await?;
        bench.figures.add(name, tally.rate());
    }
    Ok(())
}
