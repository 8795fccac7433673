//! The pages of Clerk's list, one after the other, read ahead by one.
//!
//! - A walk is complete only when Clerk has given a page without users: a short page may be short for another reason, and who
//!   takes a part for the whole would take the others for deleted.
//! - The cursor is the last user of the page before. Where that one was deleted meanwhile Clerk does not know it, and the walk goes back
//!   to the one before; so some are read twice, which changes nothing.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Api, Stopped};
use crate::clerk::api_object::{self, ListedUser};
use crate::clerk::{ClerkId, Timestamp};
use crate::shutdown::Shutdown;
use crate::tasks;

/// Users who are remembered as cursors. That all of them are deleted between two pages does not happen.
const TRAIL: usize = 10;

/// A part of the list.
#[derive(Debug)]
pub struct Page {
    pub users: Vec<ListedUser>,
    /// Before it was asked for: it shows no older state.
    pub read_at: Timestamp,
    /// Where the next page begins: the last users so far, the very last one at the end.
    pub trail: Vec<ClerkId>,
}

/// Goes on reading until it is dropped.
pub struct Walk {
    pages: mpsc::Receiver<Result<Option<Page>, Stopped>>,
    reading: JoinHandle<()>,
}

impl Walk {
    /// From the first user on, or from the end of the trail.
    pub fn start(api: Arc<Api>, trail: Vec<ClerkId>, stop: Shutdown) -> Self {
        let (give, pages) = mpsc::channel(1);
        let reading = tasks::brief(async move {
            let mut reader = Reader { api, trail, stop };
            // A page is read only when there is a place for it: one is being written, and one is on its way.
            while let Ok(place) = give.reserve().await {
                let page = reader.next().await;
                let is_last = !matches!(page, Ok(Some(_)));
                place.send(page);
                if is_last {
                    return;
                }
            }
        });
        Self { pages, reading }
    }

    /// Nothing when the list is at its end.
    pub async fn next(&mut self) -> Result<Option<Page>, Stopped> {
        let ended = || {
            Err(Stopped::Refused(
                "clerk-sync met a bug of its own while reading a page; report it".into(),
            ))
        };
        self.pages.recv().await.unwrap_or_else(ended)
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

struct Reader {
    api: Arc<Api>,
    trail: Vec<ClerkId>,
    stop: Shutdown,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Page>, Stopped> {
        let url = &self.api.options().url;
        let (read_at, body) = loop {
            let read_at = (self.api.options().now)();
            if let Some(body) = self.api.page(self.trail.last(), &self.stop).await? {
                break (read_at, body);
            }
            self.trail.pop();
            if self.trail.is_empty() {
                return Err(Stopped::Refused(format!(
                    "{url} knows none of the last users any more, and so not where to go on: run it again with --restart"
                )));
            }
        };
        let users = api_object::read_page(
            &api_object::text(&body),
            &self.api.options().omitted,
            read_at,
        );
        let users = users.ok_or_else(|| {
            Stopped::Refused(format!(
                "{url} answers, but not with a list of users: set CLERK_API_URL to https://api.clerk.com/v1"
            ))
        })?;
        let cursor = self.trail.last();
        if cursor.is_some() && users.iter().any(|user| user.id.as_ref() == cursor) {
            return Err(Stopped::Refused(format!(
                "{url} gives the same users again and again: it does not know starting_after. Set CLERK_API_URL to https://api.clerk.com/v1"
            )));
        }
        let before = self.trail.len();
        self.trail
            .extend(users.iter().filter_map(|user| user.id.clone()));
        // Without a user to go on from there is no next page; Clerk's end is an empty one.
        if self.trail.len() == before {
            return match users.len() {
                0 => Ok(None),
                count => Err(Stopped::Refused(format!(
                    "none of the {count} users of a page has an ID that can be read, so nobody knows where to go on: report it to Clerk"
                ))),
            };
        }
        self.trail.drain(..self.trail.len().saturating_sub(TRAIL));
        Ok(Some(Page {
            users,
            read_at,
            trail: self.trail.clone(),
        }))
    }
}
