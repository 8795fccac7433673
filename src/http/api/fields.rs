//! Which fields of a row an answer has: those that `fields` names, or all but some.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::invalid::wrong;
use crate::clerk::{Table, tables};
use crate::http::problem::{Code, Problem};
use crate::store::{Act, EventRow, HistoryRow};

/// What the read token does not see unless READ_PRIVATE is set.
const PRIVATE: [&str; 4] = ["private_metadata", "data", "payload", "payload_json"];

/// A kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Those of a table.
    List(&'static Table),
    /// One of a table.
    One(&'static Table),
    Events,
    Event,
    History,
    Audit,
}

impl Rows {
    /// The rows that a route answers with.
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            "/api/events" => return Some(Self::Events),
            "/api/events/{id}" => return Some(Self::Event),
            "/api/audit" => return Some(Self::Audit),
            _ => {}
        }
        let table = |plural| {
            tables::ALL
                .iter()
                .copied()
                .find(|table| table.plural == plural)
        };
        let parts: Vec<_> = path.strip_prefix("/api/")?.split('/').collect();
        match *parts {
            [plural] => table(plural).map(Self::List),
            [plural, _] | [plural, _, "refresh"] => table(plural).map(Self::One),
            [_, _, "history"] => Some(Self::History),
            [_, _, plural] => table(plural).map(Self::List),
            _ => None,
        }
    }

    /// The table that they are of. Returns `None` for events and what is about them.
    pub fn table(self) -> Option<&'static Table> {
        match self {
            Self::List(table) | Self::One(table) => Some(table),
            _ => None,
        }
    }

    /// Every field that `fields` may name, in the order of the rows.
    pub fn names(self) -> Vec<&'static str> {
        match self {
            Self::List(table) | Self::One(table) => {
                table.row_columns().map(|column| column.name).collect()
            }
            Self::Events => EventRow::FIELDS.into(),
            Self::Event => [
                &EventRow::FIELDS[..],
                &["payload", "attempts_log", "audit", "payload_json"],
            ]
            .concat(),
            Self::Audit => Act::FIELDS.into(),
            Self::History => [&EventRow::FIELDS[..], &HistoryRow::MORE_FIELDS].concat(),
        }
    }

    /// What is left out unless `fields` names it.
    fn left_out(self) -> &'static [&'static str] {
        match self {
            Self::List(_) => &["data"],
            _ => &[],
        }
    }
}

/// The fields of an answer.
#[derive(Debug)]
pub struct Fields {
    rows: Rows,
    /// `None` if the request names none.
    named: Option<Vec<&'static str>>,
    sees_private: bool,
}

impl Fields {
    /// Reads what a request names, such as `clerk_id,email`.
    ///
    /// # Errors
    ///
    /// If a name is none of these rows.
    pub fn read(rows: Rows, value: Option<String>) -> Result<Self, Problem> {
        let read = |value: String| {
            let known = rows.names();
            let names = value
                .split(',')
                .map(|name| known.iter().find(|it| **it == name));
            let named: Option<Vec<_>> = names.map(|name| name.copied()).collect();
            let page = "docs/api.md names those of this route";
            named.ok_or_else(|| {
                wrong(
                    "fields",
                    &format!("give names, separated by commas; {page}"),
                )
            })
        };
        Ok(Self {
            rows,
            named: value.map(read).transpose()?,
            sees_private: false,
        })
    }

    /// The fields for a token that sees what is private, or one that does not.
    ///
    /// # Errors
    ///
    /// If it names what the token does not see.
    pub fn for_token(self, sees_private: bool) -> Result<Self, Problem> {
        let mut named = self.named.iter().flatten();
        if !sees_private && named.any(|name| PRIVATE.contains(name)) {
            let detail = "READ_TOKEN does not see private_metadata, data, payload and payload_json: READ_PRIVATE=true shows them";
            return Err(Problem::new(Code::Forbidden, detail).about("fields"));
        }
        Ok(Self {
            sees_private,
            ..self
        })
    }

    /// Whether an answer has the field.
    pub fn has(&self, name: &str) -> bool {
        match &self.named {
            Some(named) => named.contains(&name),
            None => {
                let is_hidden = !self.sees_private && PRIVATE.contains(&name);
                !is_hidden && !self.rows.left_out().contains(&name)
            }
        }
    }

    /// The row with these fields alone. Each value stays as it is written: numbers that no double
    /// can hold stay whole.
    pub fn pick(&self, row: &impl Serialize) -> Box<RawValue> {
        let whole = to_raw_value(row).expect("a row is JSON");
        if self.named.is_none() && self.sees_private && self.rows.left_out().is_empty() {
            return whole;
        }
        let Pairs(pairs) = serde_json::from_str(whole.get()).expect("a row is a JSON object");
        let kept = pairs.into_iter().filter(|(name, _)| self.has(name));
        to_raw_value(&Pairs(kept.collect())).expect("a part of a row is JSON")
    }

    /// The same for each row.
    pub fn pick_all(&self, rows: &[impl Serialize]) -> Vec<Box<RawValue>> {
        rows.iter().map(|row| self.pick(row)).collect()
    }
}

/// The fields of a row, in their order, each with its value as it is written.
struct Pairs<'r>(Vec<(&'r str, &'r RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &Table = &tables::users::TABLE;

    fn fields(rows: Rows, named: Option<&str>, sees_private: bool) -> Result<Fields, Problem> {
        Fields::read(rows, named.map(str::to_owned))?.for_token(sees_private)
    }

    #[test]
    fn a_row_keeps_the_named_fields_in_its_own_order_and_as_they_are_written() {
        let row = RawValue::from_string(
            r#"{"clerk_id":"user_1","email":null,"data":{"n":12345678901234567890123,"f":1.10}}"#
                .into(),
        );
        let row = row.unwrap();
        let pick = |rows, named, sees| {
            fields(rows, named, sees)
                .unwrap()
                .pick(&row)
                .get()
                .to_owned()
        };
        assert_eq!(pick(Rows::One(USERS), None, true), row.get());
        assert_eq!(
            pick(Rows::List(USERS), Some("data,clerk_id"), true),
            r#"{"clerk_id":"user_1","data":{"n":12345678901234567890123,"f":1.10}}"#
        );
        for (rows, sees) in [
            (Rows::List(USERS), true),
            (Rows::List(USERS), false),
            (Rows::One(USERS), false),
        ] {
            assert_eq!(
                pick(rows, None, sees),
                r#"{"clerk_id":"user_1","email":null}"#
            );
        }
    }

    #[test]
    fn a_name_is_one_of_the_rows_own() {
        for (rows, named) in [
            (Rows::List(USERS), ""),
            (Rows::List(USERS), "clerk_id,"),
            (Rows::List(USERS), "clerk_id, email"),
            (Rows::List(USERS), "payload"),
            (Rows::Events, "payload"),
            (Rows::History, "payload"),
            (Rows::Event, "email"),
        ] {
            let problem = fields(rows, Some(named), true).unwrap_err();
            assert_eq!(
                (problem.code(), problem.param()),
                (Code::InvalidRequest, Some("fields"))
            );
        }
        for rows in [Rows::One(USERS), Rows::List(USERS)] {
            for named in ["data", "email,private_metadata"] {
                assert!(fields(rows, Some(named), true).unwrap().has("data") == (named == "data"));
                let problem = fields(rows, Some(named), false).unwrap_err();
                assert_eq!(
                    (problem.code(), problem.param()),
                    (Code::Forbidden, Some("fields"))
                );
            }
        }
        assert!(fields(Rows::Event, Some("payload_json"), false).is_err());
    }
}
