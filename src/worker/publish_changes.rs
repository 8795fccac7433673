//! Publishes the changes of rows that the database has recorded, in their order. Any number of
//! workers run this; one at a time has the turn.
//!
//! A change is recorded as published after the broker has confirmed it. So an outage of either
//! server, or a death in between, publishes some changes again and loses none.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::logged_state::LoggedState;
use crate::queue::rabbitmq::ChangePublisher;
use crate::queue::{ChangeMessage, Queue, Unavailable};
use crate::shutdown::Shutdown;
use crate::store::{ChangeRow, Store, StoreError, Time};

/// Most changes in flight: a fraction of a second's work. All are published again if one is not
/// confirmed.
const BATCH_MAX: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// Least time from the start of a turn to that of the next, unless it found a full batch. A change
/// after a quiet time is published at once; under load a turn, which costs some ten statements, takes
/// many changes.
const PACE: Duration = Duration::from_millis(200);

/// How often a worker without the turn looks whether it is free: the process that has it may die.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a stop waits for the confirms of the batch in flight.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// How often a condition that an operator must fix is logged: operators look at the end of a log.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// Why changes are not published.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] Unavailable),
}

/// What was logged last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Publishing,
    DatabaseAway,
    DatabaseUnusable,
    BrokerRefuses,
}

/// Publishes until `shutdown`. Declares the exchange, even if no change is there yet. Does nothing
/// with the embedded queue, to which no application can bind one of its own.
pub async fn run(store: Store, queue: Queue, shutdown: Shutdown) {
    let Some(mut publisher) = queue.change_publisher() else {
        return shutdown.requested().await;
    };
    publish_until(&shutdown, &store, &mut publisher).await;
    publisher.close().await;
}

async fn publish_until(shutdown: &Shutdown, store: &Store, publisher: &mut ChangePublisher) {
    let logged = LoggedState::new(State::Publishing);
    let mut signal = store.change_signal();
    let mut backoff = Backoff::for_outage();
    // A process without the broker does not take the turn from one that has it.
    while shutdown.or(publisher.is_usable()).await == Some(true) {
        let began = Instant::now();
        let turn = tokio::select! {
            done = publish_turn(store, publisher) => done,
            () = async { shutdown.requested().await; sleep(STOP_GRACE).await } => return,
        };
        let wait = match turn {
            Ok(published) => {
                if published > 0 && logged.changes_to(State::Publishing) {
                    info!("changes of rows are published again");
                }
                backoff.reset();
                if published == BATCH_MAX.get() as usize {
                    continue;
                }
                let next = async {
                    drop(timeout(LOOK_EVERY, signal.next()).await);
                    sleep_until(began + PACE).await;
                };
                shutdown.or(next).await
            }
            Err(fault) => {
                log(&logged, &fault);
                shutdown.or(backoff.wait()).await
            }
        };
        if wait.is_none() {
            return;
        }
    }
}

/// Publishes the oldest changes. Returns how many; 0 if none wait, or if another process has the
/// turn.
async fn publish_turn(store: &Store, publisher: &mut ChangePublisher) -> Result<usize, Fault> {
    let Some(turn) = store.take_publish_turn(BATCH_MAX).await? else {
        return Ok(0);
    };
    let messages: Vec<_> = turn.changes().iter().map(message).collect();
    publisher.publish(&messages).await?;
    turn.record_published().await?;
    Ok(messages.len())
}

/// A change as applications receive it.
fn message(change: &ChangeRow) -> ChangeMessage {
    let Time(committed_at) = change.committed_at;
    let body = serde_json::to_vec(change).expect("names, times and numbers can be written as JSON");
    ChangeMessage {
        id: format!("{}-{}", change.table_name, change.id),
        routing_key: format!("{}.{}", change.table_name, change.change),
        committed_at,
        body: body.into(),
    }
}

fn log(logged: &LoggedState<State>, fault: &Fault) {
    match fault {
        Fault::Store(error @ StoreError::Unavailable(_)) => {
            if logged.changes_to(State::DatabaseAway) {
                warn!(%error, "changes of rows are published once the database answers");
            }
        }
        Fault::Store(error) => {
            if logged.is_due(State::DatabaseUnusable, REMIND_EVERY) {
                error!(%error, "changes of rows cannot be published until this is fixed");
            }
        }
        Fault::Broker(reason) => {
            if logged.is_due(State::BrokerRefuses, REMIND_EVERY) {
                warn!(%reason, "changes of rows could not be published; they wait in the database");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::clerk::{ChangeKind, Timestamp};

    #[test]
    fn a_message_names_the_row_and_the_columns_as_the_api_does() {
        let change = ChangeRow {
            id: 123,
            table_name: "users".into(),
            clerk_id: "user_1".into(),
            change: ChangeKind::Updated,
            fields: vec!["email".into()],
            event_id: Some("msg_1".into()),
            committed_at: Time(Timestamp::from_ms(1_795_172_401_234).unwrap()),
        };
        let message = message(&change);
        assert_eq!(message.id, "users-123");
        assert_eq!(message.routing_key, "users.updated");
        assert_eq!(message.committed_at.ms(), 1_795_172_401_234);
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(body, serde_json::to_value(&change).unwrap());
        assert_eq!(body["fields"], json!(["email"]));
        assert_eq!(body["id"], json!(123));
    }
}
