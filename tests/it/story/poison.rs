//! A poison event, which kills its consumer, becomes a dead letter, and no other event does.

use std::num::NonZeroUsize;

use clerk_sync::clerk::{EventId, OmittedFields};
use clerk_sync::queue::{self, Queue};
use clerk_sync::shutdown::Shutdown;
use clerk_sync::store::Status;
use clerk_sync::worker;
use lapin::Channel;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicGetOptions, BasicRejectOptions};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::app::{Place, SECRET, until};
use crate::support::broker;
use crate::support::history;

const NEIGHBOURS: usize = 30;

/// A worker that applies the poison event waits for a lock of the test, which kills it there.
const POISON: &str = "
    create function public.halt() returns trigger language plpgsql as $$
    begin
        perform pg_advisory_xact_lock(42);
        return new;
    end $$;
    create trigger halt before insert on clerk.events for each row when (new.event_id = 'msg_poison' and new.status <> 'failed')
        execute function public.halt()";

fn update(number: usize) -> (String, String) {
    let id = format!("msg_{number}");
    let body = format!(
        r#"{{"data":{{"id":"user_{number}","updated_at":1795172400018}},"timestamp":1795172400033,"type":"user.updated"}}"#
    );
    (id, body)
}

/// Servers on which the poison event kills, a connection to the database, and the one with the lock.
async fn with_poison() -> (Place, PgConnection, PgConnection) {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let (mut outside, mut lock) = (database.connect().await, database.connect().await);
    outside.execute(POISON).await.unwrap();
    lock.execute("select pg_advisory_lock(42)").await.unwrap();
    (place, outside, lock)
}

/// Whether a worker waits for the lock.
async fn is_halted(outside: &mut PgConnection) -> bool {
    let waiting = "select exists (select 1 from pg_stat_activity
        where wait_event = 'advisory' and datname = current_database() and pid <> pg_backend_pid())";
    sqlx::query_scalar(waiting)
        .fetch_one(outside)
        .await
        .unwrap()
}

/// The server notices late that a worker is dead which waits for a lock, and what that worker wrote
/// stays locked so long.
async fn end_the_sessions_of_the_dead(outside: &mut PgConnection) {
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where application_name = 'clerk-sync' and datname = current_database() and wait_event_type = 'Lock'";
    until("the sessions end", async || {
        sqlx::query_scalar::<_, i64>(end)
            .fetch_one(&mut *outside)
            .await
            .unwrap()
            == 0
    })
    .await;
}

/// Kills the role at the poison event until it is given up. Returns how often.
async fn kill_until_it_is_given_up(
    place: &Place,
    role: &str,
    variables: &[(&str, &str)],
    outside: &mut PgConnection,
) -> u32 {
    for kills in 0..=40 {
        let worker = place.start_unready(&[role], variables);
        until(
            "it is killed by the event, or the event is given up",
            async || is_halted(outside).await || worker.event("msg_poison").await.is_some(),
        )
        .await;
        if let Some(line) = worker.event("msg_poison").await {
            assert_eq!(
                (line.status, line.error_code.as_deref()),
                (Status::Failed, Some("delivery_limit"))
            );
            assert!(line.payload.is_some());
            return kills;
        }
        worker.signal("KILL");
        drop(worker);
        end_the_sessions_of_the_dead(outside).await;
    }
    panic!("it is never given up");
}

