//! One delivery as Svix makes it: signed when it is sent, 15 seconds for the answer, no redirects.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use serde::Deserialize;

use crate::backoff::retry_after;
use crate::clerk::SigningSecret;
use crate::clock::now;
use crate::commands::error_cause::deepest_cause;
use crate::commands::loopback::is_loopback;
use crate::escape::visible;
use crate::sample::SampleEvent;
use crate::tls;

/// How long Svix waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Most of an answer that is read, in bytes: ours are below 1 KB, anything else that listens there
/// may send more.
const ANSWER_MAX: usize = 64 * 1024;

/// Longest text that is taken from an answer, in characters: it goes to a terminal.
const TEXT_MAX: usize = 300;

/// Posts events to one address, over connections that stay open. Shared by reference.
pub struct Sender {
    client: reqwest::Client,
    url: Url,
    secret: SigningSecret,
}

impl Sender {
    /// `connections` is how many stay open between deliveries; each delivery in flight has one of
    /// its own.
    pub fn new(url: Url, secret: SigningSecret, connections: usize) -> Result<Self, PostError> {
        let mut builder = tls::http_client_for(&url)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(ANSWER_TIMEOUT)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(connections)
            .user_agent(concat!("clerk-sync-send/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            // A proxy of the environment could not reach this machine under that name.
            builder = builder.no_proxy();
        }
        let client = builder.build()?;
        Ok(Self {
            client,
            url,
            secret,
        })
    }

    /// Signs the event with the present time and posts it once. Every answer is an `Answer`,
    /// whatever its status; an error means that there was none within 15 seconds; the receiver may
    /// have accepted the event.
    pub async fn post(&self, event: &SampleEvent) -> Result<Answer, PostError> {
        let now = now();
        let signature = self.secret.sign(&event.id, now, &event.body);
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("svix-id", event.id.as_str())
            .header("svix-timestamp", now.ms() / 1000)
            .header("svix-signature", signature)
            .body(event.body.clone());
        let mut response = request.send().await?;
        let status = response.status().as_u16();
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let retry_after =
            header(RETRY_AFTER).and_then(|value| retry_after(value, header(DATE), now.ms()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                break;
            }
        }
        Ok(Answer::read(status, retry_after, &body))
    }
}

/// The URL without the user name, the password, the query and the fragment that it may hold.
pub fn address(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only for a URL without a host, which has neither.
    let (_, _) = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// What the receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// `queued` or `ignored`, the code of a problem, or empty if it is no answer of ours.
    pub word: String,
    /// The text of a problem, or empty.
    pub detail: String,
    pub retry_after: Option<Duration>,
}

impl Answer {
    fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        /// Our answers, and RFC 9457's problems.
        #[derive(Deserialize, Default)]
        struct Fields {
            status: Option<serde_json::Value>,
            code: Option<String>,
            title: Option<String>,
            detail: Option<String>,
        }
        // The target may be any server, so a body of any form is accepted.
        let fields: Fields = serde_json::from_slice(body).unwrap_or_default();
        let word = fields
            .code
            .as_deref()
            .or(fields.status.as_ref().and_then(|word| word.as_str()));
        let detail = fields.detail.or(fields.title);
        Self {
            status,
            word: plain(word.unwrap_or_default()),
            detail: plain(&detail.unwrap_or_default()),
            retry_after,
        }
    }

    pub fn is_accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// One line on an answer that is no 2xx.
    pub fn reason(&self) -> String {
        let Self {
            status,
            word,
            detail,
            ..
        } = self;
        match (status, word.as_str(), detail.as_str()) {
            (300..400, ..) => {
                format!("{status}: a redirect, which Svix takes as a failure; give the final --url")
            }
            (404, "", "") => "404: nothing accepts webhooks at this path; see --url".into(),
            (_, "", "") => format!("{status}: not an answer of clerk-sync; see --url"),
            (_, "", text) | (_, text, "") => format!("{status} {text}"),
            _ => format!("{status} {word}: {detail}"),
        }
    }

    /// Whether the same delivery may be accepted later.
    pub fn is_transient(&self) -> bool {
        self.status == 429 || self.status >= 500
    }
}

/// Text from outside, for a terminal, and not too long.
fn plain(text: &str) -> String {
    visible(&text.chars().take(TEXT_MAX).collect::<String>()).into_owned()
}

/// There was no answer. Never holds the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PostError(String);

impl From<reqwest::Error> for PostError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self(format!(
                "no answer within {} seconds",
                ANSWER_TIMEOUT.as_secs()
            ));
        }
        let what = if error.is_connect() {
            "cannot connect"
        } else {
            "the connection broke"
        };
        // reqwest's own text names the URL; the deepest cause says what happened.
        Self(match deepest_cause(&error) {
            Some(cause) => format!("{what}: {}", plain(&cause)),
            None => what.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_leniently_and_lose_what_a_terminal_would_obey() {
        let read = |status, body: &str| Answer::read(status, None, body.as_bytes());
        let queued = read(200, r#"{"status":"queued","event_id":"msg_1"}"#);
        assert_eq!(
            (queued.word.as_str(), queued.is_accepted()),
            ("queued", true)
        );
        let problem = read(
            503,
            r#"{"type":"about:blank","title":"T","status":503,"code":"queue_unavailable","detail":"D"}"#,
        );
        assert_eq!(
            (problem.word.as_str(), problem.detail.as_str()),
            ("queue_unavailable", "D")
        );
        assert!(problem.is_transient() && !problem.is_accepted());
        for other in ["", "<html>", "[]", "{\"code\":1}", "null"] {
            assert_eq!(read(404, other).word, "", "{other}");
        }
        assert_eq!(
            read(400, "{\"detail\":\"a\\u001b[2Jb\\n\"}").detail,
            "a\\u001b[2Jb\\u000a"
        );
    }

    #[test]
    fn the_address_shows_no_password() {
        let url = "http://me:hidden@127.0.0.1:3000/api?token=hidden"
            .parse()
            .unwrap();
        assert_eq!(address(&url), "http://127.0.0.1:3000/api");
    }
}
