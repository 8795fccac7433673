//! RabbitMQ nodes of our own: one, or a cluster.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use super::free_port;
use crate::support::app::tempdir::TempDir;
use crate::support::app::until;

/// What the nodes of a cluster share: the cookie that lets them in with each other, and the
/// register of their names.
pub struct Family {
    programs: PathBuf,
    directory: TempDir,
    /// A register of our own ends with us; the usual one would stay.
    register: Child,
    register_port: u16,
}

/// Up to the filter.
const MESSAGES: &str = "lists:sum([begin
        {ok, {_, Count}, _} = ra:leader_query(amqqueue:get_pid(Queue), {rabbit_fifo, query_messages_total, []}), Count
    end || Queue <- rabbit_amqqueue:list()";

/// Each answers once it has started.
const DEAD_LETTERS: &str = "[_ | _] = [sys:get_state(Worker)
    || {_, Worker, _, _} <- supervisor:which_children(rabbit_fifo_dlx_sup), is_pid(Worker)], ok.";

/// How long one try to connect may take. lapin has no bound of its own for an answer.
const TRIED_FOR: Duration = Duration::from_secs(3);

pub struct Node<'a> {
    family: &'a Family,
    name: String,
    port: u16,
    distribution_port: u16,
    settings: Settings,
    server: Option<Child>,
}

/// How a node differs from one as it comes.
#[derive(Default)]
pub struct Settings {
    /// Names of plugins, separated by commas.
    pub plugins: &'static str,
    /// Lines of rabbitmq.conf.
    pub lines: String,
}

impl Family {
    pub fn new() -> Self {
        let register_port = free_port();
        let register = Command::new("epmd")
            .args(["-port", &register_port.to_string()])
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("epmd comes with Erlang, which RabbitMQ needs");
        Self {
            programs: programs(),
            directory: TempDir::new(),
            register,
            register_port,
        }
    }

    /// Starts a node. The first one makes the cookie: let it be up before the next.
    pub async fn start(&self, name: &str) -> Node<'_> {
        self.start_with(name, Settings::default()).await
    }

    pub async fn start_with(&self, name: &str, settings: Settings) -> Node<'_> {
        let name = format!("{name}-{}@localhost", std::process::id());
        let (port, distribution_port) = (free_port(), free_port());
        let mut node = Node {
            family: self,
            name,
            port,
            distribution_port,
            settings,
            server: None,
        };
        node.start_again().await;
        node
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let _ = self.register.kill();
        let _ = self.register.wait();
    }
}

