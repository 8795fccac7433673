//! `send` against a real HTTP server that verifies as the receiver does.

mod runs;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use clap::{CommandFactory, Parser};

use super::*;
use crate::clerk::{Delivery, SignedEvent, Verifier};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What the receiver does with its `n`th verified delivery, from 0.
type Script = Arc<dyn Fn(usize) -> (Duration, HttpResponse) + Send + Sync>;

/// A receiver on a port of its own. It stops when the test ends, and with it the port is free.
struct Receiver {
    url: Url,
    state: Arc<State>,
    server: ServerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct State {
    script: Script,
    taken: Mutex<Vec<SignedEvent>>,
    connections: AtomicUsize,
}

impl Receiver {
    fn start(script: impl Fn(usize) -> (Duration, HttpResponse) + Send + Sync + 'static) -> Self {
        let state = Arc::new(State {
            script: Arc::new(script),
            taken: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let (for_app, for_connections) = (state.clone(), state.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::from(for_app.clone()))
                .default_service(web::to(take))
        })
        .on_connect(move |_, _| _ = for_connections.connections.fetch_add(1, Ordering::Relaxed))
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}/api/webhooks/clerk", server.addrs()[0])
            .parse()
            .unwrap();
        let server = server.run();
        let handle = server.handle();
        // On a thread of its own, so that it can be stopped from `drop` whatever the test's runtime
        // is doing.
        let thread =
            std::thread::spawn(move || actix_web::rt::System::new().block_on(server).unwrap());
        Self {
            url,
            state,
            server: handle,
            thread: Some(thread),
        }
    }

    fn queueing() -> Self {
        Self::start(|_| (Duration::ZERO, queued()))
    }

