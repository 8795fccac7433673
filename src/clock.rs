//! Reads the clock of this machine: the only place.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::clerk::Timestamp;

/// Returns the time.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    since_1970
        .and_then(|elapsed| i64::try_from(elapsed.as_millis()).ok())
        .and_then(Timestamp::from_ms)
        .expect("the clock is set to a time between 1970 and 9999")
}
