//! Why an event failed: every `error_code`, with its meaning and its remedy.
//!
//! The dashboard, `events show` and docs/errors.md are made from this list.

/// Where the page of all codes is, in the repository. It is relative, because the program knows no
/// public address of the repository, and an address that changes would be a wrong one.
pub const ERRORS_PAGE: &str = "docs/errors.md";

/// What a code means, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorHelp {
    /// What is wrong.
    pub meaning: &'static str,
    /// How it comes about.
    pub cause: &'static str,
    /// The remedy.
    pub what_to_do: &'static str,
    /// Whether a replay helps: what follows "A replay".
    pub replay: &'static str,
}

macro_rules! error_codes {
    ($($code:ident, $name:literal: $meaning:literal, $cause:literal, $what_to_do:literal, $replay:literal;)*) => {
        /// Why an event failed. The names are public.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $code),*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The name in `events.error_code`. One that ends in `_` is followed by the database's
            /// own code.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name),*
                }
            }

            /// Its meaning and its remedy.
            pub fn help(self) -> ErrorHelp {
                let (meaning, cause, what_to_do, replay) = match self {
                    $(Self::$code => ($meaning, $cause, $what_to_do, $replay)),*
                };
                ErrorHelp { meaning, cause, what_to_do, replay }
            }
        }
    };
}

error_codes! {
    NotJson, "not_json":
        "The body is not a JSON object.",
        "Clerk sends no such body. A program that has the signing secret sent it, such as `clerk-sync send --file`.",
        "Look at the payload. If it is not Clerk's, discard it, and change the signing secret if you do not know who has it.",
        "does not help: the body stays as it is.";
    MissingType, "missing_type":
        "The body has no `type`, or one that is not text.",
        "Clerk sends no such body. A program that has the signing secret sent it, such as `clerk-sync send --file`.",
        "Look at the payload. If it is not Clerk's, discard it, and change the signing secret if you do not know who has it.",
        "does not help: the body stays as it is.";
    UnsupportedType, "unsupported_type":
        "The type of the event is not one that is synced.",
        "An event of another type was put on the queue by hand. A receiver answers such an event `ignored` and queues nothing.",
        "Discard it. To act on other types, subscribe another program to them.",
        "does not help, unless a newer version syncs the type.";
    InvalidId, "invalid_id":
        "`data.id` is missing, or it is not a text of 1 to 255 characters.",
        "Clerk sends no such body. A program that has the signing secret sent it, such as `clerk-sync send --file`.",
        "Look at the payload. If it is not Clerk's, discard it, and change the signing secret if you do not know who has it.",
        "does not help: the body stays as it is.";
    ImplausibleTime, "implausible_time":
        "A time in it is not an integer, not positive, or more than 24 hours ahead. It would shut out every later update.",
        "`data.updated_at` or `timestamp` is wrong: at Clerk, or in an event that another program made.",
        "Ask Clerk. Any later update fills the row; then discard this one.",
        "does not help: a time ahead is compared with the time of sending, which stays as it is.";
    Unstorable, "unstorable":
        "The object holds a NUL character, half a surrogate pair, or 6,000 levels: no database takes it.",
        "The application wrote such a value into metadata, often a part of a text that was cut.",
        "Clean the metadata at Clerk. The next update fills the row; then discard this one.",
        "does not help: the body stays as it is.";
    Sqlstate, "sqlstate_":
        "PostgreSQL refuses the values. The code ends with its SQLSTATE.",
        "Something was added to our tables that Clerk's values break: a constraint, a unique index, a trigger, another type. Or the database has another encoding than UTF8.",
        "The error names the constraint or the column. Remove what was added, or use a database with the encoding UTF8.",
        "helps once the cause is removed.";
    Sqlite, "sqlite_":
        "SQLite refuses the values. The code ends with its result code.",
        "Something was added to our tables that Clerk's values break, such as a unique index. Or a value is too large for SQLite.",
        "Remove what was added.",
        "helps once the cause is removed.";
    DeliveryLimit, "delivery_limit":
        "Processes died while they had it, again and again.",
        "20 deliveries from RabbitMQ ended without an acknowledgement. Of the embedded queue: 5, while no other event was in flight. Often it is memory.",
        "Look in the logs of the workers, and of the system, for what killed them.",
        "helps once the cause is removed.";
    Panicked, "panicked":
        "clerk-sync has a bug that this event triggers.",
        "A bug. It cost this event alone; the events beside it were applied.",
        "Report it, without the payload. Install the version that fixes it.",
        "helps with a version that fixes the bug.";
    Expired, "expired":
        "A policy of the broker gives its queue a message-ttl, and no worker took it in time.",
        "A policy for all queues of the cluster reaches ours too.",
        "`clerk-sync check` names the policy. Take our queues out of it.",
        "helps.";
    Maxlen, "maxlen":
        "A policy of the broker has its queue drop events when it is full.",
        "A policy for all queues of the cluster reaches ours too.",
        "`clerk-sync check` names the policy. Take our queues out of it.",
        "helps.";
    Rejected, "rejected":
        "Another consumer rejected it, or it was put among the dead letters by hand.",
        "Another program consumes our queues. clerk-sync itself rejects nothing.",
        "See who consumes our queues (`rabbitmqctl list_consumers`), and stop it.",
        "helps.";
    Unrouted, "unrouted":
        "The queue was not bound when it came.",
        "The queue or its binding was deleted. Receivers and workers declare both again within seconds.",
        "Find out who deleted it. Nothing is lost: the event was retained in another queue.",
        "helps.";
}

const UNKNOWN: ErrorHelp = ErrorHelp {
    meaning: "This version does not know the code: another one recorded it.",
    cause: "A newer or an older version works on the same tables.",
    what_to_do: "Look at the error and the payload.",
    replay: "helps if the version that runs now can apply it.",
};

/// The code of a recorded name. Returns `None` for one of another version.
fn named(name: &str) -> Option<ErrorCode> {
    let is_it = |code: &&ErrorCode| {
        let known = code.name();
        name == known || known.ends_with('_') && name.starts_with(known)
    };
    ErrorCode::ALL.iter().find(is_it).copied()
}

/// The help for a recorded name.
pub fn help_for(name: &str) -> ErrorHelp {
    named(name).map_or(UNKNOWN, ErrorCode::help)
}

/// Where the page says more about a recorded name.
pub fn page_of(name: &str) -> String {
    let anchor = named(name).map(|code| format!("#{}", code.name()));
    format!("{ERRORS_PAGE}{}", anchor.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_name_leads_to_its_help() {
        for (name, page) in [
            ("unrouted", "docs/errors.md#unrouted"),
            ("sqlstate_22P05", "docs/errors.md#sqlstate_"),
            ("sqlite_18", "docs/errors.md#sqlite_"),
        ] {
            assert_eq!(page_of(name), page);
            assert_ne!(help_for(name), UNKNOWN, "{name}");
        }
        for name in ["", "of_the_future", "unrouted_", "sqlstate"] {
            assert_eq!(page_of(name), ERRORS_PAGE);
            assert_eq!(help_for(name), UNKNOWN, "{name}");
        }
    }
}
