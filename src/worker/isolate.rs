//! Finds the events of a batch that cannot be applied, so that only they fail.
//!
//! A part that is refused is halved until what causes it stands alone: k guilty events among n cost about k·log₂(n) more
//! attempts. A panic counts as a refusal: it is a bug of ours, and must stop neither the worker nor the events beside the
//! one that meets it.

use std::ops::Range;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::store::EventFailure;

/// The parts of a batch that are still to be attempted.
pub struct Isolation(Vec<Range<usize>>);

impl Isolation {
    /// Of `count` events that are refused together. One alone is attempted once more: its refusal is what it fails with.
    pub fn of_refused(count: usize) -> Self {
        let mut isolation = Self(Vec::new());
        if let Some(place) = isolation.refused(0..count) {
            isolation.0.push(place..place + 1);
        }
        isolation
    }

    /// What to attempt next; nothing when all is attempted.
    pub fn next_part(&mut self) -> Option<Range<usize>> {
        self.0.pop().filter(|part| !part.is_empty())
    }

    /// To be called when `part` was refused. Returns the event that is refused alone, or halves the part.
    pub fn refused(&mut self, part: Range<usize>) -> Option<usize> {
        if part.len() == 1 {
            return Some(part.start);
        }
        let middle = part.start + part.len() / 2;
        // The first half is attempted first.
        self.0.extend([middle..part.end, part.start..middle]);
        None
    }
}

/// Runs an attempt to apply something. The inner error is the refusal of something in it; a panic is one too.
pub async fn refusing_panics<T, G>(
    attempt: impl Future<Output = Result<Result<T, EventFailure>, G>>,
) -> Result<Result<T, EventFailure>, G> {
    // What a panic leaves half done is in a transaction that is not committed.
    AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|_| {
        // The panic's own text may quote the body, so it is not used.
        let text = "clerk-sync met a bug of its own at this event; report it, and replay the event with a version that mends it";
        Ok(Err(EventFailure { code: "panicked".into(), text: text.into() }))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Isolates `guilty` among `count` that are refused together: what was applied, what is refused, and the number of attempts.
    fn isolated(count: usize, guilty: &[usize]) -> (BTreeSet<usize>, Vec<usize>, usize) {
        let (mut applied, mut refused, mut attempts) = (BTreeSet::new(), Vec::new(), 0);
        let mut isolation = Isolation::of_refused(count);
        while let Some(part) = isolation.next_part() {
            attempts += 1;
            if guilty.iter().any(|place| part.contains(place)) {
                refused.extend(isolation.refused(part));
                continue;
            }
            for place in part {
                assert!(applied.insert(place), "{place} is applied twice");
            }
        }
        (applied, refused, attempts)
    }

    #[test]
    fn only_the_guilty_are_refused_in_about_k_log_n_attempts() {
        for guilty in [vec![0], vec![499], vec![7, 8], vec![1, 100, 250, 499]] {
            let (applied, refused, attempts) = isolated(500, &guilty);
            assert_eq!(applied.len(), 500 - guilty.len());
            assert_eq!(refused, guilty);
            // Each is at the end of ceil(log2(500)) = 9 halvings, with two attempts each.
            assert!(
                attempts <= 1 + guilty.len() * 18,
                "{attempts} attempts for {guilty:?}"
            );
        }
        assert_eq!(isolated(1, &[0]), (BTreeSet::new(), vec![0], 1));
        assert_eq!(isolated(0, &[]), (BTreeSet::new(), Vec::new(), 0));
    }

    #[tokio::test]
    async fn a_panic_is_a_refusal_and_nothing_else_is_changed() {
        let panics = async |panics: bool| {
            assert!(!panics, "a bug, shown by a test");
            Ok::<_, &str>(Ok(()))
        };
        assert_eq!(refusing_panics(panics(false)).await, Ok(Ok(())));
        let refused = refusing_panics(panics(true)).await.unwrap().unwrap_err();
        assert_eq!(refused.code, "panicked");
        assert!(
            !refused.text.contains("shown by a test"),
            "{}",
            refused.text
        );
        assert_eq!(
            refusing_panics(async { Err::<Result<(), _>, _>("away") }).await,
            Err("away")
        );
    }
}
