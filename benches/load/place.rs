//! Where everything happens: a database, names at the broker and a directory of this run's own,
//! taken away at its end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clerk_sync::store::{self, Keep, Store};
use lapin::options::{
    ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use crate::crowd::SECRET;
use crate::own_broker::OwnBroker;
use crate::program::{Program, processor_time, processor_time_of_all};

/// Longest wait for a queue to be empty.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Clone)]
pub struct Place {
    pub name: String,
    server: PgConnectOptions,
    /// The broker, as the benchmark itself and those beside clerk-sync reach it.
    pub amqp_url: String,
    /// As clerk-sync reaches it.
    amqp_url_of_program: String,
    /// The process of the broker, where this run has started it.
    broker: Option<u32>,
    pub directory: PathBuf,
}

/// The program that is measured: the one that cargo has just built, or another build to compare it
/// with.
pub fn program() -> PathBuf {
    std::env::var_os("CLERK_SYNC_BENCH_PROGRAM")
        .map_or(env!("CARGO_BIN_EXE_clerk-sync").into(), PathBuf::from)
}

/// The queue of an application that listens to the exchange of changes.
pub const APPLICATION: &str = "application";

/// A database with the schema.
#[derive(Clone)]
pub struct Database {
    pub options: PgConnectOptions,
    pub pool: PgPool,
    url: String,
    /// Whether a program that is started with it records changes of rows for applications.
    pub change_feed: bool,
}

impl Place {
    /// Creates nothing yet.
    pub fn of_this_run(run: u64) -> anyhow::Result<Self> {
        let variable = |name, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
        let server = variable(
            "TEST_DATABASE_URL",
            "postgres://postgres@127.0.0.1:5432/postgres",
        );
        // Both sides talk to PostgreSQL without TLS: on one machine it would be measured, not the
        // programs. What it costs is a part of its own.
        let server = PgConnectOptions::from_str(&server)
            .context("TEST_DATABASE_URL")?
            .ssl_mode(PgSslMode::Disable);
        let name = format!("clerk_sync_bench_{}_{}", std::process::id(), run % 100_000);
        let amqp_url = variable("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f");
        Ok(Self {
            server: server.disable_statement_logging(),
            amqp_url_of_program: amqp_url.clone(),
            amqp_url,
            broker: None,
            directory: std::env::temp_dir().join(&name),
            name,
        })
    }

    /// The same place with a broker of this run's own.
    pub fn at(&self, broker: &OwnBroker) -> Self {
        Self {
            amqp_url: broker.url(),
            amqp_url_of_program: broker.url(),
            broker: Some(broker.process()),
            ..self.clone()
        }
    }

    /// The same place, whose broker clerk-sync reaches at this URL.
    pub fn over(&self, amqp_url: String) -> Self {
        Self {
            amqp_url_of_program: amqp_url,
            ..self.clone()
        }
    }

    /// Makes a database of its own with the schema in it.
    pub async fn database(&self, purpose: &str) -> anyhow::Result<Database> {
        let name = format!("{}_{purpose}", self.name);
        let mut server = self.server.connect().await.context("no PostgreSQL")?;
        server
            .execute(AssertSqlSafe(format!(
                "create database {name} template template0"
            )))
            .await?;
        let options = self.server.clone().database(&name);
        let url = options.to_url_lossy().to_string();
        let store = store::postgres::Options {
            schema: Default::default(),
            address: url.parse()?,
            connections: 1,
            keep: Keep::default(),
            change_feed: false,
        };
        let store = Store::open(&store::Options::Postgres(store))?;
        store.migrate().await?;
        store.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .connect_with(options.clone())
            .await?;
        Ok(Database {
            options,
            pool,
            url,
            change_feed: false,
        })
    }

    pub async fn broker(&self) -> anyhow::Result<(Connection, Channel)> {
        let connection = Connection::connect(&self.amqp_url, ConnectionProperties::default()).await;
        let connection = connection.context("no RabbitMQ")?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    /// Names at the broker begin with this.
    pub fn namespace(&self) -> String {
        self.name.replace('_', "-")
    }

    pub fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.namespace())
    }

    /// The program that was built for release, with its defaults; `database` none means embedded.
    pub fn command(&self, role: &str, database: Option<&Database>) -> anyhow::Result<Command> {
        let directory = self.directory.join("data");
        std::fs::create_dir_all(&directory)?;
        let mut command = Command::new(program());
        command
            .arg(role)
            .current_dir(&directory)
            .env_clear()
            .env("DATA_DIR", &directory)
            .env("PORT", "0");
        // For experiments.
        let passes = |name: &str| {
            ["TOKIO_", "MIMALLOC_", "WORKER_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        command.envs(std::env::vars().filter(|(name, _)| passes(name)));
        command
            .env("LOG_FORMAT", "json")
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        if let Some(database) = database {
            if database.change_feed {
                command.env("CHANGE_FEED", "on");
            }
            command.env("DATABASE_URL", &database.url);
            command
                .env("AMQP_URL", &self.amqp_url_of_program)
                .env("AMQP_NAMESPACE", self.namespace());
        }
        Ok(command)
    }

    /// Runs clerk-sync and waits until it is ready.
    pub async fn start(&self, role: &str, database: Option<&Database>) -> anyhow::Result<Program> {
        let program = Program::start(self.command(role, database)?)?;
        program.ready("/readyz").await?;
        Ok(program)
    }

    pub fn forget_embedded(&self) -> anyhow::Result<()> {
        let directory = self.directory.join("data");
        if directory.exists() {
            std::fs::remove_dir_all(directory)?;
        }
        Ok(())
    }

    /// How many messages wait in a queue.
    pub async fn depth(&self, channel: &Channel, queue: &str) -> anyhow::Result<u32> {
        let options = QueueDeclareOptions {
            passive: true,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: false,
        };
        Ok(channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await?
            .message_count())
    }

    pub async fn until_empty(&self, channel: &Channel, queue: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.depth(channel, queue).await? > 0 {
            if began.elapsed() > EMPTY_TIMEOUT {
                bail!("the queue {queue} is not drained");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub async fn purge(&self, channel: &Channel, queue: &str) -> anyhow::Result<()> {
        channel
            .queue_purge(queue.into(), QueuePurgeOptions { nowait: false })
            .await?;
        Ok(())
    }

    pub async fn delete_queue(&self, channel: &Channel, queue: &str) -> anyhow::Result<()> {
        let options = QueueDeleteOptions {
            if_unused: false,
            if_empty: false,
            nowait: false,
        };
        channel.queue_delete(queue.into(), options).await?;
        Ok(())
    }

    /// A durable quorum queue, as the program's own.
    pub async fn declare(&self, channel: &Channel, queue: &str) -> anyhow::Result<()> {
        let options = QueueDeclareOptions {
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: false,
        };
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        channel
            .queue_declare(queue.into(), options, arguments)
            .await?;
        Ok(())
    }

    /// Takes everything away. What was never made is passed over.
    pub async fn clear(&self) -> anyhow::Result<()> {
        if self.directory.exists() {
            std::fs::remove_dir_all(&self.directory)?;
        }
        let mut server = self.server.connect().await?;
        for purpose in ["users", "many", "filled"] {
            let name = format!("{}_{purpose}", self.name);
            server
                .execute(AssertSqlSafe(format!(
                    "drop database if exists {name} with (force)"
                )))
                .await?;
        }
        let (connection, channel) = self.broker().await?;
        // A queue or an exchange that is not there is deleted all the same (RabbitMQ since 3.2).
        for name in [
            "events",
            "dead",
            "unrouted",
            "rescued",
            "bare",
            "peer",
            APPLICATION,
        ] {
            self.delete_queue(&channel, &self.queue(name)).await?;
        }
        for name in [
            "events", "dead", "unrouted", "rescued", "expired", "changes",
        ] {
            let options = ExchangeDeleteOptions {
                if_unused: false,
                nowait: false,
            };
            channel
                .exchange_delete(self.queue(name).into(), options)
                .await?;
        }
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    /// Processor time so far of the broker, where it is on this machine.
    pub fn broker_time(&self) -> Option<Duration> {
        match self.broker {
            Some(process) => processor_time(process),
            None => processor_time_of_all("beam.smp"),
        }
    }

    pub fn data(&self, file: &str) -> PathBuf {
        Path::new(&self.directory).join("data").join(file)
    }
}

impl Database {
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same database, reached with TLS or without by the program that is measured.
    pub fn over(&self, mode: PgSslMode) -> Self {
        let url = self
            .options
            .clone()
            .ssl_mode(mode)
            .to_url_lossy()
            .to_string();
        Self {
            options: self.options.clone(),
            pool: self.pool.clone(),
            url,
            change_feed: self.change_feed,
        }
    }

    /// The same database for a program that records changes of rows for applications.
    pub fn with_change_feed(&self) -> Self {
        Self {
            change_feed: true,
            ..self.clone()
        }
    }

    /// Empties the record and the change feed, so that each part begins alike; the users stay.
    pub async fn forget_events(&self) -> anyhow::Result<()> {
        self.pool
            .execute("truncate clerk.events, clerk.changes")
            .await?;
        Ok(())
    }

    /// Forgets which queue workers took events from: the next one takes them from another broker.
    pub async fn forget_queue(&self) -> anyhow::Result<()> {
        self.pool
            .execute("delete from clerk.settings where name = 'worker_queue'")
            .await?;
        Ok(())
    }

    /// Processor time so far of the server's processes for clerk-sync's connections, where they are
    /// on this machine. What the server does for everybody, such as writing its log, is not in it.
    pub async fn processor_time(&self) -> anyhow::Result<Option<Duration>> {
        let ids = "select pid from pg_stat_activity where datname = current_database() and application_name = 'clerk-sync'";
        let ids: Vec<i32> = sqlx::query_scalar(ids).fetch_all(&self.pool).await?;
        // In a container its processes have other numbers here, which may be anybody's: its command
        // line names the database.
        let name = self.options.get_database().unwrap_or_default();
        let is_ours = |id: &u32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(name)
        };
        let ours: Vec<_> = ids
            .iter()
            .map(|id| id.unsigned_abs())
            .filter(is_ours)
            .collect();
        Ok(if ours.is_empty() {
            None
        } else {
            ours.into_iter().map(processor_time).sum()
        })
    }

    /// So that no part pays for the rows that another left dead.
    pub async fn settle(&self) -> anyhow::Result<()> {
        self.pool.execute("vacuum analyze clerk.users").await?;
        self.pool.execute("vacuum analyze clerk.events").await?;
        self.pool.execute("checkpoint").await?;
        Ok(())
    }
}
