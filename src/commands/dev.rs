//! `dev`: everything embedded, with a made-up signing secret, to try it out.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::secrets::Secrets;
use super::serve::Signals;
use super::service::{Role, Service};
use super::{table, users};
use crate::backoff::Backoff;
use crate::clerk::sample::{Person, SampleEvent};
use crate::clerk::{ClerkId, SigningSecret, Timestamp};
use crate::clock::now;
use crate::commands::send::Sender;
use crate::config::{Config, Settings};
use crate::{http, queue, store};

#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// Also send the history of a few made-up people, and show the rows it comes to
    #[arg(long)]
    demo: bool,
}

/// Files in DATA_DIR that only this user can read.
const SECRET_FILE: &str = "dev-signing-secret";
const TOKEN_FILE: &str = "dev-admin-token";

pub async fn run(args: DevArgs, settings: Settings, mut config: Config) -> anyhow::Result<ExitCode> {
    embed(&mut config);
    let is_made_up = config.signing_secrets.is_empty();
    if is_made_up {
        let made_up = || format!("whsec_{}", STANDARD.encode(random_bytes::<24>()));
        config.signing_secrets = vec![kept(&config.data_dir, SECRET_FILE, made_up)?];
    }
    // A token of the user's is not shown.
    let mut token = None;
    if config.admin_token.is_none() {
        token = Some(kept(&config.data_dir, TOKEN_FILE, || URL_SAFE_NO_PAD.encode(random_bytes::<24>()))?);
        config.admin_token.clone_from(&token);
    }

    let secrets = Secrets::of(&config, true)?.with_made_up_token(token.clone());
    let mut signals = Signals::listen()?;
    let service = Service::start(&config, Role::Both, &secrets).await?;
    let url = format!("http://{}{}", service.address, http::WEBHOOK_PATH);
    table::print(&welcome(&url, &config, is_made_up, token.as_ref()))?;
    if args.demo {
        demo(&url, &config, &service).await?;
    }
    table::print(&next_steps(&config, &url, token.is_some()))?;
    let ended = signals.until_the_end(&settings, &secrets).await;
    service.stop().await;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Whatever servers are configured, `dev` keeps to its own files.
fn embed(config: &mut Config) {
    let keep = match &config.store {
        store::Options::Postgres(options) => options.keep,
        store::Options::Sqlite(options) => options.keep,
    };
    config.store = store::Options::Sqlite(store::sqlite::Options { path: config.data_dir.join("users.db"), keep });
    config.queue = queue::Options::Embedded(queue::embedded::Options { path: config.data_dir.join("queue.db") });
}

/// The signing secret that `dev` made in this directory, where it did.
pub fn kept_secret(data_dir: &Path) -> Option<SecretString> {
    let text = fs::read_to_string(data_dir.join(SECRET_FILE)).ok()?;
    Some(SecretString::from(text.trim()))
}

/// The value in the file, made up and written where there is none.
fn kept(data_dir: &Path, file: &str, made_up: impl Fn() -> String) -> anyhow::Result<SecretString> {
    let path = data_dir.join(file);
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(SecretString::from(text.trim()));
    }
    let value = made_up();
    let write = || {
        fs::create_dir_all(data_dir)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        writeln!(file, "{value}")
    };
    write().with_context(|| format!("cannot write {} (choose another place with DATA_DIR)", path.display()))?;
    Ok(SecretString::from(value))
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// The made-up secret is shown, so that it can be put into other tools; one of the user's is not.
fn welcome(url: &str, config: &Config, made_up: bool, token: Option<&SecretString>) -> String {
    let secret =
        if made_up { config.signing_secrets[0].expose_secret() } else { "that of CLERK_WEBHOOK_SIGNING_SECRET" };
    let token = token.map_or("that of ADMIN_TOKEN", |token| token.expose_secret());
    table::of_fields(&[
        ("webhook URL", url.into()),
        ("signing secret", secret.into()),
        ("dashboard", url.replace(http::WEBHOOK_PATH, http::dashboard::PATH)),
        ("log in with", token.into()),
        ("data", format!("{} (users.db, queue.db)", config.data_dir.display())),
    ])
}

fn next_steps(config: &Config, url: &str, made_up: bool) -> String {
    let dir = config.data_dir.display().to_string();
    let dir = if dir == "./data" { String::new() } else { format!(" --data-dir {dir}") };
    let to = if config.http.port == 3000 { String::new() } else { format!(" --url {url}") };
    let token = config.data_dir.join(TOKEN_FILE);
    let token = if made_up { format!("$(cat {})", token.display()) } else { "$ADMIN_TOKEN".into() };
    // The name by which it was called: it need not be installed.
    let me = std::env::args().next().unwrap_or_else(|| "clerk-sync".into());
    format!(
        "\nServing. Stop with Ctrl-C. Try in another terminal:\n\
         \x20 {me} send user.updated --count 1000{to}{dir}\n\
         \x20 {me} users list{dir}\n\
         \x20 {me} events list --status failed{dir}\n\
         \x20 curl -H \"Authorization: Bearer {token}\" {api}\n",
        api = url.replace(http::WEBHOOK_PATH, "/api/users"),
    )
}

/// How long the demo's events may take to become rows.
const DEMO_DEADLINE: Duration = Duration::from_secs(10);

/// Sends a history over HTTP, as Svix would with its retries and bad order, and shows what it came to.
async fn demo(url: &str, config: &Config, service: &Service) -> anyhow::Result<()> {
    let secret =
        SigningSecret::parse(&config.signing_secrets[0]).map_err(|fault| anyhow!("the signing secret {fault}"))?;
    let sender = Sender::new(url.parse()?, secret, NonZeroUsize::MIN)?;
    let history = History::of(5, now());
    table::print(&format!(
        "\nSending {} signed events of {} people:\n",
        history.deliveries.len(),
        history.people.len()
    ))?;
    for (event, what) in &history.deliveries {
        let answer = sender.post(event).await?;
        if !answer.is_accepted() {
            bail!("the event {what} was answered {} {}", answer.status, answer.word);
        }
        table::print(&format!("  {what}\n"))?;
    }
    let mut waiting = Backoff::for_outage();
    let deadline = Instant::now() + DEMO_DEADLINE;
    for (event, what) in &history.deliveries {
        while service.store.event(&event.id).await.ok().flatten().is_none() {
            if Instant::now() > deadline {
                bail!("the event {what} was queued but not applied within {} s; see the log", DEMO_DEADLINE.as_secs());
            }
            waiting.wait().await;
        }
    }
    let mut rows = Vec::new();
    for person in &history.people {
        rows.extend(service.store.user(person).await?);
    }
    table::print(&format!("\nThe users table now:\n{}", users::of_users(&rows, now())))?;
    Ok(())
}

/// Events in the order in which they are delivered, each with what it shows.
struct History {
    people: Vec<ClerkId>,
    deliveries: Vec<(SampleEvent, String)>,
}

impl History {
    /// Everybody signs up and changes something; then one is deleted in good order, one before a late update, and one
    /// event comes twice.
    fn of(people: usize, now: Timestamp) -> Self {
        let before_ms = |ms: i64| Timestamp::from_ms(now.ms() - ms).unwrap_or(now);
        let people: Vec<Person> = (0..people).map(|_| Person::generate(rand::random(), before_ms(60_000))).collect();
        let mut deliveries = Vec::new();
        for person in &people {
            deliveries.push((person.created(before_ms(60_000)), format!("user.created  {}", person.name())));
        }
        for person in &people {
            deliveries.push((person.updated(before_ms(30_000), 1), format!("user.updated  {}", person.name())));
        }
        let (leaver, late) = (&people[0], &people[1]);
        let update = late.updated(before_ms(10_000), 2);
        deliveries.push((leaver.deleted(before_ms(5_000)), format!("user.deleted  {}", leaver.name())));
        deliveries.push((late.deleted(before_ms(5_000)), format!("user.deleted  {}", late.name())));
        deliveries.push((update.clone(), format!("user.updated  {}, late: from before the delete", late.name())));
        deliveries.push((update, format!("user.updated  {}, the same event again", late.name())));
        Self { people: people.iter().map(|person| person.id.clone()).collect(), deliveries }
    }
}
