//! `reconcile`: compares the tables with Clerk's lists, and fixes the drift.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;

use super::clerk_lists::{
    ListArgs, Progress, SKIPPED, of_counts, of_failures, shows_bar, stop_on_signal,
};
use super::exit::success_if;
use super::{control, output, startup, terminal};
use crate::backfill::{
    self, Drift, DriftedObjects, ReconcileOptions, Reconciled, Run, State, Stopped,
};
use crate::clerk::Table;
use crate::config::Config;
use crate::escape::visible;
use crate::format;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct ReconcileArgs {
    #[command(flatten)]
    lists: ListArgs,
    /// Fix the drift: update rows, and mark those as deleted that are not at Clerk any more
    #[arg(long)]
    fix: bool,
    /// Most rows of a table to be marked as deleted [default: one in twenty, 10 in a small table, never all]
    #[arg(long, value_name = "ROWS", requires = "fix")]
    max_deletes: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Exit status 1 if a drift is left, as `check` has if something fails.
pub async fn run(args: &ReconcileArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let tables = args.lists.tables(&config.synced)?;
    let api = args.lists.open(config)?;
    let store = Store::open(&config.store)?;
    startup::of_command("reconcile", &store);
    let stop = stop_on_signal()?;
    store.schema_version().await?.check()?;
    if args.fix {
        control::refuse_if_paused(&store, "reconcile --fix").await?;
    }
    let mut progress = Progress::start();
    let run = Run {
        api,
        store: &store,
        tables,
        stop: &stop,
        with_totals: shows_bar(),
    };
    let notify = |notice: backfill::Notice<'_>| {
        progress.show(notice, |table, tally| {
            format!("{} read", format::count(tally.seen, table.singular))
        });
    };
    let options = ReconcileOptions {
        fix: args.fix,
        deletes_max: args.max_deletes,
    };
    let found = Box::pin(backfill::reconcile(run, options, notify)).await;
    progress.end();
    store.close().await;
    report(&found, args, started.elapsed())?;
    let (left, verdict) = verdict(found, args.fix)?;
    if !args.json {
        output::print(&format!("{}\n", visible(&verdict)))?;
    }
    Ok(success_if(left == 0))
}

/// How many objects still drift, and the last line: what is so, or as an error what is not known.
fn verdict(found: Reconciled, fix: bool) -> anyhow::Result<(u64, String)> {
    let Reconciled { tables, end } = found;
    let plural = tables.last().map_or("", |(table, ..)| table.plural);
    match end {
        Err(Stopped::Requested) => {
            bail!(
                "stopped: none of the {plural} are marked as deleted before the end; run it again"
            )
        }
        Err(stopped) => {
            bail!(
                "{stopped}. None of the {plural} are marked as deleted after an incomplete run; run it again"
            )
        }
        Ok(()) => {}
    }
    let sum = |count: fn(&Drift) -> u64| tables.iter().map(|(.., drift)| count(drift)).sum();
    let (found, deleted_here): (u64, u64) =
        (sum(Drift::found), sum(|drift| drift.deleted_here.count));
    let fixed = match sum(|drift| drift.fixed) {
        0 => String::new(),
        rows => format!("Fixed {}. ", format::count(rows, "row")),
    };
    let refused = tables
        .iter()
        .filter_map(|(.., drift)| drift.refused.clone());
    let refused = Some(refused.collect::<Vec<_>>().join(". ")).filter(|why| !why.is_empty());
    if let (true, Some(why)) = (fix, &refused) {
        bail!("{fixed}{why}");
    }
    let failed = sum(|drift| drift.failed);
    if failed > 0 {
        bail!(
            "{fixed}{} could not be read, written or confirmed, so nothing is known of {}; see above",
            list(&tables, |drift| drift.failed),
            if failed == 1 { "this one" } else { "them" }
        );
    }
    let objects = list(&tables, Drift::found);
    let have = if found == 1 { "has" } else { "have" };
    // Fixed rows have no drift left; a tombstone whose object is at Clerk cannot be fixed.
    let left = if fix { deleted_here } else { found };
    let verdict = match (found, &refused) {
        (0, _) => "Nothing has drifted.".into(),
        _ if fix && left == 0 => format!("{fixed}No drift is left."),
        _ if fix => format!(
            "{fixed}{} cannot be fixed: see above.",
            list(&tables, |drift| drift.deleted_here.count)
        ),
        (_, Some(why)) => format!("{objects} {have} drifted. {why}."),
        (_, None) if deleted_here == found => {
            format!("{objects} {have} drifted, which --fix does not change: see above.")
        }
        (_, None) => format!("{objects} {have} drifted: `clerk-sync reconcile --fix` fixes it."),
    };
    Ok((left, verdict))
}

