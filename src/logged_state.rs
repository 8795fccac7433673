//! A condition that is logged when it changes, not each time that it is met.

use std::mem::replace;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The state that was logged last, and when.
#[derive(Debug, Default)]
pub struct LoggedState<T>(Mutex<(T, Option<Instant>)>);

impl<T: PartialEq> LoggedState<T> {
    /// Returns a condition whose first state needs no log line.
    pub const fn new(state: T) -> Self {
        Self(Mutex::new((state, None)))
    }

    /// Returns whether `state` is another one than before, so that it is to be logged now.
    pub fn changes_to(&self, state: T) -> bool {
        let mut logged = self.lock();
        let is_new = logged.0 != state;
        *logged = (state, Some(Instant::now()));
        is_new
    }

    /// Returns whether a condition that lasts is to be logged: the first time, then again after
    /// each `interval`.
    pub fn is_due(&self, state: T, interval: Duration) -> bool {
        let mut logged = self.lock();
        let is_repeated = replace(&mut logged.0, state) == logged.0;
        let is_recent = logged.1.is_some_and(|at| at.elapsed() < interval);
        let is_due = !(is_repeated && is_recent);
        if is_due {
            logged.1 = Some(Instant::now());
        }
        is_due
    }

    /// Returns the state.
    pub fn get(&self) -> T
    where
        T: Clone,
    {
        self.lock().0.clone()
    }

    fn lock(&self) -> MutexGuard<'_, (T, Option<Instant>)> {
        // No code that holds the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_logged_once() {
        let state = LoggedState::new(None);
        assert!(!state.changes_to(None), "it was so at the start");
        assert!(state.changes_to(Some("a")) && !state.changes_to(Some("a")));
        assert!(state.changes_to(Some("b")) && state.changes_to(None));
        assert_eq!(state.get(), None);
    }

    #[test]
    fn a_condition_that_lasts_is_logged_again_after_each_interval() {
        let state = LoggedState::new(0);
        let hour = Duration::from_secs(3600);
        assert!(state.is_due(0, hour) && !state.is_due(0, hour));
        assert!(state.is_due(0, Duration::ZERO), "the interval is over");
        assert!(state.is_due(1, hour), "another state");
    }
}
