//! Fills the table from Clerk's list.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::clerk_api::ClerkApi;
use super::drift;
use super::failure::{Stopped, UserFailure, name_more};
use super::pages::{ListPage, Pages};
use super::resume::{Progress, Resume};
use super::store::PatientStore;
use super::tally::Tally;
use crate::clerk::{ClerkId, Timestamp};
use crate::shutdown::Shutdown;
use crate::store::Store;

/// Pages that are written at once, each in its own transaction: a write mostly waits for the
/// server. With the one that is read ahead, at most four are in memory.
const WRITES_AT_ONCE: usize = 3;

/// What a run did, together with the stopped run that it continues.
pub struct Filled {
    /// The users so far.
    pub progress: Progress,
    /// Whether it continued a stopped run.
    pub resumed: bool,
    /// Whether the list is complete, or why not.
    pub end: Result<(), Stopped>,
}

/// What a run reports to its caller while it runs.
pub enum Notice<'a> {
    /// The users so far.
    Progress(&'a Tally),
    /// A sentence for a person.
    Note(&'a str),
}

/// Reads Clerk's users and applies every one. Stops at the first error that needs an operator; the
/// next run continues there.
pub async fn fill(
    api: Arc<ClerkApi>,
    store: &Store,
    mut resume: Resume,
    restart: bool,
    stop: &Shutdown,
    mut notify: impl FnMut(Notice<'_>),
) -> Filled {
    let patience = api.options().patience;
    let store = PatientStore {
        store,
        patience,
        stop,
    };
    let now = api.options().now;
    let found = match restart {
        true => Ok(None),
        false => stopped_run(&resume, &store, now(), &mut notify).await,
    };
    let found = match found {
        Ok(found) => found,
        Err(stopped) => {
            return Filled {
                progress: Progress::default(),
                resumed: false,
                end: Err(stopped),
            };
        }
    };
    let resumed = found.is_some();
    let mut progress = found.unwrap_or_default();
    let mut pages = Pages::start(Arc::clone(&api), progress.cursors(), stop.clone());
    let mut writing = FuturesOrdered::new();
    let mut end = None;
    let end = loop {
        tokio::select! {
            page = pages.next(), if end.is_none() && writing.len() < WRITES_AT_ONCE => match page {
                Ok(Some(page)) => writing.push_back(write(page, &store)),
                Ok(None) => end = Some(Ok(())),
                Err(stopped) => end = Some(Err(stopped)),
            },
            // In the order of the pages: all users up to the saved progress are written.
            Some(written) = writing.next() => match written {
                Ok((cursors, tally, failures)) => {
                    progress.advance(&cursors);
                    progress.tally += tally;
                    name_more(&mut progress.failures, failures);
                    if let Some(note) = resume.save(&progress, now(), false) {
                        notify(Notice::Note(&note));
                    }
                    notify(Notice::Progress(&progress.tally));
                }
                Err(stopped) => break Err(stopped),
            },
            else => break end.unwrap_or(Err(Stopped::Requested)),
        }
        if end.is_none() && stop.is_requested() {
            end = Some(Err(Stopped::Requested));
        }
    };
    match end {
        Ok(()) => resume.delete(),
        Err(_) => _ = resume.save(&progress, now(), true),
    }
    Filled {
        progress,
        resumed,
        end,
    }
}

/// Returns the progress of the stopped run, or `None` if there is none to continue.
async fn stopped_run(
    resume: &Resume,
    store: &PatientStore<'_>,
    now: Timestamp,
    notify: &mut impl FnMut(Notice<'_>),
) -> Result<Option<Progress>, Stopped> {
    let why = match resume.load(now) {
        Ok(None) => return Ok(None),
        // Some of the last users may have failed. If the table has none of them, it is another one.
        Ok(Some(progress)) if !store.rows(&progress.cursors()).await?.is_empty() => {
            return Ok(Some(progress));
        }
        Ok(Some(_)) => "the database does not have the users of the stopped run".to_owned(),
        Err(why) => why,
    };
    notify(Notice::Note(&format!("{why}: starting over")));
    Ok(None)
}

/// Writes a page, and returns its cursors, its counts and the users who failed.
async fn write(
    page: ListPage,
    store: &PatientStore<'_>,
) -> Result<(Vec<ClerkId>, Tally, Vec<UserFailure>), Stopped> {
    let seen = page.users.len() as u64;
    let compared = store.compare(page.users).await?;
    let (mut changes, rows) = (compared.changes, compared.rows);
    let on_delete = store.store.on_delete();
    changes.retain(|change| drift::alters(change, rows.get(&change.clerk_id), on_delete));
    let tried = changes.len() as u64;
    let refused = store.apply(changes).await?;
    let changed = tried - refused.len() as u64;
    let mut failures = compared.failures;
    failures.extend(refused);
    let failed = failures.len() as u64;
    let tally = Tally {
        seen,
        changed,
        unchanged: seen - changed - failed,
        failed,
    };
    Ok((page.cursors, tally, failures))
}
