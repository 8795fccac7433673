//! `reconcile`: finds where the table has drifted from Clerk's list of users, and fixes it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;

use super::backfill::{Patience, Progress, of_failures, open, stop_on_signal};
use super::exit::success_if;
use super::{control, output, startup, terminal};
use crate::backfill::{self, Drift, DriftedUsers, ReconcileOptions, Stopped};
use crate::config::Config;
use crate::escape::visible;
use crate::format;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct ReconcileArgs {
    /// Fix the drift: update rows, and mark users as deleted who are not at Clerk any more
    #[arg(long)]
    fix: bool,
    /// Most users to be marked as deleted [default: one in twenty users, 10 in a small table, never all]
    #[arg(long, value_name = "USERS", requires = "fix")]
    max_deletes: Option<u64>,
    #[command(flatten)]
    patience: Patience,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Exit status 1 if a drift is left, as `check` has if something fails.
pub async fn run(args: &ReconcileArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let api = open(config, &args.patience)?;
    let store = Store::open(&config.store)?;
    startup::of_command("reconcile", &store);
    let stop = stop_on_signal()?;
    store.schema_version().await?.check()?;
    if args.fix {
        control::refuse_if_paused(&store, "reconcile --fix").await?;
    }
    let mut progress = Progress::start(&api).await;
    let notify = |drift: &Drift| {
        progress.at(drift.seen, || {
            format!("{} read", format::count(drift.seen, "user"))
        });
    };
    let options = ReconcileOptions {
        fix: args.fix,
        deletes_max: args.max_deletes,
    };
    let (drift, end) = Box::pin(backfill::reconcile(
        Arc::clone(&api),
        &store,
        options,
        &stop,
        notify,
    ))
    .await;
    progress.end();
    store.close().await;
    report(&drift, end.is_ok(), args, started.elapsed())?;
    let (left, verdict) = verdict(&drift, end, args.fix)?;
    if !args.json {
        output::print(&format!("{}\n", visible(&verdict)))?;
    }
    Ok(success_if(left == 0))
}

/// How many users still drift, and the last line: what is so, or as an error what is not known.
fn verdict(drift: &Drift, end: Result<(), Stopped>, fix: bool) -> anyhow::Result<(u64, String)> {
    match end {
        Err(Stopped::Requested) => {
            bail!("stopped: no user is marked as deleted before the end; run it again")
        }
        Err(stopped) => {
            bail!("{stopped}. No user is marked as deleted after an incomplete run; run it again")
        }
        Ok(()) => {}
    }
    let fixed = match drift.fixed {
        0 => String::new(),
        rows => format!("Fixed {}. ", format::count(rows, "row")),
    };
    if let (true, Some(why)) = (fix, &drift.refused) {
        bail!("{fixed}{why}");
    }
    if drift.failed > 0 {
        bail!(
            "{fixed}{} could not be read or written, so nothing is known of {}; see above",
            format::count(drift.failed, "user"),
            if drift.failed == 1 {
                "this one"
            } else {
                "them"
            }
        );
    }
    let found = drift.found();
    let users = format::count(found, "user");
    let have = if found == 1 { "has" } else { "have" };
    // Fixed rows have no drift left; a tombstone whose user is at Clerk cannot be fixed.
    let left = if fix { drift.deleted_here.count } else { found };
    let verdict = match (found, &drift.refused) {
        (0, _) => "Nothing has drifted.".into(),
        _ if fix && left == 0 => format!("{fixed}No drift is left."),
        _ if fix => format!(
            "{fixed}{} cannot be fixed: see above.",
            format::count(left, "user")
        ),
        (_, Some(why)) => format!("{users} {have} drifted. {why}."),
        (_, None) if drift.deleted_here.count == found => {
            format!("{users} {have} drifted, which --fix does not change: see above.")
        }
        (_, None) => format!("{users} {have} drifted: `clerk-sync reconcile --fix` fixes it."),
    };
    Ok((left, verdict))
}

#[derive(Serialize)]
struct Report<'a> {
    /// Whether the list was read to its end, and everything compared.
    complete: bool,
    fix: bool,
    #[serde(flatten)]
    drift: &'a Drift,
    elapsed_ms: u64,
}

fn report(
    drift: &Drift,
    complete: bool,
    args: &ReconcileArgs,
    elapsed: Duration,
) -> anyhow::Result<()> {
    if args.json {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).context("it took too long")?;
        return output::print_json(&Report {
            complete,
            fix: args.fix,
            drift,
            elapsed_ms,
        });
    }
    let mut fields = vec![("users at Clerk", format::number(drift.seen))];
    if complete {
        fields.push(("users in the table", format::number(drift.live)));
    }
    fields.push(("elapsed", format::duration(elapsed)));
    let mut text = output::of_fields(&fields);
    text += &of_kind("missing in the table", &drift.missing);
    text += &of_kind("stale in the table", &drift.stale);
    text += &of_kind("different in the table", &drift.different);
    let deleted = if drift.unconfirmed {
        "not on Clerk's list (not confirmed)"
    } else {
        "deleted at Clerk"
    };
    text += &of_kind(deleted, &drift.deleted_at_clerk);
    text += &of_kind(
        "deleted in the table, but still at Clerk",
        &drift.deleted_here,
    );
    if drift.deleted_here.count > 0 {
        let advice = "A delete is never taken back. If one is wrong (Clerk's examples use the same IDs): `clerk-sync users erase ID --forget`, then `clerk-sync backfill`.";
        text += &format!("  {}\n", terminal::wrapped(advice, 2, terminal::width()));
    }
    text += &of_failures(&drift.failures);
    output::print(&text)
}

fn of_kind(what: &str, kind: &DriftedUsers) -> String {
    if kind.count == 0 {
        return String::new();
    }
    let mut text = format!("{} {what}:\n", format::number(kind.count));
    kind.ids
        .iter()
        .for_each(|id| text += &format!("  {}\n", visible(id)));
    match kind.count.saturating_sub(kind.ids.len() as u64) {
        0 => {}
        more => text += &format!("  and {} more\n", format::number(more)),
    }
    text
}
