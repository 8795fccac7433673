//! `healthcheck`: what a container's health check runs, so that the image needs no other program.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::config::Config;

const TIMEOUT: Duration = Duration::from_secs(3);

pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    // A server that listens on every address answers on this one.
    let host = match config.http.host.as_str() {
        "0.0.0.0" | "::" => "127.0.0.1",
        host => host,
    };
    let url = format!("http://{host}:{}/healthz", config.http.port);
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let answer = client.get(&url).send().await.with_context(|| format!("nothing answers at {url}"))?;
    answer.error_for_status()?;
    Ok(ExitCode::SUCCESS)
}
