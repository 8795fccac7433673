//! Clerk's Backend API: pages of users, one user, and how many there are.
//!
//! What an answer means is decided by pure functions. The secret key goes into one header and nowhere else, and no redirect is followed:
//! one could take the key elsewhere. An answer is quoted in no error.

use std::time::Duration;

use reqwest::header::{DATE, RETRY_AFTER};
use reqwest::{Client, Url};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::retry::Patience;
use super::{Options, Stopped};
use crate::backoff::retry_after;
use crate::clerk::ClerkId;
use crate::shutdown::Shutdown;
use crate::tls::{self, Peer};

/// Users on a page: the most that Clerk gives.
const PAGE_USERS: &str = "500";

/// The order of the walk, and the only one (with its reverse) in which Clerk takes a cursor: neither the time of creation nor the ID ever
/// changes, so that no user moves. Ascending, so that who signs up meanwhile comes at the end, where the walk has yet to go; in Clerk's
/// default order they would come before its beginning.
pub const ORDER: &str = "+created_at";

/// Longest page: 500 users with 8 KB of each kind of metadata have some 15 MiB.
const PAGE_BYTES_MAX: usize = 32 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a whole answer: a page of an instance with many users takes Clerk some seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest `Retry-After` that is obeyed to the letter; after so long it does no harm to ask again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Between two requests: half of what Clerk allows an instance (1,000 in 10 s, in development 100), since the application lives on
/// the same allowance.
const INTERVAL: Duration = Duration::from_millis(20);
const INTERVAL_IN_DEVELOPMENT: Duration = Duration::from_millis(200);

/// A connection to one instance.
pub struct Api {
    client: Client,
    base: Url,
    options: Options,
    interval: Duration,
    /// When the next request may be made.
    next: Mutex<Instant>,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// There is no such user: as a cursor, or at all.
    Unknown,
    /// Try again, after so long where it says so.
    Wait(String, Option<Duration>),
    Refused(String),
}

/// An answer that is good, or that knows no such user.
enum Answer {
    Good(Vec<u8>),
    Unknown(Vec<u8>),
}

