//! `changes`: prints the change feed, once or as it grows.

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use tokio::time::timeout;

use super::arguments::read_limit;
use super::output::{self, Cell, Column, Table, or_dash};
use super::{startup, terminal};
use crate::clerk::{Timestamp, tables};
use crate::clock::now;
use crate::config::Config;
use crate::escape::visible;
use crate::store::{
    CURSOR_EXPIRED, ChangeCursor, ChangePage, ChangeRow, ReadFrom, Store, StoreError,
};

#[derive(Debug, clap::Args)]
pub struct ChangesArgs {
    /// Print each further change as it is committed, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Continue after this cursor, which the command printed, or `latest` for what comes from now
    /// on; without it from the oldest change that is kept
    #[arg(long, value_name = "CURSOR")]
    after: Option<ReadFrom>,
    /// Changes of one table alone
    #[arg(long, value_name = "TABLE", value_parser = table_names())]
    table: Option<String>,
    /// Most changes, up to 500; not with --follow
    #[arg(long, value_name = "ROWS", default_value = "50", value_parser = read_limit, conflicts_with = "follow")]
    limit: NonZeroU32,
    /// Show every column, whole, on a terminal of any width
    #[arg(long, conflicts_with_all = ["json", "follow"])]
    wide: bool,
    /// Print one JSON object per line, each with its cursor
    #[arg(long)]
    json: bool,
}

fn table_names() -> PossibleValuesParser {
    tables::ALL.iter().map(|table| table.name).into()
}

/// Changes in one query.
const PAGE: NonZeroU32 = NonZeroU32::new(500).expect("500 is not 0");

/// Longest time between two looks, if no commit wakes this process.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Between two tries while the database is away.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// A change, and the cursor to continue with.
#[derive(Serialize)]
struct Line<'a> {
    cursor: String,
    #[serde(flatten)]
    change: &'a ChangeRow,
}

pub async fn run(args: ChangesArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    let done = match args.follow {
        true => follow(&args, &store).await,
        false => list(&args, &store, config).await,
    };
    store.close().await;
    done
}

impl ChangesArgs {
    async fn read(
        &self,
        store: &Store,
        after: Option<ChangeCursor>,
        limit: NonZeroU32,
    ) -> Result<ChangePage, StoreError> {
        let table = self.table.as_deref().and_then(tables::named);
        store.changes(after, table, limit).await
    }
}

impl ChangesArgs {
    async fn read_from(
        &self,
        store: &Store,
        from: Option<ReadFrom>,
    ) -> Result<ChangePage, StoreError> {
        let after = store.cursor_from(from).await?;
        self.read(store, after, PAGE).await
    }
}

