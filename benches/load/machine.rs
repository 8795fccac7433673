//! The machine and the servers of a run: what its figures depend on.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use lapin::uri::AMQPUri;
use serde::Serialize;
use sqlx::{PgPool, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::place::Place;

/// Longest wait for the broker's greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(3);

/// What the figures depend on, and nothing that identifies the owner of the machine.
#[derive(Serialize)]
pub struct Machine {
    pub processor: Option<String>,
    pub cores: usize,
    pub memory_gb: Option<f64>,
    pub system: &'static str,
    pub postgresql: String,
    pub postgresql_settings: BTreeMap<String, String>,
    pub rabbitmq: Option<String>,
    pub erlang: Option<String>,
    pub node: Option<String>,
    pub rustc: Option<String>,
    /// What others took of the processor while nothing was measured, in percent of one core.
    pub busy_before_percent: Option<f64>,
}

impl Machine {
    pub async fn look(pool: &PgPool, amqp_url: &str) -> anyhow::Result<Self> {
        let broker = timeout(GREETING_TIMEOUT, greeting(amqp_url)).await;
        let broker = broker.ok().flatten();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
        };
        let memory = after(&read("/proc/meminfo"), "MemTotal");
        let memory = memory.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let mut settings = BTreeMap::new();
        let names = "select name, current_setting(name) from pg_settings where name in \
            ('fsync', 'full_page_writes', 'synchronous_commit', 'shared_buffers', 'max_wal_size')";
        for row in sqlx::query(names).fetch_all(pool).await? {
            settings.insert(row.try_get(0)?, row.try_get(1)?);
        }
        Ok(Self {
            processor: after(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism()?.get(),
            memory_gb: memory.map(|kib| (kib * 1024.0 / 1e9).round()),
            system: std::env::consts::OS,
            postgresql: sqlx::query_scalar("show server_version")
                .fetch_one(pool)
                .await?,
            postgresql_settings: settings,
            rabbitmq: broker.as_deref().and_then(|sent| property(sent, "version")),
            erlang: broker.as_deref().and_then(|sent| {
                // `Erlang/OTP 25.2.3`
                let platform = property(sent, "platform")?;
                Some(platform.rsplit(' ').next()?.to_owned())
            }),
            node: crate::peer::version().ok(),
            rustc: Command::new("rustc")
                .arg("--version")
                .output()
                .ok()
                .map(|said| {
                    let said = String::from_utf8_lossy(&said.stdout);
                    said.split(' ').nth(1).unwrap_or_default().trim().to_owned()
                }),
            busy_before_percent: busy().await,
        })
    }

    /// The versions of the servers, which stand beside every figure.
    pub fn servers(&self) -> String {
        let known = |version: &Option<String>| version.clone().unwrap_or_else(|| "?".into());
        let postgresql = self.postgresql.split(' ').next().unwrap_or_default();
        format!(
            "RabbitMQ {} on Erlang/OTP {}, PostgreSQL {postgresql}, {} cores",
            known(&self.rabbitmq),
            known(&self.erlang),
            self.cores
        )
    }

    /// Whether a commit is on disk; nothing that is measured otherwise says anything.
    pub fn is_durable(&self) -> bool {
        ["fsync", "full_page_writes", "synchronous_commit"]
            .iter()
            .all(|name| {
                self.postgresql_settings
                    .get(*name)
                    .is_some_and(|value| value == "on")
            })
    }
}

/// What the broker sends first, before any password: its properties are in it. lapin does not
/// expose them.
async fn greeting(amqp_url: &str) -> Option<Vec<u8>> {
    let address = amqp_url.parse::<AMQPUri>().ok()?.authority;
    let mut socket = TcpStream::connect((address.host, address.port))
        .await
        .ok()?;
    socket.write_all(b"AMQP\0\0\x09\x01").await.ok()?;
    // A frame: one byte of type, two of channel, four of size.
    let mut head = [0; 7];
    socket.read_exact(&mut head).await.ok()?;
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let mut sent = vec![0; usize::try_from(size.min(64 * 1024)).ok()?];
    socket.read_exact(&mut sent).await.ok()?;
    Some(sent)
}

/// A text of the greeting's table: name, `S`, length in four bytes, text.
fn property(sent: &[u8], name: &str) -> Option<String> {
    let name = [&[u8::try_from(name.len()).ok()?], name.as_bytes(), b"S"].concat();
    let at = sent.windows(name.len()).position(|part| part == name)? + name.len();
    let (length, rest) = sent.get(at..)?.split_first_chunk::<4>()?;
    let text = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// The processor time of everything over a second, in percent of one core.
async fn busy() -> Option<f64> {
    let busy = || {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let fields: Vec<u64> = stat
            .lines()
            .next()?
            .split_whitespace()
            .skip(1)
            .filter_map(|f| f.parse().ok())
            .collect();
        // user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
        Some(fields.iter().take(8).sum::<u64>() - fields.get(3)? - fields.get(4)?)
    };
    let before = busy()?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    Some((busy()? - before) as f64 / 2.0)
}

/// Says at the start what would make the figures say nothing.
pub fn warn(machine: &Machine, place: &Place) {
    if !machine.is_durable() {
        eprintln!(
            "{}: this PostgreSQL does not put commits on disk (fsync, full_page_writes, synchronous_commit): its figures say nothing",
            place.name
        );
    }
    if machine
        .busy_before_percent
        .is_some_and(|percent| percent > 10.0)
    {
        eprintln!(
            "{}: others use the processor: only ratios of one round say something",
            place.name
        );
    }
}
