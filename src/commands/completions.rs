//! `completions`: a script with which a shell completes our commands and flags.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use super::output;

#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell that reads them
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "clerk-sync", &mut script);
    let script = String::from_utf8_lossy(&script);
    // For a program with a hyphen in its name clap_complete 4.6 asks bash for one name and answers
    // to another (clap-rs/clap#6421), so that nothing is completed after a subcommand. No other
    // shell's script has this text.
    output::print(&script.replace("clerk__subcmd__sync__subcmd__", "clerk__sync__subcmd__"))?;
    Ok(ExitCode::SUCCESS)
}
