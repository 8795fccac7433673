//! `completions`: what makes a shell complete our commands and flags.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, table};

#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell that is to read them
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "clerk-sync", &mut script);
    table::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
