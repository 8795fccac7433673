//! The settings as flags of the command line. Each one with a value is also a variable of the
//! environment.

use std::collections::HashMap;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use secrecy::SecretString;

use super::settings::{Fallback, Setting};

/// The flag that has no variable.
const EMBEDDED: &str = "embedded";

/// The flags that `-h` lists; `--help` lists all of them.
const IN_SHORT_HELP: [&str; 6] = [
    "DATABASE_URL",
    "AMQP_URL",
    "DATA_DIR",
    EMBEDDED,
    "HOST",
    "PORT",
];

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

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(arguments().map(|flag| {
            let is_short = IN_SHORT_HELP.contains(&flag.get_id().as_str());
            flag.global(true)
                .help_heading("Settings")
                .hide_short_help(!is_short)
        }))
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
