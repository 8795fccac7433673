//! The real program as a child process, on a free port, with servers and files of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clerk_sync::clerk::{ClerkId, EventId, SigningSecret, Timestamp};
use clerk_sync::store::{EventRow, Store, StoreError, TableRow};
use secrecy::SecretString;

#[allow(unused_imports, reason = "the fault suite needs only one of the two")]
pub use super::place::{Place, tempdir};

/// The published test vectors' secret, and a second one for rotations.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub const SECOND_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Longest wait for anything that should happen: far above what a loaded machine needs.
pub const DEADLINE: Duration = Duration::from_secs(60);

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

/// What the program writes to stderr. It goes into a file, and not through a pipe that a thread
/// reads: a line that was written before an answer is there once the answer is.
struct Log(Mutex<LogFile>);

struct LogFile {
    reader: BufReader<File>,
    /// The last line, as far as it is written.
    part: Vec<u8>,
    lines: Vec<String>,
}

impl Log {
    /// The log, and the end that a program writes to.
    fn new() -> (Self, File) {
        // Both ends stay open after the file has no name any more.
        let directory = tempdir::TempDir::new();
        let path = directory.path().join("log");
        let written = File::create(&path).unwrap();
        let reader = BufReader::new(File::open(&path).unwrap());
        let log = LogFile {
            reader,
            part: Vec::new(),
            lines: Vec::new(),
        };
        (Self(Mutex::new(log)), written)
    }

    /// The lines so far.
    fn lines(&self) -> Vec<String> {
        let mut log = self.0.lock().unwrap();
        let LogFile {
            reader,
            part,
            lines,
        } = &mut *log;
        while reader.read_until(b'\n', part).unwrap() > 0 && part.ends_with(b"\n") {
            part.pop();
            lines.push(String::from_utf8_lossy(&std::mem::take(part)).into_owned());
        }
        lines.clone()
    }

    /// The address, once the program says it.
    fn address(&self) -> SocketAddr {
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            let said = self.lines().iter().find_map(|line| {
                let entry: serde_json::Value = serde_json::from_str(line).ok()?;
                Some(entry["address"].as_str()?.parse().unwrap())
            });
            if let Some(address) = said {
                return address;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the program did not say where it listens");
    }
}

/// A running program. It is killed when the test ends without stopping it.
pub struct App {
    child: Child,
    pub address: SocketAddr,
    log: Log,
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
        let (log, stderr) = Log::new();
        let child = command
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let address = log.address();
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

    /// The client of all requests, for those that outlive a borrow.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
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

    /// Delivers a body as Svix would, under this ID: again where the queue refused it. A busy
    /// RabbitMQ now and then refuses an event that there is room for; nothing is promised then, and
    /// the next try is taken.
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
        self.log.lines()
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

/// Waits for a condition, asking again and again, up to the deadline. A question that is never
/// answered ends there too.
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
