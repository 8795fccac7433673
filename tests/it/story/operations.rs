//! The procedures of docs/operations.md: a backup that is restored, a lost database or queue that
//! is rebuilt from redeliveries, an upgrade while the old version works.

use std::collections::BTreeMap;

use clerk_sync::store::{Status, Store, UserFilter};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::support::app::{App, Place, SECRET, until};

const USERS: usize = 12;

/// The deliveries that Svix keeps and can send again, with the same IDs and bodies.
struct Sent(Vec<(String, String)>);

impl Sent {
    /// Versions of every user from one on to another; every third user is deleted in the last, and
    /// one body fails.
    fn versions(range: std::ops::Range<usize>) -> Self {
        let last = range.end;
        let mut events = Vec::new();
        for version in range {
            for user in 0..USERS {
                let ms = 1_795_172_400_000_usize + version;
                let data =
                    format!(r#""id":"user_{user}","first_name":"{version}","updated_at":{ms}"#);
                let body =
                    format!(r#"{{"data":{{{data}}},"timestamp":{ms},"type":"user.updated"}}"#);
                events.push((format!("msg_{user}_{version}"), body));
            }
        }
        for user in (0..USERS).step_by(3) {
            let ms = 1_795_172_400_000_usize + last;
            let body = format!(
                r#"{{"data":{{"id":"user_{user}","deleted":true}},"timestamp":{ms},"type":"user.deleted"}}"#
            );
            events.push((format!("msg_{user}_{last}_deleted"), body));
        }
        events.push((
            format!("msg_failing_{last}"),
            r#"{"data":{"id":""},"timestamp":1,"type":"user.updated"}"#.into(),
        ));
        Self(events)
    }

    async fn deliver_to(&self, app: &App) {
        for (id, body) in &self.0 {
            assert_eq!(app.deliver(id, body.clone()).await.status, 200, "{id}");
        }
    }

    async fn settled_in(&self, store: &Store) {
        for (id, _) in &self.0 {
            let id = clerk_sync::clerk::EventId::new(id).unwrap();
            until("every event is recorded", async || {
                store.event(&id).await.is_ok_and(|event| event.is_some())
            })
            .await;
        }
    }
}

/// Every row, without the time at which it was written.
async fn rows(store: &Store) -> BTreeMap<String, Value> {
    let page = clerk_sync::store::Page {
        limit: 500.try_into().unwrap(),
        after: None,
    };
    let users = store
        .users(&UserFilter::default(), &page)
        .await
        .unwrap()
        .rows;
    let row = |user| {
        let mut row = serde_json::to_value(user).unwrap();
        row.as_object_mut().unwrap().remove("synced_at");
        (row["clerk_id"].as_str().unwrap().to_owned(), row)
    };
    users.iter().map(row).collect()
}

fn database(place: &Place) -> &crate::support::database::TestDatabase {
    match place {
        Place::Servers { database, .. } => database,
        Place::Embedded { .. } => panic!("there is no server"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_the_schema_and_redeliveries_give_the_same_rows() {
    let place = Place::servers().await;
    let app = place.serve().await;
    let (before, after) = (Sent::versions(0..2), Sent::versions(2..4));
    before.deliver_to(&app).await;
    before.settled_in(&app.store).await;
    let file = place.directory().join("clerk.dump");
    database(&place).dump(&file);
    after.deliver_to(&app).await;
    after.settled_in(&app.store).await;
    let expected = rows(&app.store).await;
    assert_eq!(expected.len(), USERS);
    assert!(app.stop().success());

    // In another place, from the backup: what it holds, and not yet what came after it.
    let elsewhere = Place::servers().await;
    database(&elsewhere).restore(&file);
    let said = elsewhere.run(&["migrate", "--check"]);
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let app = elsewhere.serve().await;
    let restored = rows(&app.store).await;
    assert_eq!(restored.len(), USERS);
    assert_ne!(restored, expected);
    assert_eq!(
        app.event("msg_failing_2").await.unwrap().status,
        Status::Failed,
        "with its payload"
    );
    // From before the backup on: what is known already changes nothing.
    before.deliver_to(&app).await;
    after.deliver_to(&app).await;
    after.settled_in(&app.store).await;
    until("the rows are those of before", async || {
        rows(&app.store).await == expected
    })
    .await;
    assert_eq!(app.event("msg_1_0").await.unwrap().deliveries, 2);
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_files_are_copied_while_they_are_in_use_and_restored() {
    let place = Place::embedded();
    let app = place.serve().await;
    let (before, after) = (Sent::versions(0..2), Sent::versions(2..4));
    before.deliver_to(&app).await;
    before.settled_in(&app.store).await;
    let elsewhere = Place::embedded();
    for file in ["users.db", "queue.db"] {
        let url = format!("sqlite://{}", place.directory().join(file).display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let copy = elsewhere.directory().join(file).display().to_string();
        sqlx::query("vacuum into ?1")
            .bind(copy)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
    after.deliver_to(&app).await;
    after.settled_in(&app.store).await;
    let expected = rows(&app.store).await;
    assert!(app.stop().success());

    let app = elsewhere.serve().await;
    assert_eq!(rows(&app.store).await.len(), USERS);
    after.deliver_to(&app).await;
    after.settled_in(&app.store).await;
    until("the rows are those of before", async || {
        rows(&app.store).await == expected
    })
    .await;
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_rebuilt_from_redeliveries() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    let worker = place.start(&["worker"], &[]).await;
    let sent = Sent::versions(0..3);
    sent.deliver_to(&receiver).await;
    sent.settled_in(&worker.store).await;
    let expected = rows(&worker.store).await;

    database(&place).lose().await;
    until("the worker says what to do", async || {
        let answer = worker.get("/readyz").await.unwrap();
        answer.status == 503
            && answer.body["detail"]
                .as_str()
                .unwrap_or_default()
                .contains("clerk-sync migrate")
    })
    .await;
    // Receivers go on, and what they take waits.
    assert_eq!(receiver.get("/readyz").await.unwrap().status, 200);
    sent.deliver_to(&receiver).await;
    // A worker that looks for its tables can hold one; then it says so, and is run again.
    until("the schema is there", async || {
        place.run(&["migrate"]).status.success()
    })
    .await;
    let store = place.store();
    sent.settled_in(&store).await;
    until("the rows are those of before", async || {
        rows(&store).await == expected
    })
    .await;
    until("the worker is ready again", async || {
        worker.get("/readyz").await.unwrap().status == 200
    })
    .await;
    assert!(worker.stop().success() && receiver.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_queue_is_filled_again_from_redeliveries() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    let (lost, later) = (Sent::versions(0..2), Sent::versions(2..3));
    lost.deliver_to(&receiver).await;
    let waiting = u32::try_from(lost.0.len()).unwrap();
    until("all wait", async || {
        place.namespace().ready("events").await == Some(waiting)
    })
    .await;
    for queue in ["events", "dead", "unrouted"] {
        place.namespace().delete_queue(queue).await;
    }
    for exchange in ["events", "dead", "unrouted"] {
        place.namespace().delete_exchange(exchange).await;
    }
    // No event is acknowledged without a queue; the receiver declares the queue again by itself.
    until("the receiver takes events again", async || {
        let answer = receiver
            .try_deliver(&later.0[0].0, later.0[0].1.clone())
            .await
            .unwrap();
        assert!(matches!(answer.status, 200 | 503), "{}", answer.status);
        answer.status == 200
    })
    .await;
    let worker = place.start(&["worker"], &[]).await;
    later.deliver_to(&receiver).await;
    later.settled_in(&worker.store).await;
    assert!(
        worker.event(&lost.0[0].0).await.is_none(),
        "they are lost here, and not at Svix"
    );
    lost.deliver_to(&receiver).await;
    lost.settled_in(&worker.store).await;
    let names: Vec<_> = rows(&worker.store)
        .await
        .into_values()
        .map(|row| row["first_name"].clone())
        .collect();
    assert_eq!(names, vec![json!("2"); USERS], "late versions do no harm");
    assert!(worker.stop().success() && receiver.stop().success());
}

/// What the migrations of a later release do to the schema.
const NEXT_RELEASE: &str = "
    alter table clerk.users add column nickname text;
    create index users_nickname on clerk.users (nickname);
    create or replace view clerk.active_users as select * from clerk.users where deleted_at is null;
    insert into clerk._migrations (version, description, success, checksum, execution_time)
        select max(version) + 1, 'of a later release', true, '', 0 from clerk._migrations;
";

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_keeps_working_across_the_migration_of_the_next() {
    let place = Place::servers().await;
    let app = place.serve().await;
    let (before, after) = (Sent::versions(0..2), Sent::versions(2..4));
    before.deliver_to(&app).await;
    before.settled_in(&app.store).await;
    let mut admin = database(&place).connect().await;
    admin.execute(NEXT_RELEASE).await.unwrap();

    assert_eq!(
        app.get("/readyz").await.unwrap().status,
        200,
        "no load balancer takes it out"
    );
    after.deliver_to(&app).await;
    after.settled_in(&app.store).await;
    assert_eq!(rows(&app.store).await["user_1"]["first_name"], "3");
    // After an outage, too.
    admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()").await.unwrap();
    until("it is ready again", async || {
        app.get("/readyz").await.unwrap().status == 200
    })
    .await;
    let again = Sent::versions(4..5);
    again.deliver_to(&app).await;
    again.settled_in(&app.store).await;

    // The running old version keeps working; one that starts now refuses the newer schema.
    let second = place.start_unready(&["worker"], &[]);
    until("an old version that starts says so", async || {
        let answer = second.get("/readyz").await.unwrap();
        answer.status == 503
            && answer.body["detail"]
                .as_str()
                .unwrap_or_default()
                .contains("use a newer clerk-sync")
    })
    .await;
    let said = place.run(&["check"]);
    assert!(
        String::from_utf8(said.stdout)
            .unwrap()
            .contains("newer than this program's")
    );
    assert!(app.stop().success());
}
