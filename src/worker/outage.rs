//! Waiting for a database that cannot be used now. An outage is told once, when the first part of the worker meets it, and
//! its end once, with the first write that is made again.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::store::StoreError;

/// What the parts of one worker have told of the database. Clones share it.
#[derive(Clone, Default)]
pub struct Outage(Arc<Mutex<Option<Told>>>);

/// While servers come and go one outage shows many errors; what a person must mend is one thing after the other.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Waiting,
    ToMend(String),
}

/// What an outage is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    Time,
    /// A person must mend something.
    Repair,
}

impl Remedy {
    fn of(error: &StoreError) -> Self {
        if matches!(error, StoreError::Incompatible(_)) { Self::Repair } else { Self::Time }
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
        Retry { outage: self.clone(), backoff: None }
    }

    /// To be called when a write was made.
    pub fn is_over(&self) {
        if self.note(None) {
            info!("the database takes writes again");
        }
    }

    fn begins(&self, remedy: Remedy, error: &StoreError) {
        match remedy {
            Remedy::Time if self.note(Some(Told::Waiting)) => {
                warn!(%error, "waiting for the database; events wait in the queue");
            }
            Remedy::Repair if self.note(Some(Told::ToMend(error.to_string()))) => {
                error!(%error, "nothing can be applied until this is mended; events wait in the queue");
            }
            Remedy::Time | Remedy::Repair => {}
        }
    }

    /// Whether this is new.
    fn note(&self, told: Option<Told>) -> bool {
        // One word cannot be half written.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *last != told;
        *last = told;
        is_new
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
        if self.backoff.as_ref().is_none_or(|(_, before)| *before != remedy) {
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
    fn an_outage_is_told_when_it_begins_and_at_each_thing_to_mend() {
        let outage = Outage::default();
        let to_mend = |what: &str| Some(Told::ToMend(what.into()));
        assert!(outage.note(Some(Told::Waiting)));
        assert!(!outage.clone().note(Some(Told::Waiting)), "another part has told it");
        assert!(outage.note(to_mend("a role")) && outage.note(to_mend("a grant")));
        assert!(!outage.note(to_mend("a grant")));
        assert!(outage.note(None) && !outage.note(None), "its end is told once");
    }
}
