//! What each `error_code` means and how to fix it; the README's table says the same.

/// The meaning of an error code, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorHelp {
    pub meaning: &'static str,
    pub what_to_do: &'static str,
}

const fn help(meaning: &'static str, what_to_do: &'static str) -> ErrorHelp {
    ErrorHelp {
        meaning,
        what_to_do,
    }
}

const TABLE: &[(&[&str], ErrorHelp)] = &[
    (
        &["not_json", "missing_type", "invalid_id"],
        help(
            "The body does not have the form of a Clerk event.",
            "Look at the payload. If it is not Clerk's, discard it.",
        ),
    ),
    (
        &["unsupported_type"],
        help(
            "An event of another type was put on the queue manually.",
            "Discard it. To act on other types, subscribe another program to them.",
        ),
    ),
    (
        &["implausible_time"],
        help(
            "A time in it is no integer, not positive, or more than 24 hours ahead. It would shut out every later update.",
            "Ask Clerk. Any later update fills the row; then discard this one.",
        ),
    ),
    (
        &["unstorable"],
        help(
            "The user object holds a NUL character, half a surrogate pair, or 6,000 levels: no database takes it.",
            "Clean the user's metadata at Clerk. The next update fills the row; then discard this one.",
        ),
    ),
    (
        &["delivery_limit"],
        help(
            "Processes died while they had it, again and again.",
            "Look in the logs for what killed them (memory?). Replay it once that is fixed.",
        ),
    ),
    (
        &["panicked"],
        help(
            "clerk-sync has a bug that this event triggers.",
            "Report it, without the payload. Replay it with a newer version.",
        ),
    ),
    (
        &["expired"],
        help(
            "A policy of the broker gives its queue a message-ttl, and no worker took it in time.",
            "`clerk-sync check` names the policy. Take our queues out of it, then replay it.",
        ),
    ),
    (
        &["maxlen"],
        help(
            "A policy of the broker has its queue drop events when it is full.",
            "`clerk-sync check` names the policy. Take our queues out of it, then replay it.",
        ),
    ),
    (
        &["rejected"],
        help(
            "Another consumer rejected it, or it was put among the dead letters manually.",
            "See who consumes our queues (`rabbitmqctl list_consumers`), then replay it.",
        ),
    ),
    (
        &["unrouted"],
        help("The queue was not bound when it came.", "Replay it."),
    ),
];

const REJECTED: ErrorHelp = help(
    "The database refuses the values. The code ends with its SQLSTATE or result code.",
    "The error says which. Fix what prevents it (a constraint, a trigger, a right), then replay it.",
);

const UNKNOWN: ErrorHelp = help(
    "This version does not know the code: another one made it.",
    "Look at the error and the payload. Replay it with the version that runs now.",
);

/// The help for an error code.
pub fn of(error_code: &str) -> ErrorHelp {
    let of_database = ["sqlstate_", "sqlite_"];
    match TABLE.iter().find(|(codes, _)| codes.contains(&error_code)) {
        Some((_, help)) => *help,
        None if of_database
            .iter()
            .any(|start| error_code.starts_with(start)) =>
        {
            REJECTED
        }
        None => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_readme_has_its_help() {
        let readme = include_str!("../../../README.md");
        let (_, table) = readme.split_once("| `error_code` |").unwrap();
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let cells = rows.map(|row| row.split('|').nth(1).unwrap());
        let codes: Vec<_> = cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        assert!(codes.len() >= 9, "{codes:?}");
        for code in &codes {
            assert_ne!(of(&code.replace('…', "22P05")), UNKNOWN, "{code}");
        }
        for code in TABLE.iter().flat_map(|(codes, _)| *codes) {
            assert!(codes.contains(code), "the README has no row for {code}");
        }
        assert_eq!(of("of_the_future"), UNKNOWN);
    }
}
