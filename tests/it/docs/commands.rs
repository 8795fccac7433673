//! Every command of the pages runs, or it is of a kind that cannot run here.
//!
//! `clerk-sync …` and `curl …` run in a shell, beside a real server with events in it, and must
//! succeed. In them `user_2abc` stands for a user who has just signed up, `org_2abc` for an
//! organization, and so of each table, `msg_2abc` for an event that failed, and `http://127.0.0.1:3000` for the server. What does not end by itself is only
//! read: with `--help` at its end.

use std::process::{Output, Stdio};

use clerk_sync::config::Setting;

use super::fixture;
use super::page::{self, root};
use super::shell::{self, Call};
use crate::support::app::{App, Place, SECRET};
use crate::support::clerk_api::ClerkApi;
use crate::support::clerk_instance::{ClerkInstance, KEY};
use crate::support::history::fail;

/// Commands of ours that run until they are stopped.
const ENDLESS: &[&str] = &["dev", "serve", "receiver", "worker"];

/// Commands of ours that open a browser at an address of the reader's.
const OPENING: &[&str] = &["open"];

/// Commands of ours that compare the table with Clerk's list. They have a place of their own, where
/// the two agree.
const COMPARING: &[&str] = &["backfill", "reconcile"];

/// Programs that may stand beside ours.
const PLAIN: &[&str] = &["", "grep", "head", "jq"];

