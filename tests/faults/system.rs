//! A receiver and a worker, between servers of their own, with a wire to each that can be cut.

use std::process::{Command, Stdio};

use clerk_sync::clerk::tables;
use clerk_sync::store::{self, Keep, Store};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

use crate::feed::{Apis, Feed, TOKEN};
use crate::flood::{Expected, Target};
use crate::noted::Noted;
use crate::servers::postgres::Postgres;
use crate::servers::rabbitmq::Node;
use crate::support::app::tempdir::TempDir;
use crate::support::app::{App, SECRET, until};
use crate::support::proxy::Proxy;

/// What the queues are named after; the broker is ours alone.
const NAMESPACE: &str = "faults";

pub struct System<'a> {
    pub postgres: Postgres,
    pub broker: Node<'a>,
    pub wires: Wires,
    pub target: Target,
    directory: TempDir,
    receiver: Option<App>,
    workers: Vec<App>,
    worker_count: usize,
    /// Where the workers' API is.
    apis: Apis,
    /// The applications that follow the change feed.
    feed: Option<Feed>,
}

pub struct Wires {
    pub receiver_to_broker: Proxy,
    pub worker_to_broker: Proxy,
    pub worker_to_database: Proxy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Receiver,
    Worker,
}

/// The seed of this run, which `FAULT_SEED` repeats.
pub fn seed() -> u64 {
    let seed = std::env::var("FAULT_SEED").map_or_else(
        |_| rand::random(),
        |text| text.parse().expect("FAULT_SEED is a number"),
    );
    println!("FAULT_SEED={seed} repeats this run");
    seed
}

impl<'a> System<'a> {
    pub async fn start(postgres: Postgres, broker: Node<'a>, worker_count: usize) -> Self {
        let broker_at = format!("127.0.0.1:{}", broker.port());
        let wires = Wires {
            receiver_to_broker: Proxy::before(broker_at.clone()).await,
            worker_to_broker: Proxy::before(broker_at).await,
            worker_to_database: Proxy::before(format!("127.0.0.1:{}", postgres.port())).await,
        };
        let (directory, target) = (TempDir::new(), Target::new(None));
        let mut system = Self {
            postgres,
            broker,
            wires,
            target,
            directory,
            receiver: None,
            workers: Vec::new(),
            worker_count,
            apis: Apis::new(Vec::new()),
            feed: None,
        };
        let migrated = system.command("migrate").output().unwrap();
        assert!(
            migrated.status.success(),
            "{}",
            String::from_utf8_lossy(&migrated.stderr)
        );
        system.start_role(Role::Receiver);
        system.start_role(Role::Worker);
        system.is_ready().await;
        system.noted().begin().await;
        let broker = Node::url(system.broker.port());
        system.feed = Some(Feed::follow(&system.apis, broker, NAMESPACE).await);
        system.broker.sync_names();
        system
    }

    pub fn start_role(&mut self, role: Role) {
        match role {
            Role::Receiver => {
                let app = App::spawn(self.command("receiver"), self.store());
                self.target.send_replace(Some(app.webhook_url()));
                self.receiver = Some(app);
            }
            Role::Worker => {
                while self.workers.len() < self.worker_count {
                    let app = App::spawn(self.command("worker"), self.store());
                    self.workers.push(app);
                }
                self.show_apis();
            }
        }
    }

    fn show_apis(&self) {
        let apis = self.workers.iter();
        let apis = apis.map(|worker| format!("http://{}", worker.address));
        self.apis.send_replace(apis.collect());
    }

    /// `kill -9`
    pub fn kill_role(&mut self, role: Role) {
        let killed: Vec<_> = match role {
            Role::Receiver => {
                self.target.send_replace(None);
                self.receiver.take().into_iter().collect()
            }
            Role::Worker => self.workers.drain(..).collect(),
        };
        self.show_apis();
        assert!(!killed.is_empty(), "it runs");
        for mut app in killed {
            app.signal("KILL");
            app.wait();
        }
    }

    /// `kill -9` of the worker that has run for longest; the others go on.
    pub fn kill_a_worker(&mut self) {
        let mut app = self.workers.remove(0);
        self.show_apis();
        app.signal("KILL");
        app.wait();
    }

    /// Holds the change feed against what the applications have seen of it, and against the model.
    pub async fn check_feed(&self, expected: &Expected) -> Vec<String> {
        let feed = self.feed.as_ref().expect("it is followed from the start");
        feed.check(&self.store(), expected).await
    }

    /// How many messages of the exchange came more than once.
    pub fn repeated_changes(&self) -> usize {
        self.feed.as_ref().map_or(0, Feed::repeated)
    }

