//! `events discard`: discards failed events that are not to be replayed.

use std::process::ExitCode;

use super::selection::{self, SelectionArgs};
use crate::commands::actor::actor;
use crate::commands::{output, progress};
use crate::format;
use crate::replay;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct DiscardArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Only print how many would be discarded
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub async fn run(args: DiscardArgs, store: &Store, source: &str) -> anyhow::Result<ExitCode> {
    let selection = args.selection.of(store, source, "discarded").await?;
    let bar = progress::bar(selection::count(&selection, store).await?);
    let progress = |count| bar.set_position(count);
    let done = if args.dry_run {
        replay::preview_discard(store, &selection).await
    } else {
        replay::discard(store, &selection, &actor(), progress).await
    };
    bar.finish_and_clear();
    let done = done?;
    output::print_one(&done, args.json, || match (done.dry_run, done.discarded) {
        (true, count) => format!(
            "{} would be discarded.\n",
            format::count(count, "failed event")
        ),
        (false, 0) => format!("There are no failed events to discard{source}.\n"),
        (false, count) => format!("Discarded {}.\n", format::count(count, "event")),
    })
}
