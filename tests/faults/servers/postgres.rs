//! A PostgreSQL server of our own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

use super::certificates::{Ca, Pair};
use super::disk::Disk;
use super::{free_port, is_root};
use crate::support::app::tempdir::TempDir;
use crate::support::app::until;

pub struct Postgres {
    programs: PathBuf,
    /// Dropped before the folder that it is mounted in.
    disk: Option<Disk>,
    directory: TempDir,
    /// The user that the server runs as, where we are root.
    user: Option<(u32, u32)>,
    port: u16,
    /// Settings besides ours.
    settings: Vec<String>,
    server: Option<Child>,
    /// How often it had ended itself before its disk was filled.
    panics_before: AtomicUsize,
}

impl Postgres {
    /// Makes a database cluster and starts its server.
    pub async fn start() -> Self {
        let mut postgres = Self::make();
        postgres.start_again().await;
        postgres
    }

    /// The same with TLS: this certificate, clients' of this CA, and these lines before those of
    /// its own pg_hba.conf.
    pub async fn start_with_tls(ca: &Ca, certificate: &Pair, access: &str) -> Self {
        let mut postgres = Self::make();
        let file = postgres.directory.path().join("disk/data/pg_hba.conf");
        let lines = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{access}\n{lines}")).unwrap();
        postgres.use_certificate(ca, certificate);
        postgres.start_again().await;
        postgres
    }

    /// For the next start.
    pub fn use_certificate(&mut self, ca: &Ca, certificate: &Pair) {
        let folder = self.directory.path();
        let Pair { certificate, key } = certificate.copy_to(folder, self.user);
        let roots = folder.join("clients.pem");
        std::fs::copy(ca.certificate(), &roots).unwrap();
        self.settings = vec![
            "ssl=on".into(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
            format!("ssl_ca_file={}", roots.display()),
            format!("unix_socket_directories={}", folder.display()),
            "listen_addresses=127.0.0.1,::1".into(),
        ];
    }

    /// Where its socket is, once it has TLS.
    pub fn socket_folder(&self) -> &Path {
        self.directory.path()
    }

    fn make() -> Self {
        let directory = TempDir::new();
        let folder = directory.path().join("disk");
        std::fs::create_dir(&folder).unwrap();
        let disk = Disk::at(&folder);
        let user = is_root().then(|| (id_of_postgres("-u"), id_of_postgres("-g")));
        if let Some((user, group)) = user {
            for folder in [directory.path(), &folder] {
                std::os::unix::fs::chown(folder, Some(user), Some(group)).unwrap();
            }
        }
        let (port, settings) = (free_port(), Vec::new());
        let postgres = Self {
            programs: programs(),
            disk,
            directory,
            user,
            port,
            settings,
            server: None,
            panics_before: AtomicUsize::new(0),
        };
        // Small files of the log, so that it soon needs another one.
        let made = postgres
            .program("initdb")
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            ])
            .arg("--wal-segsize=1")
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        postgres
    }

    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs");
        self.runs().await;
    }

    /// Waits until it runs, and starts it where it does not.
    async fn runs(&mut self) {
        until("PostgreSQL starts", async || {
            // What a killed server leaves behind, its processes and its memory, takes a moment to
            // go.
            if self
                .server
                .as_mut()
                .is_none_or(|server| server.try_wait().unwrap().is_some())
            {
                self.server = Some(self.spawn());
            }
            self.try_connect().await.is_some()
        })
        .await;
    }

    fn spawn(&self) -> Child {
        let mut server = self.program("postgres");
        server
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .args(["-p", &self.port.to_string()]);
        // A killed process loses nothing that it gave to the system; only a machine without power
        // does.
        server.args([
            "-c",
            "fsync=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "max_connections=100",
        ]);
        // The last of two settings of one name counts.
        server.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log())
            .spawn()
            .unwrap()
    }

    /// Whether it has a disk of its own, which can be filled.
    pub fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Fills its disk.
    pub fn fill_disk(&self) {
        // The flood alone may end the server from now on.
        self.panics_before.store(self.panics(), Ordering::Relaxed);
        self.disk.as_ref().expect("it has one").fill();
    }

    /// Writes until its write-ahead log has no room either, which ends the server.
    pub async fn fill_log(&self) {
        if !self.has_disk() {
            return;
        }
        let before = self.panics_before.load(Ordering::Relaxed);
        if let Some(mut connection) = self.try_connect().await {
            let write = "select pg_logical_emit_message(false, 'a test', repeat('x', 500000))";
            while connection.execute(write).await.is_ok() {}
        }
        until("the server has ended itself", async || {
            self.panics() > before
        })
        .await;
    }

    /// How often it has said so.
    fn panics(&self) -> usize {
        std::fs::read_to_string(self.directory.path().join("log"))
            .unwrap_or_default()
            .matches("PANIC:")
            .count()
    }

    /// It runs again, with room on its disk.
    pub async fn make_room(&mut self) {
        self.disk.as_ref().expect("it was filled").make_room();
        self.runs().await;
    }

    fn log(&self) -> std::fs::File {
        std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap()
    }

    /// `INT` is a fast stop, `KILL` an end without one.
    pub fn end(&mut self, signal: &str) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &server.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        server.wait().unwrap();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database, over the port of the server or of a proxy before it. Without TLS, so that a
    /// proxy may cut anywhere.
    pub fn url(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    pub async fn connect(&self) -> PgConnection {
        self.try_connect().await.expect("the server runs")
    }

    async fn try_connect(&self) -> Option<PgConnection> {
        let mut connection = PgConnection::connect(&Self::url(self.port)).await.ok()?;
        connection.execute("select 1").await.ok()?;
        Some(connection)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command
            .current_dir(self.directory.path())
            .arg("-D")
            .arg(self.directory.path().join("disk/data"));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // An immediate stop: its own processes end with it.
            let _ = Command::new("kill")
                .args(["-QUIT", &server.id().to_string()])
                .status();
            let _ = server.wait();
        }
    }
}

/// The folder of the newest PostgreSQL: packages keep its programs off the path.
fn programs() -> PathBuf {
    if let Some(given) = std::env::var_os("TEST_POSTGRES_PROGRAMS") {
        return given.into();
    }
    let mut found: Vec<PathBuf> = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"]
        .into_iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| folder.join("initdb").exists())
        .collect();
    found.sort_by_key(|folder| version(folder));
    found
        .pop()
        .expect("install PostgreSQL, or name the folder of initdb in TEST_POSTGRES_PROGRAMS")
}

fn version(folder: &Path) -> u32 {
    let name = folder
        .parent()
        .unwrap()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    name.chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or(0)
}

fn id_of_postgres(which: &str) -> u32 {
    let printed = Command::new("id")
        .args([which, "postgres"])
        .output()
        .unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    printed
        .trim()
        .parse()
        .expect("PostgreSQL's package makes a user postgres, whom its server runs as")
}
