//! The limits: what the broker, the database and HTTP can do here by themselves, with as little
//! around them as can be.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context;
use chrono::{DateTime, Utc};
use clerk_sync::clerk::tables::users::TABLE;
use clerk_sync::clerk::{
    Column, Delivery, Event, Kind, SignedEvent, SigningSecret, Timestamp, Value, Verifier,
};
use clerk_sync::clock::now;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, PublisherConfirm};
use secrecy::SecretString;
use serde_json::value::RawValue;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::bench::CONNECTIONS;
use crate::crowd::{Crowd, SECRET};
use crate::place::{Database, Place};
use crate::traffic::micros;

/// Publishes with lapin alone, `CONNECTIONS` events in flight on each of so many channels of one
/// connection; how many events were confirmed, and how long it took.
pub async fn publish(
    place: &Place,
    crowd: &Arc<Crowd>,
    lasts: Duration,
    channels: usize,
) -> anyhow::Result<(u64, Duration)> {
    let (connection, channel) = place.broker().await?;
    let queue = place.queue("bare");
    place.declare(&channel, &queue).await?;
    place.purge(&channel, &queue).await?;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..channels {
        let channel = connection.create_channel().await?;
        let outlet = Outlet::on(channel, queue.clone()).await?;
        let crowd = Arc::clone(crowd);
        tasks.push(tokio::spawn(outlet.publish(crowd, start + lasts)));
    }
    let mut confirmed = 0;
    for task in tasks {
        confirmed += task.await??;
    }
    let took = start.elapsed();
    place.purge(&channel, &queue).await?;
    connection.close(200, "done".into()).await?;
    Ok((confirmed, took))
}

/// How long a publish takes until it is confirmed, with no other in flight: the middle, in
/// milliseconds.
pub async fn publish_alone(place: &Place, crowd: &Crowd, lasts: Duration) -> anyhow::Result<f64> {
    let (connection, channel) = place.broker().await?;
    let queue = place.queue("bare");
    place.declare(&channel, &queue).await?;
    let outlet = Outlet::on(connection.create_channel().await?, queue.clone()).await?;
    let (start, mut took, mut body) = (Instant::now(), micros(), Vec::new());
    while start.elapsed() < lasts {
        let next = crowd.next(false, now(), &mut body);
        let begun = Instant::now();
        let confirmation = outlet.begin(next.id.as_str(), &body).await?.await?;
        anyhow::ensure!(confirmation.is_ack(), "a publish is not confirmed");
        took.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
    }
    place.purge(&channel, &queue).await?;
    connection.close(200, "done".into()).await?;
    Ok(middle_ms(&took))
}

fn middle_ms(took: &Histogram<u64>) -> f64 {
    took.value_at_quantile(0.5) as f64 / 1000.0
}

/// A channel that confirms, and the queue to which it publishes. One task has it: several would get
/// each other's confirms.
struct Outlet {
    channel: Channel,
    queue: String,
}

impl Outlet {
    async fn on(channel: Channel, queue: String) -> anyhow::Result<Self> {
        channel
            .confirm_select(ConfirmSelectOptions { nowait: false })
            .await?;
        Ok(Self { channel, queue })
    }

    async fn begin(&self, id: &str, body: &[u8]) -> Result<PublisherConfirm, lapin::Error> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(id.into());
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the limit is measured without our publisher"
        )]
        self.channel
            .basic_publish(
                "".into(),
                self.queue.as_str().into(),
                options,
                body,
                properties,
            )
            .await
    }

    /// How many events were confirmed.
    async fn publish(self, crowd: Arc<Crowd>, end: Instant) -> anyhow::Result<u64> {
        let (mut confirms, mut confirmed) = (FuturesUnordered::new(), 0);
        let mut body = Vec::new();
        while Instant::now() < end {
            while confirms.len() >= CONNECTIONS {
                let confirmation = confirms.next().await.context("none in flight")?;
                let confirmation: Result<lapin::Confirmation, lapin::Error> = confirmation;
                confirmed += u64::from(confirmation?.is_ack());
            }
            let next = crowd.next(false, now(), &mut body);
            confirms.push(self.begin(next.id.as_str(), &body).await?);
        }
        while let Some(confirmation) = confirms.next().await {
            confirmed += u64::from(confirmation?.is_ack());
        }
        Ok(confirmed)
    }
}

/// Events that were read and put together already, so that only the database is measured.
pub struct Batch {
    /// What the newest event of each user says, and its ID.
    pub users: Vec<(Event, String)>,
    /// ID, user and time of every event.
    pub events: Vec<(String, String, DateTime<Utc>)>,
}

