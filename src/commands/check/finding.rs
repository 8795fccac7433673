//! What a check finds, and its form: one line for a person, one object for a program.

use serde::Serialize;

use crate::commands::terminal;
use crate::escape::visible;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Ok,
    /// It works without any change, but a person should know about it.
    Note,
    Fail,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, such as `database_rights`.
    pub check: &'static str,
    pub severity: Severity,
    /// What was found. Never a secret.
    pub what: String,
    /// What to do about it.
    #[serde(rename = "mend", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

fn finding(
    check: &'static str,
    severity: Severity,
    what: impl Into<String>,
    remedy: Option<String>,
) -> Finding {
    Finding {
        check,
        severity,
        what: what.into(),
        remedy,
    }
}

/// All is well.
pub fn ok(check: &'static str, what: impl Into<String>) -> Finding {
    finding(check, Severity::Ok, what, None)
}

/// It works, but a person should know.
pub fn note(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    finding(check, Severity::Note, what, Some(remedy.into()))
}

/// The program cannot work.
pub fn fail(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    finding(check, Severity::Fail, what, Some(remedy.into()))
}

impl Finding {
    pub fn failed(&self) -> bool {
        self.severity == Severity::Fail
    }
}

/// Splits an error into what is wrong and the remedy behind `; `. One without a remedy, or with a
/// server's own words there, gets `otherwise`.
pub fn split<'a>(text: &'a str, otherwise: &'a str) -> (&'a str, &'a str) {
    let parts = text
        .split_once("; ")
        .filter(|(_, rest)| !rest.starts_with("it says: "));
    parts.unwrap_or((text, otherwise))
}

/// One line each, the columns aligned; on a terminal of this width as many as it needs. A reader
/// that has no color loses nothing.
pub fn lines(findings: &[Finding], color: bool, columns: Option<u16>) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or(0);
    let line = |finding: &Finding| {
        let (word, paint) = match finding.severity {
            Severity::Ok => ("ok", "32"),
            Severity::Note => ("note", "33"),
            Severity::Fail => ("fail", "1;31"),
        };
        let word = format!("{word:4}");
        let word = if color {
            format!("\x1b[{paint}m{word}\x1b[0m")
        } else {
            word
        };
        let name = finding.check.replace('_', " ");
        let remedy = finding
            .remedy
            .as_ref()
            .map(|remedy| format!(" → {remedy}"))
            .unwrap_or_default();
        // What a server says of itself may have more than one line.
        let on_one_line = |text: &str| visible(&text.replace(['\n', '\r'], " ")).into_owned();
        let said = on_one_line(&format!("{}{remedy}", finding.what));
        let indent = "note  ".len() + width + "  ".len();
        let wrapped = |text: &str| terminal::wrapped(text, indent, columns);
        let has_room =
            columns.is_none_or(|columns| indent + said.chars().count() <= usize::from(columns));
        let said = match &finding.remedy {
            Some(remedy) if !has_room => {
                let what = wrapped(&on_one_line(&finding.what));
                let remedy = wrapped(&format!("→ {}", on_one_line(remedy)));
                format!("{what}\n{:indent$}{remedy}", "")
            }
            _ => wrapped(&said),
        };
        format!("{word}  {name:width$}  {said}\n")
    };
    findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_within_an_error_is_shown_as_such() {
        assert_eq!(
            split("TLS: no; give a CA; or none", "x"),
            ("TLS: no", "give a CA; or none")
        );
        assert_eq!(split("it is away", "start it"), ("it is away", "start it"));
        assert_eq!(
            split("refused; it says: no; never", "y"),
            ("refused; it says: no; never", "y")
        );
    }

    #[test]
    fn every_finding_is_one_line_and_color_is_asked_for() {
        let findings = [
            ok("database", "PostgreSQL 17"),
            note("database_rights", "no migration", "give it\nanother role"),
            fail("clock", "off", "set it"),
        ];
        let plain = lines(&findings, false, None);
        let expected = "ok    database         PostgreSQL 17\n\
                        note  database rights  no migration → give it another role\n\
                        fail  clock            off → set it\n";
        assert_eq!(plain, expected);
        assert_eq!(
            lines(&findings, false, Some(42)),
            "ok    database         PostgreSQL 17\n\
             note  database rights  no migration\n\
             \u{20}                      → give it another\n\
             \u{20}                      role\n\
             fail  clock            off → set it\n"
        );
        let painted = lines(&findings, true, None);
        assert_eq!(painted.matches('\x1b').count(), 6, "the word of each line");
        let bare = ["\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"];
        assert_eq!(
            bare.iter()
                .fold(painted, |text, code| text.replace(code, "")),
            expected
        );
    }
}
