//! `dev`: everything embedded, with a generated signing secret, to try it out.

mod demo;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};

use super::hints::{Hints, quoted};
use super::live_note::{self, LiveNote};
use super::secrets::Secrets;
use super::serve::Signals;
use super::server::{Role, Service};
use super::{output, startup};
use crate::clerk::SigningSecret;
use crate::clerk::tables::{organization_memberships, users};
use crate::clock::now;
use crate::commands::send::{Dev, Sender};
use crate::config::{Config, Environment, Flags};
use crate::http::{self, AdminToken};
use crate::private_file;
use crate::store::{self, Store};
use demo::Demo;

#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// Also send the events of a few sample users, of which one comes twice, one late, and one
    /// fails; print what they did and how to repair it
    #[arg(long)]
    demo: bool,
}

/// Files in DATA_DIR that only this user can read.
const SECRET_FILE: &str = "dev-signing-secret";
const TOKEN_FILE: &str = "dev-admin-token";
const URL_FILE: &str = "dev-url";

pub async fn run(args: DevArgs, flags: Flags, mut config: Config) -> anyhow::Result<ExitCode> {
    config = config.with_all_payloads(&Environment::read(&flags)?);
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
    let service = Service::start(&config, Role::Dev, &secrets).await?;
    let url = startup::url(service.address, http::WEBHOOK_PATH);
    let file = config.data_dir.join(URL_FILE);
    let url_file = LiveNote::write(file.clone(), &url)
        .with_context(|| format!("cannot write {}", file.display()))?;
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
    let show = async {
        let demo = match args.demo {
            true => show_demo(&config, &service.store, &url).await,
            false => None,
        };
        let steps = next_steps(&config, &url, demo.as_ref(), token.is_some());
        steps.and_then(|steps| output::print(&steps))
    };
    // A signal ends the demo, too.
    let ended = async {
        tokio::select! {
            ended = signals.until_the_end(&flags, &secrets) => return ended,
            shown = show => shown?,
        }
        signals.until_the_end(&flags, &secrets).await
    };
    let ended = ended.await;
    drop(url_file);
    service.stop().await;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the demo. A fault of it does not end the server: it is printed.
async fn show_demo(config: &Config, store: &Store, url: &str) -> Option<Demo> {
    let synced = &config.synced;
    if !synced.has(&users::TABLE) {
        output::note("No demo: it is about users, and SYNC leaves them out.");
        return None;
    }
    let run = async {
        let secret = SigningSecret::parse(&config.signing_secrets[0])
            .map_err(|fault| anyhow!("the signing secret {fault}"))?;
        let sender = Sender::new(url.parse()?, secret, 1)?;
        let base = url.replace(http::WEBHOOK_PATH, http::DASHBOARD_PATH);
        // It is large.
        Box::pin(demo::run(&sender, store, &base, synced)).await
    };
    run.await
        .inspect_err(|error| {
            output::note(&format!("The demo broke off: {error:#}. `dev` goes on."));
        })
        .ok()
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

/// What `dev` keeps in this directory. Its values are `None` if it has never run.
pub fn kept_here(data_dir: &Path) -> Dev {
    let read = |file| fs::read_to_string(data_dir.join(file)).ok();
    Dev {
        secret: read(SECRET_FILE).map(|text| SecretString::from(text.trim())),
        url: live_note::read(&data_dir.join(URL_FILE)).and_then(|text| text.trim().parse().ok()),
    }
}

/// The admin token that `dev` keeps in this directory. Returns `None` if it has made none.
pub fn token_kept_here(data_dir: &Path) -> Option<SecretString> {
    let text = fs::read_to_string(data_dir.join(TOKEN_FILE)).ok()?;
    Some(SecretString::from(text.trim()))
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

/// The login link, and commands that can be copied, for another terminal in the same folder.
fn next_steps(
    config: &Config,
    url: &str,
    demo: Option<&Demo>,
    is_generated: bool,
) -> anyhow::Result<String> {
    // As the other terminal has it: without the flags of this one.
    let environment = Environment::read(&Flags::default())?;
    let hints = Hints::of(config, &environment);
    let mut steps = String::from("\nServing. Stop with Ctrl-C.\n");
    if let Some(token) = &config.admin_token {
        let base = url.trim_end_matches(http::WEBHOOK_PATH);
        let path = AdminToken::new(token).login_path(now());
        steps += &format!(
            "\nOpen the dashboard. This link logs in once, within 10 minutes:\n  {base}{path}\n"
        );
    }
    steps += "\nTry in another terminal:\n";
    let mut add = |line: String| steps += &format!("  {line}\n");
    add(hints.command("users list"));
    if let store::Options::Sqlite(file) = &config.store {
        let file = quoted(&file.path.display().to_string());
        let query = "select email, first_name, deleted_at from users";
        add(format!("sqlite3 {file} '{query}'"));
    }
    add(hints.command("events list --status failed"));
    if let Some(Demo {
        failed,
        late_user,
        organization,
    }) = demo
    {
        if let Some(event) = failed {
            add(hints.command(&format!("events replay {} --wait", event.event_id)));
        }
        add(hints.command(&format!("users history {late_user}")));
        let memberships = organization_memberships::TABLE.plural;
        if let Some(organization) = organization {
            let members = format!("{memberships} list --organization {organization}");
            add(hints.command(&members));
        }
    }
    add(hints.command("send user.updated --count 1000"));
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
        add(format!(
            "curl -H \"Authorization: Bearer {token}\" \\\n    {api}"
        ));
    }
    Ok(steps)
}