/// The objects of each table that are counted, as in "2 users and 1 organization".
fn list(tables: &[(&Table, State, Drift)], count: impl Fn(&Drift) -> u64) -> String {
    let counts = tables
        .iter()
        .map(|(table, _, drift)| (*table, count(drift)));
    of_counts(counts.map(|(table, count)| (count, table.singular)))
}

#[derive(Serialize)]
struct Report<'a> {
    /// Whether every list was read to its end, and everything compared.
    complete: bool,
    fix: bool,
    /// Those that the run came to.
    tables: Vec<TableReport<'a>>,
    elapsed_ms: u64,
}

#[derive(Serialize)]
struct TableReport<'a> {
    /// The plural name.
    table: &'static str,
    state: State,
    #[serde(flatten)]
    drift: &'a Drift,
}

fn report(found: &Reconciled, args: &ReconcileArgs, elapsed: Duration) -> anyhow::Result<()> {
    if args.json {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).context("it took too long")?;
        let tables = found.tables.iter();
        let tables = tables.map(|(table, state, drift)| TableReport {
            table: table.plural,
            state: *state,
            drift,
        });
        return output::print_json(&Report {
            complete: found.end.is_ok(),
            fix: args.fix,
            tables: tables.collect(),
            elapsed_ms,
        });
    }
    let line = |(table, state, drift): &(&'static Table, State, Drift)| {
        let counts = match state {
            State::Skipped => SKIPPED.into(),
            State::Incomplete => format!("{} at Clerk, incomplete", format::number(drift.seen)),
            State::Complete => format!(
                "{} at Clerk, {} in the table",
                format::number(drift.seen),
                format::number(drift.live)
            ),
        };
        (table.plural, counts)
    };
    let mut fields: Vec<_> = found.tables.iter().map(line).collect();
    fields.push(("elapsed", format::duration(elapsed)));
    let mut text = output::of_fields(&fields);
    text.extend(
        found
            .tables
            .iter()
            .map(|(table, _, drift)| of_table(table, drift)),
    );
    output::print(&text)
}

/// The kinds of drift of a table.
fn of_table(table: &Table, drift: &Drift) -> String {
    let deleted = if drift.unconfirmed {
        "not on Clerk's list (not confirmed)"
    } else {
        "deleted at Clerk"
    };
    let kinds = [
        ("missing in the table", &drift.missing),
        ("stale in the table", &drift.stale),
        ("different in the table", &drift.different),
        (deleted, &drift.deleted_at_clerk),
        (
            "deleted in the table, but still at Clerk",
            &drift.deleted_here,
        ),
    ];
    let mut text = String::new();
    for (what, kind) in kinds {
        text += &of_kind(table, what, kind);
    }
    if drift.deleted_here.count > 0 {
        let advice = "A delete is never taken back. If one is wrong (Clerk's examples use the same IDs): `clerk-sync users erase ID --forget`, then `clerk-sync backfill`.";
        text += &format!("  {}\n", terminal::wrapped(advice, 2, terminal::width()));
    }
    text + &of_failures(&drift.failures)
}

fn of_kind(table: &Table, what: &str, kind: &DriftedObjects) -> String {
    if kind.count == 0 {
        return String::new();
    }
    let mut text = format!("{} {what}:\n", format::count(kind.count, table.singular));
    kind.ids
        .iter()
        .for_each(|id| text += &format!("  {}\n", visible(id)));
    match kind.count.saturating_sub(kind.ids.len() as u64) {
        0 => {}
        more => text += &format!("  and {} more\n", format::number(more)),
    }
    text
}
