//! An operator at a terminal: `status`, `events list --follow`, `open`, and the progress of a long
//! command.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::support::app::{App, Place, SECRET, until};
use crate::support::clerk_instance::{ClerkInstance, Trouble};
use crate::support::history::{fail, update};
use crate::support::visitor::Visitor;

const TOKEN: &str = "correct-horse-battery-staple";

async fn serve(place: &Place) -> App {
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
    ];
    place.start(&["serve"], &variables).await
}

async fn deliver(app: &App, id: &str, updated_ms: i64) {
    let body = update(id, "user_1", updated_ms).body().to_vec();
    assert_eq!(app.deliver(id, body).await.status, 200);
    app.settled(id).await;
}

/// `status --json` beside a server on this port: the exit status and what it says.
fn status(place: &Place, port: u16) -> (i32, Value, String) {
    let mut command = place.command(&["status", "--json"]);
    let output = command.env("PORT", port.to_string()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), json, said)
}

async fn status_says_whether_everything_works(place: Place) {
    let app = serve(&place).await;
    let port = app.address.port();
    let (code, json, said) = status(&place, port);
    assert_eq!((code, &json["ok"]), (0, &true.into()), "{said}");
    assert_eq!(json["last_received_at"], Value::Null);
    deliver(&app, "msg_1", 10).await;
    fail(&app.store, &[update("msg_2", "user_2", 1)]).await;
    let (code, json, said) = status(&place, port);
    assert_eq!((code, &json["ok"]), (0, &true.into()), "{said}: {json}");
    assert_eq!(
        (
            &json["server"]["ready"],
            &json["failed"]["by_code"]["delivery_limit"]
        ),
        (&true.into(), &1.into())
    );
    assert_eq!(
        (
            &json["totals"]["users"],
            &json["lag"]["count"],
            &json["queue"]["depth"]
        ),
        (&1.into(), &1.into(), &0.into())
    );
    let mut command = place.command(&["status"]);
    let text = command.env("PORT", port.to_string()).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.starts_with("Working; 1 event failed and waits for you.")
            && text.contains(&format!("ready, at http://127.0.0.1:{port}")),
        "{text}"
    );
    assert!(app.stop().success());
    let (code, json, _) = status(&place, port);
    assert_eq!((code, &json["server"]), (0, &Value::Null), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_status_says_whether_everything_works() {
    status_says_whether_everything_works(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_status_says_whether_everything_works() {
    status_says_whether_everything_works(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_names_what_does_not_work_and_fails() {
    let place = Place::embedded();
    let (code, json, _) = status(&place, 0);
    let problem = json["problems"][0].as_str().unwrap();
    assert!(
        code == 1
            && json["headline"] == "Nothing is set up here"
            && problem.contains("DATABASE_URL"),
        "{json}"
    );
    assert!(
        !place.directory().join("queue.db").exists(),
        "it makes no file"
    );

    // Events wait, and nothing takes them.
    let app = serve(&place).await;
    fail(&app.store, &[update("msg_1", "user_1", 1)]).await;
    assert!(app.stop().success());
    place.succeed(&["events", "replay", "--all"]);
    let (code, json, _) = status(&place, 0);
    assert_eq!((code, &json["queue"]["depth"]), (1, &1.into()), "{json}");
    assert!(
        json["problems"][0].as_str().unwrap().contains("No server"),
        "{json}"
    );

    let servers = Place::servers().await;
    servers.succeed(&["migrate"]);
    let mut command = servers.command(&["status"]);
    let output = command
        .env("AMQP_URL", "amqp://127.0.0.1:1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.code() == Some(1) && text.starts_with("The queue does not work."),
        "{text}"
    );
}

/// `events list --follow`, and what it prints.
struct Followed {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Followed {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let arguments = [&["events", "list", "--follow"], arguments].concat();
        let mut child = place.command(&arguments).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "it has ended");
        line
    }
}

async fn events_are_followed_as_they_are_recorded(place: Place) {
    let app = serve(&place).await;
    deliver(&app, "msg_1", 10).await;
    let mut followed = Followed::start(&place, &[]);
    let mut of_failed = Followed::start(&place, &["--status", "failed", "--json"]);
    let line = followed.line();
    assert!(line.contains("msg_1") && line.contains("applied"), "{line}");
    deliver(&app, "msg_2", 5).await;
    let line = followed.line();
    assert!(line.contains("msg_2") && line.contains("stale"), "{line}");
    fail(&app.store, &[update("msg_3", "user_3", 30)]).await;
    let line = followed.line();
    assert!(line.contains("failed: delivery_limit"), "{line}");
    let json: Value = serde_json::from_str(&of_failed.line()).unwrap();
    assert_eq!(
        (&json["event_id"], &json["status"]),
        (&"msg_3".into(), &"failed".into())
    );
    // Another outcome of the same event.
    place.succeed(&["events", "replay", "--all"]);
    let line = followed.line();
    assert!(line.contains("msg_3") && line.contains("applied"), "{line}");

    // Ctrl-C ends it well.
    let signal = Command::new("kill")
        .args(["-INT", &followed.child.id().to_string()])
        .status();
    assert!(signal.unwrap().success());
    assert!(followed.child.wait().unwrap().success());
    // So does a reader that has seen enough, with the next event.
    drop(of_failed.lines);
    fail(&app.store, &[update("msg_4", "user_4", 40)]).await;
    let mut child = of_failed.child;
    until("it has ended", async || child.try_wait().unwrap().is_some()).await;
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_events_are_followed_as_they_are_recorded() {
    events_are_followed_as_they_are_recorded(Place::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_events_are_followed_as_they_are_recorded() {
    events_are_followed_as_they_are_recorded(Place::servers().await).await;
}

/// Takes the form of the link's page; whether it logs in.
async fn logs_in(app: &App, path: &str) -> bool {
    let mut visitor = Visitor::of(app);
    let fields = visitor.get(path).await.hidden_fields();
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    visitor.post("/login", &fields).await.status == 303 && visitor.get("/").await.status == 200
}

fn open(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = place.command(&[&["open"], arguments].concat());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code().unwrap(), out, err)
}

#[tokio::test(flavor = "multi_thread")]
async fn open_leads_into_the_dashboard_once() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let base = format!("http://{}", app.address);
    let port = app.address.port().to_string();
    let token = ("ADMIN_TOKEN", TOKEN);
    let (code, link, said) = open(&place, &["--print"], &[token, ("PORT", &port)]);
    assert_eq!((code, link.lines().count()), (0, 1), "{said}");
    let path = link.trim().strip_prefix(&base).unwrap();
    assert!(logs_in(&app, path).await);
    assert!(!logs_in(&app, path).await, "a link works once");

    // The browser gets the link, and the terminal does not show it.
    let programs = place.directory().join("bin");
    std::fs::create_dir(&programs).unwrap();
    let browser = programs.join("xdg-open");
    std::fs::write(&browser, "#!/bin/sh\necho \"$1\" > \"$DATA_DIR/opened\"\n").unwrap();
    let executable = Command::new("chmod").arg("+x").arg(&browser).status();
    assert!(executable.unwrap().success());
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let (code, out, said) = open(&place, &["--url", &base], &[token, ("PATH", &path)]);
    assert!(
        code == 0 && out.is_empty() && said.contains("Opened"),
        "{out}{said}"
    );
    if cfg!(target_os = "linux") {
        let link = std::fs::read_to_string(place.directory().join("opened")).unwrap();
        assert!(!said.contains("link="), "{said}");
        assert!(logs_in(&app, link.trim().strip_prefix(&base).unwrap()).await);
    }
    // Without a browser the link is there to be copied.
    let (code, out, said) = open(&place, &["--url", &base], &[token, ("PATH", "/nowhere")]);
    assert!(
        code == 0 && out.starts_with(&base) && said.contains("No browser"),
        "{out}{said}"
    );

    // What is wrong is said before a browser shows it.
    let (code, out, said) = open(
        &place,
        &["--url", &base],
        &[("ADMIN_TOKEN", "another-one-that-is-long")],
    );
    assert!(
        code == 1 && out.is_empty() && said.contains("the same ADMIN_TOKEN"),
        "{said}"
    );
    let (code, _, said) = open(&place, &["--url", "http://127.0.0.1:1"], &[token]);
    assert!(
        code == 1 && said.contains("nothing answers") && !said.contains("link="),
        "{said}"
    );
    let (code, _, said) = open(&place, &[], &[]);
    assert!(
        code == 1 && said.contains("ADMIN_TOKEN is not set"),
        "{said}"
    );
    let off = Place::embedded();
    let app = off.serve().await;
    let (code, _, said) = open(
        &off,
        &["--url", &format!("http://{}", app.address)],
        &[token],
    );
    assert!(code == 1 && said.contains("is off"), "{said}");
}

/// In the folder of `dev` the commands know its secret, its token and where it listens.
#[tokio::test(flavor = "multi_thread")]
async fn commands_in_the_folder_of_dev_find_it() {
    let place = Place::embedded();
    let check = place.run(&["check"]);
    let text = String::from_utf8(check.stdout).unwrap();
    assert!(
        check.status.code() == Some(1) && text.contains("none is set"),
        "{text}"
    );
    let mut dev = place.command(&["dev"]);
    let mut dev = dev.stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("Serving")));
    // Its tables come a moment later.
    until("nothing fails", async || {
        place.run(&["check"]).status.success()
    })
    .await;
    let check = place.succeed(&["check"]);
    assert_eq!(
        check.matches("`clerk-sync dev` has its own").count(),
        2,
        "{check}"
    );
    let status = place.succeed(&["status"]);
    assert!(status.starts_with("Ready for the first event."), "{status}");
    let link = place.succeed(&["open", "--print"]);
    let (address, path) = link
        .trim()
        .trim_start_matches("http://")
        .split_once('/')
        .unwrap();
    let mut visitor = Visitor::before(address);
    let page = visitor.get(&format!("/{path}")).await;
    assert_eq!(page.status, 200);
    assert!(!page.hidden_fields().is_empty());
    dev.kill().unwrap();
    dev.wait().unwrap();
}

/// A log that is no terminal shows that a long run goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_says_how_far_it_is_where_there_is_no_terminal() {
    let clerk = ClerkInstance::with_users(5, 12).await;
    let place = Place::embedded();
    for (arguments, line) in [
        (["backfill"], "5 users read, 5 changed, 0 unchanged"),
        (["reconcile"], "5 users read"),
    ] {
        clerk.then(&[Trouble::RetryAfter(429, 6)]);
        let mut command = place.command(&arguments);
        let output = command.envs(clerk.variables()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.lines().any(|said| said == line),
            "{arguments:?}: {said}"
        );
    }
}
