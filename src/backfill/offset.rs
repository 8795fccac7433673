//! A list that is read by offsets, in the order of creation.
//!
//! New objects come at its end. A delete in the part that was read moves the rest to lower places,
//! and a page at the old place would leave objects out. So each page overlaps the one before by one
//! object, the last one. If the overlap is gone, the reader goes back, farther each time, until a
//! page joins what was read. Some objects are then read twice, which changes nothing.

use super::clerk_api::ClerkApi;
use super::failure::Stopped;
use super::pages::{ReadPage, Reader, refused};
use super::request::{From, SET_THE_URL};
use crate::shutdown::Shutdown;

/// Most requests for one page with new objects. Going back doubles each time, so that only a list
/// that makes no sense takes so many.
const READS_MAX: u32 = 50;

impl Reader {
    /// Returns the next page, or `None` at the end of the list.
    pub(super) async fn at_offset(
        &mut self,
        api: &ClerkApi,
        stop: &Shutdown,
    ) -> Result<Option<ReadPage>, Stopped> {
        let (mut offset, mut back) = (self.place.overlap_at(), 1);
        // Behind the last object that is known: the end, if there is no page from there.
        let mut known_end = None;
        for _ in 0..READS_MAX {
            let Some((read_at, mut page)) = self.read(api, From::Offset(offset), stop).await?
            else {
                return Ok(None);
            };
            let length = page.objects.len();
            let end = offset + length as u64;
            if length == 0 && (offset == 0 || known_end == Some(offset)) {
                return Ok(None);
            }
            let Some(overlap) = self.place.overlap(&page.objects, offset == 0) else {
                back = (2 * back).max(length as u64);
                offset = offset.saturating_sub(back);
                continue;
            };
            self.place.remove_known(&mut page.objects, &overlap);
            if !page.objects.is_empty() {
                self.place.advance(offset, length, &page.objects);
                return Ok(Some(self.page(page.objects, read_at)));
            }
            // Nothing is new: it is the end if the page begins with the last object and Clerk counts
            // no more, or if there is no page behind it.
            let place = overlap.cursor.unwrap_or(0);
            if page.total.is_some_and(|total| total <= end) && (place == 0 || offset == 0) {
                return Ok(None);
            }
            known_end = Some(end);
            offset = if place > 0 {
                offset + place as u64
            } else {
                end
            };
        }
        refused(format!(
            "{} returns the same {} again and again: it does not know offset. {SET_THE_URL}",
            api.options().url,
            self.list.table.plural
        ))
    }
}
