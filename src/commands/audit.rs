//! `audit`: who replayed, discarded, erased or paused.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;

use super::arguments::{PageArgs, read_time};
use super::output::{self, Cell, Column, Table};
use super::startup;
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::config::Config;
use crate::store::{Act, Action, AuditFilter, Store};

#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// What was done
    #[arg(long, value_parser = Action::ALL.map(Action::as_str))]
    action: Option<String>,
    /// About this event alone; a bulk action names its filter. `events show` has both
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    event: Option<String>,
    /// About this user
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// At this time or later: 2026-11-23, 2026-11-23T16:00:00Z, or an age such as 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    until: Option<Timestamp>,
    #[command(flatten)]
    page: PageArgs,
}

pub async fn run(args: AuditArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    let filter = AuditFilter {
        action: args.action.as_deref().and_then(Action::named),
        event_id: args.event,
        clerk_id: args.user,
        since: args.since,
        until: args.until,
    };
    let listing = store.audit(&filter, &args.page.page()).await;
    store.close().await;
    let none = format!("Nothing is recorded{}.", startup::source(config));
    output::print_listing(&listing?, args.page.json, &none, |rows| {
        of_acts(rows, now(), args.page.wide)
    })
}

fn of_acts(acts: &[Act], now: Timestamp, wide: bool) -> Table {
    const COLUMNS: [Column; 6] = [
        Column::new("TIME").first_out(1),
        Column::new("AGE").last_out(1),
        Column::new("ACTION"),
        Column::new("BY"),
        Column::new("ADDRESS").at_least(14),
        Column::new("WHAT").at_least(20),
    ];
    let rows = acts.iter().map(|act| {
        let about = act.event_id.as_ref().or(act.clerk_id.as_ref()).cloned();
        let what = [about, Some(act.details())].into_iter().flatten();
        let what: Vec<_> = what.filter(|what| !what.is_empty()).collect();
        vec![
            Cell::new(output::local(act.at)),
            Cell::new(output::age(act.at, now)),
            Cell::new(act.action.as_str()),
            Cell::new(act.actor.words()),
            Cell::new(act.place()),
            Cell::new(what.join(": ")),
        ]
    });
    output::of_columns(&COLUMNS, rows, wide)
}
