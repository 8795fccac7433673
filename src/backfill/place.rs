//! How far a list was read.

use serde::{Deserialize, Serialize};

use crate::clerk::api_object::ListedObject;
use crate::clerk::{ClerkId, Timestamp};

/// Number of objects that are kept as cursors: enough that not all of them are deleted between two
/// pages.
const CURSORS_MAX: usize = 10;

/// The last objects that were read, and how many objects were before the next page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    #[serde(rename = "trail")]
    cursors: Vec<String>,
    /// Objects of the list up to here.
    #[serde(default)]
    position: u64,
    /// The last of them, whose IDs cannot be read.
    #[serde(default)]
    without_id: u64,
    /// The latest time of creation. `None` if it is not known, or if the list is not in its order.
    #[serde(default)]
    newest_ms: Option<i64>,
    #[serde(default)]
    is_unsorted: bool,
}

/// The objects of a page, its first ones, that were read before.
#[derive(Debug, PartialEq, Eq)]
pub struct Overlap {
    objects: usize,
    /// The place of the last object in the page that is known to be read.
    pub cursor: Option<usize>,
}

impl Place {
    /// Returns the last objects; the list continues after the very last one.
    pub fn cursors(&self) -> Vec<ClerkId> {
        let cursors = self.cursors.iter();
        cursors.filter_map(|id| ClerkId::new(id)).collect()
    }

    /// Returns whether it is the beginning of the list.
    pub fn is_start(&self) -> bool {
        self.cursors.is_empty()
    }

    /// Returns the very last object.
    pub fn last(&self) -> Option<ClerkId> {
        ClerkId::new(self.cursors.last()?)
    }

    /// Forgets the very last object, which Clerk does not know any more.
    pub fn step_back(&mut self) {
        self.cursors.pop();
    }

    /// Returns how many objects of the list were read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the place of the last object with an ID: that of the next page, which overlaps.
    pub fn overlap_at(&self) -> u64 {
        match self.is_start() {
            true => 0,
            false => self.position.saturating_sub(1 + self.without_id),
        }
    }

    /// Returns how a page overlaps what was read. Returns `None` if nothing shows that it joins that:
    /// objects between may be missing. The first page of the list always joins.
    pub fn overlap(&self, page: &[ListedObject], is_first: bool) -> Option<Overlap> {
        if let Some(cursor) = page.iter().rposition(|object| self.is_cursor(object)) {
            let is_last = page[cursor].id == self.last();
            let behind = page[cursor + 1..].iter();
            let behind = behind.take_while(|other| other.id.is_none()).count();
            let without_id = usize::try_from(self.without_id).unwrap_or(usize::MAX);
            let again = if is_last { behind.min(without_id) } else { 0 };
            return Some(Overlap {
                objects: cursor + 1 + again,
                cursor: Some(cursor),
            });
        }
        let joins = || {
            let created_ms = page.first()?.created_at()?.ms();
            // An object of the very same time may be behind one that is missing.
            Some(created_ms < self.newest_ms?)
        };
        (is_first || joins() == Some(true)).then_some(Overlap {
            objects: 0,
            cursor: None,
        })
    }

    fn is_cursor(&self, object: &ListedObject) -> bool {
        let id = object.id.as_ref();
        id.is_some_and(|id| self.cursors.iter().any(|cursor| *cursor == *id.as_str()))
    }

    /// Removes the objects of a page that are known to be read. One in the overlap that is not a
    /// cursor stays: Clerk may list an object late, in the place of its creation.
    pub fn remove_known(&self, page: &mut Vec<ListedObject>, overlap: &Overlap) {
        let mut place = 0;
        page.retain(|object| {
            place += 1;
            place > overlap.objects || object.id.is_some() && !self.is_cursor(object)
        });
    }