    pub async fn is_ready(&self) {
        for app in self.receiver.iter().chain(&self.workers) {
            until("the program is ready", async || {
                app.get("/readyz")
                    .await
                    .is_some_and(|answer| answer.status == 200)
            })
            .await;
        }
    }

    /// Waits until nothing is left in any queue, or in flight.
    pub async fn queues_are_empty(&self) {
        until("nothing is left in a queue", async || {
            self.broker.messages() == Some(0)
        })
        .await;
    }

    /// Deletes the queue of events, once it is empty. Later events are unroutable.
    pub async fn delete_queue(&self) {
        // See `Node::dead_letters_work`.
        until("the workers for dead letters are up", async || {
            self.broker.dead_letters_work()
        })
        .await;
        let (connection, channel) = self.channel().await;
        let events = format!("{NAMESPACE}.events");
        let events = events.as_str();
        for key in event_keys() {
            channel
                .queue_unbind(
                    events.into(),
                    events.into(),
                    key.into(),
                    FieldTable::default(),
                )
                .await
                .unwrap();
        }
        until("the queue is empty", async || {
            self.broker.messages_in(events) == Some(0)
        })
        .await;
        let options = QueueDeleteOptions {
            if_unused: false,
            if_empty: false,
            nowait: false,
        };
        let lost = channel.queue_delete(events.into(), options).await.unwrap();
        assert_eq!(lost, 0, "it was not empty");
        connection.close(200, "deleted".into()).await.unwrap();
    }

    pub async fn delete_exchange(&self) {
        let (connection, channel) = self.channel().await;
        let options = ExchangeDeleteOptions {
            if_unused: false,
            nowait: false,
        };
        channel
            .exchange_delete(format!("{NAMESPACE}.events").into(), options)
            .await
            .unwrap();
        connection.close(200, "deleted".into()).await.unwrap();
    }

    /// Waits until events of every kind find their way to the queue again.
    pub async fn queue_is_bound(&self) {
        let name = format!("{NAMESPACE}.events");
        let bindings: Vec<_> = event_keys()
            .map(|key| format!("{name}\t{name}\t{key}"))
            .collect();
        until("the queue is bound", async || {
            let columns = [
                "list_bindings",
                "source_name",
                "destination_name",
                "routing_key",
            ];
            let listed = self.broker.control(&columns);
            bindings
                .iter()
                .all(|binding| listed.lines().any(|line| line == binding))
        })
        .await;
    }

    /// Replays the unroutable events.
    pub async fn replay(&self) {
        self.queues_are_empty().await;
        let replayed = self
            .command("events")
            .args(["replay", "--all", "--json"])
            .output()
            .unwrap();
        assert!(
            replayed.status.success(),
            "{}",
            String::from_utf8_lossy(&replayed.stderr)
        );
        println!(
            "     replayed: {}",
            String::from_utf8_lossy(&replayed.stdout).trim()
        );
        self.queues_are_empty().await;
    }

    async fn channel(&self) -> (Connection, Channel) {
        let url = Node::url(self.broker.port());
        let connection = Connection::connect(&url, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// How often the worker has begun to wait for the database.
    pub fn waits_for_database(&self) -> usize {
        let logs = self.workers.iter().flat_map(App::log);
        logs.filter(|line| line.contains("waiting for the database"))
            .count()
    }

    /// The store, past the wires.
    pub fn store(&self) -> Store {
        store(&Postgres::url(self.postgres.port()))
    }

    /// What the database has noted.
    pub fn noted(&self) -> Noted {
        Noted::Postgres(Postgres::url(self.postgres.port()))
    }

    fn command(&self, role: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
        let broker = if role == "receiver" {
            &self.wires.receiver_to_broker
        } else {
            &self.wires.worker_to_broker
        };
        command
            .arg(role)
            .current_dir(self.directory.path())
            .env_clear()
            .stdin(Stdio::null());
        command.env(
            "DATABASE_URL",
            Postgres::url(self.wires.worker_to_database.address.port()),
        );
        command
            .env("AMQP_URL", Node::url(broker.address.port()))
            .env("AMQP_NAMESPACE", NAMESPACE);
        command
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .env("RUST_LOG", "info");
        command.env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        command.env("CHANGE_FEED", "on").env("READ_TOKEN", TOKEN);
        command
    }
}

pub fn store(url: &str) -> Store {
    let options = store::postgres::Options {
        schema: Default::default(),
        address: url.parse().unwrap(),
        connections: 2,
        keep: Keep::default(),
        change_feed: true,
    };
    Store::open(&store::Options::Postgres(options)).unwrap()
}

/// What the queue of events is bound to.
fn event_keys() -> impl Iterator<Item = String> {
    let first = tables::ALL.iter().map(|table| table.events[0].name);
    first.map(|name| format!("{}.*", name.split('.').next().unwrap()))
}
