//! A client of Clerk's Backend API: its requests start one after another, within the rate limit.
//!
//! The secret key goes into one header and nowhere else. Redirects are not followed: one could take
//! the key elsewhere. No error quotes an answer.

use std::time::Duration;

use reqwest::header::{DATE, RETRY_AFTER};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::failure::Stopped;
use super::request::{API_VERSION, Answer, Request, RequestError, SET_THE_URL, judge};
use super::retry::Retry;
use crate::backoff::retry_after;
use crate::clerk::{OmittedFields, Table, Timestamp};
use crate::shutdown::Shutdown;
use crate::tls::{self, Files, Peer};

/// Largest page: 500 users with 8 KB of each kind of metadata have some 15 MiB.
const PAGE_BYTES_MAX: usize = 32 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many processes make such requests: each takes an equal share of the rate.
    pub processes: u32,
    /// Longest wait until it may be made.
    pub turn: Duration,
    /// Timeout of a whole answer.
    pub answer: Duration,
}

impl Limits {
    /// Those of a run over lists: Clerk takes some seconds for a page of a large instance.
    const OF_LISTS: Self = Self {
        processes: 1,
        turn: Duration::MAX,
        answer: Duration::from_secs(30),
    };
}

/// Longest `Retry-After` that is obeyed in full; after that time a request does no harm.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Between two requests: half of what Clerk allows an instance (1,000 in 10 s, in development 100).
/// The application shares that limit.
const INTERVAL: Duration = Duration::from_millis(20);
const INTERVAL_IN_DEVELOPMENT: Duration = Duration::from_millis(200);

/// Which instance of Clerk to read, and how long to retry. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    /// Base URL of the Backend API, without a slash at its end.
    pub url: String,
    /// CAs that are trusted beside the system's roots.
    pub files: Files,
    /// The secret key `sk_…`.
    pub key: SecretString,
    /// Fields that are never stored.
    pub omitted: OmittedFields,
    /// Longest wait for Clerk or for the database without any progress.
    pub patience: Duration,
    /// Returns the time.
    pub now: fn() -> Timestamp,
}

/// A client of one instance.
pub struct ClerkApi {
    client: Client,
    base: Url,
    options: Options,
    interval: Duration,
    /// When the next request may be made.
    next: Mutex<Instant>,
}

