//! Clerk's Backend API: pages of users, one user, and how many there are.
//!
//! Pure functions decide what an answer means. The secret key goes into one header and nowhere
//! else. Redirects are not followed: one could take the key elsewhere. No error quotes an answer.

use std::time::Duration;

use reqwest::header::{DATE, RETRY_AFTER};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::failure::Stopped;
use super::retry::Retry;
use crate::backoff::retry_after;
use crate::clerk::{ClerkId, OmittedFields, Timestamp};
use crate::shutdown::Shutdown;
use crate::tls::{self, Files, Peer};

/// Users per page: the most that Clerk allows.
const PAGE_USERS: &str = "500";

/// The only order (with its reverse) in which Clerk takes a cursor. Neither the time of creation
/// nor the ID ever changes, so no user moves. Ascending, so that new users come at the end; in
/// Clerk's default order they would come before the first page.
pub const ORDER: &str = "+created_at";

/// Largest page: 500 users with 8 KB of each kind of metadata have some 15 MiB.
const PAGE_BYTES_MAX: usize = 32 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of a whole answer: Clerk takes some seconds for a page of a large instance.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest `Retry-After` that is obeyed in full; after that time a request does no harm.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Between two requests: half of what Clerk allows an instance (1,000 in 10 s, in development 100).
/// The application shares that limit.
const INTERVAL: Duration = Duration::from_millis(20);
const INTERVAL_IN_DEVELOPMENT: Duration = Duration::from_millis(200);

const SET_THE_URL: &str = "set CLERK_API_URL to https://api.clerk.com/v1";

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

/// Why a request has no answer that can be used.
#[derive(Debug, PartialEq, Eq)]
enum RequestError {
    /// Try again; after this time if the server asked for one.
    Wait(String, Option<Duration>),
    Refused(String),
}

struct Answer {
    /// Whether Clerk knows the user of the request.
    is_known: bool,
    body: Vec<u8>,
}

