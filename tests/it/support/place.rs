//! Where a program under test keeps its events and rows: embedded files, or a database and queues
//! of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clerk_sync::store::{self, Keep, Store};

use super::app::{App, SECRET, until};
use super::broker::Namespace;
use super::database::TestDatabase;

/// Where a program's events and rows live. Everything goes when it is dropped.
pub enum Place {
    Embedded {
        directory: tempdir::TempDir,
    },
    Servers {
        directory: tempdir::TempDir,
        database: TestDatabase,
        namespace: Namespace,
    },
}

/// Temporary directories, without a crate for them.
pub mod tempdir {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    pub struct TempDir(PathBuf);

    impl TempDir {
        pub fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir()
                .join(format!("clerk-sync-test-{}-{number}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

impl Place {
    pub fn embedded() -> Self {
        Self::Embedded {
            directory: tempdir::TempDir::new(),
        }
    }

    pub async fn servers() -> Self {
        Self::servers_with(TestDatabase::create().await)
    }

    /// The same with a database that the test has made.
    pub fn servers_with(database: TestDatabase) -> Self {
        Self::Servers {
            directory: tempdir::TempDir::new(),
            database,
            namespace: Namespace::new(),
        }
    }

    pub fn database(&self) -> &TestDatabase {
        match self {
            Self::Embedded { .. } => panic!("the file is no server"),
            Self::Servers { database, .. } => database,
        }
    }

    pub fn directory(&self) -> PathBuf {
        match self {
            Self::Embedded { directory } | Self::Servers { directory, .. } => {
                directory.path().to_owned()
            }
        }
    }

    pub fn namespace(&self) -> &Namespace {
        match self {
            Self::Embedded { .. } => panic!("the embedded queue has no namespace"),
            Self::Servers { namespace, .. } => namespace,
        }
    }

    /// The store that the program writes to.
    pub fn store(&self) -> Store {
        self.open(false)
    }

    /// The same, of a program with the change feed.
    pub fn store_with_changes(&self) -> Store {
        self.open(true)
    }

    fn open(&self, change_feed: bool) -> Store {
        let keep = Keep::default();
        let options = match self {
            Self::Embedded { directory } => store::Options::Sqlite(store::sqlite::Options {
                path: directory.path().join("users.db"),
                keep,
                change_feed,
            }),
            Self::Servers { database, .. } => store::Options::Postgres(store::postgres::Options {
                schema: Default::default(),
                address: database.url().parse().unwrap(),
                connections: 2,
                keep,
                change_feed,
            }),
        };
        Store::open(&options).unwrap()
    }

    /// The store in a file.
    pub fn store_at(&self, path: &Path) -> Store {
        let (path, keep) = (path.to_owned(), Keep::default());
        Store::open(&store::Options::Sqlite(store::sqlite::Options {
            path,
            keep,
            change_feed: false,
        }))
        .unwrap()
    }

    /// The program with these arguments, in this place and with nothing of the tests' own
    /// environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
        command
            .args(arguments)
            .current_dir(self.directory())
            .env_clear();
        command
            .env("DATA_DIR", self.directory())
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .env("TZ", "UTC");
        command.env("RUST_LOG", "info");
        if let Self::Servers {
            database,
            namespace,
            ..
        } = self
        {
            command.env("DATABASE_URL", database.url());
            command
                .env("AMQP_URL", super::broker::url())
                .env("AMQP_NAMESPACE", namespace.name());
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "clerk-sync {arguments:?} failed: {error}"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command on a terminal of its own, where a person types `typed`; its exit status and
    /// all that the terminal shows.
    pub fn on_a_terminal(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
        typed: &str,
    ) -> (Option<i32>, String) {
        // util-linux's `script` makes the terminal, and passes on what it reads.
        let words: Vec<_> = std::iter::once(env!("CARGO_BIN_EXE_clerk-sync"))
            .chain(arguments.iter().copied())
            .collect();
        let line = words
            .iter()
            .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
            .collect::<Vec<_>>()
            .join(" ");
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env_clear()
            .current_dir(self.directory());
        let own = self.command(&[]);
        script.envs(
            own.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        script
            .env("TERM", "dumb")
            .env("PATH", "/usr/bin:/bin")
            .envs(variables.iter().copied());
        let mut child = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux's `script`");
        let mut keyboard = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut keyboard, typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(keyboard);
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    pub async fn serve(&self) -> App {
        self.start(&["serve"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
            .await
    }

    /// Starts a role and waits until it is ready.
    pub async fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> App {
        let app = self.start_unready(arguments, variables);
        until("the program is ready", async || {
            app.get("/readyz")
                .await
                .is_some_and(|answer| answer.status == 200)
        })
        .await;
        app
    }

    /// Starts a role and waits only until it listens. An empty value takes a variable away.
    pub fn start_unready(&self, arguments: &[&str], variables: &[(&str, &str)]) -> App {
        let mut command = self.command(arguments);
        for (name, value) in variables {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        App::spawn(command, self.store())
    }
}
