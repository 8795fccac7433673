//! `events list --follow`: prints events as their outcomes are recorded.
//!
//! Workers record events about in the order of their receipt, also after a backlog. So each look
//! reads the newest events, and all that were received since shortly before the newest known one,
//! which an index serves. It prints what is new there: an event, or another outcome of one.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use crate::commands::arguments::PageArgs;
use crate::commands::output::{self, or_dash};
use crate::commands::terminal;
use crate::escape::visible;
use crate::store::{EventFilter, EventRow, Listing, Page, Status, Store, StoreError, Time};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long before the newest known event others may have been received that are recorded later.
const LOOK_BACK_MS: i64 = 60_000;

/// Events in one query.
const PAGE: NonZeroU32 = NonZeroU32::new(500).expect("500 is not 0");

/// Most queries of one look: what is more is left out, and said.
const PAGES_MAX: usize = 20;

/// Events that are remembered: many more than one look reads.
const KNOWN_MAX: usize = 50_000;

/// Outcome and attempts of an event, by its ID, with the time of its receipt.
type Known = HashMap<String, (Time, Status, i64)>;

/// Prints the newest events, the oldest of them first, and then each one that is recorded. Ends
/// with Ctrl-C, or once its output is not read any more.
pub async fn run(args: &PageArgs, filter: &EventFilter, store: &Store) -> anyhow::Result<ExitCode> {
    let json = args.json;
    let mut rows = look(filter, None, store).await?;
    let printed = args.page().limit.get() as usize;
    let older = rows.split_off(printed.min(rows.len()));
    let mut known: Known = older.iter().map(outcome).collect();
    let mut is_read = show(&rows, &mut known, json)?;
    let mut is_away = false;
    while is_read {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        let newest = known.values().map(|(received_at, ..)| *received_at).max();
        match look(filter, newest, store).await {
            Ok(rows) => {
                is_away = false;
                is_read = show(&rows, &mut known, json)?;
            }
            Err(StoreError::Unavailable(why)) => {
                if !is_away {
                    output::note(&format!("clerk-sync: {why}; trying again"));
                }
                is_away = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest events, and all since shortly before the newest known one; the newest first.
async fn look(
    filter: &EventFilter,
    newest: Option<Time>,
    store: &Store,
) -> Result<Vec<EventRow>, StoreError> {
    let since_ms = newest.map_or(i64::MAX, |Time(at)| at.ms() - LOOK_BACK_MS);
    let mut rows = Vec::new();
    let mut page = Page {
        limit: PAGE,
        after: None,
    };
    for _ in 0..PAGES_MAX {
        let Listing { rows: more, next } = store.events(filter, &page).await?;
        rows.extend(more);
        page.after = next;
        let oldest = rows.last().map_or(i64::MIN, |row| row.received_at.0.ms());
        if page.after.is_none() || oldest < since_ms {
            return Ok(rows);
        }
    }
    output::note("clerk-sync: events come faster than they are printed; some are left out");
    Ok(rows)
}

fn outcome(row: &EventRow) -> (String, (Time, Status, i64)) {
    let outcome = (row.received_at, row.status, row.attempts);
    (row.event_id.clone(), outcome)
}

/// Prints what is not known yet, the oldest first. Returns whether it is still read.
fn show(rows: &[EventRow], known: &mut Known, json: bool) -> anyhow::Result<bool> {
    let mut is_read = true;
    for row in rows.iter().rev() {
        let (id, outcome) = outcome(row);
        if known.insert(id, outcome) == Some(outcome) {
            continue;
        }
        is_read = if json {
            output::print_json_line(row)?
        } else {
            output::print_while_read(&line(row, terminal::width()))?
        };
    }
    if known.len() > KNOWN_MAX {
        let mut times: Vec<_> = known
            .values()
            .map(|(received_at, ..)| *received_at)
            .collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        known.retain(|_, (received_at, ..)| *received_at >= middle);
    }
    Ok(is_read)
}

/// One line, in columns as far as the texts allow. What does not fit is left out from the end.
fn line(event: &EventRow, width: Option<u16>) -> String {
    let code = event.error_code.as_ref();
    let code = code.map_or(String::new(), |code| format!(": {code}"));
    let status = format!("{}{code}", event.status.as_str());
    let parts = [
        format!("{:23}", output::local(event.received_at)),
        format!("  {:31}", event.event_id),
        format!("  {:12}", event.event_type),
        format!("  {status:9}"),
        format!("  {}", or_dash(event.clerk_id.as_ref())),
    ];
    let room = width.map_or(usize::MAX, usize::from);
    let mut line = String::new();
    for (at, part) in parts.iter().enumerate() {
        let part = visible(part);
        let letters = line.chars().count() + part.trim_end().chars().count();
        // The outcome is what one waits for.
        if at < parts.len() - 1 || letters <= room {
            line += &part;
        }
    }
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::Timestamp;

    fn event(id: &str, status: Status, code: Option<&str>) -> EventRow {
        let time = Time(Timestamp::from_ms(1_795_400_000_000).unwrap());
        EventRow {
            event_id: id.into(),
            event_type: "user.updated".into(),
            clerk_id: Some("user_2rKtQeo67ilcebt7dl8jCUnpwsE".into()),
            occurred_at: None,
            sent_at: time,
            received_at: time,
            processed_at: time,
            status,
            deliveries: 1,
            attempts: 1,
            error: None,
            error_code: code.map(str::to_owned),
            superseded_by: None,
            payload: None,
        }
    }

    #[test]
    fn a_line_keeps_the_outcome_on_a_narrow_terminal() {
        let id = "msg_3MnOwxakRBqUAkhWD6SY6PSrVuq";
        let whole = line(&event(id, Status::Failed, Some("not_json")), None);
        assert!(
            whole.ends_with("  failed: not_json  user_2rKtQeo67ilcebt7dl8jCUnpwsE\n"),
            "{whole}"
        );
        let narrow = line(&event(id, Status::Applied, None), Some(80));
        assert!(narrow.ends_with("user.updated  applied\n"), "{narrow}");
        assert!(narrow.trim_end().chars().count() <= 80, "{narrow}");
    }
}
