//! `Sort`: the order of a list, and the parts of its statement that follow from it. Pure.
//!
//! A list is in the order of an index. Where a column leads that may be null, there are two parts:
//! first the rows with a value, then the others by their IDs.

use std::fmt;

use super::template::Dialect;

/// The order of a list: by a column, and where that is the same by the ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    column: &'static str,
    descending: bool,
}

/// The part of a list that a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it, or the rows that have a value in the column.
    Values,
    /// The rows that have none; few of them or many.
    Nulls {
        /// Whether reading all rows in order soon finds some.
        are_common: bool,
    },
}

impl Sort {
    /// Events, the newest first by time of receipt.
    pub const NEWEST_EVENTS: Self = Self::new("received_at", true);
    /// The same, the oldest first.
    pub const OLDEST_EVENTS: Self = Self::new("received_at", false);
    /// Users, the newest Clerk ID first.
    pub const NEWEST_USERS: Self = Self::new("clerk_id", true);

    /// The columns that an index of events leads by.
    pub const OF_EVENTS: [&'static str; 1] = ["received_at"];
    /// The same of users.
    pub const OF_USERS: [&'static str; 5] =
        ["clerk_id", "email", "phone", "username", "external_id"];

    const fn new(column: &'static str, descending: bool) -> Self {
        Self { column, descending }
    }

    /// The order with this name, by one of these columns: `email`, or `-email` for the greatest
    /// first.
    pub fn named(name: &str, columns: &[&'static str]) -> Option<Self> {
        let (column, descending) = match name.strip_prefix('-') {
            Some(column) => (column, true),
            None => (name, false),
        };
        let column = columns.iter().find(|known| **known == column)?;
        Some(Self::new(column, descending))
    }

    /// The names of all orders by these columns.
    pub fn names(columns: &[&'static str]) -> Vec<String> {
        let both = |column| [false, true].map(|descending| Self::new(column, descending));
        let sorts = columns.iter().copied().flat_map(both);
        sorts.map(|sort| sort.to_string()).collect()
    }

    /// The column, if it may be null.
    pub(super) fn nullable_column(self) -> Option<&'static str> {
        let is_never_null = ["received_at", "clerk_id"].contains(&self.column);
        (!is_never_null).then_some(self.column)
    }

    /// Whether it is by the ID or the time, which every row has.
    pub fn is_by_id(self) -> bool {
        self.nullable_column().is_none()
    }

    /// Whether it is an order of events.
    pub fn is_of_events(self) -> bool {
        Self::OF_EVENTS.contains(&self.column)
    }

    /// The marks of a statement. Of users `<after>` is the condition for what is after the cursor,
    /// and `<order>` the order. Of events `<past>` compares with the cursor, `<direction>` is that
    /// of both columns, and `<from>` and `<to>` are the bounds of time in SQLite.
    ///
    /// `leads` says whether the order chooses the index, and not the filter: SQLite does not choose well by itself.
    pub fn marks(self, dialect: Dialect, part: Part, leads: bool) -> Vec<(&'static str, String)> {
        let (past, before, direction) = if self.descending {
            ("<", ">", "desc")
        } else {
            (">", "<", "asc")
        };
        let (after, order) = match (dialect, self.nullable_column()) {
            (Dialect::Postgres, None) => (
                "($6::text is null or clerk_id <past> $6::text)".to_owned(),
                "clerk_id <direction>".to_owned(),
            ),
            (Dialect::Postgres, Some(column)) => postgres(column, part),
            (Dialect::Sqlite, None) => (
                format!("<id> <past> {}", self.end()),
                "<id> <direction>".into(),
            ),
            (Dialect::Sqlite, Some(column)) => self.sqlite(column, part, leads),
        };
        // The index of the filter, and not that of the ID.
        let id = if leads { "clerk_id" } else { "+clerk_id" };
        let finish = |text: String| {
            let text = text.replace("<id>", id).replace("<past>", past);
            let text = text.replace("<before>", before);
            text.replace("<direction>", direction)
        };
        // One bound on each side, so that the index leads to where the page begins: within the
        // times that were asked for (whole milliseconds), and not before the cursor.
        let (from, to) = ("coalesce(?4, 0)", "coalesce(?5 - 1, 9223372036854775807)");
        let (from, to) = if self.descending {
            (
                from.to_owned(),
                format!("min({to}, coalesce(?6, 9223372036854775807))"),
            )
        } else {
            (format!("max({from}, coalesce(?6, 0))"), to.to_owned())
        };
        vec![
            ("<after>", finish(after)),
            ("<order>", finish(order)),
            ("<past>", past.into()),
            ("<direction>", direction.into()),
            ("<from>", from),
            ("<to>", to),
        ]
    }

    /// Where the page before ended. Without a cursor nothing is left out: every text is less than
    /// any blob, and no ID is empty.
    fn end(self) -> &'static str {
        if self.descending {
            "coalesce(?6, x'')"
        } else {
            "coalesce(?6, '')"
        }
    }

    fn sqlite(self, column: &str, part: Part, leads: bool) -> (String, String) {
        let mut key = sqlite_key(column);
        if !leads || part == (Part::Nulls { are_common: true }) {
            // A plus keeps SQLite from the index of the column.
            key.insert(0, '+');
        }
        if part != Part::Values {
            let after = format!("{key} is null and <id> <past> {}", self.end());
            return (after, "<id> <direction>".into());
        }
        let end = if self.descending { "x''" } else { "''" };
        (
            format!(
                "{key} <past>= coalesce(?10, {end}) and (?10 is null or {key} <past> ?10 or clerk_id <past> ?6)"
            ),
            format!("{key} <direction>, clerk_id <direction>"),
        )
    }
}

/// What the index of a column in SQLite holds.
pub(super) fn sqlite_key(column: &str) -> String {
    match column {
        "email" => "coalesce(folded ->> '$.email', lower(email))".into(),
        column => column.into(),
    }
}

/// The operators are those of an index with `text_pattern_ops`: byte by byte.
fn postgres(column: &str, part: Part) -> (String, String) {
    let lower = |text: &str| match column {
        "email" => format!("lower({text})"),
        _ => text.to_owned(),
    };
    let (key, end) = (lower(column), lower("$10::text"));
    if part != Part::Values {
        let after = format!("{key} is null and ($6::text is null or clerk_id <past> $6::text)");
        return (after, "clerk_id <direction>".into());
    }
    (
        format!(
            "{key} is not null and ($10::text is null or {key} ~<past>=~ {end} and ({key} ~<past>~ {end} or clerk_id <past> $6::text))"
        ),
        format!("{key} using ~<before>~, clerk_id <direction>"),
    )
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.descending { "-" } else { "" };
        write!(f, "{sign}{}", self.column)
    }
}
