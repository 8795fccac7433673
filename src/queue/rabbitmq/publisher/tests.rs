//! A task that publishes and panics.

use bytes::Bytes;

use super::*;
use crate::clerk::{EventId, EventType, Timestamp};
use crate::queue::rabbitmq::address::Address;
use crate::queue::rabbitmq::connection::Broker;
use crate::queue::rabbitmq::purpose::Purpose;

/// Hands an event over, as if there were a connection. Returns its answer.
async fn hand_over(publisher: &Publisher, id: &str) -> Result<(), PublishError> {
    let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
    let event = SignedEvent::restored(
        EventId::new(id).unwrap(),
        EventType::named("user.updated"),
        at,
        at,
        Bytes::from_static(b"{}"),
    );
    let memory = Arc::clone(&publisher.memory).acquire_owned().await.unwrap();
    let (answer, answered) = oneshot::channel();
    let outgoing = Outgoing {
        event,
        may_be_poison: false,
    };
    let caller = Caller {
        answer,
        _memory: memory,
    };
    assert!(
        publisher.hand_over.send((outgoing, caller)).await.is_ok(),
        "no task is left"
    );
    answered.await.unwrap_or(Err(PublishError::Unavailable))
}

#[tokio::test]
async fn a_task_that_dies_starts_again_and_ends_with_the_last_handle() {
    let names = Arc::new(Names::new("clerk-sync-test"));
    // Port 9 of this machine refuses connections.
    let address: Address = "amqp://127.0.0.1:9".parse().unwrap();
    let nodes = Arc::clone(address.nodes());
    let broker = Broker {
        nodes,
        names: Arc::clone(&names),
        limits: Arc::default(),
    };
    let connection = Connection::new(broker, Purpose::Publish);
    connection.want();
    let publisher = Publisher::start(&connection, &names, &Arc::default());
    // More often than there are tasks.
    for _ in 0..=CHANNELS {
        assert_eq!(
            hand_over(&publisher, BUG).await,
            Err(PublishError::Unavailable)
        );
    }
    assert_eq!(
        hand_over(&publisher, "msg_after").await,
        Err(PublishError::Unavailable)
    );
    let mut ended = publisher.ended.clone();
    drop(publisher);
    let all_have = async { while ended.changed().await.is_ok() {} };
    timeout(Duration::from_secs(30), all_have)
        .await
        .expect("the tasks end with the last handle");
}
