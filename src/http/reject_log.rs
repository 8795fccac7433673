//! Says in the log that deliveries are refused, without letting whoever sends them fill it.
//!
//! A wrong secret must be seen at once; a stranger who knocks a thousand times a second must not.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tracing::warn;

use super::problem::Code;
use crate::clerk::Timestamp;

/// Milliseconds between two lines about one code.
const EVERY_MS: i64 = 10_000;

/// Milliseconds between two lines about signed deliveries to a wrong path.
const MISDIRECTED_EVERY_MS: i64 = 60_000;

/// What has been told of each code, and of signed deliveries to a wrong path.
#[derive(Default)]
pub struct Refusals {
    refused: [Told; Code::COUNT],
    misdirected: Told,
}

#[derive(Default)]
struct Told {
    /// When the last line was written, in milliseconds since 1970.
    at_ms: AtomicI64,
    /// How many refusals came since.
    since: AtomicU64,
}

impl Refusals {
    pub fn note(&self, code: Code, detail: &str, now: Timestamp) {
        if let Some(refused) = self.refused[code as usize].one_more(EVERY_MS, now) {
            warn!(
                code = code.name(),
                refused, detail, "deliveries are refused"
            );
        }
    }

    /// A delivery with a good signature came, and no route took it.
    pub fn note_misdirected(&self, right_path: &str, now: Timestamp) {
        if let Some(deliveries) = self.misdirected.one_more(MISDIRECTED_EVERY_MS, now) {
            warn!(
                deliveries,
                right_path,
                "signed deliveries come to a wrong path, or with another method than POST, and are refused: set the endpoint's URL in Clerk's dashboard to end in the right path"
            );
        }
    }
}

impl Told {
    /// How many came since the last line, if the next one is due.
    fn one_more(&self, every_ms: i64, now: Timestamp) -> Option<u64> {
        let count = self.since.fetch_add(1, Ordering::Relaxed) + 1;
        let last = self.at_ms.load(Ordering::Relaxed);
        let due = now.ms() - last >= every_ms;
        // Of several that find the line due, one writes it.
        if due
            && self
                .at_ms
                .compare_exchange(last, now.ms(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.since.fetch_sub(count, Ordering::Relaxed);
            return Some(count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_due_a_minute_and_counts_those_in_between() {
        let (told, at) = (Told::default(), |ms: i64| {
            Timestamp::from_ms(1_795_400_000_000 + ms).unwrap()
        });
        assert_eq!(told.one_more(60_000, at(0)), Some(1));
        assert_eq!(
            (
                told.one_more(60_000, at(10)),
                told.one_more(60_000, at(59_999))
            ),
            (None, None)
        );
        assert_eq!(told.one_more(60_000, at(60_000)), Some(3));
    }
}
