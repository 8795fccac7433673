//! Which receiver published a message: the mark that a receiver puts on its messages, as `app_id`,
//! and the marks that a worker has seen.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use lapin::types::ShortString;

/// Longest mark, in bytes; a longer one is ignored.
pub const MARK_MAX: usize = 200;

/// Most marks that are remembered at a time: a program that may publish can invent any number.
const HEARD_MAX: usize = 200;

/// The mark of this process, and those of others.
#[derive(Default)]
pub struct Marks {
    own: OnceLock<ShortString>,
    heard: Mutex<HashMap<String, Instant>>,
}

impl Marks {
    /// Sets the mark of this process. Only the first call has an effect.
    pub fn set_own(&self, mark: &str) {
        if mark.len() <= MARK_MAX {
            let _already_set = self.own.set(mark.into());
        }
    }

    /// The mark of this process, if it has one.
    pub fn own(&self) -> Option<&ShortString> {
        self.own.get()
    }

    /// Remembers a mark, and that it was seen now.
    pub fn hear(&self, mark: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = heard.get_mut(mark) {
            *at = Instant::now();
        } else if heard.len() < HEARD_MAX && mark.len() <= MARK_MAX {
            heard.insert(mark.to_owned(), Instant::now());
        }
    }

    /// Returns the marks that were seen since the last call, each with how long ago.
    pub fn take_heard(&self) -> Vec<(String, Duration)> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard
            .drain()
            .map(|(mark, at)| (mark, at.elapsed()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_remembered_up_to_a_limit_and_taken_once() {
        let marks = Marks::default();
        marks.hear("first");
        marks.hear("first");
        marks.hear(&"x".repeat(MARK_MAX + 1));
        let heard = marks.take_heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0].0, "first");
        assert!(marks.take_heard().is_empty());
        for number in 0..HEARD_MAX * 2 {
            marks.hear(&number.to_string());
        }
        assert_eq!(marks.take_heard().len(), HEARD_MAX);
    }

    #[test]
    fn a_process_has_one_mark_or_none() {
        let marks = Marks::default();
        marks.set_own(&"x".repeat(MARK_MAX + 1));
        assert_eq!(marks.own(), None);
        marks.set_own("a");
        marks.set_own("b");
        assert_eq!(marks.own().map(ShortString::as_str), Some("a"));
    }
}
