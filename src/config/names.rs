//! The names of all variables that clerk-sync reads: a line of `.env` is about one of them, or another program's.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::{OLDER_SIGNING_SECRET, Settings};

/// Those that have no flag. OpenTelemetry's begin with `OTEL_`.
const WITHOUT_FLAG: [&str; 4] = [OLDER_SIGNING_SECRET, "RUST_LOG", "NO_COLOR", "TERM"];

static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let command = <Settings as clap::Args>::augment_args(clap::Command::new("names"));
    let flags = command
        .get_arguments()
        .filter(|flag| flag.get_action().takes_values())
        .map(|flag| flag.get_id().as_str().to_uppercase());
    flags.chain(WITHOUT_FLAG.map(String::from)).collect()
});

/// Whether clerk-sync reads a variable of this name, or a file that it names.
pub fn is_ours(name: &str) -> bool {
    let variable = name.strip_suffix("_FILE").unwrap_or(name);
    [name, variable].iter().any(|name| NAMES.contains(*name)) || name.starts_with("OTEL_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_files_and_the_rest_are_ours_and_nothing_else() {
        for name in [
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "PORT",
            "CLERK_WEBHOOK_SECRET",
            "OTEL_SERVICE_NAME",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "",
            "_FILE",
            "NEXT_PUBLIC_NAME",
            "CLERK_PUBLISHABLE_KEY",
            "database_url",
            "PGPASSWORD",
            "HOME",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
