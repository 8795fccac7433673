//! `dev`: everything embedded, with a generated signing secret, to try it out.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::hints::{Hints, quoted};
use super::secrets::Secrets;
use super::serve::Signals;
use super::server::{Role, Service};
use super::{output, startup, users};
use crate::backoff::Backoff;
use crate::clerk::{ClerkId, SigningSecret, Timestamp};
use crate::clock::now;
use crate::commands::send::{self, Dev, Sender};
use crate::config::{Config, Environment, Flags};
use crate::sample::{Person, SampleEvent};
use crate::{http, private_file};

#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// Also send the history of a few sample users, and print the resulting rows
    #[arg(long)]
    demo: bool,
}

/// Files in DATA_DIR that only this user can read.
const SECRET_FILE: &str = "dev-signing-secret";
const TOKEN_FILE: &str = "dev-admin-token";
const URL_FILE: &str = "dev-url";

pub async fn run(args: DevArgs, flags: Flags, mut config: Config) -> anyhow::Result<ExitCode> {
    let taken = take_a_free_port(&mut config.http);
    let is_generated = config.signing_secrets.is_empty();
    // Accepted beside the configured ones: what `send` signs with it reaches `dev` alone.
    let generate = || format!("whsec_{}", STANDARD.encode(random_bytes::<24>()));
    let secret = kept(&config.data_dir, SECRET_FILE, generate)?;
    config.signing_secrets.push(secret.clone());
    // A configured token is not printed.
    let mut token = None;
    if config.admin_token.is_none() {
        token = Some(kept(&config.data_dir, TOKEN_FILE, || {
            URL_SAFE_NO_PAD.encode(random_bytes::<24>())
        })?);
        config.admin_token.clone_from(&token);
    }

    let secrets = Secrets::of(&config, true)?.with_generated(secret, token.clone());
    let mut signals = Signals::listen()?.of_terminal();
    let service = Service::start(&config, Role::Both, &secrets).await?;
    let url = startup::url(service.address, http::WEBHOOK_PATH);
    let url_file = UrlFile::write(&config.data_dir, &url)?;
    if let Some(taken) = taken {
        output::print(&format!(
            "Port {taken} is in use: this one listens on {}.\n\n",
            service.address.port()
        ))?;
    }
    output::print(&welcome(
        &url,
        &config,
        &service,
        is_generated,
        token.as_ref(),
    ))?;
    if args.demo {
        demo(&url, &config, &service).await?;
    }
    output::print(&next_steps(
        &config,
        &url,
        &Environment::read(&Flags::default())?,
        token.is_some(),
    ))?;
    let ended = signals.until_the_end(&flags, &secrets).await;
    drop(url_file);
    service.stop().await;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// How many ports are tried.
const PORTS_MAX: u16 = 100;

/// Chooses the next free port if another program has that of the settings. Returns the port that is
/// in use, if any.
fn take_a_free_port(options: &mut http::Options) -> Option<u16> {
    let wanted = options.port;
    let is_taken = |options: &http::Options| {
        http::listen(options).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    let free = (wanted..=wanted.saturating_add(PORTS_MAX)).find(|port| {
        !is_taken(&http::Options {
            port: *port,
            ..options.clone()
        })
    })?;
    options.port = free;
    (free != wanted).then_some(wanted)
}

/// The file in DATA_DIR with the URL of `dev`, while it listens.
struct UrlFile(PathBuf);

impl UrlFile {
    fn write(directory: &Path, url: &str) -> anyhow::Result<Self> {
        let path = directory.join(URL_FILE);
        let write = || {
            private_file::options()
                .truncate(true)
                .open(&path)?
                .write_all(url.as_bytes())
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for UrlFile {
    fn drop(&mut self) {
        // A file that stays does no harm: `send` signs for it with a secret that only `dev`
        // accepts.
        drop(fs::remove_file(&self.0));
    }
}

/// What `dev` keeps in this directory. Its values are `None` if it has never run.
pub fn kept_here(data_dir: &Path) -> Dev {
    let read = |file| fs::read_to_string(data_dir.join(file)).ok();
    Dev {
        secret: read(SECRET_FILE).map(|text| SecretString::from(text.trim())),
        url: read(URL_FILE).and_then(|text| text.trim().parse().ok()),
    }
}

/// The value in the file. Generates and writes one if there is none.
fn kept(
    data_dir: &Path,
    file: &str,
    generate: impl Fn() -> String,
) -> anyhow::Result<SecretString> {
    let path = data_dir.join(file);
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(SecretString::from(text.trim()));
    }
    let value = generate();
    let write = || {
        private_file::create_directory(data_dir)?;
        let mut file = private_file::options().create_new(true).open(&path)?;
        writeln!(file, "{value}")
    };
    write().with_context(|| {
        format!(
            "cannot write {} (choose another place with DATA_DIR)",
            path.display()
        )
    })?;
    Ok(SecretString::from(value))
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// The generated secret is printed, so that it can be copied into other tools; a configured one is
/// not.
fn welcome(
    url: &str,
    config: &Config,
    service: &Service,
    is_generated: bool,
    token: Option<&SecretString>,
) -> String {
    let secret = if is_generated {
        config.signing_secrets[0].expose_secret()
    } else {
        "that of CLERK_WEBHOOK_SIGNING_SECRET"
    };
    let token = token.map_or("that of ADMIN_TOKEN", |token| token.expose_secret());
    output::of_fields(&[
        ("webhook URL", url.into()),
        ("signing secret", secret.into()),
        (
            "dashboard",
            url.replace(http::WEBHOOK_PATH, http::DASHBOARD_PATH),
        ),
        ("log in with", token.into()),
        ("queue", startup::queue(&config.queue)),
        ("database", startup::database(&service.store)),
        ("version", startup::VERSION.into()),
    ])
}

/// Commands that can be copied, for another terminal in the same folder.
fn next_steps(config: &Config, url: &str, environment: &Environment, is_generated: bool) -> String {
    let hints = Hints::of(config, environment);
    let to = if url == send::DEFAULT_URL {
        String::new()
    } else {
        format!(" --url {}", quoted(url))
    };
    let mut steps = format!(
        "\nServing. Stop with Ctrl-C. Try in another terminal:\n\
         \x20 {}\n\
         \x20 {}\n\
         \x20 {}\n",
        hints.command(&format!("send user.updated --count 1000{to}")),
        hints.command("users list"),
        hints.command("events list --status failed"),
    );
    let file = quoted(&config.data_dir.join(TOKEN_FILE).display().to_string());
    let token = match is_generated {
        true => Some(format!("$(cat {file})")),
        // A shell does not have the one of `.env` or of a flag.
        false => environment
            .is_exported("ADMIN_TOKEN")
            .then(|| "$ADMIN_TOKEN".into()),
    };
    if let Some(token) = token {
        let api = quoted(&url.replace(http::WEBHOOK_PATH, "/api/users"));
        steps += &format!("  curl -H \"Authorization: Bearer {token}\" {api}\n");
    }
    steps
}

/// How long the demo's events may take to become rows.
const DEMO_DEADLINE: Duration = Duration::from_secs(10);

/// Sends a history over HTTP, as Svix would with its retries and bad order, and prints the
/// resulting rows.
async fn demo(url: &str, config: &Config, service: &Service) -> anyhow::Result<()> {
    let secret = SigningSecret::parse(&config.signing_secrets[0])
        .map_err(|fault| anyhow!("the signing secret {fault}"))?;
    let sender = Sender::new(url.parse()?, secret, 1)?;
    let history = History::of(5, now());
    output::print(&format!(
        "\nSending {} signed events of {} people:\n",
        history.deliveries.len(),
        history.people.len()
    ))?;
    for (event, what) in &history.deliveries {
        let answer = sender.post(event).await?;
        if !answer.is_accepted() {
            bail!(
                "the event {what} was answered {} {}",
                answer.status,
                answer.word
            );
        }
        output::print(&format!("  {what}\n"))?;
    }
    let mut waiting = Backoff::for_outage();
    let deadline = Instant::now() + DEMO_DEADLINE;
    for (event, what) in &history.deliveries {
        while service
            .store
            .event(&event.id)
            .await
            .ok()
            .flatten()
            .is_none()
        {
            if Instant::now() > deadline {
                bail!(
                    "the event {what} was queued but not applied within {} s; see the log",
                    DEMO_DEADLINE.as_secs()
                );
            }
            waiting.wait().await;
        }
    }
    let mut rows = Vec::new();
    for person in &history.people {
        rows.extend(service.store.user(person).await?);
    }
    output::print(&format!(
        "\nThe users table now:\n{}",
        users::of_users(&rows, now())
    ))?;
    Ok(())
}

/// Events in the order in which they are delivered, each with a description.
struct History {
    people: Vec<ClerkId>,
    deliveries: Vec<(SampleEvent, String)>,
}

impl History {
    /// Every person signs up and changes something; then one is deleted in order, one before a late
    /// update, and one event is delivered twice.
    fn of(people: usize, now: Timestamp) -> Self {
        let before_ms = |ms: i64| Timestamp::from_ms(now.ms() - ms).unwrap_or(now);
        let people: Vec<Person> = (0..people)
            .map(|_| Person::generate(rand::random(), before_ms(60_000)))
            .collect();
        let mut deliveries = Vec::new();
        let mut add = |event: SampleEvent, what: &str, person: &Person, note: &str| {
            deliveries.push((event, format!("user.{what}  {}{note}", person.name())));
        };
        for person in &people {
            add(person.created(before_ms(60_000)), "created", person, "");
        }
        for person in &people {
            add(person.updated(before_ms(30_000), 1), "updated", person, "");
        }
        let (leaver, late) = (&people[0], &people[1]);
        let update = late.updated(before_ms(10_000), 2);
        add(leaver.deleted(before_ms(5_000)), "deleted", leaver, "");
        add(late.deleted(before_ms(5_000)), "deleted", late, "");
        add(
            update.clone(),
            "updated",
            late,
            ", late: from before the delete",
        );
        add(update, "updated", late, ", the same event again");
        Self {
            people: people.iter().map(|person| person.id.clone()).collect(),
            deliveries,
        }
    }
}
