//! Dead letters of RabbitMQ are recorded in `events` as failed, with payload, and a replay applies
//! them.

use clerk_sync::store::{EventRow, Status};
use lapin::options::{BasicGetOptions, BasicRejectOptions};

use crate::support::app::{App, Place, SECRET, until};
use crate::support::broker::connect;

const BODY: &str = r#"{"data":{"first_name":"Ada","id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

async fn failed_with(app: &App, id: &str, code: &str) -> EventRow {
    let line = app.settled(id).await;
    assert_eq!(
        (line.status, line.error_code.as_deref()),
        (Status::Failed, Some(code))
    );
    assert_eq!(
        line.payload.as_deref(),
        Some(BODY.as_bytes()),
        "it is kept whole"
    );
    assert_eq!(
        line.clerk_id.as_deref(),
        Some("user_1"),
        "and known by its user"
    );
    line
}

async fn applied_by_a_replay(place: &Place, app: &App, id: &str) {
    place.succeed(&["events", "replay", id]);
    until("it is applied", async || {
        app.event(id).await.unwrap().status == Status::Applied
    })
    .await;
    assert_eq!(
        app.user("user_1").await.unwrap().text("first_name"),
        Some("Ada")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_delivered_too_often_is_kept_as_failed() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    assert_eq!(receiver.deliver("msg_1", BODY).await.status, 200);

    // Taken again and again without an acknowledgement, as by a worker that it kills.
    let (_connection, channel) = connect().await;
    let mut deliveries = 0;
    until("the queue has given it up", async || {
        let get = BasicGetOptions { no_ack: false };
        let taken = channel
            .basic_get(place.namespace().queue("events").into(), get)
            .await
            .unwrap();
        if let Some(message) = taken {
            deliveries += 1;
            message
                .delivery
                .acker
                .reject(BasicRejectOptions { requeue: true })
                .await
                .unwrap();
        }
        deliveries > 20
    })
    .await;

    let worker = place.start(&["worker"], &[]).await;
    failed_with(&worker, "msg_1", "delivery_limit").await;
    applied_by_a_replay(&place, &worker, "msg_1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_queue_was_bound_for_is_kept_as_failed() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    place.namespace().unbind("user.*").await;
    assert_eq!(
        receiver.deliver("msg_1", BODY).await.status,
        200,
        "it is stored all the same"
    );

    // The worker binds the queue again.
    let worker = place.start(&["worker"], &[]).await;
    failed_with(&worker, "msg_1", "unrouted").await;
    applied_by_a_replay(&place, &worker, "msg_1").await;
}
