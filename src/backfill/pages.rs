//! The pages of Clerk's list, in order, read ahead by one.
//!
//! - The list is complete only when Clerk has returned a page without users. A short page may be
//!   short for another reason, and a part that is taken for the whole would mark the other users as
//!   deleted.
//! - The cursor is the last user of the page before. Clerk does not know a cursor that was deleted
//!   meanwhile. Then the reader goes back to the user before it, and reads some users twice, which
//!   changes nothing.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::clerk_api::ClerkApi;
use super::failure::Stopped;
use crate::clerk::api_object::{self, ListedUser};
use crate::clerk::{ClerkId, Timestamp};
use crate::shutdown::Shutdown;
use crate::tasks;

/// Number of users who are kept as cursors: enough that not all of them are deleted between two
/// pages.
const CURSORS_MAX: usize = 10;

/// A page of the list.
#[derive(Debug)]
pub struct ListPage {
    pub users: Vec<ListedUser>,
    /// When it was requested: it shows no older state.
    pub read_at: Timestamp,
    /// The last users so far; the next page starts after the very last one.
    pub cursors: Vec<ClerkId>,
}

/// Reads pages until it is dropped.
pub struct Pages {
    pages: mpsc::Receiver<Result<Option<ListPage>, Stopped>>,
    reading: JoinHandle<()>,
}

impl Pages {
    /// Starts at the first user, or after the last of the cursors.
    pub fn start(api: Arc<ClerkApi>, cursors: Vec<ClerkId>, stop: Shutdown) -> Self {
        let (sender, pages) = mpsc::channel(1);
        let reading = tasks::brief(async move {
            let mut reader = Reader { api, cursors, stop };
            // A page is read only when there is room for it: one is being written, and one is being
            // read.
            while let Ok(room) = sender.reserve().await {
                let page = reader.next().await;
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
    pub async fn next(&mut self) -> Result<Option<ListPage>, Stopped> {
        let page = self.pages.recv().await;
        page.unwrap_or_else(|| refused("clerk-sync has a bug in reading a page; report it"))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

struct Reader {
    api: Arc<ClerkApi>,
    cursors: Vec<ClerkId>,
    stop: Shutdown,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<ListPage>, Stopped> {
        let options = self.api.options();
        let url = &options.url;
        let (read_at, body) = loop {
            let read_at = (options.now)();
            if let Some(body) = self.api.page(self.cursors.last(), &self.stop).await? {
                break (read_at, body);
            }
            self.cursors.pop();
            if self.cursors.is_empty() {
                return refused(format!(
                    "{url} does not know the last users any more, and so not where to continue: run it again with --restart"
                ));
            }
        };
        let body = api_object::text(&body);
        let Some(users) = api_object::read_page(&body, &options.omitted, read_at) else {
            return refused(format!(
                "{url} answers, but not with a list of users: set CLERK_API_URL to https://api.clerk.com/v1"
            ));
        };
        let cursor = self.cursors.last();
        if cursor.is_some() && users.iter().any(|user| user.id.as_ref() == cursor) {
            return refused(format!(
                "{url} returns the same users again and again: it does not know starting_after. Set CLERK_API_URL to https://api.clerk.com/v1"
            ));
        }
        let before = self.cursors.len();
        self.cursors
            .extend(users.iter().filter_map(|user| user.id.clone()));
        if self.cursors.len() == before {
            if users.is_empty() {
                return Ok(None);
            }
            return refused(format!(
                "none of the {} users of a page has an ID that can be read, so there is no cursor to continue from: report it to Clerk",
                users.len()
            ));
        }
        let excess = self.cursors.len().saturating_sub(CURSORS_MAX);
        self.cursors.drain(..excess);
        Ok(Some(ListPage {
            users,
            read_at,
            cursors: self.cursors.clone(),
        }))
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, Stopped> {
    Err(Stopped::Refused(why.into()))
}
