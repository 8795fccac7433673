//! The table filled from Clerk's list.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde::{Deserialize, Serialize};

use super::resume::Resume;
use super::store_retry::Writer;
use super::walk::{Page, Walk};
use super::{Api, Failure, NAMED_MAX, Stopped, drift};
use crate::clerk::{Change, ClerkId};
use crate::shutdown::Shutdown;
use crate::store::Store;

/// Users by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Read from Clerk.
    pub seen: u64,
    /// Whose row was made or brought up to date.
    pub changed: u64,
    /// Whose row was as new, newer or erased.
    pub unchanged: u64,
    /// Who could not be read or written.
    pub failed: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.seen += other.seen;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.failed += other.failed;
    }
}

/// Pages that are written at once, each in a transaction of its own: a write to a server mostly waits for it. With the one that is read
/// ahead no more than four are in hand.
const WRITES_AT_ONCE: usize = 3;

/// What a walk came to, with what a stopped one before it had done.
pub struct Filled {
    pub tally: Tally,
    /// Those who failed, up to a number.
    pub failures: Vec<Failure>,
    /// Whether it went on where another had stopped.
    pub resumed: bool,
    pub end: Result<(), Stopped>,
}

/// What the caller is told of on the way.
pub enum News<'a> {
    Progress(&'a Tally),
    /// For a person.
    Note(&'a str),
}

/// Walks Clerk's users and applies every one. Ends at the first thing that a person must mend; what is done is done, and another run goes
/// on from there.
pub async fn fill(
    api: Arc<Api>,
    store: &Store,
    mut resume: Resume,
    restart: bool,
    stop: &Shutdown,
    mut tell: impl FnMut(News<'_>),
) -> Filled {
    let writer = Writer {
        store,
        patience: api.options().patience,
        stop,
    };
    let mut filled = Filled {
        tally: Tally::default(),
        failures: Vec::new(),
        resumed: false,
        end: Ok(()),
    };
    let mut trail = Vec::new();
    if !restart {
        match go_on(&api, &writer, &resume, &mut filled).await {
            Ok(Ok(found)) => trail = found,
            Ok(Err(why)) => tell(News::Note(&format!("{why}: beginning anew"))),
            Err(stopped) => {
                return Filled {
                    end: Err(stopped),
                    ..filled
                };
            }
        }
    }
    let now = api.options().now;
    let mut walk = Walk::start(Arc::clone(&api), trail.clone(), stop.clone());
    let mut writing = FuturesOrdered::new();
    let mut end = None;
    filled.end = loop {
        tokio::select! {
            page = walk.next(), if end.is_none() && writing.len() < WRITES_AT_ONCE => match page {
                Ok(Some(page)) => writing.push_back(write(page, &writer)),
                Ok(None) => end = Some(Ok(())),
                Err(stopped) => end = Some(Err(stopped)),
            },
            // In the order of the pages: what the progress says is done is done up to there.
            Some(written) = writing.next() => match written {
                Ok(written) => {
                    trail = written.trail;
                    filled.tally.add(written.tally);
                    let named = NAMED_MAX.saturating_sub(filled.failures.len());
                    filled.failures.extend(written.failures.into_iter().take(named));
                    if let Some(note) = resume.save(&trail, &filled.tally, &filled.failures, now(), false) {
                        tell(News::Note(&note));
                    }
                    tell(News::Progress(&filled.tally));
                }
                Err(stopped) => break Err(stopped),
            },
            else => break end.unwrap_or(Err(Stopped::Requested)),
        }
        if end.is_none() && stop.is_requested() {
            end = Some(Err(Stopped::Requested));
        }
    };
    match filled.end {
        Ok(()) => resume.forget(),
        Err(_) => _ = resume.save(&trail, &filled.tally, &filled.failures, now(), true),
    }
    filled
}

/// Where to go on; or why not.
async fn go_on(
    api: &Api,
    writer: &Writer<'_>,
    resume: &Resume,
    filled: &mut Filled,
) -> Result<Result<Vec<ClerkId>, String>, Stopped> {
    let progress = match resume.load((api.options().now)()) {
        Ok(Some(progress)) => progress,
        Ok(None) => return Ok(Ok(Vec::new())),
        Err(why) => return Ok(Err(why)),
    };
    let trail = progress.trail();
    // Of those at the end of the trail some may have failed; that none of them is there means another table.
    if writer.known(&trail).await?.is_empty() {
        return Ok(Err(
            "the database does not have the users of the walk that was stopped".into(),
        ));
    }
    (filled.tally, filled.failures, filled.resumed) = (progress.tally, progress.failures, true);
    Ok(Ok(trail))
}

/// A page that is in the database.
struct Written {
    trail: Vec<ClerkId>,
    tally: Tally,
    failures: Vec<Failure>,
}

async fn write(page: Page, writer: &Writer<'_>) -> Result<Written, Stopped> {
    let seen = page.users.len() as u64;
    let mut failures = Vec::new();
    let mut changes: Vec<Change> = Vec::with_capacity(page.users.len());
    for user in page.users {
        match user.read {
            Ok(change) => changes.push(change),
            Err(rejection) => failures.push(Failure::rejected(user.id.as_ref(), &rejection)),
        }
    }
    let changes = drift::in_order(changes);
    let ids: Vec<_> = changes
        .iter()
        .map(|change| change.clerk_id.clone())
        .collect();
    let known = writer.known(&ids).await?;
    let on_delete = writer.store.on_delete();
    let changes: Vec<_> = changes
        .into_iter()
        .filter(|change| drift::alters(change, known.get(&change.clerk_id), on_delete))
        .collect();
    let tried = changes.len() as u64;
    let refused = writer.apply(changes).await?;
    let changed = tried - refused.len() as u64;
    failures.extend(refused);
    let failed = failures.len() as u64;
    let tally = Tally {
        seen,
        changed,
        unchanged: seen - changed - failed,
        failed,
    };
    Ok(Written {
        trail: page.trail,
        tally,
        failures,
    })
}
