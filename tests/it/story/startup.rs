//! Each role logs its configuration at its start; the commands that `dev` prints work.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};

use crate::support::app::{App, DEADLINE, Place, SECRET, until};
use crate::support::clerk_instance::ClerkInstance;

/// The lines of a log with this message.
fn logged(log: &[String], message: &str) -> Vec<Value> {
    let lines = log
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains(message))
        })
        .collect()
}

/// The one line of the start.
async fn started(app: &App) -> Value {
    until("it says that it started", async || {
        !logged(&app.log(), "started").is_empty()
    })
    .await;
    let mut lines = logged(&app.log(), "started");
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[tokio::test]
async fn each_role_says_what_it_has_and_no_password() {
    let place = Place::servers().await;
    let database = |url: &str| {
        url.split_once('@')
            .unwrap()
            .1
            .split('?')
            .next()
            .unwrap()
            .to_owned()
    };
    let Place::Servers { database: own, .. } = &place else {
        unreachable!("it has servers")
    };
    let (url, namespace) = (own.url(), place.namespace().name().to_owned());
    let at = database(&url);
    // The server of the tests trusts, so any password is right.
    let url = format!("postgres://postgres:hunter2%2F@{at}");
    let variables = [
        ("DATABASE_URL", &*url),
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", "hunter2hunter2hunter2"),
    ];
    for (role, has) in [
        (
            "serve",
            ["queue", "database", "webhook_url", "dashboard"].as_slice(),
        ),
        ("receiver", &["queue", "webhook_url"]),
        ("worker", &["queue", "database", "dashboard"]),
    ] {
        let app = place.start_unready(&[role], &variables);
        let line = started(&app).await;
        assert_eq!(
            (&line["version"], &line["role"]),
            (&env!("CARGO_PKG_VERSION").into(), &role.into())
        );
        for field in ["queue", "database", "webhook_url", "dashboard"] {
            assert_eq!(
                line[field].is_string(),
                has.contains(&field),
                "{role} {field}: {line}"
            );
        }
        let holds = |field: &str, text: &str| {
            line[field]
                .as_str()
                .is_none_or(|value| value.contains(text))
        };
        assert!(
            holds("queue", "RabbitMQ at 127.0.0.1:") && holds("queue", &namespace),
            "{line}"
        );
        assert!(holds("database", &format!("PostgreSQL at {at}")), "{line}");
        assert!(holds("webhook_url", &app.webhook_url()), "{line}");
        assert!(
            holds("dashboard", &format!("http://{}/", app.address)),
            "{line}"
        );
        let secret = ["hunter2", "guest", "postgres:", SECRET]
            .into_iter()
            .find(|word| line.to_string().contains(word));
        assert_eq!(secret, None, "{line}");
        assert!(
            logged(&app.log(), "keep DATA_DIR").is_empty(),
            "no file is used"
        );
        assert!(app.stop().success());
    }
}

#[tokio::test]
async fn files_without_a_terminal_are_a_warning_and_a_dashboard_without_a_token_is_explained() {
    let place = Place::embedded();
    let app = place.serve().await;
    let line = started(&app).await;
    let file = |name: &str| place.directory().join(name).display().to_string();
    assert_eq!(line["queue"], format!("embedded, in {}", file("queue.db")));
    assert_eq!(line["database"], format!("SQLite, in {}", file("users.db")));
    assert!(
        line["dashboard"].as_str().unwrap().contains("ADMIN_TOKEN"),
        "{line}"
    );
    until("it warns", async || {
        !logged(&app.log(), "keep DATA_DIR on a disk that stays").is_empty()
    })
    .await;
    let warning = &logged(&app.log(), "keep DATA_DIR")[0];
    assert_eq!(
        (&warning["level"], &warning["files"]),
        (&"WARN".into(), &"queue and database".into())
    );
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_write_say_which_database() {
    let clerk = ClerkInstance::with_users(2, 3).await;
    for place in [Place::embedded(), Place::servers().await] {
        let expected = match &place {
            Place::Embedded { .. } => format!(
                "SQLite, in {}",
                place.directory().join("users.db").display()
            ),
            Place::Servers { database, .. } => {
                format!(
                    "PostgreSQL at {}",
                    database
                        .url()
                        .split_once('@')
                        .unwrap()
                        .1
                        .split('?')
                        .next()
                        .unwrap()
                )
            }
        };
        for arguments in [
            &["migrate"][..],
            &["migrate", "--check"],
            &["backfill"],
            &["reconcile", "--json"],
        ] {
            // Without a filter of the tests' own.
            let output = place
                .command(arguments)
                .env_remove("RUST_LOG")
                .envs(clerk.variables())
                .output()
                .unwrap();
            let log: Vec<_> = String::from_utf8(output.stderr)
                .unwrap()
                .lines()
                .map(String::from)
                .collect();
            let lines = logged(&log, "started");
            assert_eq!(lines.len(), 1, "{arguments:?}: {log:?}");
            assert_eq!(
                (&lines[0]["command"], &lines[0]["database"]),
                (&arguments[0].into(), &expected.clone().into())
            );
            assert_eq!(lines[0]["version"], env!("CARGO_PKG_VERSION"));
        }
        let listed = place
            .command(&["users", "list"])
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        assert!(
            listed.status.success() && listed.stderr.is_empty(),
            "one that only reads says nothing"
        );
    }
}

/// `dev` until it waits: the lines that it printed.
struct Dev {
    child: Child,
    printed: Vec<String>,
}

impl Dev {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)))
        });
        let mut printed: Vec<String> = Vec::new();
        let is_last = |line: &String| line.trim().ends_with("/api/users");
        while !printed.last().is_some_and(is_last) {
            printed.push(
                lines
                    .recv_timeout(DEADLINE)
                    .unwrap_or_else(|_| panic!("it ended with {printed:#?}")),
            );
        }
        Self { child, printed }
    }

    /// The commands to try. One of them has two lines.
    fn hints(&self) -> Vec<String> {
        let steps = self
            .printed
            .iter()
            .skip_while(|line| !line.contains("Try in another terminal"))
            .skip(1);
        let steps: Vec<_> = steps.map(|line| line.trim()).collect();
        let steps = steps.join("\n").replace("\\\n", "\\\r");
        steps.lines().map(|step| step.replace('\r', "\n")).collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the statement of the line for sqlite3 on the file, as soon as it has tables.
async fn look(line: &str, file: &Path) {
    let statement = line.split('\'').rev().nth(1).unwrap().to_owned();
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    until("the statement can be run", async || {
        let Ok(mut connection) = options.connect().await else {
            return false;
        };
        let statement = sqlx::query(AssertSqlSafe(statement.clone()));
        statement.fetch_all(&mut connection).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn the_hints_of_dev_work_in_the_folder_of_an_application_whose_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (servers, directory) in [
        ("DATABASE_URL=postgres://u:hunter2@127.0.0.1:1/app", None),
        (
            "DATABASE_URL='mysql://u:hunter2@127.0.0.1/app'\nAMQP_URL=",
            Some("a folder"),
        ),
        (
            "DATABASE_URL=file:./dev.db\nAMQP_URL=amqp://u:hunter2@127.0.0.1:1/",
            None,
        ),
        (
            "DATABASE_URL_FILE=nowhere\nAMQP_URL=amqp://u:hunter2@127.0.0.1:1",
            None,
        ),
    ] {
        let place = Place::embedded();
        std::fs::write(
            place.directory().join(".env"),
            format!("{servers}\nPORT={port}\n"),
        )
        .unwrap();
        let mut command = place.command(&["dev"]);
        command
            .env_remove("DATA_DIR")
            .env_remove("PORT")
            .env_remove("RUST_LOG");
        directory.map(|directory| command.env("DATA_DIR", directory));
        let dev = Dev::start(command);
        let all = dev.printed.join("\n");
        assert!(all.contains(&format!("Port {port} is in use")), "{all}");
        assert!(
            !all.contains(&format!("127.0.0.1:{port}/")) && !all.contains("hunter2"),
            "{all}"
        );
        for word in [
            "version",
            "webhook URL",
            "dashboard",
            "queue.db",
            "users.db",
        ] {
            assert!(all.contains(word), "{word}: {all}");
        }
        let mut hints = dev.hints();
        assert_eq!(hints.len(), 5, "{all}");
        let data = place.directory().join(directory.unwrap_or("data"));
        // The commands that `send` prints after one event work, too. Failed events are replayed
        // into the queue of `dev`.
        let [_, query, failed, send, _] = &hints[..] else {
            panic!("{hints:?}")
        };
        let send_one = send.replace(" --count 1000", "");
        let replay = failed.replace("list --status failed", "replay --all --dry-run");
        look(query, &data.join("users.db")).await;
        hints.swap(0, 3);
        hints.extend([send_one.clone(), replay]);
        hints.reverse();
        while let Some(hint) = hints.pop() {
            // As another terminal has it: nothing is exported.
            let mut shell = Command::new("sh");
            // There is no curl and no sqlite3 everywhere.
            let print = "printf '%s\\n' \"$@\"";
            let typed = format!("curl() {{ {print}; }}; sqlite3() {{ {print}; }}; {hint}");
            shell
                .args(["-c", &typed])
                .current_dir(place.directory())
                .env_clear();
            let output = shell.stdin(Stdio::null()).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{hint}: {error}");
            if hint.contains("Bearer") {
                let token = std::fs::read_to_string(data.join("dev-admin-token")).unwrap();
                let printed = String::from_utf8_lossy(&output.stdout);
                let (header, url) = (
                    format!("Authorization: Bearer {}", token.trim()),
                    "/api/users",
                );
                assert!(
                    printed.contains(&header) && printed.trim_end().ends_with(url),
                    "{printed}"
                );
            }
            if hint == send_one {
                let printed = String::from_utf8_lossy(&output.stdout);
                let next = printed
                    .lines()
                    .skip_while(|line| *line != "Look at it:")
                    .skip(1)
                    .map(String::from);
                let (show, id) = (
                    next.collect::<Vec<_>>(),
                    printed.split("about ").nth(1).unwrap().split(',').next(),
                );
                assert!(
                    show.len() == 2 && show[0].contains(id.unwrap()),
                    "{printed}"
                );
                let store = place.store_at(&data.join("users.db"));
                let id = clerk_sync::clerk::ClerkId::new(id.unwrap()).unwrap();
                until("it is there", async || {
                    store.user(&id).await.is_ok_and(|user| user.is_some())
                })
                .await;
                hints.extend(show);
            }
            if hint.contains("users list") {
                let store = place.store_at(&data.join("users.db"));
                until("what was sent is there", async || {
                    store.totals().await.is_ok_and(|found| found.users > 0)
                })
                .await;
                let output = shell.output().unwrap();
                assert!(
                    String::from_utf8_lossy(&output.stdout).contains("user_"),
                    "{output:?}"
                );
            }
        }
        assert!(!place.directory().join("dev.db").exists());
    }
}

#[tokio::test]
async fn dev_stops_with_its_terminal() {
    let place = Place::embedded();
    // The terminal of util-linux's `script` goes with it. The system then signals the leader of the
    // session. So `dev` runs there without a shell, which may ignore the signal.
    let mut script = Command::new("script");
    let line = format!("exec '{}' dev", env!("CARGO_BIN_EXE_clerk-sync"));
    script
        .args(["--quiet", "--command", &line, "/dev/null"])
        .env_clear()
        .current_dir(place.directory());
    script
        .env("DATA_DIR", place.directory())
        .env("PORT", "0")
        .env("PATH", "/usr/bin:/bin");
    let mut script = script
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("util-linux's `script`");
    let file = place.directory().join("dev-url");
    until("it listens", async || file.exists()).await;
    let lock = std::fs::read_to_string(place.directory().join("lock")).unwrap();
    let second = place.run(&["dev"]);
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(
        error.contains(&format!("another clerk-sync (process {lock}) works in")),
        "{error}"
    );
    script.kill().unwrap();
    script.wait().unwrap();
    until("it stops", async || !file.exists()).await;
}

#[test]
fn the_log_on_a_terminal_has_color_unless_it_is_refused() {
    let place = Place::embedded();
    for (variables, has_color) in [
        (&[("TERM", "xterm")][..], true),
        (&[("TERM", "dumb")], false),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
    ] {
        let variables = [variables, &[("LOG_FORMAT", "pretty")]].concat();
        let (status, shown) = place.on_a_terminal(&["migrate"], &variables, "");
        assert!(status == Some(0) && shown.contains("started"), "{shown}");
        assert_eq!(
            shown.contains("\u{1b}["),
            has_color,
            "{variables:?}: {shown}"
        );
    }
}
