//! Errors over HTTP: one table of codes, and the problem documents (RFC 9457) that report them.
//! docs/errors.md is made from the table.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use super::request_id;
use crate::clerk::SignatureError;
use crate::clerk::error_code::ERRORS_PAGE;
use crate::metrics::WebhookResult;
use crate::queue::PublishError;
use crate::store::StoreError;

/// When to try again after a 503, if nothing better is known. Svix has a schedule of its own, whose
/// second attempt comes after 5 s.
const RETRY_AFTER_USUAL: Duration = Duration::from_secs(5);

macro_rules! codes {
    ($($code:ident, $name:literal, $status:literal, $title:literal: $cause:literal, $remedy:literal;)*) => {
        /// What distinguishes one problem from another for a program. The names are public.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $title] $code),*
        }

        impl Code {
            /// Every code.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$code),*];

            /// How many there are.
            pub const COUNT: usize = [$($name),*].len();

            /// Name, status and title.
            const fn row(self) -> (&'static str, u16, &'static str) {
                match self {
                    $(Self::$code => ($name, $status, $title)),*
                }
            }

            /// How it comes about, and what to do: for docs/errors.md.
            pub const fn help(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$code => ($cause, $remedy)),*
                }
            }
        }
    };
}

codes! {
    MissingHeader, "missing_header", 400, "A signature header is missing":
        "The request is not one of Clerk's, or a proxy removes `svix-id`, `svix-timestamp` or `svix-signature`.",
        "Have the proxy pass these headers. A request that is not Clerk's is refused rightly.";
    InvalidHeader, "invalid_header", 400, "A signature header is malformed":
        "A signature header is there twice, or it has not the form that Svix gives it.",
        "Have the proxy pass each header once and unchanged.";
    InvalidSignature, "invalid_signature", 400, "The signature does not match":
        "`CLERK_WEBHOOK_SIGNING_SECRET` is the secret of another endpoint or another instance, or a proxy changes the body.",
        "Copy the Signing Secret of this endpoint from Clerk's dashboard, Configure > Webhooks. Have the proxy pass the body unchanged.";
    TimestampOutOfTolerance, "timestamp_out_of_tolerance", 400, "The timestamp is too far from now":
        "The clock of this machine is more than 5 minutes wrong. Or a proxy held the request for so long, or a person sent an old one again.",
        "Synchronize the clock (NTP); `clerk-sync check` compares it with Clerk's.";
    InvalidRequest, "invalid_request", 400, "The request cannot be read":
        "A parameter or a field of the body is unknown or has a wrong value. Or the body did not come whole.",
        "The `detail` names it, and says what would be right. [api.md](api.md) lists the parameters.";
    Unauthorized, "unauthorized", 401, "The token is missing or wrong":
        "The request has no `Authorization` header, or another token in it than `ADMIN_TOKEN` or `READ_TOKEN`.",
        "Send `Authorization: Bearer` and the value of `ADMIN_TOKEN` or `READ_TOKEN`. After a change of its file or of `.env`, send SIGHUP or restart.";
    AdminDisabled, "admin_disabled", 403, "There is no admin token":
        "Neither `ADMIN_TOKEN` nor `READ_TOKEN` is set, so the API and the dashboard are off.",
        "Set `ADMIN_TOKEN` to a long random text, such as what `openssl rand -hex 24` prints, and restart.";
    Forbidden, "forbidden", 403, "The token may not do this":
        "`READ_TOKEN` was sent to a route that changes something, or with `fields` that names what it does not see.",
        "Send the value of `ADMIN_TOKEN`. For private metadata, `data` and payloads by `READ_TOKEN` set `READ_PRIVATE=true`.";
    RequestTimeout, "request_timeout", 408, "The request took too long":
        "The body took more than 10 seconds to arrive.",
        "Nothing, for a slow network: Svix sends the event again. A proxy should read a request whole before it passes it on.";
    NotFound, "not_found", 404, "Not found":
        "No row has this ID, the path is misspelled, or a receiver was asked for what is in the database.",
        "The `detail` says which. Clerk delivers to `/api/webhooks/clerk`. For users, events and numbers ask a process that runs `serve` or `worker`.";
    MethodNotAllowed, "method_not_allowed", 405, "The method is not allowed here":
        "The path exists, and takes another method.",
        "Use a method that the `Allow` header names. The webhook takes POST.";
    ClerkKeyMissing, "clerk_key_missing", 409, "There is no secret key of Clerk":
        "A refresh asks Clerk's Backend API, and `CLERK_SECRET_KEY` is not set.",
        "Copy the Secret key (`sk_…`) from Clerk's dashboard, Configure > API keys, into `CLERK_SECRET_KEY`. After a change of its file or of `.env`, send SIGHUP or restart.";
    NotSynced, "not_synced", 409, "The table is not synced":
        "A refresh of a user was asked for, and `SYNC` does not name `users`. No event would keep the row up to date.",
        "Add `users` to `SYNC`, restart, and run `clerk-sync backfill users`.";
    NotFailed, "not_failed", 409, "The event is not failed":
        "A replay or a discard of an event that is applied, stale or discarded. Often another person or program was faster.",
        "Nothing: the `detail` says what the event is now. Only failed events are replayed or discarded.";
    ChangeFeedOff, "change_feed_off", 409, "The change feed is off":
        "The process that answers `GET /api/changes` does not have `CHANGE_FEED=on`, so it records no changes.",
        "Set `CHANGE_FEED=on` for this process and for every worker, and restart them.";
    CursorExpired, "cursor_expired", 410, "Changes are missing":
        "The `after` of `GET /api/changes` is older than what is kept (`CHANGE_RETENTION_DAYS`), the feed was off in between, or the database was restored from a backup.",
        "Read the tables again, then the feed without `after`. [changes.md](changes.md#when-a-cursor-has-expired) shows how.";
    BodyTooLarge, "body_too_large", 413, "The body is too large":
        "A webhook has more than `MAX_BODY_BYTES`, or more than one message of RabbitMQ may have. Or the body of a replay or a discard has more than 64 KiB.",
        "Raise `MAX_BODY_BYTES` (and `max_message_size` in rabbitmq.conf), and have the event sent again from Clerk's dashboard. For a replay give fewer IDs.";
    ClerkRateLimited, "clerk_rate_limited", 429, "Too many requests to Clerk":
        "Clerk answers 429, or refreshes have used their half of Clerk's rate limit. The other half is for the application.",
        "Ask again after the seconds of `Retry-After`. A user who has just signed up comes with a webhook too: `GET /api/users/{id}?wait=5` waits for it and asks Clerk nothing.";
    ClerkObjectInvalid, "clerk_object_invalid", 502, "Clerk's object cannot be stored":
        "Clerk answers with a user that the database cannot store, such as one with the character NUL in its metadata. An event about this user fails for the same reason.",
        "The `detail` says what is wrong. Correct it at Clerk, and ask again.";
    ClerkUnavailable, "clerk_unavailable", 503, "Clerk does not answer":
        "A refresh got no usable answer from Clerk: Clerk is away or slow, refuses the secret key, or `CLERK_API_URL` is wrong.",
        "The `detail` says which. Show the page without the row, and ask again later; `clerk-sync check` tries the key.";
    Paused, "paused", 503, "Applying is paused":
        "A person has paused the applying of events, and a refresh writes a row as they do.",
        "Ask again after `clerk-sync resume`. `clerk-sync status` says who paused, and why.";
    QueueUnavailable, "queue_unavailable", 503, "The event could not be queued":
        "The queue did not confirm the event in time: RabbitMQ is away, has an alarm, or its queue is full; or the disk of the embedded queue is full.",
        "Nothing is lost: Svix sends the event again. `clerk-sync check` says what is wrong with the queue.";
    DatabaseUnavailable, "database_unavailable", 503, "The database does not answer":
        "The database is away, slow, or refuses the user. Webhooks do not need it: their events wait in the queue.",
        "`clerk-sync check` says what is wrong with the database. Ask again after it is fixed.";
    NotReady, "not_ready", 503, "Not ready":
        "A part that the role needs is missing: `missing` lists `queue`, `database`, `worker` or `process`. At a start and a stop this is usual.",
        "If it stays, the `detail` says why. `clerk-sync check` says more.";
    TooManyWaiting, "too_many_waiting", 503, "Too many requests wait":
        "The process already holds as many requests with `wait` as it may. Requests without `wait` are answered as usual.",
        "Ask again later, or without `wait`. If it happens often, start another process, or raise the limit of open files (`ulimit -n`).";
    Overloaded, "overloaded", 503, "The server is overloaded":
        "There are more connections, or more bytes of bodies that are still coming, than the process may hold.",
        "Send the request again. If it happens often, start another receiver, or raise the limit of open files (`ulimit -n`).";
}

