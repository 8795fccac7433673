//! `deepest_cause`: the text at the end of an error's chain of sources.

use std::error::Error;

/// The text of the deepest cause of an error. Returns `None` if it has no cause.
pub fn deepest_cause(error: &dyn Error) -> Option<String> {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.last().map(ToString::to_string)
}
