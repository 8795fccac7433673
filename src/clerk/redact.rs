//! Fields of Clerk's user object that are never stored: they are taken out of an event's body before anybody reads it.
//!
//! Everything else of the body stays as it came: the values are copied, not written anew. A body that is no JSON has no
//! fields, and stays whole.

use std::sync::Arc;

use super::json::Object;
use super::nearest_field::nearest;
use super::tables;

/// The names of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OmittedFields(Arc<[Box<str>]>);

/// What decides which row an event goes to, and which event is the newest.
const NEEDED: [&str; 2] = ["id", "updated_at"];

/// A name that cannot be omitted.
#[derive(Debug, PartialEq, Eq)]
pub enum OmitError {
    /// Without this field no event could be applied.
    Needed(&'static str),
    /// No field of Clerk's user object: what was meant to be omitted would be stored.
    Unknown {
        name: String,
        nearest: Option<&'static str>,
    },
}

impl OmittedFields {
    /// Reads names that are separated by commas or white space.
    ///
    /// # Errors
    /// Returns the first name that cannot be omitted.
    pub fn parse(list: &str) -> Result<Self, OmitError> {
        let names = list
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|name| !name.is_empty());
        let checked: Result<Arc<[_]>, _> = names.map(|name| checked(name).map(Box::from)).collect();
        checked.map(Self)
    }

    /// Removes the fields from an object. Returns the text of the rest, or `None` if it has none of them.
    pub(super) fn remove_from(&self, object: &mut Object<'_>) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let is_omitted = |name: &str| self.0.iter().any(|field| **field == *name);
        object
            .retain(|name| !is_omitted(name))
            .then(|| object.write(|_| None))
    }
}

fn checked(name: &str) -> Result<&str, OmitError> {
    let is_known = tables::ALL.iter().any(|table| table.fields.contains(&name));
    let nearest = || {
        let mut nearest = tables::ALL.iter().map(|table| nearest(name, table));
        nearest.find_map(|field| field)
    };
    let meant = if is_known { Some(name) } else { nearest() };
    if let Some(needed) = NEEDED.into_iter().find(|needed| meant == Some(*needed)) {
        return Err(OmitError::Needed(needed));
    }
    if is_known {
        return Ok(name);
    }
    Err(OmitError::Unknown {
        name: name.into(),
        nearest: nearest(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    /// Any names, to see what is done with them.
    fn omit(fields: &str, body: &str) -> Option<String> {
        let names = fields.split([',', ' ']).filter(|name| !name.is_empty());
        OmittedFields(names.map(Box::from).collect()).out_of_body(body)
    }

    #[test]
    fn the_fields_go_and_everything_else_stays_as_it_came() {
        let body = r#"{"data":{"id":"user_1","private_metadata":{"a":"secret"},"n":1.50,"priv\u0061te_metadata":2},"type":"user.updated"}"#;
        assert_eq!(
            omit("private_metadata, unsafe_metadata", body).unwrap(),
            r#"{"data":{"id":"user_1","n":1.50},"type":"user.updated"}"#
        );
        assert_eq!(
            omit("id_x", r#"{"data":{"id_x":1}}"#).unwrap(),
            r#"{"data":{}}"#
        );
        // Half of a surrogate pair in a name is no way past.
        assert_eq!(
            omit("id_x", r#"{"\ude00":0,"data":{"a\ud800":2,"id_x":1}}"#).unwrap(),
            r#"{"\ude00":0,"data":{"a\ud800":2}}"#
        );
    }

    #[test]
    fn only_the_user_object_is_meant() {
        for body in [
            r#"{"private_metadata":1,"data":{"id":"user_1"}}"#,
            r#"{"data":{"nested":{"private_metadata":1}}}"#,
            r#"{"data":["private_metadata"]}"#,
            "no JSON",
            "",
            "[]",
        ] {
            assert_eq!(omit("private_metadata", body), None, "{body}");
        }
        assert_eq!(omit("", r#"{"data":{"a":1}}"#), None);
    }

    #[test]
    fn what_decides_cannot_be_omitted() {
        assert_eq!(
            OmittedFields::parse("phone_numbers,id"),
            Err(OmitError::Needed("id"))
        );
        for name in ["updated_at", "updatedAt", "update_at"] {
            assert_eq!(
                OmittedFields::parse(name),
                Err(OmitError::Needed("updated_at")),
                "{name}"
            );
        }
    }

    #[test]
    fn only_fields_that_there_are_can_be_omitted() {
        for list in [
            "",
            " , ",
            "private_metadata",
            "private_metadata, unsafe_metadata\n\tphone_numbers\r\n",
        ] {
            assert!(OmittedFields::parse(list).is_ok(), "{list:?}");
        }
        for (list, name, nearest) in [
            (
                "private_metadata,unsafeMetadata",
                "unsafeMetadata",
                Some("unsafe_metadata"),
            ),
            ("email", "email", Some("email_addresses")),
            (
                "private_metadata;unsafe_metadata",
                "private_metadata;unsafe_metadata",
                Some("private_metadata"),
            ),
            ("nonsense", "nonsense", None),
        ] {
            let unknown = OmitError::Unknown {
                name: name.into(),
                nearest,
            };
            assert_eq!(OmittedFields::parse(list), Err(unknown), "{list}");
        }
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        let value = prop_oneof![
            any::<i64>().prop_map(Value::from),
            "\\PC*".prop_map(Value::from),
            Just(json!({"a": [1, null]})),
        ];
        prop::collection::btree_map("[a-c\"\\\\é]{0,2}", value, 0..6)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn omitting_is_removing_and_twice_is_once(data in object(), other in any::<i64>(), name in "[a-c]{1,2}") {
            let body = json!({"data": data, "other": other}).to_string();
            let omitted = omit(&name, &body);
            prop_assert_eq!(omitted.is_some(), data.contains_key(&name));
            let omitted = omitted.unwrap_or(body);
            let mut expected = data;
            expected.remove(&name);
            let found: Value = serde_json::from_str(&omitted).unwrap();
            prop_assert_eq!(found, json!({"data": expected, "other": other}));
            prop_assert_eq!(omit(&name, &omitted), None);
        }
    }
}
