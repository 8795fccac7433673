//! Waiting for a database that cannot be used now. An outage is logged once, when the first part of the worker meets it, and
//! its end once, with the first write that is made again. What a person must fix is logged again every 30 s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::store::StoreError;

/// What a person must fix is logged again after this long, as long as it is not: whoever looks at a log sees its end.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// What is remembered of one outage.
const FAULTS_MAX: usize = 8;

/// What the parts of one worker have logged of the database. Clones share it.
#[derive(Clone, Default)]
pub struct Outage {
    logged: Arc<Mutex<Logged>>,
    met: watch::Sender<()>,
}

/// While servers come and go one outage shows many errors; what a person must fix is one thing after the other, and two parts
/// may meet two of them in turn.
#[derive(Debug, Default)]
struct Logged {
    waiting: bool,
    faults: Vec<(String, Instant)>,
}

/// What an outage is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    Time,
    /// A person must fix something.
    Repair,
}

impl Remedy {
    fn of(error: &StoreError) -> Self {
        if matches!(error, StoreError::Incompatible(_)) {
            Self::Repair
        } else {
            Self::Time
        }
    }

    fn policy(self) -> Backoff {
        match self {
            Self::Time => Backoff::for_outage(),
            Self::Repair => Backoff::for_repair(),
        }
    }
}

impl Outage {
    pub fn retry(&self) -> Retry {
        Retry {
            outage: self.clone(),
            backoff: None,
        }
    }

    /// Changes each time that a part meets the outage.
    pub fn met(&self) -> watch::Receiver<()> {
        self.met.subscribe()
    }

    /// To be called when a write was made.
    pub fn is_over(&self) {
        if self.logged().end() {
            info!("the database takes writes again");
        }
    }

    fn begins(&self, remedy: Remedy, error: &StoreError) {
        self.met.send_replace(());
        match remedy {
            Remedy::Time if self.logged().wait() => {
                warn!(%error, "waiting for the database; events wait in the queue")
            }
            Remedy::Repair if self.logged().fault(error.fault(), Instant::now()) => {
                error!(%error, "nothing can be applied until this is fixed; events wait in the queue");
            }
            Remedy::Time | Remedy::Repair => {}
        }
    }

    fn logged(&self) -> MutexGuard<'_, Logged> {
        // No code that holds the lock can leave it half changed.
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each returns whether there is something to log.
impl Logged {
    fn wait(&mut self) -> bool {
        !std::mem::replace(&mut self.waiting, true)
    }

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

    fn end(&mut self) -> bool {
        let was = std::mem::take(self);
        was.waiting || !was.faults.is_empty()
    }
}

/// The waiting of one part for one thing: longer each time, and by the remedy.
pub struct Retry {
    outage: Outage,
    backoff: Option<(Backoff, Remedy)>,
}

impl Retry {
    pub async fn wait(&mut self, error: &StoreError) {
        let remedy = Remedy::of(error);
        self.outage.begins(remedy, error);
        if self
            .backoff
            .as_ref()
            .is_none_or(|(_, before)| *before != remedy)
        {
            self.backoff = Some((remedy.policy(), remedy));
        }
        if let Some((backoff, _)) = &mut self.backoff {
            backoff.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_when_it_begins_and_what_a_person_must_fix_every_30_s() {
        let (mut logged, start) = (Logged::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(
            logged.wait() && !logged.wait(),
            "another part has logged it"
        );
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
