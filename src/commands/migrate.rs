//! `migrate`: brings the schema up to date, or checks whether it is.

use std::process::ExitCode;

use super::{output, startup};
use crate::config::Config;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// Only check whether the schema is up to date; exit status 1 if it is not
    #[arg(long)]
    check: bool,
}

pub async fn run(args: &MigrateArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store)?;
    startup::of_command("migrate", &store);
    let before = store.schema_version().await?;
    if args.check {
        before.check()?;
    } else {
        store.migrate().await?;
    }
    let now = store.schema_version().await?;
    output::note(&match before.found {
        Some(found) if found == now.wanted => {
            format!("The schema is up to date (version {found}).")
        }
        Some(found) => format!(
            "The schema was brought from version {found} to {}.",
            now.wanted
        ),
        None => format!("The schema was created (version {}).", now.wanted),
    });
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
