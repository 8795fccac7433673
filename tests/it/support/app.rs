//! The real program as a child process, on a free port, with servers and files of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clerk_sync::clerk::{ClerkId, EventId, SigningSecret, Timestamp};
use clerk_sync::store::{self, EventRow, Keep, Store, StoreError, TableRow};
use secrecy::SecretString;

use super::broker::Namespace;
use super::database::TestDatabase;

/// The published test vectors' secret, and a second one for rotations.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub const SECOND_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Longest wait for anything that should happen: far above what a loaded machine needs.
pub const DEADLINE: Duration = Duration::from_secs(60);

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
        let keep = Keep::default();
        let options = match self {
            Self::Embedded { directory } => {
                return self.store_at(&directory.path().join("users.db"));
            }
            Self::Servers { database, .. } => store::Options::Postgres(store::postgres::Options {
                schema: Default::default(),
                address: database.url().parse().unwrap(),
                connections: 2,
                keep,
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
        }))
        .unwrap()
    }

    /// The program with these arguments, in this place and with nothing of the tests' own environment.
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

    /// Runs a command on a terminal of its own, where a person types `typed`; its exit status and all that the terminal shows.
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

pub fn signing_secret(text: &str) -> SigningSecret {
    SigningSecret::parse(&SecretString::from(text)).unwrap()
}

fn client() -> reqwest::Client {
    // Installed once a process; the program does so in `main`.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(DEADLINE)
        .pool_max_idle_per_host(512)
        .build()
        .unwrap()
}

/// Reads the log to its end in the background; returns the address once the program says it.
fn follow_log(child: &mut Child, log: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line)
                && let Some(address) = entry["address"].as_str()
            {
                let _ = tell.send(address.parse().unwrap());
            }
            log.lock().unwrap().push(line);
        }
    });
    told.recv_timeout(DEADLINE)
        .expect("the program did not say where it listens")
}

/// A running program. It is killed when the test ends without stopping it.
pub struct App {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    client: reqwest::Client,
    pub store: Store,
    secret: SigningSecret,
}

/// An answer over HTTP.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: serde_json::Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }
}

impl App {
    /// Starts the program, which writes to `store`, and waits until it listens.
    pub fn spawn(mut command: Command, store: Store) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let address = follow_log(&mut child, Arc::clone(&log));
        Self {
            child,
            address,
            log,
            client: client(),
            store,
            secret: signing_secret(SECRET),
        }
    }

    pub fn webhook_url(&self) -> String {
        format!("http://{}/api/webhooks/clerk", self.address)
    }

    pub async fn get(&self, path: &str) -> Option<Answer> {
        answer(
            self.client
                .get(format!("http://{}{path}", self.address))
                .send()
                .await
                .ok()?,
        )
        .await
    }

    /// An answer that is no JSON: its headers and its body.
    pub async fn text(&self, path: &str) -> (reqwest::header::HeaderMap, String) {
        let answer = self
            .client
            .get(format!("http://{}{path}", self.address))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        (answer.headers().clone(), answer.text().await.unwrap())
    }

    /// Asks a route for operators: `GET`, or `POST` with a body.
    pub async fn api(
        &self,
        token: Option<&str>,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let mut request = match body {
            None => self.client.get(url),
            Some(body) => self.client.post(url).body(body.to_string()),
        };
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(request.send().await.unwrap()).await.unwrap()
    }

    /// Posts any text to a route for operators.
    pub async fn api_bytes(&self, token: &str, path: &str, body: &str) -> Answer {
        let request = self
            .client
            .post(format!("http://{}{path}", self.address))
            .body(body.to_owned());
        answer(
            request
                .header("authorization", format!("Bearer {token}"))
                .send()
                .await
                .unwrap(),
        )
        .await
        .unwrap()
    }

    /// Delivers a body as Svix would, under this ID: again where the queue refused it. A busy RabbitMQ now and then refuses
    /// an event that there is room for; nothing is promised then, and the next try is taken.
    pub async fn deliver(&self, id: &str, body: impl Into<Vec<u8>>) -> Answer {
        let (body, started) = (body.into(), Instant::now());
        loop {
            let answer = self
                .try_deliver(id, body.clone())
                .await
                .expect("the program answers");
            let is_refused = answer.body["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("the queue refused"));
            if !is_refused || started.elapsed() > DEADLINE {
                return answer;
            }
        }
    }

    /// The same once, and where the program may be gone.
    pub async fn try_deliver(&self, id: &str, body: impl Into<Vec<u8>>) -> Option<Answer> {
        let body = body.into();
        let sent_at = clerk_sync::clock::now();
        let signature = self.secret.sign(&EventId::new(id).unwrap(), sent_at, &body);
        self.post(&headers(id, sent_at, &signature), body).await
    }

    /// Posts any headers and any body.
    pub async fn post(&self, headers: &[(String, String)], body: Vec<u8>) -> Option<Answer> {
        answer(
            self.send("POST", "/api/webhooks/clerk", headers, body)
                .await?,
        )
        .await
    }

    /// Sends any request.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Option<reqwest::Response> {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method.parse().unwrap(), url).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await.ok()
    }

    /// Delivers a body as Svix would, but by this method and to this path.
    pub async fn misdeliver(
        &self,
        method: &str,
        path: &str,
        id: &str,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let (body, sent_at) = (body.into(), clerk_sync::clock::now());
        let signature = self.secret.sign(&EventId::new(id).unwrap(), sent_at, &body);
        answer(
            self.send(method, path, &headers(id, sent_at, &signature), body)
                .await
                .unwrap(),
        )
        .await
        .unwrap()
    }

    /// The row of a user as it is now.
    pub async fn user(&self, id: &str) -> Option<TableRow> {
        self.store.user(&ClerkId::new(id).unwrap()).await.unwrap()
    }

    pub async fn event(&self, id: &str) -> Option<EventRow> {
        match self.store.event(&EventId::new(id).unwrap()).await {
            // A program that has only just started has not made its tables yet.
            Err(StoreError::Incompatible(_)) => None,
            found => found.unwrap(),
        }
    }

    /// Waits until the event has a line, and gives it.
    pub async fn settled(&self, id: &str) -> EventRow {
        until(&format!("event {id} is recorded"), async || {
            self.event(id).await.is_some()
        })
        .await;
        self.event(id).await.unwrap()
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The process's ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// SIGTERM, and the exit status it leads to.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    pub fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "the program does not end");
            pause();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.log().iter().rev().take(20).rev() {
                eprintln!("log: {line}");
            }
        }
    }
}

/// The three headers of a delivery.
pub fn headers(id: &str, sent_at: Timestamp, signature: &str) -> Vec<(String, String)> {
    let seconds = (sent_at.ms() / 1000).to_string();
    [
        ("svix-id", id),
        ("svix-timestamp", &seconds),
        ("svix-signature", signature),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .to_vec()
}

pub async fn answer(response: reqwest::Response) -> Option<Answer> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.ok()?;
    let body = serde_json::from_slice(&bytes).unwrap_or(serde_json::Value::Null);
    Some(Answer {
        status,
        headers,
        body,
    })
}

/// Waits for a condition, asking again and again, up to the deadline. A question that is never answered ends there too.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let held = tokio::time::timeout(DEADLINE, asked).await;
    assert!(
        held.is_ok(),
        "waited {} s in vain: {what}",
        DEADLINE.as_secs()
    );
}

fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}
