//! Waiting for a database that cannot be used now. An outage is told once, when the first part of the worker meets it, and
//! its end once, with the first write that is made again.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::store::StoreError;

/// What the parts of one worker have told of the database. Clones share it.
#[derive(Clone, Default)]
pub struct Outage(Arc<Mutex<Option<Remedy>>>);

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
        if self.told(None).is_some() {
            info!("the database takes writes again");
        }
    }

    fn begins(&self, remedy: Remedy, error: &StoreError) {
        if self.told(Some(remedy)) == Some(remedy) {
            return;
        }
        match remedy {
            Remedy::Repair => error!(%error, "nothing can be applied until this is mended; events wait in the queue"),
            Remedy::Time => warn!(%error, "waiting for the database; events wait in the queue"),
        }
    }

    /// Notes what is told now; what was told before.
    fn told(&self, now: Option<Remedy>) -> Option<Remedy> {
        // One word cannot be half written.
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), now)
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
    fn an_outage_is_told_when_it_begins_and_when_its_remedy_changes() {
        let outage = Outage::default();
        assert_eq!(outage.told(Some(Remedy::Time)), None);
        assert_eq!(outage.clone().told(Some(Remedy::Time)), Some(Remedy::Time), "another part knows of it");
        assert_eq!(outage.told(Some(Remedy::Repair)), Some(Remedy::Time));
        outage.is_over();
        assert_eq!(outage.told(Some(Remedy::Repair)), None);
    }
}
