//! Logs: on stderr, for people or for programs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Nothing: pretty on a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// A filter as tracing-subscriber defines it. Nothing: what the command finds fit.
    pub filter: Option<String>,
}

/// What libraries log is said by ours, with what to do; lapin also reports every connection that we close ourselves as an
/// error. A filter that names one of them wins.
const QUIET: &str = "lapin=off,actix_server=warn,actix_http=warn,sqlx=warn";

/// Sends logs to stderr from now on. To be called once. Fails when the filter cannot be read.
pub fn start(options: &Options, default_filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", options.filter.as_deref().unwrap_or(default_filter)))
        .map_err(|_| "RUST_LOG cannot be read; give a filter such as info or clerk_sync=debug,warn".to_string())?;
    let terminal = std::io::stderr().is_terminal();
    let format = options.format.unwrap_or(if terminal { LogFormat::Pretty } else { LogFormat::Json });
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Pretty => registry.with(layer.with_ansi(terminal)).init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
    Ok(())
}
