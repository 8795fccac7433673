//! Which failed events a command replays or discards.

use anyhow::bail;

use super::filter::FilterArgs;
use crate::clerk::EventId;
use crate::commands::arguments::read_event_id;
use crate::commands::exit::WrongUsage;
use crate::replay::Selection;
use crate::store::{EventFilter, Status, Store};

/// The arguments that select failed events.
#[derive(Debug, clap::Args)]
pub struct SelectionArgs {
    /// Only these events
    #[arg(value_name = "ID", value_parser = read_event_id)]
    ids: Vec<EventId>,
    /// Only failed events are replayed or discarded, with or without this
    #[arg(long, value_parser = ["failed"])]
    status: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Every failed event, in place of IDs or a filter
    #[arg(long)]
    all: bool,
    /// Most events, the newest first
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl SelectionArgs {
    /// The failed events that are selected. `done` is what happens to them, such as
    /// `replayed`; `source` names the database of an ID that is not there.
    ///
    /// Fails if nothing is selected, so that no command is run by accident, or if an event is not
    /// failed.
    pub async fn of(self, store: &Store, source: &str, done: &str) -> anyhow::Result<Selection> {
        match (self.ids.is_empty(), self.filter.is_empty(), self.all) {
            (true, true, false) => bail!(WrongUsage(
                "give the IDs of the events, or a filter such as --type or --since, or --all for every failed event"
            )),
            (false, true, false) if self.limit.is_some() => {
                bail!(WrongUsage(
                    "--limit goes with a filter or with --all, not with IDs"
                ))
            }
            (false, true, false) => {
                require_failed(&self.ids, store, source, done).await?;
                Ok(Selection::Ids(self.ids))
            }
            (true, is_all, all) if is_all == all => Ok(Selection::Matching {
                filter: self.filter.with_status(None),
                limit: self.limit.unwrap_or(u64::MAX),
                after: None,
            }),
            _ => bail!(WrongUsage(
                "give IDs, or a filter, or --all: only one of the three"
            )),
        }
    }
}

async fn require_failed(
    ids: &[EventId],
    store: &Store,
    source: &str,
    done: &str,
) -> anyhow::Result<()> {
    let rows = store.events_by_id(ids, 0).await?;
    for id in ids {
        match rows.iter().find(|row| row.event_id == id.as_str()) {
            None => bail!("no event has the ID {id}{source}; see `clerk-sync events list`"),
            Some(row) if row.status == Status::Failed => {}
            Some(row) => bail!(
                "{id} is {}, only failed events are {done}",
                row.status.as_str()
            ),
        }
    }
    Ok(())
}

/// How many events are selected. Returns `None` if only a search could count them.
pub async fn count(selection: &Selection, store: &Store) -> anyhow::Result<Option<u64>> {
    let (filter, limit) = match selection {
        Selection::Ids(ids) => return Ok(u64::try_from(ids.len()).ok()),
        Selection::Matching { filter, limit, .. } => (filter, *limit),
    };
    let EventFilter {
        status: _,
        event_type: None,
        clerk_id: None,
        error_code: None,
        ids: None,
        since: None,
        until: None,
    } = filter
    else {
        return Ok((limit < u64::MAX).then_some(limit));
    };
    let failed = store.failed().await?;
    Ok(if failed.capped {
        None
    } else {
        Some(failed.count.min(limit))
    })
}
