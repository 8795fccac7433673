//! A PgBouncer of our own before the tests' server.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::app::tempdir::TempDir;
use super::app::until;

/// A running PgBouncer, ended with the value.
pub struct PgBouncer {
    child: Child,
    port: u16,
    directory: TempDir,
}

/// The program; `None` if the tests may run without it. `scripts/test` installs it, or says
/// that it is left out.
pub fn program() -> Option<PathBuf> {
    let given = std::env::var_os("TEST_PGBOUNCER").map(PathBuf::from);
    let usual = [
        "/usr/sbin/pgbouncer",
        "/opt/homebrew/bin/pgbouncer",
        "/usr/local/bin/pgbouncer",
    ]
    .map(PathBuf::from);
    let found = given.into_iter().chain(usual).find(|path| path.exists());
    let is_needed = std::env::var("CLERK_SYNC_TEST_FAULTS").is_ok_and(|when| when == "always");
    assert!(
        found.is_some() || !is_needed,
        "install PgBouncer, or name its program in TEST_PGBOUNCER"
    );
    if found.is_none() {
        eprintln!("left out: PgBouncer is not installed");
    }
    found
}

/// Whether it follows prepared statements through transactions, as 1.21 and later can.
pub fn can_follow(program: &PathBuf) -> bool {
    let printed = Command::new(program)
        .arg("--version")
        .output()
        .unwrap()
        .stdout;
    let printed = String::from_utf8(printed).unwrap();
    let number = printed.split_whitespace().nth(1).expect("PgBouncer 1.18.0");
    let mut parts = number
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(1), Some(21))
}

impl PgBouncer {
    /// Starts it before the server of this URL, with these lines among its settings, which are its
    /// defaults otherwise.
    pub async fn before(program: &PathBuf, server_url: &str, settings: &[&str]) -> Self {
        let directory = TempDir::new();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let path = directory.path().join("pgbouncer.ini");
        write(&path, port, server_url, settings);
        let mut command = Command::new(program);
        command
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.stderr(std::fs::File::create(directory.path().join("log")).unwrap());
        // It refuses to run as root. This is the user that has nothing, everywhere.
        if std::fs::metadata("/proc/self")
            .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
        {
            command.uid(65534).gid(65534);
        }
        let mut bouncer = Self {
            child: command.spawn().unwrap(),
            port,
            directory,
        };
        until("PgBouncer listens", async || {
            assert!(
                bouncer.child.try_wait().unwrap().is_none(),
                "{}",
                bouncer.log()
            );
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
        bouncer
    }

    /// Gives it other settings while it runs.
    pub fn reload(&self, server_url: &str, settings: &[&str]) {
        write(
            &self.directory.path().join("pgbouncer.ini"),
            self.port,
            server_url,
            settings,
        );
        let sent = Command::new("kill")
            .args(["-HUP", &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// The URL of a database with PgBouncer in the place of its server.
    pub fn url(&self, server_url: &str) -> String {
        let mut url = reqwest::Url::parse(server_url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.set_password(None).unwrap();
        url.set_query(None);
        url.to_string()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// Writes its file of settings.
fn write(path: &Path, port: u16, server_url: &str, settings: &[&str]) {
    let server = reqwest::Url::parse(server_url).unwrap();
    let password = server
        .password()
        .map(|password| format!(" password={password}"))
        .unwrap_or_default();
    let file = format!(
        "[databases]\n* = host={} port={} user={}{password}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n{}\n",
        server.host_str().unwrap(),
        server.port().unwrap_or(5432),
        server.username(),
        settings.join("\n")
    );
    std::fs::write(path, file).unwrap();
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
