//! Logs on stderr, for people or for programs, and traces over OpenTelemetry. No body, e-mail
//! address or secret is logged, at any level.

mod lines;
pub mod traces;

use std::io::{IsTerminal, Write};
use std::panic::PanicHookInfo;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::tasks;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// What to log and where to send traces. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    /// `None`: pretty on a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// Whether lines on a terminal are colored.
    pub color: bool,
    /// A filter of tracing-subscriber. `None`: the default of the command.
    pub filter: Option<String>,
    /// `None`: no traces are exported.
    pub traces: Option<traces::Options>,
}

/// clerk-sync logs the errors of these libraries itself, with what to do; lapin also logs every
/// connection that we close as an error. A filter that names one of them wins, up to
/// `LIBRARIES_MAX`.
const QUIET: &str =
    "lapin=off,actix_server=warn,actix_http=warn,rustls_platform_verifier=off,sqlx=warn";

/// Above this level libraries log details for their authors: lapin 4.12 the name of the broker's
/// user, a later version perhaps a header or a body. No filter turns that on.
const LIBRARIES_MAX: Level = Level::INFO;

/// Starts logging to stderr. Call it once.
///
/// # Errors
///
/// The filter cannot be read.
pub fn start(options: &Options, default_filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!(
        "{QUIET},{}",
        options.filter.as_deref().unwrap_or(default_filter)
    ))
    .map_err(|_| {
        "RUST_LOG cannot be read; give a filter such as info or clerk_sync=debug,warn".to_string()
    })?;
    let terminal = std::io::stderr().is_terminal();
    let format = options.format.unwrap_or(if terminal {
        LogFormat::Pretty
    } else {
        LogFormat::Json
    });
    let has_color = options.color && terminal && format == LogFormat::Pretty;
    let layer = fmt::layer()
        .with_writer(move || lines::Stderr { has_color })
        .with_target(false);
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(may_be_logged));
    match format {
        LogFormat::Pretty => registry.with(layer.with_ansi(has_color)).init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
    Ok(())
}

/// Reports panics in the log, or on stderr while there is no log. Call it before anything else.
pub fn watch_panics() {
    std::panic::set_hook(Box::new(report_panic));
}

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    // sqlx quotes a line of ~/.pgpass, or a parameter of a URL, that it cannot read: it may be part
    // of a password.
    let quotes = metadata.target().starts_with("sqlx_postgres::options")
        && ["line", "value"]
            .iter()
            .any(|field| metadata.fields().field(field).is_some());
    metadata.target().starts_with("clerk_sync") || *metadata.level() <= LIBRARIES_MAX && !quotes
}

/// Reports the place of a panic, not its message, which may hold a value.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let current = std::thread::current();
    let thread = current.name();
    // Logging has not started, or it is turned off, as in `check`.
    if !tracing::enabled!(Level::ERROR) {
        let line =
            format!("clerk-sync: panicked at {place}, which is a bug; report it with this line\n");
        // A closed stderr must not cause a second panic.
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
    tracing::error!(
        place,
        thread,
        "clerk-sync panicked, which is a bug; report it with this line"
    );
    tasks::handle_panic_on(thread);
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Returns what `log` logs, at every level.
    fn log_of(log: impl FnOnce()) -> String {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let layer = fmt::layer()
            .with_writer(Written(Arc::clone(&written)))
            .with_ansi(false);
        let registry = tracing_subscriber::registry()
            .with(EnvFilter::new("trace"))
            .with(filter_fn(may_be_logged));
        tracing::subscriber::with_default(registry.with(layer), log);
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[derive(Clone)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> fmt::MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn no_filter_makes_a_library_log_values() {
        let log = log_of(|| {
            tracing::trace!(target: "actix_http::h1", "a header");
            tracing::debug!(target: "sqlx::query", "a statement");
            tracing::info!(target: "sqlx::postgres", "a notice");
            tracing::warn!(target: "sqlx_postgres::options::pgpass", line = "a password", "malformed");
            tracing::warn!(target: "sqlx_postgres::options::parse", value = "a password", "unrecognized");
            tracing::warn!(target: "sqlx_postgres::options::pgpass", path = "/.pgpass", "permissions");
            tracing::trace!("ours");
        });
        assert!(
            log.contains("permissions") && !log.contains("a password"),
            "{log}"
        );
        assert!(log.contains("a notice") && log.contains("ours"), "{log}");
        assert!(
            !log.contains("a header") && !log.contains("a statement"),
            "{log}"
        );
    }

    /// Set by the test below for the process that it starts.
    const PANICS: &str = "CLERK_SYNC_TEST_PANICS";

    #[test]
    fn a_process_that_panics_with_the_log_turned_off() {
        if std::env::var_os(PANICS).is_some() {
            watch_panics();
            start(
                &Options {
                    format: None,
                    color: false,
                    filter: None,
                    traces: None,
                },
                "off",
            )
            .unwrap();
            panic!("ada@example.com");
        }
    }

    /// In a process of its own: the log of a process is set up once.
    #[test]
    fn a_panic_is_printed_though_the_log_is_turned_off() {
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        program.args([
            "--exact",
            "telemetry::tests::a_process_that_panics_with_the_log_turned_off",
            "--nocapture",
        ]);
        let output = program.env(PANICS, "1").output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(
            printed.contains("panicked at src/telemetry.rs:") && !printed.contains("ada@"),
            "{printed}"
        );
    }

    #[test]
    fn a_panic_is_logged_without_its_message() {
        let log = log_of(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(report_panic));
            assert!(std::panic::catch_unwind(|| panic!("ada@example.com")).is_err());
            std::panic::set_hook(before);
        });
        assert!(
            log.contains("src/telemetry.rs:") && !log.contains("ada@"),
            "{log}"
        );
    }
}
