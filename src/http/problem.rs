//! What goes wrong over HTTP: one table of codes, and the one form in which they are told (RFC 9457).

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use crate::clerk::SignatureError;
use crate::metrics::WebhookResult;
use crate::queue::PublishError;

/// What a program can tell one problem from another by. The names are public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    MissingHeader,
    InvalidHeader,
    InvalidSignature,
    TimestampOutOfTolerance,
    InvalidRequest,
    Unauthorized,
    AdminDisabled,
    RequestTimeout,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    QueueUnavailable,
    DatabaseUnavailable,
    NotReady,
    Overloaded,
}

/// When to try again after a 503, in seconds. Svix has a schedule of its own, whose second attempt comes after 5 s.
const RETRY_AFTER_S: &str = "5";

impl Code {
    /// How many there are.
    pub const COUNT: usize = Self::Overloaded as usize + 1;

    pub const ALL: [Self; Self::COUNT] = [
        Self::MissingHeader,
        Self::InvalidHeader,
        Self::InvalidSignature,
        Self::TimestampOutOfTolerance,
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::AdminDisabled,
        Self::RequestTimeout,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::QueueUnavailable,
        Self::DatabaseUnavailable,
        Self::NotReady,
        Self::Overloaded,
    ];

    /// Name, status and title.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::MissingHeader => ("missing_header", 400, "A signature header is missing"),
            Self::InvalidHeader => ("invalid_header", 400, "A signature header is malformed"),
            Self::InvalidSignature => ("invalid_signature", 400, "The signature does not match"),
            Self::TimestampOutOfTolerance => (
                "timestamp_out_of_tolerance",
                400,
                "The delivery is not of this time",
            ),
            Self::InvalidRequest => ("invalid_request", 400, "The request cannot be read"),
            Self::Unauthorized => ("unauthorized", 401, "The admin token is missing or wrong"),
            Self::AdminDisabled => ("admin_disabled", 403, "There is no admin token"),
            Self::RequestTimeout => ("request_timeout", 408, "The request took too long"),
            Self::NotFound => ("not_found", 404, "There is nothing here"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "The method is not allowed here"),
            Self::BodyTooLarge => ("body_too_large", 413, "The body is too large"),
            Self::QueueUnavailable => ("queue_unavailable", 503, "The event could not be queued"),
            Self::DatabaseUnavailable => {
                ("database_unavailable", 503, "The database cannot be asked")
            }
            Self::NotReady => ("not_ready", 503, "Not ready"),
            Self::Overloaded => ("overloaded", 503, "Too much at once"),
        }
    }

    pub fn name(self) -> &'static str {
        self.row().0
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).expect("the table holds valid statuses")
    }
}

/// One problem. The detail names headers, limits and remedies, never what a client sent.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    /// The methods that are allowed, where the method is the problem.
    allow: Option<&'static str>,
    /// The parts that are not ready, where that is the problem.
    missing: Vec<&'static str>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            allow: None,
            missing: Vec::new(),
        }
    }

    pub fn code(&self) -> Code {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The same with what to do beside what is wrong.
    pub fn with_hint(self, hint: impl fmt::Display) -> Self {
        Self {
            detail: format!("{}; {hint}", self.detail).into(),
            ..self
        }
    }

    pub fn method_not_allowed(allowed: &'static str) -> Self {
        let detail = format!("use {allowed}");
        Self {
            allow: Some(allowed),
            ..Self::new(Code::MethodNotAllowed, detail)
        }
    }

    pub fn not_ready(missing: Vec<&'static str>, detail: String) -> Self {
        Self {
            missing,
            ..Self::new(Code::NotReady, detail)
        }
    }
}

/// A problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document<'a> {
    /// `urn:clerk-sync:problem:` and the code.
    r#type: String,
    /// What the code means, in a few words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: &'a str,
    #[schema(schema_with = code_schema)]
    code: &'static str,
    /// The parts that are not ready, where that is the problem.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    missing: &'a [&'static str],
}

/// What a program can tell one problem from another by.
fn code_schema() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(Code::ALL.map(Code::name)))
        .into()
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
        if status == 503 {
            response.insert_header((RETRY_AFTER, RETRY_AFTER_S));
        }
        if status == 401 {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        let r#type = format!("urn:clerk-sync:problem:{code}");
        let document = Document {
            r#type,
            title,
            status,
            detail: &self.detail,
            code,
            missing: &self.missing,
        };
        response.body(serde_json::to_vec(&document).expect("a problem is plain text and numbers"))
    }
}

/// What a delivery that ends in a problem is counted as.
impl From<Code> for WebhookResult {
    fn from(code: Code) -> Self {
        match code {
            Code::MissingHeader => Self::MissingHeader,
            Code::InvalidHeader => Self::InvalidHeader,
            Code::InvalidSignature => Self::InvalidSignature,
            Code::TimestampOutOfTolerance => Self::TimestampOutOfTolerance,
            Code::InvalidRequest => Self::InvalidRequest,
            Code::RequestTimeout => Self::RequestTimeout,
            Code::BodyTooLarge => Self::BodyTooLarge,
            Code::QueueUnavailable => Self::QueueUnavailable,
            Code::Overloaded => Self::Overloaded,
            // No other comes from the route of the webhook.
            _ => Self::Other,
        }
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
        Self::new(code, error.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_503_says_when_to_try_again_and_nothing_else_does() {
        for code in Code::ALL {
            let response = Problem::new(code, "detail").error_response();
            let is_503 = response.status() == StatusCode::SERVICE_UNAVAILABLE;
            assert_eq!(
                response.headers().contains_key(RETRY_AFTER),
                is_503,
                "{code:?}"
            );
        }
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
