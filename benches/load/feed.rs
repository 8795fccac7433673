//! What the change feed costs: the same work without it, with it, and with one application that
//! listens to the exchange, in one round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};

use crate::bench::Bench;
use crate::commits::Sight;
use crate::own;
use crate::place::{APPLICATION, Database, Place};

const WARM_UP: Duration = Duration::from_secs(2);

/// Where a search for the highest rate begins.
const GUESS: f64 = 6000.0;

/// Longest wait until every change is published.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(60);

/// The highest rate that holds, and a backlog drained.
pub async fn feed(bench: &mut Bench) -> anyhow::Result<()> {
    let (off, on) = (bench.database.clone(), bench.database.with_change_feed());
    feed_of(bench, "feed.off", &off).await?;
    feed_of(bench, "feed.on", &on).await?;
    bind(&bench.place, &bench.broker.1).await?;
    feed_of(bench, "feed.bound", &on).await?;
    let queue = bench.place.queue(APPLICATION);
    bench.place.delete_queue(&bench.broker.1, &queue).await
}

async fn feed_of(bench: &mut Bench, name: &'static str, database: &Database) -> anyhow::Result<()> {
    bench.database.settle().await?;
    let program = bench.place.start("serve", Some(database)).await?;
    bench.offer(&program, 500.0, WARM_UP, Sight::Coarse).await?;
    let (rate, offered) = bench
        .highest(name, GUESS, async |bench, rate, lasts| {
            // It is spared the long proof, as the others beside it.
            let lasts = lasts.min(bench.scale.probe);
            bench.offer(&program, rate, lasts, Sight::Coarse).await
        })
        .await?;
    let late = published(database).await?;
    let usage = offered.usage.micros_each(offered.tally.accepted);
    let figures = &mut bench.figures;
    figures.add(format!("{name}.rate"), rate);
    figures.add(format!("{name}.lag_p99_ms"), offered.lag.ms(99.0));
    figures.add(format!("{name}.processor_us"), usage);
    figures.add(format!("{name}.broker_us"), offered.broker_us);
    figures.add(format!("{name}.postgresql_us"), offered.postgresql_us);
    figures.add(format!("{name}.published_after_ms"), late);
    program.stop().await?;
    bench.database.forget_events().await?;
    bench.database.settle().await?;
    let crowd = Arc::clone(&bench.crowd);
    own::drain_of(bench, &format!("{name}.drain"), Some(database), &crowd).await
}

/// How long the publishing of the last change takes, in milliseconds. `None` without the feed.
async fn published(database: &Database) -> anyhow::Result<Option<f64>> {
    if !database.change_feed {
        return Ok(None);
    }
    let began = Instant::now();
    let waits = "select exists (select 1 from clerk.changes where id > (select (value #>> '{}')::bigint from clerk.settings where name = 'changes_published'))";
    while sqlx::query_scalar::<_, bool>(waits)
        .fetch_one(&database.pool)
        .await?
    {
        if began.elapsed() > PUBLISH_TIMEOUT {
            bail!("the changes are not published");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(Some(began.elapsed().as_secs_f64() * 1000.0))
}

/// The durable queue of an application that takes nothing, bound for every change.
async fn bind(place: &Place, channel: &Channel) -> anyhow::Result<()> {
    let (exchange, queue) = (place.queue("changes"), place.queue(APPLICATION));
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declare = channel.exchange_declare(
        exchange.as_str().into(),
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    declare.await?;
    place.declare(channel, &queue).await?;
    let options = QueueBindOptions { nowait: false };
    let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
    let bind = channel.queue_bind(queue, exchange, "#".into(), options, FieldTable::default());
    Ok(bind.await?)
}
