//! Logs rejected requests, at most one line per code in 10 s.
//!
//! A wrong secret must be seen at once, and a stranger with a thousand requests per second must not
//! fill the log.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tracing::warn;

use super::paths::WEBHOOK_PATH;
use super::problem::{Code, Problem};
use super::request_id;
use crate::clerk::Timestamp;
use crate::clock::now;

/// Milliseconds between two lines about one code.
const EVERY_MS: i64 = 10_000;

/// Milliseconds between two lines about signed deliveries to a wrong path.
const MISDIRECTED_EVERY_MS: i64 = 60_000;

/// When each kind of rejection was logged last.
#[derive(Default)]
pub struct RejectLog {
    rejected: [LogLimit; Code::COUNT],
    misdirected: LogLimit,
}

#[derive(Default)]
struct LogLimit {
    /// When the last line was written, in milliseconds since 1970.
    logged_at_ms: AtomicI64,
    /// How many rejections came since.
    since: AtomicU64,
}

impl RejectLog {
    /// Counts a request that was rejected, and logs it if a line is due.
    pub fn log(&self, problem: &Problem) {
        let code = problem.code();
        if let Some(refused) = self.rejected[code as usize].count(EVERY_MS, now()) {
            warn!(
                code = code.name(),
                refused,
                request_id = request_id::current(),
                detail = problem.detail(),
                "requests are rejected"
            );
        }
    }

    /// Counts a signed delivery to a path or with a method that no route takes, and logs it if a
    /// line is due.
    pub fn log_misdirected(&self) {
        if let Some(deliveries) = self.misdirected.count(MISDIRECTED_EVERY_MS, now()) {
            warn!(
                deliveries,
                right_path = WEBHOOK_PATH,
                "signed deliveries come to a wrong path, or with another method than POST, and are rejected: set the endpoint's URL in Clerk's dashboard to end in the right path"
            );
        }
    }
}

impl LogLimit {
    /// Returns how many came since the last line, if the next one is due.
    fn count(&self, every_ms: i64, now: Timestamp) -> Option<u64> {
        let count = self.since.fetch_add(1, Ordering::Relaxed) + 1;
        let last = self.logged_at_ms.load(Ordering::Relaxed);
        let is_due = now.ms() - last >= every_ms;
        // Of several callers that find the line due, one writes it.
        let writes = is_due
            && self
                .logged_at_ms
                .compare_exchange(last, now.ms(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        writes.then(|| {
            self.since.fetch_sub(count, Ordering::Relaxed);
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_due_per_minute_and_counts_the_rejections_in_between() {
        let limit = LogLimit::default();
        let count = |ms: i64| {
            let at = Timestamp::from_ms(1_795_400_000_000 + ms).unwrap();
            limit.count(60_000, at)
        };
        assert_eq!(count(0), Some(1));
        assert_eq!((count(10), count(59_999)), (None, None));
        assert_eq!(count(60_000), Some(3));
    }
}
