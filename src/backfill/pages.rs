//! The pages of one of Clerk's lists, in order, read ahead by one.
//!
//! - The list is complete only when Clerk has returned a page without other objects. A short page
//!   may be short for another reason, and a part that is taken for the whole would mark the other
//!   objects as deleted.
//! - The cursor is the last object of the page before. Clerk does not know a cursor that was deleted
//!   meanwhile. Then the reader goes back to the object before it, and reads some objects twice,
//!   which changes nothing.
//! - A list without cursors is read by offsets: see `offset`.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::clerk_api::ClerkApi;
use super::failure::Stopped;
use super::place::Place;
use super::request::{Answer, From, Listing, SET_THE_URL};
use crate::clerk::api_object::{self, ListedObject, ListedPage};
use crate::clerk::{Paging, Timestamp};
use crate::shutdown::Shutdown;
use crate::tasks;

/// A page of the list.
#[derive(Debug)]
pub struct ReadPage {
    pub objects: Vec<ListedObject>,
    /// When it was requested: it shows no older state.
    pub read_at: Timestamp,
    /// The end of the page.
    pub place: Place,
}

/// Reads pages until it is dropped.
pub struct Pages {
    pages: mpsc::Receiver<Result<Option<ReadPage>, Stopped>>,
    reading: JoinHandle<()>,
}

impl Pages {
    /// Starts at this place of the list.
    pub(super) fn start(api: Arc<ClerkApi>, list: Listing, place: Place, stop: Shutdown) -> Self {
        let (sender, pages) = mpsc::channel(1);
        let reading = tasks::brief(async move {
            let mut reader = Reader { list, place };
            // A page is read only when there is room for it: one is being written, and one is being
            // read.
            while let Ok(room) = sender.reserve().await {
                let page = reader.next(&api, &stop).await;
                let is_last = !matches!(page, Ok(Some(_)));
                room.send(page);
                if is_last {
                    return;
                }
            }
        });
        Self { pages, reading }
    }

    /// Returns the next page, or `None` at the end of the list.
    pub async fn next(&mut self) -> Result<Option<ReadPage>, Stopped> {
        let page = self.pages.recv().await;
        page.unwrap_or_else(|| refused("clerk-sync has a bug in reading a page; report it"))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Reads one page after another.
pub(super) struct Reader {
    pub list: Listing,
    pub place: Place,
}

impl Reader {
    /// Returns the next page, or `None` at the end of the list.
    pub async fn next(
        &mut self,
        api: &ClerkApi,
        stop: &Shutdown,
    ) -> Result<Option<ReadPage>, Stopped> {
        match self.list.paging {
            Paging::Cursor => self.after_cursor(api, stop).await,
            Paging::Offset => self.at_offset(api, stop).await,
        }
    }

    async fn after_cursor(
        &mut self,
        api: &ClerkApi,
        stop: &Shutdown,
    ) -> Result<Option<ReadPage>, Stopped> {
        let (url, plural) = (&api.options().url, self.list.table.plural);
        let (read_at, page) = loop {
            let last = self.place.last();
            let from = last.as_ref().map_or(From::Start, From::After);
            if let Some(found) = self.read(api, from, stop).await? {
                break found;
            }
            self.place.step_back();
            if self.place.is_start() {
                return refused(format!(
                    "{url} does not know the last {plural} any more, and so not where to continue: run it again with --restart"
                ));
            }
        };
        let (objects, cursor) = (page.objects, self.place.last());
        if cursor.is_some() && objects.iter().any(|object| object.id == cursor) {
            return refused(format!(
                "{url} returns the same {plural} again and again: it does not know starting_after. {SET_THE_URL}"
            ));
        }
        if objects.is_empty() {
            return Ok(None);
        }
        if objects.iter().all(|object| object.id.is_none()) {
            return refused(format!(
                "none of the {} {plural} of a page has an ID that can be read, so there is no cursor to continue from: report it to Clerk",
                objects.len()
            ));
        }
        let position = self.place.position();
        self.place.advance(position, objects.len(), &objects);
        Ok(Some(self.page(objects, read_at)))
    }

    /// Returns what Clerk answers and when it was asked, or `None` if it does not know the cursor,
    /// or the list.
    pub(super) async fn read(
        &self,
        api: &ClerkApi,
        from: From<'_>,
        stop: &Shutdown,
    ) -> Result<Option<(Timestamp, ListedPage)>, Stopped> {
        let (options, table) = (api.options(), self.list.table);
        let read_at = (options.now)();
        let body = match api.get(&self.list.page(from), stop).await? {
            Answer::Found(body) => body,
            Answer::Unknown => return Ok(None),
            Answer::NotEnabled => return Err(Stopped::NotEnabled),
        };
        let body = api_object::text(&body);
        let paging = self.list.paging;
        let page = api_object::read_page(table, paging, &body, &options.omitted, read_at);
        let Some(page) = page else {
            return refused(format!(
                "{} answers, but not with a list of {}: {SET_THE_URL}",
                options.url, table.plural
            ));
        };
        Ok(Some((read_at, page)))
    }

    /// Returns a page that ends at the place.
    pub(super) fn page(&self, objects: Vec<ListedObject>, read_at: Timestamp) -> ReadPage {
        ReadPage {
            objects,
            read_at,
            place: self.place.clone(),
        }
    }
}

pub(super) fn refused<T>(why: impl Into<String>) -> Result<T, Stopped> {
    Err(Stopped::Refused(why.into()))
}