    /// Moves it behind the last object of a page that began at `offset`, of which these objects
    /// were not read before.
    pub fn advance(&mut self, offset: u64, page_objects: usize, new: &[ListedObject]) {
        self.position = offset + page_objects as u64;
        let ids = new.iter().filter_map(|object| object.id.as_ref());
        self.cursors.extend(ids.map(ToString::to_string));
        let behind = new.iter().rev().take_while(|object| object.id.is_none());
        let (behind, all) = (behind.count() as u64, new.len() as u64);
        self.without_id = if behind == all {
            self.without_id + behind
        } else {
            behind
        };
        let excess = self.cursors.len().saturating_sub(CURSORS_MAX);
        self.cursors.drain(..excess);
        let times = new.iter().filter_map(ListedObject::created_at);
        let times: Vec<_> = times.map(Timestamp::ms).collect();
        // Within the page: the whole of it may have been read before.
        self.is_unsorted |= !times.is_sorted();
        let newest_ms = self.newest_ms.max(times.last().copied());
        self.newest_ms = newest_ms.filter(|_| !self.is_unsorted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::api_object::read_page;
    use crate::clerk::tables::organizations::TABLE;
    use crate::clerk::{OmittedFields, Paging};

    /// Objects whose number is their time of creation; 0 has no ID that can be read.
    fn page(numbers: &[u64]) -> Vec<ListedObject> {
        let object = |number: &u64| match number {
            0 => r#"{"id":7}"#.to_owned(),
            _ => format!(r#"{{"id":"org_{number}","created_at":{number},"updated_at":{number}}}"#),
        };
        let objects: Vec<_> = numbers.iter().map(object).collect();
        let text = format!(r#"{{"data":[{}],"total_count":0}}"#, objects.join(","));
        let now = Timestamp::from_ms(1_795_000_000_000).unwrap();
        let omitted = OmittedFields::default();
        read_page(&TABLE, Paging::Offset, &text, &omitted, now)
            .unwrap()
            .objects
    }

    fn after(numbers: &[u64]) -> Place {
        let mut place = Place::default();
        place.advance(0, numbers.len(), &page(numbers));
        place
    }

    /// The numbers of the objects that are new in a page, 0 for those without an ID.
    fn new(place: &Place, numbers: &[u64]) -> Option<Vec<u64>> {
        let mut page = page(numbers);
        let overlap = place.overlap(&page, false)?;
        place.remove_known(&mut page, &overlap);
        let number = |object: &ListedObject| object.created_at().map_or(0, |at| at.ms());
        Some(
            page.iter()
                .map(|object| u64::try_from(number(object)).unwrap())
                .collect(),
        )
    }

    #[test]
    fn a_page_that_begins_with_the_last_object_joins() {
        let place = after(&[1, 3, 5]);
        assert_eq!(place.overlap_at(), 2);
        assert_eq!(new(&place, &[5, 6, 7]), Some(vec![6, 7]));
        assert_eq!(new(&place, &[3, 5, 6]), Some(vec![6]), "after a step back");
        assert_eq!(
            new(&place, &[1, 3]),
            Some(vec![]),
            "the last one is deleted"
        );
        assert_eq!(
            new(&place, &[3, 4, 5, 6]),
            Some(vec![4, 6]),
            "one was listed late"
        );
    }

    #[test]
    fn a_page_that_may_leave_objects_out_does_not_join() {
        let place = after(&[1, 2, 3]);
        for apart in [&[4, 5][..], &[], &[0, 4]] {
            assert_eq!(new(&place, apart), None, "{apart:?}");
        }
        assert!(
            place.overlap(&page(&[4, 5]), true).is_some(),
            "the beginning leaves nothing out"
        );
        let place = after(&(10..40).collect::<Vec<_>>());
        assert_eq!(
            new(&place, &[12, 13]),
            Some(vec![12, 13]),
            "long read, and no cursor"
        );
        let unsorted = after(&[30, 20, 40]);
        assert_eq!(new(&unsorted, &[5, 6]), None, "the times prove nothing");
    }

    #[test]
    fn objects_without_an_id_are_read_once() {
        let place = after(&[1, 2, 0, 0]);
        assert_eq!(place.overlap_at(), 1);
        assert_eq!(new(&place, &[2, 0, 0, 5]), Some(vec![5]));
        assert_eq!(
            new(&place, &[2, 0, 0, 0, 5]),
            Some(vec![0, 5]),
            "the third one is new"
        );
        assert_eq!(new(&place, &[1, 0, 0]), Some(vec![0, 0]), "they are others");
    }
}
