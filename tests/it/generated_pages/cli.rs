//! docs/cli.md: every command with its arguments and examples, from clap's definition.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};
use clerk_sync::commands::Cli;

use super::{compare, table};

#[test]
fn the_page_of_commands_is_their_help() {
    let mut root = Cli::command();
    root.build();
    let (mut index, mut text) = (Vec::new(), String::new());
    for command in root.get_subcommands().filter(|command| is_ours(command)) {
        add(command, command.get_name(), &mut index, &mut text);
    }
    let index = table(["command", "does"], index);
    compare(
        "docs/cli.md",
        &[("list of commands", &index), ("commands", &text)],
    );
}

/// Adds a command that does something, or those below it.
fn add(command: &Command, name: &str, index: &mut Vec<[String; 2]>, text: &mut String) {
    let below = command.get_subcommands();
    let mut below = below.filter(|command| is_ours(command)).peekable();
    if below.peek().is_some() {
        below.for_each(|command| {
            let name = format!("{name} {}", command.get_name());
            add(command, &name, index, text);
        });
        return;
    }
    let about = command.get_about().unwrap_or_default().to_string();
    let anchor = name.replace(' ', "-");
    index.push([format!("[`{name}`](#{anchor})"), about.clone()]);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    write!(text, "## {name}\n\n{}.\n\n", about.trim_end_matches('.')).unwrap();
    // The first paragraph of the long text is the short one.
    let long = command.get_long_about().map(ToString::to_string);
    if let Some((_, more)) = long.as_deref().and_then(|long| long.split_once("\n\n")) {
        write!(text, "{more}\n\n").unwrap();
    }
    write!(text, "```text\n{usage}\n```\n\n").unwrap();
    for alias in command.get_visible_aliases() {
        let name = name.rsplit_once(' ').map_or("", |(group, _)| group);
        write!(text, "`{name} {alias}` is the same.\n\n").unwrap();
    }
    let own = command.get_arguments().filter(|arg| is_own(arg));
    let rows: Vec<_> = own.map(row).collect();
    if !rows.is_empty() {
        writeln!(text, "{}", table(["argument", "meaning", "default"], rows)).unwrap();
    }
    // That of the settings lists those without a flag.
    let after = command.get_after_long_help().map(ToString::to_string);
    let after = after.map(|after| match after.split_once("Examples:") {
        Some((_, examples)) => format!("Examples:{examples}"),
        None => after,
    });
    for part in after.iter().flat_map(|after| after.split("\n\n")) {
        match part.strip_prefix("Examples:\n") {
            Some(examples) => {
                let lines = examples.lines().map(|line| format!("{}\n", line.trim()));
                write!(text, "```sh\n{}```\n\n", lines.collect::<String>()).unwrap();
            }
            None => write!(
                text,
                "{}\n\n",
                part.replacen("Exit status:", "**Exit status:**", 1)
            )
            .unwrap(),
        }
    }
}

/// `help` prints what the page has.
fn is_ours(command: &Command) -> bool {
    command.get_name() != "help"
}

/// Settings are on a page of their own, and every command has `--help`.
fn is_own(argument: &Arg) -> bool {
    argument.get_help_heading() != Some("Settings")
        && !["help", "version"].contains(&argument.get_id().as_str())
}

fn row(argument: &Arg) -> [String; 3] {
    let mut help = argument.get_help().unwrap_or_default().to_string();
    assert!(!help.is_empty(), "{argument} has no help");
    let mut defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.display()))
        .collect();
    // What no value stands for is in the text.
    if let Some((text, default)) = help.split_once(" [default: ") {
        defaults.push(default.trim_end_matches(']').into());
        help = text.into();
    }
    if !argument.get_action().takes_values() {
        defaults.clear();
    }
    let values = argument.get_possible_values();
    let values: Vec<_> = values
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        write!(help, ". One of {}", values.join(", ")).unwrap();
    }
    [format!("`{argument}`"), help, defaults.join(", ")]
}