impl Batch {
    /// `events` as one write: the newest event of each user, sorted, since one statement cannot
    /// touch a row twice and two must not wait for each other in a circle.
    pub fn of(events: &[SignedEvent]) -> Self {
        let mut newest = std::collections::BTreeMap::new();
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let read = event.parse().expect("a made-up event can be read");
            let (id, user) = (
                event.id().as_str().to_owned(),
                read.change.clerk_id.as_str().to_owned(),
            );
            lines.push((id.clone(), user.clone(), utc(read.occurred_at)));
            newest.insert(user, (read, id));
        }
        Self {
            users: newest.into_values().collect(),
            events: lines,
        }
    }

    pub async fn write(&self, database: &mut PgConnection) -> anyhow::Result<()> {
        let users = &self.users;
        let profiles = || {
            let changes = users.iter().map(|(read, _)| &read.change);
            changes.filter_map(|change| change.profile.as_ref())
        };
        let ids = users.iter().map(|(read, _)| read.change.clerk_id.as_str());
        let events = self.events.iter();
        let times: Vec<_> = events.clone().map(|(_, _, at)| *at).collect();
        let mut query = sqlx::query(AssertSqlSafe(UPSERT.as_str()))
            .bind(ids.collect::<Vec<_>>())
            .bind(all(profiles().map(|(version, _)| utc(version.updated_at))))
            .bind(all(profiles().map(|(_, profile)| json(&profile.data))))
            .bind(all(users.iter().map(|(_, id)| id.as_str())))
            .bind(all(users.iter().map(|(read, _)| utc(read.occurred_at))))
            .bind(all(events.clone().map(|(id, _, _)| id.as_str())))
            .bind(vec!["user.updated"; self.events.len()])
            .bind(all(events.map(|(_, user, _)| user.as_str())))
            .bind(times.clone())
            .bind(times);
        for (place, column) in TABLE.columns.iter().enumerate() {
            let values = profiles().map(|(_, profile)| &profile.values[place]);
            query = match column.kind {
                Kind::Text => query.bind(all(values.map(Value::as_text))),
                Kind::Boolean => query.bind(all(values.map(Value::as_bool))),
                Kind::Integer => query.bind(all(values.map(Value::as_integer))),
                Kind::Time => query.bind(all(values.map(|value| value.as_time().map(utc)))),
                Kind::Json | Kind::Texts => {
                    query.bind(all(values.map(|value| json(value.as_json()?))))
                }
            };
        }
        query.execute(database).await?;
        Ok(())
    }
}

/// The statement, for the columns of the table.
static UPSERT: LazyLock<String> = LazyLock::new(|| {
    const PARAMETERS_BEFORE_COLUMNS: usize = 10;
    let columns = || TABLE.columns.iter();
    let list = |items: Vec<String>| items.join(", ");
    let parameter = |(place, column): (usize, &Column)| {
        let kind = match column.kind {
            Kind::Text => "text",
            Kind::Boolean => "boolean",
            Kind::Integer => "bigint",
            Kind::Time => "timestamptz",
            Kind::Json | Kind::Texts => "jsonb",
        };
        format!("${place}::{kind}[]")
    };
    let name = |column: &Column| column.name.to_owned();
    let update = |column: &Column| format!("{0} = excluded.{0}", column.name);
    let parameters = (PARAMETERS_BEFORE_COLUMNS + 1..).zip(columns());
    include_str!("bare_upsert.sql")
        .replace("<columns>", &list(columns().map(name).collect()))
        .replace("<parameters>", &list(parameters.map(parameter).collect()))
        .replace("<updates>", &list(columns().map(update).collect()))
});

fn all<T>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect()
}

fn json(text: &str) -> Option<Json<&RawValue>> {
    raw(text).ok().map(Json)
}

fn raw(text: &str) -> serde_json::Result<&RawValue> {
    serde_json::from_str(text)
}

fn utc(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.ms()).unwrap_or_default()
}

/// Writes the batches over two connections at once, as the worker has two batches in flight; events
/// a second.
pub async fn upsert(database: &Database, batches: Vec<Batch>) -> anyhow::Result<f64> {
    let events: usize = batches.iter().map(|batch| batch.events.len()).sum();
    let waiting = Arc::new(Mutex::new(batches.into_iter()));
    // Not from a pool, which checks each connection that is returned to it.
    let connections = [
        database.options.connect().await?,
        database.options.connect().await?,
    ];
    let start = Instant::now();
    let mut tasks = Vec::new();
    for connection in connections {
        tasks.push(tokio::spawn(write_in_turn(
            connection,
            Arc::clone(&waiting),
        )));
    }
    for task in tasks {
        task.await??;
    }
    Ok(events as f64 / start.elapsed().as_secs_f64())
}

/// How long a write takes, with no other in flight: the middle, in milliseconds.
pub async fn upsert_alone(database: &Database, batches: Vec<Batch>) -> anyhow::Result<f64> {
    let (mut connection, mut took) = (database.options.connect().await?, micros());
    for batch in batches {
        let begun = Instant::now();
        batch.write(&mut connection).await?;
        took.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
    }
    connection.close().await?;
    Ok(middle_ms(&took))
}

async fn write_in_turn(
    mut connection: PgConnection,
    waiting: Arc<Mutex<std::vec::IntoIter<Batch>>>,
) -> anyhow::Result<()> {
    while let Some(batch) = next_of(&waiting) {
        batch.write(&mut connection).await?;
    }
    Ok(connection.close().await?)
}

fn next_of(waiting: &Mutex<std::vec::IntoIter<Batch>>) -> Option<Batch> {
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .next()
}

/// Serves HTTP until it is killed: takes the body, and, where it is to, verifies it as the receiver
/// does. No queue.
pub async fn serve_http(verifies: bool) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let secret = SigningSecret::parse(&SecretString::from(SECRET)).map_err(anyhow::Error::msg)?;
    let verifier = web::Data::new(Verifier::new(vec![secret]));
    eprintln!(
        "{}",
        serde_json::json!({"address": listener.local_addr()?.to_string()})
    );
    let threads = std::thread::available_parallelism()?.get();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(verifier.clone())
            .app_data(web::Data::new(verifies))
            .route("/", web::get().to(HttpResponse::Ok))
            .default_service(web::to(answer))
    });
    Ok(server.workers(threads).listen(listener)?.run().await?)
}

async fn answer(
    request: HttpRequest,
    body: web::Bytes,
    verifier: web::Data<Verifier>,
    verifies: web::Data<bool>,
) -> HttpResponse {
    if **verifies {
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let verified = Delivery::read(headers, now())
            .and_then(|delivery| verifier.verify(delivery, body, now()));
        if verified.is_err() {
            return HttpResponse::BadRequest().finish();
        }
    }
    HttpResponse::Ok().json(serde_json::json!({"status": "queued"}))
}