/// Programs that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo", "it builds; what it passes to clerk-sync is read"),
    (
        "docker",
        "no container is started here; scripts/check-deploy reads the files",
    ),
    (
        "npx",
        "it needs the network; scripts/check-snippets installs what pages name",
    ),
    (
        "systemctl",
        "scripts/check-deploy asks systemd about the units",
    ),
    ("npm", "scripts/check-examples runs the examples"),
    ("systemd-sysusers", "as systemctl"),
    ("journalctl", "as systemctl"),
    ("install", "it changes the system"),
    ("cd", "it names a folder of the reader's"),
    ("editor", "as cd"),
    ("ssh", "it needs another machine"),
    ("mv", "as cd"),
    ("cp", "as cd"),
    ("openssl", "it makes a secret, for a file of the reader's"),
    ("printf", "it writes a secret to a file of the reader's"),
    (
        "kubectl",
        "scripts/check-deploy asks Kubernetes' schemas about the manifests",
    ),
    (
        "rabbitmqctl",
        "its node is not ours: tests/it/contract and tests/faults use it",
    ),
    ("rabbitmq-queues", "as rabbitmqctl"),
    ("rabbitmq-upgrade", "as rabbitmqctl"),
    ("rabbitmq-diagnostics", "as rabbitmqctl"),
    ("psql", "its statements belong in blocks of SQL"),
    (
        "pg_dump",
        "tests/it/story/operations.rs makes and restores a backup",
    ),
    ("pg_restore", "as pg_dump"),
    ("sqlite3", "its statements belong in blocks of SQL"),
    ("perf", "it needs a machine of its own"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_command_runs() {
    let mut served = Served::start().await;
    let compared = Compared::start().await;
    let (mut faults, mut count) = (String::new(), 0);
    for page in page::all() {
        for block in page.blocks().iter().filter(|block| block.language == "sh") {
            for command in shell::commands(&block.text) {
                let result = match Kind::of(&shell::calls(&command.text)) {
                    Ok(Kind::Served) => served.run(&command.text).await,
                    Ok(Kind::Compared) => compared.run(&command.text),
                    Ok(Kind::Read(commands)) => read(&compared.place, &commands),
                    Err(fault) => Err(fault),
                };
                count += 1;
                if let Err(fault) = result {
                    let line = block.line + command.line;
                    faults += &format!("{}:{line}: {}\n{fault}\n", page.path, command.text);
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
    assert!(count > 50, "{count} commands were found");
}

/// How a command is tried.
#[derive(Debug, PartialEq)]
enum Kind {
    /// Run beside a server.
    Served,
    /// Run where the table agrees with Clerk's list.
    Compared,
    /// Not run: these commands of ours in it are read.
    Read(Vec<Vec<String>>),
}

impl Kind {
    fn of(calls: &[Call]) -> Result<Self, String> {
        let mut read = Vec::new();
        let (mut runs, mut compares) = (false, false);
        let mut stays = false;
        for call in calls {
            let program = call.program();
            if let Some(name) = call.variables.iter().find(|name| !is_setting(name)) {
                return Err(format!("{name} is no setting: see docs/configuration.md"));
            }
            if program == "clerk-sync" {
                let name = call.words.get(1).map_or("", String::as_str);
                runs = true;
                compares |= COMPARING.contains(&name);
                stays |= ENDLESS.contains(&name) || OPENING.contains(&name);
                stays |= call.words.iter().any(|word| word == "--follow");
                read.push(call.words[1..].to_vec());
            } else if program == "curl" {
                let is_ours = call
                    .words
                    .iter()
                    .any(|word| PORTS.iter().any(|at| word.contains(at)));
                runs |= is_ours;
                stays |= !is_ours;
            } else if program.starts_with("scripts/") {
                stays = true;
                if !root().join(program).exists() {
                    return Err(format!("there is no {program}"));
                }
            } else if NOT_RUN.iter().any(|(name, _)| *name == program) {
                stays = true;
                read.extend(passed_on(call));
            } else if !PLAIN.contains(&program) {
                return Err(format!(
                    "{program} is not in the lists of tests/it/docs/commands.rs"
                ));
            }
        }
        Ok(match (runs && !stays, compares) {
            (true, true) => Self::Compared,
            (true, false) => Self::Served,
            (false, _) => Self::Read(read),
        })
    }
}

/// Where the server of a page listens.
const PORTS: &[&str] = &[
    "127.0.0.1:3000",
    "localhost:3000",
    "127.0.0.1:3001",
    "localhost:3001",
];

/// Returns what another program passes to ours: `cargo run -- …`, `docker … clerk-sync …`.
fn passed_on(call: &Call) -> Option<Vec<String>> {
    let is_of_a_container = ["exec", "run"]
        .iter()
        .any(|word| call.words.iter().any(|other| other == word));
    let words = match call.program() {
        "cargo" => call.after("--")?,
        "docker" | "kubectl" if is_of_a_container => call.after("clerk-sync")?,
        _ => return None,
    };
    (!words.is_empty()).then(|| words.to_vec())
}

/// Whether the program reads this variable, or the file that it names.
fn is_setting(name: &str) -> bool {
    Setting::named(name).is_some()
}

/// Reads commands of ours without doing them: with `--help` at their end.
fn read(place: &Place, commands: &[Vec<String>]) -> Result<(), String> {
    for words in commands {
        let words: Vec<_> = words
            .iter()
            .map(|word| word.trim_matches(['\'', '"']))
            .collect();
        checked(&place.run(&[&words[..], &["--help"]].concat()))?;
    }
    Ok(())
}

fn checked(output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    Err(format!("{}\n{}", output.status, text.trim()))
}

/// Runs a command in a shell in which `clerk-sync` is the program, with its settings.
fn run(place: &Place, command: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    let directory = place.directory();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_clerk-sync"));
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    // Where a shell looks for completions.
    std::fs::create_dir_all(directory.join(".local/share/bash-completion/completions")).unwrap();
    // An answer of 400 or more is a failure.
    std::fs::write(directory.join(".curlrc"), "fail-with-body\nshow-error\n").unwrap();
    let own = place.command(&[]);
    let own = own
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let output = std::process::Command::new("bash")
        .args(["-o", "pipefail", "-c", command])
        .current_dir(&directory)
        .env_clear()
        .envs(own)
        .env("PATH", path)
        .env("HOME", &directory)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    checked(&output)
}

/// Takes away the settings before a command: the test has its own.
fn without_variables(command: &str) -> &str {
    let mut rest = command;
    while let Some((word, after)) = rest.split_once(' ') {
        let name = word.split('=').next().unwrap_or_default();
        if name == word || !is_setting(name) {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

const TOKEN: &str = "a-token-of-the-tests";
const READ_TOKEN: &str = "reads-and-does-nothing-else";

/// A running server.
struct Served {
    place: Place,
    app: App,
    /// What `check` asks.
    clerk: ClerkApi,
    /// What a refresh asks.
    users: ClerkInstance,
}

impl Served {
    async fn start() -> Self {
        let place = Place::servers().await;
        let date = now_as_a_date();
        let users = r#"[{"id":"user_1"}]"#;
        let clerk = ClerkApi::answering("200 OK", &[("date", date)], users).await;
        let instance = ClerkInstance::with_users(500, 3).await;
        let [(_, key), (_, url)] = instance.variables();
        let variables = [
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
            ("ADMIN_TOKEN", TOKEN),
            ("CLERK_SECRET_KEY", &*key),
            ("CLERK_API_URL", &*url),
            ("READ_TOKEN", READ_TOKEN),
            ("CHANGE_FEED", "on"),
        ];
        let app = place.start(&["serve"], &variables).await;
        fixture::fill(&app.store).await;
        Self {
            place,
            app,
            clerk,
            users: instance,
        }
    }

    async fn run(&mut self, command: &str) -> Result<(), String> {
        let number = fixture::number();
        let (user, event) = (format!("user_3ab{number}"), format!("msg_3ab{number}"));
        let signed_up = fixture::sign_up(&format!("msg_3new{number}"), &user);
        let id = signed_up.id().to_string();
        self.app.deliver(&id, signed_up.body().to_vec()).await;
        self.app.settled(&id).await;
        fail(&self.app.store, &[fixture::sign_up(&event, &user)]).await;
        self.users.change(|accounts| accounts.sign_up(&user, 0));

        let address = self.app.address.to_string();
        let mut command = without_variables(command)
            .replace("user_2abc…", &user)
            .replace("user_2abc", &user)
            .replace("msg_2abc…", &event)
            .replace("msg_2abc", &event)
            .replace("--count 20000", "--count 20");
        for at in PORTS {
            command = command.replace(at, &address);
        }
        // What a person answers when asked.
        for asks in ["clerk-sync send", "clerk-sync users erase"] {
            if !command.contains("--dry-run") && !command.contains("--yes") {
                command = command.replace(asks, &format!("{asks} --yes"));
            }
        }
        let url = format!("clerk-sync send --url {}", self.app.webhook_url());
        if !command.contains("--url") {
            command = command.replace("clerk-sync send", &url);
        }
        let port = self.app.address.port().to_string();
        let mut variables = vec![
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
            ("ADMIN_TOKEN", TOKEN),
            ("READ_TOKEN", READ_TOKEN),
            ("PORT", &port),
        ];
        let [_, (_, of_users)] = self.users.variables();
        let url = match command.contains("users refresh") {
            true => of_users,
            false => self.clerk.url(),
        };
        variables.extend([("CLERK_SECRET_KEY", KEY), ("CLERK_API_URL", &url)]);
        let result = run(&self.place, &command, &variables);
        if command.contains("pause") || command.contains("rate-limit") {
            // The next command needs events that are applied.
            self.app.store.resume().await.unwrap();
            self.app.store.set_rate_limit(None).await.unwrap();
        }
        result
    }
}

fn now_as_a_date() -> String {
    let now = chrono::DateTime::from_timestamp_millis(clerk_sync::clock::now().ms()).unwrap();
    now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A table that agrees with Clerk's list.
struct Compared {
    place: Place,
    clerk: ClerkInstance,
}

impl Compared {
    async fn start() -> Self {
        let (place, clerk) = (
            Place::servers().await,
            ClerkInstance::with_users(500, 3).await,
        );
        let compared = Self { place, clerk };
        compared.place.succeed(&["migrate"]);
        compared.run("clerk-sync backfill").unwrap();
        compared
    }

    fn run(&self, command: &str) -> Result<(), String> {
        let clerk = self.clerk.variables();
        let variables: Vec<_> = clerk
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        run(&self.place, without_variables(command), &variables)
    }
}

#[test]
fn the_kind_of_a_command_is_found() {
    let kind = |text| Kind::of(&shell::calls(text));
    assert_eq!(kind("clerk-sync status | jq ."), Ok(Kind::Served));
    assert_eq!(kind("clerk-sync reconcile"), Ok(Kind::Compared));
    assert_eq!(kind("export ADMIN_TOKEN=a"), Ok(Kind::Read(vec![])));
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        kind("PORT=1 clerk-sync worker"),
        Ok(Kind::Read(vec![words("worker")]))
    );
    assert_eq!(
        kind("cargo run -- dev --demo"),
        Ok(Kind::Read(vec![words("dev --demo")]))
    );
    assert_eq!(
        kind("docker compose exec clerk-sync clerk-sync check"),
        Ok(Kind::Read(vec![words("check")]))
    );
    assert!(kind("unheard-of").is_err() && kind("export UNHEARD_OF=1").is_err());
}
