//! One delivery: signed at the time of sending, posted, and what was answered.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use secrecy::SecretString;
use serde::Deserialize;

use crate::clerk::sample::SampleEvent;
use crate::clerk::{EventId, SigningSecret};
use crate::clock::now;

/// How long Svix waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Posts signed events to one URL.
pub struct Sender {
    client: reqwest::Client,
    url: reqwest::Url,
    secret: SigningSecret,
}

/// What a delivery came to.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A 2xx, with `queued` or `ignored`.
    Accepted(String),
    /// Any other status, with the problem's code; whether to try again.
    Refused { reason: String, retry: bool },
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    status: serde_json::Value,
    code: String,
}

impl Sender {
    /// Fails when the URL or the secret cannot be read.
    pub fn new(url: &str, secret: &SecretString, connections: usize) -> anyhow::Result<Self> {
        let secret = SigningSecret::parse(secret).map_err(|fault| anyhow::anyhow!("the signing secret {fault}"))?;
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // To Svix a redirect is a failure.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(connections)
            .tcp_nodelay(true)
            .build()?;
        let url = url.parse().with_context(|| format!("{url} is no URL"))?;
        Ok(Self { client, url, secret })
    }

    /// Delivers an event; an error is anything but a 2xx.
    pub async fn post(&self, event: &SampleEvent) -> anyhow::Result<()> {
        match self.deliver(&event.id, event.body.clone()).await {
            Answer::Accepted(_) => Ok(()),
            Answer::Refused { reason, .. } => bail!(reason),
        }
    }

    pub(super) async fn deliver(&self, id: &EventId, body: Bytes) -> Answer {
        let sent_at = now();
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("svix-id", id.as_str())
            .header("svix-timestamp", (sent_at.ms() / 1000).to_string())
            .header("svix-signature", self.secret.sign(id, sent_at, &body))
            .body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Answer::Refused { reason: describe(&error), retry: true },
        };
        let status = response.status();
        let body: Body =
            response.bytes().await.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        if status.is_success() {
            return Answer::Accepted(body.status.as_str().unwrap_or("accepted").into());
        }
        Answer::Refused { reason: format!("{} {}", status.as_u16(), body.code), retry: status.as_u16() == 503 }
    }
}

/// Without the URL, so that the same failures are counted together.
fn describe(error: &reqwest::Error) -> String {
    match error {
        error if error.is_timeout() => "no answer within 15 s".into(),
        error if error.is_connect() => "no connection: does the server run there?".into(),
        _ => "the connection broke".into(),
    }
}