impl Code {
    /// The public name.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it means, in a few words.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// The status of an answer with this problem.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).expect("the table holds valid statuses")
    }
}

/// One problem. The detail names headers, limits and fixes, never what a client sent.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    /// The parameter or the field of the body that is wrong, if one is.
    param: Option<Cow<'static, str>>,
    /// The methods that are allowed, if the method is the problem.
    allow: Option<&'static str>,
    /// The parts that are not ready, if that is the problem.
    missing: Vec<&'static str>,
    /// When to try again, if it is known.
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with what is wrong this time, and what to do.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            param: None,
            allow: None,
            missing: Vec::new(),
            retry_after: None,
        }
    }

    /// The same with the time after which to try again.
    pub fn after(self, retry_after: impl Into<Option<Duration>>) -> Self {
        Self {
            retry_after: retry_after.into(),
            ..self
        }
    }

    /// What a program distinguishes it by.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong this time, and what to do.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The same with the parameter, or the field of the body, that is wrong.
    pub fn about(self, param: impl Into<Cow<'static, str>>) -> Self {
        Self {
            param: Some(param.into()),
            ..self
        }
    }

    /// The parameter, or the field of the body, that is wrong.
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// The same with a hint after the detail.
    pub fn with_hint(self, hint: impl fmt::Display) -> Self {
        Self {
            detail: format!("{}; {hint}", self.detail).into(),
            ..self
        }
    }

    /// A 405, with the methods that are allowed.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        let detail = format!("use {allowed}");
        Self {
            allow: Some(allowed),
            ..Self::new(Code::MethodNotAllowed, detail)
        }
    }

    /// A 503 of `/readyz`, with the parts that are missing.
    pub fn not_ready(missing: Vec<&'static str>, detail: String) -> Self {
        Self {
            missing,
            ..Self::new(Code::NotReady, detail)
        }
    }
}

