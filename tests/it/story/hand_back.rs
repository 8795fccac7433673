//! A worker that gives events back does not use up the deliveries that they are allowed.

use std::num::NonZeroUsize;
use std::time::Duration;

use clerk_sync::clerk::{EventId, OmittedFields};
use clerk_sync::queue::{self, Queue};
use clerk_sync::shutdown::Shutdown;
use clerk_sync::store::Status;
use clerk_sync::worker;
use secrecy::SecretString;
use sqlx::Executor;

use crate::support::app::{Place, until};
use crate::support::broker;
use crate::support::history::update;

/// More than the 20 deliveries that the queue allows.
const ROUNDS: i64 = 30;

const EVENTS: i64 = 40;

/// A database that answers, but whose disk is full (SQLSTATE 53100); it counts how often it was asked to write.
const FULL: &str = "
    create sequence public.refusals;
    create function public.refuse() returns trigger language plpgsql as $$
    begin
        perform nextval('public.refusals');
        raise exception 'full' using errcode = '53100';
    end $$;
    create trigger full_disk before insert on clerk.events for each statement execute function public.refuse()";

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_many_rounds_makes_no_event_a_dead_letter() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let Place::Servers { database, .. } = &place else { unreachable!() };
    let mut outside = database.connect().await;
    outside.execute(FULL).await.unwrap();

    let namespace = place.namespace().name().to_owned();
    let options = queue::rabbitmq::Options { url: SecretString::from(broker::url()), namespace };
    let queue = Queue::open(&queue::Options::RabbitMq(options)).await.unwrap();
    for number in 0..EVENTS {
        let event = update(&format!("msg_{number}"), &format!("user_{number}"), number);
        until("it is queued", async || queue.publish(event.clone()).await.is_ok()).await;
    }

    // Small batches, so that some are in hand and some sent ahead; given back at once instead of after ten minutes.
    let (batch_max, concurrency) = (NonZeroUsize::new(7).unwrap(), NonZeroUsize::new(2).unwrap());
    let options = worker::Options {
        batch_max,
        concurrency,
        hold_max: Duration::ZERO,
        omitted: OmittedFields::default(),
        retention: None,
    };
    let stop = Shutdown::default();
    let worker = tokio::spawn(worker::run(queue.clone(), place.store(), options, stop.clone()));
    // Each of the two slots writes once before it gives back.
    until("it has given back many times", async || {
        let refusals = sqlx::query_scalar::<_, i64>("select last_value from public.refusals");
        refusals.fetch_one(&mut outside).await.unwrap() > 2 * 2 * ROUNDS
    })
    .await;
    outside.execute("drop trigger full_disk on clerk.events").await.unwrap();

    let store = place.store();
    for number in 0..EVENTS {
        let id = EventId::new(&format!("msg_{number}")).unwrap();
        until("it is recorded", async || store.event(&id).await.unwrap().is_some()).await;
        assert_eq!(store.event(&id).await.unwrap().unwrap().status, Status::Applied, "{id}");
    }
    assert_eq!(place.namespace().ready("dead").await, Some(0));
    stop.request();
    worker.await.unwrap();
    queue.close().await;
}
