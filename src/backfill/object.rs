//! Reads one object from Clerk's API, once, for a client that waits for it.

use std::time::Duration;

use super::clerk_api::{ClerkApi, Limits};
use super::request::{Answer, Question, RequestError, SET_THE_URL};
use crate::clerk::api_object::{read_object, text};
use crate::clerk::{Change, ClerkId, Rejection, Table};

/// Longest wait until the request may be made: somebody sits before a page.
const TURN_WAIT_MAX: Duration = Duration::from_secs(2);

/// Timeout of a whole answer. Clerk usually answers within 0.2 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// When to try again if Clerk, with too many requests, does not say it: its limit is one of 10 s.
const HOLD_BACK: Duration = Duration::from_secs(10);

/// Why there is no object, by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Try again after this time: too many requests, says Clerk or this process.
    #[error("{what}")]
    TooMany {
        /// Who says so.
        what: String,
        /// At least a second.
        retry_after: Duration,
    },
    /// Try again later: Clerk is away.
    #[error("{what}")]
    Away {
        /// What is wrong.
        what: String,
        /// After this time, if Clerk asks for one.
        retry_after: Option<Duration>,
    },
    /// An operator must fix something: the key, the address.
    #[error("{0}")]
    Refused(String),
    /// The object itself cannot be stored.
    #[error(transparent)]
    Rejected(Rejection),
}

/// Returns the object with this ID as a change; `None` if Clerk says that there is none. It makes
/// one request, in the share that one of so many processes has of the rate limit.
///
/// # Errors
/// Fails without an answer that can be used.
pub async fn object(
    api: &ClerkApi,
    table: &'static Table,
    id: &ClerkId,
    processes: u32,
) -> Result<Option<Change>, ObjectError> {
    let limits = Limits {
        processes,
        turn: TURN_WAIT_MAX,
        answer: ANSWER_TIMEOUT,
    };
    let Some(Question::Object(request)) = Question::of(table, id, &[]) else {
        let what = format!("Clerk has no request for one {} alone", table.singular);
        return Err(ObjectError::Refused(what));
    };
    let refused = |why: &str| {
        let url = &api.options().url;
        ObjectError::Refused(format!("{url} {why}: {SET_THE_URL}"))
    };
    let body = match api.try_once(&request, limits).await {
        Ok(Answer::Found(body)) => body,
        Ok(Answer::Unknown) => return Ok(None),
        Ok(Answer::NotEnabled) => return Err(refused(&format!("has no {}", table.plural))),
        Err(RequestError::Refused(what)) => return Err(ObjectError::Refused(what)),
        Err(RequestError::Away(what, retry_after)) => {
            return Err(ObjectError::Away { what, retry_after });
        }
        Err(RequestError::TooMany(what, asked)) => {
            let retry_after = asked.unwrap_or(HOLD_BACK);
            api.hold_back(retry_after).await;
            return Err(ObjectError::TooMany { what, retry_after });
        }
    };
    let options = api.options();
    let read = read_object(table, &text(&body), &options.omitted, (options.now)());
    match read {
        Some(object) if object.id.as_ref() == Some(id) => {
            object.read.map(Some).map_err(ObjectError::Rejected)
        }
        _ => Err(refused(&format!(
            "answers with something else than this {}",
            table.singular
        ))),
    }
}
