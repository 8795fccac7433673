//! The waits and the log of an outage of the database; `apply.rs` decides what is retried. The
//! start of an outage is logged once, by the part of the worker that sees it first, and its end
//! once, with the next successful write. An error that an operator must fix is logged every 30 s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::store::StoreError;

/// How often an error that an operator must fix is logged: operators look at the end of a log.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// Most different errors of one outage that are remembered.
const FAULTS_MAX: usize = 8;

/// An outage of the database, for all parts of one worker. Clones share it.
#[derive(Clone, Default)]
pub struct Outage {
    logged: Arc<Mutex<Logged>>,
    met: watch::Sender<()>,
}

/// What was logged of an outage. While servers restart, one outage causes many errors, and parts
/// may see different ones.
#[derive(Debug, Default)]
struct Logged {
    waiting: bool,
    faults: Vec<(String, Instant)>,
}

impl Outage {
    pub fn retry(&self) -> Retry {
        Retry {
            outage: self.clone(),
            backoff: None,
        }
    }

    /// Changes each time a part meets the outage.
    pub fn met(&self) -> watch::Receiver<()> {
        self.met.subscribe()
    }

    /// To be called after each write. Logs the end of an outage.
    pub fn ended(&self) {
        if self.logged().end() {
            info!("the database takes writes again");
        }
    }

    fn log(&self, error: &StoreError, is_permanent: bool) {
        self.met.send_replace(());
        let mut logged = self.logged();
        if !is_permanent {
            if !std::mem::replace(&mut logged.waiting, true) {
                warn!(%error, "waiting for the database; events wait in the queue");
            }
        } else if logged.fault(error.fault(), Instant::now()) {
            error!(%error, "nothing can be applied until this is fixed; events wait in the queue");
        }
    }

    fn logged(&self) -> MutexGuard<'_, Logged> {
        // No code that holds the lock can leave it half changed.
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logged {
    /// Whether the fault is to be logged now.
    fn fault(&mut self, text: String, now: Instant) -> bool {
        if let Some((_, logged)) = self.faults.iter_mut().find(|(known, _)| *known == text) {
            let is_due = now.duration_since(*logged) >= REMIND_EVERY;
            if is_due {
                *logged = now;
            }
            return is_due;
        }
        if self.faults.len() == FAULTS_MAX {
            self.faults.remove(0);
        }
        self.faults.push((text, now));
        true
    }

    /// Whether the end of an outage is to be logged.
    fn end(&mut self) -> bool {
        let was = std::mem::take(self);
        was.waiting || !was.faults.is_empty()
    }
}

/// The retries of one part: with growing intervals, by the kind of error.
pub struct Retry {
    outage: Outage,
    /// The waits, and whether they are those of a permanent error.
    backoff: Option<(Backoff, bool)>,
}

impl Retry {
    /// Waits before the next attempt.
    pub async fn wait(&mut self, error: &StoreError) {
        let is_permanent = matches!(error, StoreError::Incompatible(_));
        self.outage.log(error, is_permanent);
        let backoff = self
            .backoff
            .take()
            .filter(|(_, before)| *before == is_permanent);
        let (backoff, _) = self.backoff.insert(backoff.unwrap_or_else(|| {
            let backoff = if is_permanent {
                Backoff::for_repair()
            } else {
                Backoff::for_outage()
            };
            (backoff, is_permanent)
        }));
        backoff.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_an_operator_must_fix_is_logged_every_30_s() {
        let (mut logged, start) = (Logged::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        logged.waiting = true;
        assert!(logged.end() && !logged.end(), "its end is logged once");
        assert!(logged.fault("a role".into(), start) && logged.fault("a grant".into(), start));
        assert!(
            !logged.fault("a grant".into(), after(1)) && !logged.fault("a role".into(), after(1)),
            "in turn"
        );
        assert!(
            logged.fault("a role".into(), after(30)) && !logged.fault("a role".into(), after(59))
        );
        assert!(logged.end() && !logged.end(), "its end is logged once");
        assert!(logged.fault("a role".into(), after(60)));
        for number in 0..100 {
            logged.fault(number.to_string(), start);
        }
        assert_eq!(logged.faults.len(), FAULTS_MAX);
    }
}