async fn list(args: &ChangesArgs, store: &Store, config: &Config) -> anyhow::Result<ExitCode> {
    let after = store.cursor_from(args.after).await?;
    let page = args.read(store, after, args.limit).await?;
    let ChangePage::Changes {
        changes,
        next,
        has_more,
    } = page
    else {
        bail!(CURSOR_EXPIRED)
    };
    if args.json {
        let lines: Vec<_> = changes.iter().map(|change| line(change, next)).collect();
        output::print_json_lines(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    if changes.is_empty() {
        let hint = match store.change_feed_state().await?.is_on {
            true => "",
            false => " The change feed is off: CHANGE_FEED=on for `serve` or `worker` turns it on.",
        };
        output::note(&format!("No changes{}.{hint}", startup::source(config)));
    } else {
        let table = of_changes(&changes, now(), args.wide);
        output::print(&table.text)?;
        if !table.is_whole {
            output::note("The terminal is too narrow for all of it: --wide shows everything.");
        }
    }
    output::note(&match has_more {
        true => format!("There are more: --after {next}"),
        false => format!("Next changes: --after {next}"),
    });
    Ok(ExitCode::SUCCESS)
}

async fn follow(args: &ChangesArgs, store: &Store) -> anyhow::Result<ExitCode> {
    // Before the first read, so that no commit comes between the two.
    let mut signal = store.change_signal();
    let (mut from, mut is_away) = (args.after, false);
    loop {
        let read = tokio::select! {
            read = args.read_from(store, from) => read,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        let wait = match read {
            Ok(ChangePage::Expired) => bail!(CURSOR_EXPIRED),
            Ok(ChangePage::Changes {
                changes,
                next,
                has_more,
            }) => {
                (from, is_away) = (Some(ReadFrom::Cursor(next)), false);
                for change in &changes {
                    if !show(change, next, args.json)? {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                if has_more {
                    continue;
                }
                LOOK_EVERY
            }
            Err(StoreError::Unavailable(why)) => {
                if !is_away {
                    output::note(&format!("clerk-sync: {why}; trying again"));
                }
                is_away = true;
                RETRY_EVERY
            }
            Err(error) => return Err(error.into()),
        };
        tokio::select! {
            _ = timeout(wait, signal.next()) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn line(change: &ChangeRow, next: ChangeCursor) -> Line<'_> {
    Line {
        cursor: next.at(change).to_string(),
        change,
    }
}

/// Prints one change. Returns whether it is still read.
fn show(change: &ChangeRow, next: ChangeCursor, json: bool) -> anyhow::Result<bool> {
    match json {
        true => output::print_json_line(&line(change, next)),
        false => output::print_while_read(&text(change, terminal::width())),
    }
}

/// One line, in the order of the table's columns: what does not fit is cut.
fn text(change: &ChangeRow, width: Option<u16>) -> String {
    // A change is cut where the terminal ends, and never wraps: each has one line.
    let line = format!(
        "{}  {:7}  {:31}  {:13}  {}",
        output::local(change.committed_at),
        change.change.as_str(),
        change.clerk_id,
        change.table_name,
        change.fields.join(", "),
    );
    let line = visible(&line);
    let room = width.map_or(usize::MAX, usize::from);
    let cut = match line.chars().count() > room {
        true => line
            .chars()
            .take(room.saturating_sub(1))
            .chain(['…'])
            .collect(),
        false => line.into_owned(),
    };
    format!("{}\n", cut.trim_end())
}

fn of_changes(changes: &[ChangeRow], now: Timestamp, wide: bool) -> Table {
    const COLUMNS: [Column; 7] = [
        Column::new("TIME").first_out(1),
        Column::new("AGE"),
        Column::new("CHANGE"),
        Column::new("CLERK ID"),
        Column::new("TABLE").first_out(2),
        Column::new("FIELDS").at_least(14),
        Column::new("EVENT").first_out(3),
    ];
    let rows = changes.iter().map(|change| {
        vec![
            Cell::new(output::local(change.committed_at)),
            Cell::new(output::age(change.committed_at, now)),
            Cell::new(change.change.as_str()),
            Cell::new(&*change.clerk_id),
            Cell::new(&*change.table_name),
            Cell::new(change.fields.join(", ")),
            Cell::new(or_dash(change.event_id.as_ref())),
        ]
    });
    output::of_columns(&COLUMNS, rows, wide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::{ChangeKind, Timestamp};
    use crate::store::Time;

    #[test]
    fn a_line_is_cut_where_the_terminal_ends() {
        let change = ChangeRow {
            id: 7,
            table_name: "organization_memberships".into(),
            clerk_id: "orgmem_2rKtQeo67ilcebt7dl8jCUn".into(),
            change: ChangeKind::Updated,
            fields: vec!["role".into(), "permissions".into()],
            event_id: Some("msg_1".into()),
            committed_at: Time(Timestamp::from_ms(1_795_400_000_000).unwrap()),
        };
        let whole = text(&change, None);
        assert!(
            whole.ends_with("  organization_memberships  role, permissions\n"),
            "{whole}"
        );
        let narrow = text(&change, Some(80));
        assert!(narrow.contains("  updated  orgmem_2r"), "{narrow}");
        assert!(
            narrow.ends_with("…\n") && narrow.trim_end().chars().count() == 80,
            "{narrow}"
        );
    }
}
