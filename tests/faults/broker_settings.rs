//! Brokers with limits in their configuration: small messages, short timeouts, policies. The effect
//! on events is reported.

use std::process::Command;

use clerk_sync::clerk::{EventId, EventType, SignedEvent};
use clerk_sync::clock::now;
use clerk_sync::queue::{self, PublishError, Queue};
use clerk_sync::store::{self, Keep, Status, Store};
use futures_util::future::join_all;
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::servers::free_port;
use crate::servers::postgres::Postgres;
use crate::servers::rabbitmq::{Family, Node, Settings};
use crate::support::app::tempdir::TempDir;
use crate::support::app::{App, SECRET, until};

/// The program beside one node; rows in a SQLite file, unless a server is named.
struct Place<'n> {
    node: &'n Node<'n>,
    directory: TempDir,
    database: Option<String>,
}

impl<'n> Place<'n> {
    fn beside(node: &'n Node<'n>) -> Self {
        Self {
            node,
            directory: TempDir::new(),
            database: None,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear();
        command
            .env("DATA_DIR", self.directory.path())
            .env("AMQP_URL", Node::url(self.node.port()));
        command
            .env("AMQP_NAMESPACE", "ns")
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .env("RUST_LOG", "info");
        command.env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        if let Some(url) = &self.database {
            command.env("DATABASE_URL", url);
        }
        command
    }

    fn store(&self) -> Store {
        if let Some(url) = &self.database {
            return crate::system::store(url);
        }
        let path = self.directory.path().join("users.db");
        Store::open(&store::Options::Sqlite(store::sqlite::Options {
            path,
            keep: Keep::default(),
            change_feed: false,
        }))
        .unwrap()
    }

    fn migrate(&self) {
        let migrated = self.command(&["migrate"]).output().unwrap();
        assert!(
            migrated.status.success(),
            "{}",
            String::from_utf8_lossy(&migrated.stderr)
        );
    }

    async fn start(&self, role: &str) -> App {
        let app = App::spawn(self.command(&[role]), self.store());
        until("it is ready", async || {
            app.get("/readyz")
                .await
                .is_some_and(|answer| answer.status == 200)
        })
        .await;
        app
    }

    /// The findings of one check, as `severity: what → fix`.
    fn found(&self, check: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let output = self
            .command(&["check", "--json"])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        for stream in [&output.stdout, &output.stderr] {
            assert!(
                !String::from_utf8_lossy(stream).contains("sesame"),
                "a secret is printed"
            );
        }
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = said["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["check"] == check);
        let text =
            |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        findings
            .map(|it| {
                format!(
                    "{}: {} → {}",
                    text(it, "severity"),
                    text(it, "what"),
                    text(it, "mend")
                )
            })
            .collect()
    }
}

fn body(user: usize, bytes: usize) -> String {
    let filler = "x".repeat(bytes);
    format!(
        r#"{{"data":{{"id":"user_{user}","updated_at":1795172400018,"last_name":"{filler}"}},"timestamp":1795172400033,"type":"user.updated"}}"#
    )
}

fn logged(app: &App, words: &str) -> usize {
    app.log().iter().filter(|line| line.contains(words)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_that_is_too_large_for_the_broker_is_refused_and_delays_no_other() {
    let _alone = crate::ALONE.lock().await;
    let family = Family::new();
    let lines = "max_message_size = 100000\n".to_owned();
    let node = family
        .start_with(
            "small",
            Settings {
                lines,
                ..Settings::default()
            },
        )
        .await;
    let place = Place::beside(&node);
    let app = place.start("serve").await;
    until("the log says so", async || {
        logged(&app, "RabbitMQ takes no message as large as MAX_BODY_BYTES") == 1
    })
    .await;
    // The worker's connection may come later than the receiver's.
    until("the worker is connected", async || {
        logged(&app, r#""purpose":"consume""#) == 1
    })
    .await;
    let connected = logged(&app, "connected to RabbitMQ");

    let answers = join_all((0..40).map(async |number| {
        let bytes = if number % 4 == 0 { 150_000 } else { 100 };
        (
            number,
            app.deliver(&format!("msg_{number}"), body(number, bytes))
                .await,
        )
    }));
    for (number, answer) in answers.await {
        if number % 4 == 0 {
            assert_eq!(
                (answer.status, answer.code()),
                (413, "body_too_large"),
                "{:?}",
                answer.body
            );
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(
                detail.contains("100000 bytes") && detail.contains("max_message_size"),
                "{detail}"
            );
        } else {
            assert_eq!(answer.status, 200, "{:?}", answer.body);
            assert_eq!(
                app.settled(&format!("msg_{number}")).await.status,
                Status::Applied
            );
        }
    }
    assert_eq!(
        logged(&app, "connected to RabbitMQ"),
        connected,
        "no connection is lost by it"
    );
    assert_eq!(logged(&app, "RabbitMQ is away"), 0);
    assert!(logged(&app, "requests are rejected") > 0, "the log says so");
    let (_, page) = app.text("/metrics").await;
    assert!(
        page.contains(r#"clerk_sync_webhooks_total{result="body_too_large",type="other"} 10"#),
        "it is counted"
    );

    let found = place.found("broker_message_size", &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("fail: RabbitMQ accepts at most 100000 bytes in one message"),
        "{found:?}"
    );
    assert!(
        found[0].contains("MAX_BODY_BYTES is 1048576") && found[0].contains("max_message_size"),
        "{found:?}"
    );
    assert!(
        place
            .found("broker_message_size", &[("MAX_BODY_BYTES", "100000")])
            .is_empty(),
        "it is enough"
    );

    // The limit is learned from the first refusal. Other events of that publish are published
    // again.
    let options = queue::rabbitmq::Options {
        address: Node::url(node.port()).parse().unwrap(),
        namespace: "bare".into(),
    };
    let queue = Queue::open(&queue::Options::RabbitMq(options))
        .await
        .unwrap();
    let event = |number: usize, bytes: usize| {
        let (id, body) = (
            EventId::new(&format!("msg_{number}")).unwrap(),
            body(number, bytes),
        );
        SignedEvent::restored(
            id,
            EventType::named("user.updated"),
            now(),
            now(),
            body.into(),
        )
    };
    until("it is connected", async || {
        queue.publish(event(0, 1)).await.is_ok()
    })
    .await;
    let published = join_all((1..200).map(async |number| {
        let bytes = if number % 50 == 0 { 99_990 } else { 1 };
        (number, queue.publish(event(number, bytes)).await)
    }));
    for (number, published) in published.await {
        let expected = if number % 50 == 0 {
            Err(PublishError::TooLarge { max: 100_000 })
        } else {
            Ok(())
        };
        assert_eq!(published, expected, "{number}");
    }
    queue.close().await;
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_short_timeout_for_acknowledgements_is_learned_once() {
    let _alone = crate::ALONE.lock().await;
    let family = Family::new();
    let lines = "consumer_timeout = 10000\n".to_owned();
    let node = family
        .start_with(
            "short",
            Settings {
                lines,
                ..Settings::default()
            },
        )
        .await;
    // How often a channel looks; a minute otherwise.
    node.control(&[
        "eval",
        "application:set_env(rabbit, channel_tick_interval, 1000).",
    ]);
    let postgres = Postgres::start().await;
    let place = Place {
        database: Some(Postgres::url(postgres.port())),
        ..Place::beside(&node)
    };
    place.migrate();
    let mut outside = PgConnection::connect(&Postgres::url(postgres.port()))
        .await
        .unwrap();
    outside
        .execute(
            "create function public.refuse() returns trigger language plpgsql as $$
             begin raise exception 'full' using errcode = '53100'; end $$;
             create trigger full_disk before insert on clerk.events for each statement execute function public.refuse()",
        )
        .await
        .unwrap();
    let app = place.start("serve").await;
    for number in 0..5 {
        assert_eq!(
            app.deliver(&format!("msg_{number}"), body(number, 10))
                .await
                .status,
            200
        );
    }
    until("the broker takes them back", async || {
        logged(&app, "RabbitMQ took events back from this worker") == 1
    })
    .await;
    // From then on they are returned earlier: again and again, without spending a delivery.
    until("they are returned", async || {
        logged(&app, "the database is away: events wait in the queue") >= 3
    })
    .await;
    outside
        .execute("drop trigger full_disk on clerk.events")
        .await
        .unwrap();
    for number in 0..5 {
        assert_eq!(
            app.settled(&format!("msg_{number}")).await.status,
            Status::Applied
        );
    }
    assert_eq!(
        logged(&app, "acknowledgement on channel"),
        1,
        "once, and no more"
    );
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_policy_that_takes_events_out_is_named_and_loses_none() {
    let _alone = crate::ALONE.lock().await;
    let family = Family::new();
    let port = free_port();
    let lines = format!("management.tcp.port = {port}\nmanagement.tcp.ip = 127.0.0.1\n");
    let node = family
        .start_with(
            "policies",
            Settings {
                plugins: "rabbitmq_management",
                lines,
            },
        )
        .await;
    // How long the broker waits until it tries again to route what it holds; three minutes
    // otherwise.
    node.control(&[
        "eval",
        "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 1000).",
    ]);
    let url = format!("http://127.0.0.1:{port}");
    let with_url = [("AMQP_MANAGEMENT_URL", url.as_str())];
    let place = Place::beside(&node);
    place.migrate();
    let receiver = place.start("receiver").await;
    let policies = || place.found("policies", &with_url);
    until("the API has figures", async || {
        policies()[0].starts_with("ok: none of RabbitMQ's takes events")
    })
    .await;

    node.control(&[
        "set_policy",
        "ttl",
        "^ns\\.",
        r#"{"message-ttl":500}"#,
        "--apply-to",
        "queues",
    ]);
    until("check names the policy", async || policies().len() == 2).await;
    let found = policies();
    assert!(
        found
            .iter()
            .all(|line| line.starts_with("fail: ns.") && line.contains("policy \"ttl\"")),
        "{found:?}"
    );
    assert!(found.iter().any(|line| {
        line.contains("ns.events has a message-ttl: events that no worker takes within 500 ms")
    }));
    for number in 0..5 {
        assert_eq!(
            receiver
                .deliver(&format!("msg_{number}"), body(number, 10))
                .await
                .status,
            200
        );
    }
    until("check says what is held", async || {
        policies()
            .iter()
            .any(|line| line.contains("holds 5 events"))
    })
    .await;
    let worker = place.start("worker").await;
    for number in 0..5 {
        let event = worker.settled(&format!("msg_{number}")).await;
        assert_eq!(
            (event.status, event.error_code.as_deref()),
            (Status::Failed, Some("expired"))
        );
        assert_eq!(event.payload.as_deref(), Some(body(number, 10).as_bytes()));
    }
    assert!(worker.stop().success());

    // The remedy of the documents; an operator's policy is joined to it.
    let exempt = r#"{"overflow":"reject-publish"}"#;
    node.control(&[
        "set_policy",
        "--priority",
        "100",
        "--apply-to",
        "queues",
        "clerk-sync",
        "^ns\\.",
        exempt,
    ]);
    until("check finds nothing", async || {
        policies()[0].starts_with("ok: ")
    })
    .await;
    node.control(&[
        "set_operator_policy",
        "--apply-to",
        "queues",
        "theirs",
        "^ns\\.events",
        r#"{"expires":86400000}"#,
    ]);
    until("check names it", async || {
        policies()[0].contains("operator policy \"theirs\"")
    })
    .await;
    assert!(
        policies()[0].contains("is deleted with its events when it has no consumer for 24 h"),
        "{:?}",
        policies()
    );

    // A missing right is reported, with what to do.
    node.control(&["add_user", "blind", "sesame"]);
    node.control(&["set_permissions", "blind", ".*", ".*", ".*"]);
    for (url, words) in [
        (
            format!("http://blind:sesame@127.0.0.1:{port}"),
            "set_user_tags",
        ),
        (
            format!("http://guest:sesame@127.0.0.1:{port}"),
            "set_user_tags",
        ),
        (
            format!("http://127.0.0.1:{}", free_port()),
            "rabbitmq-plugins enable rabbitmq_management",
        ),
        (
            format!("http://127.0.0.1:{}/api", receiver.address.port()),
            "set AMQP_MANAGEMENT_URL to its address",
        ),
    ] {
        let found = place.found("policies", &[("AMQP_MANAGEMENT_URL", &url)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("note: AMQP does not show them") && found[0].contains(words),
            "{found:?}"
        );
    }
    let wrong = place.found(
        "configuration",
        &[("AMQP_MANAGEMENT_URL", "http://u:7/sesame@h")],
    );
    assert!(
        wrong
            .iter()
            .any(|line| line.starts_with("fail: AMQP_MANAGEMENT_URL")),
        "{wrong:?}"
    );
    assert!(receiver.stop().success());
}
