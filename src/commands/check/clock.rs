//! This machine's clock, compared with others. A delivery whose time is more than 5 minutes from
//! ours is refused, so a clock that is wrong by more refuses everything.

use std::time::Duration;

use super::finding::{Finding, fail, note, ok};
use crate::clerk::TOLERANCE_MS;
use crate::format;

/// From here on it is worth a note, in milliseconds: NTP keeps a clock within a fraction of a
/// second.
const NOTABLE_MS: i64 = 30_000;

const SET_IT: &str =
    "set this machine's clock, and keep it right with NTP (`timedatectl set-ntp true`)";

/// Two clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub theirs_ms: i64,
    pub ours_ms: i64,
}

impl Reading {
    /// How far ours is ahead, in milliseconds.
    fn ahead(self) -> i64 {
        self.ours_ms - self.theirs_ms
    }
}

/// Clerk's clock decides, since Svix signs with a time like it; the database's is the next best.
pub fn judge(clerk: Option<Reading>, database: Option<Reading>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match (clerk.map(Reading::ahead), database.map(Reading::ahead)) {
        (None, None) => findings.push(note(
            "clock",
            "there is nothing to compare it with: neither Clerk's API nor a database server answered",
            "see that NTP runs: `timedatectl`",
        )),
        (Some(ahead), database) => {
            findings.push(of(ahead, "Clerk's"));
            if let Some(ahead) = database.filter(|ahead| ahead.abs() >= NOTABLE_MS) {
                let what = format!("this machine's is {} the database's", distance(ahead));
                findings.push(note(
                    "clock",
                    what,
                    "set the clock of the database server: synced_at comes from it",
                ));
            }
        }
        (None, Some(ahead)) => findings.push(of(ahead, "the database's")),
    }
    findings
}

fn of(ahead: i64, whose: &str) -> Finding {
    let what = format!("this machine's is {} {whose}", distance(ahead));
    if ahead.abs() >= TOLERANCE_MS {
        let what = format!("{what}: with a clock that is 5 minutes off every delivery is refused");
        return fail("clock", what, SET_IT);
    }
    if ahead.abs() >= NOTABLE_MS {
        return note("clock", what, SET_IT);
    }
    ok(
        "clock",
        format!("within {} s of {whose}", ahead.abs() / 1000 + 1),
    )
}

fn distance(ahead: i64) -> String {
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    format!(
        "{} {side}",
        format::duration(Duration::from_millis(ahead.unsigned_abs()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::finding::Severity;

    const fn ours_ahead(ahead: i64) -> Option<Reading> {
        Some(Reading {
            theirs_ms: 1_795_172_400_000,
            ours_ms: 1_795_172_400_000 + ahead,
        })
    }

    #[test]
    fn the_tolerance_of_signatures_is_the_bound_both_ways() {
        for (ahead, severity) in [
            (0, Severity::Ok),
            (-29_999, Severity::Ok),
            (30_000, Severity::Note),
            (-299_999, Severity::Note),
            (300_000, Severity::Fail),
            (-600_000, Severity::Fail),
        ] {
            for findings in [
                judge(ours_ahead(ahead), ours_ahead(0)),
                judge(None, ours_ahead(ahead)),
            ] {
                assert_eq!(findings[0].severity, severity, "{ahead}: {findings:?}");
            }
        }
        let behind = &judge(ours_ahead(-600_000), None)[0];
        assert!(
            behind
                .what
                .starts_with("this machine's is 10 min behind Clerk's"),
            "{behind:?}"
        );
    }

    #[test]
    fn clerks_clock_shows_which_one_is_wrong() {
        let findings = judge(ours_ahead(0), ours_ahead(600_000));
        assert_eq!(
            findings
                .iter()
                .map(|finding| finding.severity)
                .collect::<Vec<_>>(),
            [Severity::Ok, Severity::Note]
        );
        assert!(
            findings[1].what.contains("10 min ahead of the database's"),
            "{findings:?}"
        );
        assert_eq!(judge(None, None)[0].severity, Severity::Note);
    }
}
