//! The preview of a replay, for people.

use crate::escape::visible;
use crate::format;
use crate::replay::ReplayReport;

/// How many events would be replayed, and with which outcome.
pub fn of_preview(done: &ReplayReport) -> String {
    let would = done.would.clone().unwrap_or_default();
    let mut text = format!(
        "{} would be published again.\n",
        format::count(done.replayed, "failed event")
    );
    let mut say = |count: u64, what: &str| {
        if count > 0 {
            text += &format!("  {count:>6}  {what}\n");
        }
    };
    say(would.apply, "would be applied now");
    say(would.be_stale, "would be stale: a newer version is there");
    for (code, count) in &would.fail {
        say(*count, &format!("would fail again: {}", visible(code)));
    }
    text
}
