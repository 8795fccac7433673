//! The change feed on its way to applications: what a worker publishes to the exchange of changes,
//! and that nothing is lost, whichever process or server fails in between.

use std::num::NonZeroU32;

use clerk_sync::clerk::{ClerkId, tables};
use clerk_sync::store::{ChangeRow, Status};
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};

use crate::support::app::{App, Place, SECRET, until};
use crate::support::broker::{self, APPLICATION, rabbitmqctl};
use crate::support::feed_listener::{FeedListener, Heard, first_times};
use crate::support::history::{delete, update};
use crate::support::proxy::Proxy;
use crate::support::scrape::Scrape;

const ON: (&str, &str) = ("CHANGE_FEED", "on");

const LAG: &str = "clerk_sync_change_feed_lag_seconds";
/// What both remedies say: an exchange takes its bindings with it.
const REBIND: &str = "bind their queues again";

fn event(kind: &str, user: usize, version: usize) -> (String, String) {
    let ms = 1_795_172_400_000_usize + version;
    let body = format!(
        r#"{{"data":{{"id":"user_{user}","first_name":"{version}","updated_at":{ms}}},"timestamp":{ms},"type":"user.{kind}"}}"#
    );
    (format!("msg_{user}_{version}"), body)
}

async fn deliver(receiver: &App, (id, body): (String, String)) {
    assert_eq!(receiver.deliver(&id, body).await.status, 200);
}

async fn receiver(place: &Place) -> App {
    place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await
}

async fn listener(place: &Place) -> FeedListener {
    let namespace = place.namespace();
    let (exchange, queue) = (namespace.queue("changes"), namespace.queue(APPLICATION));
    FeedListener::bind(&broker::url(), &exchange, &queue, "#").await
}

/// Every change of a user, oldest first, as the table has it.
async fn recorded(place: &Place, user: &str) -> Vec<ChangeRow> {
    let (id, limit) = (ClerkId::new(user).unwrap(), NonZeroU32::new(500).unwrap());
    let users = &tables::users::TABLE;
    let mut changes = place
        .store()
        .changes_of_row(users, &id, limit)
        .await
        .unwrap();
    changes.reverse();
    changes
}

/// What of a user came, each once, in the order of the first time.
fn bodies(heard: &[Heard], user: &str) -> Vec<Value> {
    let of_user = first_times(heard).into_iter();
    of_user
        .filter(|heard| heard.body["clerk_id"] == json!(user))
        .map(|heard| heard.body.clone())
        .collect()
}

async fn all_published(place: &Place) {
    let store = place.store();
    until("every change is published", async || {
        let state = store.change_feed_state().await.unwrap();
        state.oldest_unpublished_at.is_none()
    })
    .await;
}

