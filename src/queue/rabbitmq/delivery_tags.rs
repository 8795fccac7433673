//! Delivery tags: what an acknowledgement to RabbitMQ names, and which tags of a channel are acknowledged.

use std::collections::BTreeSet;

/// The tags of a batch.
pub struct DeliveryTags {
    /// The number of the channel that delivered them: a tag means nothing on another channel.
    pub channel: u64,
    /// Ascending.
    pub tags: Vec<u64>,
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
    /// Whether these ascending tags are all up to their last that are not acknowledged: one acknowledgement covers them.
    pub fn are_completed_by(&self, tags: &[u64]) -> bool {
        let Some(last) = tags.last() else {
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
    fn an_acknowledgement_covers_earlier_tags_only_if_none_is_left_out() {
        let mut acknowledged = AcknowledgedTags::default();
        assert!(acknowledged.are_completed_by(&[1, 2, 3]));
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
