//! How long one obstacle is waited for: longer each time, and in all no longer than the patience.

use std::time::Duration;

use tokio::time::Instant;

use super::Stopped;
use crate::backoff::Backoff;
use crate::shutdown::Shutdown;

/// The waiting for one thing, from the first time that it fails.
pub struct Patience<'a> {
    longest: Duration,
    stop: &'a Shutdown,
    began: Option<Instant>,
    backoff: Backoff,
}

impl<'a> Patience<'a> {
    pub fn new(longest: Duration, stop: &'a Shutdown) -> Self {
        Self {
            longest,
            stop,
            began: None,
            backoff: Backoff::for_outage(),
        }
    }

    /// Waits before the next try, for `at_least` so long where that was asked for. Fails where the patience would end before.
    pub async fn wait(&mut self, what: &str, at_least: Option<Duration>) -> Result<(), Stopped> {
        let began = *self.began.get_or_insert_with(|| {
            tracing::warn!(longest_seconds = self.longest.as_secs(), "waiting: {what}");
            Instant::now()
        });
        let next = at_least
            .unwrap_or_default()
            .max(self.backoff.next_interval());
        let waited = began.elapsed();
        if waited + next > self.longest {
            return Err(Stopped::Away {
                what: what.into(),
                waited,
            });
        }
        self.stop
            .or(tokio::time::sleep(next))
            .await
            .ok_or(Stopped::Requested)
    }
}
