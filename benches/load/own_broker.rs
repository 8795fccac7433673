//! A RabbitMQ node of a run's own, for what the one that runs cannot be asked for: TLS, and other
//! settings. It has its files in the directory of the run, listens on loopback alone, and ends when
//! it is dropped.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lapin::{Connection, ConnectionProperties};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::timeout;

/// Longest wait for a node to start.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How long one try to connect may take: a node that starts takes a connection, and may never
/// answer on it.
const TRIED_FOR: Duration = Duration::from_secs(3);

/// Longest wait for a node to end.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// How a node differs from one as it comes.
#[derive(Clone, Default)]
pub struct Settings {
    /// Names of plugins, separated by commas.
    pub plugins: &'static str,
    /// Lines of rabbitmq.conf.
    pub configuration: String,
    /// advanced.config: an Erlang term.
    pub advanced: String,
    /// Variables of the node's process.
    pub environment: Vec<(&'static str, String)>,
}

pub struct OwnBroker {
    directory: PathBuf,
    port: u16,
    process: u32,
    /// A script; the node itself is another process.
    server: Child,
    _register: Register,
}

impl OwnBroker {
    /// Starts a node with its files in `directory`, which goes with it.
    ///
    /// # Errors
    /// Fails where RabbitMQ's programs are not installed, and for a node that does not start.
    pub async fn start(directory: PathBuf, settings: &Settings) -> anyhow::Result<Self> {
        let programs = programs().context("RabbitMQ's own programs are not installed")?;
        std::fs::create_dir_all(&directory)?;
        let file = |name: &str| directory.join(name);
        let write = |name: &str, text: &str| std::fs::write(file(name), text);
        write("plugins", &format!("[{}].", settings.plugins))?;
        write("rabbitmq.conf", &settings.configuration)?;
        let advanced = Some(settings.advanced.as_str()).filter(|advanced| !advanced.is_empty());
        write("advanced.config", advanced.unwrap_or("[]."))?;
        write("environment", "")?;
        let (port, register_port, distribution_port) = (free_port()?, free_port()?, free_port()?);
        let register = Register::start(register_port)?;
        let output = std::fs::File::create(file("output"))?;
        let mut command = Command::new(programs.join("rabbitmq-server"));
        command
            .env("HOME", &directory)
            .env("ERL_EPMD_PORT", register_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("bench-{port}@localhost"))
            .env("RABBITMQ_USE_LONGNAME", "false")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", file("environment"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins"))
            .env("RABBITMQ_MNESIA_BASE", file("data"))
            .env("RABBITMQ_LOG_BASE", file("log"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            .envs(
                settings
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            );
        command
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .process_group(0);
        let mut broker = Self {
            server: command.spawn().context("rabbitmq-server cannot be run")?,
            _register: register,
            process: 0,
            port,
            directory,
        };
        broker.until_up().await?;
        Ok(broker)
    }

    async fn until_up(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !timeout(TRIED_FOR, is_up(&self.url()))
            .await
            .unwrap_or(false)
        {
            if began.elapsed() > START_TIMEOUT || self.server.try_wait()?.is_some() {
                let output = std::fs::read_to_string(self.directory.join("output"));
                bail!(
                    "a RabbitMQ node does not start:\n{}",
                    output.unwrap_or_default()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.process = self
            .written_process()
            .context("a node without its number")?;
        Ok(())
    }

    fn written_process(&self) -> Option<u32> {
        let written = std::fs::read_to_string(self.directory.join("pid")).ok()?;
        written.trim().parse().ok()
    }

    pub fn process(&self) -> u32 {
        self.process
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }
}

async fn is_up(url: &str) -> bool {
    let Ok(connection) = Connection::connect(url, ConnectionProperties::default()).await else {
        return false;
    };
    // A node takes connections a little before its queues.
    let opened = connection.create_channel().await.is_ok();
    drop(connection.close(200, "up".into()).await);
    opened
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        // Each fails where it has ended already.
        let node = self.written_process().and_then(|id| i32::try_from(id).ok());
        let node = node.and_then(Pid::from_raw);
        if let Some(node) = node {
            kill_process(node, Signal::KILL).ok();
        }
        drop(self.server.kill());
        drop(self.server.wait());
        // While it ends it still counts as processor time of RabbitMQ, and then no more.
        let began = Instant::now();
        while node.is_some_and(|node| test_kill_process(node).is_ok())
            && began.elapsed() < END_TIMEOUT
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Keeps the names of nodes. One of our own ends with us; the usual one would stay.
struct Register(Child);

impl Register {
    fn start(port: u16) -> anyhow::Result<Self> {
        let mut command = Command::new("epmd");
        command
            .args(["-port", &port.to_string()])
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        Ok(Self(command.spawn().context("epmd cannot be run")?))
    }
}

impl Drop for Register {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port that no server listens on now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The folder of RabbitMQ's programs: on Debian not the wrappers on the path, which change to
/// another user.
fn programs() -> Option<PathBuf> {
    let given = std::env::var_os("TEST_RABBITMQ_PROGRAMS").map(PathBuf::from);
    let known = [
        "/usr/lib/rabbitmq/bin",
        "/opt/homebrew/opt/rabbitmq/sbin",
        "/usr/local/opt/rabbitmq/sbin",
    ];
    given
        .into_iter()
        .chain(known.map(PathBuf::from))
        .find(|folder| folder.join("rabbitmq-server").exists())
}

/// A certificate for 127.0.0.1 that is its own CA, and its key.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// Made with openssl, which RabbitMQ's package needs itself.
    pub fn make(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(
            directory.join("certificate.conf"),
            "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = 127.0.0.1\n[leaf]\nbasicConstraints = CA:FALSE\nsubjectAltName = IP:127.0.0.1\n",
        )?;
        let said = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-config", "certificate.conf", "-extensions", "leaf"])
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(directory)
            .output()
            .context("openssl cannot be run")?;
        if !said.status.success() {
            bail!("openssl: {}", String::from_utf8_lossy(&said.stderr));
        }
        Ok(Self {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
        })
    }
}
