//! What each `error_code` means and what a person does about it; the README's table says the same.

/// A failure's meaning and its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remedy {
    pub meaning: &'static str,
    pub what_to_do: &'static str,
}

const TABLE: &[(&[&str], Remedy)] = &[
    (
        &["not_json", "missing_type", "invalid_id"],
        Remedy {
            meaning: "The body has not the form of a Clerk event.",
            what_to_do: "Look at the payload. If it is not Clerk's, discard it.",
        },
    ),
    (
        &["unsupported_type"],
        Remedy {
            meaning: "An event of another type was put on the queue by hand.",
            what_to_do: "Discard it. To act on other types, subscribe another program to them.",
        },
    ),
    (
        &["implausible_time"],
        Remedy {
            meaning: "A time in it is no integer, not positive, or more than 24 hours ahead. It would shut out every later update.",
            what_to_do: "Ask Clerk. Any later update fills the row; then discard this one.",
        },
    ),
    (
        &["unstorable"],
        Remedy {
            meaning: "The user object holds a NUL character, half a surrogate pair, or 6,000 levels: no database takes it.",
            what_to_do: "Clean the user's metadata at Clerk. The next update fills the row; then discard this one.",
        },
    ),
    (
        &["delivery_limit"],
        Remedy {
            meaning: "Processes died while they had it, again and again.",
            what_to_do: "Look in the logs for what killed them (memory?). Replay it once that is fixed.",
        },
    ),
    (
        &["panicked"],
        Remedy {
            meaning: "clerk-sync met a bug of its own with it.",
            what_to_do: "Report it, without the payload. Replay it with a newer version.",
        },
    ),
    (
        &["expired"],
        Remedy {
            meaning: "A policy of the broker gives its queue a message-ttl, and no worker took it in time.",
            what_to_do: "`clerk-sync check` names the policy. Take our queues out of it, then replay it.",
        },
    ),
    (
        &["maxlen"],
        Remedy {
            meaning: "A policy of the broker has its queue drop events when it is full.",
            what_to_do: "`clerk-sync check` names the policy. Take our queues out of it, then replay it.",
        },
    ),
    (
        &["rejected"],
        Remedy {
            meaning: "Another consumer rejected it, or somebody put it among the dead letters by hand.",
            what_to_do: "See who consumes our queues (`rabbitmqctl list_consumers`), then replay it.",
        },
    ),
    (
        &["unrouted"],
        Remedy {
            meaning: "The queue was not bound when it came.",
            what_to_do: "Replay it.",
        },
    ),
];

const REFUSED: Remedy = Remedy {
    meaning: "The database refuses the values, with a code of its own.",
    what_to_do: "The error says which. Mend what stands in the way (a constraint, a trigger, a right), then replay it.",
};

const UNKNOWN: Remedy = Remedy {
    meaning: "This version does not know the code: another one made it.",
    what_to_do: "Look at the error and the payload. Replay it with the version that runs now.",
};

pub fn of(error_code: &str) -> Remedy {
    let known = TABLE
        .iter()
        .find(|(codes, _)| codes.contains(&error_code))
        .map(|(_, remedy)| *remedy);
    let refused = ["sqlstate_", "sqlite_"]
        .iter()
        .any(|start| error_code.starts_with(start))
        .then_some(REFUSED);
    known.or(refused).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_readme_has_its_remedy() {
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
            assert!(codes.contains(code), "the README has no line for {code}");
        }
        assert_eq!(of("of_the_future"), UNKNOWN);
    }
}
