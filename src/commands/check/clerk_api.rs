//! Clerk's Backend API: whether it accepts the secret key, and what time it has.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::DATE;
use secrecy::ExposeSecret;

use super::clock::Reading;
use super::finding::{self, Finding, fail, note, ok};
use crate::backfill::API_VERSION;
use crate::clock::now;
use crate::commands::error_cause::deepest_cause;
use crate::commands::loopback::is_loopback;
use crate::config::ClerkApi;
use crate::tls::{self, FileError, Peer};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer that is read: one user has a few KiB.
const ANSWER_MAX: usize = 1 << 20;

const COPY_THE_KEY: &str = "copy the Secret key (sk_…) of the same instance from Clerk's dashboard, Configure > API keys, into CLERK_SECRET_KEY";

pub async fn check(api: &ClerkApi) -> (Vec<Finding>, Option<Reading>) {
    let Some(key) = &api.secret_key else {
        let finding = note(
            "clerk_api",
            "CLERK_SECRET_KEY is not set: only backfill, reconcile and refresh need it",
            "nothing to do for webhooks",
        );
        return (vec![finding], None);
    };
    let mut findings = Vec::new();
    if api.url.starts_with("http://") && !api.url.parse().is_ok_and(|url| is_loopback(&url)) {
        let what = "CLERK_API_URL begins with http://: the secret key is sent unencrypted";
        findings.push(note("clerk_api", what, "use https://"));
    }
    let (finding, reading) = match request(api, key.expose_secret()).await {
        Ok((status, is_list, reading)) => (judge(&api.url, status, is_list), reading),
        Err(NoAnswer::File(error)) => (fail("clerk_api", error.what(), error.remedy), None),
        Err(NoAnswer::Http(error)) => (unanswered(&api.url, &error), None),
    };
    findings.push(finding);
    (findings, reading)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

fn unanswered(url: &str, error: &reqwest::Error) -> Finding {
    if let Some(said) = tls::explain(error, &Peer::CLERK) {
        let (what, remedy) = finding::split(&said, "correct CLERK_API_URL");
        return fail("clerk_api", format!("{url}: {what}"), remedy);
    }
    let remedy = "see whether this machine reaches it (a firewall, a proxy in HTTPS_PROXY, the DNS), and CLERK_API_URL";
    fail("clerk_api", format!("{url} {}", explain(error)), remedy)
}

async fn request(
    api: &ClerkApi,
    key: &str,
) -> Result<(StatusCode, bool, Option<Reading>), NoAnswer> {
    // A redirect could take the key elsewhere.
    let client = tls::http_client(&api.files)?
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let before = now();
    let (name, version) = API_VERSION;
    let mut answer = client
        .get(format!("{}/users?limit=1", api.url))
        .bearer_auth(key)
        .header(name, version)
        .send()
        .await?;
    let after = now();
    let date = answer
        .headers()
        .get(DATE)
        .and_then(|date| date.to_str().ok());
    let theirs = date.and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
    let reading = theirs.map(|theirs| Reading {
        // The header has whole seconds: on the average half a one more.
        theirs_ms: theirs.timestamp_millis() + 500,
        ours_ms: (before.ms() + after.ms()) / 2,
    });
    let status = answer.status();
    let mut body = Vec::new();
    if status.is_success() {
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > ANSWER_MAX {
                break;
            }
            body.extend_from_slice(&chunk);
        }
    }
    let is_list = serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&body).is_ok();
    Ok((status, is_list, reading))
}

fn judge(url: &str, status: StatusCode, is_list: bool) -> Finding {
    let fix_url = "set CLERK_API_URL to https://api.clerk.com/v1";
    let (what, remedy) = match status.as_u16() {
        200 if is_list => return ok("clerk_api", format!("{url} accepts the secret key")),
        429 => {
            let what = format!("{url} has too many requests (429); the key was not checked");
            return note("clerk_api", what, "try again in a minute");
        }
        200 => ("answers, but not with users", fix_url),
        401 => ("does not accept the secret key (401)", COPY_THE_KEY),
        403 => ("forbids it to this key (403)", COPY_THE_KEY),
        404 => ("has no /users (404)", fix_url),
        300..=399 => {
            let remedy = "set CLERK_API_URL to where it points, if that is Clerk's";
            (&*format!("points elsewhere ({status})"), remedy)
        }
        _ => (
            &*format!("answers {status}"),
            "try again later; see status.clerk.com",
        ),
    };
    fail("clerk_api", format!("{url} {what}"), remedy)
}

/// The cause, without the URL.
fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("does not answer within {} s", TIMEOUT.as_secs());
    }
    let cause = deepest_cause(error).unwrap_or_else(|| error.to_string());
    format!("cannot be reached: {cause}")
}
