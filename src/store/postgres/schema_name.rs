//! The name of the schema that holds the tables.

use std::fmt;

/// A name that needs no escaping in an identifier or a text of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaName(Box<str>);

impl SchemaName {
    /// What to give in place of a name that [`Self::new`] refuses.
    pub const REMEDY: &str = "give up to 63 lower case letters, digits and _, no digit first, such as clerk; names of PostgreSQL itself (public, information_schema, pg_…) are refused";

    /// Returns `None` for a name that PostgreSQL takes only in quotes, or that is PostgreSQL's own.
    pub fn new(name: &str) -> Option<Self> {
        const LENGTH_MAX: usize = 63;
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let is_reserved =
            ["public", "information_schema"].contains(&name) || name.starts_with("pg_");
        let is_name = (1..=LENGTH_MAX).contains(&name.len())
            && name.bytes().all(is_plain)
            && !name.starts_with(|first: char| first.is_ascii_digit());
        (is_name && !is_reserved).then(|| Self(name.into()))
    }

    /// What to do if the role may not create or change the schema.
    pub fn remedy_of_migrator(&self) -> String {
        format!(
            "run `clerk-sync migrate` as the owner of the schema {self}, or `grant create on database … to` the role"
        )
    }

    /// Whether it is the one that a program without `DATABASE_SCHEMA` uses.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        Self("clerk".into())
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_need_no_quotes_and_are_not_postgresqls_own_are_accepted() {
        for name in ["clerk", "_", "a1_b2", "user", &"a".repeat(63)] {
            assert_eq!(SchemaName::new(name).unwrap().to_string(), name);
        }
        for name in [
            "",
            "Clerk",
            "1a",
            "a-b",
            "a.b",
            "a b",
            "a\"b",
            "a'b",
            "é",
            "public",
            "information_schema",
            "pg_catalog",
            &"a".repeat(64),
        ] {
            assert_eq!(SchemaName::new(name), None, "{name}");
        }
    }
}
