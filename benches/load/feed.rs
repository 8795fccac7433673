//! What the change feed costs: the same work without it, with it, and with one application that
//! listens to the exchange, in one round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};

use crate::bench::Bench;
use crate::own;
use crate::place::{APPLICATION, Database, Place};

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

async fn feed_of(bench: &mut Bench, name: &str, database: &Database) -> anyhow::Result<()> {
    bench.database.settle().await?;
    let program = bench.place.start("serve", Some(database)).await?;
    own::rate_of(bench, name, &program).await?;
    let late = published(database).await?;
    let name_of_late = format!("{name}.published_after_ms");
    bench.figures.add(name_of_late, late);
    program.stop().await?;
    bench.database.forget_events().await?;
    bench.database.settle().await?;
    let crowd = Arc::clone(&bench.crowd);
    let (name, count) = (format!("{name}.drain"), bench.scale.backlog_compared);
    own::drain_of(bench, &name, database, &crowd, count).await
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
