//! Retries one request with longer and longer pauses, until `--patience` is over.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::Stopped;
use crate::backoff::Backoff;
use crate::shutdown::Shutdown;

/// The retries of one request, from its first failure on.
pub struct Retry<'a> {
    patience: Duration,
    stop: &'a Shutdown,
    since: Option<Instant>,
    backoff: Backoff,
}

impl<'a> Retry<'a> {
    /// Returns retries that end after `patience`, or when a stop is requested.
    pub fn new(patience: Duration, stop: &'a Shutdown) -> Self {
        Self {
            patience,
            stop,
            since: None,
            backoff: Backoff::for_outage(),
        }
    }

    /// Waits before the next attempt, at least as long as the server asked for. Fails at once if
    /// the patience would end before.
    pub async fn wait(&mut self, what: &str, at_least: Option<Duration>) -> Result<(), Stopped> {
        let since = *self.since.get_or_insert_with(|| {
            tracing::warn!(longest_seconds = self.patience.as_secs(), "waiting: {what}");
            Instant::now()
        });
        let interval = self.backoff.next_interval();
        let pause = at_least.map_or(interval, |asked| asked.max(interval));
        let waited = since.elapsed();
        if waited + pause > self.patience {
            return Err(Stopped::Away {
                what: what.into(),
                waited,
            });
        }
        let paused = self.stop.or(tokio::time::sleep(pause)).await;
        paused.ok_or(Stopped::Requested)
    }
}
