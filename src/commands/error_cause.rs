//! The cause of an error of a library.

use std::error::Error;

/// The text of the deepest cause of an error. Returns `None` if it has no cause.
pub fn deepest_cause(error: &dyn Error) -> Option<String> {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.last().map(ToString::to_string)
}