    fn taken(&self) -> Vec<SignedEvent> {
        self.state.taken.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<String> {
        self.taken()
            .iter()
            .map(|event| event.id().to_string())
            .collect()
    }

    /// The deliveries of a command line, to here, and what came of them.
    async fn send(&self, line: &str) -> Summary {
        summary(&args(&format!("{line} --url {}", self.url))).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The command is sent at once; the future would only wait for it.
        drop(self.server.stop(false));
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(
            ended.is_some_and(|ended| ended.is_ok()),
            "the receiver failed"
        );
    }
}

async fn take(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let now = crate::clock::now();
    let secret = SigningSecret::parse(&SECRET.into()).unwrap();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let verified = Delivery::read(headers, now)
        .and_then(|delivery| Verifier::new(vec![secret]).verify(delivery, body, now))
        .map(|good| good.event);
    let event = match verified {
        Ok(event) => event,
        Err(error) => return problem(400, "invalid_signature", &error.to_string()).finish_json(),
    };
    let n = {
        let mut taken = state.taken.lock().unwrap();
        taken.push(event);
        taken.len() - 1
    };
    let (wait, response) = (state.script)(n);
    tokio::time::sleep(wait).await;
    response
}

struct Problem(u16, serde_json::Value);

impl Problem {
    fn finish_json(self) -> HttpResponse {
        HttpResponse::build(self.0.try_into().unwrap())
            .content_type("application/problem+json")
            .body(self.1.to_string())
    }
}

fn problem(status: u16, code: &str, detail: &str) -> Problem {
    Problem(
        status,
        serde_json::json!({"type": "about:blank", "status": status, "code": code, "detail": detail}),
    )
}

fn queued() -> HttpResponse {
    HttpResponse::Ok().body(r#"{"status":"queued","event_id":"msg_1"}"#)
}

fn unavailable() -> HttpResponse {
    let mut response = problem(503, "queue_unavailable", "the queue is away").finish_json();
    response
        .headers_mut()
        .insert(actix_web::http::header::RETRY_AFTER, 0.into());
    response
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    send: SendArgs,
}

fn parse(line: &str) -> Result<SendArgs, clap::Error> {
    CommandLine::try_parse_from(format!("send {line}").split_whitespace()).map(|line| line.send)
}

fn args(line: &str) -> SendArgs {
    parse(line).unwrap()
}

async fn run(args: &SendArgs, configured: Option<SecretString>) -> anyhow::Result<ExitCode> {
    let args = SendArgs {
        yes: true,
        ..args.clone()
    };
    let (dev, hints) = (Dev::default(), Hints::without_flags());
    let open_store = |_| anyhow::bail!("--wait is not given");
    let local = EXAMPLE_URL.parse()?;
    super::run(&args, configured.as_ref(), &dev, local, hints, open_store).await
}

fn load(args: &SendArgs) -> anyhow::Result<Load> {
    let secret = args.secret.clone().unwrap_or_else(|| SECRET.into());
    let url = args.url.clone().or_else(|| EXAMPLE_URL.parse().ok());
    prepare(args, url.unwrap(), signing_secret(Some(&secret))?)
}

async fn summary(args: &SendArgs) -> Summary {
    load(args).unwrap().run().await
}

#[tokio::test]
async fn every_event_arrives_once_signed_and_readable() {
    let receiver = Receiver::queueing();
    let summary = receiver
        .send("user.updated --count 300 --users 20 --connections 4 --seed 1")
        .await;
    assert_eq!(
        (
            summary.sent,
            summary.accepted,
            summary.queued,
            summary.retries
        ),
        (300, 300, 300, 0)
    );
    assert!(summary.is_whole() && summary.failed == 0 && summary.refused.is_empty());
    let latency = summary.latency_ms.unwrap();
    assert!(latency.p50 > 0.0 && latency.p50 <= latency.p99 && latency.p99 <= latency.max);

    let mut users: BTreeMap<_, usize> = BTreeMap::new();
    for event in receiver.taken() {
        *users
            .entry(event.parse().unwrap().change.clerk_id)
            .or_default() += 1;
    }
    assert!(
        users.len() == 20 && users.values().all(|count| *count == 15),
        "{users:?}"
    );
    let mut ids = receiver.ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 300);
}

#[tokio::test]
async fn one_event_is_reported_in_words_with_the_next_commands() {
    let printed = async |body: &'static str, line: &str| {
        let receiver = Receiver::start(move |_| (Duration::ZERO, HttpResponse::Ok().body(body)));
        let summary = receiver.send(line).await;
        let event = receiver.taken().remove(0);
        let single = summary.run.single.as_ref().unwrap();
        let hints = Hints::without_flags();
        let text = in_words(&summary, single) + &where_to_look(single, false, &hints);
        (text, event.id().to_string())
    };
    let (text, id) = printed(r#"{"status":"queued"}"#, "user.created --user user_1").await;
    assert!(
        text.starts_with(&format!("queued {id}, about user_1, in ")),
        "{text}"
    );
    let hints = ["users show user_1", "users history user_1"]
        .map(|words| Hints::without_flags().command(words));
    assert!(
        text.ends_with(&format!("Look at it:\n  {}\n", hints.join("\n  "))),
        "{text}"
    );
    let (text, id) = printed(r#"{"status":"ignored"}"#, "session.created").await;
    assert!(
        text.starts_with(&format!("ignored {id}"))
            && text.contains("does not keep events of this type"),
        "{text}"
    );
    let line = "organizationMembership.created --id orgmem_1";
    let (text, _) = printed(r#"{"status":"queued"}"#, line).await;
    let hint = Hints::without_flags().command("memberships show orgmem_1");
    assert!(
        text.contains(", about orgmem_1") && text.contains(&hint),
        "{text}"
    );
    let (text, _) = printed("hello", "user.created").await;
    assert!(text.contains("not by clerk-sync"), "{text}");
}

#[tokio::test]
async fn connections_stay_open() {
    let receiver = Receiver::queueing();
    assert!(
        receiver
            .send("user.created --count 500 --connections 4")
            .await
            .is_whole()
    );
    let connections = receiver.state.connections.load(Ordering::Relaxed);
    // A connection that has just answered may not be back in the pool yet, so now and then one more
    // is opened.
    assert!(
        (1..50).contains(&connections),
        "{connections} connections for 500 deliveries"
    );
}

#[tokio::test]
async fn a_shuffled_duplicated_run_sends_each_event_twice_in_an_order_that_its_seed_decides() {
    let line = "user.updated --count 100 --users 3 --shuffle --duplicate --connections 1 --seed 9";
    let receiver = Receiver::queueing();
    assert_eq!(receiver.send(line).await.accepted, 200);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in receiver.ids() {
        *counts.entry(id).or_default() += 1;
    }
    assert!(
        counts.len() == 100 && counts.values().all(|count| *count == 2),
        "{counts:?}"
    );

    let users = |receiver: &Receiver| -> Vec<_> {
        receiver
            .taken()
            .iter()
            .map(|event| event.parse().unwrap().change.clerk_id)
            .collect()
    };
    let again = Receiver::queueing();
    assert!(again.send(line).await.is_whole());
    assert_eq!(users(&receiver), users(&again));
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_the_exit_status_says_so() {
    let receiver = Receiver::queueing();
    let wrong = format!("user.created --count 3 --secret {OTHER_SECRET} --json");
    let refused = receiver.send(&wrong).await;
    assert_eq!(
        (refused.sent, refused.accepted, refused.is_whole()),
        (3, 0, false)
    );
    assert_eq!(
        (refused.refused[0].status, refused.refused[0].code.as_str()),
        (400, "invalid_signature")
    );
    assert_eq!(refused.reasons.len(), 1, "the same reason is reported once");
    assert!(receiver.taken().is_empty());

    let with_url = |line: &str| args(&format!("{line} --url {}", receiver.url));
    assert_eq!(
        run(&with_url(&wrong), Some(SECRET.into())).await.unwrap(),
        ExitCode::FAILURE
    );
    let right = with_url("user.created --count 3 --json");
    assert_eq!(
        run(&right, Some(SECRET.into())).await.unwrap(),
        ExitCode::SUCCESS
    );
    let list = format!(" {SECRET}, {OTHER_SECRET}");
    assert_eq!(
        run(&right, Some(list.into())).await.unwrap(),
        ExitCode::SUCCESS,
        "the first of a list is used"
    );
}

#[tokio::test]
async fn without_a_good_secret_nothing_is_sent_and_the_error_says_what_to_do() {
    let receiver = Receiver::queueing();
    let args = args(&format!("user.created --url {}", receiver.url));
    let error = run(&args, None).await.unwrap_err().to_string();
    assert!(
        error.contains("--secret") && error.contains("CLERK_WEBHOOK_SIGNING_SECRET"),
        "{error}"
    );
    let error = run(&args, Some("whsec_short".into()))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        !error.contains("short") || error.contains("too short"),
        "{error}"
    );
    assert!(receiver.taken().is_empty());
}

#[tokio::test]
async fn a_receiver_that_is_away_for_now_is_tried_again_only_when_asked_to() {
    let away_twice =
        || Receiver::start(|n| (Duration::ZERO, if n < 2 { unavailable() } else { queued() }));
    let receiver = away_twice();
    let summary = receiver.send("user.created --retry 5").await;
    assert_eq!((summary.sent, summary.accepted, summary.retries), (1, 1, 2));
    let ids = receiver.ids();
    assert!(
        ids.len() == 3 && ids.iter().all(|id| *id == ids[0]),
        "a retry keeps the ID: {ids:?}"
    );

    let summary = away_twice().send("user.created").await;
    assert_eq!((summary.accepted, summary.retries), (0, 0));
    assert_eq!(
        summary.reasons,
        ["503 queue_unavailable: the queue is away"]
    );

    let summary = Receiver::start(|_| (Duration::ZERO, unavailable()))
        .send("user.created --retry 3")
        .await;
    assert_eq!((summary.sent, summary.accepted, summary.retries), (1, 0, 3));

    let refusing = Receiver::start(|_| {
        (
            Duration::ZERO,
            problem(413, "body_too_large", "").finish_json(),
        )
    });
    let summary = refusing.send("user.created --retry 3").await;
    assert_eq!(
        (summary.retries, summary.refused[0].status),
        (0, 413),
        "a retry cannot fix a 4xx"
    );
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let receiver = Receiver::start(|_| {
        (
            Duration::ZERO,
            HttpResponse::Found()
                .insert_header(("location", "/there"))
                .finish(),
        )
    });
    let summary = receiver.send("user.created").await;
    assert_eq!((summary.accepted, summary.refused[0].status), (0, 302));
    assert_eq!(receiver.taken().len(), 1);
}