impl ClerkApi {
    /// Returns a client, without connecting.
    ///
    /// # Errors
    ///
    /// `Stopped::Refused` if the URL or the CA files cannot be used.
    pub fn open(options: Options) -> Result<Self, Stopped> {
        let base = Url::parse(&options.url).map_err(|_| {
            Stopped::Refused(format!(
                "CLERK_API_URL is not an http(s) URL; {SET_THE_URL}"
            ))
        })?;
        let client = tls::http_client(&options.files)
            .map_err(|error| Stopped::Refused(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| {
                let cause = root_cause(&error);
                Stopped::Refused(format!("no connection to Clerk can be made: {cause}"))
            })?;
        let interval = match options.key.expose_secret().starts_with("sk_live_") {
            true => INTERVAL,
            false => INTERVAL_IN_DEVELOPMENT,
        };
        Ok(Self {
            client,
            base,
            interval,
            options,
            next: Mutex::new(Instant::now()),
        })
    }

    /// Returns the options that it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Returns how many objects of a table there are, or `None` if that cannot be known now.
    pub(super) async fn count(&self, table: &'static Table) -> Option<u64> {
        let request = Request::count(table);
        let answer = self.try_once(&request, Limits::OF_LISTS).await.ok()?;
        let Answer::Found(body) = answer else {
            return None;
        };
        let count: Value = serde_json::from_slice(&body).ok()?;
        count["total_count"].as_u64()
    }

    /// Requests until there is an answer that can be used.
    ///
    /// # Errors
    /// Fails when Clerk refuses the key or the request, or when retries end or `stop` is requested.
    pub(super) async fn get(&self, request: &Request, stop: &Shutdown) -> Result<Answer, Stopped> {
        let mut retry = Retry::new(self.options.patience, stop);
        loop {
            let tried = stop.or(self.try_once(request, Limits::OF_LISTS)).await;
            match tried.ok_or(Stopped::Requested)? {
                Ok(answer) => return Ok(answer),
                Err(RequestError::Away(what, at_least) | RequestError::TooMany(what, at_least)) => {
                    retry.wait(&what, at_least).await?
                }
                Err(RequestError::Refused(what)) => return Err(Stopped::Refused(what)),
            }
        }
    }

    /// Requests once.
    ///
    /// # Errors
    /// Fails without an answer that can be used, or if its turn would come too late.
    pub(super) async fn try_once(
        &self,
        request: &Request,
        limits: Limits,
    ) -> Result<Answer, RequestError> {
        self.take_turn(limits).await?;
        let (url, key) = (&self.options.url, self.options.key.expose_secret());
        let failed = |error| unanswered(url, &error, limits.answer);
        let (name, version) = API_VERSION;
        let sent = self.client.get(request.url(&self.base));
        let sent = sent.timeout(limits.answer);
        let sent = sent.bearer_auth(key).header(name, version).send();
        let mut answer = sent.await.map_err(failed)?;
        let header = |name| answer.headers().get(name)?.to_str().ok();
        let now_ms = (self.options.now)().ms();
        let retry_after = header(RETRY_AFTER)
            .and_then(|value| retry_after(value, header(DATE), now_ms))
            .map(limited);
        let status = answer.status().as_u16();
        let length = answer.content_length().unwrap_or_default();
        let mut body = Vec::with_capacity(usize::try_from(length).unwrap_or(0).min(PAGE_BYTES_MAX));
        // Of other answers only the code of Clerk's error counts.
        let is_read = matches!(status, 200 | 400..=499);
        while let Some(chunk) = answer.chunk().await.map_err(failed)?.filter(|_| is_read) {
            if body.len() + chunk.len() > PAGE_BYTES_MAX {
                return Err(RequestError::Refused(format!(
                    "{url} answers with more than {} MiB at once, more than any page of {}: see whether CLERK_API_URL is right",
                    PAGE_BYTES_MAX >> 20,
                    request.table.plural
                )));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            200 => Ok(Answer::Found(body)),
            _ => judge(url, status, &body, retry_after, request),
        }
    }

    /// Waits until the next request may be made.
    ///
    /// # Errors
    /// Fails at once if that would be too late. Then it takes no turn.
    async fn take_turn(&self, limits: Limits) -> Result<(), RequestError> {
        let at = {
            let (mut next, now) = (self.next.lock().await, Instant::now());
            let at = (*next).max(now);
            if at - now > limits.turn {
                let what =
                    "refreshes have used their half of Clerk's rate limit, or Clerk asked to wait";
                return Err(RequestError::TooMany(what.into(), Some(limited(at - now))));
            }
            *next = at + self.interval * limits.processes;
            at
        };
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    /// Makes no request before this time is over.
    pub(super) async fn hold_back(&self, wait: Duration) {
        let mut next = self.next.lock().await;
        *next = (*next).max(Instant::now() + wait);
    }
}

/// Limits a `Retry-After`: at least one second, so that 0 is no invitation to hurry.
fn limited(asked: Duration) -> Duration {
    asked.clamp(Duration::from_secs(1), RETRY_AFTER_MAX)
}

/// Returns the error of a request without an answer: transient, unless TLS is the cause.
fn unanswered(url: &str, error: &reqwest::Error, timeout: Duration) -> RequestError {
    if let Some(reason) = tls::explain(error, &Peer::CLERK) {
        return RequestError::Refused(format!("{url}: {reason}"));
    }
    // Without the URL, which comes first already.
    let why = match error.is_timeout() {
        true => format!("does not answer within {} s", timeout.as_secs()),
        false => format!("cannot be reached: {}", root_cause(error)),
    };
    RequestError::Away(format!("{url} {why}"), None)
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_obeyed_within_limits() {
        let wait = |text| {
            retry_after(text, Some("Sun, 06 Nov 1994 08:49:37 GMT"), 0)
                .map(|asked| limited(asked).as_secs())
        };
        assert_eq!(
            [wait("7"), wait("0"), wait("86400")],
            [Some(7), Some(1), Some(300)]
        );
        assert_eq!(
            [
                wait("Sun, 06 Nov 1994 08:50:37 GMT"),
                wait("Sun, 06 Nov 1994 08:00:00 GMT")
            ],
            [Some(60), Some(1)]
        );
        assert_eq!([wait("soon"), wait("-1")], [None; 2]);
    }
}