/// What is requested.
enum Resource<'a> {
    Page { after: Option<&'a ClerkId> },
    Count,
    User(&'a ClerkId),
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
            .timeout(ANSWER_TIMEOUT)
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

    /// Returns the body of the page after this user, or of the first page. Returns `None` if Clerk
    /// does not know the user (any more).
    ///
    /// # Errors
    /// Fails when Clerk refuses the key or the request, or when retries end or `stop` is requested.
    pub async fn page(
        &self,
        after: Option<&ClerkId>,
        stop: &Shutdown,
    ) -> Result<Option<Vec<u8>>, Stopped> {
        let answer = self.get(&Resource::Page { after }, stop).await?;
        Ok(answer.is_known.then_some(answer.body))
    }

    /// Returns whether Clerk has such a user.
    ///
    /// # Errors
    /// As [`Self::page`], and for an answer that is not Clerk's.
    pub async fn has(&self, id: &ClerkId, stop: &Shutdown) -> Result<bool, Stopped> {
        let answer = self.get(&Resource::User(id), stop).await?;
        if !answer.is_known && !is_from_clerk(&answer.body) {
            return Err(Stopped::Refused(format!(
                "{} answers 404 for a user, but not in Clerk's form, so it proves nothing: {SET_THE_URL}",
                self.options.url
            )));
        }
        Ok(answer.is_known)
    }

    /// Returns how many users there are, or `None` if that cannot be known now.
    pub async fn count(&self) -> Option<u64> {
        let answer = self.try_once(&Resource::Count).await.ok()?;
        let count: Value = serde_json::from_slice(&answer.body).ok()?;
        count["total_count"].as_u64()
    }

    /// Requests until there is an answer that can be used.
    async fn get(&self, resource: &Resource<'_>, stop: &Shutdown) -> Result<Answer, Stopped> {
        let mut retry = Retry::new(self.options.patience, stop);
        loop {
            let tried = stop.or(self.try_once(resource)).await;
            match tried.ok_or(Stopped::Requested)? {
                Ok(answer) => return Ok(answer),
                Err(RequestError::Wait(what, at_least)) => retry.wait(&what, at_least).await?,
                Err(RequestError::Refused(what)) => return Err(Stopped::Refused(what)),
            }
        }
    }

    async fn try_once(&self, resource: &Resource<'_>) -> Result<Answer, RequestError> {
        self.take_turn().await;
        let (url, key) = (&self.options.url, self.options.key.expose_secret());
        let failed = |error| unanswered(url, &error);
        let request = self.client.get(self.url(resource)).bearer_auth(key);
        let mut answer = request.send().await.map_err(failed)?;
        let header = |name| answer.headers().get(name)?.to_str().ok();
        let now_ms = (self.options.now)().ms();
        let retry_after = header(RETRY_AFTER)
            .and_then(|value| retry_after(value, header(DATE), now_ms))
            .map(limited);
        let is_known = judge(url, answer.status().as_u16(), retry_after, resource)?;
        let length = answer.content_length().unwrap_or_default();
        let mut body = Vec::with_capacity(usize::try_from(length).unwrap_or(0).min(PAGE_BYTES_MAX));
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > PAGE_BYTES_MAX {
                return Err(RequestError::Refused(format!(
                    "{url} answers with more than {} MiB at once, more than any page of users: see whether CLERK_API_URL is right",
                    PAGE_BYTES_MAX >> 20
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { is_known, body })
    }

    /// Waits until the next request may be made.
    async fn take_turn(&self) {
        let at = {
            let mut next = self.next.lock().await;
            let at = (*next).max(Instant::now());
            *next = at + self.interval;
            at
        };
        tokio::time::sleep_until(at).await;
    }

    fn url(&self, resource: &Resource<'_>) -> Url {
        let mut url = self.base.clone();
        let name = match resource {
            Resource::Page { .. } => None,
            Resource::Count => Some("count"),
            Resource::User(id) => Some(id.as_str()),
        };
        // An http(s) URL always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("users").extend(name);
        }
        if let Resource::Page { after } = resource {
            let cursor = after.map(|id| ("starting_after", id.as_str()));
            let parameters = [("limit", PAGE_USERS), ("order_by", ORDER)];
            // This encodes the plus sign: a bare one means a space.
            url.query_pairs_mut()
                .extend_pairs(parameters.into_iter().chain(cursor));
        }
        url
    }
}

/// Returns whether Clerk knows the user, or why the status is an error.
fn judge(
    url: &str,
    status: u16,
    retry_after: Option<Duration>,
    resource: &Resource<'_>,
) -> Result<bool, RequestError> {
    let has_cursor = matches!(resource, Resource::Page { after: Some(_) });
    let why = match status {
        200 => return Ok(true),
        404 if has_cursor || matches!(resource, Resource::User(_)) => return Ok(false),
        400 | 422 if has_cursor => return Ok(false),
        408 | 429 | 500..=599 => {
            let why = match status {
                429 => "has had too many requests (429)".to_owned(),
                _ => format!("answers {status}; see status.clerk.com"),
            };
            return Err(RequestError::Wait(format!("{url} {why}"), retry_after));
        }
        401 | 403 => {
            let verb = match status {
                401 => "does not take the",
                _ => "forbids it to this",
            };
            format!(
                "{verb} secret key ({status}): copy the Secret key (sk_…) of the right instance from Clerk's dashboard, Configure > API keys, into CLERK_SECRET_KEY"
            )
        }
        404 => format!("has no /users (404): {SET_THE_URL}"),
        300..=399 => format!("points elsewhere ({status}): {SET_THE_URL}"),
        _ => format!("answers {status}: {SET_THE_URL}, and see status.clerk.com"),
    };
    Err(RequestError::Refused(format!("{url} {why}")))
}

/// Clerk's errors are JSON with a list of `errors`. A proxy's 404 is not, and proves nothing about
/// a user.
fn is_from_clerk(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body["errors"].is_array())
}

/// Limits a `Retry-After`: at least one second, so that 0 is no invitation to hurry.
fn limited(asked: Duration) -> Duration {
    asked.clamp(Duration::from_secs(1), RETRY_AFTER_MAX)
}

/// Returns the error of a request without an answer: transient, unless TLS is the cause.
fn unanswered(url: &str, error: &reqwest::Error) -> RequestError {
    if let Some(reason) = tls::explain(error, &Peer::CLERK) {
        return RequestError::Refused(format!("{url}: {reason}"));
    }
    // Without the URL, which comes first already.
    let why = match error.is_timeout() {
        true => format!("does not answer within {} s", ANSWER_TIMEOUT.as_secs()),
        false => format!("cannot be reached: {}", root_cause(error)),
    };
    RequestError::Wait(format!("{url} {why}"), None)
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
    fn some_answers_are_transient_and_others_need_an_operator() {
        let user = ClerkId::new("user_1").unwrap();
        let (first, later) = (
            Resource::Page { after: None },
            Resource::Page { after: Some(&user) },
        );
        let one = Resource::User(&user);
        let judged = |status, resource| judge("https://clerk", status, None, resource);
        assert_eq!(judged(200, &later), Ok(true));
        for status in [408, 429, 500, 502, 503, 504, 529] {
            assert!(
                matches!(judged(status, &first), Err(RequestError::Wait(_, None))),
                "{status}"
            );
        }
        for status in [301, 400, 401, 402, 403, 404, 410, 422] {
            assert!(
                matches!(judged(status, &first), Err(RequestError::Refused(_))),
                "{status}"
            );
        }
        for status in [400, 404, 422] {
            assert_eq!(judged(status, &later), Ok(false));
        }
        // A request that is refused for its form says nothing of the user.
        assert!(matches!(judged(422, &one), Err(RequestError::Refused(_))));
        assert_eq!(judged(404, &one), Ok(false));
    }

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

    #[test]
    fn only_clerks_own_404_says_that_a_user_is_gone() {
        assert!(is_from_clerk(
            br#"{"errors":[{"code":"resource_not_found"}],"clerk_trace_id":"x"}"#
        ));
        for other in [&b"<html>Not Found</html>"[..], b"", b"{}", b"[]"] {
            assert!(!is_from_clerk(other));
        }
    }
}
