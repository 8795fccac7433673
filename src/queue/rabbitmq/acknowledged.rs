//! Which messages of a channel are done: with all of their events, and with all messages before
//! them.

use std::collections::{BTreeSet, HashMap};

/// The bundles of a channel with events that are not done, each by its tag.
#[derive(Debug, Default)]
pub struct OpenBundles(HashMap<u64, usize>);

impl OpenBundles {
    /// Adds a message with so many events. One with a single event is no bundle.
    pub fn add(&mut self, tag: u64, events: usize) {
        if events > 1 {
            self.0.insert(tag, events);
        }
    }

    /// Whether the message with this tag is a bundle that is not done.
    pub fn contains(&self, tag: u64) -> bool {
        self.0.contains_key(&tag)
    }

    /// Events are done, each of the message with this tag. Returns the tags of the messages that
    /// are done with them.
    pub fn complete(&mut self, tags: &[u64]) -> Vec<u64> {
        let mut completed = Vec::with_capacity(tags.len());
        for tag in tags {
            let left = self.0.get_mut(tag).map(|left| {
                *left -= 1;
                *left
            });
            match left {
                None => completed.push(*tag),
                Some(0) => {
                    self.0.remove(tag);
                    completed.push(*tag);
                }
                Some(_) => {}
            }
        }
        completed
    }
}

/// The acknowledged tags of a channel.
#[derive(Debug, Default)]
pub struct AcknowledgedTags {
    /// All tags up to this.
    up_to: u64,
    /// Others, after the first that is not acknowledged.
    beyond: BTreeSet<u64>,
}

impl AcknowledgedTags {
    /// Whether these tags, in any order, are all up to their last that are not acknowledged: one
    /// acknowledgement covers them.
    pub fn are_completed_by(&self, tags: &[u64]) -> bool {
        let Some(last) = tags.iter().max() else {
            return false;
        };
        let before = self.beyond.range(..last).count() + tags.len();
        u64::try_from(before).ok() == last.checked_sub(self.up_to)
    }

    /// Adds tags.
    pub fn add(&mut self, tags: &[u64]) {
        self.beyond.extend(tags);
        while self.beyond.remove(&(self.up_to + 1)) {
            self.up_to += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_done_with_the_last_of_its_events() {
        let mut open = OpenBundles::default();
        open.add(2, 3);
        open.add(5, 2);
        open.add(1, 1);
        assert!(open.contains(5) && !open.contains(1));
        assert_eq!(open.complete(&[1, 2, 2]), [1]);
        assert!(open.complete(&[5]).is_empty());
        assert_eq!(open.complete(&[5, 4, 2]), [5, 4, 2]);
        assert!(!open.contains(5) && !open.contains(2));
        assert_eq!(open.complete(&[6, 7]), [6, 7]);
    }

    #[test]
    fn an_acknowledgement_covers_earlier_tags_only_if_none_is_left_out() {
        let mut acknowledged = AcknowledgedTags::default();
        assert!(acknowledged.are_completed_by(&[1, 2, 3]));
        assert!(acknowledged.are_completed_by(&[3, 1, 2]), "in any order");
        assert!(!acknowledged.are_completed_by(&[4, 1, 2]), "3 is left out");
        acknowledged.add(&[1, 2, 3]);
        assert!(!acknowledged.are_completed_by(&[5, 6]), "4 is in flight");
        acknowledged.add(&[5, 6]);
        assert!(!acknowledged.are_completed_by(&[8, 9]));
        assert!(
            acknowledged.are_completed_by(&[4, 7, 8]),
            "5 and 6 are done"
        );
        acknowledged.add(&[8]);
        assert!(acknowledged.are_completed_by(&[4]));
        acknowledged.add(&[4]);
        assert_eq!((acknowledged.up_to, acknowledged.beyond.len()), (6, 1));
        acknowledged.add(&[7]);
        assert_eq!((acknowledged.up_to, acknowledged.beyond.len()), (8, 0));
        assert!(acknowledged.are_completed_by(&[9, 10]));
    }
}
