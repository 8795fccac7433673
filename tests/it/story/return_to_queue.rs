//! A worker that returns events does not spend the deliveries that they are allowed.

use std::num::NonZeroUsize;
use std::time::Duration;

use clerk_sync::clerk::{EventId, OmittedFields};
use clerk_sync::queue::{self, Queue};
use clerk_sync::shutdown::Shutdown;
use clerk_sync::store::Status;
use clerk_sync::worker;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use sqlx::{Executor, PgConnection};
use tokio::task::JoinHandle;

use crate::support::app::{Place, until};
use crate::support::broker;
use crate::support::history::update;

/// More than the 20 deliveries that the queue allows.
const ROUNDS: i64 = 30;

const EVENTS: i64 = 40;

/// A database that answers, but whose disk is full (SQLSTATE 53100); it counts how often it was
/// asked to write.
const FULL: &str = "
    create sequence public.refusals;
    create function public.refuse() returns trigger language plpgsql as $$
    begin
        perform nextval('public.refusals');
        raise exception 'full' using errcode = '53100';
    end $$;
    create trigger full_disk before insert on clerk.events for each statement execute function public.refuse()";

/// Events that wait, and a database whose disk is full.
async fn an_outage(place: &Place) -> (Queue, PgConnection) {
    place.succeed(&["migrate"]);
    let Place::Servers { database, .. } = place else {
        unreachable!()
    };
    let mut outside = database.connect().await;
    outside.execute(FULL).await.unwrap();

    let namespace = place.namespace().name().to_owned();
    let options = queue::rabbitmq::Options {
        address: broker::url().parse().unwrap(),
        namespace,
    };
    let queue = Queue::open(&queue::Options::RabbitMq(options))
        .await
        .unwrap();
    for number in 0..EVENTS {
        let event = update(&format!("msg_{number}"), &format!("user_{number}"), number);
        until("it is queued", async || {
            queue.publish(event.clone()).await.is_ok()
        })
        .await;
    }
    (queue, outside)
}

/// A worker that returns batches at once instead of after ten minutes.
struct Worker {
    stop: Shutdown,
    ended: JoinHandle<()>,
}

impl Worker {
    fn start(place: &Place, queue: &Queue) -> Self {
        // Small batches, so that some are in flight and some prefetched.
        let (batch_max, concurrency) =
            (NonZeroUsize::new(7).unwrap(), NonZeroUsize::new(2).unwrap());
        let options = worker::Options {
            batch_max,
            concurrency,
            hold_max: Duration::ZERO,
            omitted: OmittedFields::default(),
            retention: None,
            change_retention: None,
        };
        let stop = Shutdown::default();
        let ended = tokio::spawn(worker::run(
            queue.clone(),
            place.store(),
            options,
            "a test",
            worker::Status::default(),
            stop.clone(),
        ));
        Self { stop, ended }
    }

    async fn stop(self) {
        self.stop.request();
        self.ended.await.unwrap();
    }
}

async fn is_refused(outside: &mut PgConnection, times: i64) {
    until("the database has refused often", async || {
        let refusals = sqlx::query_scalar::<_, i64>("select last_value from public.refusals");
        refusals.fetch_one(&mut *outside).await.unwrap() > times
    })
    .await;
}

async fn all_are_applied(place: &Place) {
    let store = place.store();
    for number in 0..EVENTS {
        let id = EventId::new(&format!("msg_{number}")).unwrap();
        until("it is recorded", async || {
            store.event(&id).await.unwrap().is_some()
        })
        .await;
        assert_eq!(
            store.event(&id).await.unwrap().unwrap().status,
            Status::Applied,
            "{id}"
        );
    }
    assert_eq!(place.namespace().ready("dead").await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_many_rounds_makes_no_event_a_dead_letter() {
    let place = Place::servers().await;
    let (queue, mut outside) = an_outage(&place).await;
    let worker = Worker::start(&place, &queue);
    // Up to two batches are written before all is returned.
    is_refused(&mut outside, 2 * ROUNDS).await;
    outside
        .execute("drop trigger full_disk on clerk.events")
        .await
        .unwrap();
    all_are_applied(&place).await;
    worker.stop().await;
    queue.close().await;
}

/// The queue refuses the returned events: the worker holds the batch, which costs no delivery.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_while_the_queue_is_full_spends_no_deliveries() {
    let place = Place::servers().await;
    let (queue, mut outside) = an_outage(&place).await;
    place.namespace().limit_length(1).await;
    let worker = Worker::start(&place, &queue);
    is_refused(&mut outside, 8).await;
    worker.stop().await;
    let (connection, channel) = broker::connect().await;
    let mut most = 0;
    for _ in 0..EVENTS {
        let get = BasicGetOptions { no_ack: false };
        let message = channel
            .basic_get(place.namespace().queue("events").into(), get)
            .await
            .unwrap()
            .expect("it waits");
        let headers = message
            .delivery
            .properties
            .headers()
            .clone()
            .unwrap_or_default();
        let count = headers
            .inner()
            .get("x-delivery-count")
            .and_then(AMQPValue::as_long_long_int)
            .unwrap_or(0);
        most = most.max(count);
    }
    // A stop in the middle of it cannot wait.
    assert!(most <= 1, "an event has spent {most} deliveries");
    connection.close(200, "looked".into()).await.unwrap();

    // The database is what an end of it begins with: the queue is full until events are applied.
    let worker = Worker::start(&place, &queue);
    is_refused(&mut outside, 12).await;
    outside
        .execute("drop trigger full_disk on clerk.events")
        .await
        .unwrap();
    all_are_applied(&place).await;
    worker.stop().await;
    queue.close().await;
    place.namespace().lift_limit().await;
}
