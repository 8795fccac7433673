//! Which fields differ between two versions of an object: their names, never what is in them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;
use serde_json::value::RawValue;

use super::json::Object;

/// The fields of one version, each with a digest of its value: enough to tell two versions apart,
/// and small whatever the object holds. What is in an object one level down, such as
/// `public_metadata.plan`, is a field of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<String, u64>);

/// Differs in every version, and says nothing more.
const IN_EVERY_VERSION: &str = "updated_at";

impl Fields {
    /// The fields of an object of Clerk's, whose text is `data`.
    pub fn of(data: &str) -> Self {
        // A text that is no object has no fields.
        let object = Object::read(data).ok();
        let mut fields = BTreeMap::new();
        for member in object.iter().flat_map(Object::members) {
            let (name, value) = (&member.name, member.value);
            match Object::read(value.get()) {
                Ok(inner) => fields.extend(
                    inner
                        .members()
                        .iter()
                        .map(|inner| (format!("{name}.{}", inner.name), digest(inner.value))),
                ),
                Err(_) if name == IN_EVERY_VERSION || value.get() == "null" => {}
                Err(_) => _ = fields.insert(name.to_string(), digest(value)),
            }
        }
        Self(fields)
    }

    /// The names of the fields that came, went or differ, in alphabetical order.
    pub fn changed_since(&self, before: &Self) -> Vec<String> {
        let ours = self
            .0
            .iter()
            .filter(|(name, digest)| before.0.get(*name) != Some(*digest));
        let gone = before.0.keys().filter(|name| !self.0.contains_key(*name));
        let mut names: Vec<_> = ours.map(|(name, _)| name).chain(gone).cloned().collect();
        names.sort_unstable();
        names
    }
}

/// The digest of a value, however it is written. One that is too deep to be parsed counts as it is
/// written.
fn digest(value: &RawValue) -> u64 {
    let mut hasher = DefaultHasher::new();
    match serde_json::from_str::<Value>(value.get()) {
        Ok(value) => value.to_string().hash(&mut hasher),
        Err(_) => value.get().hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(before: &str, after: &str) -> Vec<String> {
        Fields::of(after).changed_since(&Fields::of(before))
    }

    #[test]
    fn what_came_went_or_differs_is_named() {
        let before = r#"{"id":"user_1","first_name":"Ada","last_name":"X","public_metadata":{"plan":"free","seats":1},"updated_at":1}"#;
        let after = r#"{"id":"user_1","first_name":"Eve","username":"eve","public_metadata":{"plan":"pro","seats":1,"trial":true},"updated_at":2}"#;
        assert_eq!(
            changed(before, after),
            [
                "first_name",
                "last_name",
                "public_metadata.plan",
                "public_metadata.trial",
                "username"
            ]
        );
    }

    #[test]
    fn how_it_is_written_does_not_count() {
        assert_eq!(
            changed(
                r#"{"a":[{"x":1,"y":2}],"b":null}"#,
                r#"{ "a": [ {"y":2, "x":1} ], "c": {} }"#
            ),
            [""; 0]
        );
        assert_eq!(changed("no JSON", r#"{"a":1}"#), ["a"]);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(changed(&deep, &deep), [""; 0]);
    }
}
