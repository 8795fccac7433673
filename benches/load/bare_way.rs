//! A plain way, as a comparison: from HTTP through the broker into the database with actix-web, lapin and sqlx alone.
//!
//! It tells the machine from the program: what it takes is not clerk-sync's doing. Confirmed publishes to a queue of the same
//! kind, the statement of `limit.upsert_*`, a batch is whatever waits. It verifies no signature, keeps aside nothing that
//! fails, and one bad event or one outage ends it.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context;
use clerk_sync::clerk::{EventId, EventType, SignedEvent};
use clerk_sync::clock::now;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::bare::Batch;
use crate::bench::Bench;
use crate::program::Program;

/// Most events in a write, and how many the broker sends ahead: those of the worker.
const BATCH_MAX: usize = 500;
const PREFETCH: u16 = 1000;

/// Starts it as a process of its own; it finds its servers as the Node peer does. Each writer has a consumer and a
/// connection to the database: one gives the larger batches, two use both cores, and with none
/// it is a receiver.
pub async fn start(bench: &Bench, queue: &str, writers: u16) -> anyhow::Result<Program> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg("--serve-way").arg(writers.to_string()).env("QUEUE", queue);
    command.env("DATABASE_URL", bench.database.url()).env("AMQP_URL", &bench.place.amqp_url);
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

/// Serves until it is killed.
pub async fn serve(writers: u16) -> anyhow::Result<()> {
    let variable = |name| std::env::var(name).context(name);
    let queue = variable("QUEUE")?;
    let connection = Connection::connect(&variable("AMQP_URL")?, ConnectionProperties::default()).await?;
    let database: PgConnectOptions = variable("DATABASE_URL")?.parse()?;
    // One plan for every size of a batch, and no question before each write whether the connection lives.
    let database = database.options([("plan_cache_mode", "force_generic_plan")]);
    let pool = PgPoolOptions::new()
        .max_connections(writers.max(1).into())
        .test_before_acquire(false)
        .connect_with(database)
        .await?;

    let threads = std::thread::available_parallelism()?.get();
    let mut channels = Vec::new();
    for _ in 0..threads {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions { nowait: false }).await?;
        channels.push(channel);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    eprintln!("{}", serde_json::json!({"address": listener.local_addr()?.to_string()}));
    let channels = Arc::new(Mutex::new(channels));
    let to = queue.clone();
    let server = HttpServer::new(move || {
        let channel = channels.lock().unwrap_or_else(PoisonError::into_inner).pop().expect("there is one a thread");
        App::new()
            .app_data(web::Data::new((tokio::sync::Mutex::new(channel), to.clone())))
            .route("/", web::get().to(HttpResponse::Ok))
            .default_service(web::to(take))
    });
    let mut writing = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let channel = connection.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions { global: false }).await?;
        let options = BasicConsumeOptions { no_local: false, no_ack: false, exclusive: false, nowait: false };
        let consumer = channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await?;
        writing.spawn(write(consumer, pool.clone()));
    }
    tokio::select! {
        served = server.workers(threads).listen(listener)?.run() => Ok(served?),
        Some(written) = writing.join_next() => written?,
    }
}

/// Answers once the event is confirmed.
async fn take(
    request: HttpRequest,
    body: web::Bytes,
    to: web::Data<(tokio::sync::Mutex<Channel>, String)>,
) -> HttpResponse {
    let id = request.headers().get("svix-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(id.into());
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let (channel, queue) = &**to;
    // Publishes that are begun at once on one channel get each other's confirms in lapin; waiting for them side by side is fine.
    let channel = channel.lock().await;
    #[expect(clippy::disallowed_methods, reason = "the limit is measured without our publisher")]
    let begun = channel.basic_publish("".into(), queue.as_str().into(), options, &body, properties).await;
    drop(channel);
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
async fn write(mut deliveries: Consumer, pool: PgPool) -> anyhow::Result<()> {
    while let Some(first) = deliveries.next().await {
        let mut batch = vec![first?];
        while batch.len() < BATCH_MAX
            && let Some(Some(next)) = deliveries.next().now_or_never()
        {
            batch.push(next?);
        }
        let last = batch.last().map(|delivery| delivery.acker.clone()).context("a batch has one event or more")?;
        let events: Vec<_> = batch.into_iter().map(restore).collect::<anyhow::Result<_>>()?;
        Batch::of(&events).write(&pool).await?;
        last.ack(BasicAckOptions { multiple: true }).await?;
    }
    Ok(())
}

fn restore(delivery: Delivery) -> anyhow::Result<SignedEvent> {
    let id = delivery.properties.message_id().as_ref().and_then(|id| EventId::new(id.as_str()));
    let id = id.context("an event without its ID")?;
    Ok(SignedEvent::restored(id, EventType::UserUpdated, now(), now(), delivery.data.into()))
}