/// The embedded queue with a PostgreSQL, in which the poison event is visible.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_kills_every_process_on_the_embedded_queue_fails_alone() {
    let (place, mut outside, lock) = with_poison().await;

    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("AMQP_URL", ""),
        ("WORKER_BATCH", "5"),
    ];
    let first = place.start(&["serve"], &variables).await;
    for number in 0..NEIGHBOURS {
        if number == NEIGHBOURS / 3 {
            let (_, body) = update(1000);
            assert_eq!(first.deliver("msg_poison", body).await.status, 200);
        }
        let (id, body) = update(number);
        assert_eq!(first.deliver(&id, body).await.status, 200);
    }
    until("it takes the poison event", async || {
        is_halted(&mut outside).await
    })
    .await;
    first.signal("KILL");
    drop(first);
    end_the_sessions_of_the_dead(&mut outside).await;

    let kills = 1 + kill_until_it_is_given_up(&place, "serve", &variables, &mut outside).await;
    assert_eq!(
        kills, 8,
        "three until events are isolated, and five while it is isolated"
    );
    lock.close().await.unwrap();
    let app = place.start(&["serve"], &variables).await;
    for number in 0..NEIGHBOURS {
        let line = app.settled(&update(number).0).await;
        assert_eq!(
            line.status,
            Status::Applied,
            "{} stood beside it",
            line.event_id
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_kills_every_worker_fails_alone() {
    let (place, mut outside, lock) = with_poison().await;

    // The poison event is in the middle, so that it shares batches, and the prefetch of both slots.
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    for number in 0..NEIGHBOURS {
        if number == NEIGHBOURS / 3 {
            let (_, body) = update(1000);
            assert_eq!(receiver.deliver("msg_poison", body).await.status, 200);
        }
        let (id, body) = update(number);
        assert_eq!(receiver.deliver(&id, body).await.status, 200);
    }

    let kills =
        kill_until_it_is_given_up(&place, "worker", &[("WORKER_BATCH", "5")], &mut outside).await;
    // Up to two deliveries a kill: what one channel of a dead connection returns, the other gets
    // for a moment.
    assert!(kills >= 10, "it is given up after {kills} kills");

    lock.close().await.unwrap();
    let worker = place.start(&["worker"], &[]).await;
    for number in 0..NEIGHBOURS {
        let line = worker.settled(&update(number).0).await;
        assert_eq!(
            line.status,
            Status::Applied,
            "{} stood beside it",
            line.event_id
        );
    }
    outside
        .execute("drop trigger halt on clerk.events")
        .await
        .unwrap();
    place.succeed(&["events", "replay", "msg_poison"]);
    until("it is applied", async || {
        worker.event("msg_poison").await.unwrap().status == Status::Applied
    })
    .await;
}

/// It takes long to apply.
const SLOW: &str = "
    create function public.linger() returns trigger language plpgsql as $$
    begin
        perform pg_sleep(20);
        return new;
    end $$;
    create trigger linger before insert on clerk.events for each row when (new.event_id = 'msg_slow')
        execute function public.linger()";

async fn taken(channel: &Channel, queue: &str) -> BasicGetMessage {
    let mut taken = None;
    until("it can be taken", async || {
        taken = channel
            .basic_get(queue.into(), BasicGetOptions { no_ack: false })
            .await
            .unwrap();
        taken.is_some()
    })
    .await;
    taken.unwrap()
}

/// Takes it often enough for a possible poison message. It is still in flight.
async fn possible_poison(channel: &Channel, queue: &str) -> BasicGetMessage {
    for _ in 0..10 {
        taken(channel, queue)
            .await
            .delivery
            .acker
            .reject(BasicRejectOptions { requeue: true })
            .await
            .unwrap();
    }
    taken(channel, queue).await
}

/// A poison event kills its process soon; one that only waits for a lock must not hold up the
/// others.
#[tokio::test(flavor = "multi_thread")]
async fn a_possible_poison_message_that_takes_long_holds_up_the_others_only_for_a_while() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let mut outside = database.connect().await;
    outside.execute(SLOW).await.unwrap();
    let namespace = place.namespace().name().to_owned();
    let options = queue::rabbitmq::Options {
        address: broker::url().parse().unwrap(),
        namespace,
    };
    let queue = Queue::open(&queue::Options::RabbitMq(options))
        .await
        .unwrap();
    let (connection, channel) = broker::connect().await;
    let users = place.namespace().queue("events");
    let publish = async |id: &str| {
        let event = history::update(id, &format!("user_{id}"), 0);
        until("it is queued", async || {
            queue.publish(event.clone()).await.is_ok()
        })
        .await;
    };
    publish("msg_slow").await;
    let message = possible_poison(&channel, &users).await;
    message
        .delivery
        .acker
        .reject(BasicRejectOptions { requeue: true })
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();

    let options = worker::Options {
        batch_max: NonZeroUsize::MIN,
        concurrency: NonZeroUsize::new(2).unwrap(),
        hold_max: worker::HOLD_MAX,
        omitted: OmittedFields::default(),
        retention: None,
        change_retention: None,
    };
    let stop = Shutdown::default();
    let worker = tokio::spawn(worker::run(
        queue.clone(),
        place.store(),
        options,
        "a test",
        worker::Status::default(),
        stop.clone(),
    ));
    let lingers = "select exists (select 1 from pg_stat_activity
        where wait_event = 'PgSleep' and datname = current_database() and pid <> pg_backend_pid())";
    until("the one is tried", async || {
        sqlx::query_scalar(lingers)
            .fetch_one(&mut outside)
            .await
            .unwrap()
    })
    .await;
    publish("msg_waits").await;
    let (store, id) = (place.store(), |id: &str| EventId::new(id).unwrap());
    until("the other is applied", async || {
        store.event(&id("msg_waits")).await.unwrap().is_some()
    })
    .await;
    assert!(
        store.event(&id("msg_slow")).await.unwrap().is_none(),
        "while the one is still tried"
    );
    until("the one is applied too", async || {
        store.event(&id("msg_slow")).await.unwrap().is_some()
    })
    .await;
    stop.request();
    worker.await.unwrap();
    queue.close().await;
}
