//! The errors for a request that cannot be read. Their texts hold nothing of what was sent.

use std::borrow::Cow;

use crate::http::problem::{Code, Problem};

/// The error for a field or parameter, with what would be right.
pub fn wrong(name: &str, remedy: &str) -> Problem {
    invalid(format!("{name} is wrong: {remedy}")).about(name.to_owned())
}

/// Older names of parameters and fields, with those that they have now.
const RENAMED: [(&str, &str); 2] = [("type", "event_type"), ("user", "clerk_id")];

/// The error for an older name, if it is one of something that `has_now`.
pub fn renamed<'n>(
    names: impl IntoIterator<Item = &'n str>,
    has_now: impl Fn(&str) -> bool,
) -> Option<Problem> {
    let (old, new) = names.into_iter().find_map(|name| {
        let row = RENAMED.iter().find(|(old, _)| *old == name);
        row.filter(|(_, new)| has_now(new))
    })?;
    Some(invalid(format!("{old} is called {new} now")).about(*old))
}

/// The error for a request that cannot be read.
pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}
