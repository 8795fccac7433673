//! Fills the tables from Clerk's lists.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::drift;
use super::failure::{ObjectFailure, Stopped, name_more};
use super::pages::{Pages, ReadPage};
use super::place::Place;
use super::request::Listing;
use super::resume::{Progress, Resume};
use super::run::{Notice, Run, State};
use super::store::PatientStore;
use super::tally::Tally;
use crate::clerk::Table;

/// Pages that are written at once, each in its own transaction: a write mostly waits for the
/// server. With the one that is read ahead, at most four are in memory.
const WRITES_AT_ONCE: usize = 3;

/// What a run did, together with the stopped run that it continues.
pub struct Filled {
    /// The tables that it came to.
    pub tables: Vec<FilledTable>,
    /// Whether all tables are complete, or why not.
    pub end: Result<(), Stopped>,
}

/// What a run did with a table.
pub struct FilledTable {
    /// The table.
    pub table: &'static Table,
    /// How far it got.
    pub state: State,
    /// Whether it continued a stopped run.
    pub resumed: bool,
    /// The objects so far.
    pub tally: Tally,
    /// The first objects that failed.
    pub failures: Vec<ObjectFailure>,
}

/// Reads Clerk's objects and applies every one. Stops at the first error that needs an operator; the
/// next run continues there.
pub async fn fill(
    run: Run<'_>,
    mut resume: Resume,
    restart: bool,
    mut notify: impl FnMut(Notice<'_>),
) -> Filled {
    let mut filled = Filled {
        tables: Vec::new(),
        end: Ok(()),
    };
    let now = run.api.options().now;
    let notes = resume.load(now(), &run.tables, restart);
    for note in notes {
        notify(Notice::Note(&note));
    }
    for table in &run.tables {
        let (table, end) = fill_table(&run, table, &mut resume, &mut notify).await;
        filled.tables.push(table);
        if let Err(stopped) = end {
            filled.end = Err(stopped);
            return filled;
        }
    }
    resume.end(&run.tables);
    filled
}

/// Returns what was done with the table, and why the run stopped there.
async fn fill_table(
    run: &Run<'_>,
    table: &'static Table,
    resume: &mut Resume,
    notify: &mut impl FnMut(Notice<'_>),
) -> (FilledTable, Result<(), Stopped>) {
    let store = run.store(table);
    let mut filled = FilledTable {
        table,
        state: State::Incomplete,
        resumed: false,
        tally: Tally::default(),
        failures: Vec::new(),
    };
    let found = match stopped_run(resume, &store, notify).await {
        Ok(found) => found,
        Err(stopped) => return (filled, Err(stopped)),
    };
    filled.resumed = found.is_some();
    let mut progress = found.unwrap_or_default();
    let end = match progress.is_complete {
        true => Ok(State::Complete),
        false => {
            notify(Notice::Table(table, run.total(table).await));
            read_and_write(run, &store, &mut progress, resume, notify).await
        }
    };
    (filled.tally, filled.failures) = (progress.tally, progress.failures.clone());
    let now = (run.api.options().now)();
    let (state, end) = match end {
        Ok(state) => {
            progress.is_complete = true;
            (state, Ok(()))
        }
        Err(stopped) => (State::Incomplete, Err(stopped)),
    };
    filled.state = state;
    if let Some(note) = resume.save(table, &progress, now, true) {
        notify(Notice::Note(&note));
    }
    (filled, end)
}

/// Reads the list to its end and writes its pages. `progress` has what is written.
async fn read_and_write(
    run: &Run<'_>,
    store: &PatientStore<'_>,
    progress: &mut Progress,
    resume: &mut Resume,
    notify: &mut impl FnMut(Notice<'_>),
) -> Result<State, Stopped> {
    let (table, now) = (store.table, run.api.options().now);
    let list = Listing::whole(table);
    let (api, place) = (Arc::clone(&run.api), progress.place.clone());
    let mut pages = Pages::start(api, list, place, run.stop.clone());
    let mut writing = FuturesOrdered::new();
    let (mut end, mut pages_read) = (None, 0_u64);
    loop {
        tokio::select! {
            page = pages.next(), if end.is_none() && writing.len() < WRITES_AT_ONCE => match page {
                Ok(Some(page)) => {
                    pages_read += 1;
                    writing.push_back(write(page, store));
                }
                Ok(None) => end = Some(Ok(State::Complete)),
                Err(Stopped::NotEnabled) if pages_read == 0 => end = Some(Ok(State::Skipped)),
                Err(stopped) => end = Some(Err(stopped)),
            },
            // In the order of the pages: all objects up to the saved progress are written.
            Some(written) = writing.next() => {
                let (place, tally, failures) = written?;
                progress.place = place;
                progress.tally += tally;
                name_more(&mut progress.failures, failures);
                if let Some(note) = resume.save(table, progress, now(), false) {
                    notify(Notice::Note(&note));
                }
                notify(Notice::Progress(table, progress.tally));
            },
            else => return end.unwrap_or(Err(Stopped::Requested)),
        }
        if end.is_none() && run.stop.is_requested() {
            end = Some(Err(Stopped::Requested));
        }
    }
}

/// Returns the progress of the stopped run, or `None` if there is none to continue.
async fn stopped_run(
    resume: &Resume,
    store: &PatientStore<'_>,
    notify: &mut impl FnMut(Notice<'_>),
) -> Result<Option<Progress>, Stopped> {
    let Some(progress) = resume.of(store.table) else {
        return Ok(None);
    };
    // Some of the last objects may have failed. If the table has none of them, it is another one.
    if !store.rows(&progress.place.cursors()).await?.is_empty() {
        return Ok(Some(progress));
    }
    let plural = store.table.plural;
    notify(Notice::Note(&format!(
        "the database does not have the {plural} of the stopped run: starting over"
    )));
    Ok(None)
}

/// Writes a page, and returns its end, its counts and the objects that failed.
async fn write(
    page: ReadPage,
    store: &PatientStore<'_>,
) -> Result<(Place, Tally, Vec<ObjectFailure>), Stopped> {
    let seen = page.objects.len() as u64;
    let compared = store.compare(page.objects).await?;
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
    Ok((page.place, tally, failures))
}
