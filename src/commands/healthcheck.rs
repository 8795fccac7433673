//! `healthcheck`: for a container's health check, so that the image needs no other program.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::config::Config;
use crate::url::bracketed;

const TIMEOUT: Duration = Duration::from_secs(3);

pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    // A server that listens on every address answers on these.
    let hosts = match config.http.host.as_str() {
        "0.0.0.0" => vec!["127.0.0.1".to_owned()],
        "::" => vec!["127.0.0.1".to_owned(), "[::1]".to_owned()],
        host => vec![bracketed(host)],
    };
    // Without TLS: the CAs of the system need not be read, and a small container has none.
    let client = reqwest::Client::builder()
        .tls_certs_only([])
        .timeout(TIMEOUT)
        .no_proxy()
        .build()?;
    let mut answer = Err(anyhow::anyhow!("the address has no host"));
    for host in hosts {
        let url = format!("http://{host}:{}/healthz", config.http.port);
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