/// What a page says of a problem. Each answer with a problem carries it.
pub struct ShownProblem {
    /// What the code means.
    pub title: &'static str,
    /// What is wrong this time, and what to do.
    pub detail: Cow<'static, str>,
}

/// A problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// The page of the code in the documents of clerk-sync, such as `docs/errors.md#not_found`.
    r#type: String,
    /// What the code means, in a few words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: &'a str,
    #[schema(schema_with = code_schema)]
    code: &'static str,
    /// The parameter, the header of a delivery, or the field of the body, that is wrong; absent
    /// if it is none of the route's.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    /// The ID of the request, as in the header `x-request-id` of the answer and in the log.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// The parts that are not ready, if that is the problem.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    missing: &'a [&'static str],
}

/// What distinguishes one problem from another.
fn code_schema() -> Schema {
    let names = Code::ALL.map(Code::name);
    let schema = ObjectBuilder::new().schema_type(Type::String);
    schema.enum_values(Some(names)).into()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let (code, status, title) = self.code.row();
        let mut response = HttpResponse::build(self.code.status());
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        if matches!(status, 429 | 503) {
            let wait = self.retry_after.unwrap_or(RETRY_AFTER_USUAL);
            // Whole seconds, and none too few.
            let seconds = wait.as_millis().div_ceil(1000);
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if status == 401 {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        let document = Document {
            r#type: format!("{ERRORS_PAGE}#{code}"),
            title,
            status,
            detail: &self.detail,
            code,
            param: self.param(),
            request_id: request_id::current(),
            missing: &self.missing,
        };
        let body = serde_json::to_vec(&document).expect("a problem is plain text and numbers");
        let mut response = response.body(body);
        response.extensions_mut().insert(ShownProblem {
            title,
            detail: self.detail.clone(),
        });
        response
    }
}

/// The result that the metrics count for a delivery with this problem: the one with the same name.
impl From<Code> for WebhookResult {
    fn from(code: Code) -> Self {
        let mut results = Self::ALL.iter().copied();
        results
            .find(|result| result.name() == code.name())
            // `not_found` is a signed delivery to another path.
            .filter(|result| *result != Self::NotFound)
            .unwrap_or(Self::Other)
    }
}

impl From<SignatureError> for Problem {
    fn from(error: SignatureError) -> Self {
        let code = match error {
            SignatureError::MissingHeader(_) => Code::MissingHeader,
            SignatureError::InvalidHeader(..) => Code::InvalidHeader,
            SignatureError::TimestampOutOfTolerance(_) => Code::TimestampOutOfTolerance,
            SignatureError::InvalidSignature => Code::InvalidSignature,
        };
        let header = match error {
            SignatureError::MissingHeader(part) | SignatureError::InvalidHeader(part, _) => part,
            SignatureError::TimestampOutOfTolerance(_) => "timestamp",
            SignatureError::InvalidSignature => return Self::new(code, error.to_string()),
        };
        Self::new(code, error.to_string()).about(format!("svix-{header}"))
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        if let PublishError::TooLarge { .. } = error {
            let detail = format!(
                "{error}: raise it in rabbitmq.conf, up to MAX_BODY_BYTES, and have the event sent again"
            );
            return Self::new(Code::BodyTooLarge, detail);
        }
        Self::new(
            Code::QueueUnavailable,
            format!("{error}; the event was not queued; Svix will send it again"),
        )
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(Code::DatabaseUnavailable, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_429_and_503_says_when_to_try_again_and_nothing_else_does() {
        for code in Code::ALL {
            let response = Problem::new(code, "detail").error_response();
            let may_try_again = matches!(response.status().as_u16(), 429 | 503);
            assert_eq!(
                response.headers().contains_key(RETRY_AFTER),
                may_try_again,
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_wait_is_in_whole_seconds_and_never_too_short() {
        let of = |wait| {
            let problem = Problem::new(Code::ClerkRateLimited, "detail").after(wait);
            let response = problem.error_response();
            let value = response.headers().get(RETRY_AFTER);
            value.unwrap().to_str().unwrap().to_owned()
        };
        let waits = [None, Some(2_001), Some(30_000)];
        let waits = waits.map(|ms| of(ms.map(Duration::from_millis)));
        assert_eq!(waits, ["5", "3", "30"]);
    }

    #[test]
    fn a_problem_is_counted_under_its_own_name() {
        let counted: Vec<_> = Code::ALL
            .into_iter()
            .filter(|code| WebhookResult::from(*code) != WebhookResult::Other)
            .collect();
        assert_eq!(counted.len(), 9);
        assert!(
            counted
                .iter()
                .all(|code| WebhookResult::from(*code).name() == code.name())
        );
    }

    #[test]
    fn no_two_problems_share_a_name_and_every_status_is_an_error() {
        let names: std::collections::BTreeSet<_> =
            Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::COUNT);
        assert!(Code::ALL.iter().all(|code| code.status().as_u16() >= 400));
    }
}