/// What is asked.
enum Question<'a> {
    Page { after: Option<&'a ClerkId> },
    Count,
    User(&'a ClerkId),
}

impl Api {
    /// Connects to nothing yet.
    pub fn open(options: Options) -> Result<Self, Stopped> {
        let faulty = |_| {
            Stopped::Refused(
                "CLERK_API_URL is not an http(s) URL; set https://api.clerk.com/v1".into(),
            )
        };
        let base = Url::parse(&options.url).map_err(faulty)?;
        let client = tls::http_client(&options.files)
            .map_err(|error| Stopped::Refused(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| {
                Stopped::Refused(format!(
                    "no connection to Clerk can be made: {}",
                    cause(&error)
                ))
            })?;
        let is_live = options.key.expose_secret().starts_with("sk_live_");
        let interval = if is_live {
            INTERVAL
        } else {
            INTERVAL_IN_DEVELOPMENT
        };
        Ok(Self {
            client,
            base,
            interval,
            options,
            next: Mutex::new(Instant::now()),
        })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The body of the page after this user, of the first one without; nothing where Clerk does not know the user (any more).
    pub async fn page(
        &self,
        after: Option<&ClerkId>,
        stop: &Shutdown,
    ) -> Result<Option<Vec<u8>>, Stopped> {
        match self.ask(&Question::Page { after }, stop).await? {
            Answer::Good(body) => Ok(Some(body)),
            Answer::Unknown(_) => Ok(None),
        }
    }

    /// Whether there is such a user.
    pub async fn has(&self, id: &ClerkId, stop: &Shutdown) -> Result<bool, Stopped> {
        match self.ask(&Question::User(id), stop).await? {
            Answer::Good(_) => Ok(true),
            Answer::Unknown(body) if is_from_clerk(&body) => Ok(false),
            Answer::Unknown(_) => Err(Stopped::Refused(format!(
                "{} answers 404 for a user, but not in Clerk's form: nothing can be concluded from it. Set CLERK_API_URL to https://api.clerk.com/v1",
                self.options.url
            ))),
        }
    }

    /// How many users there are; nothing where that cannot be known now.
    pub async fn count(&self) -> Option<u64> {
        #[derive(Deserialize)]
        struct Count {
            total_count: u64,
        }
        let answer = self.try_once(&Question::Count).await.ok()?;
        let Answer::Good(body) = answer else {
            return None;
        };
        serde_json::from_slice::<Count>(&body)
            .ok()
            .map(|count| count.total_count)
    }

    /// Asks until there is an answer that settles it.
    async fn ask(&self, question: &Question<'_>, stop: &Shutdown) -> Result<Answer, Stopped> {
        let mut patience = Patience::new(self.options.patience, stop);
        loop {
            let tried = stop
                .or(self.try_once(question))
                .await
                .ok_or(Stopped::Requested)?;
            match tried {
                Ok(answer) => return Ok(answer),
                Err(Verdict::Wait(what, at_least)) => patience.wait(&what, at_least).await?,
                Err(Verdict::Refused(what)) => return Err(Stopped::Refused(what)),
                Err(Verdict::Good | Verdict::Unknown) => {}
            }
        }
    }

    async fn try_once(&self, question: &Question<'_>) -> Result<Answer, Verdict> {
        self.take_turn().await;
        let away = |error: reqwest::Error| unanswered(&self.options.url, &error);
        let request = self
            .client
            .get(self.url(question))
            .bearer_auth(self.options.key.expose_secret());
        let mut answer = request.send().await.map_err(away)?;
        let header = |name| {
            answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let now_ms = (self.options.now)().ms();
        let retry_after = header(RETRY_AFTER)
            .and_then(|value| retry_after(value, header(DATE), now_ms))
            .map(obeyed);
        let verdict = judge(
            &self.options.url,
            answer.status().as_u16(),
            retry_after,
            question,
        );
        if !matches!(verdict, Verdict::Good | Verdict::Unknown) {
            return Err(verdict);
        }
        let expected = answer
            .content_length()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or_default();
        let mut body = Vec::with_capacity(expected.min(PAGE_BYTES_MAX));
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > PAGE_BYTES_MAX {
                return Err(Verdict::Refused(format!(
                    "{} answers with more than {} MiB at once, which no page of users has: see whether CLERK_API_URL is right",
                    self.options.url,
                    PAGE_BYTES_MAX >> 20
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(if verdict == Verdict::Good {
            Answer::Good(body)
        } else {
            Answer::Unknown(body)
        })
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

    fn url(&self, question: &Question<'_>) -> Url {
        let mut url = self.base.clone();
        // It begins with http:// or https://, so it has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("users");
            match question {
                Question::Page { .. } => {}
                Question::Count => _ = path.push("count"),
                Question::User(id) => _ = path.push(id.as_str()),
            }
        }
        if let Question::Page { after } = question {
            // The sign is encoded: a bare plus means a space.
            url.query_pairs_mut()
                .append_pair("limit", PAGE_USERS)
                .append_pair("order_by", ORDER);
            if let Some(id) = after {
                url.query_pairs_mut()
                    .append_pair("starting_after", id.as_str());
            }
        }
        url
    }
}

fn judge(
    url: &str,
    status: u16,
    retry_after: Option<Duration>,
    question: &Question<'_>,
) -> Verdict {
    const TAKE_THE_KEY: &str = "copy the Secret key (sk_…) of the right instance from Clerk's dashboard, Configure > API keys, into CLERK_SECRET_KEY";
    const SET_THE_URL: &str = "set CLERK_API_URL to https://api.clerk.com/v1";
    let names_a_user = matches!(
        question,
        Question::Page { after: Some(_) } | Question::User(_)
    );
    match status {
        200 => Verdict::Good,
        404 if names_a_user => Verdict::Unknown,
        400 | 422 if matches!(question, Question::Page { after: Some(_) }) => Verdict::Unknown,
        401 => Verdict::Refused(format!(
            "{url} does not take the secret key (401): {TAKE_THE_KEY}"
        )),
        403 => Verdict::Refused(format!(
            "{url} forbids it to this secret key (403): {TAKE_THE_KEY}"
        )),
        404 => Verdict::Refused(format!("{url} has no /users (404): {SET_THE_URL}")),
        429 => Verdict::Wait(
            format!("{url} has had too many requests (429)"),
            retry_after,
        ),
        408 | 500..=599 => Verdict::Wait(
            format!("{url} answers {status}; see status.clerk.com"),
            retry_after,
        ),
        300..=399 => Verdict::Refused(format!("{url} points elsewhere ({status}): {SET_THE_URL}")),
        _ => Verdict::Refused(format!(
            "{url} answers {status}: {SET_THE_URL}, and see status.clerk.com"
        )),
    }
}

/// Clerk's errors are JSON with a list of `errors`; a proxy's 404 is not, and says nothing of a user.
fn is_from_clerk(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Errors {
        #[serde(rename = "errors")]
        _errors: Vec<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Errors>(body).is_ok()
}

/// One second at least, so that 0 is no invitation to hurry.
fn obeyed(asked: Duration) -> Duration {
    asked.clamp(Duration::from_secs(1), RETRY_AFTER_MAX)
}

/// The error for a request without an answer: transient, unless TLS is the cause.
fn unanswered(url: &str, error: &reqwest::Error) -> Verdict {
    match tls::fault_of(error) {
        Some(fault) => Verdict::Refused(format!("{url}: {}", fault.explain(&Peer::CLERK))),
        None => Verdict::Wait(format!("{url} {}", explain(error)), None),
    }
}

/// Without the URL, which is said already.
fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("does not answer within {} s", ANSWER_TIMEOUT.as_secs());
    }
    format!("cannot be reached: {}", cause(error))
}

fn cause(error: &reqwest::Error) -> String {
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
    fn time_mends_some_answers_and_a_person_the_others() {
        let user = ClerkId::new("user_1").unwrap();
        let (first, later) = (
            Question::Page { after: None },
            Question::Page { after: Some(&user) },
        );
        let one = Question::User(&user);
        let judged = |status, question| judge("https://clerk", status, None, question);
        assert_eq!(judged(200, &later), Verdict::Good);
        for status in [408, 429, 500, 502, 503, 504, 529] {
            assert!(
                matches!(judged(status, &first), Verdict::Wait(_, None)),
                "{status}"
            );
        }
        for status in [301, 400, 401, 402, 403, 404, 410, 422] {
            assert!(
                matches!(judged(status, &first), Verdict::Refused(_)),
                "{status}"
            );
        }
        for status in [400, 404, 422] {
            assert_eq!(judged(status, &later), Verdict::Unknown);
        }
        // A request that is refused for its form says nothing of the user.
        assert!(matches!(judged(422, &one), Verdict::Refused(_)));
        assert_eq!(judged(404, &one), Verdict::Unknown);
    }

    #[test]
    fn retry_after_is_obeyed_within_bounds() {
        let told = |text| {
            retry_after(text, Some("Sun, 06 Nov 1994 08:49:37 GMT"), 0)
                .map(|wait| obeyed(wait).as_secs())
        };
        assert_eq!(
            [told("7"), told("0"), told("86400")],
            [Some(7), Some(1), Some(300)]
        );
        assert_eq!(
            [
                told("Sun, 06 Nov 1994 08:50:37 GMT"),
                told("Sun, 06 Nov 1994 08:00:00 GMT")
            ],
            [Some(60), Some(1)]
        );
        assert_eq!([told("soon"), told("-1")], [None; 2]);
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
