//! A database of its own on the PostgreSQL server, dropped with the value.

use clerk_sync::clerk::tables;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

/// The server that the tests use; any database on it will do to begin with.
pub fn server_url() -> String {
    std::env::var("TEST_DATABASE_URL")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".into())
}

pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// An empty database.
    pub async fn create() -> Self {
        Self::create_with("").await
    }

    /// One that orders text as people do: an ID's case does not count there until everything else
    /// is the same.
    pub async fn create_with_icu() -> Self {
        Self::create_with("locale_provider icu icu_locale 'en-US'").await
    }

    /// An empty database with these options of `create database`.
    pub async fn create_with(options: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("clerk_sync_test_{}_{number}", std::process::id());
        let mut server = server()
            .connect()
            .await
            .expect("a PostgreSQL server at TEST_DATABASE_URL");
        let drop_leftover = format!("drop database if exists {name} with (force)");
        server.execute(AssertSqlSafe(drop_leftover)).await.unwrap();
        server
            .execute(AssertSqlSafe(format!(
                "create database {name} template template0 {options}"
            )))
            .await
            .unwrap();
        Self { name }
    }

    pub fn url(&self) -> String {
        // What the options hold is the server's URL with another database.
        server().database(&self.name).to_url_lossy().to_string()
    }

    /// As a disaster leaves it: gone, and an empty one in its place.
    pub async fn lose(&self) {
        let mut server = server().connect().await.unwrap();
        server
            .execute(AssertSqlSafe(format!(
                "drop database {} with (force)",
                self.name
            )))
            .await
            .unwrap();
        server
            .execute(AssertSqlSafe(format!(
                "create database {} template template0",
                self.name
            )))
            .await
            .unwrap();
    }

    /// Writes our schema to a file, as docs/operations.md says.
    pub fn dump(&self, file: &Path) {
        let to = std::fs::File::create(file).unwrap();
        self.client(
            &["pg_dump", "--format=custom", "--schema=clerk"],
            Stdio::null(),
            to.into(),
        );
    }

    /// Brings our schema back from a file, as docs/operations.md says.
    pub fn restore(&self, file: &Path) {
        let from = std::fs::File::open(file).unwrap();
        let arguments = [
            "pg_restore",
            "--exit-on-error",
            "--no-owner",
            "--no-privileges",
        ];
        self.client(&arguments, from.into(), Stdio::null());
    }

    /// Runs a program of PostgreSQL's own, with the prefix that reaches one of the server's
    /// version.
    fn client(&self, arguments: &[&str], stdin: Stdio, stdout: Stdio) {
        let prefix = std::env::var("TEST_PG_CLIENT").unwrap_or_default();
        // As it is called from there: a container has a port of its own.
        let url = std::env::var("TEST_PG_CLIENT_URL").unwrap_or_else(|_| server_url());
        let url = PgConnectOptions::from_str(&url)
            .unwrap()
            .database(&self.name)
            .to_url_lossy();
        let connection = format!("--dbname={}", url.as_str().split('?').next().unwrap());
        let words: Vec<_> = prefix
            .split_whitespace()
            .chain(arguments.iter().copied())
            .collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg(connection)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped());
        let done = command
            .spawn()
            .and_then(std::process::Child::wait_with_output);
        let output = done.unwrap_or_else(|error| {
            panic!(
                "{}: {error}; install PostgreSQL's client, or set TEST_PG_CLIENT",
                words[0]
            )
        });
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&server().database(&self.name))
            .await
            .unwrap()
    }
}

fn server() -> PgConnectOptions {
    PgConnectOptions::from_str(&server_url()).unwrap()
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let sql = format!("drop database if exists {} with (force)", self.name);
        // A test that failed is inside a runtime that must not be blocked, so the tidying gets a
        // thread.
        let tidying = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                if let Ok(mut server) = server().connect().await {
                    let _ = server.execute(AssertSqlSafe(sql)).await;
                }
            });
        });
        let _ = tidying.join();
    }
}

/// The names of the synced tables, as a grant lists them.
pub fn synced_tables() -> String {
    let names = tables::ALL
        .iter()
        .map(|table| format!("clerk.{}", table.name));
    names.collect::<Vec<_>>().join(", ")
}
