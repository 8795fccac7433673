//! `settings`: every setting, with its flag and its default.

use std::process::ExitCode;

use clap::Command;

use super::output;

/// Prints the help of this command, which lists them.
pub fn run(command: &mut Command) -> anyhow::Result<ExitCode> {
    command.build();
    let own = command.find_subcommand_mut("settings");
    let help = own.map(|command| command.render_long_help().to_string());
    output::print(&help.unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}
