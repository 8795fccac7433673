//! `open`: opens the dashboard in a browser, logged in by a link that works once.

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, StatusCode, Url};

use super::{dev, loopback, output};
use crate::clock::now;
use crate::config::{Config, read_http_url};
use crate::http::{self, AdminToken};

#[derive(Debug, clap::Args)]
pub struct OpenArgs {
    /// Where the dashboard is; default: that of `clerk-sync dev` of this DATA_DIR while it runs,
    /// else HOST and PORT
    #[arg(long, value_name = "URL", value_parser = read_url)]
    url: Option<Url>,
    /// Print the link, and open nothing
    #[arg(long)]
    print: bool,
}

/// Longest wait for an answer: a refused link is answered after a second.
const TIMEOUT: Duration = Duration::from_secs(5);

pub async fn run(args: &OpenArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let of_dev = dev::kept_here(&config.data_dir).url;
    let bases = match (&args.url, &of_dev) {
        (Some(url), _) | (None, Some(url)) => vec![base_of(url)],
        (None, None) => loopback::base_urls(&config.http),
    };
    // `dev` has a token of its own only where none is set.
    let kept = || dev::token_kept_here(&config.data_dir);
    let token = config.admin_token.clone().or_else(kept).context(
        "ADMIN_TOKEN is not set, so there is nothing to log in with: set it to the token of the server",
    )?;
    let token = AdminToken::new(&token);
    let client = match &args.url {
        Some(url) if url.scheme() == "https" || !loopback::is_loopback(url) => {
            Client::builder().timeout(TIMEOUT).build()?
        }
        _ => loopback::client(TIMEOUT)?,
    };
    let mut found = Err(anyhow::anyhow!("the address has no host"));
    for base in bases {
        found = link_to(&client, &base, &token).await;
        if found.is_ok() {
            break;
        }
    }
    let (base, link) = found?;
    if !args.print && open(&link) {
        output::note(&format!(
            "Opened {base}/ in the browser. The link logs in once, within 10 minutes."
        ));
        return Ok(ExitCode::SUCCESS);
    }
    if !args.print {
        output::note("No browser could be started. This link logs in once, within 10 minutes:");
    }
    output::print(&format!("{link}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn read_url(text: &str) -> Result<Url, String> {
    read_http_url(text).map_err(|fault| format!("{fault}; give one such as http://127.0.0.1:3000"))
}

/// The URL without a slash at its end, and without the webhook's path.
fn base_of(url: &Url) -> String {
    let text = url.as_str().trim_end_matches('/');
    text.trim_end_matches(http::WEBHOOK_PATH).into()
}

/// The base and a new link, if the server there would accept it: its page is asked for, which does
/// not use the link up.
async fn link_to(
    client: &Client,
    base: &str,
    token: &AdminToken,
) -> anyhow::Result<(String, String)> {
    let path = token.login_path(now());
    let link = format!("{base}{path}");
    // The error of the client holds the link.
    let Ok(answer) = client.get(&link).send().await else {
        bail!("nothing answers at {base}/: start a server, or say with --url where one is")
    };
    let status = answer.status();
    let page = answer.text().await.unwrap_or_default();
    // The form of a good link holds it.
    let (_, value) = path.split_once('=').unwrap_or_default();
    match status {
        StatusCode::OK if page.contains(value) => Ok((base.into(), link)),
        StatusCode::OK => bail!(
            "the server at {base}/ refuses the link: give this command the same ADMIN_TOKEN, and see whether both clocks agree"
        ),
        StatusCode::FORBIDDEN => {
            bail!("the dashboard at {base}/ is off: start the server with ADMIN_TOKEN")
        }
        StatusCode::NOT_FOUND => bail!(
            "there is no dashboard at {base}/: a receiver has none, `serve` and `worker` have one"
        ),
        status => bail!("the server at {base}/ answers {status} to the link"),
    }
}

/// Starts the browser. Returns whether one was started.
fn open(link: &str) -> bool {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let ended = Command::new(program)
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ended.is_ok_and(|status| status.success())
}
