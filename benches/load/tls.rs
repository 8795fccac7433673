//! The same work with TLS to RabbitMQ and PostgreSQL and without, turn and turn about: what
//! encrypted connections cost.
//!
//! RabbitMQ is a node of this run's own, with a certificate that is made for it; the rows without
//! TLS are of the same node. PostgreSQL is the one that runs. The load itself comes over HTTP, as
//! behind any proxy.

use std::sync::Arc;

use sqlx::postgres::PgSslMode;

use crate::bench::Bench;
use crate::own;
use crate::own_broker::{Certificate, OwnBroker, Settings, free_port};
use crate::place::{Database, Place};

/// One of the two ways.
#[derive(Clone)]
struct Side {
    name: &'static str,
    place: Place,
    database: Database,
}

pub async fn tls(bench: &mut Bench) -> anyhow::Result<()> {
    let has_tls: String = sqlx::query_scalar("show ssl")
        .fetch_one(&bench.database.pool)
        .await?;
    if has_tls != "on" {
        eprintln!("  left out: PostgreSQL has no TLS here (ssl = on, with a certificate)");
        return Ok(());
    }
    let directory = bench.place.directory.join("tls");
    let (broker, url) = match start(&directory).await {
        Ok(started) => started,
        Err(error) => {
            eprintln!("  left out: there is no RabbitMQ with TLS: {error:#}");
            return Ok(());
        }
    };
    let clear = bench.place.at(&broker);
    let sides = [
        Side {
            name: "clear",
            database: bench.database.over(PgSslMode::Disable),
            place: clear.clone(),
        },
        Side {
            name: "tls",
            database: bench.database.over(PgSslMode::Require),
            place: clear.over(url),
        },
    ];
    let before = bench.go_to(clear).await?;
    let latency = own::RATES.map(Step::Latency);
    for step in [Step::Accept, Step::Sustained, Step::Drain]
        .into_iter()
        .chain(latency)
    {
        for side in bench.in_turn(sides.to_vec()) {
            bench.place = side.place.clone();
            measure(bench, step, &side).await?;
        }
    }
    bench.go_back(before).await;
    bench.database.forget_queue().await
}

/// The node, and its URL for a client with TLS.
async fn start(directory: &std::path::Path) -> anyhow::Result<(OwnBroker, String)> {
    let made = Certificate::make(directory)?;
    let (certificate, key) = (made.certificate.display(), made.key.display());
    let port = free_port()?;
    let settings = Settings {
        configuration: format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {certificate}\nssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\nssl_options.verify = verify_none\n"
        ),
        ..Settings::default()
    };
    let broker = OwnBroker::start(directory.to_owned(), &settings).await?;
    let url = format!("amqps://guest:guest@127.0.0.1:{port}/%2f?cacertfile={certificate}");
    Ok((broker, url))
}

#[derive(Clone, Copy)]
enum Step {
    Accept,
    Sustained,
    Drain,
    /// At so many events per second.
    Latency(u32),
}

async fn measure(bench: &mut Bench, step: Step, side: &Side) -> anyhow::Result<()> {
    let name = |part: &str| format!("{}.{part}", side.name);
    bench.database.forget_events().await?;
    bench.database.forget_queue().await?;
    bench.database.settle().await?;
    let (place, database) = (&side.place, Some(&side.database));
    match step {
        Step::Accept => {
            let program = place.start("receiver", database).await?;
            own::accept_of(bench, &name("accept"), program).await?;
            bench.purge("events").await
        }
        Step::Sustained => {
            let program = place.start("serve", database).await?;
            own::rate_of(bench, &name("sustained"), &program).await?;
            program.stop().await
        }
        Step::Drain => {
            let crowd = Arc::clone(&bench.crowd);
            let count = bench.scale.backlog_compared;
            own::drain_of(bench, &name("drain"), &side.database, &crowd, count).await
        }
        Step::Latency(rate) => {
            let program = place.start("serve", database).await?;
            own::latency_of(bench, &name("latency"), rate, program).await
        }
    }
}
