//! The settings as flags of the command line. Each one with a value is also a variable of the
//! environment.

use std::collections::HashMap;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use secrecy::SecretString;

use super::settings::{Fallback, Setting};

/// The flag that has no variable.
const EMBEDDED: &str = "embedded";

/// The settings that have a flag, each with its name.
static FLAGS: LazyLock<Vec<(String, &'static Setting)>> = LazyLock::new(|| {
    let settings = Setting::all().filter(|setting| setting.has_flag());
    settings.map(|setting| (setting.flag(), setting)).collect()
});

/// The settings that the command line gives.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// By the name of the variable.
    pub(super) values: HashMap<String, SecretString>,
    pub(super) embedded: bool,
}

impl Flags {
    /// The same as if `--embedded` were given.
    #[must_use]
    pub fn with_embedded(self) -> Self {
        Self {
            embedded: true,
            ..self
        }
    }
}

fn arguments() -> impl Iterator<Item = Arg> {
    let of_setting = |(flag, setting): &'static (String, &Setting)| {
        let default = match setting.default {
            Fallback::Value(default) | Fallback::Words(default) => format!(" [default: {default}]"),
            Fallback::Absent => String::new(),
        };
        let Setting { name, meaning, .. } = setting;
        Arg::new(*name)
            .long(flag.as_str())
            .value_name(setting.value_name)
            // Backticks are for the page.
            .help(format!("{meaning} [env: {name}]{default}").replace('`', ""))
    };
    let embedded = Arg::new(EMBEDDED)
        .long(EMBEDDED)
        .action(ArgAction::SetTrue)
        .help("Use the embedded files of DATA_DIR, as `dev` does, and ignore DATABASE_URL and AMQP_URL");
    FLAGS.iter().map(of_setting).chain([embedded])
}

/// The flags of every command. Their help is hidden in all but one.
fn of_every_command(is_hidden: bool) -> impl Iterator<Item = Arg> {
    arguments().map(move |flag| flag.global(true).help_heading("Settings").hide(is_hidden))
}

/// The same flags, for the command whose help lists them.
#[derive(Debug)]
pub struct ListedFlags;

impl Args for ListedFlags {
    fn augment_args(command: Command) -> Command {
        let mut without_flag = String::from("Variables without a flag:\n");
        for Setting { name, meaning, .. } in Setting::all().filter(|setting| !setting.has_flag()) {
            without_flag += &format!("  {name}\n          {}\n", meaning.replace('`', ""));
        }
        command
            .args(of_every_command(false))
            .after_long_help(format!("{without_flag}\n{WHERE}"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// What holds for all of them.
const WHERE: &str = "A flag wins over a variable, and a variable over the file .env of the working directory. A secret \
     can be in a file that NAME_FILE names. More is in docs/configuration.md.

Examples:
  clerk-sync settings
  clerk-sync users list --data-dir ./other
  PORT=3001 clerk-sync serve";

impl FromArgMatches for ListedFlags {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self)
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(of_every_command(true))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |(_, setting): &(String, &Setting)| {
            let value = matches.get_one::<String>(setting.name)?;
            Some((setting.name.into(), value.as_str().into()))
        };
        Ok(Self {
            values: FLAGS.iter().filter_map(value).collect(),
            embedded: matches.get_flag(EMBEDDED),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
