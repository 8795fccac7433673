//! `healthcheck`: for a container's health check, so that the image needs no other program.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::loopback;
use crate::config::Config;

const TIMEOUT: Duration = Duration::from_secs(3);

pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let client = loopback::client(TIMEOUT)?;
    let mut answer = Err(anyhow::anyhow!("the address has no host"));
    for base in loopback::base_urls(&config.http) {
        let url = format!("{base}/healthz");
        answer = client
            .get(&url)
            .send()
            .await
            .with_context(|| format!("nothing answers at {url}"));
        if answer.is_ok() {
            break;
        }
    }
    answer?.error_for_status()?;
    Ok(ExitCode::SUCCESS)
}
