//! Asks a person before something that cannot be undone.

use std::io::{self, IsTerminal, Write};

use super::output;
use crate::escape::visible;

/// The answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    Given,
    Refused,
    /// There is no terminal to ask on, and no `--yes`.
    Absent,
}

/// Prints `warning`, then asks `question` on a terminal, unless `yes` is given.
pub fn ask(warning: &str, question: &str, yes: bool) -> Consent {
    output::note(warning);
    if yes {
        return Consent::Given;
    }
    let mut stderr = io::stderr().lock();
    if !io::stdin().is_terminal() || !stderr.is_terminal() {
        return Consent::Absent;
    }
    let mut answer = String::new();
    let asked = write!(stderr, "{} [y/N] ", visible(question)).and_then(|()| stderr.flush());
    match asked.and_then(|()| io::stdin().read_line(&mut answer)) {
        Ok(_) if is_yes(&answer) => Consent::Given,
        _ => Consent::Refused,
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_one() {
        for (answer, expected) in [
            ("y\n", true),
            (" YES \n", true),
            ("\n", false),
            ("", false),
            ("no", false),
            ("yup", false),
        ] {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }
}