fn has_exchange(place: &Place) -> bool {
    let name = place.namespace().queue("changes");
    let exchanges = place.namespace().listed("exchanges", &["name"]);
    exchanges
        .iter()
        .any(|exchange| exchange["name"] == json!(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_a_row_reaches_an_application_as_the_table_has_it() {
    let place = Place::servers().await;
    let app = place
        .start(&["serve"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET), ON])
        .await;
    let listener = listener(&place).await;
    for (kind, version) in [
        ("created", 1),
        ("updated", 2),
        ("updated", 2),
        ("deleted", 3),
    ] {
        deliver(&app, event(kind, 1, version)).await;
        app.settled(&event(kind, 1, version).0).await;
    }
    let heard = listener.take(3).await;
    let keys: Vec<_> = heard.iter().map(|heard| heard.key.as_str()).collect();
    assert_eq!(keys, ["users.created", "users.updated", "users.deleted"]);
    let recorded = recorded(&place, "user_1").await;
    let expected: Vec<_> = recorded
        .iter()
        .map(|change| serde_json::to_value(change).unwrap())
        .collect();
    assert_eq!(bodies(&heard, "user_1"), expected);
    for (heard, change) in heard.iter().zip(&recorded) {
        assert_eq!(heard.id, format!("users-{}", change.id));
    }
    all_published(&place).await;
    let scrape = Scrape::of(&app).await;
    assert_eq!(scrape.samples[LAG], 0.0);
    for (change, count) in [
        ("created", 1.0),
        ("updated", 1.0),
        ("deleted", 1.0),
        ("erased", 0.0),
    ] {
        let series = format!(r#"clerk_sync_changes_total{{table="users",change="{change}"}}"#);
        assert_eq!(scrape.samples[&series], count, "{change}");
    }
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_feed_nothing_is_declared_recorded_or_measured() {
    let place = Place::servers().await;
    let app = place.serve().await;
    deliver(&app, event("created", 1, 1)).await;
    app.settled("msg_1_1").await;
    assert!(!has_exchange(&place));
    assert_eq!(place.namespace().connections("publish changes"), [""; 0]);
    assert_eq!(recorded(&place, "user_1").await, []);
    assert!(!Scrape::of(&app).await.types.contains_key(LAG));
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_one_publishes_and_the_other_takes_over() {
    const USERS: usize = 10;
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let receiver = receiver(&place).await;
    let mut workers = vec![
        place.start(&["worker"], &[ON]).await,
        place.start(&["worker"], &[ON]).await,
    ];
    let listener = listener(&place).await;
    let round = async |version: usize| {
        for user in 0..USERS {
            deliver(&receiver, event("updated", user, version)).await;
        }
    };
    for version in 1..=20 {
        round(version).await;
    }
    for user in 0..USERS {
        receiver.settled(&event("updated", user, 20).0).await;
    }
    all_published(&place).await;
    let calm = listener.take_all().await;
    assert_eq!(
        calm.len(),
        first_times(&calm).len(),
        "two published the same"
    );

    // Each is killed while changes are made; the other one goes on alone.
    let mut heard = calm;
    for (kill, versions) in [21..=40, 41..=60].into_iter().enumerate() {
        for version in versions {
            round(version).await;
            if version % 20 == 10 {
                let mut killed = workers.remove(0);
                killed.signal("KILL");
                killed.wait();
            }
        }
        all_settled(&receiver, USERS, 40 + 20 * kill).await;
        all_published(&place).await;
        workers.push(place.start(&["worker"], &[ON]).await);
    }
    heard.extend(listener.take_all().await);
    for user in 0..USERS {
        let user = format!("user_{user}");
        let recorded = recorded(&place, &user).await;
        let expected: Vec<_> = recorded
            .iter()
            .map(|change| serde_json::to_value(change).unwrap())
            .collect();
        assert_eq!(bodies(&heard, &user), expected, "{user}");
        assert!(!recorded.is_empty());
    }
    for app in workers.into_iter().chain([receiver]) {
        assert!(app.stop().success());
    }
}

async fn all_settled(receiver: &App, users: usize, version: usize) {
    for user in 0..users {
        receiver.settled(&event("updated", user, version).0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_wait_in_the_table_while_the_broker_is_away() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let proxy = Proxy::before(broker::authority()).await;
    let mut through = reqwest::Url::parse(&broker::url()).unwrap();
    through.set_ip_host(proxy.address.ip()).unwrap();
    through.set_port(Some(proxy.address.port())).unwrap();
    let worker = place
        .start(&["worker"], &[ON, ("AMQP_URL", through.as_str())])
        .await;
    let listener = listener(&place).await;
    let store = place.store_with_changes();
    let apply = async |event| {
        let write = clerk_sync::worker::plan::plan(&[event]);
        store.apply(&write).await.unwrap();
    };
    apply(update("msg_1", "user_1", 10)).await;
    listener.take(1).await;

    proxy.cut();
    for number in 2..100 {
        apply(update(&format!("msg_{number}"), "user_1", 10 * number)).await;
    }
    until("the metric shows it", async || {
        Scrape::of(&worker).await.samples.get(LAG).copied() > Some(1.0)
    })
    .await;
    assert_eq!(listener.take_all().await, []);
    apply(delete("msg_100", "user_1", 1000)).await;

    proxy.restore();
    let heard = listener
        .take_until(|heard| first_times(heard).len() >= 99)
        .await;
    let ids: Vec<_> = first_times(&heard)
        .iter()
        .map(|heard| heard.body["event_id"].clone())
        .collect();
    let expected: Vec<_> = (2..=100)
        .map(|number| json!(format!("msg_{number}")))
        .collect();
    assert_eq!(ids, expected);
    all_published(&place).await;
    until("the metric shows that too", async || {
        Scrape::of(&worker).await.samples.get(LAG) == Some(&0.0)
    })
    .await;
    assert!(worker.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_kind_is_named_and_left_alone_and_events_are_applied() {
    let place = Place::servers().await;
    let name = place.namespace().queue("changes");
    let (connection, channel) = broker::connect().await;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            name.as_str().into(),
            ExchangeKind::Fanout,
            durable,
            FieldTable::default(),
        )
        .await
        .unwrap();
    connection.close(200, "declared".into()).await.unwrap();
    let app = place
        .start(&["serve"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET), ON])
        .await;
    let fault = format!("the exchange {name} exists with other arguments");
    until("the log names it", async || {
        let log = app.log();
        log.iter()
            .any(|line| line.contains("ERROR") && line.contains(&fault) && line.contains(REBIND))
    })
    .await;
    deliver(&app, event("created", 1, 1)).await;
    assert_eq!(app.settled("msg_1_1").await.status, Status::Applied);
    assert_eq!(app.get("/readyz").await.unwrap().status, 200);
    let output = place
        .command(&["check", "--json"])
        .env(ON.0, ON.1)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&fault) && said.contains(REBIND), "{said}");
    assert!(!said.contains("another AMQP_NAMESPACE"), "{said}");
    let shown = format!("recorded, and published to the exchange {name}");
    assert!(said.contains(&shown), "{said}");

    // Once it is deleted, nothing has been lost.
    place.namespace().delete_exchange("changes").await;
    let listener = listener(&place).await;
    deliver(&app, event("updated", 1, 2)).await;
    app.settled("msg_1_2").await;
    let heard = listener
        .take_until(|heard| {
            heard
                .iter()
                .any(|it| it.body["event_id"] == json!("msg_1_2"))
        })
        .await;
    assert!(!heard.is_empty());
    all_published(&place).await;
    assert!(app.stop().success());
}

/// A user of the broker, who goes with the value.
struct BrokerUser(String);

impl BrokerUser {
    fn new(namespace: &str) -> Self {
        let name = format!("user-of-{namespace}");
        rabbitmqctl(&["add_user", &name, "x"]);
        Self(name)
    }

    /// Gives it everything but the rights to configure and to write the exchange of changes.
    fn allow(&self, namespace: &str, configure: &str, write: &str) {
        let own = format!("^{}\\.", namespace.replace('.', "\\."));
        let parts = |more: &str| format!("{own}(events|dead|unrouted|rescued|expired{more})$");
        rabbitmqctl(&[
            "set_permissions",
            &self.0,
            &parts(configure),
            &parts(write),
            &own,
        ]);
    }
}

impl Drop for BrokerUser {
    fn drop(&mut self) {
        rabbitmqctl(&["delete_user", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_to_the_exchange_that_are_missing_are_named_and_hold_up_no_event() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let namespace = place.namespace().name().to_owned();
    let user = BrokerUser::new(&namespace);
    user.allow(&namespace, "", "");
    let mut url = reqwest::Url::parse(&broker::url()).unwrap();
    url.set_username(&user.0).unwrap();
    url.set_password(Some("x")).unwrap();
    let own = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ON,
        ("AMQP_URL", url.as_str()),
    ];
    let checked = || {
        let output = place.command(&["check", "--json"]).envs(own).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let app = place.start(&["serve"], &own).await;
    let logged = async |what: &str| {
        until(what, async || {
            app.log().iter().any(|line| line.contains(what))
        })
        .await;
    };
    logged("RabbitMQ cannot be used until this is fixed").await;
    let exchange = format!("{namespace}.changes");
    logged(&exchange).await;
    let said = checked();
    for right in ["configure", "write"] {
        assert!(said.contains(&format!("{right} {exchange}")), "{said}");
    }
    deliver(&app, event("created", 1, 1)).await;
    assert_eq!(app.settled("msg_1_1").await.status, Status::Applied);

    // It may declare the exchange, and not publish to it.
    user.allow(&namespace, "|changes", "");
    let listener = listener(&place).await;
    until("a change waits", async || {
        app.log()
            .iter()
            .any(|line| line.contains("changes of rows could not be published"))
    })
    .await;
    let said = checked();
    assert!(
        said.contains(&format!("write {exchange}"))
            && !said.contains(&format!("configure {exchange}")),
        "{said}"
    );
    deliver(&app, event("updated", 1, 2)).await;
    assert_eq!(app.settled("msg_1_2").await.status, Status::Applied);
    assert_eq!(app.get("/readyz").await.unwrap().status, 200);

    user.allow(&namespace, "|changes", "|changes");
    let heard = listener
        .take_until(|heard| first_times(heard).len() >= 2)
        .await;
    assert_eq!(bodies(&heard, "user_1").len(), 2);
    assert!(!checked().contains("\"broker_rights\",\"severity\":\"fail\""));
    assert!(app.stop().success());
}

/// Makes every change this much older.
async fn age(place: &Place, days: i64) {
    let sql =
        format!("update clerk.changes set committed_at = committed_at - interval '{days} days'");
    let mut database = place.database().connect().await;
    database.execute(AssertSqlSafe(sql)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn old_changes_are_deleted_once_they_are_published() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let store = place.store_with_changes();
    let apply = async |event| {
        let write = clerk_sync::worker::plan::plan(&[event]);
        store.apply(&write).await.unwrap();
    };
    let published = async || {
        let worker = place.start(&["worker"], &[ON]).await;
        all_published(&place).await;
        assert!(worker.stop().success());
    };
    apply(update("msg_1", "user_1", 10)).await;
    published().await;
    apply(update("msg_2", "user_2", 10)).await;
    age(&place, 8).await;
    apply(update("msg_3", "user_3", 10)).await;

    // A worker that does not reach the exchange keeps what is not published.
    let away = ("AMQP_URL", "amqp://127.0.0.1:1/%2f");
    let worker = place.start_unready(&["worker"], &[ON, away]);
    until("the published change is deleted", async || {
        recorded(&place, "user_1").await.is_empty()
    })
    .await;
    assert_eq!(recorded(&place, "user_2").await.len(), 1);
    assert!(worker.stop().success());

    published().await;
    let worker = place.start(&["worker"], &[ON]).await;
    until("the other one is deleted", async || {
        recorded(&place, "user_2").await.is_empty()
    })
    .await;
    assert_eq!(recorded(&place, "user_3").await.len(), 1, "it is not old");
    assert!(worker.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rabbitmq_old_changes_are_deleted_by_their_age_alone() {
    let place = Place::embedded();
    place.succeed(&["migrate"]);
    let store = place.store_with_changes();
    for (event_id, user) in [("msg_1", "user_1"), ("msg_2", "user_2")] {
        let write = clerk_sync::worker::plan::plan(&[update(event_id, user, 10)]);
        store.apply(&write).await.unwrap();
    }
    let path = place.directory().join("users.db");
    let mut file = <sqlx::SqliteConnection as sqlx::Connection>::connect(&format!(
        "sqlite://{}",
        path.display()
    ))
    .await
    .unwrap();
    file.execute(
        "update changes set committed_at = committed_at - 8 * 86400000 where clerk_id = 'user_1'",
    )
    .await
    .unwrap();
    drop(file);
    let variables = [("CLERK_WEBHOOK_SIGNING_SECRET", SECRET), ON];
    let app = place.start(&["serve"], &variables).await;
    until("the old change is deleted", async || {
        recorded(&place, "user_1").await.is_empty()
    })
    .await;
    assert_eq!(recorded(&place, "user_2").await.len(), 1);
    assert!(
        !Scrape::of(&app).await.types.contains_key(LAG),
        "none is published"
    );
    assert!(app.stop().success());
}
