//! The progress of a long command, on standard error if that is a terminal.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// A bar if the total is known, else a count. Hidden for a single one. A message stands behind the
/// number.
pub fn bar(total: Option<u64>) -> ProgressBar {
    if total.is_some_and(|total| total < 2) || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:30} {human_pos} of {human_len}{msg}, {rate}, {eta} left",
        ),
        None => (
            ProgressBar::no_length(),
            "{spinner} {human_pos}{msg}, {rate}",
        ),
    };
    let style = ProgressStyle::with_template(template).expect("the templates are well formed");
    let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
        // Writing to memory does not fail.
        _ = write!(text, "{:.0} per second", state.per_sec());
    });
    let bar = bar.with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
