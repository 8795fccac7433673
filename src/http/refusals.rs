//! Says in the log that deliveries are refused, without letting whoever sends them fill it.
//!
//! A wrong secret must be seen at once; a stranger who knocks a thousand times a second must not.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tracing::warn;

use super::problem::Code;
use crate::clerk::Timestamp;

/// Milliseconds between two lines about one code.
const EVERY_MS: i64 = 10_000;

/// What has been told of each code.
#[derive(Default)]
pub struct Refusals([Told; Code::COUNT]);

#[derive(Default)]
struct Told {
    /// When the last line was written, in milliseconds since 1970.
    at_ms: AtomicI64,
    /// How many refusals came since.
    since: AtomicU64,
}

impl Refusals {
    pub fn note(&self, code: Code, detail: &str, now: Timestamp) {
        let told = &self.0[code as usize];
        let refused = told.since.fetch_add(1, Ordering::Relaxed) + 1;
        let last = told.at_ms.load(Ordering::Relaxed);
        let due = now.ms() - last >= EVERY_MS;
        // Of several that find the line due, one writes it.
        if due && told.at_ms.compare_exchange(last, now.ms(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            told.since.fetch_sub(refused, Ordering::Relaxed);
            warn!(code = code.name(), refused, detail, "deliveries are refused");
        }
    }
}