impl Node<'_> {
    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs");
        std::fs::create_dir_all(self.home()).unwrap();
        std::fs::write(
            self.file("plugins"),
            format!("[{}].", self.settings.plugins),
        )
        .unwrap();
        std::fs::write(self.file("rabbitmq.conf"), &self.settings.lines).unwrap();
        std::fs::write(self.file("environment"), "").unwrap();
        let _ = std::fs::remove_file(self.file("pid"));
        let output = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.file("output"))
            .unwrap();
        let mut server = self.program("rabbitmq-server");
        server
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output);
        self.server = Some(server.spawn().unwrap());
        // A node that starts takes a connection, and may never say a word on it.
        until("RabbitMQ starts", async || {
            timeout(TRIED_FOR, self.is_up()).await.unwrap_or(false)
        })
        .await;
    }

    async fn is_up(&self) -> bool {
        let connected =
            Connection::connect(&Self::url(self.port), ConnectionProperties::default()).await;
        let Ok(connection) = connected else {
            return false;
        };
        // A node takes connections a little before its queues.
        let opened = connection.create_channel().await.is_ok();
        let _ = connection.close(200, "up".into()).await;
        opened
    }

    /// `TERM` is a stop in good order, `KILL` an end without one.
    pub fn end(&mut self, signal: &str) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        // The child is a script; the node itself has its own ID.
        let pid = std::fs::read_to_string(self.file("pid")).unwrap();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), pid.trim()])
            .status();
        assert!(sent.unwrap().success());
        server.wait().unwrap();
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The broker, over the port of the node or of a proxy before it. A dead peer is noticed within
    /// 4 s.
    pub fn url(port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f?heartbeat=2")
    }

    /// Runs the node's own command; what it prints.
    pub fn control(&self, arguments: &[&str]) -> String {
        let output = self.try_control(arguments);
        assert!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_control(&self, arguments: &[&str]) -> Output {
        self.program("rabbitmqctl")
            .arg("-q")
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Messages in all queues, those in flight and those on their way to the dead letters too;
    /// `None` while a queue has no leader. Asks the queues themselves: the broker's own listing is
    /// up to 5 s old.
    pub fn messages(&self) -> Option<u64> {
        self.count("true")
    }

    /// The same of one queue.
    pub fn messages_in(&self, queue: &str) -> Option<u64> {
        self.count(&format!(
            "element(4, amqqueue:get_name(Queue)) =:= <<\"{queue}\">>"
        ))
    }

    fn count(&self, filter: &str) -> Option<u64> {
        let output = self.try_control(&["eval", &format!("{MESSAGES}, {filter}]).")]);
        output.status.success().then(|| {
            String::from_utf8(output.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap()
        })
    }

    /// Whether the workers for dead letters are up. One whose queue is deleted while it starts
    /// crashes over and over, until the supervisor of them all gives up for good (seen with 3.10):
    /// then every queue with dead letters dies at its first.
    pub fn dead_letters_work(&self) -> bool {
        self.try_control(&["eval", DEAD_LETTERS]).status.success()
    }

    /// Brings the names of the quorum queues to the disk. A broker that is killed within moments of
    /// a queue's first declaration has lost its name: the queue then never has a leader again,
    /// until it is deleted (seen with 3.10; rabbitmq/rabbitmq-server#15725). That is not what these
    /// tests are for.
    pub fn sync_names(&self) {
        self.control(&["eval", "[ok = dets:sync(Table) || Table <- dets:all()]."]);
    }

    fn home(&self) -> PathBuf {
        self.family
            .directory
            .path()
            .join(self.name.split('@').next().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    /// Everything that a program of RabbitMQ's reads, so that it meets no other node on this
    /// machine.
    fn program(&self, program: &str) -> Command {
        let mut command = Command::new(self.family.programs.join(program));
        command
            .env("HOME", self.family.directory.path())
            .env("ERL_EPMD_PORT", self.family.register_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_USE_LONGNAME", "false")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", self.file("environment"))
            .env("RABBITMQ_CONFIG_FILE", self.file("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.file("plugins"))
            .env("RABBITMQ_MNESIA_BASE", self.file("data"))
            .env("RABBITMQ_LOG_BASE", self.file("log"))
            .env("RABBITMQ_PID_FILE", self.file("pid"));
        command
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read(self.file("log").join(format!("{}.log", self.name)))
                .unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<_> = log.lines().collect();
            eprintln!(
                "the last words of {}:\n{}",
                self.name,
                lines[lines.len().saturating_sub(80)..].join("\n")
            );
        }
        if let Some(mut server) = self.server.take() {
            if let Ok(pid) = std::fs::read_to_string(self.file("pid")) {
                let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
            }
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// The folder of RabbitMQ's programs: on Debian not the wrappers on the path, which change to
/// another user.
fn programs() -> PathBuf {
    if let Some(given) = std::env::var_os("TEST_RABBITMQ_PROGRAMS") {
        return given.into();
    }
    let known = [
        "/usr/lib/rabbitmq/bin",
        "/opt/homebrew/opt/rabbitmq/sbin",
        "/usr/local/opt/rabbitmq/sbin",
    ];
    let found = known
        .iter()
        .map(Path::new)
        .find(|folder| folder.join("rabbitmq-server").exists());
    found
        .expect("install RabbitMQ, or name the folder of rabbitmq-server in TEST_RABBITMQ_PROGRAMS")
        .into()
}
