//! Exit statuses.

use std::process::ExitCode;

/// Exit status of wrong usage, which a wrong setting is too.
pub const WRONG_USAGE: u8 = 2;

/// Exit status 0, or 1 if the command did not find what it should.
pub fn success_if(is_success: bool) -> ExitCode {
    if is_success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A command that is incomplete in a way that its arguments alone do not show.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub &'static str);
