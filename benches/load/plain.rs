//! A plain way, as a comparison: from HTTP through the broker into the database with actix-web,
//! lapin and sqlx alone.
//!
//! It separates the cost of the machine from that of clerk-sync. Confirmed
//! publishes to a queue of the same kind, the statement of `limit.upsert_*`, a batch is whatever
//! waits. It verifies no signature, keeps aside nothing that fails, and one bad event or one outage
//! ends it.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context;
use clerk_sync::clerk::{EventId, EventType, SignedEvent};
use clerk_sync::clock::now;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection as _};

use crate::bare::Batch;
use crate::bench::Bench;
use crate::program::Program;

/// Most events in a write, and how many the broker sends ahead: those of the worker.
const BATCH_MAX: usize = 500;
const PREFETCH: u16 = 1000;

/// Channels for publishing of each HTTP thread: as many as clerk-sync has.
const CHANNELS: usize = 2;

/// As many writes in flight as clerk-sync has.
const WRITERS: u16 = 2;

/// Starts it as a process of its own; it finds its servers as the Node peer does.
pub async fn start(bench: &Bench, queue: &str) -> anyhow::Result<Program> {
    start_with(bench, queue, WRITERS).await
}

/// Without writers it is a receiver.
pub async fn start_receiver(bench: &Bench, queue: &str) -> anyhow::Result<Program> {
    start_with(bench, queue, 0).await
}

async fn start_with(bench: &Bench, queue: &str, writers: u16) -> anyhow::Result<Program> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command
        .arg("--serve-plain")
        .arg(writers.to_string())
        .env("QUEUE", queue);
    command
        .env("DATABASE_URL", bench.database.url())
        .env("AMQP_URL", &bench.place.amqp_url);
    let program = Program::start(command)?;
    program.ready("/").await?;
    Ok(program)
}

/// A queue of its own, empty.
pub async fn queue(bench: &Bench) -> anyhow::Result<String> {
    let queue = bench.place.queue("bare");
    bench.place.declare(&bench.broker.1, &queue).await?;
    bench.place.purge(&bench.broker.1, &queue).await?;
    Ok(queue)
}

/// Where an HTTP thread publishes.
struct Outlet {
    channels: Vec<Channel>,
    published: Cell<usize>,
    queue: String,
}

/// Serves until it is killed.
pub async fn serve(writers: u16) -> anyhow::Result<()> {
    let variable = |name| std::env::var(name).context(name);
    let queue = variable("QUEUE")?;
    let connection =
        Connection::connect(&variable("AMQP_URL")?, ConnectionProperties::default()).await?;
    let threads = std::thread::available_parallelism()?.get();
    let mut outlets = Vec::new();
    for _ in 0..threads {
        let mut channels = Vec::new();
        for _ in 0..CHANNELS {
            let channel = connection.create_channel().await?;
            channel
                .confirm_select(ConfirmSelectOptions { nowait: false })
                .await?;
            channels.push(channel);
        }
        outlets.push((channels, queue.clone()));
    }
    let outlets = Arc::new(Mutex::new(outlets));
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    eprintln!(
        "{}",
        serde_json::json!({"address": listener.local_addr()?.to_string()})
    );
    let server = HttpServer::new(move || {
        let outlet = outlets.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (channels, queue) = outlet.expect("there is one for each thread");
        App::new()
            .app_data(web::Data::new(Outlet {
                channels,
                published: Cell::new(0),
                queue,
            }))
            .route("/", web::get().to(HttpResponse::Ok))
            .default_service(web::to(take))
    });

    let database: PgConnectOptions = variable("DATABASE_URL")?.parse()?;
    // One plan for every size of a batch, as clerk-sync has; the server's processor time is
    // measured by the name.
    let database = database
        .options([("plan_cache_mode", "force_generic_plan")])
        .application_name("clerk-sync");
    let mut writing = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions { global: false })
            .await?;
        let options = BasicConsumeOptions {
            no_local: false,
            no_ack: false,
            exclusive: false,
            nowait: false,
        };
        let consumer = channel
            .basic_consume(
                queue.as_str().into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await?;
        writing.spawn(write(consumer, database.connect().await?));
    }
    tokio::select! {
        served = server.workers(threads).listen(listener)?.run() => Ok(served?),
        Some(written) = writing.join_next() => written?,
    }
}

/// Answers once the event is confirmed.
async fn take(request: HttpRequest, body: web::Bytes, outlet: web::Data<Outlet>) -> HttpResponse {
    let id = request
        .headers()
        .get("svix-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(id.into());
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let turn = outlet.published.get();
    outlet.published.set(turn.wrapping_add(1));
    let channel = &outlet.channels[turn % CHANNELS];
    // lapin numbers a publish at its first poll and this thread alone has the channel, so none gets
    // another's confirm.
    #[expect(
        clippy::disallowed_methods,
        reason = "a comparison is measured without our publisher"
    )]
    let begun = channel
        .basic_publish(
            "".into(),
            outlet.queue.as_str().into(),
            options,
            &body,
            properties,
        )
        .await;
    let confirmed = match begun {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    if confirmed.is_ok_and(|confirmation| confirmation.is_ack()) {
        HttpResponse::Ok().json(serde_json::json!({"status": "queued"}))
    } else {
        HttpResponse::new(StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// Writes what waits, batch after batch, and acknowledges it.
async fn write(mut deliveries: Consumer, mut database: PgConnection) -> anyhow::Result<()> {
    while let Some(first) = deliveries.next().await {
        let mut batch = vec![first?];
        while batch.len() < BATCH_MAX
            && let Some(Some(next)) = deliveries.next().now_or_never()
        {
            batch.push(next?);
        }
        let last = batch
            .last()
            .map(|delivery| delivery.acker.clone())
            .context("a batch has one event or more")?;
        let events: Vec<_> = batch
            .into_iter()
            .map(restore)
            .collect::<anyhow::Result<_>>()?;
        Batch::of(&events).write(&mut database).await?;
        last.ack(BasicAckOptions { multiple: true }).await?;
    }
    Ok(database.close().await?)
}

fn restore(delivery: Delivery) -> anyhow::Result<SignedEvent> {
    let id = delivery
        .properties
        .message_id()
        .as_ref()
        .and_then(|id| EventId::new(id.as_str()));
    let id = id.context("an event without its ID")?;
    Ok(SignedEvent::restored(
        id,
        EventType::named("user.updated"),
        now(),
        now(),
        delivery.data.into(),
    ))
}
