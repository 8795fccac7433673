//! Requests that wait: for a row, or for changes. Each holds a connection from its client and
//! nothing else, and the process limits how many there are.

use std::time::Duration;

use actix_web::{HttpRequest, web};

use super::invalid::wrong;
use crate::http::limits::Capacity;
use crate::http::problem::{Code, Problem};
use crate::http::service_status::ServiceStatus;

/// Longest wait, in seconds: below the 60 s after which the usual proxies end a request.
pub const WAIT_MAX_S: u64 = 30;

/// Reads the parameter `wait`. Without it, and with 0, nothing is waited for.
///
/// # Errors
///
/// If it is no whole number from 0 to 30.
pub fn read(value: Option<&str>) -> Result<Duration, Problem> {
    let seconds = value.map(|value| {
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = value.parse().ok().filter(|_| is_number);
        seconds
            .filter(|seconds| *seconds <= WAIT_MAX_S)
            .ok_or_else(|| wrong("wait", "give whole seconds from 0 to 30"))
    });
    Ok(Duration::from_secs(seconds.transpose()?.unwrap_or(0)))
}

/// Runs what waits, as one of those that may. Returns `None` if too many wait already. A client that
/// goes away ends it: actix-web drops the future.
///
/// # Errors
///
/// If the process is stopping: a stop does not wait for those who wait.
pub async fn within_limit<T>(
    request: &HttpRequest,
    status: &ServiceStatus,
    waiting: impl Future<Output = T>,
) -> Result<Option<T>, Problem> {
    let capacity = request
        .app_data::<web::Data<Capacity>>()
        .expect("the server is configured with its limits");
    let Some(_permit) = capacity.wait() else {
        return Ok(None);
    };
    tokio::select! {
        biased;
        () = status.stopping() => {
            let detail = "the process is stopping, and waits for nothing any more; ask again";
            Err(Problem::not_ready(vec!["process"], detail.into()))
        }
        done = waiting => Ok(Some(done)),
    }
}

/// The answer to one that may not wait.
pub fn too_many() -> Problem {
    let detail = "too many requests wait already; ask again later, or without wait";
    Problem::new(Code::TooManyWaiting, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_whole_seconds_up_to_the_limit() {
        let seconds = |value| read(value).map(|wait| wait.as_secs()).ok();
        assert_eq!(seconds(None), Some(0));
        for (value, wait) in [("0", 0), ("1", 1), ("30", 30), ("007", 7)] {
            assert_eq!(seconds(Some(value)), Some(wait), "{value}");
        }
        for value in [
            "",
            "31",
            "-1",
            "+1",
            "1.5",
            "1s",
            " 1",
            "true",
            "1e1",
            "18446744073709551617",
        ] {
            let problem = read(Some(value)).unwrap_err();
            assert_eq!(
                (problem.code(), problem.param()),
                (Code::InvalidRequest, Some("wait")),
                "{value}"
            );
        }
    }
}
