//! Arguments that several commands have, and how their values are read.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use super::exit::WrongUsage;
use crate::clerk::{ClerkId, EventId, Table, Timestamp};
use crate::clock::now;
use crate::format;
use crate::store::{self, Cursor, Page, Sort};

/// The part of a list to print, and its form.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// Most rows, up to 500
    #[arg(long, value_name = "ROWS", default_value = "50", value_parser = read_limit)]
    limit: NonZeroU32,
    /// Continue after the page before, which printed the cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<Cursor>,
    /// Show every column, whole, on a terminal of any width
    #[arg(long, conflicts_with = "json")]
    pub wide: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

impl PageArgs {
    /// The part of a list in this order, which is that of the cursor unless one is given.
    ///
    /// # Errors
    ///
    /// If the cursor is of a list in another order, or of other rows.
    pub fn page_in(&self, sort: Option<Sort>, usual: Sort) -> anyhow::Result<(Page, Sort)> {
        let of_cursor = self.cursor.as_ref().map(Cursor::sort);
        let sort = sort.or(of_cursor.flatten()).unwrap_or(usual);
        match of_cursor {
            Some(None) => Err(WrongUsage("--cursor is of another list").into()),
            Some(Some(other)) if other.is_of_events() != usual.is_of_events() => {
                Err(WrongUsage("--cursor is of another list").into())
            }
            Some(Some(other)) if other != sort => {
                Err(WrongUsage("--cursor is of this list in another order").into())
            }
            _ => Ok((self.page(), sort)),
        }
    }

    /// The part of a list of the rows of this table, which has one order.
    ///
    /// # Errors
    ///
    /// If the cursor is of another list.
    pub fn page_of(&self, table: &Table) -> anyhow::Result<Page> {
        match &self.cursor {
            Some(cursor) if !cursor.is_of(table) => {
                Err(WrongUsage("--cursor is of another list").into())
            }
            _ => Ok(self.page()),
        }
    }

    /// The part of the list.
    pub fn page(&self) -> Page {
        Page {
            limit: self.limit,
            after: self.cursor.clone(),
        }
    }
}

/// The flag of commands that can print a document for programs.
#[derive(Debug, Clone, Copy, Args)]
pub struct JsonArg {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Reads the most rows of a page.
pub fn read_limit(text: &str) -> Result<NonZeroU32, &'static str> {
    let limit = text.parse().ok();
    limit
        .filter(|limit: &NonZeroU32| limit.get() <= 500)
        .ok_or("give a number from 1 to 500")
}

/// Reads an order of events.
pub fn read_order_of_events(text: &str) -> Result<Sort, String> {
    read_order(text, &Sort::OF_EVENTS)
}

/// Reads an order of users.
pub fn read_order_of_users(text: &str) -> Result<Sort, String> {
    read_order(text, &Sort::OF_USERS)
}

fn read_order(text: &str, columns: &[&'static str]) -> Result<Sort, String> {
    let names = || {
        format!(
            "an index has these orders: {}",
            Sort::names(columns).join(", ")
        )
    };
    Sort::named(text, columns).ok_or_else(names)
}

/// Reads the ID of an event.
pub fn read_event_id(text: &str) -> Result<EventId, &'static str> {
    EventId::new(text).ok_or("an event's ID is 1 to 255 of A-Z, a-z, 0-9, _ and -")
}

/// Reads a Clerk ID.
pub fn read_clerk_id(text: &str) -> Result<ClerkId, &'static str> {
    ClerkId::new(text).ok_or("a Clerk ID has 1 to 255 characters")
}

/// Reads a date, a time, or an age.
pub fn read_time(text: &str) -> Result<Timestamp, &'static str> {
    store::read_time(text, now())
}

/// Longest wait that an option allows.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the longest time to wait: a number and its unit, or a number of seconds.
pub fn read_wait(text: &str) -> Result<Duration, &'static str> {
    let seconds = || text.parse().ok().map(Duration::from_secs);
    let wait = format::read_duration(text).or_else(seconds);
    wait.filter(|wait| !wait.is_zero() && *wait <= WAIT_MAX)
        .ok_or("give a duration from 1s to 24h, such as 90s, 15m or 2h, or a number of seconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_duration_or_a_number_of_seconds() {
        for (text, seconds) in [("600", 600), ("10m", 600), ("1", 1), ("1d", 86_400)] {
            assert_eq!(read_wait(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["0", "0s", "86401", "25h", "-1", "", "soon"] {
            assert!(read_wait(text).is_err(), "{text}");
        }
    }
}
